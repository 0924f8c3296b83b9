//! Orders of the past by a query of the shop's: read in pages out of one snapshot, and said as any other purchase.

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;
use tokio_postgres::{Client, SimpleQueryMessage, types::Type};

use super::{ANSWER, DbError, Param, within};

/// Columns that a query may have.
pub const COLUMNS: [&str; 7] = ["order_ref", "value", "currency", "refunded", "occurred_at", "who", "more"];
/// The shop's query may take that long to its first rows, and from one page to the next.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// An order that is to be said. Money is decimal text in major units.
#[derive(Debug)]
pub struct Past<'a> {
    /// The shop's reference.
    pub order_ref: &'a str,
    /// What was paid.
    pub value: &'a str,
    /// ISO 4217.
    pub currency: &'a str,
    /// What was given back since.
    pub refunded: &'a str,
    /// When it was paid.
    pub occurred_at: Timestamp,
    /// A JSON object.
    pub who: &'a str,
    /// A JSON object.
    pub more: &'a str,
    /// The reference of its one refund: whence it comes.
    pub source: &'static str,
}

/// A row of the query.
#[derive(Debug)]
pub struct Row {
    /// Empty: it had none.
    pub order_ref: String,
    /// As text; empty where there is none.
    pub value: String,
    /// The same.
    pub currency: String,
    /// `0` where there is none.
    pub refunded: String,
    /// Now where there is none.
    pub occurred_at: Timestamp,
    /// A JSON object.
    pub who: String,
    /// A JSON object.
    pub more: String,
    /// The ledger has its purchase.
    pub told: bool,
}

/// Why a query cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The database's trouble.
    #[error(transparent)]
    Database(#[from] DbError),
    /// What the server says of the query itself.
    #[error("the query fails: {0}")]
    Query(String),
    /// A column that means nothing here.
    #[error("the query has a column {0:?}; known are {known}", known = COLUMNS.join(", "))]
    Column(String),
}

/// Reads the query's rows, page after page.
#[derive(Debug)]
pub struct Reading<'a> {
    db: &'a Client,
}

impl<'a> Reading<'a> {
    /// Begins a read-only transaction, which ends with [`Self::end`] or the session.
    pub async fn begin(db: &'a Client, query: &str) -> Result<Self, QueryError> {
        let query = unended(query);
        // On lines of its own: it may end with a comment.
        let columns = format!("select * from (\n{query}\n) b limit 0");
        let described = within(ANSWER, db.simple_query(&columns)).await.map_err(told)?;
        for message in &described {
            if let SimpleQueryMessage::RowDescription(columns) = message
                && let Some(column) = columns.iter().find(|column| !COLUMNS.contains(&column.name()))
            {
                return Err(QueryError::Column(column.name().to_owned()));
            }
        }
        let sql = format!(
            "begin isolation level repeatable read read only; declare past no scroll cursor for
             select coalesce(x.j ->> 'order_ref', ''), coalesce(x.j ->> 'value', ''), coalesce(upper(btrim(x.j ->> 'currency')), ''),
                    coalesce(x.j ->> 'refunded', '0'), coalesce((x.j ->> 'occurred_at')::timestamptz, now()),
                    coalesce(nullif(x.j -> 'who', 'null'), '{{}}')::text, coalesce(nullif(x.j -> 'more', 'null'), '{{}}')::text,
                    exists (select from postback.sale s where s.order_ref = x.j ->> 'order_ref' and s.event is not null)
               from (select to_jsonb(b) as j from (
{query}
) b) x"
        );
        within(PATIENCE, db.batch_execute(&sql)).await.map_err(told)?;
        Ok(Self { db })
    }

    /// The next rows; none: there are no more.
    pub async fn page(&self, rows: u32) -> Result<Vec<Row>, QueryError> {
        let found = within(PATIENCE, self.db.query_typed(&format!("fetch {rows} from past"), &[])).await.map_err(told)?;
        let row = |row: &tokio_postgres::Row| Row {
            order_ref: row.get(0),
            value: row.get(1),
            currency: row.get(2),
            refunded: row.get(3),
            occurred_at: row.try_get(4).unwrap_or(Timestamp::UNIX_EPOCH),
            who: row.get(5),
            more: row.get(6),
            told: row.get(7),
        };
        Ok(found.iter().map(row).collect())
    }

    /// Ends the transaction.
    pub async fn end(self) -> Result<(), DbError> {
        within(ANSWER, self.db.batch_execute("rollback")).await
    }
}

/// Without the semicolon behind which nothing but comments comes.
fn unended(query: &str) -> &str {
    let is_comment = |line: &str| line.trim().is_empty() || line.trim().starts_with("--");
    match query.rsplit_once(';') {
        Some((query, rest)) if rest.lines().all(is_comment) => unended(query),
        _ => query,
    }
}

/// A person wrote the query, and reads what the server says of it.
fn told(error: DbError) -> QueryError {
    match error.server_text() {
        Some(text) => QueryError::Query(text),
        None => QueryError::Database(error),
    }
}

/// References of purchases that are committed and not in the stream yet.
pub async fn unread(db: &Client) -> Result<HashSet<String>, DbError> {
    let sql = "select distinct u.ref from postback.unread(10000000) u where u.kind = 'purchase'";
    Ok(within(ANSWER, db.query_typed(sql, &[])).await?.iter().map(|row| row.get(0)).collect())
}

/// An ordinary purchase at its own time, and what was given back of it, in one transaction. Said twice it is told once.
pub async fn say(db: &Client, order: &Past<'_>) -> Result<bool, DbError> {
    let sql = "
      select postback.purchase($1, $2::text::numeric, $3, $4::text::jsonb, $5::text::jsonb || jsonb_build_object('occurred_at', $6::timestamptz)) is not null
         and ($7::text::numeric <= 0 or postback.refund($1, $8, $7::text::numeric) is not null)";
    let params: [Param<'_>; 8] = [
        (&order.order_ref, Type::TEXT),
        (&order.value, Type::TEXT),
        (&order.currency, Type::TEXT),
        (&order.who, Type::TEXT),
        (&order.more, Type::TEXT),
        (&order.occurred_at, Type::TIMESTAMPTZ),
        (&order.refunded, Type::TEXT),
        (&order.source, Type::TEXT),
    ];
    let rows = within(ANSWER, db.query_typed(sql, &params)).await?;
    Ok(rows.first().and_then(|row| row.get(0)).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_may_end_as_files_do() {
        for query in ["select 1", "select 1;", "select 1 ;\n", "select 1;;\n-- done\n\n  -- really", "select 1; -- so"] {
            assert_eq!(unended(query).trim(), "select 1", "{query:?}");
        }
        for query in ["select ';' as x", "select 1; select 2", "select 1 -- a; b"] {
            assert_eq!(unended(query), query);
        }
    }
}
