//! Who may look, who may act, and what no browser may be talked into.

use super::{TOKEN, Visitor, shop_with, with_open_page, with_page};
use crate::{sending::Stage, support::daemon::Daemon};

const PAGES: [&str; 8] = ["/", "/order?ref=1", "/dead", "/unknown", "/destination/d", "/report", "/report.csv", "/actions"];

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_nothing_is_shown_without_it() {
    let (_stage, daemon) = shop_with(&[], with_page).await;
    let stranger = Visitor::new(&daemon).await;
    for path in PAGES.into_iter().chain(["/nothing", "/confirm?do=pause&destination=d", "/actions/1"]) {
        let answer = stranger.get(path).await;
        assert_eq!(answer.status, 303, "{path}: {answer:?}");
        assert!(answer.header("location").starts_with("/login?to=%2F"), "{path}: {answer:?}");
        assert!(!answer.body.contains("good"));
    }
    assert_eq!(stranger.get("/updates").await.status, 401);
    assert_eq!(stranger.post("/act", &[("do", "pause"), ("destination", "d")]).await.status, 401);
    for (token, name, status) in [("wrong-token-0123456789", "Ada", 401), ("", "Ada", 401), (TOKEN, " ", 400), (&TOKEN[..22], "Ada", 401)] {
        let answer = stranger.post("/login", &[("token", token), ("name", name)]).await;
        assert_eq!((answer.status, answer.header("set-cookie")), (status, ""), "{token:?}");
        assert!(!answer.body.contains(TOKEN));
    }
    let answer = stranger.post("/login", &[("token", TOKEN), ("name", "Ada"), ("to", "//evil.example/")]).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/"), "a login leads to no other site");
    let cookie = answer.header("set-cookie");
    assert!(cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Strict") && !cookie.contains("Secure"), "{cookie}");
    assert!(!cookie.contains(TOKEN));
    let https = [("Sec-Fetch-Site", "same-origin"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "192.0.2.1")];
    assert!(stranger.post_with("/login", &[("token", TOKEN), ("name", "Ada")], &https).await.header("set-cookie").contains("; Secure"));

    let ada = Visitor::ada(&daemon).await;
    for path in PAGES {
        let answer = ada.get(path).await;
        let want = if path.starts_with("/order?") { 404 } else { 200 };
        assert_eq!(answer.status, want, "{path}: {answer:?}");
        assert!(!answer.body.contains(TOKEN), "{path}");
    }
    // A cookie with another name, or of another token, opens nothing.
    let cookie = ada.cookie.clone().expect("logged in");
    for forged in [cookie.replace('.', "A."), format!("{cookie}A"), cookie.replace("postbackd-", "postbackd-1")] {
        assert_eq!(Visitor { cookie: Some(forged), ..ada.clone() }.get("/").await.status, 303);
    }
    let page = ada.get("/").await.page();
    let word = page.split("name=\"word\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("the word");
    assert_eq!(ada.post("/logout", &[("word", "x")]).await.status, 403);
    let answer = ada.post("/logout", &[("word", word)]).await;
    assert!(answer.status == 303 && answer.header("set-cookie").contains("Max-Age=0"), "{answer:?}");
    // Scripts send the token itself.
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(stranger.ask("GET", "/dead", &[("Authorization", &bearer)], "").await.status, 200);
    assert_eq!(stranger.ask("GET", "/dead", &[("Authorization", "Bearer wrong-token-0123456789")], "").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_this_machine_may_look_and_nobody_may_act() {
    let (stage, daemon) = shop_with(&[], with_open_page).await;
    let visitor = Visitor::new(&daemon).await;
    assert!(visitor.get("/").await.page().contains("good"));
    let port = visitor.address.rsplit(':').next().expect("a port").to_owned();
    for (host, status) in [("evil.example", 421), ("127.0.0.1.evil.example", 421), ("", 421), ("localhost", 200), (&format!("[::1]:{port}"), 200)] {
        let answer = visitor.ask("GET", "/order?ref=good", &[("Host", host)], "").await;
        assert!(answer.status == status && (status == 200 || !answer.body.contains("delivered")), "{host:?}: {answer:?}");
    }
    for passed_on in ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Host"] {
        assert_eq!(visitor.ask("GET", "/", &[(passed_on, "192.0.2.1")], "").await.status, 403, "{passed_on}");
    }
    for path in ["/confirm?do=retry", "/confirm?do=pause&destination=d"] {
        let answer = visitor.get(path).await;
        assert!(answer.status == 403 && answer.body.contains("[web] token"), "{answer:?}");
    }
    assert_eq!(visitor.post("/act", &[("do", "pause"), ("destination", "d")]).await.status, 403);
    assert_eq!(visitor.post("/login", &[("token", ""), ("name", "Ada")]).await.status, 403);
    assert_eq!(stage.text("select count(*) from postback.command").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_can_do_nothing_in_somebodys_name() {
    let (stage, daemon) = shop_with(&[], with_page).await;
    let ada = Visitor::ada(&daemon).await;
    let page = ada.get("/").await.page();
    let word = page.split("name=\"word\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("the word").to_owned();
    let own = format!("http://{}", ada.address);
    let form = [("do", "pause"), ("destination", "d"), ("word", word.as_str())];
    for headers in [
        &[("Sec-Fetch-Site", "cross-site")][..],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "none")],
        &[("Origin", "https://evil.example")],
        &[("Origin", "http://127.0.0.1:1")],
    ] {
        assert_eq!(ada.post_with("/act", &form, headers).await.status, 403, "{headers:?}");
    }
    let without = [("do", "pause"), ("destination", "d")];
    assert_eq!(ada.post("/act", &without).await.status, 403, "a form without the session's word");
    assert_eq!(ada.post("/act", &[("do", "pause"), ("destination", "d"), ("word", &word[1..])]).await.status, 403);
    // The word of another session of the same name.
    let other = Visitor::ada(&daemon).await;
    assert_eq!(other.post("/act", &form).await.status, 403);
    let json = ada.ask("POST", "/act", &[("Content-Type", "text/plain"), ("Sec-Fetch-Site", "same-origin")], "do=pause&destination=d").await;
    assert!(json.status == 415 && ada.get("/act").await.status == 405, "{json:?}");
    assert_eq!(stage.text("select count(*) from postback.command").await, "0");
    assert_eq!(ada.post_with("/act", &form, &[("Origin", &own)]).await.status, 303, "ours does");
    assert_eq!(stage.text("select who || ': ' || (what ->> 'do') from postback.command").await, "Ada (page): pause");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_its_guards() {
    let stage = Stage::new().await;
    let daemon = Daemon::start(with_page(stage.config(&[]))).await;
    let ada = Visitor::ada(&daemon).await;
    let page = ada.get("/").await;
    let style = super::unescaped(&page.body);
    let style = style.split("href=\"/assets/").nth(1).and_then(|rest| rest.split('"').next()).expect("the style").to_owned();
    for path in PAGES.into_iter().map(str::to_owned).chain(["/nothing".to_owned(), "/login".to_owned(), format!("/assets/{style}")]) {
        let answer = ada.get(&path).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!((answer.header("x-content-type-options"), answer.header("referrer-policy")), ("nosniff", "no-referrer"));
        assert_eq!(answer.header("cache-control").contains("no-store"), !path.starts_with("/assets/"), "{path}");
        for inline in ["<style", " style=", " onclick=", "javascript:", "<script>"] {
            assert!(!answer.body.contains(inline) || path.starts_with("/assets/"), "{path} has {inline}");
        }
    }
    assert_eq!(ada.get("/nothing").await.status, 404);
    assert_eq!(ada.get("/assets/page-0.css").await.status, 404);
    let long = "x".repeat(70_000);
    assert_eq!(ada.post("/act", &[("do", "pause"), ("destination", &long)]).await.status, 413);
}
