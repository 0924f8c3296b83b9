//! Filters and tests that templates may use. Money is exact: no filter knows floats. What is missing stays missing.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{Timestamp, tz::TimeZone};
use minijinja::{Environment, Error, ErrorKind, Value};
use rust_decimal::Decimal;
use sha2::Digest;

use super::values::{Missing, Num, is_empty, to_json};
use crate::money::fixed;
use crate::{event::decimal, money};

/// Every filter.
pub const FILTERS: [&str; 28] = [
    "default",
    "lower",
    "upper",
    "trim",
    "replace",
    "truncate",
    "join",
    "pluck",
    "first",
    "last",
    "length",
    "sha256",
    "sha1",
    "md5",
    "hmac_sha256",
    "hmac_sha1",
    "hmac_md5",
    "base64",
    "urlencode",
    "tojson",
    "number",
    "minor",
    "micros",
    "decimal",
    "negate",
    "date",
    "email",
    "phone",
];

/// Every test, as in `{% if amount is above(10) %}`.
pub const TESTS: [&str; 7] = ["defined", "undefined", "empty", "above", "below", "equal", "in"];

type Answer = Result<Value, Error>;

fn bad(what: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

/// Registers all of them.
pub fn install(env: &mut Environment<'static>) {
    env.add_filter("default", |value: Value, other: Value| if is_empty(&value) { other } else { value });
    text(env, "lower", |text| text.to_lowercase());
    text(env, "upper", |text| text.to_uppercase());
    text(env, "trim", |text| text.trim().to_owned());
    text(env, "urlencode", super::place::encode);
    text(env, "base64", |text| STANDARD.encode(text));
    text(env, "email", email);
    text(env, "phone", phone);
    env.add_filter("replace", |value: Value, from: String, to: String| on_text(value, |text| Ok(text.replace(&from, &to).into())));
    env.add_filter("truncate", |value: Value, length: usize| on_text(value, |text| Ok(text.chars().take(length).collect::<String>().into())));
    env.add_filter("tojson", |value: Value| -> Answer { Ok(Num::plain(to_json(&value)?.to_string())) });
    lists(env);
    numbers(env);
    digests(env);
    env.add_filter("date", date);
    env.add_test("defined", |value: Value| !is_empty(&value));
    env.add_test("undefined", |value: Value| is_empty(&value));
    env.add_test("empty", |value: Value| is_empty(&value) || value.len() == Some(0));
    env.add_test("above", |value: Value, than: Value| compare(&value, &than, |a, b| a > b));
    env.add_test("below", |value: Value, than: Value| compare(&value, &than, |a, b| a < b));
    env.add_test("equal", |value: Value, to: Value| compare(&value, &to, |a, b| a == b));
    env.add_test("in", |value: Value, list: Value| -> Result<bool, Error> {
        // What is missing holds nothing.
        if is_empty(&list) { Ok(false) } else { Ok(list.try_iter()?.any(|item| printed(&item) == printed(&value))) }
    });
}

fn printed(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn on_text(value: Value, change: impl FnOnce(&str) -> Answer) -> Answer {
    if is_empty(&value) { Ok(value) } else { change(&printed(&value)) }
}

fn text(env: &mut Environment<'static>, name: &'static str, change: fn(&str) -> String) {
    env.add_filter(name, move |value: Value| on_text(value, |text| Ok(change(text).into())));
}

/// Trimmed, in lower case.
pub fn email(text: &str) -> String {
    text.trim().to_lowercase()
}

/// `+` and digits, `00` in front read as `+`; a national number stays national.
pub fn phone(text: &str) -> String {
    let text = text.trim();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    match digits.strip_prefix("00") {
        _ if text.starts_with('+') => format!("+{digits}"),
        Some(rest) => format!("+{rest}"),
        None => digits,
    }
}

fn lists(env: &mut Environment<'static>) {
    env.add_filter("join", |list: Value, between: String| -> Answer {
        if is_empty(&list) {
            return Ok(list);
        }
        Ok(list.try_iter()?.map(|item| if is_empty(&item) { String::new() } else { printed(&item) }).collect::<Vec<_>>().join(&between).into())
    });
    env.add_filter("pluck", |list: Value, key: String| -> Answer {
        if is_empty(&list) {
            return Ok(list);
        }
        Ok(list.try_iter()?.map(|item| item.get_attr(&key)).collect::<Result<Vec<_>, _>>()?.into())
    });
    env.add_filter("first", |list: Value| -> Answer {
        if is_empty(&list) { Ok(list) } else { Ok(list.try_iter()?.next().unwrap_or(Value::UNDEFINED)) }
    });
    env.add_filter("last", |list: Value| -> Answer {
        if is_empty(&list) { Ok(list) } else { Ok(list.try_iter()?.last().unwrap_or(Value::UNDEFINED)) }
    });
    env.add_filter("length", |list: Value| if is_empty(&list) { 0 } else { list.len().unwrap_or(0) });
}

fn exact(value: &Value) -> Result<Decimal, Error> {
    decimal(&printed(value)).ok_or_else(|| bad("not a number"))
}

fn compare(a: &Value, b: &Value, holds: fn(Decimal, Decimal) -> bool) -> Result<bool, Error> {
    if is_empty(a) { Ok(false) } else { Ok(holds(exact(a)?, exact(b)?)) }
}

fn on_number(value: Value, change: impl FnOnce(Decimal, Option<u32>) -> Answer) -> Answer {
    if is_empty(&value) {
        return Ok(value);
    }
    let digits = value.downcast_object_ref::<Num>().and_then(|number| number.digits);
    change(exact(&value)?, digits)
}

fn numbers(env: &mut Environment<'static>) {
    env.add_filter("number", |value: Value| on_number(value, |number, digits| Ok(Value::from_object(Num { text: number.to_string(), digits }))));
    env.add_filter("negate", |value: Value| {
        on_number(value, |number, digits| {
            let text = digits.map_or_else(|| (-number).to_string(), |digits| fixed(-number, digits));
            Ok(Value::from_object(Num { text, digits }))
        })
    });
    env.add_filter("decimal", |value: Value, places: u32| {
        if places > 12 {
            return Err(bad("decimal() takes 0 to 12 places"));
        }
        on_number(value, |number, digits| Ok(Value::from_object(Num { text: fixed(number, places), digits })))
    });
    env.add_filter("micros", |value: Value| {
        on_number(value, |number, _| money::micros(number).map(|units| Num::plain(units.to_string())).ok_or_else(|| bad("too large for micros")))
    });
    env.add_filter("minor", |value: Value, currency: Option<String>| {
        on_number(value, |number, digits| {
            let digits = currency.as_deref().and_then(money::Currency::parse).map(|currency| currency.exponent()).or(digits);
            let digits = digits.ok_or_else(|| bad("minor needs the currency here: | minor(currency)"))?;
            let units = number.checked_mul(Decimal::from(10u64.pow(digits))).ok_or_else(|| bad("too large for minor units"))?;
            Ok(Num::plain(fixed(units, 0)))
        })
    });
}

fn encoded(bytes: &[u8], encoding: Option<&str>) -> Answer {
    match encoding.unwrap_or("hex") {
        "hex" => Ok(hex::encode(bytes).into()),
        "base64" => Ok(STANDARD.encode(bytes).into()),
        _ => Err(bad("digests are encoded as \"hex\" or \"base64\"")),
    }
}

/// HMAC of `text` by `sha256`, `sha1` or `md5`.
pub fn hmac(algorithm: &str, key: &str, text: &[u8]) -> Option<Vec<u8>> {
    fn with<M: Mac + KeyInit>(key: &str, text: &[u8]) -> Option<Vec<u8>> {
        let mut mac = <M as KeyInit>::new_from_slice(key.as_bytes()).ok()?;
        mac.update(text);
        Some(mac.finalize().into_bytes().to_vec())
    }
    match algorithm {
        "sha256" => with::<Hmac<sha2::Sha256>>(key, text),
        "sha1" => with::<Hmac<sha1::Sha1>>(key, text),
        "md5" => with::<Hmac<md5::Md5>>(key, text),
        _ => None,
    }
}

/// A digest of a text.
pub type Digester = fn(&str) -> Vec<u8>;

/// SHA-256.
pub fn sha256(text: &str) -> Vec<u8> {
    sha2::Sha256::digest(text).to_vec()
}

/// SHA-1.
pub fn sha1(text: &str) -> Vec<u8> {
    sha1::Sha1::digest(text).to_vec()
}

/// MD5.
pub fn md5(text: &str) -> Vec<u8> {
    md5::Md5::digest(text).to_vec()
}

fn digests(env: &mut Environment<'static>) {
    for (name, digest) in [("sha256", sha256 as Digester), ("sha1", sha1), ("md5", md5)] {
        env.add_filter(name, move |value: Value, as_: Option<String>| on_text(value, |text| encoded(&digest(text), as_.as_deref())));
    }
    for (name, algorithm) in [("hmac_sha256", "sha256"), ("hmac_sha1", "sha1"), ("hmac_md5", "md5")] {
        env.add_filter(name, move |value: Value, key: Value, as_: Option<String>| {
            if key.downcast_object_ref::<Missing>().is_some() || is_empty(&key) {
                return Err(bad("the key of an HMAC is empty"));
            }
            on_text(value, |text| encoded(&hmac(algorithm, &printed(&key), text.as_bytes()).ok_or_else(|| bad("no such HMAC"))?, as_.as_deref()))
        });
    }
}

/// `{{ time | date("%d.%m.%Y %H:%M", "Europe/Berlin") }}`; UTC without a zone.
fn date(value: Value, format: String, zone: Option<String>) -> Answer {
    on_text(value, |text| {
        let at: Timestamp = text.parse().map_err(|_| bad("date needs a time macro, e.g. time | date(..)"))?;
        let zone = match zone {
            Some(name) => TimeZone::get(&name).map_err(|_| bad("there is no such time zone; write one like Europe/Berlin"))?,
            None => TimeZone::UTC,
        };
        let mut out = String::new();
        let mut writer = jiff::fmt::StdFmtWrite(&mut out);
        jiff::fmt::strtime::BrokenDownTime::from(&at.to_zoned(zone))
            .format(&format, &mut writer)
            .map_err(|_| bad("the date format cannot be read; it is written as for strftime, e.g. %Y-%m-%d"))?;
        Ok(out.into())
    })
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::{
        super::{Place, Template},
        *,
    };

    fn render(source: &str) -> String {
        let usd = money::Currency::parse("USD");
        let macros = context! { amount => Num::money("-12.5".parse().expect("decimal"), usd), jpy => Num::money(Decimal::from(1200), money::Currency::parse("JPY")),
        big => Num::plain("1234567890123456789.01".into()), mail => " A@B.C ", time => "2026-03-01T23:30:00Z", list => vec!["a", "b"] };
        Template::compile(source, Place::Value).expect(source).render(&macros).unwrap_or_else(|fault| panic!("{source}: {fault:?}"))
    }

    #[test]
    fn every_digit_survives() {
        for (source, want) in [
            ("{{ amount }}", "-12.50"),
            ("{{ amount | minor }}", "-1250"),
            ("{{ amount | micros }}", "-12500000"),
            ("{{ amount | negate }}", "12.50"),
            ("{{ amount | decimal(1) }}", "-12.5"),
            ("{{ jpy }} {{ jpy | minor }}", "1200 1200"),
            ("{{ big | number }}", "1234567890123456789.01"),
            ("{{ big | minor('KWD') }}", "1234567890123456789010"),
            ("{{ 'y' if big is above('1234567890123456789.009') else 'n' }}", "y"),
            ("{{ '79228162514264337593543950335' | decimal(12) }}", "79228162514264337593543950335.000000000000"),
            ("{{ '-0.001' | decimal(2) }} {{ '7' | decimal(0) }}", "0.00 7"),
            ("{{ 'y' if 'a' is in(nothing) else 'n' }}", "n"),
            ("{{ list | join('|') }}", "a|b"),
            ("{{ time | date('%d.%m.%Y %H:%M', 'Europe/Berlin') }}", "02.03.2026 00:30"),
            ("{{ mail | email }}", "a@b.c"),
            ("{{ 'abc' | md5 }}", "900150983cd24fb0d6963f7d28e17f72"),
            ("{{ 'abc' | sha256 }}", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            ("{{ 'abc' | sha1 }}", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            ("{{ 'what do ya want for nothing?' | hmac_sha256('Jefe') }}", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            ("{{ 'what do ya want for nothing?' | hmac_sha1('Jefe') }}", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            ("{{ 'what do ya want for nothing?' | hmac_md5('Jefe') }}", "750c783e6ab0b503eaa86e310a5db738"),
            ("{{ 'what do ya want for nothing?' | hmac_md5('Jefe', 'base64') }}", "dQx4PmqwtQPqqG4xCl23OA=="),
            ("{{ '0049 (30) 12' | phone }} {{ '+1 2' | phone }} {{ '030' | phone }}", "+493012 +12 030"),
        ] {
            assert_eq!(render(source), want, "{source}");
        }
    }
}
