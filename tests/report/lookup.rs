//! What report and order look up is found by indexes, however much there is, and found all the same before the walk has come.

use postbackd::{basis, money::Currency, outbox::lookup};
use rust_decimal::Decimal;

use crate::{
    sending::Stage,
    support::{
        postgres,
        rng::Rng,
        sql::{all, one, run},
    },
};

/// Nothing is lost between the ways in which events of a time are found: by their reading, by the walk, behind the walk, unread.
#[tokio::test]
async fn events_of_a_time_are_found_on_every_way() {
    let database = postgres::database().await;
    let db = database.connect().await;
    run(
        &db,
        "select postback.purchase(n::text, 1, 'EUR', '{}', case when n % 3 = 0 then jsonb_build_object('occurred_at', now() - n * interval '1 day') else '{}' end) from generate_series(1, 60) n;
         select postback.enrich('5', '{}'), postback.purchase('7', 1, 'EUR', '{}')",
    )
    .await;
    run(
        &db,
        "insert into postback.log (seq, event, at) select row_number() over (order by id), id, now() from postback.event;
         insert into postback.sale (order_ref, generation, event, value, currency) select distinct on (ref) ref, 1, id, 1, 'EUR' from postback.event where kind = 'purchase' order by ref, id;
         update postback.ingest set last_seq = 62",
    )
    .await;
    let old = "select array_agg(ref order by ref::int) from postback.happened(now() - interval '40 days', now() - interval '20 days', '{purchase}')";
    let want: Vec<String> = (21..40).filter(|n| n % 3 == 0).map(|n: i32| n.to_string()).collect();
    let today = "select count(*) from postback.happened(now() - interval '30 minutes', now() + interval '1 hour', '{purchase,enrich}')";
    assert_eq!((one::<Vec<String>>(&db, old).await, one::<i64>(&db, today).await), (want.clone(), 42), "before the walk");
    assert_eq!(lookup::walk(&db).await.expect("walking"), 62);
    assert_eq!(lookup::walk(&db).await.expect("again"), 0);
    assert_eq!((one::<Vec<String>>(&db, old).await, one::<i64>(&db, today).await), (want, 42), "behind it");
    assert_eq!(one::<i64>(&db, "select count(*) from postback.late").await, 20);
    assert_eq!(all::<String>(&db, "select ref from postback.mention order by ref").await, ["5", "7"], "an enrich and a repeat");
    // Numbers that retention took leave gaps at the beginning.
    run(&db, "delete from postback.log where seq < 30; update postback.log set at = now() - (62 - seq) * interval '1 minute'").await;
    for minutes in [0, 1, 7, 32, 33, 100] {
        let seq: i64 = one(&db, &format!("select postback.seq_at(now() - {minutes} * interval '1 minute' - interval '1 s')")).await;
        assert_eq!(seq.max(30), (62 - minutes).max(30), "{minutes}");
    }
    assert_eq!(one::<i64>(&db, "select postback.seq_at(now() + interval '1 s')").await, 63);
}

/// Whatever a shop says of an order is found by its reference, unread, behind the walk, walked over, and gone with retention.
#[tokio::test]
async fn events_of_an_order_are_found_on_every_way() {
    let stage = Stage::new().await;
    let wanted = "select count(*) from postback.event where ref = 'x'";
    let found = "select count(*) from postback.of_order('x') o join postback.event e on e.id = o.event and e.ref = 'x'";
    let others = "select count(*) from postback.of_order('x') o join postback.event e on e.id = o.event and e.ref <> 'x'";
    let say = "
      select postback.purchase('x', 10, 'EUR', '{}'), postback.purchase('x', 10, 'EUR', '{}'), postback.refund('x', 'r', 1), postback.refund('x', 'r', 1),
             postback.enrich('x', '{}'), postback.retract('x'), postback.retract('x'), postback.purchase('x', 12, 'EUR', '{}'), postback.emit('lead', 'x', '{}'),
             postback.emit('lead', 'x', '{}'), postback.emit('custom', 'x', '{}'), postback.purchase('y', 10, 'EUR', '{}'), postback.emit('signup', 'y', '{}')";
    stage.shop(say).await;
    stage.shop("insert into postback.event (kind, ref, payload) values ('purchase', 'x', '{\"value\": \"much\"}')").await;
    let counts = async || (one::<i64>(&stage.db, wanted).await, one::<i64>(&stage.db, found).await, one::<i64>(&stage.db, others).await);
    assert_eq!(counts().await, (12, 12, 0), "unread");
    let mut daemon = stage.daemon(&[]).await;
    stage.until("select count(distinct event) from postback.log", "14").await;
    assert!(daemon.term().await.success());
    stage.shop("update postback.reached set seq = 0; delete from postback.mention").await;
    assert_eq!(counts().await, (12, 12, 0), "before the walk");
    assert_eq!(lookup::walk(&stage.db).await.expect("walking"), one::<i64>(&stage.db, "select last_seq from postback.ingest").await);
    assert_eq!(counts().await, (12, 12, 0), "behind it");
    // By indexes alone, whatever the statistics of a young table make the planner believe.
    // On a session of its own: what others have not reported yet would count as well.
    let db = stage.database.connect().await;
    assert_eq!(all::<i64>(&db, "select event from postback.of_order('x') order by 1").await.len(), 12);
    let scans = "select coalesce(string_agg(relname, ', '), '') from pg_stat_xact_user_tables where schemaname = 'postback' and seq_scan > 0
                  and relname in ('event', 'log', 'sale', 'refund', 'once', 'mention')";
    assert_eq!(one::<String>(&db, scans).await, "");
}

/// SQL and the daemon reckon alike.
#[tokio::test]
async fn sql_reckons_as_the_daemon_does() {
    let database = postgres::database().await;
    let db = database.connect().await;
    let letters: Vec<char> = ('A'..='Z').collect();
    let codes: Vec<String> = letters.iter().flat_map(|a| letters.iter().flat_map(move |b| ('A'..='Z').map(move |c| format!("{a}{b}{c}")))).collect();
    let digits: Vec<i32> =
        db.query("select postback.digits(c) from unnest($1::text[]) c", &[&codes]).await.expect("digits").iter().map(|row| row.get(0)).collect();
    for (code, digits) in codes.iter().zip(digits) {
        assert_eq!(Currency::parse(code).map(|currency| currency.exponent() as i32), Some(digits), "{code}");
    }
    let mut rng = Rng::new(7);
    let cases: Vec<(Decimal, Decimal, Decimal, u32)> = (0..2_000)
        .map(|_| {
            let (digits, most) = (rng.below(4) as u32, [100, 10_000, 100_000_000_000][rng.below(3) as usize]);
            let sale = Decimal::new(rng.below(most) as i64 + 1, digits);
            (Decimal::new(rng.below(most) as i64, digits), sale, sale * Decimal::new(rng.below(120) as i64, 2), digits)
        })
        .collect();
    let texts = |of: fn(&(Decimal, Decimal, Decimal, u32)) -> String| cases.iter().map(of).collect::<Vec<String>>();
    let sql = "select postback.remaining(a::numeric, b::numeric, c::numeric, d::int)::text from unnest($1::text[], $2::text[], $3::text[], $4::text[]) with ordinality u(a, b, c, d, n) order by n";
    let rows =
        db.query(sql, &[&texts(|c| c.0.to_string()), &texts(|c| c.1.to_string()), &texts(|c| c.2.to_string()), &texts(|c| c.3.to_string())]).await;
    for (case, row) in cases.iter().zip(rows.expect("remaining")) {
        let (said, sale, refunded, digits) = *case;
        let have: Decimal = row.get::<_, String>(0).parse().expect("a decimal");
        assert_eq!(have, basis::remaining(said, sale, refunded, digits), "{case:?}");
    }
}
