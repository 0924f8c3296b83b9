//! The adapters: event(s) in, HTTP request out; reply in, verdict per event out. Pure, one file each.
//!
//! A new platform is one file that implements [`Adapter`], its goldens, one line in [`Settings`], one row in the README;
//! `docs/adapters.md` leads through it. What several platforms need stands beside them: `keys` reads settings, `names` maps kinds,
//! `person` normalises and hashes match keys, `goods` reads items, `lines` makes them add up, `form` writes queries and forms, `times` writes
//! times, `limited` knows who asked for limited data use, `google` what Google's APIs share, `device` what an app tells of a phone.

pub mod device;
pub mod form;
pub mod goods;
pub mod google;
mod keys;
pub mod limited;
pub mod lines;
pub mod names;
pub mod person;
pub mod times;

pub mod postback;

pub mod adjust;
pub mod apple_relay;
pub mod appsflyer;
pub mod awin;
pub mod cj;
pub mod ga4;
pub mod google_ads;
pub mod google_data_manager;
pub mod impact;
pub mod meta;
pub mod microsoft;
pub mod pinterest;
pub mod rakuten;
pub mod singular;
pub mod snapchat;
pub mod tiktok;

use std::{
    collections::BTreeSet,
    ops::{Deref, DerefMut},
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    delivery::{Awaiting, Delivery, Facts, Resend},
    destination::Basis,
    event::Kind,
    outcome::{Outcome, Reply},
    request::Request,
};

/// Lists the platforms: a variant, its name for `platform = "..."`, its settings.
macro_rules! platforms {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal, $settings:ty;)+) => {
        /// Parsed settings of one destination, by platform.
        #[derive(Clone, Debug)]
        pub enum Settings { $($(#[$doc])+ $variant(Box<$settings>),)+ }

        impl Settings {
            /// Names for `platform = "..."`.
            pub const KNOWN: &'static [&'static str] = &[$($name),+];

            /// Parses a destination's own keys: `table` holds what is left when the keys common to all platforms are taken out.
            pub fn parse(platform: &str, table: &toml::Table, resolve: Resolve<'_>) -> Result<Self, SettingError> {
                match platform {
                    $($name => Ok(Self::$variant(Box::new(<$settings>::parse(table, resolve)?))),)+
                    other => keys::wrong("platform", format!(
                        "there is no platform {other:?}{}; known: {}", crate::words::hint(other, Self::KNOWN.iter().copied()), Self::KNOWN.join(", ")
                    )),
                }
            }

            /// The name in `platform = "..."`.
            pub fn platform(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)+ }
            }
        }

        impl Deref for Settings {
            type Target = dyn Adapter;
            fn deref(&self) -> &Self::Target {
                match self { $(Self::$variant(settings) => &**settings,)+ }
            }
        }

        impl DerefMut for Settings {
            fn deref_mut(&mut self) -> &mut Self::Target {
                match self { $(Self::$variant(settings) => &mut **settings,)+ }
            }
        }
    };
}

platforms! {
    /// Any tracker or network that takes a postback URL.
    Postback = "postback", postback::Settings;
    /// Meta Conversions API.
    Meta = "meta", meta::Settings;
    /// Google Data Manager API, for Google Ads.
    GoogleDataManager = "google_data_manager", google_data_manager::Settings;
    /// Google Ads API, for accounts that may go on with it.
    GoogleAds = "google_ads", google_ads::Settings;
    /// Google Analytics 4, Measurement Protocol.
    Ga4 = "ga4", ga4::Settings;
    /// Awin Conversion API and validation API.
    Awin = "awin", awin::Settings;
    /// Microsoft Advertising: offline conversions, or the UET Conversions API.
    Microsoft = "microsoft", microsoft::Settings;
    /// TikTok Events API.
    TikTok = "tiktok", tiktok::Settings;
    /// Snapchat Conversions API.
    Snapchat = "snapchat", snapchat::Settings;
    /// Pinterest Conversions API.
    Pinterest = "pinterest", pinterest::Settings;
    /// impact.com conversions and actions.
    Impact = "impact", impact::Settings;
    /// CJ Affiliate Tracking API, or its GET.
    Cj = "cj", cj::Settings;
    /// Rakuten Advertising.
    Rakuten = "rakuten", rakuten::Settings;
    /// AppsFlyer server-to-server events.
    AppsFlyer = "appsflyer", appsflyer::Settings;
    /// Adjust server-to-server events.
    Adjust = "adjust", adjust::Settings;
    /// Singular server-to-server events.
    Singular = "singular", singular::Settings;
    /// Apple's postbacks as they came, to whoever takes them where devices send them.
    AppleRelay = "apple_relay", apple_relay::Settings;
}

/// What one platform is, under the settings of one destination. All of it is pure: the same arguments give the same bytes.
///
/// Besides these methods an adapter's settings have `parse(&toml::Table, Resolve) -> Result<Self, SettingError>`, which refuses
/// what cannot work, so that nothing is asked again later.
pub trait Adapter: Send + Sync {
    /// What is true of the platform; each constant with its source.
    fn facts(&self) -> Facts;

    /// The platform's name (or conversion id) for a kind; `None`: it has none, and such events are skipped.
    fn name_of(&self, kind: Kind) -> Option<String>;

    /// The request for a batch of 1 to `facts().batch_max` deliveries that agree on [`Adapter::batch_key`]. Where only some of them
    /// are refused, the sender finds out which by asking for each alone.
    fn request(&self, batch: &[Delivery], now: Timestamp) -> Result<Request, Refusal>;

    /// One verdict per delivery of the batch, in its order. The status is not the verdict: read the body where it has one.
    fn outcome(&self, batch: &[Delivery], reply: &Reply, now: Timestamp) -> Vec<Outcome>;

    /// Whether an answer says for certain that nothing was recorded, so that a retry counts nothing twice even where repeats are counted.
    /// 429, and 503 that names a time, always say so.
    fn refused(&self, reply: &Reply) -> bool {
        let _ = reply;
        false
    }

    /// The value that the platform usually wants; `value = ".."` says otherwise.
    fn basis(&self) -> Basis {
        Basis::default()
    }

    /// Whether a delivery of this kind may be put on the wire twice.
    fn resend(&self, kind: Kind) -> Resend {
        let _ = kind;
        self.facts().resend
    }

    /// Deliveries in one request must agree on this; `None`: any may share one.
    fn batch_key(&self, delivery: &Delivery) -> Option<String> {
        let _ = delivery;
        None
    }

    /// The platform would refuse it before this time; why, in words.
    fn not_before(&self, delivery: &Delivery) -> Option<(Timestamp, String)> {
        let _ = delivery;
        None
    }

    /// From this time on the platform refuses it, and perhaps everything that shares a request with it.
    fn expires(&self, delivery: &Delivery) -> Option<Timestamp> {
        delivery.said.at.checked_add(SignedDuration::try_from(self.facts().age_max?).ok()?).ok()
    }

    /// Asks what became of an accepted delivery. Where several give the same request it is sent once for all of them.
    fn confirm(&self, awaiting: &Awaiting) -> Option<Request> {
        let _ = awaiting;
        None
    }

    /// The platform's word on each of them: `Accepted` while it has none yet.
    fn confirmed(&self, awaiting: &[Awaiting], reply: &Reply, now: Timestamp) -> Vec<Outcome> {
        let _ = (reply, now);
        awaiting.iter().map(|awaiting| Outcome::Accepted { answer: Some(awaiting.answer.clone()) }).collect()
    }

    /// `mode = "test"`: switches to the platform's own test mode.
    fn test_mode(&mut self) -> Result<(), SettingError> {
        keys::wrong("mode", "this platform has no test mode; use \"shadow\" to build requests and send nothing")
    }

    /// What is worth a word about these kinds although it is no error; `check` prints it. No secrets.
    fn warnings(&self, kinds: &BTreeSet<Kind>, now: Timestamp) -> Vec<String> {
        let _ = (kinds, now);
        Vec::new()
    }

    /// When the platform ends the version of its API that the settings name, where it is known; a guess is better than nothing.
    fn version_ends(&self) -> Option<Timestamp> {
        None
    }

    /// A harmless request that shows whether the credential works, for `check --connect`.
    fn probe(&self, now: Timestamp) -> Option<Request> {
        let _ = now;
        None
    }

    /// What the answer to it says of credential and ids: fine, or what is wrong and what to do.
    fn probed(&self, reply: &Reply) -> Result<(), String> {
        match reply.status {
            401 | 403 => Err(format!("the credential is refused (HTTP {})", reply.status)),
            _ => Ok(()),
        }
    }
}

/// The delivery of a batch, where the platform takes one a request.
fn single(batch: &[Delivery]) -> Result<&Delivery, Refusal> {
    match batch {
        [delivery] => Ok(delivery),
        _ => Err(Refusal::dead("one event a request")),
    }
}

/// What the answer to a probe says, judged like any other: whatever would halt the destination is wrong with its settings.
fn unless_halted(verdict: impl Into<Option<Outcome>>) -> Result<(), String> {
    match verdict.into() {
        Some(Outcome::Halted { why, fix }) => Err(format!("{why}; {fix}")),
        _ => Ok(()),
    }
}

/// For an answer that is longer than what is read of one, so that nobody knows what it says of whom: smaller requests get shorter ones.
/// Only where a repeat of what was taken does no harm.
fn cut_short(reply: &Reply, count: usize, repeats: bool) -> Option<Outcome> {
    let theirs = reply.cut && reply.text().trim_start().starts_with('{');
    (theirs && count > 1 && repeats).then(|| Outcome::Split { why: "the answer is longer than what is read of one; set a smaller batch".into() })
}

/// Why no request can be built for a delivery, ever: it becomes `skipped` (the platform does not want it) or `dead`
/// (something is wrong with it). Texts name fields, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `skipped: ..`
    Skip(String),
    /// `dead: ..`
    Dead(String),
}

impl Refusal {
    /// `skipped: ..`
    pub fn skip(why: impl Into<String>) -> Self {
        Self::Skip(why.into())
    }

    /// `dead: ..`
    pub fn dead(why: impl Into<String>) -> Self {
        Self::Dead(why.into())
    }
}

/// A key of `[destination.NAME]` that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SettingError {
    /// Dotted path below the destination's table, e.g. `refund.url`; the configuration finds the line.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Turns a value of the configuration (text or `{ env = ".." }`, `{ file = ".." }`, `{ credential = ".." }`) into a secret;
/// the error says what was tried.
pub type Resolve<'a> = &'a dyn Fn(&toml::Value) -> Result<crate::secret::Secret, String>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_too_long_to_be_read_is_found_out_in_halves_where_repeats_do_no_harm() {
        let split = |body: &str, cut, count, repeats| cut_short(&Reply { cut, ..Reply::plain(200, body) }, count, repeats).is_some();
        assert!(split("{\"events\": [", true, 2, true));
        assert!(!split("{\"events\": [", true, 2, false) && !split("{}", false, 2, true));
        assert!(!split("{\"events\": [", true, 1, true), "a single one cannot get a shorter answer");
        assert!(!split("<html>", true, 2, true), "somebody else's page");
    }

    #[test]
    fn only_what_would_halt_is_wrong_with_settings() {
        assert_eq!(unless_halted(Outcome::halted("a", "b")), Err("a; b".into()));
        assert_eq!((unless_halted(Outcome::rejected("a")), unless_halted(None)), (Ok(()), Ok(())));
    }
}
