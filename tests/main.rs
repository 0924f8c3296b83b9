//! The integration tests: one binary, so that it links once. `tests/run.sh` runs them; `support` says what they stand on.

mod support;

mod alert;
mod backfill;
mod bench;
mod cli;
mod copies;
mod crash;
mod demo;
mod fake;
mod forget;
mod harness;
mod heal;
mod isolation;
mod metrics;
mod page;
mod pooler;
mod reconcile;
mod reconnect;
mod reload;
mod report;
mod retention;
mod roles;
mod said;
mod secrets;
mod sending;
mod serve;
mod server_crash;
mod takeover;
mod visibility;
mod wake;

// Inside the shop's database.
mod attach;
mod schema;
mod shadow;
mod shop_beside;
mod sql_api;

mod adapters;
mod apple;
mod golden;
mod in_doubt;
mod injection;
mod lost;
mod notify;
mod route;
