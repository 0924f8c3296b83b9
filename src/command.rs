//! What a person asks of the owner, as it stands in `postback.command.what`. Data only.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which rows of `postback.pending` are meant; empty fields do not narrow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Destination name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Event ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<i64>,
    /// Order ref.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Kind of event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Why they are there, in the words that the list shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only those that were there then: what a person was shown a number of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// One row of `postback.command`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Command {
    /// Stops a destination's number; nothing is lost.
    Pause {
        /// Name.
        destination: String,
    },
    /// Lets it go on, also after a halt.
    Resume {
        /// Name.
        destination: String,
    },
    /// Dead deliveries are judged and sent again.
    RetryDead {
        /// Which.
        select: Selection,
    },
    /// Dead deliveries leave the list; they stay dead.
    DiscardDead {
        /// Which.
        select: Selection,
    },
    /// A person found out whether the platform has it.
    ResolveUnknown {
        /// Which.
        select: Selection,
        /// true: it has it. false: it does not, send it again.
        delivered: bool,
    },
    /// Everything ingested since then is judged and, where the platform dedupes, sent again.
    Replay {
        /// From this time of ingest on.
        since: Timestamp,
        /// Names; empty: all.
        destinations: Vec<String>,
    },
    /// What is known of a person goes: keys, counts and money stay.
    Forget {
        /// References of orders, with all that was ever said of them.
        orders: Vec<String>,
        /// Events besides: leads, signups ...
        events: Vec<i64>,
        /// What the person is called, an e-mail address for example. Goes from this row too once it is done.
        #[serde(default)]
        words: Vec<String>,
    },
}

/// `postback.command.answer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was done.
    pub ok: bool,
    /// Rows concerned.
    pub count: i64,
    /// What was done, or why not and what to do.
    pub text: String,
}
