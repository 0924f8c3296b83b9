//! `postbackd schema install|upgrade|status|uninstall|sql`.

use clap::Subcommand;
use serde_json::json;

use super::{
    Common, Exit, Failure, confirmed, say,
    table::{Table, time},
};
use crate::outbox::schema::{self, Migration, SchemaError, VERSION};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
install and upgrade want a superuser (or a role that may create roles and schemas; they say what is missing). Both are safe
to run twice. The daemon logs in as a member of role postback_daemon, dashboards as members of postback_reader.

Examples:
  postbackd schema install --url postgres://postgres@localhost/shop
  postbackd schema install --url postgres://postgres@localhost/shop --app-role shop     pages may print the dedupe id
  postbackd schema sql | less                                                           for DBAs who run their own
  postbackd schema status")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Put the schema, or what is missing of it, into the database
    Install {
        /// The shop's role, whose pages may call postback.event_id and postback.click_ids
        #[arg(long, value_name = "ROLE")]
        app_role: Option<String>,
    },
    /// Bring an installed schema to this binary's version
    Upgrade,
    /// Which migrations are there; exit code 4 unless they are this binary's
    Status,
    /// Take off the triggers and drop the schema with everything in it
    Uninstall {
        /// Even if something has not been delivered yet
        #[arg(long)]
        force: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Print the schema as plain SQL
    Sql,
}

pub(super) async fn schema(common: &Common, args: &Args) -> Result<Exit, Failure> {
    if matches!(args.what, What::Sql) {
        say(schema::sql().trim_end());
        return Ok(Exit::Done);
    }
    let mut db = common.connect("schema").await?;
    match &args.what {
        What::Sql => {}
        What::Install { app_role } => report(common, &schema::install(&mut db, app_role.as_deref()).await?)?,
        What::Upgrade => report(common, &schema::upgrade(&mut db).await?)?,
        What::Status => return status(common, &db).await,
        What::Uninstall { force, yes } => {
            schema::require(&db).await.or_else(|error| if matches!(error, SchemaError::Missing) { Err(error) } else { Ok(()) })?;
            let loss = schema::loss(&db).await?;
            if !confirmed(&format!("This would drop schema postback: {loss}."), *yes)? {
                return Ok(Exit::Done);
            }
            let loss = schema::uninstall(&mut db, *force).await?;
            common.print(&json!({ "removed": true, "events": loss.events, "triggers": loss.triggers }), || format!("removed: {loss}"))?;
        }
    }
    Ok(Exit::Done)
}

fn report(common: &Common, applied: &[Migration]) -> Result<(), Failure> {
    let versions: Vec<i32> = applied.iter().map(|migration| migration.version).collect();
    common.print(&json!({ "version": VERSION, "applied": versions }), || match applied {
        [] => format!("schema postback was at version {VERSION} already"),
        _ => {
            applied.iter().map(|migration| format!("applied {} ({})\n", migration.version, migration.name)).collect::<String>()
                + &format!("schema postback is at version {VERSION}")
        }
    })
}

async fn status(common: &Common, db: &tokio_postgres::Client) -> Result<Exit, Failure> {
    let applied = schema::status(db).await?;
    let fits = schema::require(db).await;
    let list: Vec<_> =
        applied.iter().map(|row| json!({ "version": row.version, "name": row.name, "at": row.at.to_string(), "by": row.by })).collect();
    common.print(&json!({ "wanted": VERSION, "fits": fits.is_ok(), "applied": list }), || {
        let mut table = Table::new(["version", "name", "when", "by"]);
        for row in &applied {
            table.row([row.version.to_string(), row.name.clone(), time(row.at), row.by.clone()]);
        }
        let verdict = fits.as_ref().map_or_else(ToString::to_string, |()| format!("this postbackd works with version {VERSION}"));
        if applied.is_empty() { verdict } else { format!("{table}{verdict}") }
    })?;
    Ok(fits.map_or(Exit::Schema, |()| Exit::Done))
}
