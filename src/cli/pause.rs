//! `postbackd pause|resume DESTINATION`.

use super::{
    Common, Exit, Failure,
    action::{self, Asking},
};
use crate::{command::Command, outbox::inspect, words::hint};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
While a destination is paused its position stands still and its events wait; the others go on.

Examples:
  postbackd pause meta
  postbackd resume meta      also after \"halted\", once what it says has been done")]
pub struct Args {
    /// NAME of [destination.NAME]
    destination: String,
    #[command(flatten)]
    asking: Asking,
}

pub(super) async fn pause(common: &Common, args: &Args) -> Result<Exit, Failure> {
    send(common, args, |destination| Command::Pause { destination }).await
}

pub(super) async fn resume(common: &Common, args: &Args) -> Result<Exit, Failure> {
    send(common, args, |destination| Command::Resume { destination }).await
}

async fn send(common: &Common, args: &Args, what: fn(String) -> Command) -> Result<Exit, Failure> {
    let db = common.session("command").await?;
    known(&db, &args.destination).await?;
    action::ask(common, &db, &args.asking, &what(args.destination.clone())).await
}

/// A misspelt name is not worth a place in the queue.
pub(super) async fn known(db: &tokio_postgres::Client, destination: &str) -> Result<(), Failure> {
    let names: Vec<String> = inspect::status(db).await?.destinations.into_iter().map(|there| there.destination).collect();
    if names.iter().any(|name| name == destination) {
        return Ok(());
    }
    let hint = hint(destination, names.iter().map(String::as_str));
    let there = if names.is_empty() { "none has begun yet".to_owned() } else { format!("there are {}", names.join(", ")) };
    Err(Failure::new(Exit::Failed, format!("there is no destination {destination:?}: {there}{hint}")))
}
