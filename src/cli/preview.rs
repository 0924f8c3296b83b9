//! `postbackd preview`: what would be sent, by the daemon's own judging and adapters.

use std::{path::PathBuf, sync::Arc};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Common, Exit, Failure};
use crate::{
    config::SecretMode,
    destination::Destination,
    event::Event,
    outbox::inspect,
    preview::{self, Previewed},
    words::hint,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Secrets are printed as names (SECRET.env.META_TOKEN) and are not even read. Everything else is what would be sent, so lines
may hold an e-mail address or a click id. A refund is shown as it would be told once its purchase has been. Without
arguments: the newest event of each kind.

A file holds an event: {\"kind\": \"purchase\", \"ref\": \"1001\", \"value\": \"140.98\", \"currency\": \"EUR\",
                        \"who\": {\"gclid\": \"abc\"}, \"more\": {}}; kind and ref may be left out.

Examples:
  postbackd preview --order 1001
  postbackd preview --event 4711 --destination meta
  postbackd preview --file purchase.json        needs no database")]
pub struct Args {
    /// This event
    #[arg(long, value_name = "N", conflicts_with_all = ["order", "file"])]
    event: Option<i64>,
    /// Every event of this order
    #[arg(long, value_name = "REF", conflicts_with = "file")]
    order: Option<String>,
    /// An event that happened nowhere; - reads it from stdin
    #[arg(long, value_name = "JSON")]
    file: Option<PathBuf>,
    /// Only at this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
}

pub(super) async fn preview(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let config = common.load(SecretMode::Names)?;
    let to = chosen(&config.destinations, args.destination.as_deref())?;
    let now = Timestamp::now();
    let found = match &args.file {
        Some(file) => preview::of_event(&to, &Arc::new(read(file, now)?), now),
        None => {
            let db = common.session("preview").await?;
            let ids = match (&args.event, &args.order) {
                (Some(id), _) => vec![*id],
                (None, Some(order)) => preview::events_of(&db, order).await?,
                (None, None) => inspect::recent_events(&db).await?,
            };
            preview::of_database(&db, &to, &ids, now, preview::plain).await?
        }
    };
    if found.is_empty() {
        return Err(Failure::new(Exit::Failed, "there is no such event"));
    }
    let document: Vec<Value> = found.iter().map(as_json).collect();
    common.print(&document, || found.iter().map(as_text).collect::<Vec<String>>().join("\n"))?;
    Ok(Exit::Done)
}

fn chosen(all: &[Arc<Destination>], name: Option<&str>) -> Result<Vec<Arc<Destination>>, Failure> {
    let Some(name) = name else { return Ok(all.to_vec()) };
    let found: Vec<_> = all.iter().filter(|to| *to.name == *name).cloned().collect();
    if found.is_empty() {
        let hint = hint(name, all.iter().map(|to| &*to.name));
        return Err(Failure::new(Exit::Usage, format!("there is no [destination.{name}]{hint}")));
    }
    Ok(found)
}

/// The payload with kind and ref beside its keys, or below `payload`.
fn read(file: &std::path::Path, now: Timestamp) -> Result<Event, Failure> {
    let wrong = |why: String| Failure::new(Exit::Usage, format!("{}: {why}", file.display()));
    let text = match file.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(file),
    };
    let mut event: Value =
        serde_json::from_str(&text.map_err(|error| wrong(error.to_string()))?).map_err(|error| wrong(format!("this is not JSON: {error}")))?;
    let mut take = |key: &str| event.as_object_mut().and_then(|event| event.remove(key)).and_then(|value| value.as_str().map(str::to_owned));
    let kind = take("kind").unwrap_or_else(|| "purchase".to_owned());
    let reference = take("ref").unwrap_or_else(|| "1001".to_owned());
    let at = match take("occurred_at") {
        Some(text) => text.parse().map_err(|_| wrong(format!("occurred_at {text:?} is no time like 2026-03-01T12:00:00Z")))?,
        None => now,
    };
    let payload = event.get("payload").unwrap_or(&event).to_string();
    Event::decode(0, &kind, &reference, &payload, at).map_err(|why| wrong(format!("no event: {why}")))
}

fn as_text(found: &Previewed) -> String {
    let kind = found.kind.map_or("unreadable", |kind| kind.as_str());
    let what = format!("# {}: {kind} {}, event {}", found.destination, found.reference, found.event);
    match &found.result {
        Ok(request) => format!("{what}\n{}\n", request.to_curl()),
        Err(why) => format!("{what}\n# {why}\n"),
    }
}

fn as_json(found: &Previewed) -> Value {
    let mut entry = json!({
        "destination": &*found.destination, "event": found.event, "kind": found.kind.map(|kind| kind.as_str()), "ref": found.reference,
    });
    match &found.result {
        Ok(request) => {
            let headers: Vec<Value> = request.headers.iter().map(|(name, value)| json!([name, value])).collect();
            entry["request"] = json!({
                "method": request.method.as_str(), "url": request.url, "headers": headers, "body": String::from_utf8_lossy(&request.body),
            });
            entry["curl"] = json!(request.to_curl());
        }
        Err(why) => entry["none"] = json!(why),
    }
    entry
}
