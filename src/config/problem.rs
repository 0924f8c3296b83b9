//! What is wrong with a configuration: all of it, each with file, line, key and fix.

use std::{fmt, ops::Range, path::PathBuf};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1; `None` for the file itself.
    pub line: Option<usize>,
    /// Dotted path: `destination.meta.retry.first`; empty for the file itself.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Everything that is wrong with a file, in the order of its lines. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file as it was named.
    pub file: PathBuf,
    /// At least one.
    pub list: Vec<Problem>,
}

impl Problems {
    /// The problem of a file that cannot even be read.
    pub(super) fn of_file(file: PathBuf, message: String) -> Self {
        Self { file, list: vec![Problem { line: None, key: String::new(), message }] }
    }
}

impl Problem {
    /// `FILE:LINE: KEY: MESSAGE`, which editors jump to.
    pub fn at(&self, file: &std::path::Path) -> String {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        let key = if self.key.is_empty() { String::new() } else { format!("{}: ", self.key) };
        format!("{}{line}: {key}{}", file.display(), self.message)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.list.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&problem.at(&self.file))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The line on which a span begins, from 1.
pub(super) fn line(text: &str, span: &Range<usize>) -> usize {
    1 + text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count()
}
