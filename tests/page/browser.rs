//! The page in a real browser: what people do with it, what it looks like, and what its policy lets through.

use serde_json::{Value, json};

use super::{TOKEN, shop_with, webdriver::Browser, with_apple, with_page};
use crate::{apple, support::receiver::Behaviour};

/// Would leave a mark if it were anything but words.
const HOSTILE: &str = "<img src=x onerror=\"window.hurt=1\"><script>window.hurt=2</script>\"'>&amp;{{7*7}}";

async fn log_in(browser: &Browser, to: &str) {
    browser.open(to).await;
    browser.reads("Your name").await;
    browser.fill("#name", "Ada").await;
    browser.fill("#token", TOKEN).await;
    browser.click("main button").await;
    browser.reads("Log out").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_works_with_it() {
    let (stage, daemon) = shop_with(&[], with_page).await;
    let Some(browser) = Browser::start(&daemon.web().await).await else { return };
    // Neither the wrong token nor, without one, any page.
    browser.open("/dead").await;
    browser.reads("Your name").await;
    browser.fill("#name", "Eve").await;
    browser.fill("#token", "wrong-token-0123456789").await;
    browser.click("main button").await;
    browser.reads("This is not the token").await;
    assert!(!browser.text().await.contains("Dead letters"));
    let refused = browser.complaints().await;
    assert!(refused.iter().all(|line| line.contains("401")), "{refused:?}");

    // Somebody without scripts retries a dead letter.
    browser.scripts(false).await;
    log_in(&browser, "/dead").await;
    assert_eq!(browser.place().await, "/dead");
    browser.reads("HTTP 400").await;
    stage.receiver.script(|_| None);
    browser.click("td.do a").await;
    browser.reads("Retry 1 delivery?").await;
    browser.click("main button.primary").await;
    browser.reads("1 delivery judged again now.").await;
    browser.reads("Ada (page)").await;
    stage.until("select count(*) from postback.pending", "0").await;
    browser.click("main .button").await;
    browser.reads("No delivery is dead.").await;
    browser.scripts(true).await;

    // By keyboard alone: past the navigation, or to an order.
    browser.open("/").await;
    browser.reads("Live").await;
    browser.press('\u{e004}').await;
    assert_eq!(browser.script("return document.activeElement.textContent").await, "Skip to the content");
    browser.press('\u{e007}').await;
    assert_eq!(browser.script("return document.activeElement.id").await, "main");
    browser.fill("#find", "good\u{e007}").await;
    browser.reads("10 EUR").await;
    assert_eq!(browser.place().await, "/order?ref=good");
    browser.click("details summary").await;
    browser.reads("HTTP").await;

    // A delivery arrives while somebody looks, without a reload, and what they have opened stays open.
    browser.open("/").await;
    browser.reads("Live").await;
    browser.script("window.same = true; document.querySelector('details').open = true").await;
    stage.shop("select postback.purchase('live-4711', 10, 'EUR', '{}')").await;
    browser.reads("live-4711").await;
    assert_eq!(browser.script("return window.same && document.querySelector('details').open").await, true);
    browser.click(".live button").await;
    browser.reads("Standing still").await;

    // Pause.
    browser.open("/destination/d").await;
    browser.reads("works").await;
    browser.click("main .head .buttons a").await;
    browser.reads("Pause d?").await;
    browser.click("main button.primary").await;
    browser.reads("d paused").await;
    assert_eq!(stage.text("select paused from postback.position").await, "true");
    browser.click("main .button").await;
    browser.reads("Resume").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.click(".me button").await;
    browser.reads("Your name").await;
    browser.close().await;
}

/// Names that every field and link has, one heading, nothing wider than the window, and text that can be read on its ground.
const JUDGE: &str = r#"
const wrong = [];
const box = document.documentElement;
if (box.scrollWidth > window.innerWidth) wrong.push("wider than the window: " + box.scrollWidth + " > " + window.innerWidth);
if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
if (!box.lang) wrong.push("no language");
for (const field of document.querySelectorAll("input:not([type=hidden]), select")) if (!field.labels.length) wrong.push("no label: " + field.outerHTML);
for (const link of document.querySelectorAll("a, button, summary")) if (!link.textContent.trim()) wrong.push("no name: " + link.outerHTML);
for (const head of document.querySelectorAll("th")) if (!head.scope) wrong.push("no scope: " + head.outerHTML);
const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
for (const id of ids) if (ids.filter((other) => other === id).length > 1) wrong.push("twice: #" + id);
const numbers = (text) => (text.match(/[\d.]+/g) || []).map(Number);
const light = (colour) => {
  const [r, g, b] = colour.map((part) => { const s = part / 255; return s <= 0.03928 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (one) => {
  for (let at = one; at; at = at.parentElement) {
    const [r, g, b, a = 1] = numbers(getComputedStyle(at).backgroundColor);
    if (a === 1 && r !== undefined) return [r, g, b];
  }
  return [255, 255, 255];
};
for (const one of document.querySelectorAll("body *")) {
  const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const area = one.getBoundingClientRect();
  if (!own || one.closest("svg") || one.matches(".unseen, .skip, option") || !area.width) continue;
  const [a, b] = [light(numbers(getComputedStyle(one).color).slice(0, 3)), light(ground(one))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) wrong.push("contrast " + ratio.toFixed(2) + ": " + one.outerHTML.slice(0, 120));
}
return wrong;
"#;

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_read_by_everybody_and_hostile_words_are_words() {
    let (stage, daemon) = shop_with(&[], with_apple).await;
    let port = apple::port(&daemon).await;
    for name in ["skadnetwork-4.0-fine.json", "skadnetwork-3.0-lost.json"] {
        assert_eq!(apple::post(port, apple::SKAN, &apple::sample(name)).await, 200);
    }
    let hurt = serde_json::to_string(HOSTILE).expect("text");
    let forged = String::from_utf8(apple::sample("skadnetwork-4.0-coarse.json")).expect("text").replace("\"com.example\"", &hurt);
    assert_eq!(apple::post(port, apple::SKAN, forged.as_bytes()).await, 200);
    stage.receiver.script(|arrival| arrival.order().contains("window").then(|| Behaviour::body(400, HOSTILE)));
    let quoted = HOSTILE.replace('\'', "''");
    stage
        .shop(&format!(
            "select postback.purchase('{quoted}', 10, 'EUR', jsonb_build_object('email', '{quoted}', 'gclid', '{quoted}'));
             select postback.refund('{quoted}', '{quoted}', 1); select postback.books('select ''good'' as order_ref, 10.00 as value, 3.00 as refunded, ''EUR'' as currency, now() as paid_at');
             insert into postback.command (who, what, answer) values ('{quoted}', jsonb_build_object('do', 'pause', 'destination', '{quoted}'), jsonb_build_object('ok', true, 'count', 1, 'text', '{quoted}'))"
        ))
        .await;
    stage.until("select count(*) from postback.pending where state = 'dead'", "2").await;
    // What a platform says is kept in words of our own; here it is as if it were not.
    stage.shop(&format!("update postback.pending set reason = '{quoted}' where order_ref <> 'bad'; update postback.tally set reason = '{quoted}' where outcome = 'dead'")).await;
    let hours = "insert into postback.tally select 'd', date_bin('5 min', now(), '2000-01-01 00:00+00') - n * interval '5 min', o.outcome, o.base + (n * 7919 + o.base) % (o.base + 3), null, null, now()
                   from generate_series(1, 66) n, (values ('delivered', 40), ('skipped', 9), ('retry', 2)) o(outcome, base) on conflict do nothing";
    stage.shop(hours).await;
    let Some(browser) = Browser::start(&daemon.web().await).await else { return };
    let hostile: String = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
    let pages = [
        ("overview", "/".to_owned()),
        ("order", "/order?ref=good".to_owned()),
        ("hostile", format!("/order?ref={hostile}")),
        ("orders", "/order".to_owned()),
        ("dead", "/dead".to_owned()),
        ("dead-narrowed", format!("/dead?reason={hostile}")),
        ("confirm", format!("/confirm?do=retry&reason={hostile}")),
        ("destination", "/destination/d".to_owned()),
        ("report", "/report".to_owned()),
        ("apple", "/apple".to_owned()),
        ("actions", "/actions".to_owned()),
        ("fault", format!("/destination/{}", hostile.replace('+', "%20"))),
    ];
    browser.look(1280, false).await;
    browser.open("/").await;
    browser.reads("Your name").await;
    assert_eq!(browser.script(JUDGE).await, json!([]));
    browser.screenshot("login-light").await;
    log_in(&browser, "/").await;
    browser.complaints().await;
    for (width, dark, look) in [(1280, false, "light"), (1280, true, "dark"), (360, false, "narrow"), (360, true, "narrow-dark")] {
        browser.look(width, dark).await;
        for (name, path) in &pages {
            browser.open(path).await;
            browser.script("for (const one of document.querySelectorAll('details')) one.open = true").await;
            let wrong = browser.script(JUDGE).await;
            browser.screenshot(&format!("{name}-{look}")).await;
            assert_eq!(wrong, json!([]), "{name} {look}");
            assert_eq!(browser.script("return window.hurt === undefined && !document.querySelector('main img')").await, true, "{name}");
        }
    }
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|line| line.contains("404")), "{complaints:?}");
    // The policy holds even for what would slip through a template.
    let slipped = "const script = document.createElement('script'); script.textContent = 'window.hurt = 3'; document.body.append(script);
                   const image = document.createElement('img'); image.src = 'http://127.0.0.1:1/x.png'; document.body.append(image); return window.hurt || 0";
    assert_eq!(browser.script(slipped).await, Value::from(0));
    browser.close().await;
}
