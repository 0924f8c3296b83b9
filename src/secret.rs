//! A secret: usable where a request is built, invisible everywhere else.

use std::fmt;

/// Its name may be printed, its value may not: `Debug` and `Display` show the name only.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    name: String,
    value: String,
}

impl Secret {
    /// `name` is what an operator knows it by: the variable, the file, the credential.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }

    /// Where it came from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value itself. Call it only where a request is built or a connection made.
    pub fn reveal(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.name)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "***")
    }
}
