//! A destination as the rules see it: parsed once from the configuration, never re-checked.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{delivery::Rate, event::Kind, platform::Settings, route::Filter};

/// Whether requests leave the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// Requests are sent.
    #[default]
    Live,
    /// Requests are sent in the platform's own test mode.
    Test,
    /// Requests are built and recorded, nothing is sent; deliveries end as `skipped: shadow`.
    Shadow,
}

impl Mode {
    /// As it stands in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
            Self::Shadow => "shadow",
        }
    }
}

/// Where a new destination begins in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Start {
    /// Behind everything that is in the stream when it is first seen.
    #[default]
    Now,
    /// With the first event in the stream at or after this time.
    At(Timestamp),
    /// With the first event that is kept.
    Beginning,
}

/// Which value of a sale is told. Purchases carry `value` and in `more` optionally `tax`, `shipping`, `discount`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Basis {
    /// Subtract `more.tax`.
    pub without_tax: bool,
    /// Subtract `more.shipping`.
    pub without_shipping: bool,
}

/// How often and how fast one destination is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Requests in flight at most.
    pub in_flight: usize,
    /// How often at most; `None`: as fast as they answer.
    pub rate: Option<Rate>,
    /// Whole request: connecting, headers and body.
    pub deadline: Duration,
    /// Consecutive failures after which the breaker opens.
    pub breaker_failures: u32,
    /// How long it stays open the first time; doubles up to five minutes.
    pub breaker_open: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { in_flight: 32, rate: None, deadline: Duration::from_secs(6), breaker_failures: 10, breaker_open: Duration::from_secs(2) }
    }
}

/// How a destination is reached.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Route {
    /// HTTP proxy, `http://user:password@proxy:3128`; `None`: HTTPS_PROXY and friends of the environment.
    pub proxy: Option<crate::secret::Secret>,
    /// PEM file with further certificate authorities, beside the system's.
    pub ca: Option<std::path::PathBuf>,
}

/// Exponential with full jitter, bounded by time and not by a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Upper bound of the first wait.
    pub first: Duration,
    /// Upper bound of every wait.
    pub max: Duration,
    /// An event older than this is `dead: too old` instead of being tried again.
    pub give_up_after: Duration,
    /// Attempts at most; `None`: the age alone decides.
    pub attempts: Option<u32>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { first: Duration::from_secs(2), max: Duration::from_secs(3600), give_up_after: Duration::from_secs(30 * 86_400), attempts: None }
    }
}

/// One entry of `[destination.NAME]`.
#[derive(Clone, Debug)]
pub struct Destination {
    /// NAME; also the key of its rows in the database.
    pub name: Arc<str>,
    /// The adapter with its parsed settings.
    pub platform: Settings,
    /// Kinds it wants. `retract` follows `refund`; `enrich` is never sent.
    pub kinds: BTreeSet<Kind>,
    /// Wants Apple's postbacks too; without it they are not told here, whatever kinds it wants.
    pub apple: bool,
    /// `when`: an expression over the event; `None` takes all.
    pub when: Option<Filter>,
    /// Consent keys that must be granted, e.g. `ad_user_data`.
    pub consent: Vec<String>,
    /// Click ids of which one must be present; empty: none is needed.
    pub click: Vec<String>,
    /// live, test or shadow.
    pub mode: Mode,
    /// Where it begins when it is new.
    pub start: Start,
    /// Its former name, whose position and history it takes over.
    pub was: Option<String>,
    /// Value basis.
    pub basis: Basis,
    /// Minimum age of an event, counted from the click where known, else from the event.
    pub hold: Duration,
    /// Proxy and private CA.
    pub route: Route,
    /// HTTP limits.
    pub limits: Limits,
    /// Rate limits are shared by destinations with the same credential name.
    pub credential: Option<String>,
    /// Retry rule.
    pub retry: RetryPolicy,
    /// Digest of everything above that shapes a request.
    pub digest: String,
    /// The platform's own keys as the file has them, for looking at: secrets are references, or `***`.
    pub shown: toml::Table,
}
