//! Exceptions that wait for a person, and what became of one delivery.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Client, types::Type};

use super::super::{
    DbError,
    command::{SELECTED, selected},
};
use crate::command::Selection;

/// A row of `postback.pending`.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Exception {
    pub destination: String,
    pub event: i64,
    /// NULL in the database means that retention took the event.
    pub kind: Option<String>,
    pub order: String,
    pub since: Timestamp,
    pub attempts: i32,
    /// HTTP status of the last attempt.
    pub status: Option<i32>,
    pub reason: Option<String>,
}

/// A row of `postback.attempt`.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Attempt {
    pub destination: String,
    pub attempt: i32,
    pub at: Timestamp,
    pub outcome: String,
    pub status: Option<i32>,
    pub duration_ms: Option<i32>,
    pub reason: Option<String>,
}

/// How many a selection names.
pub async fn count(db: &Client, state: &str, select: &Selection) -> Result<i64, DbError> {
    let sql = format!("select count(*) from postback.pending p where {SELECTED}");
    Ok(db.query_typed(&sql, &selected(&state, select)).await?[0].get(0))
}

/// The oldest `limit` of them.
pub async fn exceptions(db: &Client, state: &str, select: &Selection, limit: i64) -> Result<Vec<Exception>, DbError> {
    let sql = format!(
        "select p.destination, p.event, e.kind, p.order_ref, p.since, p.attempts, a.status, coalesce(p.reason, a.reason)
           from postback.pending p left join postback.event e on e.id = p.event
           left join lateral (select status, reason from postback.attempt t where t.destination = p.destination and t.event = p.event
                               order by t.attempt desc limit 1) a on true
          where {SELECTED} order by p.since, p.event limit {limit}"
    );
    let rows = db.query_typed(&sql, &selected(&state, select)).await?;
    Ok(rows.iter().map(exception).collect())
}

fn exception(row: &tokio_postgres::Row) -> Exception {
    Exception {
        destination: row.get(0),
        event: row.get(1),
        kind: row.get(2),
        order: row.get(3),
        since: row.get(4),
        attempts: row.get(5),
        status: row.get(6),
        reason: row.get(7),
    }
}

/// Everything that was tried for an event, at one destination or at all.
pub async fn attempts(db: &Client, event: i64, destination: Option<&str>) -> Result<Vec<Attempt>, DbError> {
    let sql = "select destination, attempt, at, outcome, status, duration_ms, reason from postback.attempt
                where event = $1 and ($2::text is null or destination = $2) order by destination, attempt";
    let rows = db.query_typed(sql, &[(&event, Type::INT8), (&destination, Type::TEXT)]).await?;
    let attempt = |row: &tokio_postgres::Row| Attempt {
        destination: row.get(0),
        attempt: row.get(1),
        at: row.get(2),
        outcome: row.get(3),
        status: row.get(4),
        duration_ms: row.get(5),
        reason: row.get(6),
    };
    Ok(rows.iter().map(attempt).collect())
}

/// Events read since a time.
pub async fn since(db: &Client, time: Timestamp) -> Result<i64, DbError> {
    let sql = "select count(*) from postback.log where at >= $1 and cause is null";
    Ok(db.query_typed(sql, &[(&time, Type::TIMESTAMPTZ)]).await?[0].get(0))
}

/// Where a page of a list begins: behind this row of the page before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// Its entry of the stream.
    pub seq: i64,
    /// Its destination.
    pub destination: String,
}

/// The newest `limit` of a selection behind a row, each with its own place. Walks the key of `pending` backwards for each
/// destination, so that no page costs more than the rows on it, unless a kind or a reason is rare.
pub async fn newest(db: &Client, state: &str, select: &Selection, before: Option<&Before>, limit: i64) -> Result<Vec<(Exception, Before)>, DbError> {
    let sql = format!(
        "select p.destination, p.event, e.kind, p.order_ref, p.since, p.attempts, a.status, coalesce(p.reason, a.reason), p.seq
           from postback.position d cross join lateral (
             select * from postback.pending p
              where p.destination = d.destination and {SELECTED}
                and ($8::bigint is null or p.seq < $8 or p.seq = $8 and p.destination > $9)
              order by p.seq desc limit {limit}) p
           left join postback.event e on e.id = p.event
           left join lateral (select status, reason from postback.attempt t where t.destination = p.destination and t.event = p.event
                               order by t.attempt desc limit 1) a on true
          where $2::text is null or d.destination = $2
          order by p.seq desc, p.destination limit {limit}"
    );
    let (seq, destination) = (before.map(|before| before.seq), before.map(|before| before.destination.as_str()));
    let mut params = selected(&state, select).to_vec();
    params.extend([(&seq as &(dyn tokio_postgres::types::ToSql + Sync), Type::INT8), (&destination, Type::TEXT)]);
    let rows = db.query_typed(&sql, &params).await?;
    let placed = |row: &tokio_postgres::Row| (exception(row), Before { seq: row.get(8), destination: row.get(0) });
    Ok(rows.iter().map(placed).collect())
}

/// Kinds and reasons among the newest 5,000 in a state, with how many of them there are, the most frequent first: what a list can
/// be narrowed by.
pub async fn reasons(db: &Client, state: &str, destination: Option<&str>) -> Result<Vec<(String, String, i64)>, DbError> {
    let sql = "
      select coalesce(e.kind, ''), coalesce(p.reason, a.reason, ''), count(*)
        from (select x.* from postback.position d cross join lateral (
                select * from postback.pending p where p.destination = d.destination and p.state = $1 order by p.seq desc limit 5000) x
               where $2::text is null or d.destination = $2 limit 5000) p
        left join postback.event e on e.id = p.event
        left join lateral (select reason from postback.attempt t where t.destination = p.destination and t.event = p.event
                            order by t.attempt desc limit 1) a on true
       group by 1, 2 order by 3 desc, 2, 1 limit 200";
    let rows = db.query_typed(sql, &[(&state, Type::TEXT), (&destination, Type::TEXT)]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// Events as they were read, the latest first, a page below a seq: seq, event, and when it was read.
pub async fn read_before(db: &Client, seq: i64, limit: i64) -> Result<Vec<(i64, i64, Timestamp)>, DbError> {
    let sql = "select seq, event, at from postback.log where seq < $1 and cause is null order by seq desc limit $2";
    let rows = db.query_typed(sql, &[(&seq, Type::INT8), (&limit, Type::INT8)]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}
