//! The first page: what needs a person, how every destination does, what was delivered last.

use std::sync::Arc;

use axum::{Extension, extract::State, http::StatusCode, response::Response};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    Page,
    apple::{self, Today},
    chart::{self, Chart},
    guard::Visitor,
    render::{self, Fault, values},
    words::deliveries,
};
use crate::{
    config::Config,
    metrics::Metrics,
    outbox::{
        self, DbError,
        apple::Number,
        inspect::{self, Fault as Failed, Mark, Standing, Status, Tally},
    },
    web::Web,
};

/// What waits longer, without anybody having said so, is worth a word.
const LONG: SignedDuration = SignedDuration::from_mins(15);
/// The daemon says beforehand when a platform ends a version.
const AHEAD: SignedDuration = SignedDuration::from_hours(60 * 24);

/// Everything on it.
#[derive(Debug, Serialize)]
pub(super) struct Overview {
    status: Status,
    needs: Vec<Need>,
    rows: Vec<Row>,
    chart: Chart,
    marks: Vec<Mark>,
    /// `None`: this daemon takes no postbacks of Apple's.
    apple: Option<Today>,
}

/// Something that only a person can do.
#[derive(Debug, Serialize)]
struct Need {
    /// `bad`: nothing goes on without; `wait`: worth a look.
    tone: &'static str,
    what: String,
    why: String,
    /// Where to do it, and what the link says.
    to: Option<(String, &'static str)>,
}

/// A destination.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    platform: Option<&'static str>,
    mode: Option<&'static str>,
    standing: Option<Standing>,
    /// As a word for its state, and its tone.
    state: (&'static str, String),
    /// Of what was tried within the hours of the chart, in tenths of a percent.
    success: Option<i64>,
    /// Of its requests, as this daemon sends them: closed, open, probing ...
    breaker: Option<&'static str>,
    fault: Option<Failed>,
}

impl Overview {
    /// Reads it; some ten short statements.
    pub(super) async fn read(web: &Web) -> Result<Self, DbError> {
        let (now, config) = (Timestamp::now(), Arc::clone(&web.config.borrow()));
        let takes = config.apple.is_some();
        let (status, tallies, faults, marks, numbers) = inspect::look(&web.pool, move |db| async move {
            let since = chart::since(now);
            let numbers = async { if takes { outbox::apple::numbers(&db, Some(now)).await } else { Ok(Vec::new()) } };
            tokio::try_join!(inspect::status(&db), inspect::tallies(&db, since), inspect::faults(&db), inspect::marks(&db, 12), numbers)
        })
        .await?;
        let chart = Chart::of(&tallies, None, now);
        let rows = rows(&status, &config, &web.metrics, &tallies, faults);
        let needs = needs(&status, &config, &web.metrics, &numbers, now);
        Ok(Self { status, needs, rows, chart, marks, apple: takes.then(|| Today::of(&numbers)) })
    }

    /// The part that changes, alone.
    pub(super) fn fragment(&self) -> Result<String, minijinja::Error> {
        render::fragment("overview_live.html", values! { all => self })
    }
}

/// `GET /`
pub(super) async fn overview(State(page): State<Page>, Extension(visitor): Extension<Visitor>) -> Result<Response, Fault> {
    let all = Overview::read(&page.web).await?;
    Ok(render::page(&visitor, StatusCode::OK, "overview.html", values! { title => "Overview", all }))
}

fn rows(status: &Status, config: &Config, metrics: &Metrics, tallies: &[Tally], mut faults: Vec<Failed>) -> Vec<Row> {
    let mut names: Vec<&str> = config.destinations.iter().map(|to| &*to.name).collect();
    names.extend(
        status.destinations.iter().map(|there| there.destination.as_str()).filter(|name| !config.destinations.iter().any(|to| *to.name == **name)),
    );
    let row = |name: &str| {
        let to = config.destinations.iter().find(|to| *to.name == *name);
        let standing = status.destinations.iter().find(|there| there.destination == name);
        let sum = |outcomes: &[&str]| -> i64 {
            tallies.iter().filter(|tally| tally.destination == name && outcomes.contains(&tally.outcome.as_str())).map(|tally| tally.count).sum()
        };
        let (well, all) = (sum(&["delivered", "accepted"]), sum(&["delivered", "accepted", "retry", "dead", "unknown"]));
        Row {
            name: name.to_owned(),
            platform: to.map(|to| to.platform.platform()),
            mode: to.map(|to| to.mode.as_str()),
            standing: standing.cloned(),
            state: state(standing, to.is_some()),
            success: (all > 0).then(|| well * 1_000 / all),
            breaker: super::destination::breaker(metrics, name),
            fault: faults.iter().position(|fault| fault.destination == name).map(|at| faults.swap_remove(at)),
        }
    };
    names.into_iter().map(row).collect()
}

/// Tone and word.
pub(super) fn state(standing: Option<&Standing>, configured: bool) -> (&'static str, String) {
    let Some(there) = standing else { return ("none", "not begun".into()) };
    match there {
        _ if there.halted.is_some() => ("bad", "halted".into()),
        _ if there.paused => ("wait", "paused".into()),
        _ if !configured => ("none", "not configured".into()),
        _ if !there.worked => ("bad", "nobody works it".into()),
        _ if there.retrying > 0 => ("wait", "retrying".into()),
        _ => ("good", "works".into()),
    }
}

fn needs(status: &Status, config: &Config, metrics: &Metrics, numbers: &[Number], now: Timestamp) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut add = |tone, what: String, why: String, to: Option<(String, &'static str)>| needs.push(Need { tone, what, why, to });
    if !status.owned {
        let why = "Commits of the shop are not read, so nothing new is sent. Start the daemon, or look into its log.";
        add("bad", "No daemon reads the shop's orders".into(), why.into(), None);
    }
    for there in &status.destinations {
        let name = &there.destination;
        let query = |page: &str| format!("/{page}?destination={}", render::query_text(name));
        if let Some(halted) = &there.halted {
            add(
                "bad",
                format!("{name} is halted"),
                format!("{halted}. Its events wait; nothing is lost."),
                Some((render::destination(name), "See it and resume")),
            );
        }
        if there.dead > 0 {
            let why = "They were refused for good or became too old. Find out why, then retry or discard them.";
            add(
                "bad",
                format!("{} to {name} {} dead", deliveries(there.dead), if there.dead == 1 { "is" } else { "are" }),
                why.into(),
                Some((query("dead"), "Look at them")),
            );
        }
        if there.unknown > 0 {
            let why = "They may have arrived, and repeating them would count twice. Look them up at the platform and say what you found.";
            add("bad", format!("{} to {name} may have arrived", deliveries(there.unknown)), why.into(), Some((query("unknown"), "Resolve them")));
        }
        if there.paused {
            add(
                "wait",
                format!("{name} is paused"),
                "A person paused it. Its events wait; nothing is lost.".into(),
                Some((render::destination(name), "Resume it")),
            );
        }
        // What is held waits because it is meant to.
        let long = there.oldest.is_some_and(|oldest| now.duration_since(oldest) > LONG) && there.waiting > there.held;
        if long && there.halted.is_none() && !there.paused && there.worked {
            let why = "Orders are not delivered as fast as they come: the platform answers slowly or not at all.";
            add("wait", format!("{name} is behind"), why.into(), Some((render::destination(name), "See why")));
        }
        if !there.worked && there.halted.is_none() && status.owned && config.destinations.iter().any(|to| *to.name == **name) {
            add("bad", format!("No daemon works {name}"), "It is configured, and nobody sends to it now. The daemon's log says why.".into(), None);
        }
    }
    if status.trouble > 0 {
        let what = if status.trouble == 1 {
            "1 thing that the shop did was not understood".to_owned()
        } else {
            format!("{} things that the shop did were not understood", render::number(status.trouble))
        };
        let why = "A trigger could not say them, so no platform has them. A sysadmin sees them with \"postbackd trouble list\" and says them again with \"postbackd trouble retry\".";
        add("bad", what, why.into(), None);
    }
    if let Some(orders) = metrics.untold_orders().filter(|orders| *orders > 0) {
        let what = if orders == 1 {
            "1 paid order in the shop's books was never told".to_owned()
        } else {
            format!("{} paid orders in the shop's books were never told", render::number(orders as i64))
        };
        let why =
            "No event says that they were paid: a trigger was off, or never attached. \"postbackd reconcile\" names them and says them on request.";
        add("bad", what, why.into(), Some(("/report".into(), "See the report")));
    }
    if let Some((count, reason)) = apple::beyond_us(numbers) {
        let what = if count == 1 {
            "1 postback of Apple's today cannot be verified".to_owned()
        } else {
            format!("{} postbacks of Apple's today cannot be verified", render::number(count))
        };
        let why = format!(
            "They name what this version does not know ({reason}). If they are Apple's, a newer postbackd is needed; they are kept for 14 days."
        );
        add("wait", what, why, Some(("/apple?verdict=unverifiable".into(), "Look at them")));
    }
    for to in &config.destinations {
        let soon = to.platform.version_ends().filter(|ends| ends.duration_since(now) < AHEAD);
        if let Some(ends) = soon {
            let day = ends.strftime("%-d %B %Y");
            let (what, tone) = if ends < now {
                (format!("{}: the platform ended this version of its API on {day}", to.name), "bad")
            } else {
                (format!("{}: the platform ends this version of its API on {day}", to.name), "wait")
            };
            add(
                tone,
                what,
                "Set another version in the configuration, or update postbackd.".into(),
                Some((render::destination(&to.name), "See the version")),
            );
        }
    }
    needs.sort_by_key(|need| need.tone != "bad");
    needs
}
