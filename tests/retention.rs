//! What is past retention goes, with everything that it says of a person; keys and counts stay.

use tokio_postgres::types::{ToSql, Type};

use crate::{
    sending::Stage,
    support::sql::{all, one},
};

const CANARY: &str = "canary";

/// Tables whose rows hold a word, as a dump would show them.
async fn holding(stage: &Stage, word: &str) -> Vec<String> {
    let tables = "select c.relname from pg_class c where c.relnamespace = 'postback'::regnamespace and c.relkind = 'r' order by 1";
    let mut found = Vec::new();
    for table in all::<String>(&stage.db, tables).await {
        if one::<bool>(&stage.db, &format!("select exists (select from postback.{table} t where t::text ilike '%{word}%')")).await {
            found.push(table);
        }
    }
    found
}

/// How many entries of the stream pruning finds old, where these destinations are configured.
async fn old(stage: &Stage, retention: f64, configured: &[&str]) -> i64 {
    let params = [(&retention as &(dyn ToSql + Sync), Type::FLOAT8), (&100i64, Type::INT8), (&0i64, Type::INT8), (&configured, Type::TEXT_ARRAY)];
    stage.db.query_typed(include_str!("../sql/prune.sql"), &params).await.expect("pruning")[0].get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_past_retention_leaves_nothing_of_a_person() {
    let stage = Stage::new().await;
    let mut daemon = stage.daemon(&[]).await;
    stage
        .shop(
            r#"select postback.purchase('1', 10, 'EUR', '{"email": "canary@shop.example", "gclid": "canary-click"}', '{"items": [{"id": "canary-item"}]}'),
                      postback.refund('1', 'r', 4, '{"custom": "canary"}'), postback.enrich('1', '{"fbclid": "canary-late"}'),
                      postback.enrich('never', '{"email": "canary@shop.example"}'), postback.emit('lead', 'l', '{"phone": "canary"}'),
                      postback.purchase('2', 20, 'EUR', '{"email": "young@shop.example"}')"#,
        )
        .await;
    stage.settled().await;
    assert!(daemon.term().await.success());
    stage
        .shop(
            "insert into postback.trouble (what, sqlstate, message, new_row, done)
                  values ('t', '22000', 'canary', '{\"email\": \"canary\"}', now() - interval '31 days');
             update postback.log set at = now() - interval '121 days' where event < (select max(id) from postback.event)",
        )
        .await;
    assert_eq!(holding(&stage, CANARY).await, ["event", "receipt", "sale", "trouble"]);
    let daemon = stage.daemon(&[]).await;
    stage.until("select count(*) from postback.event", "1").await;
    assert_eq!(holding(&stage, CANARY).await, Vec::<String>::new());
    drop(daemon);
    // Who counts goes on counting, and a late refund finds its order.
    let sale = "select value::text || ' ' || refunded::text from postback.sale where order_ref = '1'";
    assert_eq!(one::<String>(&stage.db, sale).await, "10 4");
    assert_eq!(holding(&stage, "young").await, ["event"]);
    assert_eq!(old(&stage, 1.0e7, &[]).await, 0, "nothing is old any more");
}

/// A destination that left the configuration must not keep everybody's data for ever; one that another daemon works may.
#[tokio::test(flavor = "multi_thread")]
async fn who_left_the_configuration_holds_nothing_back() {
    let stage = Stage::new().await;
    let mut daemon = stage.daemon(&[]).await;
    stage.shop("select postback.purchase('1', 10, 'EUR', '{\"email\": \"canary@shop.example\"}')").await;
    stage.settled().await;
    assert!(daemon.term().await.success());
    stage
        .shop(
            "update postback.log set at = now() - interval '121 days';
             insert into postback.position (destination, seq, horizon, epoch, started, at) values ('left', 0, 0, 1, 0, now() - interval '2 days')",
        )
        .await;
    let months = 86_400.0 * 120.0;
    assert_eq!(old(&stage, months, &["tracker", "left"]).await, 0, "it waits for one that is configured");
    stage.shop("update postback.position set at = now() where destination = 'left'").await;
    assert_eq!(old(&stage, months, &["tracker"]).await, 0, "another daemon may have moved it");
    stage
        .shop(
            "update postback.daemon set checked = now(), released = null;
             update postback.position set at = now() - interval '2 days', daemon = (select max(id) from postback.daemon) where destination = 'left'",
        )
        .await;
    assert_eq!(old(&stage, months, &["tracker"]).await, 0, "another daemon holds it");
    stage.shop("update postback.position set daemon = null where destination = 'left'").await;
    assert_eq!(holding(&stage, CANARY).await, ["event"]);
    let daemon = stage.daemon(&[]).await;
    stage.until("select count(*) from postback.event", "0").await;
    assert_eq!(holding(&stage, CANARY).await, Vec::<String>::new());
    drop(daemon);
}
