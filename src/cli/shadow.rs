//! `postbackd shadow NEW`: a changed configuration over past events.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use serde_json::json;

use super::{
    Common, Exit, Failure, Table,
    replay::{Since, since},
    table::time,
};
use crate::{
    config::{Config, SecretMode},
    destination::Destination,
    outbox::inspect,
    preview,
    progress::Progress,
    shadow::{self, Row, Summary},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every event is judged twice, at the time when it was read and by what is known of its order today: by --config, and by the new
file. What differs is told by its place in the request, with the first event found as an example. Nothing is sent and nothing is
written; secrets are names and are not even read. Examples may hold what a platform would get: an e-mail address's hash, a click id.

Examples:
  postbackd shadow new.toml                              the last 7 days
  postbackd shadow new.toml --since 2h --destination meta
  postbackd shadow new.toml --json | jq .destinations")]
pub struct Args {
    /// The changed configuration file
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// A time with a zone, or how long ago
    #[arg(long, value_name = "TIME", value_parser = since, default_value = "7d")]
    since: Since,
    /// Only this destination, by its new name; may be repeated
    #[arg(long, value_name = "NAME")]
    destination: Vec<String>,
    /// Not more events than these, the latest
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    limit: u32,
}

/// Events that are judged at a time.
const PAGE: i64 = 500;

pub(super) async fn shadow(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let old = common.load(SecretMode::Names)?;
    let new = Config::load(&args.new, SecretMode::Names)?;
    let renamed: BTreeMap<String, Arc<str>> =
        new.destinations.iter().filter_map(|to| Some((to.was.clone()?, Arc::clone(&to.name)))).filter(|(was, _)| !has(&new, was)).collect();
    let name = |to: &Destination| Arc::clone(renamed.get(&*to.name).unwrap_or(&to.name));
    let wanted = |name: &str| args.destination.is_empty() || args.destination.iter().any(|wanted| wanted == name);
    let before: Vec<Arc<Destination>> = old.destinations.iter().filter(|to| wanted(&name(to))).cloned().collect();
    let after: Vec<Arc<Destination>> = new.destinations.iter().filter(|to| wanted(&to.name)).cloned().collect();
    if let Some(unknown) = args.destination.iter().find(|wanted| !has(&new, wanted) && !before.iter().any(|to| *name(to) == ***wanted)) {
        return Err(Failure::new(Exit::Usage, format!("there is no [destination.{unknown}] in either configuration")));
    }
    let db = common.session("shadow").await?;
    let (since, progress) = (args.since.time()?, Progress::default());
    let (mut summaries, mut seq, mut seen) = (BTreeMap::<String, Summary>::new(), i64::MAX, 0_u32);
    while seen < args.limit {
        let page = inspect::read_before(&db, seq, PAGE.min(i64::from(args.limit - seen))).await?;
        let Some((last, ..)) = page.last() else { break };
        seq = *last;
        let events: Vec<(i64, Timestamp)> = page.iter().filter(|(.., at)| *at >= since).map(|(_, event, at)| (*event, *at)).collect();
        let (olds, news) = (preview::of_past(&db, &before, &events).await?, preview::of_past(&db, &after, &events).await?);
        shadow::compare(&mut summaries, &olds, &news, |name| renamed.get(name).cloned());
        seen += u32::try_from(events.len()).unwrap_or(u32::MAX);
        progress.say(&format!("{seen} events judged"));
        if events.len() < page.len() {
            break;
        }
    }
    progress.say("");
    if seen == 0 {
        return Err(Failure::new(Exit::Failed, format!("nothing was read since {}", time(since))));
    }
    summaries.values_mut().for_each(Summary::sort);
    let document = json!({ "since": since, "events": seen, "limited": seen == args.limit, "destinations": summaries });
    common.print(&document, || as_text(&summaries, seen, seen == args.limit, since))?;
    Ok(Exit::Done)
}

fn has(config: &Config, name: &str) -> bool {
    config.destinations.iter().any(|to| *to.name == *name)
}

fn as_text(summaries: &BTreeMap<String, Summary>, seen: u32, limited: bool, since: Timestamp) -> String {
    let which = if limited { "the latest since" } else { "all since" };
    let mut text = format!("{seen} events, {which} {}; nothing was sent\n", time(since));
    for (name, all) in summaries {
        let Summary { same, changed, begins, ends, reasons, .. } = all;
        text.push_str(&format!("\n{name}: {same} as before"));
        for (count, what) in [
            (changed, "with another request"),
            (begins, "sent that were not"),
            (ends, "not sent that were"),
            (reasons, "not sent for another reason"),
        ] {
            if *count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text.push('\n');
        if all.differs() {
            let mut table = Table::new(["what differs", "events", "for example", "before", "after"]);
            for Row { what, events, event, kind, reference, before, after } in &all.rows {
                let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "(absent)".to_owned());
                table.row([what.clone(), events.to_string(), format!("{kind} {reference}, event {event}"), side(before), side(after)]);
            }
            text.push_str(&table.to_string());
        }
        if all.unlisted > 0 {
            text.push_str(&format!("... and {} more differences of other kinds\n", all.unlisted));
        }
    }
    text
}
