//! A receiver without an HTTP library: a thread per connection, one GET at a time. It is to cost as little as it can.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
};

/// What a request is answered with, by its target (`/name?id=..`).
pub type Answer = Arc<dyn Fn(&str) -> &'static [u8] + Send + Sync>;

/// A receiver on loopback. Its threads end with the process.
pub struct Sink(SocketAddr);

impl Sink {
    /// 200, and the connection stays.
    pub const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    /// 503, and the connection stays.
    pub const DOWN: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

    pub fn start(answer: impl Fn(&str) -> &'static [u8] + Send + Sync + 'static) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let at = listener.local_addr()?;
        let answer: Answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || serve(stream, &answer));
            }
        });
        Ok(Self(at))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0)
    }
}

fn serve(mut stream: TcpStream, answer: &Answer) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut filled) = ([0; 8192], 0);
    loop {
        let count = stream.read(&mut buffer[filled..])?;
        filled += count;
        if count == 0 || filled == buffer.len() {
            return Ok(());
        }
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            let line = std::str::from_utf8(&buffer[..filled]).unwrap_or_default();
            let target = line.split(' ').nth(1).unwrap_or_default();
            stream.write_all(answer(target))?;
            filled = 0;
        }
    }
}
