//! Installing, upgrading, refusing, removing.

use postbackd::outbox::schema::{self, MIGRATIONS, SchemaError, VERSION};

use crate::support::{
    postgres::{Server, bare_database, database},
    sql::{all, one, run},
};

#[tokio::test]
async fn installing_twice_changes_nothing() {
    let database = bare_database().await;
    let mut db = database.connect().await;
    assert!(matches!(schema::require(&db).await, Err(SchemaError::Missing)));
    assert!(matches!(schema::upgrade(&mut db).await, Err(SchemaError::Missing)));
    let applied = schema::install(&mut db, None).await.expect("installing");
    assert_eq!(applied.len(), MIGRATIONS.len());
    schema::require(&db).await.expect("installed");
    let before = describe(&db).await;
    assert!(schema::install(&mut db, None).await.expect("again").is_empty());
    assert!(schema::upgrade(&mut db).await.expect("upgrading").is_empty());
    assert_eq!(describe(&db).await, before);
}

#[tokio::test]
async fn two_installers_at_once_do_no_harm() {
    let database = bare_database().await;
    let (mut one, mut other) = (database.connect().await, database.connect().await);
    let (a, b) = tokio::join!(schema::install(&mut one, None), schema::install(&mut other, None));
    assert_eq!(a.expect("one").len() + b.expect("other").len(), MIGRATIONS.len());
}

#[tokio::test]
async fn the_text_for_dbas_gives_the_same_schema_and_may_run_twice() {
    let (ours, theirs) = (database().await, bare_database().await);
    let db = theirs.connect().await;
    run(&db, &schema::sql()).await;
    run(&db, &schema::sql()).await;
    schema::require(&db).await.expect("complete");
    assert_eq!(describe(&db).await, describe(&ours.connect().await).await);
}

#[tokio::test]
async fn an_older_and_a_newer_schema_are_refused_with_the_way_out() {
    let database = database().await;
    let mut db = database.connect().await;
    run(&db, &format!("delete from postback.migration where version = {VERSION}")).await;
    let why = schema::require(&db).await.expect_err("older");
    assert!(matches!(why, SchemaError::Older { found } if found == MIGRATIONS[MIGRATIONS.len() - 2].version), "{why}");
    assert!(why.to_string().contains("postbackd schema upgrade"), "{why}");
    run(&db, "delete from postback.migration where version = 2").await;
    assert!(matches!(schema::require(&db).await, Err(SchemaError::Older { found: 1 })));
    run(&db, "insert into postback.migration (version, name) values (9999, 'future')").await;
    assert!(matches!(schema::require(&db).await, Err(SchemaError::Newer { found: 9999 })));
    assert!(matches!(schema::install(&mut db, None).await, Err(SchemaError::Newer { found: 9999 })));
}

#[tokio::test]
async fn a_role_without_rights_is_told_which_grant_it_lacks() {
    let database = database().await;
    let why = schema::require(&database.connect_as("pbt_stranger").await).await.expect_err("forbidden");
    assert!(why.to_string().contains("grant postback_daemon to pbt_stranger"), "{why}");
    let bare = bare_database().await;
    let why = schema::install(&mut bare.connect_as("pbt_stranger").await, None).await.expect_err("no rights");
    assert!(why.to_string().contains("grant postback_owner to pbt_stranger"), "{why}");
}

#[tokio::test]
async fn no_superuser_is_needed_once_the_roles_are_there() {
    let server = Server::shared();
    drop(server.database().await); // the roles belong to the server
    let database = bare_database().await;
    database.role("pbt_dba", &["postback_owner"]).await;
    run(&database.connect().await, &format!("grant create on database {} to pbt_dba", database.name())).await;
    let mut db = database.connect_as("pbt_dba").await;
    schema::install(&mut db, None).await.expect("installing");
    assert_eq!(
        one::<i64>(&db, "select count(*) from pg_class where relnamespace = 'postback'::regnamespace and relowner <> 'postback_owner'::regrole")
            .await,
        0
    );
    run(&database.connect().await, "create schema shop authorization pbt_dba").await;
    run(&db, "create table shop.orders (id int primary key); select postback.attach('shop.orders', 'insert', 'true', 'perform postback.purchase(new.id::text, 1, ''EUR'', ''{}'')')").await;
    run(&db, "insert into shop.orders values (7)").await;
    assert_eq!(all::<String>(&db, "select ref from postback.event").await, ["7"]);
}

#[tokio::test]
async fn pages_may_print_the_dedupe_id() {
    let database = bare_database().await;
    database.role("pbt_app", &[]).await;
    schema::install(&mut database.connect().await, Some("pbt_app")).await.expect("installing");
    let app = database.connect_as("pbt_app").await;
    assert_eq!(one::<String>(&app, "select postback.event_id('purchase', '1')").await, "purchase-1");
    assert!(app.batch_execute("select * from postback.event").await.is_err());
    assert!(app.batch_execute("select postback.purchase('1', 1, 'EUR', '{}')").await.is_err());
}

#[tokio::test]
async fn removing_says_what_would_be_lost() {
    let database = database().await;
    let mut db = database.connect().await;
    run(&db, "create table public.t (id int); select postback.attach('public.t', 'insert', 'true', 'perform postback.purchase(new.id::text, 1, ''EUR'', ''{}'')')").await;
    run(&db, "insert into public.t values (1), (2)").await;
    let Err(SchemaError::Undelivered(loss)) = schema::uninstall(&mut db, false).await else { panic!("two events are unread") };
    assert_eq!((loss.events, loss.unread, loss.triggers), (2, 2, 1));
    assert!(schema::require(&db).await.is_ok(), "refusing must change nothing");
    assert_eq!(one::<i64>(&db, "select count(*) from pg_trigger where tgrelid = 'public.t'::regclass").await, 1);
    assert_eq!(schema::uninstall(&mut db, true).await.expect("forced"), loss);
    run(&db, "insert into public.t values (3)").await;
    assert!(matches!(schema::uninstall(&mut db, true).await, Err(SchemaError::Missing)));
}

#[tokio::test]
async fn removing_never_makes_the_shop_wait() {
    let database = database().await;
    let (mut db, shop) = (database.connect().await, database.connect().await);
    run(&db, "create table public.t (id int); select postback.attach('public.t', 'insert', 'true', 'select 1')").await;
    run(&shop, "begin; insert into public.t values (1)").await;
    let mut other = database.connect().await;
    let removing = schema::uninstall(&mut db, false);
    tokio::pin!(removing);
    // While the removal tries, others write: 20 times, each within what one attempt may hold.
    for _ in 0..20 {
        let write = other.transaction().await.expect("begin");
        write.batch_execute("set local lock_timeout = '1s'; insert into public.t values (2)").await.expect("the shop writes");
        tokio::select! {
            biased;
            done = &mut removing => panic!("removed under an open transaction: {done:?}"),
            committed = write.commit() => committed.expect("commit"),
        }
    }
    run(&shop, "commit").await;
    removing.await.expect("removed");
}

#[tokio::test]
async fn commits_notify_only_when_asked_to() {
    let database = database().await;
    let db = database.connect().await;
    let url = database.url().to_owned();
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let (listener, mut driver) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("connecting");
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|context| driver.poll_message(context)).await {
            if let tokio_postgres::AsyncMessage::Notification(told) = message {
                heard.send(told.payload().to_owned()).expect("the test waits");
            }
        }
    });
    let channel = postbackd::outbox::listen::CHANNEL;
    run(&listener, &format!("listen {channel}")).await;
    let say = "select postback.purchase('1', 1, 'EUR', '{}')";
    // What the test sends itself marks the end of what the purchase may have sent.
    run(&db, &format!("begin; {say}; commit; notify {channel}, 'mark'")).await;
    assert_eq!(hears.recv().await.as_deref(), Some("mark"), "nobody asked for it");
    for listen in [true, true] {
        schema::wake(&db, listen).await.expect("asking");
    }
    run(&db, &format!("begin; {say}; rollback; notify {channel}, 'mark'")).await;
    assert_eq!(hears.recv().await.as_deref(), Some("mark"), "nothing was committed");
    run(&db, say).await;
    assert_eq!(hears.recv().await.as_deref(), Some(""));
    assert!(all::<String>(&db, "select what from postback.doctor() where what like '%not registered%'").await.is_empty());
    schema::wake(&db, false).await.expect("asking");
    run(&db, &format!("begin; {say}; commit; notify {channel}, 'mark'")).await;
    assert_eq!(hears.recv().await.as_deref(), Some("mark"), "it was asked to stop");
}

/// `sql/schema.sql` shows in a diff what a migration does. To write it anew: POSTBACKD_BLESS=1 cargo test --test it schema::golden
#[tokio::test]
async fn golden() {
    let database = database().await;
    let now = describe(&database.connect().await).await;
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/schema.sql");
    if std::env::var_os("POSTBACKD_BLESS").is_some() {
        std::fs::write(&file, &now).expect("writing sql/schema.sql");
    }
    let golden = std::fs::read_to_string(&file).expect("reading sql/schema.sql");
    assert!(
        golden == now,
        "sql/schema.sql is not what the migrations give; look at the change, then: POSTBACKD_BLESS=1 cargo test --test it schema::golden"
    );
}

async fn describe(db: &tokio_postgres::Client) -> String {
    all::<String>(db, include_str!("support/describe.sql")).await.join("\n") + "\n"
}
