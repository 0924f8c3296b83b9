//! The tests of the harness itself: a harness that cannot fail proves nothing.

use crate::support::postgres::{Server, bare_database, database};

#[tokio::test]
async fn every_test_gets_a_database_of_its_own() {
    let (one, other) = (database().await, database().await);
    one.connect().await.batch_execute("insert into postback.once values ('lead', 'a', 1)").await.expect("writing");
    let left: i64 = other.connect().await.query_one("select count(*) from postback.once", &[]).await.expect("reading").get(0);
    assert_eq!(left, 0);
    let name = one.name().to_owned();
    drop(one);
    let there = Server::shared().connect().await.query_one("select exists (select from pg_database where datname = $1)", &[&name]).await;
    assert!(!there.expect("looking").get::<_, bool>(0), "{name} is still there");
}

#[tokio::test]
async fn a_role_is_itself_and_no_superuser() {
    let database = bare_database().await;
    let row =
        database.connect_as("pbt_shop").await.query_one("select current_user::text, rolsuper from pg_roles where rolname = current_user", &[]).await;
    let row = row.expect("reading");
    assert_eq!((row.get::<_, &str>(0), row.get::<_, bool>(1)), ("pbt_shop", false));
}

#[tokio::test]
async fn a_private_server_loses_what_was_not_synced_and_keeps_the_rest() {
    let local = Server::private().await;
    let server = local.server();
    let client = server.connect().await;
    client.batch_execute("create table kept (n int); insert into kept values (1)").await.expect("writing");
    local.crash().expect("crashing");
    assert!(client.simple_query("select 1").await.is_err(), "the session has outlived its server");
    let kept: i64 = server.connect().await.query_one("select count(*) from kept", &[]).await.expect("reading").get(0);
    assert_eq!(kept, 1);
}
