//! postbackd.

pub mod money;
pub mod secret;
pub mod words;

pub mod event;

pub mod books;
pub mod click;
pub mod command;
pub mod delivery;
pub mod marks;
pub mod outcome;
pub mod request;

pub mod basis;
pub mod destination;
pub mod judge;
pub mod ledger;
pub mod platform;
pub mod route;

pub mod breaker;
pub mod limit;
pub mod retry;
pub mod retry_after;

pub mod clock;
pub mod http;

pub mod outbox;

pub mod config;
pub mod daemon;
pub mod ingest;
pub mod preview;
pub mod sender;
pub mod session;
pub mod settle;
