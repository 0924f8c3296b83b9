//! What is told at all, and why not.

use super::{Stage, state_sql};
use crate::support::{daemon::Daemon, receiver::Behaviour};

#[tokio::test(flavor = "multi_thread")]
async fn a_committed_order_is_told_once_and_a_rolled_back_one_never() {
    let stage = Stage::new().await;
    let _daemon = stage.daemon(&[]).await;
    stage.shop("begin; select postback.purchase('rolled', 5, 'EUR', '{}'); rollback").await;
    stage.shop("begin; savepoint s; select postback.purchase('undone', 5, 'EUR', '{}'); rollback to s; select postback.purchase('1001', 140.98, 'EUR', '{}'); commit").await;
    stage.shop("select postback.purchase('1001', 150, 'EUR', '{}')").await;
    stage.settled().await;
    let log = stage.receiver.at("/d");
    assert_eq!(stage.ids(), ["purchase-1001"]);
    assert_eq!(log[0].param("value").as_deref(), Some("140.98"));
    assert_eq!(
        stage.text("select string_agg(outcome || coalesce(': ' || reason, ''), '; ' order by event) from postback.attempt").await,
        "delivered; skipped: said before"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_before_the_commit() {
    let stage = Stage::new().await;
    let _daemon = stage.daemon(&[]).await;
    let other = stage.database.connect().await;
    other.batch_execute("begin; select postback.purchase('late', 1, 'EUR', '{}')").await.expect("the shop writes");
    stage.shop("select postback.purchase('early', 1, 'EUR', '{}')").await;
    stage.receiver.wait_for(1).await;
    // The open transaction's event has the lower id, and is not missed when it commits after the later one was told.
    assert_eq!(stage.ids(), ["purchase-early"]);
    other.batch_execute("commit").await.expect("the shop commits");
    stage.receiver.wait_for(2).await;
    assert_eq!(stage.ids(), ["purchase-early", "purchase-late"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_is_told_when_it_commits() {
    let stage = Stage::new().await;
    let _daemon = stage.daemon(&[]).await;
    let name = stage.database.name().to_owned();
    stage.shop(&format!("begin; select postback.purchase('p', 1, 'EUR', '{{}}'); prepare transaction '{name}'")).await;
    stage.shop("select postback.purchase('q', 1, 'EUR', '{}')").await;
    stage.receiver.wait_for(1).await;
    stage.shop(&format!("commit prepared '{name}'")).await;
    stage.receiver.wait_for(2).await;
    assert_eq!(stage.ids(), ["purchase-q", "purchase-p"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_that_comes_late_is_judged_again_and_only_once() {
    let stage = Stage::new().await;
    let _daemon = stage.daemon(&[("click", "[\"gclid\"]")]).await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}'); select postback.refund('1', 'r', 4)").await;
    stage.state(1, "skipped: no gclid").await;
    stage.state(2, "skipped: purchase not sent here: no gclid").await;
    stage.shop("select postback.enrich('1', '{\"gclid\": \"abc\"}')").await;
    stage.state(2, "delivered").await;
    stage.shop("select postback.enrich('1', '{\"gclid\": \"xyz\"}')").await;
    stage.state(4, "skipped: already sent").await;
    stage.settled().await;
    assert_eq!(stage.ids(), ["purchase-1", "refund-1-r"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_is_asked_for_and_read_again_before_each_attempt() {
    let stage = Stage::new().await;
    let _daemon = stage.daemon(&[("consent", "[\"ad_user_data\"]")]).await;
    stage.shop("select postback.purchase('no', 9, 'EUR', '{\"consent\": {\"ad_user_data\": \"denied\"}}')").await;
    stage.state(1, "skipped: consent: ad_user_data denied").await;
    stage.receiver.always(Behaviour::status(503));
    stage.shop("select postback.purchase('withdrawn', 9, 'EUR', '{\"consent\": {\"ad_user_data\": \"granted\"}}')").await;
    stage.receiver.wait_for(1).await;
    assert_eq!(stage.ids()[0], "purchase-withdrawn");
    // It was refused once and would be taken now; the person has changed their mind meanwhile.
    stage.shop("select postback.enrich('withdrawn', '{\"consent\": {\"ad_user_data\": \"denied\"}}')").await;
    stage.state(2, "skipped: consent: ad_user_data denied").await;
    stage.receiver.always(Behaviour::status(200));
    stage.shop("select postback.purchase('after', 9, 'EUR', '{\"consent\": {\"ad_user_data\": \"granted\"}}')").await;
    stage.state(4, "delivered").await;
    stage.settled().await;
    let taken: Vec<String> = stage.receiver.log().iter().filter(|arrival| arrival.taken()).map(|arrival| arrival.id()).collect();
    assert_eq!(taken, ["purchase-after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_is_withdrawn_cancels_what_is_held() {
    let stage = Stage::new().await;
    let config = stage.config(&[("consent", "[\"ad_user_data\"]"), ("hold", "\"1h\"")]);
    let mut daemon = Daemon::start(config.clone()).await;
    stage.shop("select postback.purchase('held', 9, 'EUR', '{\"consent\": {\"ad_user_data\": \"granted\"}}')").await;
    stage.until("select state from postback.pending where event = 1", "held").await;
    stage.shop("select postback.enrich('held', '{\"consent\": {\"ad_user_data\": \"denied\"}}')").await;
    // It stands in the order's lane behind the purchase; the ledger has it at once.
    stage.until("select who #>> '{consent,ad_user_data}' from postback.sale", "denied").await;
    assert!(daemon.term().await.success(), "{}", daemon.stderr());
    // An hour and more passes.
    stage.shop("update postback.pending set next_at = now(); update postback.event set occurred_at = occurred_at - interval '2 hours'").await;
    let _daemon = Daemon::start(config).await;
    stage.state(1, "skipped: consent: ad_user_data denied").await;
    assert_eq!(stage.ids(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_and_filters_leave_a_reason() {
    let stage = Stage::new().await;
    let _daemon = stage.daemon(&[("kinds", "[\"purchase\"]"), ("when", "'value >= 10'")]).await;
    stage.shop("select postback.purchase('small', 9.99, 'EUR', '{}'); select postback.purchase('big', 10.00, 'EUR', '{}'); select postback.refund('big', 'r', 1)").await;
    stage.settled().await;
    assert_eq!(stage.ids(), ["purchase-big"]);
    assert!(stage.text(&state_sql("d", 1)).await.starts_with("skipped: "));
    stage.state(3, "skipped: refund not wanted here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_read_are_dead_and_the_window_goes_on() {
    let stage = Stage::new().await;
    let _daemon = stage.daemon(&[]).await;
    stage
        .shop(
            "insert into postback.event (kind, ref, payload) values
               ('purchase', 'a', '[]'), ('party', 'b', '{}'), ('purchase', 'c', '{\"value\": \"NaN\", \"currency\": \"EUR\"}'),
               ('refund', 'd', '{\"refund_ref\": \"r\", \"amount\": \"-1\"}'), ('purchase', 'e', '{\"value\": \"7\", \"currency\": \"EUR\"}')",
        )
        .await;
    stage.state(5, "delivered").await;
    let dead = stage.text("select string_agg(reason, '; ' order by event) from postback.pending where state = 'dead'").await;
    assert_eq!(
        dead,
        "unreadable: payload is not a JSON object; unreadable: unknown kind; unreadable: value is not a number; unreadable: amount is negative"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_and_dedupe_ids() {
    let stage = Stage::new().await;
    let _daemon = stage.daemon(&[]).await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}')").await;
    stage.state(1, "delivered").await;
    stage.shop("select postback.retract('1'); select postback.purchase('1', 8, 'EUR', '{}'); select postback.refund('1', 'x', 3)").await;
    stage.settled().await;
    assert_eq!(stage.ids(), ["purchase-1", "retract-1", "purchase-1.2", "refund-1.2-x"]);
    let values: Vec<_> = stage.receiver.at("/d").iter().map(|arrival| arrival.param("value").unwrap_or_default()).collect();
    assert_eq!(values, ["9.00", "9.00", "8.00", "3.00"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn settle_lets_a_later_transaction_take_an_order_back_unseen() {
    let stage = Stage::new().await;
    let _daemon = Daemon::start(stage.config(&[]).daemon("settle", "\"600ms\"")).await;
    stage.shop("select postback.purchase('gone', 9, 'EUR', '{}')").await;
    stage.shop("select postback.purchase('refunded', 9, 'EUR', '{}')").await;
    stage.shop("select postback.purchase('kept', 9, 'EUR', '{}')").await;
    stage.shop("select postback.retract('gone'); select postback.refund('refunded', 'a', 4); select postback.refund('refunded', 'b', 5)").await;
    stage.settled().await;
    assert_eq!(stage.ids(), ["purchase-kept"]);
    stage.state(1, "annulled: order retracted").await;
    stage.state(2, "annulled: refunded in full").await;
    stage.state(4, "annulled: its purchase was never sent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_held_until_they_are_old_enough() {
    let stage = Stage::new().await;
    let _daemon = stage.daemon(&[("hold", "\"2s\"")]).await;
    let clicked = "jsonb_build_object('clicked_at', clock_timestamp() - interval '1 hour')";
    stage.shop("select postback.purchase('waits', 9, 'EUR', '{}')").await;
    stage.shop(&format!("select postback.purchase('old-click', 9, 'EUR', {clicked})")).await;
    stage.until("select string_agg(order_ref || ' ' || state, ', ') from postback.pending", "waits held").await;
    stage.receiver.wait_for(2).await;
    assert_eq!(stage.ids(), ["purchase-old-click", "purchase-waits"]);
}
