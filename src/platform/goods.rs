//! What was sold: the order, its value, and out of `more` items, coupon, whether the customer is new. Pure.

use rust_decimal::Decimal;
use serde_json::Value;

use super::Refusal;
use crate::{
    delivery::{Delivery, Refunding},
    event::{Kind, Object, decimal},
    money::Currency,
};

/// One line of an order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// SKU or product id; what a catalogue or merchant feed calls it.
    pub id: Option<String>,
    /// For people.
    pub name: Option<String>,
    /// 1 where it is not told.
    pub quantity: Decimal,
    /// Of one piece, major units, never negative: a line that takes something off is no article, and platforms refuse it.
    pub price: Option<Decimal>,
    /// For people.
    pub category: Option<String>,
    /// For people.
    pub brand: Option<String>,
}

/// How the platform calls the order. A sale after a cancelled one of the same order is another, as it is in the shop's `event_id`.
pub fn order(delivery: &Delivery) -> String {
    let reference = &delivery.event.reference;
    if delivery.generation > 1 { format!("{reference}.{}", delivery.generation) } else { reference.clone() }
}

/// Value and currency as they are said; a sale and what takes back cannot do without them, others may.
pub fn worth(delivery: &Delivery) -> Result<Option<(Decimal, Currency)>, Refusal> {
    let worth = delivery.said.value.zip(delivery.said.currency);
    let needed = delivery.event.kind == Kind::Purchase || delivery.refund.is_some();
    if needed && worth.is_none() { Err(Refusal::dead("a purchase needs value and currency")) } else { Ok(worth) }
}

/// The currency in which a refund's purchase was told.
pub fn currency_of(refund: &Refunding) -> Result<Currency, Refusal> {
    refund.purchase.currency.ok_or_else(|| Refusal::dead("its purchase was told without a currency"))
}

/// What the shop told of the sale that a delivery is about: for a refund its own word first, else its purchase's.
pub fn told<'a>(delivery: &'a Delivery, key: &str) -> Option<&'a Value> {
    let of_purchase = || delivery.refund.as_ref().and_then(|refund| refund.purchase_more.get(key));
    delivery.event.more.get(key).or_else(of_purchase).filter(|value| !value.is_null())
}

/// The items that it is about; empty where none are told. A partial refund is about those that it names itself, a full one about
/// all of its purchase.
pub fn items(delivery: &Delivery) -> Vec<Item> {
    let partial = delivery.refund.as_ref().is_some_and(|refund| !refund.full);
    let told = if partial { delivery.event.more.get("items") } else { told(delivery, "items") };
    told.map(read).unwrap_or_default()
}

/// Those of them that have an id, by which alone a catalogue finds them.
pub fn identified(delivery: &Delivery) -> Vec<(String, Item)> {
    items(delivery).into_iter().filter_map(|item| Some((item.id.clone()?, item))).collect()
}

/// Their ids: `content_ids`.
pub fn ids(items: &[(String, Item)]) -> Value {
    items.iter().map(|(id, _)| id.as_str()).collect()
}

/// How many pieces they are: `num_items`.
pub fn count(items: &[(String, Item)]) -> u64 {
    items.iter().fold(0, |sum: u64, (_, item)| sum.saturating_add(pieces(item.quantity)))
}

/// All items of the sale, also where a part of it was refunded.
pub fn of_sale(delivery: &Delivery) -> Vec<Item> {
    let more = delivery.refund.as_ref().map_or(&delivery.event.more, |refund| &refund.purchase_more);
    more.get("items").map(read).unwrap_or_default()
}

/// The items of an array; what is no object is left out.
pub fn read(items: &Value) -> Vec<Item> {
    items.as_array().into_iter().flatten().filter_map(Value::as_object).map(item).collect()
}

fn item(item: &Object) -> Item {
    let quantity = number(item.get("quantity")).filter(|quantity| !quantity.is_sign_negative());
    Item {
        id: text(item.get("id")).or_else(|| text(item.get("sku"))),
        name: text(item.get("name")),
        quantity: quantity.unwrap_or(Decimal::ONE).normalize(),
        price: number(item.get("price")).filter(|price| !price.is_sign_negative()),
        category: text(item.get("category")),
        brand: text(item.get("brand")),
    }
}

/// A text that is not blank, or a number as text.
pub fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A number, or a number as text, exactly.
pub fn number(value: Option<&Value>) -> Option<Decimal> {
    match value? {
        Value::Number(number) => decimal(&number.to_string()),
        Value::String(text) => decimal(text),
        _ => None,
    }
}

/// `more.coupon`: one, or several joined by commas.
pub fn coupon(delivery: &Delivery) -> Option<String> {
    match told(delivery, "coupon")? {
        Value::Array(codes) => {
            let codes: Vec<String> = codes.iter().filter_map(|code| text(Some(code))).collect();
            (!codes.is_empty()).then(|| codes.join(","))
        }
        one => text(Some(one)),
    }
}

/// `more.new_customer`.
pub fn new_customer(delivery: &Delivery) -> Option<bool> {
    told(delivery, "new_customer")?.as_bool()
}

/// A whole quantity, rounded up: half a metre is one piece for platforms that count pieces.
pub fn pieces(quantity: Decimal) -> u64 {
    use rust_decimal::prelude::ToPrimitive as _;
    quantity.ceil().to_u64().unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn items_are_read_as_shops_write_them() {
        let items = read(&json!([{"id": 7, "quantity": "2", "price": "50.490"}, {"sku": " s ", "name": "", "price": 0.1}, "x", {}]));
        let dec = |text: &str| text.parse::<Decimal>().expect("a decimal");
        assert_eq!(items[0], Item { id: Some("7".into()), quantity: dec("2"), price: Some(dec("50.490")), ..Item::default() });
        assert_eq!((items[1].id.as_deref(), items[1].name.as_deref(), items[1].price), (Some("s"), None, Some(dec("0.1"))));
        assert_eq!((items.len(), items[2].quantity), (3, Decimal::ONE));
    }

    #[test]
    fn what_takes_something_off_has_no_price() {
        let items = read(&json!([{"id": "voucher", "price": "-5"}, {"id": "gift", "price": 0}]));
        assert_eq!([items[0].price, items[1].price], [None, Some(Decimal::ZERO)]);
    }

    #[test]
    fn half_a_metre_is_one_piece() {
        assert_eq!(["0", "0.5", "1", "2.1"].map(|text| pieces(text.parse().expect("a decimal"))), [1, 1, 1, 3]);
    }
}
