//! `[apple]`: where Apple's postbacks come in, of which apps, and what their conversion values mean.

use std::{net::SocketAddr, sync::Arc};

use rust_decimal::Decimal;
use toml::Value;

use super::section::Section;
use crate::{
    apple::{
        Coarse,
        meaning::{App, Meaning},
    },
    destination::Destination,
    inbox::{Network, Settings},
    money::Currency,
};

/// Without `listen` nothing listens, and nothing else is looked for.
pub(super) fn read(table: Section<'_>, destinations: &[Destination]) -> Option<Settings> {
    let listen = table.text("listen");
    let apps = apps(&table.section("app"));
    let settings = Settings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        apps: apps.into_iter().map(|app| (app.id, Arc::new(app))).collect(),
        development: table.flag("development").unwrap_or(false),
        forward: table.flag("forward").unwrap_or(false),
        proxies: proxies(&table),
        per_address: table.integer("per_address", 1..=1_000_000).unwrap_or(60),
        per_second: table.integer("per_second", 1..=10_000).unwrap_or(100),
        connections: table.integer("connections", 1..=10_000).unwrap_or(256) as usize,
        keep_unverified: table.integer("keep_unverified", 0..=10_000).unwrap_or(100),
    };
    let wanted = destinations.iter().any(|to| to.apple);
    if listen.is_some() && settings.forward && !wanted {
        table.warn("forward", "no destination wants Apple's postbacks: give one apple = true, or use platform = \"apple_relay\"");
    }
    if listen.is_some() && wanted && !settings.forward {
        table.warn("forward", "a destination wants Apple's postbacks and nothing is forwarded: set forward = true");
    }
    let Some(listen) = listen else {
        table.finish();
        return None;
    };
    if settings.apps.is_empty() && !table.has("app") {
        table.problem("app", "no app is named, so that everything would be dropped: add [apple.app.ID], ID as the App Store has it");
    }
    let Ok(listen) = listen.parse() else {
        table.problem("listen", format!("{listen:?} is no address with a port: \"127.0.0.1:8079\" or \"[::1]:8079\""));
        table.finish();
        return None;
    };
    table.finish();
    Some(Settings { listen, ..settings })
}

fn proxies(table: &Section<'_>) -> Vec<Network> {
    let listed = table.texts("proxies").unwrap_or_else(|| vec!["127.0.0.1".into(), "::1".into()]);
    let parse = |text: &String| {
        let network = Network::parse(text);
        if network.is_none() {
            table.problem("proxies", format!("{text:?} is neither an address nor a network like \"10.0.0.0/8\""));
        }
        network
    };
    listed.iter().filter_map(parse).collect()
}

fn apps(tables: &Section<'_>) -> Vec<App> {
    tables.sections().into_iter().filter_map(|(id, table)| app(&id, table)).collect()
}

fn app(id: &str, table: Section<'_>) -> Option<App> {
    let number = id.parse::<i64>().ok().filter(|number| *number > 0 && number.to_string() == id);
    if number.is_none() {
        table.problem("", "an app is named by its id in the App Store, digits alone: [apple.app.525463029]");
    }
    let currency = table.text("currency").and_then(|text| {
        let found = Currency::parse(&text);
        if found.is_none() {
            table.problem("currency", format!("{text:?} is no currency: \"EUR\""));
        }
        found
    });
    let mut app = App { id: number.unwrap_or_default(), name: table.text("name"), currency, ..App::default() };
    for key in ["fine", "coarse", "coarse_1", "coarse_2"] {
        for (value, what) in table.section(key).whole() {
            let path = format!("{key}.{value}");
            let Some(meaning) = meaning(&table, &path, &what) else { continue };
            if let (Some(value), Some(currency)) = (meaning.value, app.currency)
                && value.normalize().scale() > currency.exponent()
            {
                table.problem(&format!("{path}.value"), format!("{value} has more decimals than {currency}, which has {}", currency.exponent()));
            }
            if meaning.value.is_some() && app.currency.is_none() && !table.has("currency") {
                table.problem("currency", "it is missing: values are money, e.g. currency = \"EUR\"");
            }
            if key == "fine" {
                fine(&table, &path, &value, meaning, &mut app);
            } else if let Some(coarse) = Coarse::ALL.into_iter().find(|coarse| coarse.word() == value) {
                let window = key.strip_prefix("coarse_").and_then(|window| window.parse().ok());
                app.coarse.push((window, coarse, meaning));
            } else {
                table.problem(&path, "a coarse value is low, medium or high");
            }
        }
    }
    table.finish();
    number.map(|_| app)
}

fn fine(table: &Section<'_>, path: &str, value: &str, meaning: Meaning, app: &mut App) {
    let (low, high) = value.split_once('-').unwrap_or((value, value));
    let number = |text: &str| text.parse::<u8>().ok().filter(|number| *number <= 63 && number.to_string() == text);
    match (number(low), number(high)) {
        (Some(low), Some(high)) if low <= high => match app.fine.iter().find(|(first, last, _)| low <= *last && *first <= high) {
            None => app.fine.push((low, high, meaning)),
            Some((first, last, _)) => table.problem(path, format!("it means two things: {first} to {last} stand here already")),
        },
        _ => table.problem(path, "a conversion value is 0 to 63, or a range like \"10-19\""),
    }
}

fn meaning(table: &Section<'_>, path: &str, what: &Value) -> Option<Meaning> {
    const SHAPE: &str = "a text is needed here, or { meaning = \"bought\", value = \"49.90\" }";
    let entries = match what {
        Value::String(text) => return Some(Meaning { text: text.clone(), value: None }),
        Value::Table(entries) => entries,
        _ => {
            table.problem(path, SHAPE);
            return None;
        }
    };
    if let Some(unknown) = entries.keys().find(|key| !["meaning", "value"].contains(&key.as_str())) {
        table.problem(&format!("{path}.{unknown}"), format!("there is no such key; {SHAPE}"));
        return None;
    }
    let text = match entries.get("meaning") {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(_) => {
            table.problem(&format!("{path}.meaning"), SHAPE);
            return None;
        }
    };
    let value = match entries.get("value") {
        None => None,
        Some(value) => match money(value) {
            Some(value) => Some(value),
            None => {
                table.problem(&format!("{path}.value"), "an amount in quotes is needed here, not negative: \"49.90\"");
                return None;
            }
        },
    };
    Some(Meaning { text, value })
}

/// Money is no float, not even here.
fn money(value: &Value) -> Option<Decimal> {
    let amount = match value {
        Value::String(text) => text.parse::<Decimal>().ok()?,
        Value::Integer(whole) => Decimal::from(*whole),
        _ => return None,
    };
    (!amount.is_sign_negative() && amount < Decimal::from(1_000_000_000_000_000_i64)).then_some(amount)
}
