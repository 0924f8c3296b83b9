//! `[destination.NAME]` of a postback, parsed once: every key, macro and filter is known or the start is refused.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use toml::Table;

use super::{
    answer::Judge,
    auth::{Auth, Sign},
    form::{Form, PER_KIND, check_macro},
    keys::{Parsed, flag, named, only, secret, text, texts, wrong},
    macros, presets,
};
use crate::{
    click,
    delivery::{RefundShape, Resend},
    event::Kind,
    platform::{Refusal, Resolve},
    secret::Secret,
    template::values::Needed,
};

/// Parsed settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) forms: BTreeMap<Kind, Form>,
    pub(super) refunds: RefundShape,
    pub(super) resend: Resend,
    pub(super) click_param: Vec<String>,
    pub(super) require: Needed,
    pub(super) needed: Needed,
    pub(super) allow_pii: bool,
    pub(super) separator: String,
    pub(super) secrets: BTreeMap<String, Secret>,
    pub(super) auth: Auth,
    pub(super) sign: Option<Sign>,
    pub(super) judge: Judge,
}

const WHOLE: [&str; 18] = [
    "preset",
    "refunds",
    "resend",
    "click_param",
    "require",
    "allow_empty",
    "allow_pii",
    "separator",
    "secrets",
    "auth",
    "sign",
    "success",
    "success_pattern",
    "failure_pattern",
    "duplicate_pattern",
    "retry_pattern",
    "halt",
    "answer",
];
const KINDS: [Kind; 7] = [Kind::Purchase, Kind::Refund, Kind::Lead, Kind::Signup, Kind::Install, Kind::Subscribe, Kind::Custom];

impl Settings {
    pub(in crate::platform) fn parse(own: &Table, resolve: Resolve<'_>) -> Parsed<Self> {
        let table = &presets::laid_under(own)?;
        let kinds = KINDS.map(Kind::as_str);
        let known: Vec<&str> = PER_KIND.into_iter().chain(WHOLE).chain(kinds).collect();
        only(table, "", &known)?;
        let secrets = named(table, "secrets", |value, key| secret(value, key, resolve))?.into_iter().collect::<BTreeMap<_, _>>();
        let auth = Auth::parse(table, resolve)?;
        let sign = Sign::parse(table, resolve)?;
        let click_param = texts(table, "click_param")?.unwrap_or_else(|| vec!["click_id".into(), "clickid".into()]);
        let require = texts(table, "require")?.unwrap_or_default();
        for path in &require {
            check_macro("require", path, &secrets, true)?;
        }
        let mut needed: Vec<String> = require.clone();
        if !flag(table, "allow_empty")? {
            needed.push("click_id".into());
            // Click ids that a receiver certainly needs where a template prints them.
            let ids = click::IN_URLS.into_iter().chain(click_param.iter().map(String::as_str));
            needed.extend(ids.flat_map(|id| [format!("who.{id}"), format!("click.{id}")]));
        }
        let mut names: Vec<String> = secrets.values().map(|secret| secret.name().to_owned()).collect();
        names.extend(auth.secret().into_iter().chain(sign.as_ref().map(|sign| &sign.key)).map(|secret| secret.name().to_owned()));
        let mut settings = Self {
            forms: BTreeMap::new(),
            refunds: refunds(table)?,
            resend: resend(table)?,
            click_param,
            require: Arc::new(require.into_iter().collect()),
            needed: Arc::new(needed.into_iter().collect()),
            allow_pii: flag(table, "allow_pii")?,
            separator: text(table, "separator")?.unwrap_or(",").to_owned(),
            secrets,
            auth,
            sign,
            judge: Judge::parse(table, names)?,
        };
        for kind in KINDS {
            if let Some(form) = settings.form_of(table, kind)? {
                settings.forms.insert(kind, form);
            }
        }
        if settings.forms.is_empty() {
            return wrong("url", "a postback needs url = \"https://host/path?..\" (or a preset)");
        }
        settings.try_all()?;
        Ok(settings)
    }

    pub(super) fn form(&self, kind: Kind) -> Option<&Form> {
        self.forms.get(&if kind == Kind::Retract { Kind::Refund } else { kind })
    }

    /// Builds every form once from a delivery in which nothing is missing: what fails there would always fail.
    fn try_all(&self) -> Parsed<()> {
        for (kind, form) in &self.forms {
            if let Err(Refusal::Dead(why)) = super::build(self, form, &macros::sample(self, *kind), jiff::Timestamp::UNIX_EPOCH)
                && !why.contains("path is empty")
            {
                let (key, why) = why.split_once(": ").unwrap_or(("url", &why));
                return wrong(key, format!("{why} (tried with sample values for a {kind})"));
            }
        }
        Ok(())
    }
}

fn refunds(table: &Table) -> Parsed<RefundShape> {
    Ok(match text(table, "refunds")?.unwrap_or("none") {
        "none" => RefundShape::None,
        "restate" => RefundShape::Restate,
        "cancel" => RefundShape::Cancel,
        "event" => RefundShape::Event,
        "negative" => RefundShape::Negative,
        _ => return wrong("refunds", "one of none, restate, cancel, event, negative"),
    })
}

/// `never` unless said otherwise: most trackers count every hit, and a conversion paid twice is worse than one that a person
/// has to look up.
fn resend(table: &Table) -> Parsed<Resend> {
    let shape = "\"never\", \"safe\", or for how long the tracker dedupes: \"48h\", \"7d\", \"30m\"";
    Ok(match text(table, "resend")?.unwrap_or("never") {
        "never" => Resend::Never,
        "safe" => Resend::Safe,
        span => {
            let split = span.find(|c: char| !c.is_ascii_digit()).unwrap_or(span.len());
            let unit = match &span[split..] {
                "m" => 60,
                "h" => 3_600,
                "d" => 86_400,
                _ => return wrong("resend", shape),
            };
            let seconds = span[..split].parse::<u64>().ok().and_then(|count| count.checked_mul(unit)).filter(|seconds| *seconds > 0);
            Resend::Within(Duration::from_secs(seconds.map_or_else(|| wrong("resend", shape), Ok)?))
        }
    })
}
