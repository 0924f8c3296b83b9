//! `postbackd unknown list|resolve`.

use clap::{ArgGroup, Subcommand};

use super::{
    Common, Exit, Failure,
    action::{self, Asking, Which},
    dead::{self, List},
};
use crate::command::Command;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A delivery is unknown when its request may have arrived and the platform would count it twice. Look it up at the platform,
then say what you found.

Examples:
  postbackd unknown list
  postbackd unknown resolve 4711 --delivered
  postbackd unknown resolve --order 1001 --not-delivered      it is sent again")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The oldest of them
    List(List),
    /// Say whether the platform has them
    #[command(group = ArgGroup::new("found").required(true))]
    Resolve {
        #[command(flatten)]
        which: Which,
        /// The platform has it
        #[arg(long, group = "found")]
        delivered: bool,
        /// The platform does not have it: send it again
        #[arg(long, group = "found")]
        not_delivered: bool,
        #[command(flatten)]
        asking: Asking,
    },
}

pub(super) async fn unknown(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let db = common.session("unknown").await?;
    match &args.what {
        What::List(list) => dead::print_list(common, &db, "unknown", list).await,
        What::Resolve { which, delivered, not_delivered: _, asking } => match which.confirmed(&db, "unknown", "resolve").await? {
            Some(select) => action::ask(common, &db, asking, &Command::ResolveUnknown { select, delivered: *delivered }).await,
            None => Ok(Exit::Done),
        },
    }
}
