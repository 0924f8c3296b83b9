//! The integration tests: one binary, so that it links once. `tests/run.sh` runs them; `support` says what they stand on.

mod support;

mod cli;
mod copies;
mod crash;
mod demo;
mod harness;
mod heal;
mod isolation;
mod pooler;
mod said;
mod sending;
mod takeover;
mod visibility;

// Inside the shop's database.
mod attach;
mod schema;
mod shop_beside;
mod sql_api;

mod adapters;
mod golden;
mod injection;
mod lost;
mod route;
