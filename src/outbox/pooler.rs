//! Whether a connection is a session. A transaction pooler lends one session of the server to many clients, a transaction at a
//! time: a lock, a LISTEN or a SET through it belongs to nobody. Nothing is left behind by looking.
//!
//! A server announces the process that serves a connection; who stands between announces a number of its own, because it
//! cannot know yet whom it will ask. Which of them keep their server for as long as the client stays (a pool in session mode
//! is as good as a direct connection) is told by watching which processes answer two connections.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    task::JoinHandle,
};
use tokio_postgres::{
    Client,
    tls::{ChannelBinding, TlsConnect, TlsStream},
    types::Type,
};

use super::{
    ANSWER_SOON, DbError,
    connect::{self, ConnectError, Database},
    within,
};

/// What stands between this process and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// Nothing that speaks PostgreSQL's protocol.
    Nothing,
    /// A pooler that keeps one server process for one client.
    Session,
    /// A pooler that shares server processes among clients.
    Transaction,
}

/// Why there is no session for the owner's lock and LISTEN.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SessionError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(
        "{target} is a pool in transaction mode: a lock taken there belongs to nobody, so that two daemons could send the same orders; \
         leave [database] url as it is and set [database] direct = \"postgres://..\" to PostgreSQL itself, or to a pool in session mode"
    )]
    Pooled { target: String },
    #[error(
        "[database] direct ({direct}) and url ({url}) lead to different databases: a lock taken at one is not seen at the other; \
         both have to reach the same database of the same server"
    )]
    Elsewhere { direct: String, url: String },
}

impl SessionError {
    /// Whether waiting cannot help: someone has to change the configuration.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_configuration(),
            Self::Database(_) => false,
            Self::Pooled { .. } | Self::Elsewhere { .. } => true,
        }
    }
}

/// A connection that is a session, by `direct` where that is given; refuses a transaction pooler, and another database than
/// that of `url`.
pub async fn session(to: &Database, purpose: &str) -> Result<(Client, JoinHandle<()>), SessionError> {
    let way = to.for_sessions();
    let (client, driver) = connect::connect(&way, purpose).await?;
    if between(&way, &client).await? == Between::Transaction {
        return Err(SessionError::Pooled { target: connect::target(&way)? });
    }
    if to.direct.is_some() {
        let (other, _driver) = connect::connect(to, "check").await?;
        within(ANSWER_SOON, async { Ok::<_, DbError>(require_same(to, &client, &other).await) }).await??;
    }
    Ok((client, driver))
}

/// How often two connections are compared: a busy pool may lend other processes by chance.
const ROUNDS: usize = 5;
/// For all of it. Whoever waits longer has a pool without a free place, or no server.
const WITHIN: Duration = Duration::from_secs(5);

/// Looks at a connection made with `to`.
pub async fn between(to: &Database, client: &Client) -> Result<Between, SessionError> {
    let first = backend(client).await?;
    let honest = announced(client).await == Some(first);
    let (other, _driver) = match connect::connect(to, "check").await {
        // Perhaps the last free connection of the server.
        Err(ConnectError::Refused { .. }) if honest => return Ok(Between::Nothing),
        connected => connected?,
    };
    let compared = async {
        // Once, in case that a pooler passes on what its server announced.
        for _ in 0..if honest { 1 } else { ROUNDS } {
            if is_lent(client, first, &other).await? {
                return Ok(Between::Transaction);
            }
        }
        Ok(if honest { Between::Nothing } else { Between::Session })
    };
    let late = || DbError::Unexpected(format!("the pool gave no place for two transactions at once within {WITHIN:?}"));
    tokio::time::timeout(WITHIN, compared).await.map_err(|_| late())?
}

/// Whether the process `first` served `client`, and now serves the other one, or another serves `client`.
async fn is_lent(client: &Client, first: i32, other: &Client) -> Result<bool, SessionError> {
    other.batch_execute("begin").await.map_err(DbError::from)?;
    // In a pool of one place `client` would wait for the end of this transaction: it must not be asked then.
    let lent = backend(other).await? == first || backend(client).await? != first;
    other.batch_execute("rollback").await.map_err(DbError::from)?;
    // A pool that takes turns lends another by itself.
    Ok(lent || backend(client).await? != first)
}

/// The two lead to the same database of the same server: a lock that one holds is seen by the other. `to` is for the message.
async fn require_same(to: &Database, direct: &Client, other: &Client) -> Result<(), SessionError> {
    let number = i64::from(rand::random::<u32>() >> 1);
    // A transaction's lock: it goes with it, whatever happens.
    direct.batch_execute("begin").await.map_err(DbError::from)?;
    direct.query_typed("select pg_catalog.pg_advisory_xact_lock_shared($1)", &[(&number, Type::INT8)]).await.map_err(DbError::from)?;
    let sql = "select exists (select from pg_catalog.pg_locks where locktype = 'advisory' and classid = 0 and objid::bigint = $1 and objsubid = 1
                  and database = (select oid from pg_catalog.pg_database where datname = current_database()))";
    let seen = other.query_typed(sql, &[(&number, Type::INT8)]).await;
    direct.batch_execute("rollback").await.map_err(DbError::from)?;
    match seen.map_err(DbError::from)?.first().is_some_and(|row| row.get(0)) {
        true => Ok(()),
        false => Err(SessionError::Elsewhere { direct: connect::target(&to.for_sessions())?, url: connect::target(to)? }),
    }
}

/// The server process that answers.
async fn backend(client: &Client) -> Result<i32, DbError> {
    let rows = within(ANSWER_SOON, client.query_typed("select pg_catalog.pg_backend_pid()", &[])).await?;
    rows.first().map(|row| row.get(0)).ok_or_else(|| DbError::Unexpected("no process id".into()))
}

/// The process that was announced when the connection was made. The client keeps it for cancelling; so a cancellation is
/// written, to nobody, and read back.
async fn announced(client: &Client) -> Option<i32> {
    let (near, mut far) = duplex(256);
    let told = async {
        let mut head = [0; 8];
        far.read_exact(&mut head).await.ok()?;
        if head[4..] == SSL_REQUEST.to_be_bytes() {
            far.write_all(b"S").await.ok()?;
            far.read_exact(&mut head).await.ok()?;
        }
        let process = far.read_i32().await.ok()?;
        // The rest, so that the writer gets it off his hands.
        far.read_to_end(&mut Vec::new()).await.ok()?;
        Some(process)
    };
    let token = client.cancel_token();
    let (_, process) = tokio::join!(token.cancel_query_raw(near, Plain), told);
    process
}

/// What a client writes first where it wants TLS.
const SSL_REQUEST: i32 = 80_877_103;

/// TLS to nobody: nothing leaves this process.
struct Plain;

impl TlsConnect<DuplexStream> for Plain {
    type Stream = PlainStream;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<PlainStream, std::io::Error>>;

    fn connect(self, stream: DuplexStream) -> Self::Future {
        std::future::ready(Ok(PlainStream(stream)))
    }
}

struct PlainStream(DuplexStream);

impl TlsStream for PlainStream {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for PlainStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for PlainStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
