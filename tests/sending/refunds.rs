//! A refund waits for its purchase, and says what is true of it there.

use super::Stage;
use crate::support::receiver::Behaviour;

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_waits_until_its_purchase_is_delivered() {
    let stage = Stage::new().await;
    stage.receiver.next("/d", vec![Behaviour::status(503); 3]);
    let _daemon = stage.daemon(&[]).await;
    stage
        .shop("select postback.purchase('1', 9, 'EUR', '{}'); select postback.refund('1', 'r', 4); select postback.purchase('2', 9, 'EUR', '{}')")
        .await;
    stage.settled().await;
    let log = stage.receiver.at("/d");
    let taken = |id: &str| log.iter().find(|arrival| arrival.id() == id && arrival.taken()).expect("delivered").answered.expect("answered").0;
    let refund = log.iter().find(|arrival| arrival.id() == "refund-1-r").expect("told");
    assert!(refund.at >= taken("purchase-1"), "the refund was told before the purchase was taken");
    assert_eq!(stage.receiver.most_together("/d"), 1, "an order's events are told one at a time");
    assert_eq!(stage.text("select count(*) from postback.pending").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_of_a_dead_purchase_is_skipped_and_comes_back_with_it() {
    let stage = Stage::new().await;
    stage.receiver.always(Behaviour::status(400));
    let _daemon = stage.daemon(&[]).await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}'); select postback.refund('1', 'r', 4)").await;
    stage.until("select left(outcome || ': ' || reason, 31) from postback.attempt where event = 2", "skipped: purchase not sent here").await;
    assert_eq!(stage.ids(), ["purchase-1"]);
    stage.receiver.always(Behaviour::status(200));
    let answer = stage.command(r#"{"do": "retry-dead", "select": {"destination": "d"}}"#).await;
    assert_eq!(answer, "1 delivery judged again now");
    stage.state(2, "delivered").await;
    stage.settled().await;
    assert_eq!(stage.ids(), ["purchase-1", "purchase-1", "refund-1-r"]);
    assert_eq!(stage.text("select count(*) from postback.pending").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_refunds_that_wait_become_one_restatement() {
    let stage = Stage::new().await;
    stage.receiver.always(Behaviour::status(503));
    let url = format!("'{}?id={{{{ event_id }}}}&order={{{{ order_id }}}}&value={{{{ remaining }}}}&kind={{{{ event }}}}'", stage.receiver.url("/d"));
    let _daemon = stage.daemon(&[("refunds", "\"restate\""), ("url", &url)]).await;
    stage.shop("select postback.purchase('1', 100, 'EUR', '{}')").await;
    stage.receiver.wait_for(1).await;
    stage.shop("select postback.refund('1', 'a', 10); select postback.refund('1', 'b', 20); select postback.refund('1', 'c', 30)").await;
    stage.until("select last_seq from postback.ingest", "4").await;
    stage.receiver.forget();
    stage.receiver.always(Behaviour::status(200));
    stage.state(4, "delivered").await;
    stage.state(2, "delivered: covered by event 4").await;
    stage.state(3, "delivered: covered by event 4").await;
    let told: Vec<_> = stage.receiver.at("/d").iter().filter(|a| a.taken()).map(|a| (a.id(), a.param("value").unwrap_or_default())).collect();
    assert_eq!(told.last(), Some(&("refund-1-c".to_owned(), "40.00".to_owned())));
    assert_eq!(told.len(), 2);
    // One that comes alone is told alone.
    stage.shop("select postback.refund('1', 'd', 40)").await;
    stage.state(5, "delivered").await;
    assert_eq!(stage.receiver.at("/d").last().and_then(|a| a.param("value")).as_deref(), Some("0.00"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_without_a_sale_waits_for_a_backfill() {
    let stage = Stage::new().await;
    let _daemon = stage.daemon(&[]).await;
    stage.shop("select postback.refund('1', 'r', 4)").await;
    stage.state(1, "skipped: no sale known").await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}')").await;
    stage.state(1, "delivered").await;
    assert_eq!(stage.ids(), ["purchase-1", "refund-1-r"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retract_after_the_purchase_takes_back_what_is_left() {
    let stage = Stage::new().await;
    let _daemon = stage.daemon(&[]).await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}'); select postback.refund('1', 'r', 4)").await;
    stage.state(2, "delivered").await;
    stage.shop("select postback.retract('1'); select postback.refund('1', 'late', 1); select postback.retract('1')").await;
    stage.settled().await;
    let told: Vec<_> = stage.receiver.at("/d").iter().map(|a| (a.id(), a.param("value").unwrap_or_default())).collect();
    let want = [("purchase-1", "9.00"), ("refund-1-r", "4.00"), ("retract-1", "5.00")];
    assert_eq!(told, want.map(|(id, value)| (id.to_owned(), value.to_owned())));
    stage.state(4, "skipped: nothing left to take back").await;
    stage.state(5, "skipped: said before").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_over_refund_is_clamped_and_noted() {
    let stage = Stage::new().await;
    let _daemon = stage.daemon(&[]).await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}')").await;
    stage.state(1, "delivered").await;
    stage.shop("select postback.refund('1', 'r', 40); select postback.refund('1', 'again', 1)").await;
    stage.settled().await;
    assert_eq!(stage.receiver.at("/d").last().and_then(|a| a.param("value")).as_deref(), Some("9.00"));
    stage.state(3, "skipped: nothing left to take back").await;
    assert_eq!(stage.text("select count(*) from postback.trouble").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn platforms_without_refunds_say_so() {
    let stage = Stage::new().await;
    let _daemon = stage.daemon(&[("refunds", "\"none\"")]).await;
    stage.shop("select postback.purchase('1', 9, 'EUR', '{}'); select postback.refund('1', 'r', 4)").await;
    stage.state(2, "skipped: platform takes no refunds").await;
}
