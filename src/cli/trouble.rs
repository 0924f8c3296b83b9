//! `postbackd trouble list|retry|discard`.

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;
use tokio_postgres::types::Type;

use super::{
    Common, Exit, Failure, confirmed,
    table::{Table, or_empty, time},
};
use crate::{
    outbox::trouble::{self, Trouble},
    words::counted,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
What a trigger could not say is kept here, and the order was committed all the same. Mend the cause (postbackd doctor names
it), then say it again; events are dated back to when the trouble arose. What will never be said (a test order, an amount that was
no number) is discarded, so that nobody is told of it any more; the row stays for 30 days.

Examples:
  postbackd trouble list --messages
  postbackd trouble retry 17
  postbackd trouble retry --all --yes
  postbackd trouble retry 17 --map '{\"old_column\": \"new_column\", \"gone\": null}'
  postbackd trouble discard 17")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The oldest of them
    List {
        /// With the order and the database's message, which may quote values of the shop
        #[arg(long)]
        messages: bool,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
    },
    /// Say them again
    Retry {
        /// Ids, as the list shows them
        id: Vec<i64>,
        /// Everything that is open
        #[arg(long, conflicts_with = "id")]
        all: bool,
        /// New names of columns that were renamed since, or null for those that are gone
        #[arg(long, value_name = "JSON", value_parser = object)]
        map: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Take them off the list, unsaid
    Discard {
        /// Ids, as the list shows them
        id: Vec<i64>,
        /// Everything that is open
        #[arg(long, conflicts_with = "id")]
        all: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// What became of one row.
#[derive(Serialize)]
struct Retried {
    id: i64,
    said: bool,
    answer: String,
}

fn object(text: &str) -> Result<String, String> {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(_)) => Ok(text.to_owned()),
        _ => Err("a JSON object is needed: {\"old\": \"new\"}".to_owned()),
    }
}

pub(super) async fn trouble(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let db = common.session("trouble").await?;
    match &args.what {
        What::List { messages, limit } => {
            let found = trouble::list(&db, *limit, *messages).await?;
            common.print(&found, || match found.is_empty() {
                true => "everything was said".to_owned(),
                false if *messages => lines(&found),
                false => format!("{}\norders and messages: postbackd trouble list --messages", lines(&found)),
            })?;
            Ok(Exit::Done)
        }
        What::Retry { id, all, map, yes } => {
            let ids = named(&db, id, *all, "retry").await?;
            if ids.len() > 1 && !confirmed(&format!("This would say {} things again.", ids.len()), *yes)? {
                return Ok(Exit::Done);
            }
            let mut done = Vec::new();
            for id in ids {
                // Each in its own transaction: one that fails again takes nothing else with it.
                let sql = "select said, answer from postback.trouble_retry($1, $2::text::jsonb)";
                let rows = db.query_typed(sql, &[(&id, Type::INT8), (map, Type::TEXT)]).await?;
                done.extend(rows.iter().map(|row| Retried { id, said: row.get(0), answer: row.get::<_, Option<String>>(1).unwrap_or_default() }));
            }
            let failed = done.iter().filter(|row| !row.said).count();
            common.print(&done, || summary(&done, failed))?;
            Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
        }
        What::Discard { id, all, yes } => {
            let ids = named(&db, id, *all, "discard").await?;
            let what = counted(i64::try_from(ids.len()).unwrap_or(i64::MAX), "thing that was not said", "things that were not said");
            if !ids.is_empty() && !confirmed(&format!("This would discard {what}: no platform will hear of it."), *yes)? {
                return Ok(Exit::Done);
            }
            let discarded = trouble::discard(&db, &ids).await?;
            let left: Vec<i64> = ids.into_iter().filter(|id| !discarded.contains(id)).collect();
            common.print(&json!({ "discarded": discarded, "not_open": left }), || {
                let others = left.iter().map(|id| format!("\nno trouble {id} is open")).collect::<String>();
                format!("{} discarded{others}", discarded.len())
            })?;
            Ok(if left.is_empty() { Exit::Done } else { Exit::Failed })
        }
    }
}

/// What a person named, or everything that is open.
async fn named(db: &tokio_postgres::Client, id: &[i64], all: bool, verb: &str) -> Result<Vec<i64>, Failure> {
    match (id, all) {
        (_, true) => Ok(trouble::open(db).await?),
        ([], false) => Err(Failure::new(Exit::Usage, format!("name what to {verb}: ids, or --all"))),
        (id, false) => Ok(id.to_vec()),
    }
}

fn lines(found: &[Trouble]) -> String {
    let mut table = Table::new(["id", "when", "what", "table", "operation", "SQLSTATE", "tries", "order", "message"]);
    for row in found {
        table.row([
            row.id.to_string(),
            time(row.at),
            row.what.clone(),
            or_empty(row.table.as_ref()),
            or_empty(row.operation.as_ref()),
            row.sqlstate.clone(),
            row.tries.to_string(),
            or_empty(row.order.as_ref()),
            or_empty(row.message.as_ref()),
        ]);
    }
    table.to_string()
}

fn summary(done: &[Retried], failed: usize) -> String {
    if done.is_empty() {
        return "everything was said".to_owned();
    }
    let mut table = Table::new(["id", "said", "answer"]);
    for row in done {
        table.row([row.id.to_string(), if row.said { "yes" } else { "no" }.to_owned(), row.answer.clone()]);
    }
    format!("{table}{} said, {failed} not", done.len() - failed)
}
