//! Postbacks of Apple's in the database: kept, counted, listed.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Client, Row, types::Type};

use super::{DbError, Param, within};
use crate::apple::{
    Environment,
    count::{Batch, Count},
    tell,
};

/// One to be kept. `Debug` shows no body.
#[derive(Clone)]
pub struct Entry<'a> {
    /// `skadnetwork`, `adattributionkit`.
    pub protocol: &'static str,
    /// SKAdNetwork's.
    pub version: Option<&'a str>,
    /// `verified`, `invalid`, `unverifiable`.
    pub verdict: &'static str,
    /// Why it is not verified.
    pub reason: Option<&'static str>,
    /// `production`, `development`.
    pub environment: Option<&'static str>,
    /// A UUID.
    pub identifier: &'a str,
    /// From 0.
    pub sequence: u8,
    /// The advertised app.
    pub app: i64,
    /// The network counts.
    pub won: bool,
    /// A JSON object: what it says.
    pub fields: String,
    /// As it came.
    pub body: &'a [u8],
    /// Of a verdict that anybody can bring about: this many are kept within a day.
    pub keep: i32,
    /// The event: kind, reference and `more`, a JSON object.
    pub say: Option<(&'static str, String, String)>,
}

impl std::fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({} {} {}, {} bytes)", self.protocol, self.verdict, self.app, self.body.len())
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is there.
    New,
    /// It was there.
    Duplicate,
    /// Enough of its kind are.
    Full,
}

/// Keeps one, and says its event; durable when this returns. Whoever calls it bounds it, with [`super::connect::Cancel`].
pub async fn receive(db: &Client, entry: &Entry<'_>) -> Result<Stored, DbError> {
    let sql = "select postback.apple_receive($1, $2, $3, $4, $5, $6::text::uuid, $7, $8, $9, $10::text::jsonb, $11, $12, $13, $14, $15::text::jsonb)";
    let (kind, reference, more) = match &entry.say {
        Some((kind, reference, more)) => (Some(*kind), Some(reference), Some(more)),
        None => (None, None, None),
    };
    let sequence = i32::from(entry.sequence);
    let params: [Param<'_>; 15] = [
        (&entry.protocol, Type::TEXT),
        (&entry.version, Type::TEXT),
        (&entry.verdict, Type::TEXT),
        (&entry.reason, Type::TEXT),
        (&entry.environment, Type::TEXT),
        (&entry.identifier, Type::TEXT),
        (&sequence, Type::INT4),
        (&entry.app, Type::INT8),
        (&entry.won, Type::BOOL),
        (&entry.fields, Type::TEXT),
        (&entry.body, Type::BYTEA),
        (&entry.keep, Type::INT4),
        (&kind, Type::TEXT),
        (&reference, Type::TEXT),
        (&more, Type::TEXT),
    ];
    let rows = db.query_typed(sql, &params).await?;
    match rows.first().map(|row| row.get::<_, &str>(0)) {
        Some("stored") => Ok(Stored::New),
        Some("duplicate") => Ok(Stored::Duplicate),
        Some("full") => Ok(Stored::Full),
        _ => Err(DbError::Unexpected("postback.apple_receive() says nothing that is known".into())),
    }
}

/// Adds to the numbers of today; a batch that was added before is not added again.
pub async fn count(db: &Client, Batch { writer, number, counts }: &Batch) -> Result<(), DbError> {
    let sql = "with me as (
                 insert into postback.apple_writer as w (writer, batch, at) values ($6, $7, clock_timestamp())
                 on conflict (writer) do update set (batch, at) = (excluded.batch, excluded.at) where w.batch < excluded.batch
                 returning writer)
               insert into postback.apple_count as c (day, protocol, version, verdict, reason, count)
               select (clock_timestamp() at time zone 'UTC')::date, n.*
                 from me, unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]) as n(protocol, version, verdict, reason, count)
                order by 2, 3, 4, 5
               on conflict (day, protocol, version, verdict, reason) do update set count = c.count + excluded.count";
    let column = |of: fn(&Count) -> &'static str| counts.iter().map(of).collect::<Vec<_>>();
    let numbers: Vec<i64> = counts.iter().map(|count| i64::try_from(count.count).unwrap_or(i64::MAX)).collect();
    let columns = [
        column(|count| count.label.protocol),
        column(|count| count.label.version),
        column(|count| count.label.verdict),
        column(|count| count.label.reason),
    ];
    let [protocol, version, verdict, reason] = &columns;
    let params: [Param<'_>; 7] = [
        (protocol, Type::TEXT_ARRAY),
        (version, Type::TEXT_ARRAY),
        (verdict, Type::TEXT_ARRAY),
        (reason, Type::TEXT_ARRAY),
        (&numbers, Type::INT8_ARRAY),
        (writer, Type::INT8),
        (number, Type::INT8),
    ];
    Ok(db.query_typed(sql, &params).await.map(drop)?)
}

/// Which are listed; `None` is any.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The advertised app.
    pub app: Option<i64>,
    /// `verified`, `invalid`, `unverifiable`, `development`.
    pub verdict: Option<String>,
    /// `skadnetwork`, `adattributionkit`.
    pub protocol: Option<String>,
    /// Received since.
    pub since: Option<Timestamp>,
}

/// One that is kept.
#[derive(Clone, Debug, Serialize)]
pub struct Kept {
    /// When it came.
    pub received_at: Timestamp,
    /// `skadnetwork`, `adattributionkit`.
    pub protocol: String,
    /// SKAdNetwork's.
    pub version: Option<String>,
    /// `verified`, `invalid`, `unverifiable`.
    pub verdict: String,
    /// Why it is not verified.
    pub reason: Option<String>,
    /// `production`, `development`.
    pub environment: Option<String>,
    /// The event that was said of it.
    pub event: Option<i64>,
    /// What it says.
    pub fields: serde_json::Value,
    /// As it came, where it is asked for, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// A [`Kept`] in a list for people: each part as a word, empty where it says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Line {
    /// The protocol and its version.
    pub what: String,
    /// `development` is verified, but of a test.
    pub verdict: String,
    /// Why it is not verified, or not counted.
    pub why: String,
    pub app: String,
    pub network: String,
    pub campaign: String,
    /// Which of an install's, from 1.
    pub number: String,
    pub value: String,
    pub meaning: String,
    /// With its currency.
    pub worth: String,
    /// Of the event that was said of it.
    pub reference: Option<String>,
}

impl Kept {
    /// Its parts in words.
    pub fn line(&self) -> Line {
        let field = |key: &str| self.fields.get(key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        let sequence = self.fields.get("sequence").and_then(serde_json::Value::as_u64).and_then(|sequence| u8::try_from(sequence).ok());
        let test = self.environment.as_deref() == Some(Environment::Development.word());
        let lost = self.verdict == "verified" && field("did_win").as_deref() == Some("false");
        Line {
            what: self.version.as_ref().map_or_else(|| self.protocol.clone(), |version| format!("{} {version}", self.protocol)),
            verdict: if test { Environment::Development.word().to_owned() } else { self.verdict.clone() },
            why: if lost { "another network won".to_owned() } else { self.reason.clone().unwrap_or_default() },
            app: field("app_name").or_else(|| field("app")).unwrap_or_default(),
            network: field("network").unwrap_or_default(),
            campaign: field("source_identifier").or_else(|| field("campaign")).unwrap_or_default(),
            number: sequence.map(|sequence| (u32::from(sequence) + 1).to_string()).unwrap_or_default(),
            value: field("conversion_value").or_else(|| field("coarse_value")).unwrap_or_default(),
            meaning: field("meaning").unwrap_or_default(),
            worth: field("value").map(|value| format!("{value} {}", field("currency").unwrap_or_default())).unwrap_or_default(),
            reference: self.event.and(field("identifier").zip(sequence)).map(|(id, sequence)| tell::reference(&self.protocol, &id, sequence)),
        }
    }
}

/// What everything that came was.
#[derive(Clone, Debug, Serialize)]
pub struct Number {
    /// `skadnetwork`, `adattributionkit`.
    pub protocol: String,
    /// SKAdNetwork's, `other` for one that is not known; empty where it has none or was not read.
    pub version: String,
    /// As [`crate::apple::count::Label`] has it.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub count: i64,
}

/// What the planner can count with, and find indexes for.
fn condition(filter: &Filter) -> String {
    let verdict = match filter.verdict.as_deref() {
        None => "$2::text is null",
        Some("verified") => "p.verdict = $2 and p.environment = 'production'",
        Some("development") => "p.environment = $2",
        Some(_) => "p.verdict = $2",
    };
    format!(
        "($1::int8 is null or p.app = $1) and {verdict} and ($3::text is null or p.protocol = $3) and ($4::timestamptz is null or p.received_at >= $4)"
    )
}

/// The latest, at most `limit`.
pub async fn list(db: &Client, filter: &Filter, limit: i64, bodies: bool) -> Result<Vec<Kept>, DbError> {
    let body = if bodies { "translate(encode(p.body, 'base64'), E'\\n', '')" } else { "null::text" };
    let sql = format!(
        "select p.received_at, p.protocol, p.version, p.verdict, p.reason, p.environment, p.event, p.fields::text, {body}
           from postback.apple_postback p where {} order by p.received_at desc limit $5",
        condition(filter)
    );
    let rows = within(super::ANSWER, db.query_typed(&sql, &params(filter, &limit))).await?;
    Ok(rows.iter().map(kept).collect())
}

/// How many there are.
pub async fn total(db: &Client, filter: &Filter) -> Result<i64, DbError> {
    let sql = format!("select count(*) from postback.apple_postback p where {} and $5::int8 is not null", condition(filter));
    let rows = within(super::ANSWER, db.query_typed(&sql, &params(filter, &0))).await?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}

fn params<'a>(filter: &'a Filter, limit: &'a i64) -> [Param<'a>; 5] {
    [
        (&filter.app, Type::INT8),
        (&filter.verdict, Type::TEXT),
        (&filter.protocol, Type::TEXT),
        (&filter.since, Type::TIMESTAMPTZ),
        (limit, Type::INT8),
    ]
}

fn kept(row: &Row) -> Kept {
    Kept {
        received_at: row.try_get(0).unwrap_or(Timestamp::UNIX_EPOCH),
        protocol: row.get(1),
        version: row.get(2),
        verdict: row.get(3),
        reason: row.get(4),
        environment: row.get(5),
        event: row.get(6),
        fields: serde_json::from_str(row.get(7)).unwrap_or_default(),
        body: row.get(8),
    }
}

/// What came since a day, from all daemons; they write it down every few seconds.
pub async fn numbers(db: &Client, since: Option<Timestamp>) -> Result<Vec<Number>, DbError> {
    let sql = "select c.protocol, c.version, c.verdict, c.reason, sum(c.count)::bigint from postback.apple_count c
                where $1::timestamptz is null or c.day >= ($1 at time zone 'UTC')::date group by 1, 2, 3, 4 order by 1, 2, 3, 4";
    let rows = within(super::ANSWER, db.query_typed(sql, &[(&since, Type::TIMESTAMPTZ)])).await?;
    Ok(rows
        .iter()
        .map(|row| Number { protocol: row.get(0), version: row.get(1), verdict: row.get(2), reason: row.get(3), count: row.get(4) })
        .collect())
}
