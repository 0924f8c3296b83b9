//! A configuration on trial: whether the daemon could live with it, asked while the old one is still in force. What would end a daemon
//! at its start must not end one that works.

use super::{Ended, Error, fleet, greet};
use crate::{
    config::{Config, Database},
    outbox::{DbError, connect::ConnectError, identity, inspect, pooler, pooler::SessionError},
    pulse,
};

/// Why a configuration that reads well is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Objection {
    /// With it the daemon would end.
    #[error(transparent)]
    Fatal(#[from] Error),
    /// The role may look and not work.
    #[error(
        "[database]: role {role} lacks {first} and {others} more of the daemon's privileges; a superuser runs \"grant postback_daemon to {role};\""
    )]
    Rights {
        /// Who logs in.
        role: String,
        /// A privilege.
        first: String,
        /// How many besides.
        others: usize,
    },
    /// No work is to be had there, and there is where the daemon works.
    #[error("[database]: {why}; the database in force answers, and it is not given up for one that does not serve")]
    Away {
        /// Of the new one.
        why: String,
    },
}

/// Looks, and leaves nothing behind. A database that is away is no objection where the one in force is away too: then waiting for either is
/// the same.
pub async fn objection(new: &Config, in_force: &Database) -> Result<(), Objection> {
    fleet::clients(new)?;
    if new.database == *in_force {
        return Ok(());
    }
    let patience = 2 * new.database.connect_timeout + pulse::ANSWERS;
    let why = match tokio::time::timeout(patience, at(&new.database)).await {
        Ok(Ok((role, missing))) => match missing.split_first() {
            None => return Ok(()),
            Some((first, others)) => return Err(Objection::Rights { role, first: first.clone(), others: others.len() }),
        },
        Ok(Err(Ended::Fatal(error))) => return Err(error.into()),
        Ok(Err(Ended::Connect(error))) => error.to_string(),
        Ok(Err(Ended::Database(error))) => error.to_string(),
        Err(_) => DbError::Silent(patience).to_string(),
    };
    match pooler::session(in_force, "check").await {
        Ok(_) => Err(Objection::Away { why }),
        Err(SessionError::Connect(ConnectError::Refused { .. })) => Err(Objection::Away { why }),
        Err(_) => {
            tracing::warn!(error = why, "the database of the new configuration is away, as the one in force is; it is waited for");
            Ok(())
        }
    }
}

/// Who logs in there, and what that role lacks.
async fn at(database: &Database) -> Result<(String, Vec<String>), Ended> {
    let (db, _closed) = greet(database, "check").await?;
    let found = identity::find(&db).await?;
    if found.standby {
        return Err(DbError::Standby.into());
    }
    found.verdict(database.expect.as_deref()).map_err(|refusal| Ended::Fatal(refusal.into()))?;
    Ok((inspect::server(&db).await?.role, inspect::missing_privileges(&db).await?))
}
