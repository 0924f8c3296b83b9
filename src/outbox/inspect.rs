//! What operators ask: every query here only reads, names its schema, and returns no personal data. Commands and the status
//! page print what these return.
//!
//! Statements are unnamed, so that they pass a transaction pooler.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Client;

use super::{ANSWER_SOON, DbError, within};

mod asked;
mod lists;
mod look;
mod order;
mod recent;
pub mod report;
mod server;

pub use asked::{Asked, asked_for, last_asked};
pub use lists::{Attempt, Before, Exception, attempts, count, exceptions, newest, read_before, reasons, since};
pub use look::look;
pub use order::{Delivery, Event, Order, Sale, order, recent_events};
pub use recent::{Fault, Mark, Receipt, Tally, faults, marks, marks_of, receipts, tallies};
pub use server::{Finding, Server, doctor, missing_privileges, server};

/// How far everything is.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The database's clock.
    pub now: Timestamp,
    /// The last number of the stream.
    pub last_seq: i64,
    /// Committed events that are not in the stream yet; counting stops at 10,000.
    pub unread: i64,
    /// When the oldest of them happened.
    pub unread_since: Option<Timestamp>,
    /// Who owns the outbox; `None`: nobody, or it was released.
    pub owner: Option<String>,
    /// Whether a session holds the owner's lock right now.
    pub owned: bool,
    /// Raised by every session of an owner.
    pub epoch: i64,
    /// Sessions of daemons that proved a moment ago that they are there: owner, standby, and those that only send.
    pub daemons: Vec<Present>,
    /// Open rows of trouble.
    pub trouble: i64,
    /// By name.
    pub destinations: Vec<Standing>,
}

/// A daemon that is there.
#[derive(Debug, Serialize)]
pub struct Present {
    /// `[daemon] instance`.
    pub instance: String,
    /// When its session began.
    pub since: Timestamp,
    /// When it last proved that it is there.
    pub checked: Timestamp,
    /// Reads the shop's commits.
    pub reads: bool,
    /// Destinations that it works.
    pub destinations: Vec<String>,
}

/// How far one destination is.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// Its name.
    pub destination: String,
    /// Everything up to here is settled or waits as an exception.
    pub seq: i64,
    /// Entries of the stream above `seq`, and open exceptions.
    pub waiting: i64,
    /// To be tried again.
    pub retrying: i64,
    /// Too early.
    pub held: i64,
    /// Behind another event of their order.
    pub parked: i64,
    /// On the wire, not to be repeated.
    pub sending: i64,
    /// Taken; the platform confirms later.
    pub accepted: i64,
    /// For a person to retry or discard.
    pub dead: i64,
    /// For a person to resolve.
    pub unknown: i64,
    /// In the last hour, by whole five minutes.
    pub delivered_hour: i64,
    /// The same.
    pub skipped_hour: i64,
    /// When the oldest of what waits came into the stream.
    pub oldest: Option<Timestamp>,
    /// The same of what does not wait on purpose: since it came into the stream, or was first tried, or could be sent. Nothing that
    /// is held until a time to come, and nothing that stands behind another event of its order, which has its own.
    pub overdue: Option<Timestamp>,
    /// A person paused it.
    pub paused: bool,
    /// Why nobody can deliver there, and what to do.
    pub halted: Option<String>,
    /// A daemon that is there works it.
    pub worked: bool,
}

/// Everything at a glance.
pub async fn status(db: &Client) -> Result<Status, DbError> {
    let sql = "
      select clock_timestamp(), i.last_seq, i.owner, i.epoch,
             exists (select from pg_catalog.pg_locks l where l.locktype = 'advisory' and l.classid::bigint = 1885501284 and l.objid::bigint = 1
                        and l.objsubid = 2 and l.granted and l.database = (select oid from pg_catalog.pg_database where datname = current_database())),
             u.n, u.since
        from postback.ingest i,
             lateral (select count(*) as n, min(x.occurred_at) as since from postback.unread(10000) x) u";
    let trouble = "select count(*) from postback.trouble where done is null";
    let (head, standings, daemons, trouble) =
        tokio::try_join!(db.query_typed(sql, &[]), db.query_typed(STANDINGS, &[]), db.query_typed(DAEMONS, &[]), db.query_typed(trouble, &[]))?;
    let row = head.first().ok_or_else(|| DbError::Unexpected("postback.ingest is empty; run \"postbackd schema upgrade\"".into()))?;
    Ok(Status {
        now: row.get(0),
        last_seq: row.get(1),
        owner: row.get(2),
        epoch: row.get(3),
        daemons: daemons.iter().map(present).collect(),
        owned: row.get(4),
        unread: row.get(5),
        unread_since: row.try_get(6).unwrap_or(None),
        trouble: trouble[0].get(0),
        destinations: standings.iter().map(standing).collect(),
    })
}

/// The database's clock.
pub async fn now(db: &Client) -> Result<Timestamp, DbError> {
    Ok(db.query_typed("select clock_timestamp()", &[]).await?[0].get(0))
}

/// Names of the destinations that have begun.
pub async fn destinations(db: &Client) -> Result<Vec<String>, DbError> {
    let rows = db.query_typed("select destination from postback.position order by 1", &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Whether a destination has begun.
pub async fn is_known(db: &Client, destination: &str) -> Result<bool, DbError> {
    let sql = "select exists (select from postback.position where destination = $1)";
    Ok(db.query_typed(sql, &[(&destination, tokio_postgres::types::Type::TEXT)]).await?[0].get(0))
}

/// The same for whoever asks again and again, within 5 s or not at all. `None`: the server is a standby.
pub async fn glance(db: &Client) -> Result<Option<Status>, DbError> {
    let begin = look::begin();
    within(ANSWER_SOON, async {
        let (begun, standby, status, ended) =
            tokio::join!(db.batch_execute(&begin), db.query_typed("select pg_is_in_recovery()", &[]), status(db), db.batch_execute("commit"),);
        begun?;
        if standby?.first().is_some_and(|row| row.get(0)) {
            return Ok(None);
        }
        let status = status?;
        ended?;
        Ok::<_, DbError>(Some(status))
    })
    .await
}

/// A session proves itself every second, and the server ends it after 5 s of silence.
const DAEMONS: &str = "
  select d.instance, d.began, d.checked, exists (select from postback.ingest i where i.daemon = d.id),
         array(select p.destination from postback.position p where p.daemon = d.id order by 1)
    from postback.daemon d where d.released is null and d.checked > clock_timestamp() - interval '6 s' order by 4 desc, 2";

fn present(row: &tokio_postgres::Row) -> Present {
    Present { instance: row.get(0), since: row.get(1), checked: row.get(2), reads: row.get(3), destinations: row.get(4) }
}

/// Where the rows that a destination may have are all taken by what is held, its position waits on purpose.
const STANDINGS: &str = "
  select p.destination, p.seq, i.last_seq - p.seq + coalesce(w.open, 0), coalesce(w.retrying, 0), coalesce(w.held, 0), coalesce(w.parked, 0),
         coalesce(w.sending, 0), coalesce(w.accepted, 0), coalesce(w.dead, 0), coalesce(w.unknown, 0), coalesce(a.delivered, 0), coalesce(a.skipped, 0),
         least(w.oldest, f.at), p.paused, p.halted,
         exists (select from postback.daemon d where d.id = p.daemon and d.released is null and d.checked > clock_timestamp() - interval '6 s'),
         least(w.overdue, case when coalesce(w.held, 0) < 1000 then f.at end)
    from postback.ingest i cross join postback.position p
    left join postback.log f on f.seq = p.seq + 1
    left join lateral (
      select count(*) filter (where o.open and o.seq <= p.seq) as open,
             count(*) filter (where o.state = 'retrying') as retrying, count(*) filter (where o.state = 'held') as held,
             count(*) filter (where o.state = 'parked') as parked, count(*) filter (where o.state = 'sending') as sending,
             count(*) filter (where o.state = 'accepted') as accepted, count(*) filter (where o.state = 'dead') as dead,
             count(*) filter (where o.state = 'unknown') as unknown,
             min(coalesce(l.at, o.since)) filter (where o.open) as oldest,
             min(case o.state when 'held' then o.next_at else coalesce((
                   select a.at from postback.attempt a where a.destination = o.destination and a.event = o.event and a.seq = o.seq
                    order by a.attempt limit 1), l.at, o.since) end)
               filter (where o.state in ('retrying', 'sending') or o.state = 'held' and o.next_at <= clock_timestamp()) as overdue
        from (select x.*, x.state in ('retrying', 'held', 'parked', 'sending') as open from postback.pending x where x.destination = p.destination) o
        left join postback.log l on l.seq = o.seq) w on true
    left join lateral (
      select sum(t.count) filter (where t.outcome in ('delivered', 'accepted'))::bigint as delivered, sum(t.count) filter (where t.outcome = 'skipped')::bigint as skipped
        from postback.tally t where t.destination = p.destination and t.at > statement_timestamp() - interval '1 hour') a on true
   order by p.destination";

fn standing(row: &tokio_postgres::Row) -> Standing {
    Standing {
        destination: row.get(0),
        seq: row.get(1),
        waiting: row.get(2),
        retrying: row.get(3),
        held: row.get(4),
        parked: row.get(5),
        sending: row.get(6),
        accepted: row.get(7),
        dead: row.get(8),
        unknown: row.get(9),
        delivered_hour: row.get(10),
        skipped_hour: row.get(11),
        oldest: row.try_get(12).unwrap_or(None),
        paused: row.get(13),
        halted: row.get(14),
        worked: row.get(15),
        overdue: row.try_get(16).unwrap_or(None),
    }
}
