//! Lines add up, whatever was told and taken back.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    delivery::{Refunding, Said},
    event::Event,
};

fn dec(text: &str) -> Decimal {
    text.parse().expect("a decimal")
}

fn plain(text: &str) -> String {
    text.to_owned()
}

fn object(value: Value) -> Object {
    value.as_object().cloned().expect("an object")
}

fn delivery(sale: Value, earlier: &[Value], own: Option<(Value, bool)>) -> Delivery {
    let (kind, payload) = match &own {
        None => ("purchase", json!({"value": "1", "currency": "EUR", "more": sale})),
        Some((more, _)) => ("refund", json!({"refund_ref": "r", "amount": "1", "more": more})),
    };
    let event = Event::decode(7, kind, "1", &payload.to_string(), jiff::Timestamp::UNIX_EPOCH).expect("readable");
    let said = Said { value: event.value, currency: event.currency, at: event.occurred_at, click: Default::default(), name: None };
    let refund = own.map(|(_, full)| Refunding {
        refund_ref: None,
        amount: Decimal::ONE,
        total: Decimal::ONE,
        remaining: Decimal::ONE,
        full,
        purchase: said.clone(),
        purchase_event_id: String::new(),
        purchase_more: object(sale),
        earlier: earlier.iter().cloned().map(object).collect(),
        answer: None,
        uncertain: false,
    });
    Delivery { event: Arc::new(event), event_id: String::new(), generation: 1, who: Object::new(), said, refund, attempt: 1 }
}

fn told(lines: &[Line]) -> String {
    lines.iter().map(|line| format!("{}x{}={}", line.sku, line.quantity.normalize(), line.total.normalize())).collect::<Vec<_>>().join(" ")
}

fn sale() -> Value {
    json!({"items": [{"id": "a", "quantity": 2, "price": "10"}, {"id": "b", "price": "5.00"}, {"id": "a", "quantity": 1, "price": "10"}]})
}

#[test]
fn prices_that_add_up_are_told_and_others_are_shared_out() {
    let of = |more: Value, value: &str| sold(&delivery(more, &[], None), dec(value), 2, plain).map(|sold| (told(&sold.lines), sold.discount));
    assert_eq!(of(sale(), "35.00"), Some(("ax3=30 bx1=5".into(), dec("0"))));
    assert_eq!(of(sale(), "29.41"), Some(("ax3=25.21 bx1=4.2".into(), dec("0"))), "without tax");
    let mut discounted = sale();
    discounted["discount"] = json!("3.50");
    assert_eq!(of(discounted.clone(), "31.50"), Some(("ax3=30 bx1=5".into(), dec("3.50"))));
    assert_eq!(of(discounted, "31.00"), Some(("ax3=26.57 bx1=4.43".into(), dec("0"))), "a discount that does not fit is in the prices");
    for nothing in [json!({}), json!({"items": [{"price": 1}]}), json!({"items": [{"id": "a"}]}), json!({"items": [{"id": "a", "price": 0}]})] {
        assert_eq!(of(nothing.clone(), "1"), None, "{nothing}");
    }
    assert_eq!(of(json!({"items": [{"id": "a", "price": 0}]}), "0"), Some(("ax1=0".into(), dec("0"))), "a free order");
}

#[test]
fn refunds_take_off_what_they_name() {
    let one = json!({"items": [{"id": "a", "quantity": 1}]});
    let left = |earlier: &[Value], own: Value, remaining: &str| {
        told(&left(&delivery(sale(), earlier, Some((own, false))), dec(remaining), 2, plain).expect("lines"))
    };
    assert_eq!(left(&[], one.clone(), "25.00"), "ax2=20 bx1=5");
    assert_eq!(left(std::slice::from_ref(&one), one.clone(), "15.00"), "ax1=10 bx1=5");
    assert_eq!(left(&[one.clone(), json!({"items": [{"id": "b"}]})], one.clone(), "10.00"), "ax1=10 bx0=0");
    assert_eq!(left(std::slice::from_ref(&one), json!({}), "20.00"), "ax2=16 bx1=4", "cheaper, but all still there");
    assert_eq!(left(&[], sale(), "1.00"), "ax3=0.86 bx1=0.14", "all is back and something is kept all the same");
    assert_eq!(left(&[], json!({"items": [{"id": "a", "quantity": 9}, {"id": "z"}]}), "5.00"), "ax0=0 bx1=5");
}

#[test]
fn a_refund_of_its_own_takes_what_it_names_or_a_part_of_all() {
    let one = json!({"items": [{"id": "a", "quantity": 1}]});
    let returned = |earlier: &[Value], own: Value, full: bool, amount: &str| {
        told(&returned(&delivery(sale(), earlier, Some((own, full))), dec(amount), 2, plain).expect("lines"))
    };
    assert_eq!(returned(&[], one.clone(), false, "10.00"), "ax1=10");
    assert_eq!(returned(&[], one.clone(), false, "8.40"), "ax1=8.4");
    assert_eq!(returned(&[], json!({}), false, "7.00"), "ax3=6 bx1=1");
    assert_eq!(returned(std::slice::from_ref(&one), json!({}), true, "25.00"), "ax2=20 bx1=5", "the rest");
    assert_eq!(returned(&[sale()], json!({}), true, "1.00"), "ax3=0.86 bx1=0.14");
}

#[test]
fn many_lines_end_in_one() {
    let lines = merged(goods::read(&json!([{"id": 1, "price": 1}, {"id": 2, "price": 2}, {"id": 3, "price": 3}])), plain).expect("lines");
    let lines = spread(lines, dec("6"), 2).expect("lines");
    assert_eq!(told(&fold(lines.clone(), 2)), "1x1=1 otherx1=5");
    assert_eq!(fold(lines.clone(), 3), lines);
}

proptest! {
    #[test]
    fn lines_add_up(prices in prop::collection::vec((0u32..100_000, 1u32..5), 1..12), total in 0u32..10_000_000, digits in 0u32..4) {
        let items: Vec<Value> = prices.iter().enumerate()
            .map(|(id, (price, quantity))| json!({"id": id, "price": Decimal::new(i64::from(*price), 2).to_string(), "quantity": quantity}))
            .collect();
        let total = Decimal::new(i64::from(total), digits);
        let worth: u32 = prices.iter().map(|(price, _)| *price).sum();
        match sold(&delivery(json!({"items": items}), &[], None), total, digits, plain) {
            Some(sold) => {
                prop_assert_eq!(sold.lines.iter().map(|line| line.total).sum::<Decimal>(), total);
                prop_assert!(sold.lines.iter().all(|line| line.total >= Decimal::ZERO && line.total.normalize().scale() <= digits));
            }
            None => prop_assert_eq!(worth, 0),
        }
    }
}

/// Numbers beyond any shop's: no line, or one that is too long to be told, but no panic.
#[test]
fn extremes_do_no_harm() {
    let numbers = ["0", "0.0000000000000000000000000001", "1", "3", "79228162514264337593543950335"];
    for (price, quantity) in numbers.iter().flat_map(|price| numbers.map(|quantity| (price, quantity))) {
        let line = |id: &str| json!({"id": id, "price": price, "quantity": quantity});
        let sale = json!({"items": [line("a"), line("b"), line("a")], "discount": price});
        for own in [json!({}), json!({"items": [{"id": "a", "quantity": quantity}]}), json!({"items": [{"id": "b", "quantity": "0.5"}]})] {
            let delivery = delivery(sale.clone(), std::slice::from_ref(&own), Some((own.clone(), false)));
            for (total, digits) in numbers.iter().flat_map(|total| [(dec(total), 0), (dec(total), 3)]) {
                let folded = left(&delivery, total, digits, plain).map(|lines| fold(lines, 1));
                assert!(folded.is_none_or(|lines| lines.len() == 1));
                let _ = (sold(&delivery, total, digits, plain), returned(&delivery, total, digits, plain));
            }
        }
    }
}
