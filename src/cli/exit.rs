//! How a command ends.

use std::process::ExitCode;

use crate::{
    config::Problems,
    outbox::{DbError, connect::ConnectError, identity::Refusal, pooler::SessionError, schema::SchemaError},
};

/// Every exit code there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It could not be done, or problems were found.
    Failed = 1,
    /// The configuration or the command line is wrong. The argument parser uses the same number.
    Usage = 2,
    /// The database cannot be reached, or refuses the login.
    Unreachable = 3,
    /// Schema postback is missing, older or newer than this binary.
    Schema = 4,
    /// A command stands in the queue, and no daemon has answered in time.
    NoAnswer = 5,
    /// The database is a copy, or another one than the configuration expects: nothing is read or sent. A service manager should
    /// not start the daemon again.
    Elsewhere = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ended, for stderr.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    text: String,
}

impl Failure {
    pub(super) fn new(exit: Exit, why: impl std::fmt::Display) -> Self {
        Self { exit, text: why.to_string() }
    }

    /// Wrong configuration, where `--url` would have done.
    pub(super) fn without_url(problems: Problems) -> Self {
        Self::new(Exit::Usage, format!("{problems}\nthis command needs only the database: --url postgres://.. does without the file"))
    }

    /// Prints it.
    pub fn report(&self) -> ExitCode {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr().lock(), "{}", self.text);
        self.exit.into()
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::new(Exit::Usage, problems)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::new(if error.is_configuration() { Exit::Usage } else { Exit::Unreachable }, error)
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Connect(error) => error.into(),
            SessionError::Database(error) => error.into(),
            verdict => Self::new(Exit::Usage, verdict),
        }
    }
}

impl From<SchemaError> for Failure {
    fn from(error: SchemaError) -> Self {
        let exit = match error {
            SchemaError::Missing | SchemaError::Older { .. } | SchemaError::Newer { .. } => Exit::Schema,
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(Exit::Elsewhere, refusal)
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        DbError::from(error).into()
    }
}
