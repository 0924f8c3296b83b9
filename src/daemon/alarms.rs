//! `[alert]`: tells somebody outside what began, goes on and is over. Only the owner does, by what everybody's tables say, and writes down
//! what was told, so that neither a restart nor a takeover tells it again.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::json;

use crate::{
    alert::{self, Alarm, Alerts, What},
    config::{Alert, Config},
    hook,
    http::{self, Transport as _},
    metrics::Hook,
    observe,
    outbox::{
        DbError,
        alert::{self as kept, Told},
        inspect,
    },
    request::{Method, Request},
    session::Session,
};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// After hooks that did not take it.
const LATER: Duration = Duration::from_secs(60);
/// For a webhook.
const DEADLINE: Duration = Duration::from_secs(10);
/// For a program.
const PROGRAM: Duration = Duration::from_secs(30);

/// For as long as this process reads the shop's commits under `epoch`.
pub(super) async fn run(session: &Session, epoch: i64, config: &Config) -> DbError {
    // Without hooks there is nothing to do, for ever.
    let Some(alert) = &config.alert else { return std::future::pending().await };
    let names: Vec<Arc<str>> = config.destinations.iter().map(|to| Arc::clone(&to.name)).collect();
    let mut alerts = Alerts::default();
    match remembered(session, &mut alerts).await {
        Ok(()) => {}
        Err(error) => return error,
    }
    loop {
        let wait = match look(session, epoch, (alert, &config.daemon.instance), &names, &mut alerts).await {
            Ok(true) => LOOK_EVERY,
            Ok(false) => LATER,
            Err(error) if error.is_refusal() => {
                tracing::warn!(error = %error, "what [alert] is about could not be looked at; it is tried again in {LATER:?}");
                LATER
            }
            Err(error) => return error,
        };
        tokio::time::sleep(wait).await;
    }
}

async fn remembered(session: &Session, alerts: &mut Alerts) -> Result<(), DbError> {
    let db = session.pool.get().await?;
    for Told { what, destination, since, told } in kept::told(&db).await? {
        // A later version may know more.
        if let Some(what) = What::parse(&what) {
            alerts.remember((what, destination.into()), since, told);
        }
    }
    Ok(())
}

/// Whether all that was to be told was taken.
async fn look(session: &Session, epoch: i64, (alert, instance): (&Alert, &str), names: &[Arc<str>], alerts: &mut Alerts) -> Result<bool, DbError> {
    let Some(status) = inspect::glance(&*session.pool.get().await?).await? else { return Ok(true) };
    // Those that a reload has added, and those that other daemons work.
    let others = status.destinations.iter().filter(|one| one.worked && !names.iter().any(|name| **name == *one.destination));
    let all: Vec<Arc<str>> = names.iter().cloned().chain(others.map(|one| Arc::from(one.destination.as_str()))).collect();
    let mut health = observe::health(&status, &all);
    health.paid_without_event = session.metrics.untold_orders().and_then(|orders| i64::try_from(orders).ok());
    let conditions = alert::conditions(&health, &alert.rule);
    let mut all_taken = true;
    for alarm in alerts.look(&conditions, &alert.rule, Timestamp::now()) {
        // Without a connection: a hook may hang for half a minute, and all destinations share the pool.
        if !tell(session, alert, instance, &alarm).await {
            all_taken = false;
            continue;
        }
        let now = Timestamp::now();
        alerts.told(&alarm, now);
        let (what, name) = (alarm.key.0.as_str(), &*alarm.key.1);
        let db = session.pool.get().await?;
        match alarm.stage {
            alert::Stage::Over => kept::drop(&db, epoch, what, name).await?,
            _ => kept::keep(&db, epoch, &Told { what: what.to_owned(), destination: name.to_owned(), since: alarm.since, told: now }).await?,
        }
    }
    Ok(all_taken)
}

/// By every hook; whether one of them took it. A second one that fails is only said: the first would be told again and again.
async fn tell(session: &Session, alert: &Alert, instance: &str, alarm: &Alarm) -> bool {
    let text = alarm.text(&alert.rule, Timestamp::now());
    let document = json!({
        // What most chats take.
        "text": format!("postbackd on {instance}: {text}"),
        "what": alarm.key.0, "destination": &*alarm.key.1, "stage": alarm.stage, "value": alarm.value, "since": alarm.since, "instance": instance,
    });
    let mut taken = false;
    let mut count = |hook: Hook, told: Result<(), String>| {
        session.metrics.hook(hook, told.is_ok());
        match told {
            Ok(()) => taken = true,
            Err(why) => tracing::warn!(hook = hook.as_str(), why, "an alert could not be told"),
        }
    };
    if alert.webhook.is_some() {
        count(Hook::Webhook, post(alert, &document).await);
    }
    if let Some(argv) = &alert.command {
        count(Hook::Command, hook::run(argv, &format!("{document}\n"), PROGRAM).await);
    }
    tracing::warn!(alert = alarm.key.0.as_str(), stage = ?alarm.stage, taken, "{text}");
    taken
}

/// The address may be a secret in itself: neither it nor what is answered is told.
async fn post(alert: &Alert, document: &serde_json::Value) -> Result<(), String> {
    let Some(webhook) = &alert.webhook else { return Ok(()) };
    let client = http::Client::new(&alert.route, &crate::destination::Limits::default()).map_err(|error| error.to_string())?;
    let request = Request { method: Method::Post, ..Request::json(webhook.reveal(), document) };
    match client.send(request, DEADLINE).await {
        Ok(reply) if (200..300).contains(&reply.status) => Ok(()),
        Ok(reply) => Err(format!("HTTP {}", reply.status)),
        Err(error) => Err(error.to_string()),
    }
}
