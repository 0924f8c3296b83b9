//! postbackd.

pub mod money;
pub mod secret;

pub mod event;

pub mod command;
pub mod delivery;
pub mod outcome;
pub mod request;

pub mod destination;
pub mod platform;
pub mod route;

pub mod breaker;
pub mod limit;
pub mod retry;
pub mod retry_after;

pub mod clock;
pub mod http;
