//! `postbackd adopt NAME`: a copy becomes a database of its own.

use serde_json::json;

use super::{Common, Exit, Failure, confirmed, rebase};
use crate::outbox::{
    identity::Refusal,
    rebase::{Rebase, rename},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
For a copy that is to send, to test destinations say: it gets a name of its own, and where it came from another cluster it is made at home
here as \"rebase\" does it. Its daemon has to expect that name: [database] expect = \"shop-staging\". What the original had not sent yet is
sent by the copy too: look at its destinations first.

Examples:
  postbackd adopt shop-staging --config staging.toml
  postbackd adopt shop-prod --yes         a name for a database that has none")]
pub struct Args {
    /// Its name from now on
    #[arg(value_parser = name)]
    name: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

fn name(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= 63 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    fits.then(|| text.to_owned()).ok_or_else(|| "letters, digits, - _ . and at most 63 of them".to_owned())
}

pub(super) async fn adopt(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let mut db = common.session("adopt").await?;
    let found = rebase::look(&db).await?;
    let was = found.kept.as_ref().and_then(|kept| kept.name.clone());
    let named = was.as_ref().map_or_else(|| "has no name".to_owned(), |was| format!("is {was:?}"));
    let name = &args.name;
    // What its cluster is, whatever it is called.
    let moved = matches!(found.verdict(was.as_deref()), Err(Refusal::Elsewhere { .. } | Refusal::Ahead { .. }));
    let plan = Rebase { name: Some(name.clone()), same_xids: false, in_doubt: true };
    let mut question = String::new();
    if moved {
        question = format!("{}\n", rebase::lines(&plan.run(&mut db, true).await?.ok_or_else(rebase::at_work)?));
    }
    question += &format!("This database {named} and would be {name:?}; only a daemon with [database] expect = {name:?} will work here.");
    if !confirmed(&question, args.yes)? {
        return Ok(Exit::Done);
    }
    let done = if moved { plan.run(&mut db, false).await?.is_some() } else { rename(&mut db, name).await? };
    if !done {
        return Err(rebase::at_work());
    }
    common.print(&json!({ "name": name, "was": was, "rebased": moved }), || {
        format!("this database is {name:?} now; its daemon needs [database] expect = {name:?}")
    })?;
    Ok(Exit::Done)
}
