//! `postbackd backfill --sql FILE`: orders from before there were triggers.

use std::{collections::BTreeMap, path::PathBuf, str::FromStr as _, sync::Arc};

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Common, Exit, Failure, Table, confirmed};
use crate::{
    config::SecretMode,
    destination::Destination,
    event::Event,
    outbox::backfill::{self, Past, QueryError, Reading, Row},
    preview,
    progress::Progress,
    shadow::alike,
    words,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file is one SELECT, over the shop's own tables, with the columns order_ref, value, currency, and where they are known refunded (what
was given back since), occurred_at, who, more (as in postback.purchase). It is run by the role of --url, or of the configuration.

Without --say nothing is written: it counts what each destination would send, and what it would skip and why, by today: most platforms
take sales of the last days only. With --say the orders that at least one destination would send are said as ordinary purchases, at their
own time, and told by the daemon in their turn, as fast as [destination] limits allow. Orders that have an event already are left out, so
that it may be broken off and run again.

Examples:
  postbackd backfill --sql past.sql
  postbackd backfill --sql past.sql --say --url postgres://postgres@localhost/shop

  -- past.sql
  select number as order_ref, total as value, currency, paid_at as occurred_at,
         jsonb_build_object('email', email) || postback.click_ids(landing_url) as who
    from orders where paid_at > now() - interval '7 days' order by paid_at")]
pub struct Args {
    /// The query; - reads it from stdin
    #[arg(long, value_name = "FILE")]
    sql: PathBuf,
    /// Say them
    #[arg(long)]
    say: bool,
    /// Also those that no destination would send
    #[arg(long)]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Rows that are read and judged at a time.
const PAGE: u32 = 500;

/// Why a row was not said, or not its refund.
const KEPT: &str = "it was not said whole: see \"postbackd trouble list\"";

/// What was counted.
#[derive(Debug, Default, Serialize)]
struct Counted {
    /// Rows of the query.
    orders: u64,
    /// They have an event.
    told_already: u64,
    /// Why a row is no order, and how often.
    unusable: BTreeMap<String, u64>,
    /// To be said.
    to_say: u64,
    /// No destination would send them.
    unwanted: u64,
    /// Said.
    said: u64,
    /// By destination: what would become of what is not told yet. `sent`, or why not.
    destinations: BTreeMap<String, BTreeMap<String, u64>>,
}

pub(super) async fn backfill(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let config = common.load(SecretMode::Names)?;
    let usage = |why: String| Failure::new(Exit::Usage, format!("{}: {why}", args.sql.display()));
    let query = match args.sql.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(&args.sql),
    };
    let query = query.map_err(|error| usage(error.to_string()))?;
    let (db, writer) = (common.session("backfill").await?, common.session("backfill").await?);
    let failed = |error: QueryError| match error {
        QueryError::Database(error) => error.into(),
        other => usage(other.to_string()),
    };
    let mut counted = run(&db, None, &query, &config.destinations, args).await.map_err(failed)?;
    if args.say && counted.to_say > 0 {
        let question = format!("This would say {}.", words::counted(counted.to_say, "order", "orders"));
        // Counted first, so that the person knows; the counts of what was said then replace these.
        if confirmed(&question, args.yes)? {
            counted = run(&db, Some(&writer), &query, &config.destinations, args).await.map_err(failed)?;
        }
    }
    common.print(&json!(counted), || as_text(&counted, args.say))?;
    Ok(Exit::Done)
}

/// Once through the query: judges, and says where there is a writer.
async fn run(
    db: &tokio_postgres::Client,
    writer: Option<&tokio_postgres::Client>,
    query: &str,
    destinations: &[Arc<Destination>],
    args: &Args,
) -> Result<Counted, QueryError> {
    let (mut counted, progress) = (Counted::default(), Progress::default());
    let unread = backfill::unread(db).await?;
    let reading = Reading::begin(db, query).await?;
    loop {
        let page = reading.page(PAGE).await?;
        if page.is_empty() {
            break;
        }
        for row in &page {
            counted.orders += 1;
            if row.told || unread.contains(&row.order_ref) {
                counted.told_already += 1;
                continue;
            }
            let event = match event(row) {
                Ok(event) => Arc::new(event),
                Err(why) => {
                    *counted.unusable.entry(why).or_default() += 1;
                    continue;
                }
            };
            if !judge(&event, destinations, &mut counted) && !args.all {
                counted.unwanted += 1;
                continue;
            }
            counted.to_say += 1;
            if let Some(writer) = writer {
                let Row { order_ref, value, currency, refunded, occurred_at, who, more, .. } = row;
                let past = Past { order_ref, value, currency, refunded, occurred_at: *occurred_at, who, more, source: "backfill" };
                let why = match backfill::say(writer, &past).await {
                    Ok(true) => {
                        counted.said += 1;
                        continue;
                    }
                    Ok(false) => KEPT.to_owned(),
                    Err(error) => match error.against_a_value() {
                        Some(why) => format!("the database refuses it: {}", alike(&why)),
                        None => return Err(error.into()),
                    },
                };
                *counted.unusable.entry(why).or_default() += 1;
            }
        }
        progress.say(&format!("{} orders read, {} {}", counted.orders, counted.to_say, if writer.is_some() { "said" } else { "to say" }));
    }
    progress.say("");
    reading.end().await?;
    Ok(counted)
}

/// Whether at least one destination would send it.
fn judge(event: &Arc<Event>, destinations: &[Arc<Destination>], counted: &mut Counted) -> bool {
    let mut wanted = false;
    for found in preview::of_event(destinations, event, Timestamp::now()) {
        // What is held until its time comes is sent then.
        let what = match &found.result {
            Ok(_) => "sent".to_owned(),
            Err(why) if why.starts_with("held until") => "sent".to_owned(),
            Err(why) => alike(why),
        };
        wanted |= what == "sent";
        *counted.destinations.entry(found.destination.to_string()).or_default().entry(what).or_default() += 1;
    }
    wanted
}

/// The purchase that the row would become, or why it cannot.
fn event(row: &Row) -> Result<Event, String> {
    let amount = |text: &str, name: &str| match Decimal::from_str(text) {
        Ok(amount) if !amount.is_sign_negative() => Ok(amount),
        _ => Err(format!("{name} is no amount of money")),
    };
    if row.order_ref.is_empty() {
        return Err("order_ref is missing".into());
    }
    amount(&row.value, "value")?;
    amount(&row.refunded, "refunded")?;
    let object = |text: &str, name: &str| match serde_json::from_str::<Value>(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => Err(format!("{name} is no JSON object")),
    };
    let payload =
        json!({ "value": row.value, "currency": row.currency, "who": object(&row.who, "who")?, "more": object(&row.more, "more")? }).to_string();
    Event::decode(0, "purchase", &row.order_ref, &payload, row.occurred_at).map_err(|why| why.to_string())
}

fn as_text(counted: &Counted, say: bool) -> String {
    let Counted { orders, told_already, unusable, to_say, unwanted, said, destinations } = counted;
    let mut text = format!(
        "{}, {}\n",
        words::counted(*orders, "order", "orders"),
        words::counted(*told_already, "of them has an event already", "of them have an event already")
    );
    for (why, count) in unusable {
        text.push_str(&format!("{count} cannot be said: {why}\n"));
    }
    if *unwanted > 0 {
        text.push_str(&format!(
            "{} left out, because no destination would send them (--all says them too)\n",
            words::counted(*unwanted, "is", "are")
        ));
    }
    let mut table = Table::new(["destination", "orders", "would be"]);
    for (name, counts) in destinations {
        for (what, count) in counts {
            table.row([name.clone(), count.to_string(), what.clone()]);
        }
    }
    let end = match (say, *said) {
        (false, _) => format!("{} would be said: --say", words::counted(*to_say, "order", "orders")),
        (true, said) => format!("{} said; \"postbackd status\" shows them being told", words::counted(said, "order", "orders")),
    };
    format!("{text}\n{table}\n{end}")
}
