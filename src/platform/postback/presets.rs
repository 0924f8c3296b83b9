//! Trackers that are one template each: a TOML file per tracker, laid under the destination's own keys.

use toml::{Table, Value};

use crate::{platform::SettingError, words::hint};

const PRESETS: [(&str, &str); 10] = [
    ("voluum", include_str!("presets/voluum.toml")),
    ("redtrack", include_str!("presets/redtrack.toml")),
    ("binom", include_str!("presets/binom.toml")),
    ("keitaro", include_str!("presets/keitaro.toml")),
    ("cake", include_str!("presets/cake.toml")),
    ("affise", include_str!("presets/affise.toml")),
    ("everflow", include_str!("presets/everflow.toml")),
    ("tune", include_str!("presets/tune.toml")),
    ("taboola", include_str!("presets/taboola.toml")),
    ("outbrain", include_str!("presets/outbrain.toml")),
];

/// The destination's keys over its preset's. `[[domain]]` and the like in a preset's URL are filled from keys of that name.
pub(super) fn laid_under(own: &Table) -> Result<Table, SettingError> {
    let Some(preset) = own.get("preset") else { return Ok(own.clone()) };
    let name = preset.as_str().unwrap_or_default();
    let names = PRESETS.map(|(name, _)| name);
    let Some((_, text)) = PRESETS.into_iter().find(|(known, _)| *known == name) else {
        return Err(SettingError { key: "preset".into(), message: format!("no such preset{}; known: {}", hint(name, names), names.join(", ")) });
    };
    let mut table: Table = toml::from_str(text).map_err(|error| SettingError { key: "preset".into(), message: error.to_string() })?;
    let fields: Vec<String> = table
        .remove("fields")
        .and_then(|fields| Some(fields.as_array()?.iter().filter_map(|field| field.as_str().map(str::to_owned)).collect()))
        .unwrap_or_default();
    let mut own = own.clone();
    own.remove("preset");
    if let (false, Some(url)) = (own.contains_key("url"), table.get("url").and_then(Value::as_str)) {
        let mut url = url.to_owned();
        for field in &fields {
            let given = own.get(field).and_then(scalar);
            let given = given.filter(|text| !text.is_empty()).ok_or_else(|| SettingError {
                key: field.clone(),
                message: format!("the preset {name:?} needs {field}, e.g. {field} = \"{}\"", if field == "domain" { "trk.example" } else { "7" }),
            })?;
            url = url.replace(&format!("[[{field}]]"), &filled(field, &given)?);
        }
        table.insert("url".into(), Value::String(url));
    }
    own.retain(|key, _| !fields.iter().any(|field| field == key));
    merge(&mut table, own);
    Ok(table)
}

/// A text, a whole number or a boolean as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(yes) => Some(yes.to_string()),
        _ => None,
    }
}

/// A host (https) or, for tests and proxies, a base URL; everything else percent-encoded.
fn filled(field: &str, given: &str) -> Result<String, SettingError> {
    if field != "domain" {
        return Ok(crate::template::place::encode(given));
    }
    let base = if given.contains("://") { given.trim_end_matches('/').to_owned() } else { format!("https://{given}") };
    let host = base.split_once("://").map_or("", |(_, host)| host);
    let plain = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-.:[]".contains(c));
    if plain {
        Ok(base)
    } else {
        Err(SettingError { key: field.into(), message: "write the tracker's host name alone, e.g. \"trk.example\"".into() })
    }
}

fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}
