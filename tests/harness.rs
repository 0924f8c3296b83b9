//! The tests of the harness itself: a harness that cannot fail proves nothing.

use std::io::Read;

use crate::support::postgres::{Server, bare_database, database};

/// Not a test: a server for many test processes, until standard input ends. Writes its URL to the file that
/// POSTBACKD_TEST_SERVE names.
#[test]
#[ignore = "started by tests/server.sh"]
fn serve() {
    let file = std::env::var("POSTBACKD_TEST_SERVE").expect("POSTBACKD_TEST_SERVE names a file");
    std::fs::write(format!("{file}.part"), Server::shared().url()).expect("writing the URL");
    std::fs::rename(format!("{file}.part"), file).expect("naming the file");
    std::io::stdin().read_to_end(&mut Vec::new()).expect("waiting for the end");
}

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

mod receiver {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        time::timeout,
    };

    use crate::support::receiver::{Behaviour, Receiver};

    async fn send(receiver: &Receiver, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", receiver.port())).await.expect("connecting");
        stream.write_all(text.as_bytes()).await.expect("writing");
        stream
    }

    async fn get(receiver: &Receiver, path: &str) -> std::io::Result<String> {
        let mut stream = send(receiver, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.map(|_| text)
    }

    #[tokio::test]
    async fn it_records_what_came_and_answers_in_the_order_told() {
        let receiver = Receiver::start();
        receiver.next("/a", [Behaviour::status(503).header("retry-after", "7"), Behaviour::body(202, "later")]);
        let answers = [get(&receiver, "/a?id=p%26q&order=7").await, get(&receiver, "/a?id=2").await, get(&receiver, "/a?id=3").await];
        let answers = answers.map(|answer| answer.expect("an answer"));
        assert!(answers[0].starts_with("HTTP/1.1 503") && answers[0].contains("retry-after: 7"), "{}", answers[0]);
        assert!(answers[1].starts_with("HTTP/1.1 202") && answers[1].ends_with("later"), "{}", answers[1]);
        assert!(answers[2].starts_with("HTTP/1.1 200"), "{}", answers[2]);
        let log = receiver.wait_for(3).await;
        assert_eq!((log[0].id(), log[0].order(), log[0].raw_query.as_str()), ("p&q".into(), "7".into(), "id=p%26q&order=7"));
        assert_eq!((log[0].taken(), log[1].taken()), (false, true));
        assert!(log[0].connection != log[1].connection);
    }

    #[tokio::test]
    async fn a_body_is_read_as_form_or_json() {
        let receiver = Receiver::start();
        for (kind, body) in [("application/json", r#"{"id":"j","order":12}"#), ("application/x-www-form-urlencoded", "id=f%2B&order=1")] {
            let length = body.len();
            let mut stream = send(
                &receiver,
                &format!("POST /b HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"),
            )
            .await;
            stream.read_to_end(&mut Vec::new()).await.expect("an answer");
        }
        let log = receiver.at("/b");
        assert_eq!((log[0].id(), log[0].order()), ("j".into(), "12".into()));
        assert_eq!((log[1].id(), log[1].order()), ("f+".into(), "1".into()));
    }

    #[tokio::test]
    async fn a_reset_is_a_reset_and_a_close_is_none() {
        let receiver = Receiver::start();
        for behaviour in [Behaviour::ResetBeforeBody, Behaviour::ResetAfterBody] {
            receiver.on("/r", behaviour);
            let why = get(&receiver, "/r").await.expect_err("a reset");
            assert_eq!(why.kind(), std::io::ErrorKind::ConnectionReset);
        }
        receiver.on("/r", Behaviour::Close);
        assert_eq!(get(&receiver, "/r").await.expect("an orderly end"), "");
        receiver.refuse(true);
        // The reset may overtake the client's own look at its new connection: then connecting fails with it.
        let refused = async { TcpStream::connect(("127.0.0.1", receiver.port())).await?.read(&mut [0]).await };
        assert_eq!(refused.await.expect_err("a reset").kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(receiver.log().len(), 3);
    }

    #[tokio::test]
    async fn a_hanging_request_ends_when_the_client_gives_up_and_is_counted_while_it_lasts() {
        let receiver = Receiver::start();
        receiver.always(Behaviour::Hang);
        let first = send(&receiver, "GET /h?order=1 HTTP/1.1\r\nhost: x\r\n\r\n").await;
        receiver.wait_for(1).await;
        let second = send(&receiver, "GET /h?order=1 HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let other = send(&receiver, "GET /h?order=2 HTTP/1.1\r\nhost: x\r\n\r\n").await;
        receiver.wait_for(3).await;
        assert_eq!(receiver.most_together("/h"), 2);
        drop((first, second));
        let log = receiver.wait_until("two that gave up", |log| log.iter().filter(|arrival| arrival.ended.is_some()).count() == 2).await;
        assert!(log.iter().all(|arrival| arrival.answered.is_none()));
        drop(other);
    }

    #[tokio::test]
    async fn a_slow_body_begins_at_once_and_a_wait_that_is_in_vain_fails() {
        let receiver = Receiver::start();
        receiver.always(Behaviour::Drip { piece: "x".into(), every: Duration::from_secs(3600), times: 2 });
        let mut stream = send(&receiver, "GET /s HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut head = vec![0; 64];
        let read = timeout(Duration::from_secs(10), stream.read(&mut head)).await.expect("headers before the body").expect("reading");
        assert!(head[..read].starts_with(b"HTTP/1.1 200"));
        let vain = tokio::spawn(async move { receiver.wait_within(Duration::from_millis(50), "a second request", |log| log.len() == 2).await });
        let panic = vain.await.expect_err("it has to fail").into_panic();
        assert!(panic.downcast_ref::<String>().expect("a text").contains("a second request"));
    }
}
