//! The command line: one file per command. Commands print tables for people, or one JSON document with `--json`.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
};

use clap::{Parser, Subcommand};
use serde::Serialize;
use tokio_postgres::Client;

use crate::{
    config::{Config, DEFAULT_FILE, Database, Problems, SecretMode},
    outbox::connect,
};

mod exit;
mod table;

pub mod bench;
pub mod run;

mod check;
mod preview;
mod schema;

mod doctor;
mod health;
mod order;
mod report;
mod status;

mod action;
mod adopt;
mod apple;
mod backfill;
mod dead;
mod fake;
mod forget;
mod manual;
mod pause;
mod rebase;
mod reconcile;
mod replay;
mod shadow;
mod trouble;
mod unknown;

pub use exit::{Exit, Failure};
pub(crate) use table::Table;

const TEACH: &str = "\
Getting started:
  postbackd schema install --url postgres://postgres@localhost/shop    as a superuser, once
  postbackd check --connect                                            every problem, each with its fix
  postbackd preview --order 1001                                       what would be sent, as curl lines
  postbackd run                                                        the daemon
  postbackd status                                                     how far everything is

Exit codes: 0 done; 1 failed, or problems were found; 2 configuration or usage; 3 the database cannot be reached;
4 schema postback is missing, older or newer; 5 no daemon has answered in time; 6 the database is a copy, or another
one than [database] expect: nothing is read or sent there until \"postbackd rebase\" or \"postbackd adopt\".";

/// Fires conversion postbacks after the commit of an order in PostgreSQL, and records what every platform answered.
#[derive(Debug, Parser)]
#[command(version, after_help = TEACH, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    #[command(subcommand)]
    #[allow(missing_docs)]
    pub command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Common {
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE", env = "POSTBACKD_CONFIG", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// The database, instead of the configuration's database.url and database.direct
    #[arg(long, global = true, value_name = "URL", env = "POSTBACKD_URL", hide_env_values = true)]
    url: Option<String>,
    /// One JSON document instead of tables
    #[arg(long, global = true)]
    json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
#[allow(missing_docs)]
pub enum Command {
    /// The daemon: reads commits, sends postbacks, until SIGTERM
    #[command(after_help = run::TEACH)]
    Run,
    /// Configuration, database, privileges, schema, triggers: every problem, each with its fix
    Check(check::Args),
    /// Install, upgrade, show, remove or print schema postback
    Schema(schema::Args),
    /// The exact requests as curl lines, secrets as names; sends nothing
    Preview(preview::Args),
    /// How far everything is, per destination
    #[command(after_help = status::TEACH)]
    Status,
    /// Whether deliveries move, by the daemon of this machine; for containers and scripts
    #[command(after_help = health::TEACH)]
    Health,
    /// What each platform got of an order, when, what it answered, or why not
    Order(order::Args),
    /// Orders, refunds and money by day and destination, against the shop's books
    Report(report::Args),
    /// Paid orders in the shop's books that no event tells, and saying them
    Reconcile(reconcile::Args),
    /// Orders from before there were triggers, by a query of yours: what would become of them, and saying them
    Backfill(backfill::Args),
    /// What triggers could not say, and saying it again
    Trouble(trouble::Args),
    /// Deliveries that were given up
    Dead(dead::Args),
    /// Deliveries that may have arrived and must not be repeated by themselves
    Unknown(unknown::Args),
    /// Stop sending to a destination; nothing is lost
    Pause(pause::Args),
    /// Go on sending to a destination, also after a halt
    Resume(pause::Args),
    /// Judge and, where the platform dedupes, send again what was read since a time
    Replay(replay::Args),
    /// Take what is known of a person out of every table; references, counts and money stay
    Forget(forget::Args),
    /// A changed configuration over past events: which requests would differ, and in what; nothing is sent
    Shadow(shadow::Args),
    /// The shop's database has moved to another cluster: make it the daemon's home
    Rebase(rebase::Args),
    /// Give a copy (or a database without one) a name of its own
    Adopt(adopt::Args),
    /// Postbacks that Apple's devices send: verify one, list what is kept, count what came
    Apple(apple::Args),
    /// Health of the database side
    #[command(after_help = doctor::TEACH)]
    Doctor,
    /// What capture costs the shop, and how fast delivery is, measured on your own server
    Bench(bench::Args),
    /// Fake platforms on loopback that judge every request as the real ones would
    Fake(fake::Args),
    /// Completions for a shell
    Completions(manual::Completions),
    /// Manual pages, for packages
    #[command(hide = true)]
    Man(manual::Man),
}

/// Runs everything but the daemon.
pub fn once(common: &Common, command: &Command) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| Failure::new(Exit::Failed, error))?;
    runtime.block_on(async {
        match command {
            Command::Run => run::run(common),
            Command::Bench(args) => bench::bench(common, args),
            Command::Fake(args) => fake::fake(common, args).await,
            Command::Check(args) => check::check(common, args).await,
            Command::Schema(args) => schema::schema(common, args).await,
            Command::Preview(args) => preview::preview(common, args).await,
            Command::Status => status::status(common).await,
            Command::Health => health::health(common).await,
            Command::Order(args) => order::order(common, args).await,
            Command::Report(args) => report::report(common, args).await,
            Command::Reconcile(args) => reconcile::reconcile(common, args).await,
            Command::Backfill(args) => backfill::backfill(common, args).await,
            Command::Trouble(args) => trouble::trouble(common, args).await,
            Command::Dead(args) => dead::dead(common, args).await,
            Command::Unknown(args) => unknown::unknown(common, args).await,
            Command::Pause(args) => pause::pause(common, args).await,
            Command::Resume(args) => pause::resume(common, args).await,
            Command::Replay(args) => replay::replay(common, args).await,
            Command::Forget(args) => forget::forget(common, args).await,
            Command::Shadow(args) => shadow::shadow(common, args).await,
            Command::Rebase(args) => rebase::rebase(common, args).await,
            Command::Adopt(args) => adopt::adopt(common, args).await,
            Command::Apple(args) => apple::apple(common, args).await,
            Command::Doctor => doctor::doctor(common).await,
            Command::Completions(args) => manual::completions(args),
            Command::Man(args) => manual::man(args),
        }
    })
}

impl Common {
    fn load(&self, mode: SecretMode) -> Result<Config, Problems> {
        let mut config = Config::load(&self.config, mode)?;
        if let Some(url) = &self.url {
            config.database.url = Database::at(url).url;
            config.database.direct = None;
        }
        Ok(config)
    }

    /// The database alone; with `--url` no file is needed. Other secrets of the file are not read: this shell may not be
    /// allowed to.
    fn database(&self) -> Result<Database, Failure> {
        match &self.url {
            Some(url) => Ok(Database::at(url)),
            None => Ok(Config::load(&self.config, SecretMode::Names).map_err(Failure::without_url)?.database),
        }
    }

    /// Names of the configured destinations, where there is a configuration that can be read.
    fn destinations(&self) -> Option<Vec<String>> {
        let config = Config::load(&self.config, SecretMode::Names).ok()?;
        Some(config.destinations.iter().map(|to| to.name.to_string()).collect())
    }

    async fn connect(&self, purpose: &str) -> Result<Client, Failure> {
        Ok(connect::connect(&self.database()?, purpose).await?.0)
    }

    /// A session with a database that has our schema.
    async fn session(&self, purpose: &str) -> Result<Client, Failure> {
        let db = self.connect(purpose).await?;
        crate::outbox::schema::require(&db).await?;
        Ok(db)
    }

    fn print<T: Serialize>(&self, json: &T, human: impl FnOnce() -> String) -> Result<(), Failure> {
        let text = match self.json {
            true => serde_json::to_string_pretty(json).map_err(|error| Failure::new(Exit::Failed, error))?,
            false => human(),
        };
        say(text.trim_end());
        Ok(())
    }
}

/// To stdout. Whoever closed it (`| head`) has seen enough.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Asks before something that concerns several rows. Without a terminal nobody can answer, so `--yes` is needed.
fn confirmed(question: &str, yes: bool) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, format!("{question} Nothing was done; say --yes to do it.")));
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| Failure::new(Exit::Failed, error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_by_example() {
        for command in Args::command().get_subcommands().filter(|command| command.get_name() != "help") {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("postbackd "), "{} shows no example:\n{help}", command.get_name());
        }
    }
}
