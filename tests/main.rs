//! integration tests

mod golden;
