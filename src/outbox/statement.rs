//! What is asked of the server again and again. Statements are unnamed, so that they pass transaction poolers, and are parsed and
//! planned each time: for a single order that took as long as carrying them out. So parts of long ones are left out where there is
//! nothing for them, and where a connection is known to be a session, what the reader asks is prepared once.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tokio_postgres::{Client, Error, Row, Statement, types::ToSql};

use super::Param;

/// Statements that a session has prepared, by their text. They go with it.
#[derive(Default)]
pub struct Kept(Mutex<HashMap<String, Statement>>);

/// A connection, and what it keeps prepared where it is a session.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    db: &'a Client,
    kept: Option<&'a Kept>,
}

/// A statement that can be sent in one round trip with others.
pub(super) struct Ready<'a> {
    db: &'a Client,
    sql: &'a str,
    named: Option<Statement>,
}

/// Nothing is kept.
impl<'a> From<&'a Client> for Way<'a> {
    fn from(db: &'a Client) -> Self {
        Self::new(db, None)
    }
}

impl<'a> Way<'a> {
    /// `kept` only where nobody stands between who could lend the session to others.
    pub fn new(db: &'a Client, kept: Option<&'a Kept>) -> Self {
        Self { db, kept }
    }

    /// The connection itself.
    pub(super) fn db(self) -> &'a Client {
        self.db
    }

    /// Prepares it where that is done; `params` for their types. It is planned when it is first sent, by what the transaction says
    /// then.
    pub(super) async fn ready(self, sql: &'a str, params: &[Param<'_>]) -> Result<Ready<'a>, Error> {
        let Some(Kept(kept)) = self.kept else { return Ok(Ready { db: self.db, sql, named: None }) };
        let there = kept.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        let statement = match there {
            Some(statement) => statement,
            None => {
                let types: Vec<_> = params.iter().map(|(_, kind)| kind.clone()).collect();
                let statement = self.db.prepare_typed(sql, &types).await?;
                kept.lock().unwrap_or_else(PoisonError::into_inner).insert(sql.to_owned(), statement.clone());
                statement
            }
        };
        Ok(Ready { db: self.db, sql, named: Some(statement) })
    }

    /// Asks by itself.
    pub(super) async fn query(self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        self.ready(sql, params).await?.query(params).await
    }
}

impl Ready<'_> {
    /// Sends it when first polled.
    pub(super) async fn query(&self, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        match &self.named {
            Some(statement) => {
                let values: Vec<&(dyn ToSql + Sync)> = params.iter().map(|(value, _)| *value).collect();
                self.db.query(statement, &values).await
            }
            None => self.db.query_typed(self.sql, params).await,
        }
    }
}

/// The parts of `text` that are wanted, without its comments. A part stands between a line `--[ NAME` and a line `--]`.
/// All parameters stay, in their places: what no part mentions is an empty array.
pub(super) fn with_parts(text: &str, wanted: impl Fn(&str) -> bool) -> String {
    let (mut sql, mut within) = (String::with_capacity(text.len()), true);
    for line in text.lines() {
        let line = line.trim_start();
        if let Some(name) = line.strip_prefix("--[ ") {
            within = wanted(name);
        } else if line == "--]" {
            within = true;
        } else if within && !line.starts_with("--") {
            sql.push_str(line);
            sql.push('\n');
        }
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_is_left_out() {
        let text = "-- why\nselect 1\n--[ a\n  -- more\n  , 2\n--]\n--[ b b\n, 3\n--]\nfrom t";
        assert_eq!(with_parts(text, |name| name == "b b"), "select 1\n, 3\nfrom t\n");
        assert_eq!(with_parts(text, |_| true), "select 1\n, 2\n, 3\nfrom t\n");
    }
}
