//! From a committed row to requests, marks and states: each promise about one destination, with the real daemon, a real
//! PostgreSQL and a receiver that misbehaves on demand.

mod affiliates;
mod backlog;
mod crash;
mod microsoft;
mod mobile;
mod operate;
mod platforms;
mod refunds;
mod route;

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::support::{
    daemon::{Config, Daemon},
    postgres::{self, Database},
    receiver::Receiver,
};

/// Database, receiver, daemon, and a superuser's session that plays the shop.
pub struct Stage {
    /// Fresh, with the schema.
    pub database: Database,
    /// Takes everything.
    pub receiver: Receiver,
    /// The shop.
    pub db: Client,
}

/// Time that any single step may take.
const PATIENCE: Duration = Duration::from_secs(20);

impl Stage {
    /// Without a daemon yet.
    pub async fn new() -> Self {
        let database = postgres::database().await;
        let db = database.connect().await;
        Self { database, receiver: Receiver::start(), db }
    }

    /// One destination `d` with these keys, quick to retry.
    pub fn config(&self, keys: &[(&str, &str)]) -> Config {
        let mut all = vec![("retry", "{ first = \"100ms\", max = \"1s\" }"), ("breaker", "{ failures = 1000, open = \"100ms\" }")];
        all.extend_from_slice(keys);
        Config::new(&self.database).destination("d", &self.receiver, &all)
    }

    /// Starts a daemon with that.
    pub async fn daemon(&self, keys: &[(&str, &str)]) -> Daemon {
        Daemon::start(self.config(keys)).await
    }

    /// One value of one row.
    pub async fn text(&self, sql: &str) -> String {
        let row = self.db.query_one(&format!("select coalesce(({sql})::text, '-')"), &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        row.get(0)
    }

    /// Runs SQL as the shop.
    pub async fn shop(&self, sql: &str) {
        self.db.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Waits until the value is as wanted.
    pub async fn until(&self, sql: &str, want: &str) {
        let began = Instant::now();
        loop {
            let have = self.text(sql).await;
            if have == want {
                return;
            }
            if began.elapsed() > PATIENCE {
                let attempts = self.text("select string_agg(a::text, E'\n' order by destination, event, attempt) from postback.attempt a").await;
                let pending = self.text("select string_agg(p::text, E'\n' order by destination, event) from postback.pending p").await;
                let position = self.text("select string_agg(p::text, E'\n') from postback.position p").await;
                panic!(
                    "{sql}\n is {have:?} and not {want:?}\n{}\nattempts\n{attempts}\npending\n{pending}\nposition\n{position}",
                    self.receiver.dump()
                );
            }
            // What happens in another process can only be asked for.
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
    }

    /// Waits until the last attempt of the n-th event at `d` is `outcome: reason`.
    pub async fn state(&self, event: i64, want: &str) {
        self.until(&state_sql("d", event), want).await;
    }

    /// Waits until everything in the stream is behind the position of `d` and nothing is open.
    pub async fn settled(&self) {
        let sql = "select count(*) from postback.position p, postback.ingest i
                    where p.destination = 'd' and (p.seq < i.last_seq or i.last_seq = 0
                       or (select count(*) from postback.event) > (select count(distinct event) from postback.log)
                       or exists (select from postback.pending q where q.state in ('retrying', 'held', 'parked', 'sending')))";
        self.until(sql, "0").await;
    }

    /// Dedupe ids in order of arrival at `d`.
    pub fn ids(&self) -> Vec<String> {
        self.receiver.at("/d").iter().map(|arrival| arrival.id()).collect()
    }

    /// Asks the owner and waits for its answer.
    pub async fn command(&self, what: &str) -> String {
        let row = self.db.query_one("insert into postback.command (what) values ($1::text::jsonb) returning id", &[&what]).await.expect("a command");
        let id: i64 = row.get(0);
        self.until(&format!("select answer is not null from postback.command where id = {id}"), "true").await;
        self.text(&format!("select answer ->> 'text' from postback.command where id = {id}")).await
    }
}

/// The last attempt as `outcome: reason`.
pub fn state_sql(destination: &str, event: i64) -> String {
    format!(
        "select outcome || coalesce(': ' || reason, '') from postback.attempt
          where destination = '{destination}' and event = {event} order by attempt desc limit 1"
    )
}
