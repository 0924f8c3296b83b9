//! Scratch databases on the owner's server: made, used and removed by the bench alone. The shop's own database is connected to
//! and never written, because the name of our schema is fixed and the shop's may be in use.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, error::SqlState};

use super::BenchError;
use crate::{
    outbox::{
        connect::{self, ConnectError, Database},
        schema,
    },
    secret::Secret,
};

/// One bench at a time: two would measure each other. The class spells "pbwb".
const LOCK: &str = "select pg_try_advisory_lock(1885501282, 1)";
const UNLOCK: &str = "select pg_advisory_unlock(1885501282, 1)";
/// Every scratch database's name begins with it.
pub const PREFIX: &str = "postbackd_bench_";
/// On roles that a bench made, so that the next one can tell them from the owner's.
const MARK: &str = "made by postbackd bench, which removes it again";
/// Roles of the whole server that the schema needs.
const ROLES: &str = "'{postback_owner,postback_daemon,postback_reader}'::name[]";

/// What the server allows, and what has to be put back.
#[derive(Debug)]
pub struct Scratch {
    base: Database,
    admin: Client,
    /// Roles that were not there before.
    missing: Vec<String>,
    /// `role<-member` among the three roles, before.
    members: Vec<String>,
    names: Vec<String>,
}

/// A scratch database with the schema installed.
#[derive(Clone, Debug)]
pub struct Place {
    /// How to get there.
    pub database: Database,
    /// Its name.
    pub name: String,
}

impl Place {
    /// A session for `purpose`.
    pub async fn connect(&self, purpose: &str) -> Result<Client, BenchError> {
        let (client, _driver): (Client, JoinHandle<()>) = connect::connect(&self.database, purpose).await?;
        Ok(client)
    }
}

impl Scratch {
    /// Looks whether a bench can run on the server behind `base` and changes nothing yet, but for removing what a killed bench
    /// left; says through `say` when it does.
    pub async fn open(base: &Database, say: &dyn Fn(&str)) -> Result<Self, BenchError> {
        let (admin, _) = connect::connect(base, "bench").await?;
        let sql = format!(
            "select pg_is_in_recovery(), current_user::text, r.rolsuper or r.rolcreatedb, r.rolsuper or r.rolcreaterole,
                    array(select w::text from unnest({ROLES}) w where not exists (select from pg_roles where rolname = w)),
                    case when exists (select from pg_roles where rolname = 'postback_owner') then pg_has_role(current_user, 'postback_owner', 'member') end,
                    quote_ident(current_user)
               from pg_roles r where r.rolname = current_user"
        );
        let row = admin.query_one(&sql, &[]).await?;
        let (role, quoted): (String, String) = (row.get(1), row.get(6));
        let missing: Vec<String> = row.get(4);
        if row.get(0) {
            return Err(BenchError::Standby);
        }
        if !row.get::<_, bool>(2) {
            return Err(BenchError::Rights {
                why: format!("role {role} may not create databases"),
                fix: format!("alter role {quoted} createdb;  (and take it back afterwards: alter role {quoted} nocreatedb;)"),
            });
        }
        let creates_roles: bool = row.get(3);
        if !missing.is_empty() && !creates_roles {
            return Err(BenchError::Rights {
                why: format!("the roles {} do not exist on this server and {role} may not create them", missing.join(", ")),
                fix: format!("alter role {quoted} createrole;  (the bench removes the roles that it made)"),
            });
        }
        if row.get::<_, Option<bool>>(5) == Some(false) && !creates_roles {
            return Err(BenchError::Rights {
                why: format!("{role} is not a member of postback_owner, which has to own the scratch schema"),
                fix: format!("grant postback_owner to {quoted};"),
            });
        }
        if !admin.query_one(LOCK, &[]).await?.get::<_, bool>(0) {
            return Err(BenchError::Busy);
        }
        // Where sessions end by themselves, this one must not: it holds the lock.
        admin.batch_execute("set idle_session_timeout = 0; set statement_timeout = 0; set client_min_messages = warning").await?;
        let members = members(&admin).await?;
        let mut scratch = Self { base: base.clone(), admin, missing, members, names: Vec::new() };
        scratch.sweep(say).await?;
        Ok(scratch)
    }

    /// What a bench left that was killed: databases to which nobody is connected, and its roles, which are ours to remove now.
    async fn sweep(&mut self, say: &dyn Fn(&str)) -> Result<(), BenchError> {
        let sql = "select d.datname::text from pg_database d
                    where starts_with(d.datname, $1) and pg_has_role(current_user, d.datdba, 'member')
                      and not exists (select from pg_stat_activity a where a.datid = d.oid and a.backend_type = 'client backend')";
        for row in self.admin.query(sql, &[&PREFIX]).await? {
            let name: String = row.get(0);
            say(&format!("removing database {name}, which a bench that was killed left behind"));
            self.admin.batch_execute(&format!("drop database if exists {}", quoted(&name))).await?;
        }
        let sql = format!("select rolname::text from pg_roles where rolname = any({ROLES}) and shobj_description(oid, 'pg_authid') = $1");
        for row in self.admin.query(&sql, &[&MARK]).await? {
            self.missing.push(row.get(0));
        }
        Ok(())
    }

    /// The roles that the schema needs, marked as ours from their first moment.
    async fn roles(&self) -> Result<(), BenchError> {
        let there = format!("select rolname::text from pg_roles where rolname = any({ROLES})");
        let there: Vec<String> = self.admin.query(&there, &[]).await?.iter().map(|row| row.get(0)).collect();
        let make = |role: &String| format!("create role {role} nologin; comment on role {role} is '{MARK}';");
        let sql: String = self.missing.iter().filter(|role| !there.contains(role)).map(make).collect();
        // Several statements at once are one transaction.
        Ok(self.admin.batch_execute(&sql).await?)
    }

    /// A database of its own for one room, with the schema in it.
    pub async fn database(&mut self, room: &str) -> Result<Place, BenchError> {
        let name = format!("{PREFIX}{}_{room}", std::process::id());
        self.roles().await?;
        // Noted before it is there: removing what is not there does no harm.
        self.names.push(name.clone());
        self.admin.batch_execute(&format!("create database {name} template template0")).await?;
        let database = Database { url: Secret::new(self.base.url.name(), inside(self.base.url.reveal(), &name)), ..self.base.clone() };
        let (mut client, _) = connect::connect(&database, "bench").await?;
        schema::install(&mut client, None).await?;
        Ok(Place { database, name })
    }

    /// Removes a database as soon as its room is done.
    pub async fn drop_database(&mut self, place: &Place) -> Result<(), BenchError> {
        self.admin.batch_execute(&format!("drop database if exists {} with (force)", place.name)).await?;
        self.names.retain(|name| *name != place.name);
        Ok(())
    }

    /// Puts everything back as it was. The server may just be restarting, so it is tried for a while.
    pub async fn remove(mut self) -> Result<(), BenchError> {
        let mut tries = 0;
        loop {
            let error = match self.put_back().await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            tries += 1;
            if tries == 30 {
                return Err(BenchError::Left { names: self.names.join(", "), why: error.to_string() });
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.admin.is_closed()
                && let Ok((admin, _)) = connect::connect(&self.base, "bench").await
            {
                self.admin = admin;
            }
        }
    }

    async fn put_back(&mut self) -> Result<(), BenchError> {
        while let Some(name) = self.names.last() {
            self.admin.batch_execute(&format!("drop database if exists {} with (force)", quoted(name))).await?;
            self.names.pop();
        }
        for role in &self.missing {
            match self.admin.batch_execute(&format!("drop role if exists {role}")).await {
                // Somebody has installed the schema elsewhere meanwhile: the role is theirs now.
                Err(error) if error.code() == Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => {
                    self.admin.batch_execute(&format!("comment on role {role} is null")).await?;
                }
                other => other?,
            }
        }
        for member in members(&self.admin).await?.iter().filter(|member| !self.members.contains(member)) {
            if let Some((role, member)) = member.split_once("<-") {
                self.admin.batch_execute(&format!("revoke {role} from {member}")).await?;
            }
        }
        // The session itself ends a moment later, and the next bench may begin before.
        Ok(self.admin.batch_execute(UNLOCK).await?)
    }
}

async fn members(db: &Client) -> Result<Vec<String>, BenchError> {
    let sql = format!(
        "select distinct m.roleid::regrole || '<-' || m.member::regrole from pg_auth_members m
          where (select rolname from pg_roles where oid = m.roleid) = any({ROLES}) or (select rolname from pg_roles where oid = m.member) = any({ROLES})"
    );
    Ok(db.query(&sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The same server, user and options, another database. `name` is a plain word.
fn inside(url: &str, name: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // libpq's other form: a later key overrides an earlier one.
        return format!("{url} dbname={name}");
    };
    let (place, options) = rest.split_once('?').map_or((rest, None), |(place, options)| (place, Some(options)));
    let authority = place.split_once('/').map_or(place, |(authority, _)| authority);
    let options = options.map(|options| options.split('&').filter(|option| !option.starts_with("dbname=")).collect::<Vec<_>>().join("&"));
    format!("{scheme}://{authority}/{name}{}", options.map_or_else(String::new, |options| format!("?{options}")))
}

impl From<ConnectError> for BenchError {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_leads_to_another_database_and_nowhere_else() {
        for (url, want) in [
            ("postgres://u:p%40@h:5/shop?sslmode=require", "postgres://u:p%40@h:5/x?sslmode=require"),
            ("postgres://u@h", "postgres://u@h/x"),
            ("postgresql://h/shop", "postgresql://h/x"),
            ("postgres://u@/shop?host=/run/postgresql&dbname=shop", "postgres://u@/x?host=/run/postgresql"),
            ("host=h user=u dbname=shop", "host=h user=u dbname=shop dbname=x"),
        ] {
            assert_eq!(inside(url, "x"), want);
        }
    }
}
