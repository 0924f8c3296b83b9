//! Whether this database is at home: the row that the daemon keeps in `postback.identity`, compared with the server before
//! anything is read or sent.
//!
//! Positions and snapshots count the transactions of one cluster, and a copy must not tell platforms what its original
//! tells them. The system identifier comes from initdb and is shared by physical copies and standbys; the oid of the
//! database tells copies within a cluster; the timeline moves with every promotion and point-in-time recovery; and a name, which the
//! configuration repeats as `expect`, tells apart what is byte for byte the same.

use tokio_postgres::{Client, types::Type};

use super::{ANSWER_SOON, DbError, within};

/// What the server says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Here {
    /// `pg_control_system()`; `None`: the right to ask was taken away.
    pub system: Option<i64>,
    /// Oid of the database.
    pub database: u32,
    /// The present one; `None`: the server does not tell.
    pub timeline: Option<i32>,
}

impl std::fmt::Display for Here {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A system identifier is printed unsigned by every tool of PostgreSQL.
        let system = self.system.map_or_else(|| "?".to_owned(), |system| system.cast_unsigned().to_string());
        let timeline = self.timeline.map_or_else(|| "?".to_owned(), |timeline| timeline.to_string());
        write!(f, "system {system}, database {}, timeline {timeline}", self.database)
    }
}

/// What the database says of where it is at home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// As it was.
    pub at: Here,
    /// The name that `expect` has to repeat.
    pub name: Option<String>,
}

/// Both, and whether the outbox was read up to transactions that this cluster has not had yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The server.
    pub here: Here,
    /// The row; `None`: no daemon has worked here yet.
    pub kept: Option<Kept>,
    /// Read up to transactions that are not here.
    pub ahead: bool,
    /// The server is a standby in recovery.
    pub standby: bool,
}

/// A database that may be worked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was written yet: this is its home from now on.
    First,
    /// At home.
    Same,
    /// At home and without a name; `expect` gives it one.
    Named,
    /// The same cluster on another timeline: a standby was promoted, or a backup recovered.
    Moved {
        /// As it was; `None`: not known.
        from: Option<i32>,
    },
}

/// Why nothing is read or sent here. Each says what happened and what goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A dump, a logical copy, a pg_upgrade.
    #[error(
        "nothing is read or sent: this database was copied here from another {}; it is at home in {kept}, and this is {here}. \
         If the shop has moved here, run \"postbackd rebase\"; after pg_upgrade \"postbackd rebase --same-xids\". \
         If this is a copy beside the shop, leave it: it must not send. To let it send under a name of its own, run \"postbackd adopt NAME\"",
        if kept.system == here.system { "database of this cluster" } else { "cluster" }
    )]
    Elsewhere {
        /// Its home.
        kept: Here,
        /// The server.
        here: Here,
    },
    /// The outbox was read further than this cluster has come.
    #[error(
        "nothing is read or sent: the outbox was read up to transactions that this cluster ({here}) has not had yet, so the database comes from \
         another cluster or its transaction ids were set back. If this is the shop's database, run \"postbackd rebase\""
    )]
    Ahead {
        /// The server.
        here: Here,
    },
    /// `expect` says another name.
    #[error(
        "nothing is read or sent: [database] expect is {expect:?}, and this database is {have:?}. If this is a copy of {have:?}, leave it, or let it send under \
         its own name: \"postbackd adopt {expect}\". If it is not a copy, correct [database] url or expect"
    )]
    Name {
        /// In the database.
        have: String,
        /// In the configuration.
        expect: String,
    },
    /// `expect` says nothing, and the database has a name.
    #[error(
        "nothing is read or sent: this database is {have:?}, and the configuration does not say whom it expects. If it is meant, add [database] expect = {have:?}; \
         a copy of it is given a name of its own with \"postbackd adopt NAME\" and that name in expect"
    )]
    Unexpected {
        /// In the database.
        have: String,
    },
}

/// Why there is no verdict, or a bad one.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The database's answer.
    #[error(transparent)]
    Database(#[from] DbError),
    /// Nothing may be read or sent here.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Found {
    /// What is the matter with this database, for a configuration that expects this name.
    pub fn verdict(&self, expect: Option<&str>) -> Result<Verdict, Refusal> {
        let here = self.here;
        let Some(Kept { at, name }) = &self.kept else {
            return if self.ahead { Err(Refusal::Ahead { here }) } else { Ok(Verdict::First) };
        };
        if at.system != here.system || at.database != here.database {
            return Err(Refusal::Elsewhere { kept: *at, here });
        }
        match (name, expect) {
            (Some(have), Some(expect)) if have != expect => return Err(Refusal::Name { have: have.clone(), expect: expect.to_owned() }),
            (Some(have), None) => return Err(Refusal::Unexpected { have: have.clone() }),
            _ => {}
        }
        if self.ahead {
            return Err(Refusal::Ahead { here });
        }
        match (at.timeline, here.timeline) {
            (from, Some(to)) if from != Some(to) => Ok(Verdict::Moved { from }),
            _ if name.is_none() && expect.is_some() => Ok(Verdict::Named),
            _ => Ok(Verdict::Same),
        }
    }
}

/// Reads both sides; also right on a standby.
pub async fn find(db: &Client) -> Result<Found, DbError> {
    let sql = "select h.system, h.database, h.timeline, k.only_row is not null, k.system, k.database, k.timeline, k.name,
                      coalesce((select pg_snapshot_xmax(i.snap::pg_snapshot) from postback.ingest i)
                               > case when not pg_is_in_recovery() then pg_snapshot_xmax(pg_current_snapshot()) end, false), pg_is_in_recovery()
                 from postback.here() h left join postback.identity k on true";
    let rows = within(ANSWER_SOON, db.query_typed(sql, &[])).await?;
    let row = rows.first().ok_or_else(|| DbError::Unexpected("postback.here() gives no row".into()))?;
    let side = |first: usize| Here { system: row.get(first), database: row.get(first + 1), timeline: row.get(first + 2) };
    let kept = row.get::<_, bool>(3).then(|| Kept { at: side(4), name: row.get(7) });
    Ok(Found { here: side(0), kept, ahead: row.get(8), standby: row.get(9) })
}

/// Asked by every session that holds an owner's lock, before it begins and before anything is read or sent. Writes down what is new
/// (a first session, a name, a new timeline) and nothing where it refuses.
pub async fn verify(db: &Client, expect: Option<&str>) -> Result<Verdict, IdentityError> {
    let found = find(db).await?;
    if found.standby {
        return Err(DbError::Standby.into());
    }
    let verdict = found.verdict(expect)?;
    match verdict {
        Verdict::Same => {}
        Verdict::First => {
            let sql =
                "insert into postback.identity (system, database, timeline, name) select h.system, h.database, h.timeline, $1 from postback.here() h, postback.ingest
                        where set_config('synchronous_commit', 'on', true) is not null on conflict do nothing";
            within(ANSWER_SOON, db.query_typed(sql, &[(&expect, Type::TEXT)])).await?;
            tracing::info!(name = expect, "this database is at home here from now on: {}", found.here);
        }
        Verdict::Named => {
            let sql = "update postback.identity set name = $1 where name is null and set_config('synchronous_commit', 'on', true) is not null";
            within(ANSWER_SOON, db.query_typed(sql, &[(&expect, Type::TEXT)])).await?;
            tracing::info!(name = expect, "this database has a name from now on, which every daemon must expect");
        }
        Verdict::Moved { from } => {
            let params = [(&found.here.timeline as &(dyn tokio_postgres::types::ToSql + Sync), Type::INT4)];
            db.query_typed(include_str!("../../sql/moved.sql"), &params).await.map_err(DbError::from)?;
            tracing::warn!(
                from,
                to = found.here.timeline,
                "a standby was promoted, or a backup recovered: what may have been sent and forgotten is sent again under the same dedupe id, or becomes unknown"
            );
        }
    }
    // Somebody else may have been faster, with another name.
    match verdict {
        Verdict::First | Verdict::Named => {
            find(db).await?.verdict(expect)?;
        }
        Verdict::Same | Verdict::Moved { .. } => {}
    }
    Ok(verdict)
}

/// What a process may have sent whose marks did not come along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Events up to this id.
    pub event: i64,
    /// Until then.
    pub at: jiff::Timestamp,
}

/// Likewise, at one destination; `None`: nothing is in doubt beyond the horizon.
pub async fn lost(db: &Client, destination: &str) -> Result<Option<Lost>, DbError> {
    let sql = "select lost_event, lost_at from postback.position where destination = $1 and lost_event > 0 and lost_at is not null";
    let rows = within(ANSWER_SOON, db.query_typed(sql, &[(&destination, Type::TEXT)])).await?;
    Ok(rows.first().map(|row| Lost { event: row.get(0), at: row.get(1) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Here = Here { system: Some(-7), database: 5, timeline: Some(1) };

    fn found(here: Here, name: Option<&str>) -> Found {
        Found { here, kept: Some(Kept { at: HOME, name: name.map(str::to_owned) }), ahead: false, standby: false }
    }

    #[test]
    fn at_home() {
        assert_eq!(Found { here: HOME, kept: None, ahead: false, standby: false }.verdict(Some("shop")), Ok(Verdict::First));
        assert_eq!(found(HOME, None).verdict(None), Ok(Verdict::Same));
        assert_eq!(found(HOME, None).verdict(Some("shop")), Ok(Verdict::Named));
        assert_eq!(found(HOME, Some("shop")).verdict(Some("shop")), Ok(Verdict::Same));
        let promoted = Here { timeline: Some(2), ..HOME };
        assert_eq!(found(promoted, Some("shop")).verdict(Some("shop")), Ok(Verdict::Moved { from: Some(1) }));
        assert_eq!(found(Here { timeline: None, ..HOME }, None).verdict(None), Ok(Verdict::Same), "a server that does not tell has not moved");
    }

    #[test]
    fn anywhere_else_is_refused() {
        for here in [Here { system: Some(8), ..HOME }, Here { database: 6, ..HOME }, Here { system: None, ..HOME }] {
            let why = found(here, Some("shop")).verdict(Some("shop")).expect_err("elsewhere");
            assert!(matches!(why, Refusal::Elsewhere { .. }), "{why}");
            assert!(why.to_string().contains("postbackd rebase"), "{why}");
        }
        let promoted_copy = found(Here { timeline: Some(2), ..HOME }, Some("shop")).verdict(Some("staging"));
        assert!(matches!(promoted_copy, Err(Refusal::Name { .. })), "a name goes before a timeline");
        assert!(matches!(found(HOME, Some("shop")).verdict(None), Err(Refusal::Unexpected { .. })));
        assert!(matches!(Found { ahead: true, ..found(HOME, None) }.verdict(None), Err(Refusal::Ahead { .. })));
        assert!(matches!(Found { here: HOME, kept: None, ahead: true, standby: false }.verdict(None), Err(Refusal::Ahead { .. })));
    }

    #[test]
    fn identifiers_are_printed_as_postgres_prints_them() {
        assert_eq!(HOME.to_string(), "system 18446744073709551609, database 5, timeline 1");
    }
}
