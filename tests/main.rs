//! The integration tests: one binary, so that it links once. `tests/run.sh` runs them; `support` says what they stand on.

mod support;

mod crash;
mod harness;
mod sending;
mod isolation;
mod visibility;
