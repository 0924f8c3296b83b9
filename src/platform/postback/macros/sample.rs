//! An event to try templates on.

use std::sync::Arc;

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::{super::settings::Settings, PERSONAL};
use crate::{
    click,
    delivery::{Delivery, Refunding, Said},
    event::{Event, Kind, Object},
    money::Currency,
};

/// A delivery in which nothing is missing: templates are tried on it when settings are parsed.
pub(in super::super) fn sample(settings: &Settings, kind: Kind) -> Delivery {
    let currency = Currency::parse("USD");
    let at = Timestamp::UNIX_EPOCH;
    let mut who = Object::new();
    for key in settings.click_param.iter().map(String::as_str).chain(PERSONAL).chain(click::IN_URLS).chain(["country", "external_id"]) {
        who.insert(key.to_owned(), serde_json::Value::from("0123456789abcdef"));
    }
    for path in settings.require.iter().filter_map(|path| path.strip_prefix("who.")) {
        who.insert(path.to_owned(), serde_json::Value::from("x"));
    }
    let more: Object = serde_json::from_str(r#"{"items":[{"id":"sku","name":"n","quantity":1,"price":"1.00","category":"c"}],"tax":"1.00","shipping":"1.00","discount":"1.00","subtotal":"1.00","coupon":"C","new_customer":true,"quantity":1,"shop":"s"}"#).unwrap_or_default();
    let value = Some(Decimal::new(14_098, 2));
    let click = settings.click_param.iter().map(|key| (key.clone(), "0123456789abcdef".to_owned())).collect();
    let said = Said { value, currency, at, click, name: Some("purchase".into()) };
    let refund = kind.takes_back().then(|| Refunding {
        refund_ref: Some("R-1".into()),
        amount: Decimal::new(14_098, 2),
        total: Decimal::new(14_098, 2),
        remaining: Decimal::ZERO,
        full: true,
        purchase: said.clone(),
        purchase_event_id: "purchase-1001".into(),
        purchase_more: more.clone(),
        earlier: Vec::new(),
        answer: None,
        uncertain: false,
    });
    let refund_ref = kind.takes_back().then(|| "R-1".to_owned());
    let event =
        Event { id: 1, kind, reference: "1001".into(), refund_ref, value, currency, who: who.clone(), more, occurred_at: at, forgotten: false };
    Delivery { event: Arc::new(event), event_id: format!("{kind}-1001"), generation: 1, who, said, refund, attempt: 1 }
}
