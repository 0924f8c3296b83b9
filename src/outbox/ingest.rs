//! Reading the shop's commits: a window, or a page of it, goes into the numbered stream and the ledger in one durable
//! transaction.

use std::collections::BTreeSet;

use rust_decimal::Decimal;
use tokio_postgres::{Client, types::Type};

use super::{
    ANSWER, DbError, PIN, Param, RawEvent,
    statement::{Ready, Way, with_parts},
    window::Snapshot,
    window::Window,
    within,
};
use crate::{
    books::{Changes, Known, Refund, Sale},
    event::{Event, Kind},
    money::Currency,
};

/// Rows in one transaction at most. 500 was measured to run at 1.6 times the rate of 100; 1,000 brings little more.
pub const PAGE: usize = 500;

/// The row of `postback.ingest` as this owner last wrote or read it, with the snapshot seen since (a window without rows
/// writes nothing, so the stored snapshot may be older; reading from it again finds the same rows once).
#[derive(Clone, Debug)]
pub struct Reader {
    epoch: i64,
    snap: Snapshot,
    paging: Option<(Snapshot, i64)>,
    /// The last number given out.
    pub last_seq: i64,
}

/// A page of the outbox, with the place in the shop's commits that is reached when it is in the stream.
#[derive(Debug)]
pub struct Page {
    /// In id order.
    pub events: Vec<RawEvent>,
    /// More of the same window waits.
    pub more: bool,
    snap: Snapshot,
    paging: Option<(Snapshot, i64)>,
}

impl Reader {
    /// Reads the position as the owner of `epoch`.
    pub async fn load(db: &Client, epoch: i64) -> Result<Self, DbError> {
        let sql = "select epoch, snap, win, page_id, last_seq from postback.ingest";
        let row = &within(ANSWER, db.query_typed(sql, &[])).await?[0];
        if row.get::<_, i64>(0) != epoch {
            return Err(DbError::Fenced);
        }
        let snapshot = |text: Option<&str>| match text {
            None => Ok(None),
            Some(text) => Snapshot::parse(text).map(Some).ok_or_else(|| DbError::Unexpected(format!("stored snapshot {text:?}"))),
        };
        let snap = snapshot(row.get(1))?.unwrap_or_else(Snapshot::beginning);
        let paging = snapshot(row.get(2))?.zip(row.get::<_, Option<i64>>(3));
        Ok(Self { epoch, snap, paging, last_seq: row.get(4) })
    }

    /// The epoch of the owner that reads.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Looks once; `None` when no transaction has finished since the last look: one statement, no table.
    pub async fn read(&mut self, way: Way<'_>) -> Result<Option<Page>, DbError> {
        let (to, standby) = super::window::now(way).await?;
        if standby {
            return Err(DbError::Standby);
        }
        if let Some((win, after)) = self.paging.clone() {
            return self.read_page(way, win, after).await.map(Some);
        }
        if to.text == self.snap.text {
            return Ok(None);
        }
        let window = Window::between(&self.snap, &to);
        match window.read_whole(way, PAGE).await? {
            Some(events) => Ok(Some(Page { events, more: false, snap: to, paging: None })),
            None => {
                let lowest = window.lowest_id(way).await?.unwrap_or(1);
                self.read_page(way, to, lowest - 1).await.map(Some)
            }
        }
    }

    async fn read_page(&self, way: Way<'_>, win: Snapshot, after: i64) -> Result<Page, DbError> {
        let events = Window::between(&self.snap, &win).read_page(way, after, PAGE).await?;
        Ok(match events.last().map(|last| last.id) {
            // The stored `snap` stays at the window's beginning while pages are open.
            Some(last) if events.len() == PAGE => Page { events, more: true, snap: self.snap.clone(), paging: Some((win, last)) },
            _ => Page { events, more: false, snap: win, paging: None },
        })
    }

    /// Puts a page into the stream, durably, and moves on. An empty window writes nothing.
    pub async fn commit(&mut self, way: Way<'_>, page: &Page, changes: &Changes) -> Result<(), DbError> {
        if !page.events.is_empty() || self.paging.is_some() {
            self.write(way, &page.snap, page.paging.as_ref(), changes).await?;
        }
        self.snap = page.snap.clone();
        self.paging.clone_from(&page.paging);
        Ok(())
    }

    /// The one writing statement: it updates the ingest row first, and writes nothing when somebody else has. A single
    /// statement is one round trip and one transaction, also behind a transaction pooler.
    async fn write(&mut self, way: Way<'_>, snap: &Snapshot, paging: Option<&(Snapshot, i64)>, changes: &Changes) -> Result<(), DbError> {
        let Changes { sales, new_sales, refunds, once, entries, notes } = changes;
        // The new ones first: SQL is told how many they are.
        let sales: Vec<&Sale> = new_sales.iter().chain(sales).collect();
        let new = new_sales.len() as i64;
        let text = |value: Option<Decimal>| value.map(|value| value.to_string());
        let win = paging.map(|(win, _)| win.text.as_str());
        let page_id = paging.map(|(_, page_id)| *page_id);

        let log_events: Vec<i64> = entries.iter().map(|entry| entry.event).collect();
        let log_causes: Vec<Option<&str>> = entries.iter().map(|entry| entry.cause.map(|cause| cause.as_str())).collect();
        let count = log_events.len() as i64;

        let sale_ref: Vec<&str> = sales.iter().map(|sale| sale.order_ref.as_str()).collect();
        let sale_generation: Vec<i32> = sales.iter().map(|sale| sale.generation).collect();
        let sale_event: Vec<Option<i64>> = sales.iter().map(|sale| sale.event).collect();
        let sale_value: Vec<Option<String>> = sales.iter().map(|sale| text(sale.value)).collect();
        let sale_currency: Vec<Option<String>> = sales.iter().map(|sale| sale.currency.map(|c| c.to_string())).collect();
        let sale_refunded: Vec<String> = sales.iter().map(|sale| sale.refunded.to_string()).collect();
        let sale_retracted: Vec<Option<i64>> = sales.iter().map(|sale| sale.retracted).collect();
        let sale_who: Vec<Option<String>> =
            sales.iter().map(|sale| (!sale.who.is_empty()).then(|| serde_json::Value::Object(sale.who.clone()).to_string())).collect();
        let sale_who_seq: Vec<Option<i64>> = sales.iter().map(|sale| sale.who_seq).collect();

        let refund_order: Vec<&str> = refunds.iter().map(|refund| refund.order_ref.as_str()).collect();
        let refund_ref: Vec<&str> = refunds.iter().map(|refund| refund.refund_ref.as_str()).collect();
        let refund_event: Vec<i64> = refunds.iter().map(|refund| refund.event).collect();
        let refund_generation: Vec<Option<i32>> = refunds.iter().map(|refund| refund.generation).collect();
        let refund_amount: Vec<String> = refunds.iter().map(|refund| refund.amount.to_string()).collect();
        let refund_total: Vec<Option<String>> = refunds.iter().map(|refund| text(refund.total_after)).collect();

        let once_kind: Vec<&str> = once.iter().map(|key| key.0.as_str()).collect();
        let once_ref: Vec<&str> = once.iter().map(|key| key.1.as_str()).collect();
        let once_event: Vec<i64> = once.iter().map(|key| key.2).collect();

        let note_what: Vec<&str> = notes.iter().map(|note| note.what.as_str()).collect();
        let note_message: Vec<&str> = notes.iter().map(|note| note.message.as_str()).collect();

        let sql = with_parts(include_str!("../../sql/ingest.sql"), |part| match part {
            "sales" => !sales.is_empty(),
            "changed sales" => sales.len() > new_sales.len(),
            "refunds" => !refunds.is_empty(),
            "once" => !once.is_empty(),
            _ => !notes.is_empty(),
        });
        let rows = within(
            ANSWER,
            way.query(
                &sql,
                &[
                    (&self.epoch, Type::INT8),
                    (&self.last_seq, Type::INT8),
                    (&snap.text, Type::TEXT),
                    (&win, Type::TEXT),
                    (&page_id, Type::INT8),
                    (&count, Type::INT8),
                    (&log_events, Type::INT8_ARRAY),
                    (&log_causes, Type::TEXT_ARRAY),
                    (&sale_ref, Type::TEXT_ARRAY),
                    (&sale_generation, Type::INT4_ARRAY),
                    (&sale_event, Type::INT8_ARRAY),
                    (&sale_value, Type::TEXT_ARRAY),
                    (&sale_currency, Type::TEXT_ARRAY),
                    (&sale_refunded, Type::TEXT_ARRAY),
                    (&sale_retracted, Type::INT8_ARRAY),
                    (&sale_who, Type::TEXT_ARRAY),
                    (&sale_who_seq, Type::INT8_ARRAY),
                    (&refund_order, Type::TEXT_ARRAY),
                    (&refund_ref, Type::TEXT_ARRAY),
                    (&refund_event, Type::INT8_ARRAY),
                    (&refund_generation, Type::INT4_ARRAY),
                    (&refund_amount, Type::TEXT_ARRAY),
                    (&refund_total, Type::TEXT_ARRAY),
                    (&once_kind, Type::TEXT_ARRAY),
                    (&once_ref, Type::TEXT_ARRAY),
                    (&once_event, Type::INT8_ARRAY),
                    (&note_what, Type::TEXT_ARRAY),
                    (&note_message, Type::TEXT_ARRAY),
                    (&new, Type::INT8),
                ],
            ),
        )
        .await?;
        let written: i64 = rows.first().map_or(0, |row| row.get(0));
        if written != 1 {
            return Err(DbError::Fenced);
        }
        self.last_seq += count;
        Ok(())
    }
}

/// Loads the part of the ledger that these events touch.
pub async fn know<'a, 'e>(way: impl Into<Way<'a>>, events: impl Iterator<Item = &'e Event>) -> Result<Known, DbError> {
    let way = way.into();
    let (mut orders, mut plain) = (BTreeSet::new(), BTreeSet::new());
    for event in events {
        if event.kind.is_plain() {
            plain.insert((event.kind.as_str(), event.reference.as_str()));
        } else {
            orders.insert(event.reference.as_str());
        }
    }
    let orders: Vec<&str> = orders.into_iter().collect();
    let (kinds, refs): (Vec<&str>, Vec<&str>) = plain.into_iter().unzip();
    let keys: [Param<'_>; 1] = [(&orders, Type::TEXT_ARRAY)];
    let plain: [Param<'_>; 2] = [(&kinds, Type::TEXT_ARRAY), (&refs, Type::TEXT_ARRAY)];
    let (sales_sql, refunds_sql) = (
        format!("select {SALE} from postback.sale where order_ref = any($1)"),
        format!("select {REFUND} from postback.refund where order_ref = any($1)"),
    );
    let once_sql = "select o.kind, o.ref, o.event from unnest($1, $2) k(kind, ref) join postback.once o using (kind, ref)";
    let all = async {
        let (sales, refunds, once) = (way.ready(&sales_sql, &keys).await?, way.ready(&refunds_sql, &keys).await?, way.ready(once_sql, &plain).await?);
        let asked = async |wanted: bool, ready: &Ready<'_>, params: &[Param<'_>]| if wanted { ready.query(params).await } else { Ok(Vec::new()) };
        let db = way.db();
        // Pinned like everything that meets a table of which the planner may still think that it is empty: without it each page
        // scanned the whole ledger.
        tokio::try_join!(
            db.batch_execute(PIN),
            asked(!orders.is_empty(), &sales, &keys),
            asked(!orders.is_empty(), &refunds, &keys),
            asked(!refs.is_empty(), &once, &plain),
            db.batch_execute("commit")
        )
    };
    let ((), sales, refunds, once, ()) = within(ANSWER, all).await?;
    Ok(Known {
        sales: sales.iter().map(|row| sale_row(row, 0)).collect::<Result<_, _>>()?,
        refunds: refunds.iter().map(refund_row).collect::<Result<_, _>>()?,
        once: once.iter().map(once_row).collect::<Result<_, _>>()?,
    })
}

/// Columns that [`sale_row`] reads.
pub(super) const SALE: &str = "order_ref, generation, event, value::text, currency, refunded::text, retracted, who::text, who_seq";
/// Columns that [`refund_row`] reads.
pub(super) const REFUND: &str = "order_ref, refund_ref, event, generation, amount::text, total_after::text";

fn decimal(text: Option<&str>) -> Result<Option<Decimal>, DbError> {
    let parse = |text: &str| crate::event::decimal(text).ok_or_else(|| DbError::Unexpected("an amount of the ledger is not a number".into()));
    text.map(parse).transpose()
}

pub(super) fn sale_row(row: &tokio_postgres::Row, first: usize) -> Result<Sale, DbError> {
    let who = match row.get::<_, Option<&str>>(first + 7).map(serde_json::from_str) {
        Some(Ok(serde_json::Value::Object(who))) => who,
        _ => serde_json::Map::new(),
    };
    Ok(Sale {
        order_ref: row.get(first),
        generation: row.get(first + 1),
        event: row.get(first + 2),
        value: decimal(row.get(first + 3))?,
        currency: row.get::<_, Option<&str>>(first + 4).and_then(Currency::parse),
        refunded: decimal(row.get(first + 5))?.unwrap_or_default(),
        retracted: row.get(first + 6),
        who,
        who_seq: row.get(first + 8),
    })
}

/// Columns `kind, ref, event`.
pub(super) fn once_row(row: &tokio_postgres::Row) -> Result<(Kind, String, i64), DbError> {
    let kind = row.get::<_, &str>(0).parse().map_err(|()| DbError::Unexpected("unknown kind in postback.once".into()))?;
    Ok((kind, row.get(1), row.get(2)))
}

pub(super) fn refund_row(row: &tokio_postgres::Row) -> Result<Refund, DbError> {
    Ok(Refund {
        order_ref: row.get(0),
        refund_ref: row.get(1),
        event: row.get(2),
        generation: row.get(3),
        amount: decimal(row.get(4))?.unwrap_or_default(),
        total_after: decimal(row.get(5))?,
    })
}
