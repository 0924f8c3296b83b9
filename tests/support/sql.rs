//! Small words for tests that are mostly SQL.

use tokio_postgres::{Client, types::FromSqlOwned};

/// The one value that `sql` gives.
pub async fn one<T: FromSqlOwned>(db: &Client, sql: &str) -> T {
    db.query_one(sql, &[]).await.unwrap_or_else(|why| panic!("{sql}: {why:?}")).get(0)
}

/// The first column of every row.
pub async fn all<T: FromSqlOwned>(db: &Client, sql: &str) -> Vec<T> {
    db.query(sql, &[]).await.unwrap_or_else(|why| panic!("{sql}: {why:?}")).iter().map(|row| row.get(0)).collect()
}

/// Runs statements that must succeed.
pub async fn run(db: &Client, sql: &str) {
    db.batch_execute(sql).await.unwrap_or_else(|why| panic!("{sql}: {why:?}"));
}

/// Runs statements that must fail; gives SQLSTATE, message and hint.
pub async fn fails(db: &Client, sql: &str) -> (String, String, String) {
    let why = db.batch_execute(sql).await.expect_err(sql);
    let server = why.as_db_error().unwrap_or_else(|| panic!("{sql}: {why:?}"));
    (server.code().code().to_owned(), server.message().to_owned(), server.hint().unwrap_or_default().to_owned())
}
