//! pg_upgrade keeps transaction ids, and gives the cluster another identifier.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn after_pg_upgrade_reading_goes_on_where_it_was() {
    let shop = Shop::new().await;
    let old = &shop.stage.db;
    let mut daemon = Daemon::start(shop.config()).await;
    for order in ["1", "2"] {
        purchase(old, order).await;
    }
    shop.settled(old, &["1", "2"]).await;
    daemon.kill9();
    purchase(old, "left").await;
    let new = foreign();
    shop.local.down("fast").expect("stopping the old one");
    new.down("fast").expect("stopping the new one");
    new.upgrade_from(&shop.local).expect("pg_upgrade");
    new.up().expect("starting the new one");
    let mut url = url::Url::parse(new.url()).expect("a URL");
    url.set_path(shop.stage.database.name());
    let config = shop.config_at(url.as_str());
    let why = refused(&config).await;
    assert!(why.contains("postbackd rebase --same-xids"), "{why}");
    let done = json(&config, &["rebase", "--same-xids", "--yes", "--json"]);
    assert_eq!((&done["neutralised"], &done["in_doubt"]), (&0.into(), &0.into()), "{done}");
    let _moved = Daemon::start(config).await;
    let (db, driver) = tokio_postgres::connect(url.as_str(), tokio_postgres::NoTls).await.expect("the new cluster");
    tokio::spawn(driver);
    purchase(&db, "after").await;
    shop.settled(&db, &["1", "2", "left", "after"]).await;
    for path in ["/safe", "/once"] {
        assert_eq!(shop.came(path).into_values().collect::<Vec<_>>(), [1, 1, 1, 1], "{path}: {:?}", shop.came(path));
    }
}
