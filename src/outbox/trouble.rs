//! `postback.trouble`: what the shop's triggers could not say. The functions that say it again are in the schema, and need no daemon.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Client, types::Type};

use super::DbError;

/// An open row of `postback.trouble`.
#[derive(Debug, Serialize)]
pub struct Trouble {
    /// Its id, for `trouble retry`.
    pub id: i64,
    /// When it arose.
    pub at: Timestamp,
    /// The attached trigger, or the function that was called.
    pub what: String,
    /// The table.
    pub table: Option<String>,
    /// INSERT, UPDATE or DELETE.
    pub operation: Option<String>,
    /// PostgreSQL's class of the error.
    pub sqlstate: String,
    /// Retries so far.
    pub tries: i32,
    /// The reference of what was to be said, where it is known and was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// The error's text, where it was asked for: it may quote a value of the shop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The oldest `limit` open rows. References and texts only where asked for.
pub async fn list(db: &Client, limit: i64, messages: bool) -> Result<Vec<Trouble>, DbError> {
    // A dashboard's role may read neither.
    let values = if messages { "args ->> 'ref', message" } else { "null::text, null::text" };
    let sql =
        format!("select id, at, what, tab, operation, sqlstate, tries, {values} from postback.trouble where done is null order by id limit {limit}");
    let rows = db.query_typed(&sql, &[]).await?;
    let trouble = |row: &tokio_postgres::Row| Trouble {
        id: row.get(0),
        at: row.get(1),
        what: row.get(2),
        table: row.get(3),
        operation: row.get(4),
        sqlstate: row.get(5),
        tries: row.get(6),
        order: row.get(7),
        message: row.get(8),
    };
    Ok(rows.iter().map(trouble).collect())
}

/// Ids of everything open, oldest first.
pub async fn open(db: &Client) -> Result<Vec<i64>, DbError> {
    let rows = db.query_typed("select id from postback.trouble where done is null order by id", &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Those of `ids` that were open; they are not any more, and say who did that.
pub async fn discard(db: &Client, ids: &[i64]) -> Result<Vec<i64>, DbError> {
    let sql = "
      with discarded as (
        update postback.trouble set done = clock_timestamp(), answer = 'discarded by ' || session_user
         where id = any($1) and done is null returning id)
      select id from discarded order by id";
    let rows = db.query_typed(sql, &[(&ids, Type::INT8_ARRAY)]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
