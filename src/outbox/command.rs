//! Carrying out what people asked for in `postback.command`: each in one transaction of the owner, with its answer.

use tokio_postgres::{Client, Transaction, types::Type};

use super::{ANSWER, ANSWER_SOON, BOUNDED, DbError, Param, ingest::Reader, within};
use crate::{
    command::{Answer, Command, Selection},
    mailbox::traces,
    marks::ASKED,
};

/// Puts one into the queue. `who` asks; `None`: whoever is logged in at the database.
pub async fn put(db: &Client, what: &Command, who: Option<&str>) -> Result<i64, DbError> {
    let text = serde_json::to_string(what).map_err(|error| DbError::Unexpected(error.to_string()))?;
    let sql = "insert into postback.command (what, who) values ($1::text::jsonb, coalesce($2, session_user::text)) returning id";
    let rows = within(ANSWER_SOON, db.query_typed(sql, &[(&text, Type::TEXT), (&who, Type::TEXT)])).await?;
    rows.first().map(|row| row.get(0)).ok_or_else(|| DbError::Unexpected("a command was not kept".into()))
}

/// Commands without an answer, oldest first.
pub async fn waiting(db: &Client) -> Result<Vec<(i64, String)>, DbError> {
    let rows =
        within(ANSWER_SOON, db.query_typed("select id, what::text from postback.command where answer is null order by id limit 100", &[])).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Carries one out and answers it. Numbers that it adds to the stream are taken under the lock of the ingest row, as every
/// other number is.
pub async fn execute(db: &mut Client, reader: &mut Reader, id: i64, what: &str) -> Result<Answer, DbError> {
    // Seven statements at most.
    within(ANSWER * 7, in_one_transaction(db, reader, id, what)).await
}

async fn in_one_transaction(db: &mut Client, reader: &mut Reader, id: i64, what: &str) -> Result<Answer, DbError> {
    let tx = db.transaction().await?;
    tx.batch_execute(BOUNDED).await?;
    let sql =
        "select 1 from postback.ingest where epoch = $1 and last_seq = $2 and set_config('synchronous_commit', 'on', true) is not null for update";
    if tx.query_typed(sql, &[(&reader.epoch(), Type::INT8), (&reader.last_seq, Type::INT8)]).await?.is_empty() {
        return Err(DbError::Fenced);
    }
    let (answer, added) = match serde_json::from_str::<Command>(what) {
        Ok(command) => carry_out(&tx, reader.last_seq, &command).await?,
        Err(error) => (Answer { ok: false, count: 0, text: format!("not a command that this version knows: {error}") }, 0),
    };
    let text = serde_json::to_string(&answer).map_err(|error| DbError::Unexpected(error.to_string()))?;
    // Words that name a person are not kept.
    let sql = "update postback.command set answer = $2::jsonb, answered = clock_timestamp(), what = what - 'words' where id = $1";
    tx.query_typed(sql, &[(&id, Type::INT8), (&text, Type::TEXT)]).await?;
    // Other daemons that work destinations look at `acted`.
    let sql = "update postback.ingest set acted = greatest(acted, $2), last_seq = last_seq + $1,
                      last_at = case when $1 > 0 then greatest(last_at, clock_timestamp()) else last_at end";
    tx.query_typed(sql, &[(&added, Type::INT8), (&id, Type::INT8)]).await?;
    tx.commit().await?;
    reader.last_seq += added;
    Ok(answer)
}

/// The answer, and how many numbers the stream has grown by.
async fn carry_out(tx: &Transaction<'_>, last_seq: i64, command: &Command) -> Result<(Answer, i64), DbError> {
    let done = |count: i64, text: String| Answer { ok: count > 0, count, text };
    match command {
        Command::Pause { destination } => {
            let count = update(tx, "update postback.position set paused = true where destination = $1", &[(destination, Type::TEXT)]).await?;
            Ok((done(count, named(count, destination, "paused; its events wait, nothing is lost")), 0))
        }
        Command::Resume { destination } => {
            let sql = "update postback.position set paused = false, halted = null where destination = $1";
            let count = update(tx, sql, &[(destination, Type::TEXT)]).await?;
            Ok((done(count, named(count, destination, "resumed")), 0))
        }
        Command::RetryDead { select } => {
            let (count, added) = try_again(tx, last_seq, "dead", select).await?;
            Ok((done(count, counted(count, "dead", "judged again now")), added))
        }
        Command::DiscardDead { select } => {
            let count = discard(tx, select).await?;
            Ok((done(count, counted(count, "dead", "discarded; they stay dead")), 0))
        }
        Command::ResolveUnknown { select, delivered: false } => {
            let (count, added) = try_again(tx, last_seq, "unknown", select).await?;
            Ok((done(count, counted(count, "unknown", "sent again now")), added))
        }
        Command::ResolveUnknown { select, delivered: true } => {
            let (count, added) = resolve_delivered(tx, last_seq, select).await?;
            Ok((done(count, counted(count, "unknown", "marked as delivered")), added))
        }
        Command::Replay { since, destinations } => {
            let sql = "insert into postback.log (seq, event, cause, only_at, at)
                select $1 + row_number() over (order by l.seq), l.event, 'replay', nullif($3::text[], '{}'), (select greatest(last_at, clock_timestamp()) from postback.ingest)
                  from postback.log l where l.at >= $2 and l.cause is null";
            let added = update(tx, sql, &[(&last_seq, Type::INT8), (since, Type::TIMESTAMPTZ), (destinations, Type::TEXT_ARRAY)]).await?;
            Ok((done(added, format!("{added} events are judged again; what a platform would count twice is not repeated")), added))
        }
        Command::Forget { orders, events, words } => Ok((forget(tx, orders, events, words).await?, 0)),
    }
}

/// Every table of the schema, in one statement.
async fn forget(tx: &Transaction<'_>, orders: &[String], events: &[i64], words: &[String]) -> Result<Answer, DbError> {
    let sql = "select array_agg(distinct o.event) from unnest($1::text[]) r(ref), postback.of_order(r.ref) o";
    let rows = tx.query_typed(sql, &[(&orders, Type::TEXT_ARRAY)]).await?;
    let mut ids: Vec<i64> = rows.first().and_then(|row| row.get::<_, Option<Vec<i64>>>(0)).unwrap_or_default();
    ids.extend_from_slice(events);
    let patterns: Vec<String> = words.iter().map(|word| traces(word).pattern).collect();
    let params: [Param<'_>; 4] = [(&ids, Type::INT8_ARRAY), (&orders, Type::TEXT_ARRAY), (&words, Type::TEXT_ARRAY), (&patterns, Type::TEXT_ARRAY)];
    let rows = tx.query_typed(include_str!("../../sql/forget.sql"), &params).await?;
    let (events, rows, trouble): (i64, i64, i64) = rows.first().map_or((0, 0, 0), |row| (row.get(0), row.get(1), row.get(2)));
    let count = events + rows + trouble;
    let text = match count {
        0 => "nothing is known under that name".to_owned(),
        _ => format!("forgotten in {events} events, {rows} rows that follow from them and {trouble} rows of trouble; what waited is not told"),
    };
    Ok(Answer { ok: count > 0, count, text })
}

fn named(count: i64, destination: &str, done: &str) -> String {
    match count {
        0 => format!("there is no destination {destination:?}; \"postbackd status\" lists them"),
        _ => format!("{destination} {done}"),
    }
}

fn counted(count: i64, state: &str, done: &str) -> String {
    match count {
        0 => format!("nothing {state} matches"),
        1 => format!("1 delivery {done}"),
        _ => format!("{count} deliveries {done}"),
    }
}

async fn update(tx: &Transaction<'_>, sql: &str, params: &[Param<'_>]) -> Result<i64, DbError> {
    let rows = tx.query_typed(&format!("with done as ({sql} returning 1) select count(*) from done"), params).await?;
    Ok(rows[0].get(0))
}

/// Rows of `pending p` in a state, narrowed by a selection.
pub(super) const SELECTED: &str = "p.state = $1 and ($2::text is null or p.destination = $2) and ($3::bigint[] = '{}' or p.event = any($3))
     and ($4::text is null or p.order_ref = $4)
     and ($5::text is null or (select e.kind from postback.event e where e.id = p.event) = $5)
     and ($6::text is null or coalesce(p.reason, (select a.reason from postback.attempt a where a.destination = p.destination and a.event = p.event
                                                   order by a.attempt desc limit 1), '') = $6)
     and ($7::timestamptz is null or p.since <= $7)";

/// Its parameters.
pub(super) fn selected<'a>(state: &'a &str, select: &'a Selection) -> [Param<'a>; 7] {
    [
        (state, Type::TEXT),
        (&select.destination, Type::TEXT),
        (&select.events, Type::INT8_ARRAY),
        (&select.order, Type::TEXT),
        (&select.kind, Type::TEXT),
        (&select.reason, Type::TEXT),
        (&select.until, Type::TIMESTAMPTZ),
    ]
}

/// What a person decides on keeps its place in the stream, so that a refund parked behind it stays behind it. It counts as
/// never tried: the person's word replaces what the attempts left open.
async fn try_again(tx: &Transaction<'_>, last_seq: i64, state: &str, select: &Selection) -> Result<(i64, i64), DbError> {
    let sql = format!(
        "update postback.pending p set state = 'retrying', attempts = 0, next_at = clock_timestamp(), reason = '{ASKED}'
          where {SELECTED} returning p.destination, p.event"
    );
    let rows = tx.query_typed(&sql, &selected(&state, select)).await?;
    let added = reopen(tx, last_seq, &rows).await?;
    Ok((rows.len() as i64, added))
}

async fn discard(tx: &Transaction<'_>, select: &Selection) -> Result<i64, DbError> {
    let sql = format!(
        "with gone as (delete from postback.pending p where {SELECTED} returning p.destination, p.event, p.seq)
         insert into postback.attempt (destination, event, attempt, seq, at, outcome, reason)
         select g.destination, g.event, coalesce((select max(a.attempt) from postback.attempt a where a.destination = g.destination and a.event = g.event), 0) + 1,
                g.seq, clock_timestamp(), 'dead', 'discarded by a person'
           from gone g returning 1"
    );
    Ok(tx.query_typed(&sql, &selected(&"dead", select)).await?.len() as i64)
}

async fn resolve_delivered(tx: &Transaction<'_>, last_seq: i64, select: &Selection) -> Result<(i64, i64), DbError> {
    let sql = format!(
        "with gone as (delete from postback.pending p where {SELECTED} returning p.destination, p.event, p.seq)
         insert into postback.attempt (destination, event, attempt, seq, at, outcome, reason)
         select g.destination, g.event, coalesce((select max(a.attempt) from postback.attempt a where a.destination = g.destination and a.event = g.event), 0) + 1,
                g.seq, clock_timestamp(), 'delivered', 'a person found it at the platform'
           from gone g returning destination, event"
    );
    let rows = tx.query_typed(&sql, &selected(&"unknown", select)).await?;
    let added = reopen(tx, last_seq, &rows).await?;
    Ok((rows.len() as i64, added))
}

/// Refunds and retracts that were skipped because these purchases were not sent are judged again, behind them.
async fn reopen(tx: &Transaction<'_>, last_seq: i64, purchases: &[tokio_postgres::Row]) -> Result<i64, DbError> {
    let destinations: Vec<&str> = purchases.iter().map(|row| row.get(0)).collect();
    let events: Vec<i64> = purchases.iter().map(|row| row.get(1)).collect();
    let sql = "insert into postback.log (seq, event, cause, only_at, at)
        select $1 + row_number() over (order by e.event, e.destination), e.event, 'reopen', array[e.destination],
               (select greatest(last_at, clock_timestamp()) from postback.ingest)
          from (select p.destination, r.event
                  from unnest($2::text[], $3::bigint[]) p(destination, event)
                  join postback.event b on b.id = p.event
                  join postback.sale s on s.order_ref = b.ref and s.event = p.event
                  join postback.refund r on r.order_ref = s.order_ref and r.generation = s.generation
                union
                select p.destination, s.retracted
                  from unnest($2::text[], $3::bigint[]) p(destination, event)
                  join postback.event b on b.id = p.event
                  join postback.sale s on s.order_ref = b.ref and s.event = p.event where s.retracted is not null) e";
    update(tx, sql, &[(&last_seq, Type::INT8), (&destinations, Type::TEXT_ARRAY), (&events, Type::INT8_ARRAY)]).await
}
