//! postbackd.

pub mod money;
pub mod secret;
pub mod words;

pub mod event;

pub mod command;
pub mod delivery;
pub mod outcome;
pub mod request;

pub mod destination;
pub mod platform;
pub mod route;

// The only code that knows PostgreSQL.
pub mod outbox;

// Wiring: what an operator writes, and what an operator reads.
pub mod config;
pub mod telemetry;
