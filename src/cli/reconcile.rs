//! `postbackd reconcile`.

use jiff::Timestamp;
use serde_json::json;

use super::{
    Common, Exit, Failure, Table, confirmed,
    replay::{Since, since},
    table::{or_empty, time},
};
use crate::{
    outbox::reconcile::{self, Difference, ReconcileError},
    words::counted,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Compares the shop's books, which postback.books('select ...') has told once, with events: an order that is paid there and that no event
tells was written while its trigger was dropped or disabled, or by a session in which triggers do not fire (session_replication_role,
postback.enabled = off). The daemon counts them every hour too (metric postbackd_paid_orders_without_event).

With --say each is said as an ordinary purchase, at the time and with the value of the books, and what was given back of it; an order
is told once, however often it is said. The books know no click ids and no person: platforms that need them skip such a purchase, until
an enrich brings them. Exit code 1: there are such orders, and they were not all said.

Examples:
  postbackd reconcile
  postbackd reconcile --since 30d --json
  postbackd reconcile --since 2026-03-01T00:00:00Z --say --yes")]
pub struct Args {
    /// Orders paid since then: a time with a zone, or how long ago
    #[arg(long, value_name = "TIME", value_parser = since, default_value = "7d")]
    since: Since,
    /// Say them
    #[arg(long)]
    say: bool,
    /// Not more than these, the oldest
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: u32,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) async fn reconcile(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let db = common.session("reconcile").await?;
    let since = args.since.time()?;
    let found = reconcile::untold(&db, since, Timestamp::now(), i64::from(args.limit)).await.map_err(|error| match error {
        ReconcileError::Database(error) => error.into(),
        other => Failure::new(Exit::Failed, other),
    })?;
    let mut said = 0_u64;
    let asked = args.say && found.count > 0;
    if asked && confirmed(&format!("This would say {} of {}.", found.orders.len(), counted(found.count, "order", "orders")), args.yes)? {
        for order in &found.orders {
            said += u64::from(reconcile::say(&db, order).await?);
        }
    }
    let left = u64::try_from(found.count).unwrap_or(u64::MAX).saturating_sub(said);
    let document = json!({ "since": since, "count": found.count, "said": said, "orders": found.orders });
    common.print(&document, || as_text(&found, since, asked.then_some(said)))?;
    Ok(if left == 0 { Exit::Done } else { Exit::Failed })
}

fn as_text(found: &Difference, since: Timestamp, said: Option<u64>) -> String {
    if found.count == 0 {
        return format!("every order that was paid since {} has its event", time(since));
    }
    let mut table = Table::new(["order", "value", "currency", "refunded", "paid"]);
    for order in &found.orders {
        let refunded = if order.refunded.trim_matches(['0', '.']).is_empty() { String::new() } else { order.refunded.clone() };
        table.row([order.order_ref.clone(), or_empty(order.value.as_ref()), or_empty(order.currency.as_ref()), refunded, time(order.paid_at)]);
    }
    let end = match said {
        Some(said) => format!("{said} said; they are told as any other purchase"),
        None => "see postback.doctor() for triggers that are off; then --say says them".to_owned(),
    };
    format!("{} since {} that no event tells\n\n{table}\n{end}", counted(found.count, "paid order", "paid orders"), time(since))
}
