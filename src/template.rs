//! Templates whose inserted values are escaped for where they stand.
//!
//! minijinja renders with every inserted value packed between two characters that no template may hold; the packed text is then
//! walked once: only the template's own characters move between path and query or in and out of a JSON string, so that a value
//! can fill a place and never make one. Templates choose and print; they do not calculate, which keeps money exact.

pub mod filters;
pub mod place;
pub mod scan;
mod strict;
pub mod values;

use std::sync::Arc;

use minijinja::{Environment, Error, Output, State, UndefinedBehavior, Value};

pub use place::Place;
use values::{Missing, Num, is_empty, to_json};

/// Begins and ends a packed value. Unicode noncharacters: a template that holds one is refused.
pub(crate) const OPEN: char = '\u{fdd0}';
pub(crate) const CLOSE: char = '\u{fdd1}';

/// Steps of the template engine for one rendering (text costs by its length): ends nested loops over a monstrous list.
const FUEL: u64 = 200_000_000;

/// A compiled template for one place in a request.
#[derive(Clone)]
pub struct Template {
    source: Arc<str>,
    place: Place,
    env: Arc<Environment<'static>>,
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Template({:?})", self.source)
    }
}

/// Why a template gave no text. Texts name macros, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A value that the receiver needs is empty.
    Missing(String),
    /// What it gave cannot stand there.
    Bad(String),
}

impl Template {
    /// Compiles `source`; the error says what is wrong in it and what to write.
    pub fn compile(source: &str, place: Place) -> Result<Self, String> {
        scan::check(source)?;
        if place == Place::Url {
            place::check_host(source)?;
        }
        let mut env = Environment::empty();
        env.set_undefined_behavior(UndefinedBehavior::Chainable);
        env.set_fuel(Some(FUEL));
        env.set_formatter(pack);
        filters::install(&mut env);
        env.add_template_owned("template", source.to_owned()).map_err(|error| describe(&error))?;
        Ok(Self { source: source.into(), place, env: Arc::new(env) })
    }

    /// As written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Every macro it mentions, dotted: `who.gclid`, `amount`.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.env.get_template("template").map(|template| template.undeclared_variables(true).into_iter().collect()).unwrap_or_default();
        names.sort();
        names
    }

    /// The text for these macros, ready to stand in its place.
    pub fn render(&self, macros: &Value) -> Result<String, Fault> {
        let template = self.env.get_template("template").map_err(|error| Fault::Bad(describe(&error)))?;
        let packed = template.render(macros.clone()).map_err(|error| Fault::Bad(describe(&error)))?;
        place::unpack(&packed, self.place)
    }
}

/// The engine's message without template text around it; values are never part of it, since filters here do not quote them.
fn describe(error: &Error) -> String {
    let detail = error.detail().unwrap_or_default();
    let line = error.line().map_or_else(String::new, |line| format!(" in line {line} of the template"));
    if detail.is_empty() { format!("{}{line}", error.kind()) } else { format!("{}: {detail}{line}", error.kind()) }
}

/// Packs one inserted value: `m` a needed one is missing, `e` empty, `s` text, `j` JSON (numbers, booleans, lists, objects).
fn pack(out: &mut Output, _: &mut State, value: &Value) -> Result<(), Error> {
    let (tag, text) = if let Some(missing) = value.downcast_object_ref::<Missing>().filter(|missing| missing.needed) {
        ('m', missing.name.clone())
    } else if is_empty(value) {
        ('e', String::new())
    } else if let Some(text) = value.as_str() {
        ('s', text.to_owned())
    } else if let Some(number) = value.downcast_object_ref::<Num>() {
        ('j', number.text.clone())
    } else {
        ('j', to_json(value)?.to_string())
    };
    Ok(write!(out, "{OPEN}{tag}{}{CLOSE}", hex::encode(text))?)
}
