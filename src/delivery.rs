//! One event on its way to one destination: what adapters build requests from. Data only.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::{
    event::{Event, Object},
    money::Currency,
};

/// What a purchase (or lead ...) is said to be at one destination. The first attempt that may have reached the wire freezes
/// it: later attempts and every refund repeat exactly this, whatever was enriched or reconfigured since. Stored as
/// `postback.receipt.sent`; never holds e-mail, phone or address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// In the destination's value basis, rounded as it rounds; decimal text.
    #[serde(default, with = "decimal_text", skip_serializing_if = "Option::is_none")]
    pub value: Option<Decimal>,
    /// ISO 4217.
    #[serde(default, with = "currency_text", skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// When it happened, as told to the platform.
    pub at: Timestamp,
    /// Click and device ids by their payload names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub click: BTreeMap<String, String>,
    /// The platform's name for the conversion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Money taken back from a purchase, in the terms in which the purchase was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Refunding {
    /// The refund as the shop calls it; a retract has none.
    pub refund_ref: Option<String>,
    /// What this refund takes back, in said terms. Several refunds of one sale add up to `purchase.value` exactly.
    pub amount: Decimal,
    /// Taken back so far, this refund included.
    pub total: Decimal,
    /// What is left.
    pub remaining: Decimal,
    /// Nothing is left, or the order was retracted.
    pub full: bool,
    /// What was said of the purchase here.
    pub purchase: Said,
    /// The purchase's dedupe id.
    pub purchase_event_id: String,
    /// The purchase's own `more`: items, coupon ...
    pub purchase_more: Object,
    /// What the shop told (`more`) with the refunds of this sale that were booked before, oldest first: which items they took back.
    /// Those that told nothing, or are past retention, are left out; their money is in `total` all the same.
    pub earlier: Vec<Object>,
    /// The platform's ids for the purchase (`postback.receipt.answer`).
    pub answer: Option<serde_json::Value>,
    /// The receipt was rebuilt after a crash while configuration or sale had changed.
    pub uncertain: bool,
}

impl Refunding {
    /// What the platform's answer to the purchase left under a name.
    pub fn kept(&self, name: &str) -> Option<&serde_json::Value> {
        self.answer.as_ref()?.get(name)
    }
}

/// One event for one destination, judged and ready to be put into a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The event; for a refund the refund itself.
    pub event: Arc<Event>,
    /// Dedupe id, the same in every attempt.
    pub event_id: String,
    /// 1, or higher after a retract.
    pub generation: i32,
    /// The person as known now: the sale's for refunds, enriched.
    pub who: Object,
    /// What is said (for refunds: of the refund, `value` being its amount).
    pub said: Said,
    /// Set for refund and retract.
    pub refund: Option<Refunding>,
    /// 1 for the first try.
    pub attempt: u32,
}

/// How a platform learns of refunds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefundShape {
    /// It takes none: `skipped: platform takes no refunds`.
    None,
    /// The remaining value is told anew under the purchase's key; several waiting refunds collapse into one.
    Restate,
    /// Only the whole order can be cancelled; partial refunds are skipped.
    Cancel,
    /// A refund event of its own with a positive amount.
    Event,
    /// The purchase's event again with a negative amount.
    Negative,
}

/// Whether the same delivery may be put on the wire twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    /// The platform dedupes, for ever as far as known.
    Safe,
    /// The platform dedupes for this long after the first try; later it becomes `unknown`.
    Within(Duration),
    /// It counts every request: at most once, otherwise `unknown`.
    Never,
}

/// Requests in a span of time, at most; one after the other, at equal distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    requests: NonZeroU32,
    seconds: u32,
}

impl Rate {
    /// Zero counts as one, as it does for the others.
    pub fn per_second(requests: u32) -> Self {
        Self::new(requests, 1)
    }

    /// In any minute.
    pub fn per_minute(requests: u32) -> Self {
        Self::new(requests, 60)
    }

    /// In any hour.
    pub fn per_hour(requests: u32) -> Self {
        Self::new(requests, 3_600)
    }

    fn new(requests: u32, seconds: u32) -> Self {
        Self { requests: NonZeroU32::new(requests).unwrap_or(NonZeroU32::MIN), seconds }
    }

    /// From one request to the next. Rounded up to the nanosecond: with 1/6 s rounded down the seventh request falls into the second.
    pub fn distance(self) -> Duration {
        Duration::from_nanos((u64::from(self.seconds) * 1_000_000_000).div_ceil(self.requests.get().into()))
    }

    /// The slower of the two.
    pub fn slower(self, other: Self) -> Self {
        if other.distance() > self.distance() { other } else { self }
    }
}

/// What is true of a platform whatever is configured. Each adapter states the source beside its constants.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Deliveries in a request at most; 1 where the platform has no batches.
    pub batch_max: usize,
    /// Bytes of a request's body at most.
    pub bytes_max: usize,
    /// How long a batch that is not full waits for more; zero: not at all.
    pub batch_wait: Duration,
    /// Requests a second, unless the configuration says otherwise; `None`: the platform states none.
    pub per_second: Option<u32>,
    /// Requests an hour, for platforms that count so and allow less than one a second.
    pub per_hour: Option<u32>,
    /// How refunds are told.
    pub refund: RefundShape,
    /// Resend safety; what differs by kind is in [`crate::platform::Adapter::resend`].
    pub resend: Resend,
    /// Whether a refund may follow an `accepted` purchase, without waiting for its confirmation.
    pub accepted_is_enough: bool,
    /// An event this old is not taken any more.
    pub age_max: Option<Duration>,
    /// When to ask what became of what was `accepted`; `None`: the platform never says.
    pub confirm: Option<Confirm>,
}

impl Facts {
    /// One event per request, at most once, no refunds, no limits: what an adapter overrides where it knows better.
    pub const PLAIN: Self = Self {
        batch_max: 1,
        bytes_max: usize::MAX,
        batch_wait: Duration::ZERO,
        per_second: None,
        per_hour: None,
        refund: RefundShape::None,
        resend: Resend::Never,
        accepted_is_enough: true,
        age_max: None,
        confirm: None,
    };

    /// How often the platform may be asked; the slower where it states two.
    pub fn rate(&self) -> Option<Rate> {
        let (second, hour) = (self.per_second.map(Rate::per_second), self.per_hour.map(Rate::per_hour));
        second.into_iter().chain(hour).reduce(Rate::slower)
    }
}

/// When a platform that takes first and processes later is asked for its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// After the request.
    pub first: Duration,
    /// While there is none yet; the waits double from here.
    pub every: Duration,
    /// After the request; then nobody will ever know and the delivery becomes `unknown`.
    pub until: Duration,
}

/// A delivery that was `accepted` and whose verdict is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Awaiting {
    /// The event.
    pub event: i64,
    /// The order (or lead ...) as the shop calls it.
    pub reference: String,
    /// What was said.
    pub said: Said,
    /// What the platform answered then (`postback.receipt.answer`).
    pub answer: serde_json::Value,
}

mod decimal_text {
    use rust_decimal::Decimal;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &Option<Decimal>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Decimal>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
    }
}

mod currency_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::money::Currency;

    pub fn serialize<S: Serializer>(value: &Option<Currency>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.serialize_str(value.as_str()),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Currency>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| Currency::parse(&text).ok_or_else(|| serde::de::Error::custom("not a currency"))).transpose()
    }
}
