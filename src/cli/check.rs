//! `postbackd check [--connect]`: everything that could be wrong, each with its fix, in one go.

use tokio_postgres::Client;

use super::{Common, Exit, Failure, doctor};
use crate::{
    config::{Config, Database, SecretMode, Wake},
    delivery::RefundShape,
    event::Kind,
    outbox::{
        connect::{self, ConnectError},
        identity::{self, Verdict},
        inspect::{self, Finding},
        schema,
    },
};

mod reach;
mod sessions;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads the configuration with its secrets, so run it as the daemon's user:
  sudo -u postbackd postbackd check --connect
With systemd credentials, inside the unit's sandbox:
  systemd-run --pipe --wait -p LoadCredential=token:/etc/postbackd/token -p User=postbackd postbackd check

Exit code: 0 when there is no error (warnings may be), 2 when the configuration is wrong, 3 and 4 when it ends at the database
or at its schema, else 1.")]
pub struct Args {
    /// Also resolve and connect to every destination's host; sends nothing
    #[arg(long)]
    connect: bool,
}

/// What was looked at so far.
#[derive(Default)]
struct Report {
    found: Vec<Finding>,
    /// The first error decides.
    exit: Option<Exit>,
}

impl Report {
    fn add(&mut self, severity: &str, what: impl Into<String>, hint: Option<String>) {
        self.found.push(Finding { severity: severity.to_owned(), what: what.into(), hint });
    }

    fn ok(&mut self, what: impl Into<String>) {
        self.add("ok", what, None);
    }

    fn error(&mut self, exit: Exit, what: impl Into<String>, hint: &str) {
        self.exit.get_or_insert(exit);
        self.add("error", what, (!hint.is_empty()).then(|| hint.to_owned()));
    }
}

pub(super) async fn check(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let mut report = Report::default();
    let config = configuration(common, &mut report);
    let database = match (&config, &common.url) {
        (Some(config), _) => Some(config.database.clone()),
        (None, Some(url)) => Some(Database::at(url)),
        // A wrong key elsewhere does not keep anybody from looking at the database.
        (None, None) => Config::load(&common.config, SecretMode::Names).ok().map(|config| config.database),
    };
    match &database {
        Some(database) => examine(database, config.as_ref().map(|config| config.daemon.wake), &mut report).await,
        None => report.add("info", "the database was not looked at: its URL is not known", None),
    }
    for to in config.iter().flat_map(|config| &config.destinations) {
        reach::destination(to, args.connect, &mut report).await;
    }
    let errors = report.found.iter().filter(|finding| finding.severity == "error").count();
    common.print(&report.found, || {
        let summary = match errors {
            0 => "no errors".to_owned(),
            1 => "1 error".to_owned(),
            _ => format!("{errors} errors"),
        };
        format!("{}{summary}", doctor::lines(&report.found))
    })?;
    Ok(report.exit.unwrap_or(doctor::exit(&report.found)))
}

fn configuration(common: &Common, report: &mut Report) -> Option<Config> {
    match common.load(SecretMode::Reveal) {
        Ok(config) => {
            report.ok(format!("configuration {}: {} destinations", config.file.display(), config.destinations.len()));
            config.warnings.iter().for_each(|warning| report.add("warning", warning, None));
            for to in &config.destinations {
                let warnings = to.platform.warnings(&to.kinds, jiff::Timestamp::now());
                warnings.into_iter().for_each(|warning| report.add("warning", format!("destination {}: {warning}", to.name), None));
                // Nothing is wrong with these, but someone may wait for them.
                for kind in to.kinds.iter().filter(|kind| !kind.takes_back() && to.platform.name_of(**kind).is_none()) {
                    let hint = "give it a name (or a conversion action), or take it out of kinds".to_owned();
                    report.add("warning", format!("destination {}: {kind} has no conversion there and is skipped", to.name), Some(hint));
                }
                if to.kinds.contains(&Kind::Refund) && to.platform.facts().refund == RefundShape::None {
                    report.add("info", format!("destination {}: refunds are not told there; they are skipped and counted", to.name), None);
                }
            }
            if let Some(apple) = &config.apple {
                report.ok(format!("Apple's postbacks are taken at {}, of {} apps", apple.listen, apple.apps.len()));
                if apple.development {
                    let hint = "set development = false once the test is over".to_owned();
                    report.add("warning", "[apple] development: postbacks of tests are kept, which any phone in developer mode can make", Some(hint));
                }
            }
            Some(config)
        }
        Err(problems) => {
            problems.list.iter().for_each(|problem| report.error(Exit::Usage, problem.at(&problems.file), ""));
            None
        }
    }
}

/// Each step needs the one before it.
async fn examine(database: &Database, wake: Option<Wake>, report: &mut Report) {
    let db = match connect::connect(database, "check").await {
        Ok((db, _)) => db,
        Err(error) => return report.error(exit_of(&error), error.to_string(), "see [database] url, pg_hba.conf, and whether the server runs"),
    };
    if let Err(error) = server(database, wake, &db, report).await {
        report.error(Exit::Failed, error.to_string(), "");
    }
}

fn exit_of(error: &ConnectError) -> Exit {
    if error.is_configuration() { Exit::Usage } else { Exit::Unreachable }
}

async fn server(database: &Database, wake: Option<Wake>, db: &Client, report: &mut Report) -> Result<(), crate::outbox::DbError> {
    let server = inspect::server(db).await?;
    if server.version < 140_000 {
        report.error(Exit::Failed, format!("PostgreSQL {} is too old", server.version_text), "postbackd needs 14 or newer");
    } else {
        report.ok(format!("PostgreSQL {}, database {}, role {}", server.version_text, server.database, server.role));
    }
    if server.standby {
        report.error(Exit::Failed, "the server is a standby in recovery: nothing is read or sent there", "point [database] url to the primary");
    }
    if server.superuser {
        let hint = "create role postbackd login; grant postback_daemon to postbackd; and log in as that".to_owned();
        report.add("warning", format!("{} is a superuser, which the daemon does not need", server.role), Some(hint));
    }
    if let Err(error) = schema::require(db).await {
        report.error(Exit::Schema, error.to_string(), "");
        return Ok(());
    }
    report.ok(format!("schema postback, version {}", schema::VERSION));
    let missing = inspect::missing_privileges(db).await?;
    if missing.is_empty() {
        report.ok(format!("{} has the daemon's privileges", server.role));
    } else {
        let fix = format!("a superuser runs: grant postback_daemon to {};", server.role);
        report.error(Exit::Failed, format!("{} lacks {}", server.role, missing.join(", ")), &fix);
        return Ok(());
    }
    home(database, db, report).await?;
    if !server.standby {
        sessions::examine(database, db, report).await;
        if wake == Some(Wake::Listen) {
            sessions::prepared(db, report).await?;
        }
        report.found.extend(inspect::doctor(db).await?);
    }
    Ok(())
}

/// Whether this database is at home here, and the one that is expected.
async fn home(database: &Database, db: &Client, report: &mut Report) -> Result<(), crate::outbox::DbError> {
    let found = identity::find(db).await?;
    let called = found.kept.as_ref().and_then(|kept| kept.name.as_deref()).map_or_else(|| "without a name".to_owned(), |name| format!("{name:?}"));
    match found.verdict(database.expect.as_deref()) {
        Ok(Verdict::First) => report.ok(format!("identity: no daemon has worked here yet; it will be at home here ({})", found.here)),
        Ok(Verdict::Moved { .. }) => {
            let hint = "after a failover nothing; after a point-in-time recovery run \"postbackd rebase\" before the daemon is started".to_owned();
            report.add("warning", format!("identity: {called}, on a new timeline: a standby was promoted, or a backup recovered"), Some(hint));
        }
        Ok(Verdict::Named) => report.ok(format!("identity: {called}; the daemon will give it the name that is expected ({})", found.here)),
        Ok(Verdict::Same) => report.ok(format!("identity: {called}, at home here ({})", found.here)),
        Err(refusal) => report.error(Exit::Elsewhere, format!("identity: {refusal}"), ""),
    }
    if database.expect.is_none() && found.kept.as_ref().is_some_and(|kept| kept.name.is_none()) {
        let hint = "[database] expect = \"shop-prod\": then a copy of it with another configuration does not send".to_owned();
        report.add("info", "the database has no name", Some(hint));
    }
    Ok(())
}
