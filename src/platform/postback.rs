//! Generic postback: any tracker or network that takes a postback URL, by templates.
//!
//! Source: the trackers' own pages as far as presets name them.   Method: GET, or any method with a form, JSON or text body.
//! Money: decimal text with the currency's digits, minor units or micros.   Dedup: whatever the tracker does with an order id.
//! Success: 2xx, or what `success`, `success_pattern` and `failure_pattern` say.   Refunds: as `refunds` says.

mod answer;
mod auth;
mod form;
mod macros;
mod presets;
mod settings;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
/// First parts of all macros that a template may use.
pub use macros::KNOWN as MACROS;
pub use settings::Settings;

use super::{Adapter, Refusal, keys};
use crate::{
    delivery::{Delivery, Facts, RefundShape},
    event::Kind,
    outcome::{Outcome, Reply},
    request::{Method, Request},
    template::{Fault, Template, place::encode},
};
use form::{Body, Form};
use macros::Macros;

impl Adapter for Settings {
    fn facts(&self) -> Facts {
        Facts { refund: self.refunds, resend: self.resend, ..Facts::PLAIN }
    }

    fn name_of(&self, kind: Kind) -> Option<String> {
        self.form(kind).map(|form| form.name.clone())
    }

    /// E.g. a URL that is longer than every server takes.
    fn warnings(&self, kinds: &BTreeSet<Kind>, _: Timestamp) -> Vec<String> {
        let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (kind, form) in self.forms.iter().filter(|(kind, _)| kinds.contains(kind)) {
            let mut note = |what: String| found.entry(what).or_default().push(kind.as_str());
            if let Ok(request) = build(self, form, &macros::sample(self, *kind), Timestamp::UNIX_EPOCH)
                && request.url.len() > URL_SAFE
            {
                // With real values it is another; hundreds are as exact as a sample can be.
                let about = request.url.len().next_multiple_of(100);
                note(format!("the URL is about {about} characters long; up to {URL_SAFE} are safe everywhere"));
            }
            if keys::in_clear(form.url.source()) {
                note("the URL is not https: click ids and secrets cross the network in clear".to_owned());
            }
        }
        found.into_iter().map(|(what, kinds)| format!("{}: {what}", kinds.join(", "))).collect()
    }

    fn request(&self, batch: &[Delivery], now: Timestamp) -> Result<Request, Refusal> {
        let [delivery] = batch else { return Err(Refusal::Dead("a postback takes one event per request".into())) };
        let kind = delivery.event.kind;
        if let Some(refund) = &delivery.refund {
            match self.refunds {
                RefundShape::None => return Err(Refusal::Skip("platform takes no refunds".into())),
                RefundShape::Cancel if !refund.full => return Err(Refusal::Skip("partial refund: only whole orders can be cancelled here".into())),
                _ => {}
            }
        }
        let form = self.form(kind).ok_or_else(|| Refusal::Skip("kind not mapped".into()))?;
        build(self, form, delivery, now)
    }

    fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        batch.iter().map(|_| self.judge.outcome(reply, now)).collect()
    }
}

/// Longest URL that every server and proxy is known to take.
const URL_SAFE: usize = 2_048;
/// Longest URL that the HTTP client can put on a request line.
const URL_MAX: usize = 65_534;

fn build(settings: &Settings, form: &Form, delivery: &Delivery, now: Timestamp) -> Result<Request, Refusal> {
    let macros = Macros::of(settings, form, delivery, now);
    let status = match form.asked.contains(&"status") {
        true => Some(render("status", &form.status, &macros.values(&form.of_status, None))?),
        false => None,
    };
    let macros = macros.values(&form.asked, status.as_deref());
    for path in settings.require.iter() {
        if crate::template::values::is_empty(&macros::lookup(&macros, path)) {
            return Err(Refusal::Skip(format!("no {}", path.rsplit('.').next().unwrap_or(path))));
        }
    }
    let mut url = render("url", &form.url, &macros)?;
    let query = pairs("query", &form.query, &macros)?;
    if !query.is_empty() {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(&query);
    }
    let mut headers = Vec::new();
    let body = match &form.body {
        Body::None => String::new(),
        Body::Template { content_type, template } => {
            headers.push(("Content-Type".to_owned(), (*content_type).to_owned()));
            render("body", template, &macros)?
        }
        Body::Form(entries) => {
            headers.push(("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
            pairs("form", entries, &macros)?
        }
    };
    for (name, template) in &form.headers {
        headers.retain(|(have, _)| !have.eq_ignore_ascii_case(name));
        headers.push((name.clone(), render(&format!("headers.{name}"), template, &macros)?));
    }
    let mut request = Request { headers, body: body.into_bytes(), ..Request::new(form.method, url) };
    settings.auth.apply(&mut request);
    if let Some(sign) = &settings.sign {
        sign.apply(&mut request);
    }
    if request.method == Method::Get && !request.body.is_empty() {
        return Err(Refusal::Dead("a GET has no body".into()));
    }
    if request.url.len() > URL_MAX {
        let length = request.url.len();
        return Err(Refusal::Dead(format!(
            "url: {length} characters long, and {URL_MAX} is the most that can be sent; cut values with | truncate(200)"
        )));
    }
    Ok(request)
}

fn render(key: &str, template: &Template, macros: &minijinja::Value) -> Result<String, Refusal> {
    template.render(macros).map_err(|fault| match fault {
        Fault::Missing(name) => Refusal::Skip(format!("no {name}")),
        Fault::Bad(why) => Refusal::Dead(format!("{key}: {why}")),
    })
}

/// `a=1&b=2`; entries that come out empty are left out.
fn pairs(key: &str, entries: &[(String, Template)], macros: &minijinja::Value) -> Result<String, Refusal> {
    let mut out = Vec::new();
    for (name, template) in entries {
        let text = render(&format!("{key}.{name}"), template, macros)?;
        if !text.is_empty() {
            out.push(format!("{}={}", encode(name), encode(&text)));
        }
    }
    Ok(out.join("&"))
}
