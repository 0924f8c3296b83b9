//! `postbackd order REF`.

use super::{
    Common, Exit, Failure,
    table::{Table, or_empty, time},
};
use crate::outbox::inspect::{self, Delivery, Order};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  postbackd order 1001\n  postbackd order 1001 --json | jq '.events[].deliveries[]'")]
pub struct Args {
    /// The order (or lead, account ...) as the shop calls it
    #[arg(value_name = "REF")]
    reference: String,
}

pub(super) async fn order(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let db = common.session("order").await?;
    let Some(order) = inspect::order(&db, &args.reference).await? else {
        let why = format!("nothing was ever said of {:?}; if it was paid, see: postbackd trouble list", args.reference);
        return Err(Failure::new(Exit::Failed, why));
    };
    common.print(&order, || text(&order))?;
    Ok(Exit::Done)
}

fn text(order: &Order) -> String {
    let mut text = String::new();
    for sale in &order.sales {
        let generation = if sale.generation > 1 { format!(" (generation {})", sale.generation) } else { String::new() };
        text += &match (&sale.value, &sale.currency) {
            (Some(value), currency) => format!("{}{generation}: {value} {}, {} refunded", order.order, or_empty(currency.as_ref()), sale.refunded),
            (None, _) => format!("{}{generation}: something is known of it, its purchase is not", order.order),
        };
        text += if sale.retracted { ", taken back by the shop\n" } else { "\n" };
    }
    for event in &order.events {
        let refund = event.refund_ref.as_ref().map(|refund| format!(" {refund}")).unwrap_or_default();
        let seq = event.seq.map_or_else(|| "not read yet".to_owned(), |seq| format!("stream {seq}"));
        text += &format!("\n{}{refund}  event {}, {seq}, {}\n", event.kind, event.id, time(event.occurred_at));
        let mut table = Table::new(["  destination", "state", "when", "HTTP", "attempts", "why", "next"]);
        for delivery in &event.deliveries {
            table.row([
                format!("  {}", delivery.destination),
                delivery.state.clone(),
                or_empty(delivery.at.map(time)),
                or_empty(delivery.status),
                delivery.attempts.to_string(),
                or_empty(delivery.reason.as_ref()),
                next(delivery),
            ]);
        }
        text += &if event.deliveries.is_empty() { "  no destination has begun yet\n".to_owned() } else { table.to_string() };
    }
    text
}

/// The next step and its time, or who has to take it.
fn next(delivery: &Delivery) -> String {
    let Delivery { state, next_at, destination, .. } = delivery;
    match (state.as_str(), next_at) {
        ("retrying" | "held" | "accepted", Some(at)) => time(*at),
        ("waiting" | "not read yet", _) => "in its turn".to_owned(),
        ("parked", _) => "when the event before it is settled".to_owned(),
        ("sending", _) => "when the answer is here".to_owned(),
        ("dead", _) => format!("postbackd dead retry --destination {destination}"),
        ("unknown", _) => format!("postbackd unknown resolve --destination {destination}"),
        _ => String::new(),
    }
}
