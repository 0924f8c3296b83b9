//! `postbackd forget --order REF | --email ADDRESS`.

use tokio_postgres::{Client, types::Type};

use super::{
    Common, Exit, Failure,
    action::{self, Asking},
    confirmed,
};
use crate::{
    command::Command,
    mailbox::{Traces, traces},
    outbox::DbError,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Takes what is known of a person out of every table of schema postback: names, addresses, click and device ids, items, rows of trouble.
References of orders (also one that is an address itself), kinds, states, counts and money stay, so that reports go on adding up.
What has not been told yet is skipped as \"forgotten\"; refunds of what was told are still told where the platform needs no click or
person for them. What platforms were told before is theirs: ask them too. Backups and the shop's own tables are not touched.

--email finds every event and order that holds the address as a whole anywhere: in capitals or not, percent-encoded as in the query of a
landing page, or as its SHA-256. It reads through all events, which takes a minute for ten million.

Examples:
  postbackd forget --order 1001
  postbackd forget --email ada@shop.example --yes")]
#[command(group = clap::ArgGroup::new("whom").required(true).multiple(false))]
pub struct Args {
    /// All that was said of this order, lead ...
    #[arg(long, value_name = "REF", group = "whom")]
    order: Option<String>,
    /// All that holds this address
    #[arg(long, value_name = "ADDRESS", group = "whom")]
    email: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Orders that one command names.
const CHUNK: usize = 200;

pub(super) async fn forget(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let db = common.session("command").await?;
    let (orders, events, words) = match (&args.order, &args.email) {
        (Some(order), _) => (vec![order.clone()], Vec::new(), Vec::new()),
        (None, Some(email)) => {
            let email = email.trim();
            if email.len() < 6 || !email.contains('@') {
                return Err(Failure::new(Exit::Usage, "an e-mail address is needed, like ada@shop.example"));
            }
            let (orders, events) = holding(&db, email).await?;
            (orders, events, vec![email.to_owned()])
        }
        (None, None) => return Err(Failure::new(Exit::Usage, "name an order or an e-mail address")),
    };
    let found = match &args.order {
        Some(order) => format!("everything personal of {order}"),
        None => {
            format!("everything personal of {} orders and {} other events, and of rows of trouble that hold the address", orders.len(), events.len())
        }
    };
    if !confirmed(&format!("This would take away {found}, for good."), args.yes)? {
        return Ok(Exit::Done);
    }
    // Events besides and trouble go with the first.
    let mut chunks: Vec<(Vec<String>, Vec<i64>)> = orders.chunks(CHUNK).map(|orders| (orders.to_vec(), Vec::new())).collect();
    if chunks.is_empty() {
        chunks.push(Default::default());
    }
    chunks[0].1 = events;
    let mut end = Exit::Failed;
    for (orders, events) in chunks {
        end = action::ask(common, &db, &args.asking, &Command::Forget { orders, events, words: words.clone() }).await?;
    }
    Ok(end)
}

/// References of orders, and ids of other events, that hold an address anywhere.
async fn holding(db: &Client, address: &str) -> Result<(Vec<String>, Vec<i64>), Failure> {
    let Traces { hints, pattern } = traces(address);
    let sql = "
      with held as materialized (
        select e.id, e.kind, e.ref from postback.event e, lower(concat_ws(' ', e.ref, e.payload::text)) t(text)
         where exists (select from unnest($1::text[]) h(hint) where strpos(t.text, h.hint) > 0) and t.text ~ $2)
      select coalesce((select array_agg(distinct x.ref) from (
                 select h.ref from held h where h.kind in ('purchase', 'refund', 'retract', 'enrich')
                 union select s.order_ref from postback.sale s where lower(s.who::text) ~ $2) x), '{}'),
             coalesce((select array_agg(h.id) from held h where h.kind not in ('purchase', 'refund', 'retract', 'enrich')), '{}')";
    let rows = db.query_typed(sql, &[(&hints, Type::TEXT_ARRAY), (&pattern, Type::TEXT)]).await.map_err(DbError::from)?;
    Ok(rows.first().map(|row| (row.get(0), row.get(1))).unwrap_or_default())
}
