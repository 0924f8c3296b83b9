//! What a process may have sent whose marks were lost, as the judge sees it.

use std::{collections::HashMap, path::Path};

use jiff::Timestamp;
use postbackd::{
    books::{Facts, Sale},
    config::{Config, SecretMode},
    event::Event,
    judge::{Judgement, Question, judge},
};

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// Judges a purchase of 10:00 at 12:00, whose marks may have been lost until then.
fn judged(keys: &str, lost_until: Option<&str>) -> Judgement {
    let file = format!(
        "[database]\nurl = 'postgres://postbackd@localhost/shop'\n[destination.d]\nplatform = 'postback'\nurl = 'https://t.example/?id={{{{ event_id }}}}'\n{keys}"
    );
    let config = Config::parse(&file, Path::new("/t/test.toml"), SecretMode::Reveal, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    let event = Event::decode(7, "purchase", "1", r#"{"value": "20.00", "currency": "EUR"}"#, time("2026-03-01T10:00:00Z")).expect("readable");
    let sale = Sale { order_ref: "1".into(), generation: 1, event: Some(7), value: event.value, currency: event.currency, ..Sale::default() };
    let facts = Facts { sales: HashMap::from([("1".to_owned(), vec![sale])]), ..Facts::default() };
    let question = Question {
        event: &event.into(),
        seq: 1,
        cause: None,
        tries: 0,
        maybe_sent: lost_until.is_some(),
        maybe_since: None,
        settings_changed: false,
        lost_until: lost_until.map(time),
    };
    judge(&question, &facts, &config.destinations[0], time("2026-03-01T12:00:00Z"))
}

#[test]
fn lost_is_unknown_where_every_request_counts_and_it_was_due() {
    let lost = Some("2026-03-01T11:00:00Z");
    assert!(matches!(judged("resend = 'never'", None), Judgement::Send { .. }), "without its announcement it was never sent");
    assert!(matches!(judged("resend = 'never'", lost), Judgement::Unknown(_)));
    assert!(matches!(judged("resend = 'safe'", lost), Judgement::Send { .. }));
    assert!(matches!(judged("resend = '48h'", lost), Judgement::Send { .. }));
    assert!(matches!(judged("resend = 'never'\nhold = '90m'", lost), Judgement::Send { .. }), "nobody sends what is held");
    assert!(matches!(judged("resend = 'never'\nhold = '3h'", lost), Judgement::Hold { .. }));
    assert!(matches!(judged("resend = 'never'\nhold = '30m'", lost), Judgement::Unknown(_)));
    assert!(matches!(judged("resend = 'never'\nclick = ['gclid']", lost), Judgement::Skip(_)), "what is not wanted was not sent");
}
