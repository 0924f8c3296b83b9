//! What the page shows, and what its actions do.

use super::{Visitor, shop_with, unescaped, with_apple, with_page};
use crate::{apple, support::receiver::Behaviour};

/// In every field that a shop, a visitor or a platform fills.
const HOSTILE: &str = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>{{7*7}}";

#[tokio::test(flavor = "multi_thread")]
async fn an_order_shows_what_each_platform_got_and_no_person() {
    let (_stage, daemon) = shop_with(&[], with_page).await;
    let ada = Visitor::ada(&daemon).await;
    let page = unescaped(&ada.get("/order?ref=good").await.page());
    for part in ["10 EUR", "refunded <b>4</b>", "purchase", "refund", "delivered", "1 attempt", "200", "curl -sS", "/d?id=purchase-good&order=good"] {
        assert!(page.contains(part), "{part:?} is missing: {page}");
    }
    assert!(!page.to_lowercase().contains("ada.canary") && !page.contains("0123456789"), "{page}");
    let page = unescaped(&ada.get("/order?ref=bad").await.page());
    assert!(page.contains("dead") && page.contains("HTTP 400") && page.contains("/confirm?do=retry&event="), "{page}");
    let none = ada.get("/order?ref=nobody").await;
    assert!(none.status == 404 && none.body.contains("Nothing is known of order nobody"), "{none:?}");
    let lately = unescaped(&ada.get("/order").await.page());
    assert!(lately.contains("/order?ref=good") && lately.contains("/order?ref=bad"), "{lately}");
    let overview = unescaped(&ada.get("/").await.page());
    for part in ["1 delivery to d is dead", "/dead?destination=d", "works", "HTTP 400"] {
        assert!(overview.contains(part), "{part:?} is missing: {overview}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_retried_under_a_name() {
    let (stage, daemon) = shop_with(&[], with_page).await;
    stage.receiver.always(Behaviour::body(400, "no such pixel"));
    stage.shop("select postback.purchase('worse', 30, 'EUR', '{}')").await;
    stage.until("select count(*) from postback.pending where state = 'dead'", "2").await;
    let ada = Visitor::ada(&daemon).await;
    let list = unescaped(&ada.get("/dead").await.page());
    assert!(list.contains("<b>2</b> deliveries match") && list.contains("/order?ref=bad") && list.contains("/order?ref=worse"), "{list}");
    let list = unescaped(&ada.get("/dead?order=worse").await.page());
    assert!(list.contains("<b>1</b> delivery matches") && !list.contains("/order?ref=bad"), "{list}");
    let question = ada.get("/confirm?do=retry&order=worse&to=%2Fdead%3Forder%3Dworse").await.page();
    assert!(question.contains("Retry 1 delivery?") && question.contains("Retry it"), "{question}");
    stage.receiver.always(Behaviour::status(200));
    let answer = ada.act(&question).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    let done = unescaped(&ada.get(answer.header("location")).await.page());
    assert!(done.contains("1 delivery judged again now") && done.contains("Ada (page)") && done.contains("href=\"/dead?order=worse\""), "{done}");
    stage.until("select string_agg(order_ref, ',') from postback.pending where state = 'dead'", "bad").await;
    assert_eq!(stage.text("select who from postback.command").await, "Ada (page)");
    // What was shown is what is meant: one that came later is not.
    let question = ada.get("/confirm?do=discard").await.page();
    stage.receiver.always(Behaviour::body(400, "no such pixel"));
    stage.shop("select postback.purchase('later', 30, 'EUR', '{}')").await;
    stage.until("select count(*) from postback.pending where state = 'dead'", "2").await;
    assert_eq!(ada.act(&question).await.status, 303);
    stage.until("select string_agg(order_ref, ',') from postback.pending where state = 'dead'", "later").await;
    let gone = ada.get("/confirm?do=retry&order=bad").await;
    assert!(gone.status == 404 && gone.body.contains("Nothing dead matches any more"), "{gone:?}");
    let actions = unescaped(&ada.get("/actions").await.page());
    assert!(actions.contains("retry dead deliveries: order worse") && actions.contains("discard dead deliveries"), "{actions}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_is_paused_and_resumed() {
    let (stage, daemon) = shop_with(&[], with_page).await;
    let ada = Visitor::ada(&daemon).await;
    let page = unescaped(&ada.get("/destination/d").await.page());
    for part in ["works", "/confirm?do=pause&destination=d", "Requests at a time", "postback", "good", "HTTP 400"] {
        assert!(page.contains(part), "{part:?} is missing: {page}");
    }
    let question = ada.get("/confirm?do=pause&destination=d&to=/destination/d").await.page();
    ada.act(&question).await;
    stage.until("select paused from postback.position", "true").await;
    let page = unescaped(&ada.get("/destination/d").await.page());
    assert!(page.contains("paused") && page.contains("/confirm?do=resume&destination=d"), "{page}");
    assert!(ada.get("/").await.page().contains("d is paused"));
    ada.act(&ada.get("/confirm?do=resume&destination=d").await.page()).await;
    stage.until("select paused from postback.position", "false").await;
    assert_eq!(ada.get("/destination/nobody").await.status, 404);
    assert_eq!(ada.get("/confirm?do=pause&destination=nobody").await.status, 404);
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_doubt_is_resolved() {
    let (stage, daemon) = shop_with(&[("resend", "\"never\"")], with_page).await;
    stage.receiver.always(Behaviour::Hang);
    stage.shop("select postback.purchase('doubt', 20, 'EUR', '{}')").await;
    stage.until("select count(*) from postback.pending where state = 'unknown'", "1").await;
    let ada = Visitor::ada(&daemon).await;
    let list = unescaped(&ada.get("/unknown").await.page());
    assert!(list.contains("/order?ref=doubt") && list.contains("/confirm?do=not-arrived"), "{list}");
    let question = ada.get("/confirm?do=arrived&order=doubt").await.page();
    ada.act(&question).await;
    stage.until("select outcome from postback.attempt order by at desc limit 1", "delivered").await;
    assert!(ada.get("/unknown").await.page().contains("No delivery is in doubt"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_words_stay_words() {
    let (stage, daemon) = shop_with(&[], with_page).await;
    stage.receiver.always(Behaviour::body(400, HOSTILE));
    let quoted = HOSTILE.replace('\'', "''");
    stage
        .shop(&format!(
            "select postback.purchase('{quoted}', 10, 'EUR', jsonb_build_object('email', '{quoted}', 'gclid', '{quoted}'));
             select postback.refund('{quoted}', '{quoted}', 1);
             insert into postback.command (who, what, answer) values ('{quoted}', jsonb_build_object('do', 'pause', 'destination', '{quoted}'), jsonb_build_object('ok', true, 'count', 1, 'text', '{quoted}'));"
        ))
        .await;
    stage.until("select count(*) from postback.pending where state = 'dead'", "2").await;
    stage.shop(&format!("update postback.pending set reason = '{quoted}'; update postback.attempt set reason = '{quoted}' where outcome = 'dead'; update postback.tally set reason = '{quoted}'; update postback.position set halted = '{quoted}'")).await;
    let mut ada = Visitor::new(&daemon).await;
    let answer = ada.post("/login", &[("token", super::TOKEN), ("name", HOSTILE), ("to", "/")]).await;
    ada.cookie = answer.header("set-cookie").split(';').next().map(str::to_owned);
    let hostile = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect::<String>();
    let paths = [
        "/".to_owned(),
        format!("/order?ref={hostile}"),
        format!("/order?ref=x{hostile}"),
        "/order".to_owned(),
        "/dead".to_owned(),
        format!("/dead?reason={hostile}&order={hostile}"),
        format!("/dead?kind={hostile}&destination={hostile}"),
        "/destination/d".to_owned(),
        format!("/destination/{}", hostile.replace('+', "%20")),
        format!("/confirm?do=retry&reason={hostile}&to={hostile}"),
        format!("/confirm?do=pause&destination={hostile}"),
        "/actions".to_owned(),
        "/actions/1".to_owned(),
        format!("/report?from={hostile}"),
        format!("/login?to={hostile}"),
        format!("/{}", hostile.replace('+', "%20")),
    ];
    let mut seen = 0;
    for path in paths {
        let answer = ada.get(&path).await;
        for live in ["<script>alert", "<img src=x", "onerror=alert(2)>", "\"'&<"] {
            assert!(!answer.body.contains(live), "{path} has {live:?}: {}", answer.body);
        }
        assert!(answer.status < 500 && !answer.body.contains("49}}") && !answer.body.contains("</script>\"49"), "{path}: {}", answer.status);
        seen += usize::from(answer.body.contains("&lt;script&gt;alert(1)&lt;&#x2f;script&gt;"));
    }
    assert!(seen >= 12, "the words are there as words: {seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_means_nothing_is_told_so_on_a_page() {
    let (_stage, daemon) = shop_with(&[], with_page).await;
    let ada = Visitor::ada(&daemon).await;
    for (path, status) in [
        ("/dead?seq=%3Cscript%3Ealert", 400),
        ("/confirm?do=explode", 400),
        ("/confirm?do=retry&event=1e9", 400),
        ("/destination/d?below=low", 400),
        ("/actions/99999999999999999999", 404),
        ("/actions/x", 404),
        ("/order?ref=%ff%fe", 404),
        ("/order?ref=a&ref=b", 400),
        ("/report?from=9999-99-99", 400),
        ("/report.csv?from=0", 400),
    ] {
        let answer = ada.get(path).await;
        assert!(
            answer.status == status && answer.body.contains("<h1>") && !answer.body.contains("<script>alert") && answer.body.contains("</nav>"),
            "{path}: {answer:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_apples_devices_sent_is_shown_with_what_it_means() {
    let (stage, daemon) = shop_with(&[], with_apple).await;
    let ada = Visitor::ada(&daemon).await;
    assert!(ada.get("/apple").await.page().contains("Nothing came."));
    let port = apple::port(&daemon).await;
    let sample = apple::sample("skadnetwork-4.0-fine.json");
    let altered = |from: &str, to: &str| String::from_utf8(sample.clone()).expect("text").replace(from, to).into_bytes();
    let forged = altered("com.example", HOSTILE.replace('"', "'").as_str());
    let bodies = [(sample.clone(), 200), (sample.clone(), 200), (forged, 200), (altered("\"4.0\"", "\"5.0\""), 200), (b"{".to_vec(), 400)];
    for (body, status) in &bodies {
        assert_eq!(apple::post(port, apple::SKAN, body).await, *status);
    }
    stage.until("select coalesce(sum(count), 0) from postback.apple_count", "5").await;
    let page = unescaped(&ada.get("/apple").await.page());
    let said = "/order?ref=skadnetwork-6aafb7a5-0170-41b5-bbe4-fe71dedf1e30-0";
    for part in ["unknown_version", "malformed", "duplicate", "5239", "bought", "49.90 EUR", "Shop", said] {
        assert!(page.contains(part), "{part:?} is missing: {page}");
    }
    let raw = ada.get("/apple?verdict=invalid").await.page();
    assert!(raw.contains("&lt;script&gt;alert(1)") && !raw.contains("<script>alert"), "{raw}");
    assert_eq!(ada.get("/apple?verdict=x").await.status, 400);
    assert!(unescaped(&ada.get(said).await.page()).contains("install"));
    let overview = ada.get("/").await.page();
    assert!(unescaped(&overview).contains("1 postback of Apple's today"), "{overview}");
    assert!(overview.contains("<dt><span class=\"state good\">verified</span></dt><dd>1</dd>"), "{overview}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_pages_follow_what_happens_and_the_next_one_is_told() {
    let (stage, daemon) = shop_with(&[], with_page).await;
    let ada = Visitor::ada(&daemon).await;
    let mut streams = Vec::new();
    for _ in 0..40 {
        let mut stream = ada.connected("GET", "/updates", &[], "").await;
        read_until(&mut stream, "event: overview").await;
        streams.push(stream);
    }
    assert_eq!(ada.get("/updates").await.status, 503);
    // Neither do they hold up other pages, or health.
    assert_eq!((ada.get("/").await.status, ada.get("/live").await.status), (200, 200));
    stage.shop("select postback.purchase('arrives', 10, 'EUR', '{}')").await;
    for stream in &mut streams {
        read_until(stream, "arrives").await;
    }
    streams.pop();
    // A place that is left is free as soon as the server has noticed.
    let began = std::time::Instant::now();
    while !status_line(&mut ada.connected("GET", "/updates", &[], "").await).await.contains("200") {
        assert!(began.elapsed().as_secs() < 40, "a place that was left is not free");
    }
}

async fn status_line(stream: &mut tokio::net::TcpStream) -> String {
    use tokio::io::AsyncReadExt as _;
    let mut head = [0; 15];
    stream.read_exact(&mut head).await.expect("a status");
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads on until this has come.
async fn read_until(stream: &mut tokio::net::TcpStream, part: &str) {
    use tokio::io::AsyncReadExt as _;
    let reading = async {
        let (mut text, mut buffer) = (String::new(), vec![0; 65_536]);
        while !text.contains(part) {
            let count = stream.read(&mut buffer).await.expect("the stream");
            assert!(count > 0, "it ended before {part:?}: {text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(40), reading).await.unwrap_or_else(|_| panic!("{part:?} did not come"));
}
