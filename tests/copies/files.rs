//! Copies that are byte for byte the same, or beside the original in its own cluster.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_files_with_another_configuration_says_nothing() {
    let shop = Shop::new().await;
    let (stage, old) = (&shop.stage, &shop.stage.db);
    let named = |config: Config, name: &str| config.database("expect", &format!("\"{name}\""));
    let config = named(shop.config(), "shop-prod");
    let mut daemon = Daemon::start(config.clone()).await;
    // Something waits in pending, due at once, and something was never read.
    stage.receiver.always(Behaviour::status(429).header("retry-after", "2"));
    purchase(old, "retried").await;
    stage.until("select count(*) from postback.pending where state = 'retrying' and next_at is not null", "2").await;
    daemon.kill9();
    purchase(old, "left").await;
    let copied = Local::copy_of(&shop.local, false).expect("a copy of the files");
    let mut url = url::Url::parse(copied.url()).expect("a URL");
    url.set_path(stage.database.name());
    let before = stage.receiver.log().len();
    let why = refused(&named(shop.config_at(url.as_str()), "shop-staging")).await;
    assert!(why.contains("shop-prod") && why.contains("postbackd adopt shop-staging"), "{why}");
    let why = refused(&shop.config_at(url.as_str())).await;
    assert!(why.contains("expect = \"shop-prod\""), "{why}");
    assert_eq!(stage.receiver.log().len(), before, "{}", stage.receiver.dump());
    let status = json(&named(shop.config_at(url.as_str()), "shop-staging"), &["status", "--json"]);
    assert!(status["identity"]["refused"].as_str().is_some_and(|why| why.contains("shop-prod")), "{status}");
    let check = ends(&named(shop.config_at(url.as_str()), "shop-staging"), &["check"], 6);
    assert!(check.contains("identity: nothing is read or sent"), "{check}");
    // The original goes on as if nothing had been.
    stage.receiver.always(Behaviour::status(200));
    daemon.again().await;
    shop.settled(old, &["retried", "left"]).await;
    ends(&config, &["check"], 0);
    assert_eq!(json(&config, &["status", "--json"])["identity"]["name"], "shop-prod");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_within_the_cluster_is_another_database() {
    let shop = Shop::new().await;
    let mut daemon = Daemon::start(shop.config()).await;
    purchase(&shop.stage.db, "1").await;
    shop.settled(&shop.stage.db, &["1"]).await;
    daemon.term().await;
    drop(daemon);
    let name = shop.stage.database.name();
    let maintenance = shop.local.server().connect().await;
    run(&maintenance, &format!("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{name}'")).await;
    run(&maintenance, &format!("create database copied template {name}")).await;
    let url = shop.stage.database.url().replace(name, "copied");
    let before = shop.stage.receiver.log().len();
    let why = refused(&shop.config_at(&url)).await;
    assert!(why.contains("another database of this cluster"), "{why}");
    assert_eq!(shop.stage.receiver.log().len(), before);
}
