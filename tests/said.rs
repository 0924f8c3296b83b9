//! `postback.said`, the ledger and what arrives say the same: the rules stand twice, once in SQL for the DBA who tries a
//! recipe without a daemon, once in Rust, and must not drift apart.

use crate::{sending::Stage, support::rng};

/// A thousand and a half random events of sixty orders: repeats, refunds before their sale, over-refunds, retracts and new
/// purchases, enriches before and after, leads.
const STORY: &str = "
do $story$
declare
  ref text; dice int;
begin
  perform setseed(SEED);
  for i in 1 .. 1500 loop
    ref := 'o' || floor(random() * 60)::int;
    dice := floor(random() * 100)::int;
    case
      when dice < 30 then perform postback.purchase(ref, round((random() * 200)::numeric, 2), 'EUR', jsonb_build_object('email', ref || '@example.com'));
      when dice < 65 then perform postback.refund(ref, 'r' || floor(random() * 9)::int, round((random() * 90)::numeric, 2));
      when dice < 72 then perform postback.retract(ref);
      when dice < 85 then perform postback.enrich(ref, jsonb_build_object('gclid', 'g' || i, 'consent', jsonb_build_object('n' || dice, true)));
      else perform postback.emit('lead', 'l' || floor(random() * 80)::int, '{}', jsonb_build_object('value', dice, 'currency', 'EUR'));
    end case;
  end loop;
end $story$";

const SAID: &str =
    "select string_agg((to_jsonb(s) || jsonb_build_object('value', trim_scale(value), 'refunded_total', trim_scale(refunded_total)))::text,
                                     E'\\n' order by id, event_id) from postback.said s";

/// What one side has and the other has not.
const AGAINST_THE_LEDGER: &str = "
  with ledger as (
    select event_id('purchase', order_ref, null, generation) as event_id, value, currency, null::numeric as total from sale where event is not null
    union all
    select event_id('retract', order_ref, null, generation), value, currency, null from sale where retracted is not null
    union all
    select event_id('refund', r.order_ref, r.refund_ref, r.generation), r.amount, s.currency, r.total_after
      from refund r join sale s using (order_ref, generation)
    union all
    select event_id(kind, ref), null, null, null from once),
  said as (
    select event_id, case when kind = 'lead' then null else value end as value, case when kind = 'lead' then null else currency end as currency,
           refunded_total as total from said)
  select count(*) from ((select * from ledger except select * from said) union all (select * from said except select * from ledger)) difference";

#[tokio::test(flavor = "multi_thread")]
async fn the_view_the_ledger_and_the_receiver_agree() {
    let stage = Stage::new().await;
    let seed = rng::seed("the story of sixty orders");
    let story = STORY.replace("SEED", &format!("{}", (seed % 2_000) as f64 / 1_000.0 - 1.0));
    stage.shop(&story).await;
    let before = stage.text(SAID).await;
    let _daemon = stage.daemon(&[("kinds", "[\"purchase\", \"refund\", \"lead\"]")]).await;
    stage.settled().await;
    let after = stage.text(SAID).await;
    let (before, after): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    for (was, is) in before.iter().zip(&after) {
        assert_eq!(was, is, "what the view says without a daemon differs from what it says once the events are in the stream");
    }
    assert_eq!(before.len(), after.len());
    assert!(after.len() > 200, "the story was too dull: {} rows", after.len());

    stage.shop("set search_path = postback").await;
    assert_eq!(stage.text(AGAINST_THE_LEDGER).await, "0");

    // Everything said has arrived, but for what was taken back before anybody heard of it, or took nothing back.
    let mut expected: Vec<String> = Vec::new();
    let told = "select event_id from said join attempt on attempt.event = said.id where outcome = 'delivered' order by 1";
    for row in stage.db.query(told, &[]).await.expect("what was told") {
        expected.push(row.get(0));
    }
    let untold = "select string_agg(distinct kind || ' ' || coalesce((select outcome || ': ' || reason from attempt where event = said.id order by attempt desc limit 1), 'nowhere'), '; ')
                    from said where not exists (select from attempt where event = said.id
                     and (outcome in ('delivered', 'annulled') or reason = 'nothing left to take back'))";
    assert_eq!(stage.text(untold).await, "-");
    let mut arrived = stage.ids();
    arrived.sort();
    expected.sort();
    assert_eq!(arrived, expected);
}
