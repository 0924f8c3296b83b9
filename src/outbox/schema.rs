//! The schema in the shop's database: its migrations, embedded, and whether they are there.
//!
//! Forward only. Each migration is one transaction that takes a lock first and looks again, so that two installers do no
//! harm and a migration that failed leaves nothing behind.

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::{Client, error::SqlState, types::Type};

use super::DbError;

/// One numbered file of `sql/migrations`.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its number, from 1 on without gaps.
    pub version: i32,
    /// Its name in the file.
    pub name: &'static str,
    /// Its text.
    pub sql: &'static str,
}

macro_rules! migration {
    ($version:literal, $name:literal, $file:literal) => {
        Migration { version: $version, name: $name, sql: include_str!(concat!("../../sql/migrations/", $file)) }
    };
}

/// All of them, in order.
pub const MIGRATIONS: [Migration; 16] = [
    migration!(1, "outbox", "0001_outbox.sql"),
    migration!(2, "ledger", "0002_ledger.sql"),
    migration!(3, "said", "0003_said.sql"),
    migration!(4, "attach", "0004_attach.sql"),
    migration!(5, "heal", "0005_heal.sql"),
    migration!(6, "doctor", "0006_doctor.sql"),
    migration!(7, "owner", "0007_owner.sql"),
    migration!(8, "identity", "0008_identity.sql"),
    migration!(9, "heal in order", "0009_heal.sql"),
    migration!(10, "slim", "0010_slim.sql"),
    migration!(11, "clicks", "0011_clicks.sql"),
    migration!(12, "apple", "0012_apple.sql"),
    migration!(13, "books", "0013_books.sql"),
    migration!(14, "alert", "0014_alert.sql"),
    migration!(15, "page", "0015_page.sql"),
    migration!(16, "apple numbers", "0016_apple_numbers.sql"),
];

/// The version that this binary works with.
pub const VERSION: i32 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// Serialises installers of one database.
const LOCK: &str = "select pg_catalog.pg_advisory_xact_lock(1886351202, 0)";

/// Why the schema cannot be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The database's answer.
    #[error(transparent)]
    Database(#[from] DbError),
    /// There is none.
    #[error("schema postback is not installed in this database: run \"postbackd schema install --url URL\" as a superuser")]
    Missing,
    /// The role may not even look.
    #[error("role {role} may not use schema postback: a superuser runs \"grant postback_daemon to {role};\"")]
    Forbidden {
        /// Who asked, quoted as SQL wants it.
        role: String,
    },
    /// A newer binary meets an older schema.
    #[error("schema postback is at version {found}, this postbackd needs {VERSION}: run \"postbackd schema upgrade --url URL\" as a superuser")]
    Older {
        /// The highest version below which none is missing.
        found: i32,
    },
    /// An older binary meets a newer schema.
    #[error(
        "schema postback is at version {found}, this postbackd knows {VERSION} and would misread it: start the postbackd that upgraded it, or a newer one"
    )]
    Newer {
        /// The highest version.
        found: i32,
    },
    /// A migration failed; nothing of it stays.
    #[error("migration {version} ({name}) failed and left nothing behind: {error}{}", hint.as_deref().map(|h| format!("\n{h}")).unwrap_or_default())]
    Migration {
        /// Which.
        version: i32,
        /// Its name.
        name: &'static str,
        /// Why.
        error: DbError,
        /// What the server advises.
        hint: Option<String>,
    },
    /// Removing the schema would lose what was not delivered.
    #[error("removing schema postback would lose {0}; deliver it first, or say --force")]
    Undelivered(Loss),
    /// A table could not be locked without making the shop wait.
    #[error("schema postback was not removed: {0} attempts of 100 ms to lock the shop's tables failed; see pg_stat_activity for a long transaction")]
    Busy(u32),
}

impl From<tokio_postgres::Error> for SchemaError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

/// A migration that a database has.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Its number.
    pub version: i32,
    /// Its name.
    pub name: String,
    /// When.
    pub at: Timestamp,
    /// By which role.
    pub by: String,
}

/// What goes with the schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Events kept, delivered or not.
    pub events: i64,
    /// Events that no daemon has read.
    pub unread: i64,
    /// Deliveries that are not at their end: stream entries that a destination has not passed, and open exceptions.
    pub undelivered: i64,
    /// Things that triggers could not say and nobody has said since.
    pub trouble: i64,
    /// Attached triggers.
    pub triggers: i64,
    /// Postbacks that Apple signed; its devices do not send them again.
    pub apple: i64,
}

impl Loss {
    /// Whether anything still has to be told to a platform.
    pub fn is_undelivered(&self) -> bool {
        self.unread > 0 || self.undelivered > 0 || self.trouble > 0
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { events, unread, undelivered, trouble, triggers, apple } = self;
        write!(f, "{events} events ({unread} never read), {undelivered} deliveries under way, {trouble} open rows of trouble, {triggers} triggers")?;
        if *apple > 0 { write!(f, ", {apple} postbacks of Apple's") } else { Ok(()) }
    }
}

/// Puts in what is missing; returns what was applied, nothing where everything was there. With `app_role`, pages of that role
/// may print the dedupe id and pick click ids out of a URL.
///
/// Errors name the grant that is missing where the role is no superuser.
pub async fn install(db: &mut Client, app_role: Option<&str>) -> Result<Vec<Migration>, SchemaError> {
    let applied = migrate(db).await?;
    if let Some(role) = app_role {
        let grants = "select format('grant usage on schema postback to %1$I; grant execute on function postback.event_id(text, text, text, int), \
                      postback.click_ids(text) to %1$I', $1::text)";
        for row in db.query_typed(grants, &[(&role, Type::TEXT)]).await? {
            db.batch_execute(row.get(0)).await?;
        }
    }
    Ok(applied)
}

/// Like [`install`], but refuses a database that has none.
pub async fn upgrade(db: &mut Client) -> Result<Vec<Migration>, SchemaError> {
    match status(db).await?.is_empty() {
        true => Err(SchemaError::Missing),
        false => migrate(db).await,
    }
}

async fn migrate(db: &mut Client) -> Result<Vec<Migration>, SchemaError> {
    let mut applied = Vec::new();
    for migration in MIGRATIONS {
        let Migration { version, name, sql } = migration;
        let failed = |error: tokio_postgres::Error| {
            let hint = error.as_db_error().and_then(|server| server.hint()).map(str::to_owned);
            SchemaError::Migration { version, name, error: error.into(), hint }
        };
        let step = db.transaction().await?;
        step.batch_execute(LOCK).await?;
        let there = known(&step).await?;
        if let Some(newer) = there.iter().map(|a| a.version).max().filter(|found| *found > VERSION) {
            return Err(SchemaError::Newer { found: newer });
        }
        if there.iter().any(|a| a.version == version) {
            continue; // the transaction ends with the scope
        }
        // "already exists, skipping" is no news to anybody.
        step.batch_execute("set local client_min_messages = warning").await?;
        step.batch_execute(sql).await.map_err(failed)?;
        let done = "insert into postback.migration (version, name) values ($1, $2)";
        step.query_typed(done, &[(&version, Type::INT4), (&name, Type::TEXT)]).await.map_err(failed)?;
        step.commit().await.map_err(failed)?;
        applied.push(migration);
    }
    Ok(applied)
}

/// The migrations that the database has, in order; none where the schema is not installed.
pub async fn status(db: &Client) -> Result<Vec<Applied>, SchemaError> {
    Ok(known(db).await?)
}

async fn known(db: &impl tokio_postgres::GenericClient) -> Result<Vec<Applied>, tokio_postgres::Error> {
    // Not to_regclass: it raises where the role may not look into the schema.
    let there = "select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = relnamespace \
                 where nspname = 'postback' and relname = 'migration')";
    if !db.query_typed(there, &[]).await?.iter().any(|row| row.get(0)) {
        return Ok(Vec::new());
    }
    let rows = db.query_typed("select version, name, at, by from postback.migration order by version", &[]).await?;
    Ok(rows.iter().map(|row| Applied { version: row.get(0), name: row.get(1), at: row.get(2), by: row.get(3) }).collect())
}

/// The daemon's question before anything else: is the schema the one that this binary was made for?
pub async fn require(db: &Client) -> Result<(), SchemaError> {
    super::within(super::ANSWER_SOON, async { Ok::<_, DbError>(fits(db).await) }).await?
}

async fn fits(db: &Client) -> Result<(), SchemaError> {
    let there = match known(db).await {
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            let rows = db.query_typed("select quote_ident(current_user)", &[]).await?;
            let role = rows.first().map(|row| row.get(0)).unwrap_or_default();
            return Err(SchemaError::Forbidden { role });
        }
        other => other?,
    };
    let newest = there.last().map_or(0, |a| a.version);
    let unbroken = there.iter().zip(&MIGRATIONS).take_while(|(applied, wanted)| applied.version == wanted.version).last();
    match unbroken.map_or(0, |(applied, _)| applied.version) {
        0 if newest == 0 => Err(SchemaError::Missing),
        _ if newest > VERSION => Err(SchemaError::Newer { found: newest }),
        found if found < VERSION => Err(SchemaError::Older { found }),
        _ => Ok(()),
    }
}

/// Whether commits that say something notify [`super::listen::CHANNEL`]. Takes no lock when it is so already.
pub async fn wake(db: &Client, listen: bool) -> Result<(), DbError> {
    super::within(super::ANSWER, db.query_typed("select postback.wake($1)", &[(&listen, Type::BOOL)])).await?;
    Ok(())
}

/// What would go with the schema.
pub async fn loss(db: &Client) -> Result<Loss, SchemaError> {
    Ok(counted(db).await?)
}

async fn counted(db: &impl tokio_postgres::GenericClient) -> Result<Loss, tokio_postgres::Error> {
    let row = &db.query_typed(include_str!("../../sql/loss.sql"), &[]).await?[0];
    // A schema of before 0012 goes too.
    let has_apple = "select to_regclass('postback.apple_postback') is not null";
    let apple = match db.query_typed(has_apple, &[]).await?[0].get(0) {
        true => db.query_typed("select count(*) from postback.apple_postback where verdict = 'verified'", &[]).await?[0].get(0),
        false => 0,
    };
    Ok(Loss { events: row.get(0), unread: row.get(1), undelivered: row.get(2), trouble: row.get(3), triggers: row.get(4), apple })
}

/// Takes the triggers off the shop's tables and drops the schema; says what went with it. Refuses while something is
/// undelivered, unless forced. Roles and what they were granted on the shop's tables stay: other databases may use them.
pub async fn uninstall(db: &mut Client, force: bool) -> Result<Loss, SchemaError> {
    const ATTEMPTS: u32 = 100;
    if status(db).await?.is_empty() {
        return Err(SchemaError::Missing);
    }
    for _ in 0..ATTEMPTS {
        let step = db.transaction().await?;
        step.batch_execute(LOCK).await?;
        // Nothing can be said between the count and the end, and the shop waits 100 ms at most, for whatever lock.
        let dropped = async {
            step.batch_execute("set local lock_timeout = '100ms'; set local client_min_messages = warning").await?;
            let triggers = "select format('drop trigger %I on %s', tgname, tgrelid::regclass) from pg_trigger join pg_proc p on p.oid = tgfoid \
                            where pronamespace = 'postback'::regnamespace and not tgisinternal and tgparentid = 0 order by tgrelid, tgname";
            for row in step.query_typed(triggers, &[]).await? {
                step.batch_execute(row.get(0)).await?;
            }
            step.batch_execute("lock table postback.event in share row exclusive mode").await?;
            let loss = counted(&step).await?;
            if force || !loss.is_undelivered() {
                step.batch_execute("drop schema postback cascade").await?;
            }
            Ok::<_, tokio_postgres::Error>(loss)
        };
        match dropped.await {
            Ok(loss) if !force && loss.is_undelivered() => return Err(SchemaError::Undelivered(loss)),
            Ok(loss) => {
                step.commit().await?;
                return Ok(loss);
            }
            Err(error) if matches!(error.code(), Some(&SqlState::LOCK_NOT_AVAILABLE | &SqlState::T_R_DEADLOCK_DETECTED)) => {
                step.rollback().await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(SchemaError::Busy(ATTEMPTS))
}

/// The whole schema as text for a DBA's own tool: plain SQL, safe to run twice, a transaction per migration.
pub fn sql() -> String {
    let mut text = format!(
        "-- Schema postback, version {VERSION}, as postbackd {} installs it. Plain SQL; it may run again at any time and\n\
         -- then does nothing. Run it as a superuser, or read the head of the first migration for what is needed otherwise.\n",
        env!("CARGO_PKG_VERSION")
    );
    for Migration { version, name, sql } in MIGRATIONS {
        text.push_str(&format!(
            "\nbegin;\n{LOCK};\nset local client_min_messages = warning;\ndo $postback_{version}$\ndeclare\n  there boolean := false;\nbegin\n  \
             if to_regclass('postback.migration') is not null then\n    \
             execute 'select exists (select from postback.migration where version = {version})' into there;\n  end if;\n  \
             if not there then\n    execute $postback_migration_{version}$\n{sql}$postback_migration_{version}$;\n    \
             execute 'insert into postback.migration (version, name) values ({version}, ''{name}'')';\n  end if;\nend $postback_{version}$;\ncommit;\n"
        ));
    }
    text
}
