//! A configuration on trial: whether the daemon could live with it, asked while the old one is still in force. What would end a daemon
//! at its start must not end one that works.

use super::{Ended, Error, fleet, greet};
use crate::{
    config::{Config, Database},
    outbox::{
        DbError,
        connect::{self, ConnectError},
        identity, inspect,
    },
    pulse,
};

/// Why a configuration that reads well is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Objection {
    /// With it the daemon would end.
    #[error(transparent)]
    Fatal(#[from] Error),
    /// The role may look and not work.
    #[error("[database]: role {role} lacks {missing}; a superuser runs \"grant postback_daemon to {role};\"")]
    Rights {
        /// Who logs in.
        role: String,
        /// Privileges.
        missing: String,
    },
    /// No work is to be had there, and there is where the daemon works.
    #[error("[database]: {why}; the database in force answers, and it is not given up for one that does not serve")]
    Away {
        /// Of the new one.
        why: String,
    },
}

impl From<Ended> for Objection {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Fatal(error) => Self::Fatal(error),
            Ended::Connect(error) => Self::Away { why: error.to_string() },
            Ended::Database(error) => Self::Away { why: error.to_string() },
        }
    }
}

/// Looks, and leaves nothing behind. A database that is away is no objection where the one in force is away too: then waiting for either is
/// the same.
pub async fn objection(new: &Config, in_force: &Database) -> Result<(), Objection> {
    fleet::clients(new)?;
    if new.database == *in_force {
        return Ok(());
    }
    let patience = 2 * new.database.connect_timeout + pulse::ANSWERS;
    let tried = tokio::time::timeout(patience, serves(&new.database)).await;
    match tried.unwrap_or_else(|_| Err(Ended::from(DbError::Silent(patience)).into())) {
        Err(Objection::Away { why }) if !answers(in_force).await => {
            tracing::warn!(error = why, "the database of the new configuration is away, as the one in force is; it is waited for");
            Ok(())
        }
        tried => tried,
    }
}

/// Whether the daemon could work there.
async fn serves(database: &Database) -> Result<(), Objection> {
    let (db, _closed) = greet(database, "check").await?;
    let found = identity::find(&db).await.map_err(Ended::from)?;
    if found.standby {
        return Err(Ended::from(DbError::Standby).into());
    }
    found.verdict(database.expect.as_deref()).map_err(Error::from)?;
    let missing = inspect::missing_privileges(&db).await.map_err(Ended::from)?;
    if missing.is_empty() {
        return Ok(());
    }
    let role = inspect::server(&db).await.map_err(Ended::from)?.role;
    Err(Objection::Rights { role, missing: missing.join(", ") })
}

/// Whether there is a server, which may refuse another session while those of the daemon go on.
async fn answers(database: &Database) -> bool {
    matches!(connect::connect(database, "check").await, Ok(_) | Err(ConnectError::Refused { .. }))
}
