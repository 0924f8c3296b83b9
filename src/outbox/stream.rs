//! Reading the numbered stream from a position. Destinations at the same place share a read.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio_postgres::{Client, Row, types::Type};

use super::{ANSWER, ANSWER_SOON, DbError, PIN, PIN_ORDERED, RawEvent, pinned, within};
use crate::{
    books::Cause,
    event::{Event, Unreadable},
};

/// Entries in one read at most.
pub const PAGE: usize = 500;

/// One number of the stream with its event.
#[derive(Clone, Debug)]
pub struct Numbered {
    /// Its number.
    pub seq: i64,
    /// Why it is there again; `None`: its commit.
    pub cause: Option<Cause>,
    /// The destinations concerned; `None`: all.
    pub only: Option<Vec<String>>,
    /// The event's id.
    pub event_id: i64,
    /// Order, lead ...: the lane.
    pub reference: Arc<str>,
    /// Decoded once for all destinations; `Err` is `dead` with these words.
    pub event: Result<Arc<Event>, String>,
}

/// `whole`, or only what the ledger needs. `Err` is `dead` with these words.
pub fn decoded(raw: &RawEvent, whole: bool) -> Result<Arc<Event>, String> {
    let event = if whole { raw.decode() } else { raw.decode_books() };
    event.map(Arc::new).map_err(|error: Unreadable| format!("unreadable: {error}"))
}

/// Where the stream ends, as another daemon that writes it left it.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// The last number.
    pub last_seq: i64,
    /// The last command that was carried out.
    pub acted: i64,
}

/// One row, no other table.
pub async fn end(db: &Client) -> Result<End, DbError> {
    let row = &within(ANSWER_SOON, db.query_typed("select last_seq, acted from postback.ingest", &[])).await?[0];
    Ok(End { last_seq: row.get(0), acted: row.get(1) })
}

/// Which of these events stand in the stream.
pub async fn known(db: &Client, events: &[i64]) -> Result<HashSet<i64>, DbError> {
    let sql = "select distinct event from postback.log where event = any($1)";
    Ok(within(ANSWER, db.query_typed(sql, &[(&events, Type::INT8_ARRAY)])).await?.iter().map(|row| row.get(0)).collect())
}

/// How far may be read: up to `sure` without asking, up to `perhaps` where the database's clock says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Settled by this process's own clock.
    pub sure: i64,
    /// Was in the stream when this process came; settled if `log.at` is old enough.
    pub perhaps: i64,
    /// How old that is.
    pub age: Duration,
}

/// The last few pages that anyone read. Entries never change, so a page may be handed out again by its beginning.
#[derive(Debug, Default)]
pub struct Cache(Mutex<VecDeque<(i64, Arc<Vec<Numbered>>)>>);

/// Pages kept: enough for destinations that run side by side, little enough for memory (a page is some hundred kilobytes).
const CACHED: usize = 3;

impl Cache {
    fn get(&self, after: i64) -> Option<Arc<Vec<Numbered>>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).iter().find(|(key, _)| *key == after).map(|(_, page)| Arc::clone(page))
    }

    fn put(&self, after: i64, page: &Arc<Vec<Numbered>>) {
        let mut pages = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        pages.retain(|(key, _)| *key != after);
        pages.push_front((after, Arc::clone(page)));
        pages.truncate(CACHED);
    }

    /// What was read before may not be what stands there now.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }

    /// The entries behind `after` that have settled, at most [`PAGE`].
    pub async fn read(&self, db: &Client, after: i64, settled: Settled) -> Result<Arc<Vec<Numbered>>, DbError> {
        if let Some(page) = self.get(after) {
            return Ok(page);
        }
        let page = Arc::new(read(db, after, settled).await?);
        if !page.is_empty() {
            self.put(after, &page);
        }
        Ok(page)
    }
}

async fn read(db: &Client, after: i64, settled: Settled) -> Result<Vec<Numbered>, DbError> {
    let sql = "
      select l.seq, l.cause, l.only_at, l.event, e.id, e.kind, e.ref, e.payload::text, e.occurred_at
        from postback.log l left join postback.event e on e.id = l.event
       where l.seq > $1 and l.seq <= greatest($2, $3) and (l.seq <= $2 or l.at <= clock_timestamp() - $4 * interval '1 ms')
       order by l.seq limit $5";
    let age = i64::try_from(settled.age.as_millis()).unwrap_or(i64::MAX) as f64;
    let params = [
        (&after as &(dyn tokio_postgres::types::ToSql + Sync), Type::INT8),
        (&settled.sure, Type::INT8),
        (&settled.perhaps, Type::INT8),
        (&age, Type::FLOAT8),
        (&(PAGE as i64), Type::INT8),
    ];
    let rows = pinned(db, PIN_ORDERED, sql, &params).await?;
    Ok(rows.iter().map(numbered).collect())
}

fn numbered(row: &Row) -> Numbered {
    let raw = row.get::<_, Option<i64>>(4).map(|_| RawEvent::from_row(row, 4));
    Numbered {
        seq: row.get(0),
        cause: row.get::<_, Option<&str>>(1).and_then(Cause::parse),
        only: row.get(2),
        event_id: row.get(3),
        reference: raw.as_ref().map_or_else(|| Arc::from(""), |raw| Arc::clone(&raw.reference)),
        event: raw.as_ref().map_or_else(|| Err("past retention".into()), |raw| decoded(raw, true)),
    }
}

/// Events by id, for deliveries that wait in `pending` without their event in memory.
pub async fn events(db: &Client, ids: &[i64]) -> Result<HashMap<i64, Result<Arc<Event>, String>>, DbError> {
    let sql = "select id, kind, ref, payload::text, occurred_at from postback.event where id = any($1)";
    let rows = pinned(db, PIN, sql, &[(&ids, Type::INT8_ARRAY)]).await?;
    Ok(super::event_rows(&rows).iter().map(|raw| (raw.id, decoded(raw, true))).collect())
}
