//! Whether a destination can be reached, without sending anything.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::json;
use tokio::net::{TcpStream, lookup_host};
use url::Url;

use super::Report;
use crate::{
    cli::Exit,
    click,
    destination::{Destination, Mode, Start},
    event::Event,
    http::{self, Transport as _},
    outcome::SendError,
    preview,
};

/// Name resolution and TCP, each.
const WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn destination(to: &Arc<Destination>, connecting: bool, report: &mut Report) {
    let name = &to.name;
    if let Err(error) = http::Client::new(&to.route, &to.limits) {
        return report.error(Exit::Usage, format!("destination {name}: {error}"), "");
    }
    if !connecting {
        return;
    }
    if to.mode == Mode::Shadow {
        return report.add("info", format!("destination {name}: mode is shadow, nothing is sent there"), None);
    }
    let Some(host) = host(to) else {
        let hint = "preview an event that it wants: postbackd preview".to_owned();
        return report.add("info", format!("destination {name}: which host it sends to cannot be told without an event"), Some(hint));
    };
    // Through a proxy only the proxy is ours to reach; it resolves the rest.
    let proxy = to.route.proxy.as_ref().and_then(|proxy| Url::parse(proxy.reveal()).ok());
    let (target, via) = match proxy.as_ref().and_then(place) {
        Some(place) => (place, " (its proxy)"),
        None => (host, ""),
    };
    let (host, port) = &target;
    match reach(host, *port).await {
        Ok(()) => {
            report.ok(format!("destination {name}: {host}:{port}{via} can be reached"));
            credential(to, report).await;
        }
        Err(why) => report.error(Exit::Failed, format!("destination {name}: {host}:{port}{via} {why}"), "see DNS, firewall, and proxy in [http]"),
    }
}

/// Tries the credential by the platform's harmless call, where it has one.
async fn credential(to: &Arc<Destination>, report: &mut Report) {
    let (name, fix) = (&to.name, "see the platform's page on credentials, and the destination's ids");
    let (Some(probe), Ok(client)) = (to.platform.probe(Timestamp::now()), http::Client::new(&to.route, &to.limits)) else { return };
    // Refresh tokens that this may rotate are kept where the daemon keeps them.
    let tokens = Arc::new(http::token::Tokens::of_service());
    match http::token::Authorized::new(Arc::new(client), &tokens, Arc::default()).send(probe, to.limits.deadline).await {
        Ok(reply) => match to.platform.probed(&reply) {
            Ok(()) => report.ok(format!("destination {name}: the credential works (HTTP {})", reply.status)),
            Err(why) => report.error(Exit::Failed, format!("destination {name}: {why}"), ""),
        },
        Err(SendError::NoToken { why, fix }) => report.error(Exit::Failed, format!("destination {name}: {why}"), &fix),
        Err(error) => report.error(Exit::Failed, format!("destination {name}: the credential could not be tried: {error}"), fix),
    }
}

async fn reach(host: &str, port: u16) -> Result<(), String> {
    let late = |_| format!("does not answer within {WITHIN:?}");
    let addresses =
        tokio::time::timeout(WITHIN, lookup_host((host, port))).await.map_err(late)?.map_err(|error| format!("does not resolve: {error}"))?;
    let mut why = "resolves to no address".to_owned();
    for address in addresses {
        match tokio::time::timeout(WITHIN, TcpStream::connect(address)).await.map_err(late) {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => why = format!("does not take connections: {error}"),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// Where a typical event would go. Hosts come from the configuration only, so any event shows them.
fn host(to: &Arc<Destination>) -> Option<(String, u16)> {
    // Nothing of this is sent; filters and holds would only hide the host.
    let open = Arc::new(Destination {
        when: None,
        consent: Vec::new(),
        click: Vec::new(),
        hold: Duration::ZERO,
        start: Start::Beginning,
        mode: Mode::Live,
        ..Destination::clone(to)
    });
    let now = Timestamp::now();
    if let Some(probe) = to.platform.probe(now) {
        return place(&Url::parse(&probe.url).ok()?);
    }
    let mut who = json!({ "email": "check@example.com", "phone": "+10000000000", "ip": "192.0.2.1", "user_agent": "check", "page_url": "https://check.example/" });
    for id in click::known().chain(to.click.iter().map(String::as_str)) {
        who[id] = json!("check");
    }
    let payload = json!({ "value": "1.00", "currency": "EUR", "who": who, "more": { "tax": "0", "shipping": "0" } }).to_string();
    let kinds = to.kinds.iter().map(|kind| kind.as_str());
    kinds.filter_map(|kind| Event::decode(0, kind, "check", &payload, now).ok()).find_map(|event| {
        let found = preview::of_event(std::slice::from_ref(&open), &Arc::new(event), now);
        found.into_iter().find_map(|found| place(&Url::parse(&found.result.ok()?.url).ok()?))
    })
}

fn place(url: &Url) -> Option<(String, u16)> {
    let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
    Some((host, url.port_or_known_default()?))
}
