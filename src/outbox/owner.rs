//! Who is at work: advisory locks on one dedicated direct session, and epochs that every write is guarded by.
//!
//! One lock for reading the shop's commits and one for each destination. A lock makes others wait; an epoch makes a former
//! owner's writes match nothing. Epochs come from one sequence, drawn by the statement that takes the lock: whoever took it
//! later has the higher one. They rise with every session and not only with a takeover, because a COMMIT whose answer was lost
//! can still go through.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio_postgres::{Client, Row, types::Type};

use super::{ANSWER_SOON, DbError, Param, within};
use crate::process::Process;

/// Advisory lock of the reader: this class ("pbwd" as a number) and 1. Locks of this kind belong to one database.
pub(super) const READER: i32 = 1_885_501_284;
/// Class of the destinations' locks; the second number is the name's hash. Two names with one hash could not be spread over two
/// daemons, which is one pair in four thousand millions.
const DESTINATION: i32 = READER + 1;
/// How often a lock that another daemon holds is tried for.
pub const TRY_EVERY: Duration = Duration::from_millis(500);

/// Prepares the session that will hold the locks: the server ends it by itself when this process goes silent, because the
/// kernel of a stopped process still answers keepalives.
async fn prepare(lock: &Client) -> Result<(), DbError> {
    // No standby of the server has to know of a check: what counts is the server that gives the locks.
    let settings = lock.batch_execute("set idle_session_timeout = '5s'; set statement_timeout = '5s'; set synchronous_commit = 'local'");
    within(ANSWER_SOON, settings).await
}

/// A session that can hold locks, and its row in `postback.daemon`.
#[derive(Debug)]
pub struct Keeper {
    lock: Client,
    /// `postback.daemon.id`.
    pub session: i64,
    process: Process,
    /// Of the reader; zero while it is not held.
    reading: AtomicI64,
    /// Destinations whose locks are held; a second lock would need a second unlock.
    held: tokio::sync::Mutex<HashSet<Arc<str>>>,
}

/// The reader's lock is held.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Guards every write of the reader.
    pub epoch: i64,
    /// The last number of the stream.
    pub last_seq: i64,
}

impl Keeper {
    /// Introduces this process; `fence` is how long it begins requests after a check.
    pub async fn introduce(lock: Client, instance: &str, fence: Duration) -> Result<Self, DbError> {
        prepare(&lock).await?;
        if within(ANSWER_SOON, lock.query_typed("select pg_is_in_recovery()", &[])).await?.first().is_none_or(|row| row.get(0)) {
            return Err(DbError::Standby);
        }
        let process = Process::this();
        let sql = "
          with old as (
            delete from postback.daemon d where checked < clock_timestamp() - interval '1 day'
               and not exists (select from postback.ingest where daemon = d.id) and not exists (select from postback.position where daemon = d.id))
          insert into postback.daemon (instance, machine, pid, started, backend, backend_start, fence_ms)
          select $1, $2, $3, $4, pid, backend_start, $5 from pg_catalog.pg_stat_activity where pid = pg_backend_pid()
          returning id";
        let fence_ms = millis(fence);
        let params = [
            (&instance as &(dyn tokio_postgres::types::ToSql + Sync), Type::TEXT),
            (&process.machine, Type::TEXT),
            (&process.pid, Type::INT4),
            (&process.started, Type::INT8),
            (&fence_ms, Type::INT4),
        ];
        let session = within(ANSWER_SOON, lock.query_typed(sql, &params))
            .await?
            .first()
            .ok_or_else(|| DbError::Unexpected("this session is not in pg_stat_activity".into()))?
            .get(0);
        Ok(Self { lock, session, process, reading: AtomicI64::new(0), held: tokio::sync::Mutex::default() })
    }

    async fn ask(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        within(ANSWER_SOON, self.lock.query_typed(sql, params)).await
    }

    /// This process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Takes over reading the shop's commits, if nobody does.
    pub async fn take_reading(&self) -> Result<Option<Reading>, DbError> {
        let Some(epoch) = self.draw(READER, None).await? else { return Ok(None) };
        let sql = "
          update postback.ingest i set epoch = $1, daemon = $2, owner = d.instance from postback.daemon d
           where d.id = $2 and i.epoch < $1 and set_config('synchronous_commit', 'on', true) is not null returning i.last_seq";
        let rows = self.ask(sql, &[(&epoch, Type::INT8), (&self.session, Type::INT8)]).await?;
        let last_seq = rows.first().ok_or(DbError::Fenced)?.get(0);
        self.reading.store(epoch, Ordering::Release);
        Ok(Some(Reading { epoch, last_seq }))
    }

    /// Whether this session has the lock for reading the shop's commits.
    pub fn reads(&self) -> bool {
        self.reading.load(Ordering::Acquire) != 0
    }

    /// The last number of the stream that somebody else writes.
    pub async fn last_seq(&self) -> Result<i64, DbError> {
        Ok(super::stream::end(&self.lock).await?.last_seq)
    }

    /// Takes a destination, if nobody else works it: the epoch that guards its position from now on. May be asked again for one
    /// that is held: the epoch rises.
    pub async fn take(&self, destination: &Arc<str>) -> Result<Option<i64>, DbError> {
        let mut held = self.held.lock().await;
        if held.contains(destination) {
            return Ok(Some(self.ask("select nextval('postback.epoch_seq')", &[]).await?[0].get(0)));
        }
        let epoch = self.draw(DESTINATION, Some(destination)).await?;
        if epoch.is_some() {
            held.insert(Arc::clone(destination));
        }
        Ok(epoch)
    }

    /// Lets somebody else work it.
    pub async fn give_back(&self, destination: &Arc<str>) -> Result<(), DbError> {
        if self.held.lock().await.remove(destination) {
            let sql = "select pg_advisory_unlock($1, hashtext($2))";
            self.ask(sql, &[(&DESTINATION, Type::INT4), (&&**destination, Type::TEXT)]).await?;
        }
        Ok(())
    }

    /// Takes a lock and draws its epoch in one statement, so that the order of epochs is the order of owners.
    async fn draw(&self, class: i32, name: Option<&str>) -> Result<Option<i64>, DbError> {
        let sql = "select case when pg_try_advisory_lock($1, coalesce(hashtext($2), 1)) then nextval('postback.epoch_seq') end";
        let epoch: Option<i64> = self.ask(sql, &[(&class, Type::INT4), (&name, Type::TEXT)]).await?[0].get(0);
        if epoch.is_none() {
            self.end_what_is_gone().await?;
        }
        Ok(epoch)
    }

    /// The server may not have noticed yet that a process of this machine was killed (something between them keeps the
    /// connection open): its session, and only that, is ended.
    async fn end_what_is_gone(&self) -> Result<(), DbError> {
        let sql = "
          select d.machine, d.pid, d.started, d.backend, d.backend_start
            from postback.daemon d join pg_catalog.pg_stat_activity a on a.pid = d.backend and a.backend_start = d.backend_start
           where d.machine = $1 and d.id <> $2";
        let rows = self.ask(sql, &[(&self.process.machine, Type::TEXT), (&self.session, Type::INT8)]).await?;
        for row in rows.iter().filter(|row| process_of(row, 0).is_gone()) {
            let backend: i32 = row.get(3);
            tracing::info!(backend, "ending the session that a killed daemon of this machine left at the server");
            let sql = "select pg_terminate_backend(pid) from pg_catalog.pg_stat_activity where pid = $1 and backend_start = $2";
            self.ask(sql, &[(&backend, Type::INT4), (&row.get::<_, jiff::Timestamp>(4), Type::TIMESTAMPTZ)]).await?;
        }
        Ok(())
    }

    /// Proves that the session that holds the locks is alive and nobody has begun a later one.
    pub async fn prove(&self) -> Result<(), DbError> {
        let sql = "update postback.daemon set checked = clock_timestamp() where id = $1 returning (select epoch from postback.ingest)";
        let rows = self.ask(sql, &[(&self.session, Type::INT8)]).await?;
        let reading = self.reading.load(Ordering::Acquire);
        match rows.first() {
            Some(row) if reading == 0 || row.get::<_, i64>(0) == reading => Ok(()),
            _ => Err(DbError::Fenced),
        }
    }

    /// Gives everything up cleanly: whoever comes next need not wait.
    pub async fn release(&self) -> Result<(), DbError> {
        let sql = "
          with gone as (update postback.daemon set released = clock_timestamp(), checked = clock_timestamp() where id = $1)
          update postback.ingest set owner = null, daemon = null where epoch = $2";
        self.ask(sql, &[(&self.session, Type::INT8), (&self.reading.load(Ordering::Acquire), Type::INT8)]).await?;
        self.ask("select pg_advisory_unlock_all()", &[]).await?;
        Ok(())
    }
}

/// Columns `machine, pid, started`, from column `first` on.
pub(super) fn process_of(row: &Row, first: usize) -> Process {
    Process { machine: row.get(first), pid: row.get(first + 1), started: row.get(first + 2) }
}

pub(super) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// Whether nobody reads the shop's commits just now.
pub async fn is_free(db: &Client) -> Result<bool, DbError> {
    let rows = db.query_typed("select pg_try_advisory_xact_lock($1, 1)", &[(&READER, Type::INT4)]).await?;
    Ok(rows[0].get(0))
}

/// A session that worked a destination before.
#[derive(Clone, Debug)]
pub struct FormerOwner {
    /// `[daemon] instance`.
    pub instance: String,
    /// Its process.
    pub process: Process,
    /// Since its last check.
    pub since: Duration,
    /// How long it may begin requests after a check.
    pub fence: Duration,
    /// How long a request that it began may take.
    pub deadline: Duration,
}

impl FormerOwner {
    /// How long it may still have a request on its way: nothing when it is `this` process, or one that is gone for certain.
    pub fn wait(&self, this: &Process) -> Duration {
        if self.process == *this || self.process.is_gone() {
            return Duration::ZERO;
        }
        (self.fence + self.deadline).saturating_sub(self.since)
    }
}
