//! The rows that ledger, stream and deliveries are kept in, as plain data: what rules read and decide on, and what the
//! outbox reads and writes.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::{
    delivery::Said,
    event::{Event, Kind, Object},
    money::Currency,
};

/// One row of `postback.sale`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sale {
    /// The order as the shop calls it.
    pub order_ref: String,
    /// 1, and one more for every purchase after a retract.
    pub generation: i32,
    /// The purchase's event id; `None`: a stub, an enrich came first.
    pub event: Option<i64>,
    /// At purchase, major units.
    pub value: Option<Decimal>,
    /// Of the purchase.
    pub currency: Option<Currency>,
    /// Booked refunds.
    pub refunded: Decimal,
    /// The event that took the order back.
    pub retracted: Option<i64>,
    /// What `enrich` added; consent replaced whole.
    pub who: Object,
    /// Stream position of the last enrich.
    pub who_seq: Option<i64>,
}

impl Sale {
    /// Whether nothing of it is left: retracted, or refunded to the last cent (a free order cannot be refunded).
    pub fn taken_back(&self) -> bool {
        self.retracted.is_some() || self.value.is_some_and(|value| !value.is_zero() && self.refunded >= value)
    }

    /// The person as known now: the purchase's word with what was added later; last non-null wins, consent is replaced whole.
    pub fn who_with(&self, purchase: &Object) -> Object {
        let mut who = purchase.clone();
        merge(&mut who, &self.who);
        who
    }
}

/// One row of `postback.refund`.
#[derive(Clone, Debug, PartialEq)]
pub struct Refund {
    /// The order.
    pub order_ref: String,
    /// The refund as the shop calls it.
    pub refund_ref: String,
    /// Its event id.
    pub event: i64,
    /// Of the sale it was booked on; `None`: no sale known yet.
    pub generation: Option<i32>,
    /// As booked, clamped to what was left.
    pub amount: Decimal,
    /// Running total of its sale, this one included; `None`: no sale known yet.
    pub total_after: Option<Decimal>,
}

/// Why an event stands in the stream again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Its sale came later.
    Sale,
    /// A click id or a consent came later.
    Enrich,
    /// Its purchase was retried or resolved.
    Reopen,
    /// A person says everything since some time again.
    Replay,
}

impl Cause {
    /// As it stands in `postback.log.cause`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sale => "sale",
            Self::Enrich => "enrich",
            Self::Reopen => "reopen",
            Self::Replay => "replay",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Sale, Self::Enrich, Self::Reopen, Self::Replay].into_iter().find(|cause| cause.as_str() == text)
    }
}

/// One entry to append to the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The event.
    pub event: i64,
    /// `None`: its commit.
    pub cause: Option<Cause>,
}

/// Something a person should see in `postback.trouble`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Kind and reference of what it is about.
    pub what: String,
    /// What happened and what was done.
    pub message: String,
}

/// Last non-null wins; `consent` is replaced whole, because a withdrawn purpose must not survive beside a new one.
pub fn merge(who: &mut Object, added: &Object) {
    for (key, value) in added {
        let empty = matches!(value, Value::Null) || matches!(value, Value::String(text) if text.is_empty());
        if !empty {
            who.insert(key.clone(), value.clone());
        }
    }
}

/// The part of the ledger that a page of events touches, as the database holds it.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// All generations of the orders.
    pub sales: Vec<Sale>,
    /// All refunds of the orders.
    pub refunds: Vec<Refund>,
    /// Kind, ref, event.
    pub once: Vec<(Kind, String, i64)>,
}

/// What a page of events adds to stream and ledger.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Changed rows of `sale`.
    pub sales: Vec<Sale>,
    /// New rows of `sale`.
    pub new_sales: Vec<Sale>,
    /// New or changed rows of `refund`.
    pub refunds: Vec<Refund>,
    /// New rows of `once`.
    pub once: Vec<(Kind, String, i64)>,
    /// Entries to append, in order.
    pub entries: Vec<Entry>,
    /// Rows for `postback.trouble`.
    pub notes: Vec<Note>,
}

/// The latest row of `postback.attempt` for an event at a destination.
#[derive(Clone, Debug, PartialEq)]
pub struct LastAttempt {
    /// Its state.
    pub state: State,
    /// Its reason.
    pub reason: Option<String>,
    /// When the first attempt was that may have been on the wire.
    pub first_sent: Option<Timestamp>,
}

/// `postback.attempt.outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The platform has it.
    Delivered,
    /// The platform has it and confirms later.
    Accepted,
    /// Not told, for a reason.
    Skipped,
    /// Cannot be told.
    Dead,
    /// Taken back before it was told.
    Annulled,
    /// Perhaps told; must not be repeated without a person.
    Unknown,
    /// Not final.
    Retry,
}

impl State {
    /// Every outcome, in the order of the documentation.
    pub const ALL: [Self; 7] = [Self::Delivered, Self::Accepted, Self::Skipped, Self::Dead, Self::Annulled, Self::Unknown, Self::Retry];

    /// As it stands in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Accepted => "accepted",
            Self::Skipped => "skipped",
            Self::Dead => "dead",
            Self::Annulled => "annulled",
            Self::Unknown => "unknown",
            Self::Retry => "retry",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// A row of `postback.receipt`.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// What was said.
    pub sent: Said,
    /// The platform's ids.
    pub answer: Option<Value>,
    /// Rebuilt after a crash while configuration or sale had changed.
    pub uncertain: bool,
}

/// What a destination has to know about a batch of events before each attempt.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// By order, all generations.
    pub sales: HashMap<String, Vec<Sale>>,
    /// By event id: all that were booked on the orders of which something is taken back.
    pub refunds: HashMap<i64, Refund>,
    /// What the shop told with them (`more`), as far as it told anything.
    pub refund_more: HashMap<i64, Object>,
    /// Who holds the key of what is not an order.
    pub once: HashMap<(Kind, String), i64>,
    /// Purchases of the orders and the events themselves, at this destination.
    pub last: HashMap<i64, LastAttempt>,
    /// Likewise.
    pub receipts: HashMap<i64, Receipt>,
    /// The purchases' own events, where a refund or retract needs them.
    pub purchases: HashMap<i64, Arc<Event>>,
}
