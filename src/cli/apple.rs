//! `postbackd apple verify|list|count`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Common, Exit, Failure,
    replay::{Since, since},
    table::{Table, or_empty, time},
};
use crate::{
    apple::{BODY_MAX, Environment, Keys, Protocol, Received, Verdict, tell},
    config::{Config, DEFAULT_FILE, SecretMode},
    outbox::apple::{self, Filter, Kept, Line, Number},
    words::printable,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Postbacks of Apple's are taken where [apple] of the configuration says. What is not verified, and what tests send, is kept for 14 days, a
hundred a day; everything is counted.

Examples:
  postbackd apple verify postback.json
  postbackd apple verify - < postback.json
  postbackd apple list --since 2d --verdict verified
  postbackd apple list --app 525463029 --json --bodies
  postbackd apple count --since 30d")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What a body says, field by field, whether Apple signed it, and why not; ends with 1 if not
    Verify {
        /// The body as it came; "-" for standard input
        file: PathBuf,
        /// As at this kind's path; without it the body says what it is
        #[arg(long, value_parser = ["skadnetwork", "adattributionkit"])]
        protocol: Option<String>,
    },
    /// The latest of those that are kept
    List {
        /// Only of this app, by its id in the App Store
        #[arg(long, value_name = "ID")]
        app: Option<i64>,
        /// Only with this verdict; development: verified, but of a test
        #[arg(long, value_parser = ["verified", "development", "invalid", "unverifiable"])]
        verdict: Option<String>,
        /// Only of this kind
        #[arg(long, value_parser = ["skadnetwork", "adattributionkit"])]
        protocol: Option<String>,
        /// A time with a zone, or how long ago
        #[arg(long, value_name = "TIME", value_parser = since)]
        since: Option<Since>,
        /// With the bodies as they came, in base64; only with --json
        #[arg(long, requires = "json")]
        bodies: bool,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
    },
    /// How many came, by what they were
    Count {
        /// A time with a zone, or how long ago; whole days are counted
        #[arg(long, value_name = "TIME", value_parser = since)]
        since: Option<Since>,
    },
}

/// What `verify` says.
#[derive(Serialize)]
struct Verified {
    verdict: &'static str,
    reason: Option<&'static str>,
    environment: Option<&'static str>,
    /// In words.
    why: String,
    /// Why the daemon would not count it although Apple signed it.
    note: Option<String>,
    fields: Map<String, Value>,
}

pub(super) async fn apple(common: &Common, args: &Args) -> Result<Exit, Failure> {
    match &args.what {
        What::Verify { file, protocol } => verify(common, file, protocol.as_deref()),
        What::List { app, verdict, protocol, since, bodies, limit } => {
            let since = since.map(Since::time).transpose()?;
            let filter = Filter { app: *app, verdict: verdict.clone(), protocol: protocol.clone(), since };
            let db = common.session("apple").await?;
            let found = apple::list(&db, &filter, *limit, *bodies).await?;
            let total = apple::total(&db, &filter).await?;
            common.print(&found, || match found.len() {
                0 => "no such postback is kept; \"postbackd apple count\" says what came".to_owned(),
                shown if (shown as i64) < total => format!("{}{shown} of {total}; --limit shows more", lines(&found)),
                _ => lines(&found),
            })?;
            Ok(Exit::Done)
        }
        What::Count { since } => {
            let since = since.map(Since::time).transpose()?;
            let db = common.session("apple").await?;
            let found = apple::numbers(&db, since).await?;
            common.print(&found, || if found.is_empty() { "nothing came".to_owned() } else { numbers(&found) })?;
            Ok(Exit::Done)
        }
    }
}

fn verify(common: &Common, file: &Path, protocol: Option<&str>) -> Result<Exit, Failure> {
    let body = read(file).map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", file.display())))?;
    // What the values mean stands in the configuration; without one they are numbers.
    let nothing = common.config == Path::new(DEFAULT_FILE) && std::fs::File::open(&common.config).is_err();
    let settings = if nothing { None } else { Config::load(&common.config, SecretMode::Names)?.apple };
    let protocol = protocol.and_then(|word| Protocol::ALL.into_iter().find(|protocol| protocol.word() == word));
    let protocol = protocol.map_or_else(|| Protocol::of_body(&body), Ok);
    let received = protocol.and_then(|protocol| protocol.read(&body, Keys::apple()));
    let said = match received {
        Ok(Received { postback, verdict }) => {
            let app = settings.as_ref().and_then(|settings| settings.apps.get(&postback.app));
            let note = match verdict {
                Verdict::Verified(_) if settings.is_some() && app.is_none() => {
                    Some(format!("app {} is not one of [apple.app]: the daemon counts it and drops it", postback.app))
                }
                Verdict::Verified(Environment::Production) if !postback.won() => {
                    Some("another network won: it is kept and never forwarded".to_owned())
                }
                Verdict::Verified(Environment::Development) => {
                    Some("of a test: it is kept only with development = true, and never forwarded".to_owned())
                }
                _ => None,
            };
            let why = verdict.reason().map_or_else(|| "Apple's signature fits".to_owned(), |reason| reason.text().to_owned());
            let environment = verdict.environment().map(Environment::word);
            let reason = verdict.reason().map(|reason| reason.word());
            Verified { verdict: verdict.word(), reason, environment, why, note, fields: tell::decoded(&postback, app.map(|app| &**app)) }
        }
        Err(malformed) => {
            Verified { verdict: "malformed", reason: Some(malformed.word), environment: None, why: malformed.why, note: None, fields: Map::new() }
        }
    };
    common.print(&said, || shown(&said))?;
    Ok(if said.environment.is_some() { Exit::Done } else { Exit::Failed })
}

/// No more than the daemon would read, and a little, so that it is told that there is more.
fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut body = Vec::new();
    let most = BODY_MAX as u64 + 1;
    match file.as_os_str() == "-" {
        true => std::io::stdin().lock().take(most).read_to_end(&mut body)?,
        false => std::fs::File::open(file)?.take(most).read_to_end(&mut body)?,
    };
    Ok(body)
}

fn shown(said: &Verified) -> String {
    let mut text = String::new();
    let widest = said.fields.keys().map(String::len).max().unwrap_or(0);
    for (key, value) in &said.fields {
        text.push_str(&format!("{key:widest$}  {}\n", plain(value)));
    }
    let environment = said.environment.map(|environment| format!(" ({environment})")).unwrap_or_default();
    text.push_str(&format!("{}{environment}: {}", said.verdict, said.why));
    if let Some(note) = &said.note {
        text.push_str(&format!("\n{note}"));
    }
    text
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| printable(&value.to_string()), printable)
}

fn lines(found: &[Kept]) -> String {
    let mut table = Table::new(["received", "what", "verdict", "why", "app", "network", "campaign", "postback", "value", "means", "worth", "event"]);
    for kept in found {
        let Line { what, verdict, why, app, network, campaign, number, value, meaning, worth, reference: _ } = kept.line();
        table.row([time(kept.received_at), what, verdict, why, app, network, campaign, number, value, meaning, worth, or_empty(kept.event)]);
    }
    table.to_string()
}

fn numbers(found: &[Number]) -> String {
    let mut table = Table::new(["what", "version", "verdict", "why", "count"]);
    for Number { protocol, version, verdict, reason, count } in found {
        table.row([protocol.clone(), version.clone(), verdict.clone(), reason.clone(), count.to_string()]);
    }
    table.to_string()
}
