//! `postbackd dead list|show|retry|discard`.

use clap::Subcommand;

use super::{
    Common, Exit, Failure,
    action::{self, Asking, Which},
    table::{Table, or_empty, time},
};
use crate::{
    command::{Command, Selection},
    outbox::inspect::{self, Attempt, Exception},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A delivery is dead when the platform refused it for good, or when it became too old. Retrying a dead purchase also re-opens
the refunds that were skipped because of it.

Examples:
  postbackd dead list --destination meta
  postbackd dead show 4711
  postbackd dead retry 4711 4712
  postbackd dead retry --destination meta --yes
  postbackd dead discard --order 1001")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The oldest of them
    List(List),
    /// Everything that was tried for an event
    Show {
        /// Event id
        event: i64,
        /// Only at this destination
        #[arg(long, value_name = "NAME")]
        destination: Option<String>,
    },
    /// Judge and send them again
    Retry {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        asking: Asking,
    },
    /// Take them off the list; they stay dead
    Discard {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        asking: Asking,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only at this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Only of this order
    #[arg(long, value_name = "REF")]
    order: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
}

pub(super) async fn dead(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let db = common.session("dead").await?;
    match &args.what {
        What::List(list) => return print_list(common, &db, "dead", list).await,
        What::Show { event, destination } => {
            let attempts = inspect::attempts(&db, *event, destination.as_deref()).await?;
            if attempts.is_empty() {
                return Err(Failure::new(Exit::Failed, format!("nothing was tried for event {event} yet")));
            }
            common.print(&attempts, || history(&attempts))?;
        }
        What::Retry { which, asking } => {
            if let Some(select) = which.confirmed(&db, "dead", "retry").await? {
                return action::ask(common, &db, asking, &Command::RetryDead { select }).await;
            }
        }
        What::Discard { which, asking } => {
            if let Some(select) = which.confirmed(&db, "dead", "discard").await? {
                return action::ask(common, &db, asking, &Command::DiscardDead { select }).await;
            }
        }
    }
    Ok(Exit::Done)
}

/// Also for `unknown list`.
pub(super) async fn print_list(common: &Common, db: &tokio_postgres::Client, state: &str, list: &List) -> Result<Exit, Failure> {
    let select = Selection { destination: list.destination.clone(), events: Vec::new(), order: list.order.clone(), ..Selection::default() };
    let (found, count) = (inspect::exceptions(db, state, &select, list.limit).await?, inspect::count(db, state, &select).await?);
    common.print(&found, || match found.len() {
        0 => format!("nothing is {state}"),
        shown if (shown as i64) < count => format!("{}\n{shown} of {count}; --limit shows more", lines(&found)),
        _ => lines(&found),
    })?;
    Ok(Exit::Done)
}

fn lines(found: &[Exception]) -> String {
    let mut table = Table::new(["event", "destination", "kind", "order", "since", "attempts", "HTTP", "why"]);
    for Exception { destination, event, kind, order, since, attempts, status, reason } in found {
        table.row([
            event.to_string(),
            destination.clone(),
            or_empty(kind.as_ref()),
            order.clone(),
            time(*since),
            attempts.to_string(),
            or_empty(*status),
            or_empty(reason.as_ref()),
        ]);
    }
    table.to_string()
}

fn history(attempts: &[Attempt]) -> String {
    let mut table = Table::new(["destination", "attempt", "when", "outcome", "HTTP", "ms", "why"]);
    for Attempt { destination, attempt, at, outcome, status, duration_ms, reason } in attempts {
        table.row([
            destination.clone(),
            attempt.to_string(),
            time(*at),
            outcome.clone(),
            or_empty(*status),
            or_empty(*duration_ms),
            or_empty(reason.as_ref()),
        ]);
    }
    table.to_string()
}
