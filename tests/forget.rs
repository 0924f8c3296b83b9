//! `postbackd forget`: nothing of a person is left in a dump of the schema, and the books stay.

use crate::{
    sending::Stage,
    support::{
        daemon::{Config, Daemon, command},
        postgres::{Local, Server},
        receiver::{Arrival, Behaviour, Receiver},
    },
};

/// A shop with a server of its own, whose programs are of the server's version.
struct Office {
    local: Local,
    stage: Stage,
}

impl Office {
    async fn new() -> Self {
        let local = Server::private().await;
        let database = local.server().database().await;
        let db = database.connect().await;
        Self { local, stage: Stage { database, receiver: Receiver::start(), db } }
    }

    /// All lines of a dump of the schema that hold a word, whatever its case.
    fn holding(&self, word: &str) -> Vec<String> {
        self.local.run("pg_dump", &["-n", "postback", "-f", "dump.sql", "-d", self.stage.database.url()]).expect("pg_dump");
        let dump = std::fs::read_to_string(self.local.directory().join("dump.sql")).expect("the dump");
        assert!(dump.contains("COPY postback.event"), "no dump of the schema");
        dump.lines().filter(|line| line.to_lowercase().contains(word)).map(str::to_owned).collect()
    }
}

fn say(config: &Config, arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(config, arguments);
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

const WHO: &str = r#"{"email": "Ada.CANARY@shop.example", "phone": "+49 canary 1", "first_name": "canary-first", "city": "canary-town", "gclid": "canary-click",
                      "external_id": "canary-id", "ip": "canary-ip", "nested": {"a": ["canary-deep"]}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_person_is_left_in_a_dump() {
    let office = Office::new().await;
    let stage = &office.stage;
    stage.receiver.script(|arrival: &Arrival| match arrival.order().as_str() {
        "dead" => Some(Behaviour::body(400, "canary-click is not known")),
        "later" => Some(Behaviour::status(503)),
        _ => None,
    });
    let config = stage.config(&[("retry", "{ first = \"12h\", max = \"24h\" }")]);
    let daemon = Daemon::start(config.clone()).await;
    stage
        .shop(&format!(
            r#"create table public.orders (id int primary key, total text, email text);
               select postback.attach('public.orders', 'insert', 'true', 'select postback.purchase(new.id::text, new.total::numeric, ''EUR'', jsonb_build_object(''email'', new.email))');
               select postback.purchase('told', 100, 'EUR', '{WHO}', '{{"items": [{{"id": "canary-item"}}], "tax": "19.00", "custom": "canary"}}'),
                      postback.refund('told', 'r1', 40, '{{"note": "canary"}}'), postback.enrich('told', '{{"fbclid": "canary-late"}}'),
                      postback.purchase('dead', 10, 'EUR', '{WHO}'), postback.purchase('later', 20, 'EUR', '{WHO}'),
                      postback.emit('lead', 'ada.canary@shop.example', '{WHO}'), postback.purchase('other', 5, 'EUR', '{{"email": "bob@shop.example"}}');
               insert into public.orders values (7, 'much', 'ada.canary@shop.example'), (8, 'much', 'bob@shop.example')"#
        ))
        .await;
    stage
        .until(
            "select string_agg(outcome, ',' order by event) from postback.attempt where outcome in ('delivered', 'dead', 'retry')",
            "delivered,delivered,dead,retry,delivered",
        )
        .await;
    // Words of a platform that quotes: of the buyer's click, and of an account that is named by its address alone.
    stage
        .shop(
            "update postback.tally set reason = 'canary-click is not known' where outcome in ('dead', 'retry');
             update postback.attempt a set reason = 'no ada.canary@shop.example' from postback.event e where e.id = a.event and e.kind = 'lead';
             update postback.event set payload = payload - 'who' where kind = 'lead'",
        )
        .await;
    assert!(office.holding("canary").len() >= 8, "{:#?}", office.holding("canary"));
    let (code, text) = say(&config, &["forget", "--email", "ada.Canary@Shop.example"]);
    assert!(code == Some(2) && text.contains("3 orders and 1 other events") && text.contains("--yes"), "{text}");
    let (code, text) = say(&config, &["forget", "--email", "ada.Canary@Shop.example", "--yes"]);
    assert!(code == Some(0) && text.contains("forgotten in 6 events"), "{text}");
    assert_eq!(office.holding("canary"), Vec::<String>::new());
    assert!(office.holding("bob@shop.example").len() >= 2, "another person's event and trouble stay");
    let books = "select string_agg(order_ref || ' ' || value || ' ' || refunded, ', ' order by order_ref) from postback.sale where event is not null";
    assert_eq!(stage.text(books).await, "dead 10 0, later 20 0, other 5 0, told 100 40");
    assert_eq!(stage.text("select count(*) from postback.trouble where done is null").await, "1");
    let net = "select payload #>> '{more,tax}' from postback.event where ref = 'told' and kind = 'purchase'";
    assert_eq!(stage.text(net).await, "19.00", "what reports need");
    // What waited is not told, not even by the daemon that had it in memory; a refund of what was told is.
    stage.shop("update postback.pending set next_at = now()").await;
    stage.receiver.script(|_| None);
    let (code, text) = say(&config, &["dead", "retry", "--all", "--yes"]);
    assert_eq!(code, Some(0), "{text}");
    stage.shop("select postback.refund('told', 'r2', 10), postback.purchase('end', 1, 'EUR', '{}')").await;
    stage.receiver.wait_until("what came last", |log| log.iter().any(|arrival| arrival.order() == "end" && arrival.taken())).await;
    stage.settled().await;
    let forgotten = "select string_agg(e.ref || ' ' || a.outcome || ' ' || a.reason, ', ' order by e.ref) from postback.attempt a join postback.event e on e.id = a.event
                      where a.reason = 'forgotten'";
    assert_eq!(stage.text(forgotten).await, "dead skipped forgotten, forgotten-6 skipped forgotten, later skipped forgotten");
    let told: Vec<String> = stage.receiver.log().iter().filter(|arrival| arrival.taken()).map(|arrival| arrival.id()).collect();
    assert!(told.iter().any(|id| id.starts_with("refund-told-r2")) && !told.iter().any(|id| id.contains("later") || id.contains("dead")), "{told:?}");
    drop(daemon);

    let (code, text) = say(&config, &["forget", "--order", "nobody", "--yes"]);
    assert!(code == Some(1) && text.contains("nothing is known"), "{text}");
    assert_eq!(say(&config, &["forget", "--yes"]).0, Some(2));
    assert_eq!(say(&config, &["forget", "--email", "ada", "--yes"]).0, Some(2));
    // Without a daemon the command does it itself.
    let (code, text) = say(&config, &["forget", "--order", "other", "--yes"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        office.holding("bob@shop.example").len() == 1,
        "what could not be said of his other order stays: {:?}",
        office.holding("bob@shop.example")
    );
}

/// A shop that calls its buyers by the number of their order loses neither the order in its report nor the refund behind it.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_called_as_its_buyer_stays_in_the_books() {
    let stage = Stage::new().await;
    let config = stage.config(&[]);
    let _daemon = Daemon::start(config.clone()).await;
    stage
        .shop(
            r#"select postback.purchase('ORDER-1001', 100, 'EUR', '{"external_id": "order-1001", "email": "ada@shop.example"}'),
                      postback.refund('ORDER-1001', 'r1', 30), postback.emit('lead', 'order-1001', '{"external_id": "order-1001", "email": "ada@shop.example"}')"#,
        )
        .await;
    stage.settled().await;
    let counts = || {
        let report = crate::report::run(&config, &[]).0;
        report["lines"]
            .as_array()
            .expect("lines")
            .iter()
            .map(|line| (line["orders"].clone(), line["refunds"].clone(), line["money"].clone()))
            .collect::<Vec<_>>()
    };
    let before = counts();
    assert_eq!(before.iter().map(|(orders, ..)| orders["total"].as_i64().unwrap_or(0)).sum::<i64>(), 1, "{before:#?}");
    let (code, text) = say(&config, &["forget", "--email", "ada@shop.example", "--yes"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(counts(), before);
    assert_eq!(
        stage.text("select count(*) from postback.event where payload::text like '%ada@%' or kind = 'lead' and ref = 'order-1001'").await,
        "0"
    );
    stage.shop("select postback.refund('ORDER-1001', 'r2', 70)").await;
    stage.state(4, "delivered").await;
}

/// An address is looked for as a whole, and in every way that it may be written.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_address_itself_is_found() {
    let stage = Stage::new().await;
    let hers = [
        "ada+x@shop.example",
        "ADA+X@Shop.Example.",
        "mailto:ada+x@shop.example?subject=hi",
        "https://shop.example/?email=ada%2Bx%40shop.example&a=b",
        "https://shop.example/?next=%2F%3Femail%3Dada%252Bx%2540shop.example",
        "https://shop.example/?email%3Dada+x%40shop.example",
        "a line\nada+x@shop.example, and more",
        "\"ada+x@shop.example\"",
        "(ada+x@shop.example)",
    ];
    let others = [
        "joada+x@shop.example",
        "jo.ada+x@shop.example",
        "x@shop.example",
        "ada+x@shop.example.org",
        "ada+x@shop.example-2.org",
        "ada+x@shopxexample",
        "adaax@shop.example",
        "%40shop.example ada",
        "9ab85f1b8f4a0a8d3c8b5f1f6ce6a0f0",
    ];
    let traces = postbackd::mailbox::traces(" Ada+X@shop.example");
    let found = |text: String| {
        let (pattern, hints, stage) = (traces.pattern.clone(), traces.hints.clone(), &stage);
        async move {
            let sql = "select lower($1) ~ $2 as found, exists (select from unnest($3::text[]) h(hint) where strpos(lower($1), h.hint) > 0) as hinted";
            let row = stage.db.query_one(sql, &[&text, &pattern, &hints]).await.expect("a row");
            (row.get::<_, bool>(0), row.get::<_, bool>(1))
        }
    };
    for text in hers {
        assert_eq!(found(text.to_owned()).await, (true, true), "{text}");
        let json = serde_json::json!({ "page_url": text }).to_string();
        assert_eq!(found(json).await, (true, true), "{text} in JSON");
    }
    let hash = postbackd::platform::person::sha256("ada+x@shop.example");
    assert_eq!(found(hash.to_uppercase()).await, (true, true), "its hash");
    for text in others {
        assert!(!found(text.to_owned()).await.0, "{text}");
        assert!(!found(serde_json::json!({ "page_url": text }).to_string()).await.0, "{text} in JSON");
    }
}

/// People whose address is much alike, or who came by the same newsletter, are not taken for each other.
#[tokio::test(flavor = "multi_thread")]
async fn others_are_left_alone() {
    let stage = Stage::new().await;
    let config = stage.config(&[]);
    stage.receiver.script(|arrival: &Arrival| (arrival.order() == "quoted").then(|| Behaviour::status(400)));
    let _daemon = Daemon::start(config.clone()).await;
    stage
        .shop(
            r#"create table public.orders (id int primary key, total text, email text, click text, customer text);
               select postback.attach('public.orders', 'insert', 'true', 'select postback.purchase(new.id::text, new.total::numeric, ''EUR'', jsonb_build_object(''email'', new.email))');
               select postback.purchase('hers', 1, 'EUR', '{"email": "ann@shop.example", "clickref": "newsletter", "external_id": "guest-checkout"}'),
                      postback.purchase('joann', 1, 'EUR', '{"email": "joann@shop.example", "clickref": "newsletter"}'),
                      postback.purchase('longer', 1, 'EUR', '{"email": "ann@shop.example.org"}'),
                      postback.purchase('landed', 1, 'EUR', '{"page_url": "https://shop.example/?email=Ann%40shop.example"}'),
                      postback.purchase('quoted', 1, 'EUR', '{"email": "ann@shop.example", "first_name": "Zo\u00eb zz", "street": "secret street"}');
               insert into public.orders values (1, 'much', 'other@shop.example', 'newsletter', 'guest-checkout'), (2, 'much', 'zz.joann@shop.example', 'x', 'y'),
                      (3, 'much', 'ann@shop.example', 'newsletter', 'z'), (4, 'much', null, 'newsletter', 'z'), (5, 'much', null, null, 'guest-checkout')"#,
        )
        .await;
    stage.settled().await;
    // A platform that quotes as it was asked: in the way of URLs.
    stage
        .shop(
            "update postback.attempt set reason = 'nobody is zo%C3%AB%20zz' where outcome = 'dead';
             update postback.pending set reason = 'not in secret+street' where state = 'dead';
             update postback.tally set reason = 'no zo%c3%ab+zz' where outcome = 'dead'",
        )
        .await;
    let (code, text) = say(&config, &["forget", "--email", "ann@shop.example", "--yes"]);
    assert_eq!(code, Some(0), "{text}");
    let forgotten = "select string_agg(ref, ' ' order by ref) from postback.event where payload ? 'forgotten'";
    assert_eq!(stage.text(forgotten).await, "hers landed quoted");
    let open = "select string_agg(new_row ->> 'id', ' ' order by id) from postback.trouble where done is null";
    assert_eq!(stage.text(open).await, "1 2 4");
    let said = "select string_agg(reason, ' ') from (
                  select reason from postback.attempt where outcome = 'dead' union all select reason from postback.pending where state = 'dead'
                  union all select reason from postback.tally where outcome = 'dead') r";
    assert_eq!(stage.text(said).await, "forgotten forgotten forgotten");
}
