//! `postbackd doctor`.

use super::{Common, Exit, Failure};
use crate::outbox::inspect::{self, Finding};

pub(super) const TEACH: &str = "\
Tries every attached trigger on a recent row and takes it back; looks at rights, row security, what switches triggers off,
open transactions, vacuum. Exit code 1 when something is not being said. Example:
  postbackd doctor --json";

pub(super) async fn doctor(common: &Common) -> Result<Exit, Failure> {
    let db = common.session("doctor").await?;
    let found = inspect::doctor(&db).await?;
    common.print(&found, || if found.is_empty() { "the database side is well".to_owned() } else { lines(&found) })?;
    Ok(exit(&found))
}

/// `error    what` and below it `         -> hint`.
pub(super) fn lines(found: &[Finding]) -> String {
    let line = |Finding { severity, what, hint }: &Finding| {
        let fix = hint.as_ref().map(|hint| format!("\n         -> {hint}")).unwrap_or_default();
        format!("{severity:<8} {what}{fix}\n")
    };
    found.iter().map(line).collect()
}

pub(super) fn exit(found: &[Finding]) -> Exit {
    if found.iter().any(|finding| finding.severity == "error") { Exit::Failed } else { Exit::Done }
}
