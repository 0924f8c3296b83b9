//! Which destination wants an event, and why not. Pure.

use std::sync::Arc;

use crate::{
    destination::Destination,
    event::{Event, Kind, Object},
};

/// `when = "..."`: a minijinja expression, compiled at startup.
#[derive(Clone)]
pub struct Filter {
    /// As written in the configuration.
    pub source: Arc<str>,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Filter({})", self.source)
    }
}

impl Filter {
    /// Compiles an expression; the error says what is wrong with it.
    pub fn parse(source: &str) -> Result<Self, String> {
        minijinja::Environment::new().compile_expression(source).map_err(|error| error.to_string())?;
        Ok(Self { source: Arc::from(source) })
    }
}

/// Why `to` does not want the event, in words that a marketer understands; `None`: it does.
///
/// `who` is the person as known now (the sale's for refunds, enriched).
pub fn skip(event: &Event, who: &Object, to: &Destination) -> Option<String> {
    let kind = if event.kind == Kind::Retract { Kind::Refund } else { event.kind };
    if !to.kinds.contains(&kind) {
        return Some(format!("{kind} not wanted here"));
    }
    let _ = who;
    None
}

/// Whether a reason given by [`skip`] may be undone by an `enrich`: a click id or a consent that came later.
pub fn depends_on_person(reason: &str) -> bool {
    reason.starts_with("no ") || reason.starts_with("consent: ")
}
