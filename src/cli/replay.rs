//! `postbackd replay --since TIME`.

use jiff::Timestamp;

use super::{
    Common, Exit, Failure,
    action::{self, Asking},
    confirmed, pause,
    table::time,
};
use crate::{
    command::Command,
    words::{counted, parse_duration},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
What was read since then is judged again. Where the platform dedupes it is sent again under the same dedupe id; where it
would be counted twice it is not.

Examples:
  postbackd replay --since 2h --destination meta
  postbackd replay --since 2026-03-01T12:00:00Z --yes")]
pub struct Args {
    /// A time with a zone, or how long ago
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Since,
    /// Only to this destination; may be repeated
    #[arg(long, value_name = "NAME")]
    destination: Vec<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Also of other commands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Since {
    Ago(std::time::Duration),
    At(Timestamp),
}

impl Since {
    pub(super) fn time(self) -> Result<Timestamp, Failure> {
        match self {
            Self::At(time) => Ok(time),
            Self::Ago(ago) => Timestamp::now().checked_sub(ago).map_err(|error| Failure::new(Exit::Usage, error)),
        }
    }
}

pub(super) fn since(text: &str) -> Result<Since, String> {
    let at = || text.parse().map(Since::At).map_err(|_| "a time like 2026-03-01T12:00:00Z or a duration like 2h is needed".to_owned());
    parse_duration(text).map(Since::Ago).map_or_else(at, Ok)
}

pub(super) async fn replay(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let db = common.session("command").await?;
    for name in &args.destination {
        pause::known(&db, name).await?;
    }
    let since = args.since.time()?;
    let count = crate::outbox::inspect::since(&db, since).await?;
    if count == 0 {
        return Err(Failure::new(Exit::Failed, format!("nothing was read since {}", time(since))));
    }
    let to = if args.destination.is_empty() { "every destination".to_owned() } else { args.destination.join(", ") };
    if !confirmed(&format!("This would judge {} again for {to}.", counted(count, "event", "events")), args.yes)? {
        return Ok(Exit::Done);
    }
    action::ask(common, &db, &args.asking, &Command::Replay { since, destinations: args.destination.clone() }).await
}
