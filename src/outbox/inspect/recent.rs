//! What happened of late: counts by five minutes, the last fault of a destination in words, the last attempts.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Client, Row, types::Type};

use super::super::DbError;

/// A row of `postback.tally`.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Tally {
    pub destination: String,
    /// Begin of five minutes.
    pub at: Timestamp,
    pub outcome: String,
    pub count: i64,
}

/// All of them since a time.
pub async fn tallies(db: &Client, since: Timestamp) -> Result<Vec<Tally>, DbError> {
    let sql = "select t.destination, t.at, t.outcome, t.count from postback.position p join postback.tally t on t.destination = p.destination
                where t.at >= $1 order by t.at";
    let rows = db.query_typed(sql, &[(&since, Type::TIMESTAMPTZ)]).await?;
    let tally = |row: &Row| Tally { destination: row.get(0), at: row.get(1), outcome: row.get(2), count: row.get(3) };
    Ok(rows.iter().map(tally).collect())
}

/// The last attempt at a destination that was no success.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Fault {
    pub destination: String,
    pub at: Timestamp,
    /// retry, dead or unknown.
    pub outcome: String,
    pub status: Option<i32>,
    pub reason: Option<String>,
}

/// Of each destination, if it was within a day.
pub async fn faults(db: &Client) -> Result<Vec<Fault>, DbError> {
    let sql = "
      select p.destination, f.last, f.outcome, f.status, f.reason
        from postback.position p cross join lateral (
          select t.last, t.outcome, t.status, t.reason from postback.tally t
           where t.destination = p.destination and t.at > statement_timestamp() - interval '1 day' and t.outcome in ('retry', 'dead', 'unknown')
           order by t.at desc, t.last desc limit 1) f";
    let rows = db.query_typed(sql, &[]).await?;
    let fault = |row: &Row| Fault { destination: row.get(0), at: row.get(1), outcome: row.get(2), status: row.get(3), reason: row.get(4) };
    Ok(rows.iter().map(fault).collect())
}

/// An attempt with the order that it was made for.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Mark {
    pub destination: String,
    pub event: i64,
    pub kind: String,
    pub order: String,
    pub attempt: i32,
    pub at: Timestamp,
    pub outcome: String,
    pub status: Option<i32>,
    pub duration_ms: Option<i32>,
    pub reason: Option<String>,
    /// The entry of the stream that it answers.
    pub seq: i64,
}

const MARK: &str = "a.destination, a.event, e.kind, e.ref, a.attempt, a.at, a.outcome, a.status, a.duration_ms, a.reason, a.seq";

fn mark(row: &Row) -> Mark {
    Mark {
        destination: row.get(0),
        event: row.get(1),
        kind: row.get(2),
        order: row.get(3),
        attempt: row.get(4),
        at: row.get(5),
        outcome: row.get(6),
        status: row.get(7),
        duration_ms: row.get(8),
        reason: row.get(9),
        seq: row.get(10),
    }
}

/// The last `limit` among those for the newest 100 entries of the stream, newest first.
pub async fn marks(db: &Client, limit: i64) -> Result<Vec<Mark>, DbError> {
    let sql = format!(
        "select {MARK} from (select seq, event from postback.log order by seq desc limit 100) l
           join postback.attempt a on a.event = l.event and a.seq = l.seq join postback.event e on e.id = a.event
          order by a.at desc, a.seq desc, a.destination limit {limit}"
    );
    Ok(db.query_typed(&sql, &[]).await?.iter().map(mark).collect())
}

/// Entries of the stream that one page of attempts looks through.
const WALK: i64 = 2_000;

/// The last attempt for each of the newest entries that a destination has passed, `limit` of them, below a number of the stream. Attempts
/// carry no index on their time, whose price every delivery would pay: they come in the order of the stream. With the number below
/// which the next page begins; `None`: there is nothing left.
pub async fn marks_of(db: &Client, destination: &str, below: Option<i64>, limit: i64) -> Result<(Vec<Mark>, Option<i64>), DbError> {
    let sql = format!(
        "with top as (select least($2::bigint, (select p.seq + 1 from postback.position p where p.destination = $1)) as seq)
         select {MARK} from top
           left join lateral (select l.seq, l.event from postback.log l where l.seq < top.seq and l.seq >= top.seq - {WALK} order by l.seq desc) l on true
           join lateral (select * from postback.attempt a where a.event = l.event and a.destination = $1 and a.seq = l.seq order by a.attempt desc limit 1) a on true
           join postback.event e on e.id = a.event
          order by l.seq desc limit {limit}"
    );
    let rows = db.query_typed(&sql, &[(&destination, Type::TEXT), (&below, Type::INT8)]).await?;
    let marks: Vec<Mark> = rows.iter().map(mark).collect();
    let next = match marks.last() {
        Some(last) if marks.len() as i64 == limit => Some(last.seq),
        _ => {
            let sql = "select least($2::bigint, p.seq + 1) - $3 from postback.position p where p.destination = $1";
            let rows = db.query_typed(sql, &[(&destination, Type::TEXT), (&below, Type::INT8), (&WALK, Type::INT8)]).await?;
            rows.first().map(|row| row.get::<_, i64>(0)).filter(|seq| *seq > 1)
        }
    };
    Ok((marks, next))
}

/// What was said to a platform and what it called it. Never e-mail or phone.
#[derive(Clone, Debug, Serialize)]
pub struct Receipt {
    /// Where.
    pub destination: String,
    /// What for.
    pub event: i64,
    /// `postback.receipt.sent`: value, currency, time, click ids, name of the conversion.
    pub sent: serde_json::Value,
    /// The platform's ids.
    pub answer: Option<serde_json::Value>,
    /// Rebuilt after a crash.
    pub uncertain: bool,
}

/// Of these events.
pub async fn receipts(db: &Client, events: &[i64]) -> Result<Vec<Receipt>, DbError> {
    let sql = "select r.destination, r.event, r.sent::text, r.answer::text, r.uncertain
                 from postback.position p join postback.receipt r on r.destination = p.destination and r.event = any($1)";
    let rows = db.query_typed(sql, &[(&events, Type::INT8_ARRAY)]).await?;
    let json = |text: Option<&str>| text.and_then(|text| serde_json::from_str(text).ok());
    let receipt = |row: &Row| Receipt {
        destination: row.get(0),
        event: row.get(1),
        sent: json(row.get(2)).unwrap_or_default(),
        answer: json(row.get(3)),
        uncertain: row.get(4),
    };
    Ok(rows.iter().map(receipt).collect())
}
