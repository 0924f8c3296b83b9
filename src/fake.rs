//! `postbackd fake`: every platform's endpoints on loopback, for trying a configuration and for tests.
//!
//! Each platform stands under its name (`http://127.0.0.1:9080/meta`) and is one judge: it reads a request as the platform's
//! documentation describes it, says what is wrong, and answers in the platform's own words. The judges share no code with
//! [`crate::platform`], so that one checks the other: what an adapter misreads it cannot misread here in the same way.
//!
//! ```text
//!  connection ─▶ Call ─▶ Judge::judge ─▶ Verdict ─(script, chance)─▶ Judge::answer ─▶ Answer
//!                                           └──────────▶ Record: a line on stdout, GET /_fake/requests
//! ```

mod look;
mod oauth;
mod record;
mod script;
mod server;
mod words;

mod adjust;
mod appsflyer;
mod awin;
mod cj;
mod ga4;
mod google_ads;
mod google_data_manager;
mod impact;
mod meta;
mod microsoft;
mod pinterest;
mod rakuten;
mod singular;
mod snapchat;
mod tiktok;

#[cfg(test)]
mod testing;

pub use self::{
    record::Record,
    script::{Chance, Chances, Rule},
    server::{Fake, Settings, serve},
    words::{Answer, Call, Fault, Item, Judge, Memory, Verdict},
};

/// The judges, by the name that a destination's `platform` has.
pub const JUDGES: &[&dyn Judge] = &[
    &meta::Meta,
    &google_data_manager::GoogleDataManager,
    &awin::Awin,
    &tiktok::TikTok,
    &impact::Impact,
    &cj::Cj,
    &snapchat::Snapchat,
    &pinterest::Pinterest,
    &rakuten::Rakuten,
    &ga4::Ga4,
    &appsflyer::AppsFlyer,
    &adjust::Adjust,
    &microsoft::Microsoft,
    &singular::Singular,
    &google_ads::GoogleAds,
];

/// Status 200 to 299 with a body of JSON.
fn json(status: u16, body: &serde_json::Value) -> Answer {
    Answer::new(status, "application/json", body.to_string())
}
