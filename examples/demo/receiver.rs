//! The demo's platforms: an HTTP server that shows what arrives, keeps a record of it, and misbehaves when told to.
//!
//! `receiver DIRECTORY` listens on a free port of 127.0.0.1, which it writes to `DIRECTORY/port`, appends one line per
//! request to `DIRECTORY/record.tsv`, and obeys standard input until that ends:
//!
//! ```text
//! tracker ok | tracker 503 | tracker hang     what happens to the platform's requests from now on
//! network refuse 1011                         422 for this order, whatever else holds
//! forge tracker purchase 1004 49.00 EUR ID MS writes down a request that never came, as if at MS ms after the start
//! mark                                        makes DIRECTORY/mark: everything before it has been obeyed
//! ```
//!
//! It uses the standard library alone, so that the demo compiles it with rustc in a second instead of building the
//! dependencies of the tests.

use std::{
    collections::HashMap,
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

#[derive(Clone, Copy, PartialEq)]
enum Behaviour {
    Ok,
    Unavailable,
    Hang,
}

#[derive(Default)]
struct Rules {
    platforms: HashMap<String, Behaviour>,
    /// Platform and order.
    refused: Vec<(String, String)>,
}

struct Receiver {
    rules: Mutex<Rules>,
    record: Mutex<fs::File>,
    /// When the demo began, in microseconds since 1970.
    start: u128,
    colour: bool,
}

/// What a platform learns of a request.
struct Arrival {
    at: u128,
    platform: String,
    method: String,
    fields: HashMap<String, String>,
}

fn main() -> io::Result<()> {
    let directory = env::args().nth(1).ok_or_else(|| io::Error::other("usage: receiver DIRECTORY"))?;
    let directory = Path::new(&directory);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let record = fs::File::options().create(true).append(true).open(directory.join("record.tsv"))?;
    let start = env::var("DEMO_START_US").ok().and_then(|start| start.parse().ok()).unwrap_or_else(now);
    let colour = env::var_os("DEMO_COLOUR").is_some();
    let receiver = Arc::new(Receiver { rules: Mutex::default(), record: Mutex::new(record), start, colour });
    // Written aside and renamed: whoever sees it sees all of it.
    fs::write(directory.join("port.new"), listener.local_addr()?.port().to_string())?;
    fs::rename(directory.join("port.new"), directory.join("port"))?;
    let serving = Arc::clone(&receiver);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let receiver = Arc::clone(&serving);
            // A connection that breaks is the client's business.
            thread::spawn(move || drop(receiver.serve(&stream)));
        }
    });
    // Whoever holds the other end has gone when this ends, and nobody is left to receive for.
    for line in io::stdin().lock().lines() {
        receiver.obey(&line?, directory)?;
    }
    Ok(())
}

impl Receiver {
    fn obey(&self, line: &str, directory: &Path) -> io::Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [platform, "ok"] => self.behave(platform, Behaviour::Ok),
            [platform, "503"] => self.behave(platform, Behaviour::Unavailable),
            [platform, "hang"] => self.behave(platform, Behaviour::Hang),
            [platform, "refuse", order] => locked(&self.rules).refused.push(((*platform).to_owned(), (*order).to_owned())),
            ["forge", platform, kind, order, value, currency, id, ms] => {
                let fields = [("kind", kind), ("order", order), ("value", value), ("currency", currency), ("id", id)];
                let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), (*value).to_owned())).collect();
                let at = self.start + ms.parse::<u128>().map_err(io::Error::other)? * 1000;
                self.note(&Arrival { at, platform: (*platform).to_owned(), method: "FORGED".to_owned(), fields }, "200")?;
            }
            ["mark"] => fs::write(directory.join("mark"), "")?,
            _ => eprintln!("receiver: {line:?} is no command"),
        }
        Ok(())
    }

    fn behave(&self, platform: &str, behaviour: Behaviour) {
        locked(&self.rules).platforms.insert(platform.to_owned(), behaviour);
    }

    /// Requests of one connection, one after the other.
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        while let Some(arrival) = read_request(&mut reader)? {
            let behaviour = self.behaviour(&arrival);
            let (status, body) = match behaviour {
                (Behaviour::Hang, _) => {
                    self.note(&arrival, "-")?;
                    // Until the client gives up.
                    let _ = reader.read(&mut [0])?;
                    return Ok(());
                }
                (Behaviour::Unavailable, _) => ("503 Service Unavailable", "try later\n"),
                (Behaviour::Ok, true) => ("422 Unprocessable Content", "unknown click\n"),
                (Behaviour::Ok, false) => ("200 OK", "thanks\n"),
            };
            // Before the answer, so that nobody knows of a delivery that is not in the record.
            self.note(&arrival, &status[..3])?;
            let length = body.len();
            (&*stream).write_all(format!("HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes())?;
        }
        Ok(())
    }

    fn behaviour(&self, arrival: &Arrival) -> (Behaviour, bool) {
        let rules = locked(&self.rules);
        let behaviour = rules.platforms.get(&arrival.platform).copied().unwrap_or(Behaviour::Ok);
        let refused = rules.refused.iter().any(|(platform, order)| *platform == arrival.platform && order == arrival.field("order"));
        (behaviour, refused)
    }

    /// Writes it down, then shows it.
    fn note(&self, arrival: &Arrival, status: &str) -> io::Result<()> {
        let Arrival { at, platform, method, .. } = arrival;
        let [id, order, kind, value, currency, click] = ["id", "order", "kind", "value", "currency", "click"].map(|key| arrival.field(key));
        let empty_is_null = |text: &str| if text.is_empty() { "\\N".to_owned() } else { text.to_owned() };
        let columns = [
            at.to_string(),
            platform.clone(),
            empty_is_null(if status == "-" { "" } else { status }),
            id.to_owned(),
            order.to_owned(),
            kind.to_owned(),
            empty_is_null(value),
            empty_is_null(currency),
            empty_is_null(click),
        ];
        let mut record = locked(&self.record);
        record.write_all(format!("{}\n", columns.join("\t")).as_bytes())?;
        let seconds = at.saturating_sub(self.start) as f64 / 1e6;
        let (colour, words) = match status {
            "-" => ("35", "... no answer"),
            "200" => ("32", "200"),
            "503" => ("33", "503 try later"),
            _ => ("31", "422 unknown click"),
        };
        let click = if click.is_empty() { String::new() } else { format!("click {click}") };
        let line = format!("{seconds:5.1}s    {platform:<8} <- {method:<4} {kind:<8} {order:<5} {value:>8} {currency}  {click:<15} {words}");
        // Under the record's lock, so that lines are whole and in the order of the record.
        if self.colour {
            println!("\x1b[{colour}m{line}\x1b[0m")
        } else {
            println!("{line}")
        }
        Ok(())
    }
}

impl Arrival {
    fn field(&self, key: &str) -> &str {
        self.fields.get(key).map_or("", String::as_str)
    }
}

/// One request; `None` when the connection ends before it. A query or a form, up to 64 KiB.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Arrival>> {
    let mut line = String::new();
    if reader.take(8192).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let at = now();
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.take(8192).read_line(&mut header)? == 0 {
            return Ok(None);
        }
        match header.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse::<usize>().unwrap_or(0).min(65_536),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut fields = HashMap::new();
    for pair in query.split('&').chain(String::from_utf8_lossy(&body).split('&')) {
        if let Some((key, value)) = pair.split_once('=') {
            fields.insert(decoded(key), decoded(value));
        }
    }
    Ok(Some(Arrival { at, platform: path.trim_matches('/').to_owned(), method, fields }))
}

/// Percent-decoded; what would break a line of the record is shown as a space.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(match first {
            b'+' => b' ',
            _ => byte.unwrap_or(*first),
        });
        rest = &tail[if byte.is_some() { 2 } else { 0 }..];
    }
    String::from_utf8_lossy(&bytes).replace(|c: char| c.is_control() || c == '\\', " ")
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
