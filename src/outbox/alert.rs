//! `postback.alert`: what the hooks were told. Written by the owner alone.

use jiff::Timestamp;
use tokio_postgres::{Client, types::Type};

use super::{ANSWER, BOUNDED, DbError, Param, within};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What it is about.
    pub what: String,
    /// The destination; empty: none.
    pub destination: String,
    /// Since when it is so.
    pub since: Timestamp,
    /// When the hooks last took it.
    pub told: Timestamp,
}

/// All of them.
pub async fn told(db: &Client) -> Result<Vec<Told>, DbError> {
    let rows = within(ANSWER, db.query_typed("select what, destination, since, told from postback.alert", &[])).await?;
    Ok(rows.iter().map(|row| Told { what: row.get(0), destination: row.get(1), since: row.get(2), told: row.get(3) }).collect())
}

/// The hooks took it.
pub async fn keep(db: &Client, epoch: i64, alert: &Told) -> Result<(), DbError> {
    let sql = "
      insert into postback.alert (what, destination, since, told) values ($1, $2, $3, $4)
      on conflict (what, destination) do update set since = excluded.since, told = excluded.told";
    let params: [Param<'_>; 4] =
        [(&alert.what, Type::TEXT), (&alert.destination, Type::TEXT), (&alert.since, Type::TIMESTAMPTZ), (&alert.told, Type::TIMESTAMPTZ)];
    write(db, epoch, sql, &params).await
}

/// It is over, and the hooks took that.
pub async fn drop(db: &Client, epoch: i64, what: &str, destination: &str) -> Result<(), DbError> {
    let sql = "delete from postback.alert where what = $1 and destination = $2";
    write(db, epoch, sql, &[(&what, Type::TEXT), (&destination, Type::TEXT)]).await
}

/// Nothing of it stays where another owner took over.
async fn write(db: &Client, epoch: i64, sql: &str, params: &[Param<'_>]) -> Result<(), DbError> {
    let begin = format!("begin; {BOUNDED}");
    let mine: [Param<'_>; 1] = [(&epoch, Type::INT8)];
    let all = async {
        Ok::<_, DbError>(tokio::join!(
            db.batch_execute(&begin),
            db.query_typed(sql, params),
            db.query_typed("select postback.own($1)", &mine),
            db.batch_execute("commit"),
        ))
    };
    let (begun, written, owned, ended) = within(ANSWER, all).await?;
    begun?;
    written?;
    owned?;
    Ok(ended?)
}
