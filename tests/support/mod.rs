//! What the tests stand on: a real PostgreSQL, a receiver that can misbehave, the real binary, a shop that never rests,
//! and a judge that compares what was committed with what was told.
//!
//! ```text
//! postgres  Database, Server        a fresh database per test; a private server for tests that stop one
//! proxy     Proxy, Fate             between daemon and server: drops answers, delays requests, goes silent
//! pgbouncer PgBouncer               a pool in transaction mode before the database
//! receiver  Receiver, Behaviour     records every request; hangs, resets, answers 503 on demand
//! daemon    Daemon, Config          target/debug/postbackd, its settings and its stderr
//! shop      Shop, Load, Record      12 writers on 40 orders, and what they committed
//! settled   Judge                   every promise as a check over a finished run
//! reaper    Reaper                  nothing outlives the test process, not even after kill -9
//! ```

// Each test module uses a part of this; what none of them uses yet is here for the next one.
#![allow(dead_code)]

pub mod daemon;
pub mod pgbouncer;
pub mod postgres;
pub mod proxy;
pub mod reaper;
pub mod receiver;
pub mod rng;
pub mod settled;
pub mod shop;
pub mod sql;
pub mod stream;
