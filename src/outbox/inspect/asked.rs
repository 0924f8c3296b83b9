//! What people asked for, who it was, and what became of it.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Client, Row, types::Type};

use super::super::DbError;
use crate::command::{Answer, Command};

/// A row of `postback.command`.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    /// Its id.
    pub id: i64,
    /// When it was asked for.
    pub at: Timestamp,
    /// By whom: a login role, or a name that was given on the page.
    pub who: String,
    /// `None`: this version does not know it.
    pub what: Option<Command>,
    /// `None`: no owner has carried it out yet.
    pub answer: Option<Answer>,
}

const COLUMNS: &str = "c.id, c.at, c.who, c.what::text, c.answer::text";

fn asked(row: &Row) -> Asked {
    let answer: Option<&str> = row.get(4);
    Asked {
        id: row.get(0),
        at: row.get(1),
        who: row.get(2),
        what: serde_json::from_str(row.get(3)).ok(),
        answer: answer.and_then(|text| serde_json::from_str(text).ok()),
    }
}

/// The last `limit` of them.
pub async fn last_asked(db: &Client, limit: i64) -> Result<Vec<Asked>, DbError> {
    let sql = format!("select {COLUMNS} from postback.command c order by c.id desc limit {limit}");
    Ok(db.query_typed(&sql, &[]).await?.iter().map(asked).collect())
}

/// One of them.
pub async fn asked_for(db: &Client, id: i64) -> Result<Option<Asked>, DbError> {
    let sql = format!("select {COLUMNS} from postback.command c where c.id = $1");
    Ok(db.query_typed(&sql, &[(&id, Type::INT8)]).await?.first().map(asked))
}
