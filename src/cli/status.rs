//! `postbackd status`.

use serde::Serialize;

use super::{
    Common, Exit, Failure,
    table::{Table, ago, unless_zero},
};
use crate::{
    outbox::{
        identity,
        inspect::{self, Standing, Status},
    },
    words::counted,
};

pub(super) const TEACH: &str = "\
waiting counts entries of the stream that a destination has not passed, and open exceptions (retrying, held until a time,
parked behind another event of their order, sending). dead and unknown wait for a person: see \"postbackd dead\" and
\"postbackd unknown\". delivered and skipped are those of the last hour.

Examples:
  postbackd status
  postbackd status --url postgres://dashboard@localhost/shop --json";

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    status: &'a Status,
    /// Positions whose destination is not in the configuration; `null` without a configuration.
    unconfigured: Option<Vec<&'a str>>,
    /// Configured, and no daemon has begun them.
    not_begun: Vec<&'a str>,
    identity: Identity,
}

/// Where this database is at home.
#[derive(Serialize)]
struct Identity {
    /// Its name; `null`: it has none.
    name: Option<String>,
    /// The server.
    here: String,
    /// Why nothing is read or sent; `null`: it is at home.
    refused: Option<String>,
}

impl Identity {
    /// Without a configuration nobody expects another name than it has.
    fn of(found: &identity::Found, expect: Option<&str>) -> Self {
        let name = found.kept.as_ref().and_then(|kept| kept.name.clone());
        let refused = found.verdict(expect.or(name.as_deref())).err().map(|refusal| refusal.to_string());
        Self { name, here: found.here.to_string(), refused }
    }
}

pub(super) async fn status(common: &Common) -> Result<Exit, Failure> {
    let db = common.session("status").await?;
    let status = inspect::status(&db).await?;
    let configured = common.destinations();
    let known = |name: &str| status.destinations.iter().any(|there| there.destination == name);
    let report = Report {
        unconfigured: configured.as_ref().map(|names| {
            status.destinations.iter().map(|there| there.destination.as_str()).filter(|there| !names.iter().any(|name| name == there)).collect()
        }),
        not_begun: configured.iter().flatten().map(String::as_str).filter(|name| !known(name)).collect(),
        status: &status,
        identity: Identity::of(&identity::find(&db).await?, common.database()?.expect.as_deref()),
    };
    common.print(&report, || text(&report))?;
    Ok(Exit::Done)
}

fn text(report: &Report<'_>) -> String {
    let Status { now, last_seq, unread, unread_since, owner, owned, epoch, daemons, trouble, destinations } = report.status;
    let since = daemons.iter().find(|there| there.reads).map(|there| there.since);
    let mut text = match (owned, owner) {
        (true, owner) => format!("owner      {} (epoch {epoch}, since {} ago)\n", owner.as_deref().unwrap_or("a command"), ago(since, *now)),
        (false, Some(owner)) => format!("owner      nobody; {owner} went away without releasing it: is a daemon running?\n"),
        (false, None) => "owner      nobody: no daemon is running\n".to_owned(),
    };
    for there in daemons.iter().filter(|there| !there.reads) {
        text += &match there.destinations.as_slice() {
            [] => format!("standby    {} (checked {} ago)\n", there.instance, ago(Some(there.checked), *now)),
            works => format!("sender     {} works {}\n", there.instance, works.join(", ")),
        };
    }
    text += &match unread {
        0 => format!("stream     {last_seq}, everything committed is read\n"),
        10_000.. => format!("stream     {last_seq}, more than 10000 events unread, the oldest {} old\n", ago(*unread_since, *now)),
        _ => format!("stream     {last_seq}, {} unread, the oldest {} old\n", counted(*unread, "event", "events"), ago(*unread_since, *now)),
    };
    if *trouble > 0 {
        text += &format!("trouble    {}: postbackd trouble list\n", counted(*trouble, "thing was not said", "things were not said"));
    }
    if let Some(why) = &report.identity.refused {
        text += &format!("identity   {why}\n");
    } else if let Some(name) = &report.identity.name {
        text += &format!("identity   {name} ({})\n", report.identity.here);
    }
    let mut table = Table::new([
        "destination",
        "position",
        "waiting",
        "retrying",
        "held",
        "parked",
        "sending",
        "accepted",
        "dead",
        "unknown",
        "oldest",
        "delivered",
        "skipped",
        "",
    ]);
    for there in destinations {
        table.row([
            there.destination.clone(),
            there.seq.to_string(),
            there.waiting.to_string(),
            unless_zero(there.retrying),
            unless_zero(there.held),
            unless_zero(there.parked),
            unless_zero(there.sending),
            unless_zero(there.accepted),
            unless_zero(there.dead),
            unless_zero(there.unknown),
            ago(there.oldest, *now),
            there.delivered_hour.to_string(),
            there.skipped_hour.to_string(),
            remark(there, report),
        ]);
    }
    for name in &report.not_begun {
        let mut cells: [String; 14] = Default::default();
        cells[0] = (*name).to_owned();
        cells[13] = "not begun: no daemon has run with it yet".to_owned();
        table.row(cells);
    }
    if destinations.is_empty() && report.not_begun.is_empty() { text + "\nno destination has begun yet\n" } else { format!("{text}\n{table}") }
}

fn remark(there: &Standing, report: &Report<'_>) -> String {
    if let Some(halted) = &there.halted {
        return format!("halted: {halted}");
    }
    if there.paused {
        return format!("paused: postbackd resume {}", there.destination);
    }
    if there.worked {
        return String::new();
    }
    if report.unconfigured.as_ref().is_some_and(|names| names.contains(&there.destination.as_str())) {
        return "unconfigured: loses nothing until retention".to_owned();
    }
    "no daemon works it now".to_owned()
}
