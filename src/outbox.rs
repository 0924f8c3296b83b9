//! The only code that knows PostgreSQL.

// How a session comes about, and how it comes back.
pub mod connect;
pub mod reconnect;

mod tls;
