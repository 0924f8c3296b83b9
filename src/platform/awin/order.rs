//! A sale (or a lead), for the Conversion API or as a GET.

use serde_json::{Value, json};

use super::{
    super::{
        Refusal,
        form::Pairs,
        goods::{self, Item},
        person,
    },
    settings::Settings,
};
use crate::{
    delivery::Delivery,
    event::Object,
    money::{self, Currency},
    request::Request,
};

/// conversion-api: longer ones are cut, and two orders could become one.
const REFERENCE_MAX: usize = 50;

/// What both forms tell.
struct Sale<'a> {
    reference: String,
    amount: String,
    currency: Currency,
    group: &'a str,
    awc: Option<String>,
    voucher: String,
    acquisition: Option<&'static str>,
    items: Vec<(String, Item)>,
}

impl<'a> Sale<'a> {
    fn of(to: &Settings, delivery: &'a Delivery) -> Result<Self, Refusal> {
        let currency = delivery.said.currency.ok_or_else(|| Refusal::dead("Awin needs a currency, also for a lead"))?;
        // A lead is worth its number: one.
        let amount = delivery.said.value.unwrap_or(rust_decimal::Decimal::ONE);
        let awc = person::text(&delivery.who, "awc");
        let voucher = goods::coupon(delivery).unwrap_or_default();
        match (&awc, voucher.is_empty()) {
            (None, true) if to.coupon_is_enough => return Err(Refusal::skip("no awc and no coupon")),
            (None, _) if !to.coupon_is_enough => return Err(Refusal::skip("no awc")),
            _ => {}
        }
        let items = if to.items { goods::identified(delivery) } else { Vec::new() };
        Ok(Self {
            reference: reference(delivery)?,
            amount: money::major(amount, currency),
            currency,
            group: delivery.said.name.as_deref().ok_or_else(|| Refusal::skip("kind not mapped"))?,
            awc,
            voucher,
            acquisition: goods::new_customer(delivery).map(|new| if new { "NEW" } else { "RETURNING" }),
            items: items.into_iter().filter(|(_, item)| item.price.is_some()).collect(),
        })
    }
}

/// How Awin calls the order.
pub(super) fn reference(delivery: &Delivery) -> Result<String, Refusal> {
    let reference = goods::order(delivery);
    if reference.chars().count() > REFERENCE_MAX {
        return Err(Refusal::dead("the order reference is longer than the 50 characters that Awin keeps"));
    }
    Ok(reference)
}

/// Text that Awin takes apart at `|`.
fn field(text: &str) -> String {
    text.replace('|', "_")
}

pub(super) fn request(to: &Settings, batch: &[Delivery]) -> Result<Request, Refusal> {
    let key = to.api_key.as_ref().ok_or_else(|| Refusal::dead("no api_key"))?;
    let orders = batch.iter().map(|delivery| order(to, delivery)).collect::<Result<Vec<_>, _>>()?;
    let url = format!("{}/s2s/advertiser/{}/orders", to.base_url, to.advertiser);
    Ok(Request::json(url, &json!({ "orders": orders })).with("x-api-key", key.reveal()))
}

fn order(to: &Settings, delivery: &Delivery) -> Result<Value, Refusal> {
    let sale = Sale::of(to, delivery)?;
    let number = |text: &str| text.parse::<serde_json::Number>().map_or(Value::Null, Value::Number);
    let mut order = Object::new();
    let mut put = |key: &str, value: Value| _ = order.insert(key.to_owned(), value);
    put("orderReference", sale.reference.into());
    put("amount", number(&sale.amount));
    put("channel", to.channel.as_str().into());
    put("currency", sale.currency.as_str().into());
    if let Some(awc) = sale.awc {
        put("awc", awc.into());
    }
    put("voucher", sale.voucher.into());
    if let Some(acquisition) = sale.acquisition {
        put("customerAcquisition", acquisition.into());
    }
    put("isTest", to.test.into());
    // Unverified: seconds. It is what a refund has to name again.
    put("transactionTime", delivery.said.at.as_second().into());
    put("commissionGroups", json!([{ "code": sale.group, "amount": number(&sale.amount) }]));
    if !sale.items.is_empty() {
        let line = |(id, item): &(String, Item)| {
            let mut line = json!({
                "id": field(id),
                "name": field(item.name.as_deref().unwrap_or(id)),
                "price": money::number(item.price.unwrap_or_default(), sale.currency),
                "quantity": goods::pieces(item.quantity),
                "sku": field(id),
            });
            if let Some(category) = &item.category {
                line["category"] = field(category).into();
            }
            line["commissionGroupCode"] = sale.group.into();
            line
        };
        put("basket", sale.items.iter().map(line).collect());
    }
    if !to.custom.is_empty() {
        put("custom", json!(to.custom));
    }
    Ok(order.into())
}

/// direct-s2s: `sread.php`, parameters in the order of Awin's page.
pub(super) fn pixel(to: &Settings, delivery: &Delivery) -> Result<Request, Refusal> {
    let sale = Sale::of(to, delivery)?;
    let mut query = Pairs::default();
    query.put("tt", "ss").put("tv", "2").put("merchant", &to.advertiser).put("amount", &sale.amount).put("ch", &to.channel);
    query.put("parts", format!("{}:{}", sale.group, sale.amount)).put("vc", sale.voucher).put("cr", sale.currency.as_str());
    query.put("ref", &sale.reference).put_some("customeracquisition", sale.acquisition);
    query.put("testmode", if to.test { "1" } else { "0" }).put("cks", sale.awc.unwrap_or_default());
    for (number, value) in &to.custom {
        query.put(format!("p{number}"), value);
    }
    for (index, (id, item)) in sale.items.iter().enumerate() {
        let price = money::major(item.price.unwrap_or_default(), sale.currency);
        let (advertiser, quantity) = (&to.advertiser, goods::pieces(item.quantity));
        let name = item.name.as_deref().unwrap_or(id);
        let category = item.category.as_deref().unwrap_or_default();
        let [reference, product, name, group, category] = [&sale.reference, id, name, sale.group, category].map(field);
        let row = format!("AW:P|{advertiser}|{reference}|{product}|{name}|{price}|{quantity}|{product}|{group}|{category}");
        query.put(format!("bd[{index}]"), row);
    }
    Ok(query.get(&format!("{}/sread.php", to.pixel_url)))
}
