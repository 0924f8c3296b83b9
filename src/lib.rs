//! postbackd fires conversion postbacks after the commit of an order in PostgreSQL, never before, never for an order that was
//! taken back, and records what every platform answered.
//!
//! # The map of the house
//!
//! Data flows one way:
//!
//! ```text
//!  shop's transaction ──trigger──▶ postback.event       sql/migrations: the only code that the shop runs
//!        │ commit
//!        ▼
//!  ingest    window of snapshots ─▶ ledger ─▶ numbered stream      one durable transaction, before anything is sent
//!        ▼
//!  sender    stream ─▶ judge ─▶ lane per (destination, order) ─▶ batch ─▶ Request     one task per destination
//!        ▼
//!  http      Request ─▶ Reply
//!        ▼
//!  platform  Reply ─▶ Outcome ─▶ marks: attempt, receipt, pending, position           one durable transaction
//! ```
//!
//! Four layers; rules, edges and wiring know words, wiring knows all, rules and edges never know each other, so that every
//! rule is tested without a database and without a socket:
//!
//! | words | rules | edges | wiring |
//! |---|---|---|---|
//! | what things are: no I/O, no clock | what is to be done: pure, time is an argument | PostgreSQL, HTTP, clocks, processes | what runs when |
//! | `money` `secret` `event` `books` `click` `command` `delivery` `grant` `health` `mailbox` `marks` `metrics` `outcome` `request` `words` | `apple` `basis` `destination` `judge` `ledger` `platform` `route` `alert` `breaker` `limit` `pulse` `retry` `ready` `shadow` | `outbox` `http` `serve` `clock` `hook` `notify` `process` `progress` `telemetry` | `config` `inbox` `ingest` `follow` `handed` `sender` `session` `settle` `observe` `preview` `daemon` `web` `bench` `fake` `cli` |
//!
//! # What holds everywhere
//!
//! - Nothing is put on the wire for an event that is not in the stream, and nothing is in the stream that a crash could take
//!   back: the stream's transaction is durable, and so is everything that it read.
//! - Nothing is read and nothing is sent in a database that is not at home where it is: a copy says nothing.
//! - Every write of the daemon begins by moving the row of its own position, guarded by the owner's epoch and by where the row
//!   was last seen. No row means that somebody else was there: everything cached is thrown away and read again.
//! - An order's events at one destination are worked one at a time, in stream order; the next begins when the former's mark is
//!   durable.
//! - Nothing is put on the wire above the position's horizon: a restart looks no further for what may have been sent.
//! - No lock and no transaction is held while HTTP runs. Every request has a deadline, every buffer a bound.
//! - Payloads, queries, bodies and secrets are never logged.

pub mod money;
pub mod secret;
pub mod words;

pub mod event;

pub mod books;
pub mod click;
pub mod command;
pub mod delivery;
pub mod grant;
pub mod health;
pub mod mailbox;
pub mod marks;
pub mod metrics;
pub mod outcome;
pub mod request;

pub mod template;

pub mod apple;

pub mod basis;
pub mod destination;
pub mod judge;
pub mod ledger;
pub mod platform;
pub mod route;
pub mod when;

pub mod alert;
pub mod breaker;
pub mod limit;
pub mod pulse;
pub mod ready;
pub mod retry;
pub mod retry_after;
pub mod shadow;

pub mod clock;
pub mod hook;
pub mod http;
pub mod notify;
pub mod process;
pub mod progress;
pub mod serve;

pub mod outbox;

pub mod bench;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod fake;
pub mod follow;
pub mod handed;
pub mod inbox;
pub mod ingest;
pub mod observe;
pub mod preview;
pub mod sender;
pub mod session;
pub mod settle;
pub mod web;

pub mod telemetry;
