//! The server and the login role, for `check`.

use serde::Serialize;
use tokio_postgres::{Client, types::Type};

use super::super::DbError;

/// Whom we talk to, as whom.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Server {
    /// `server_version_num`, e.g. 160004.
    pub version: i32,
    /// As people write it.
    pub version_text: String,
    pub database: String,
    pub role: String,
    pub superuser: bool,
    /// In recovery: nothing is read or sent there.
    pub standby: bool,
    /// Whether schema postback exists.
    pub installed: bool,
}

/// A row of `postback.doctor()`.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// error, warning, info.
    pub severity: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: Option<String>,
}

/// One statement, no table of ours.
pub async fn server(db: &Client) -> Result<Server, DbError> {
    let sql = "select current_setting('server_version_num')::int, current_setting('server_version'), current_database()::text, current_user::text,
                      (select rolsuper from pg_catalog.pg_roles where rolname = current_user), pg_catalog.pg_is_in_recovery(),
                      exists (select from pg_catalog.pg_namespace where nspname = 'postback')";
    let rows = db.query_typed(sql, &[]).await?;
    let row = rows.first().ok_or_else(|| DbError::Unexpected("no row".into()))?;
    Ok(Server {
        version: row.get(0),
        version_text: row.get(1),
        database: row.get(2),
        role: row.get(3),
        superuser: row.get(4),
        standby: row.get(5),
        installed: row.get(6),
    })
}

/// What the login role lacks to be the daemon: `INSERT on postback.log`. Empty: nothing.
pub async fn missing_privileges(db: &Client) -> Result<Vec<String>, DbError> {
    let sql = "
      select format('%s on postback.%s', want, c.relname)
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       cross join unnest(case when c.relname in ('event', 'attached', 'migration', 'identity') then array['SELECT']
                              when c.relname = 'apple_postback' then array['SELECT', 'DELETE'] else array['SELECT', 'INSERT', 'UPDATE', 'DELETE'] end) want
       where n.nspname = 'postback' and c.relname = any($1) and not has_table_privilege(c.oid, want)
       order by c.relname, want";
    let tables = [
        "event",
        "attached",
        "migration",
        "identity",
        "trouble",
        "ingest",
        "daemon",
        "log",
        "sale",
        "refund",
        "once",
        "position",
        "attempt",
        "tally",
        "receipt",
        "pending",
        "command",
        "apple_postback",
        "apple_count",
        "apple_writer",
    ];
    let tables: Vec<&str> = tables.to_vec();
    let rows = db.query_typed(sql, &[(&tables, Type::TEXT_ARRAY)]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Health of the database side; runs trigger bodies on recent rows and takes it back.
pub async fn doctor(db: &Client) -> Result<Vec<Finding>, DbError> {
    let rows = db.query_typed("select severity, what, hint from postback.doctor()", &[]).await?;
    Ok(rows.iter().map(|row| Finding { severity: row.get(0), what: row.get(1), hint: row.get(2) }).collect())
}
