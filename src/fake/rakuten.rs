//! Rakuten Advertising: a GET per order.
//!
//! Rakuten's field manual is not public; facts are those that public integrations agree on: RudderStack's (GitHub rudderlabs/rudder-transformer,
//! `cdk/v2/destinations/rakuten`) and Commanders Act's
//! (GitHub CommandersAct/Platform-Documentation, `rakuten-events.md`). Refusals come with status 200.

use super::{
    look::{self, Faults, Look},
    words::{Answer, Call, Concern, Item, Judge, Memory, Verdict},
};

/// See the module.
#[derive(Debug)]
pub struct Rakuten;

const LISTS: &[&str] = &["skulist", "namelist", "qlist", "amtlist"];

impl Judge for Rakuten {
    fn name(&self) -> &'static str {
        "rakuten"
    }

    fn judge(&self, call: &Call, _: &Memory) -> Verdict {
        let faults = Faults::default();
        if (call.method.as_str(), call.path.as_str()) != ("GET", "/ep") {
            faults.add(Concern::Address, "path", "must be GET /ep");
        }
        let query = call.query_object();
        let look = faults.look(&query).single();
        let mid = look.at("mid").text();
        if !look::digits(mid) {
            faults.add(Concern::Auth, "mid", "must be the advertiser's digits");
        }
        let refund = look.at("amtlist").text().split('|').all(|amount| amount.starts_with('-') || amount == "0");
        let item = order(&look, call, refund);
        Verdict { items: vec![item], ..faults.verdict(if refund { "refund" } else { "events" }) }
    }

    fn answer(&self, _: &Call, verdict: &Verdict, memory: &mut Memory) -> Answer {
        let xml = |body: &str| Answer::new(200, "text/xml", format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<response>{body}</response>"));
        let id = memory.number();
        match verdict.worst().map(|fault| fault.concern) {
            None => {
                xml(&format!("<unique_id>{id}</unique_id><summary><transactions><total>1</total><good>1</good><bad>0</bad></transactions></summary>"))
            }
            Some(Concern::Auth) if verdict.worst().is_some_and(|fault| fault.field == "mid") => Answer::new(400, "text/plain", "Bad Request"),
            Some(Concern::Auth) => xml("<error>Access denied</error>"),
            Some(Concern::Address) => Answer::new(404, "text/html", "<html></html>"),
            Some(_) => {
                xml(&format!("<unique_id>{id}</unique_id><summary><transactions><total>1</total><good>0</good><bad>1</bad></transactions></summary>"))
            }
        }
    }
}

fn time(at: &Look<'_>) {
    at.is_text("must be yyyymmdd_hhmm in UTC", |text| {
        text.len() == 13 && text.split_once('_').is_some_and(|(day, minute)| day.len() == 8 && look::digits(day) && look::digits(minute))
    });
}

fn order(query: &Look<'_>, call: &Call, refund: bool) -> Item {
    ["ord", "tr", "land", "cur"].iter().chain(LISTS).for_each(|key| {
        query.at(key).required();
    });
    query.at("cur").currency();
    query.at("tr").is_text("must be the click's ranSiteID as it came", |text| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'*' | b'_' | b'-'))
    });
    let (land, date) = (query.at("land"), query.at("date"));
    time(&land);
    time(&date);
    let now = call.now.strftime("%Y%m%d_%H%M").to_string();
    if date.there() {
        land.must(land.text() <= date.text(), "must be earlier than the sale");
    }
    date.must(date.text() <= now.as_str(), "is in the future");
    let count = query.at("skulist").text().split('|').count();
    for (key, value) in call.query.iter().filter(|(key, _)| key.ends_with("list")) {
        query.at(key).must(value.split('|').count() == count, "must have as many entries as skulist");
    }
    query.at("qlist").is_text("must be whole numbers", |text| text.split('|').all(look::digits));
    let amounts = query.at("amtlist");
    amounts
        .is_text("must be whole numbers: cents of whole lines", |text| text.split('|').all(|one| look::digits(one.strip_prefix('-').unwrap_or(one))));
    if refund {
        date.required();
    }
    if query.at("xml").text() != "1" {
        query.at("xml").fault("must be 1, or the answer is a pixel");
    }
    let name = if refund { "refund" } else { "sale" };
    let total: i64 = amounts.text().split('|').filter_map(|one| one.parse::<i64>().ok()).sum();
    Item { name: name.to_owned(), id: query.at("ord").text().to_owned(), amount: format!("{total} (x 100) {}", query.at("cur").text()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{script::Chance, testing};

    const GOOD: &str = "/ep?mid=12345&ord=SO-1001&tr=AbCdEfGhIjk-0123456789abcdefghijkl&land=20261101_0915&date=20261102_1004&cur=USD\
                        &skulist=MUG-1|DISCOUNT&namelist=Mug|DISCOUNT&qlist=2|0&amtlist=8550|-500&xml=1";

    #[test]
    fn rules() {
        let memory = Memory::default();
        let good = testing::get(GOOD);
        assert!(testing::taken(&Rakuten, &good, &memory, 200).body.contains("<good>1</good>"));
        let bad = "<bad>1</bad>";
        for (from, to, fault, status, said) in [
            ("mid=12345", "mid=x", "mid must be the advertiser's digits", 400, ""),
            ("&ord=SO-1001", "", "ord is required and missing", 200, bad),
            ("&land=20261101_0915", "&land=2026-11-01T09:15", "land must be yyyymmdd_hhmm in UTC", 200, bad),
            ("land=20261101_0915", "land=20261103_0915", "land must be earlier than the sale", 200, bad),
            ("date=20261102", "date=20261202", "date is in the future", 200, bad),
            ("qlist=2|0", "qlist=2", "qlist must have as many entries as skulist", 200, bad),
            ("8550|", "85.50|", "amtlist must be whole numbers: cents of whole lines", 200, bad),
            ("cur=USD", "cur=usd", "cur must be a currency of ISO 4217 in capital letters", 200, bad),
            ("&xml=1", "", "xml must be 1, or the answer is a pixel", 200, bad),
        ] {
            testing::refused(&Rakuten, &testing::get(&GOOD.replace(from, to)), &memory, fault, status, said);
        }
        let refund = GOOD.replace("8550|-500", "-8550|0");
        testing::taken(&Rakuten, &testing::get(&refund), &memory, 200);
        testing::refused(&Rakuten, &testing::get(&refund.replace("&date=20261102_1004", "")), &memory, "date is required and missing", 200, bad);
        testing::scripted(
            &Rakuten,
            &good,
            &memory,
            &[
                (Chance::Throttled, 429, ""),
                (Chance::Down, 503, ""),
                (Chance::Expired, 200, "Access denied"),
                (Chance::Invalid, 200, bad),
                (Chance::Partial, 200, bad),
            ],
        );
    }
}
