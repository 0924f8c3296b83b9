//! What goes on, for a person at a terminal: one line that is written over.

use std::io::{IsTerminal as _, Write as _};

/// Silent where stderr is no terminal.
#[derive(Debug)]
pub struct Progress {
    watched: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self { watched: std::io::stderr().is_terminal() }
    }
}

impl Progress {
    /// In place of the former line; nothing wipes it.
    pub fn say(&self, text: &str) {
        if self.watched {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K{text}");
        }
    }

    /// A line that stays, also where nobody watches.
    pub fn note(&self, text: &str) {
        self.say("");
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}
