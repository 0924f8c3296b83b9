//! `postbackd rebase`: the shop's database has moved to another cluster.

use serde::Serialize;

use super::{Common, Exit, Failure};
use crate::outbox::{
    identity::{self, Found, Kept, Refusal, Verdict},
    rebase::{self, Done, Rebase},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
For production that has moved: a dump that was restored, a logical copy, a pg_upgrade, a point-in-time recovery. Not for copies
beside the shop. Shows what it would do; --yes does it, in one transaction, while the shop may write. Run it again whenever it
failed. The daemon must not run.

After a dump or a logical copy somebody may have sent what the copy knows nothing of. What is not recorded here is sent again under the
same dedupe id where the platform dedupes, and becomes unknown where it would count twice. With --stopped nothing is in doubt.

Examples:
  postbackd rebase                        what it would do
  postbackd rebase --yes
  postbackd rebase --stopped --yes        the daemon was stopped before the copy was taken, and has not run since
  postbackd rebase --same-xids --yes      after pg_upgrade")]
pub struct Args {
    /// Do it
    #[arg(long)]
    yes: bool,
    /// Transaction ids are the same as before: pg_upgrade. Nothing can have been sent since, and nothing is in doubt
    #[arg(long)]
    same_xids: bool,
    /// The daemon was stopped before the copy was taken, and has not run since
    #[arg(long)]
    stopped: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
pub(super) struct Report {
    /// false: nothing was to be done, or it was not done yet.
    done: bool,
    /// Where it was at home.
    from: Option<String>,
    /// The server.
    here: String,
    #[serde(flatten)]
    plan: Option<Done>,
}

pub(super) async fn rebase(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let database = common.database()?;
    let mut db = common.session("rebase").await?;
    let found = look(&db).await?;
    let expect = database.expect.as_deref();
    let back = match found.verdict(expect) {
        Err(Refusal::Elsewhere { .. } | Refusal::Ahead { .. }) => false,
        // The same cluster on another timeline: its transaction ids go on where the backup ends.
        Ok(Verdict::Moved { .. }) => true,
        Err(Refusal::Unexpected { .. }) => return nothing(common, &found),
        Err(refusal @ Refusal::Name { .. }) => return Err(refusal.into()),
        Ok(_) => return nothing(common, &found),
    };
    if let (Some(have), Some(expect)) = (found.kept.as_ref().and_then(|kept| kept.name.clone()), expect)
        && have != expect
    {
        return Err(Refusal::Name { have, expect: expect.to_owned() }.into());
    }
    if args.stopped && !rebase::was_left_clean(&db).await? {
        let why = "the copy was taken while a daemon was at work, or had been killed: what it sent then is in doubt. Run it without --stopped";
        return Err(Failure::new(Exit::Failed, why));
    }
    let plan = Rebase { name: None, same_xids: args.same_xids || back, in_doubt: !args.stopped && (back || !args.same_xids) };
    let done = plan.run(&mut db, !args.yes).await?.ok_or_else(at_work)?;
    let report = Report { done: args.yes, from: found.kept.as_ref().map(|kept| kept.at.to_string()), here: found.here.to_string(), plan: Some(done) };
    common.print(&report, || text(&report))?;
    Ok(Exit::Done)
}

/// Both sides, on a server that can be written to.
pub(super) async fn look(db: &tokio_postgres::Client) -> Result<Found, Failure> {
    let found = identity::find(db).await?;
    match found.standby {
        true => Err(crate::outbox::DbError::Standby.into()),
        false => Ok(found),
    }
}

fn nothing(common: &Common, found: &Found) -> Result<Exit, Failure> {
    let Found { here, kept, .. } = found;
    let report = Report { done: false, from: kept.as_ref().map(|Kept { at, .. }| at.to_string()), here: here.to_string(), plan: None };
    common.print(&report, || format!("nothing to do: this database is at home here ({here})"))?;
    Ok(Exit::Done)
}

pub(super) fn at_work() -> Failure {
    Failure::new(Exit::Failed, "a daemon is at work in this database: stop it first")
}

fn text(report: &Report) -> String {
    let Report { done, from, here, plan } = report;
    let head = match from {
        Some(from) => format!("was at home in  {from}\nthis is         {here}\n\n"),
        None => format!("this is  {here}\n\n"),
    };
    let plan = plan.as_ref().map(lines).unwrap_or_default();
    let end = if *done { "done: the daemon may be started\n" } else { "Nothing was done; say --yes to do it.\n" };
    format!("{head}{plan}{end}")
}

/// What is or would be done, a line each.
pub(super) fn lines(done: &Done) -> String {
    let Done { events, unread, renumbered, neutralised, in_doubt, commands, sequences, trouble } = done;
    let mut text = format!(
        "{events} events in the outbox\n{unread} of them have no place in the stream yet: they are read when the daemon starts, in id order\n"
    );
    let mut line = |count: i64, what: &str| {
        if count > 0 {
            text += &format!("{count} {what}\n");
        }
    };
    line(*renumbered, "of those get another id, because the ledger knows theirs as another event's");
    line(*neutralised, "events that have been read carry transaction ids that this cluster will come to: they are taken away");
    line(*in_doubt, "deliveries without a record may have been sent: again under the same dedupe id, or unknown where that would count twice");
    line(*commands, "commands that nobody answered are dropped");
    line(*trouble, "rows of trouble are open, ids that were given out twice among them: postbackd trouble list");
    for moved in sequences {
        text += &format!("sequence {} is behind its table: it goes on from {} at {}\n", moved.sequence, moved.from, moved.to);
    }
    text
}
