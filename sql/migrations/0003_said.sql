-- What is told, as one relation: for DBAs who try a recipe, and for tests, which compare it with the ledger. And who may
-- read and write what.
--
-- What is in the stream is told as the ledger has it. What is not yet (or where no daemon runs at all) is folded here by
-- the ledger's rules, in id order: a purchase once per order, again after a retract; a refund once per reference, clamped
-- to what is left of its sale, which is nothing after a retract; what is not an order once per kind and reference; the last enrich wins. A refund without a
-- sale is not told, and not shown.

create or replace view postback.said as
with ev as (
  select e.id, e.kind, e.ref, e.payload, e.occurred_at, l.seq is not null as ingested,
         row_number() over (order by l.seq nulls last, e.id) as ord,
         case when p.amount ~ '^[0-9]{1,28}(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$' then p.amount::numeric end as amount,
         case when e.payload ->> 'currency' ~ '^[A-Za-z]{3}$' then upper(e.payload ->> 'currency') end as currency,
         e.payload ->> 'refund_ref' as refund_ref
    from postback.event e
         cross join lateral (select e.payload ->> case e.kind when 'refund' then 'amount' else 'value' end as amount) p
         left join lateral (select min(seq) as seq from postback.log where log.event = e.id) l on true
   where jsonb_typeof(e.payload) = 'object'
     and coalesce(jsonb_typeof(e.payload -> 'who'), 'object') in ('object', 'null')
     and coalesce(jsonb_typeof(e.payload -> 'more'), 'object') in ('object', 'null')
), base as (                               -- where the ledger stands with an order
  select distinct on (order_ref) order_ref as ref, generation, case when retracted is null then 'purchase' else 'retract' end as kind
    from postback.sale where event is not null order by order_ref, generation desc
), walk as (
  select ev.*, base.generation as base_generation, base.kind as base_kind,
         lag(ev.kind, 1, base.kind) over (partition by ev.ref order by ev.ord) as before
    from ev left join base using (ref)
   where not ingested and (ev.kind = 'purchase' and amount is not null and currency is not null or ev.kind = 'retract')
), turn as (                               -- a purchase that begins a sale, a retract that ends one
  select *, coalesce(base_generation + (base_kind = 'retract')::int, 1)
            + count(*) filter (where kind = 'retract') over (partition by ref order by ord rows between unbounded preceding and 1 preceding) as generation
    from walk where kind is distinct from before and (kind = 'purchase' or before is not null)
), sale as (
  select s.order_ref as ref, s.generation, s.event, coalesce(s.value, 0) as value, s.currency, s.refunded, s.retracted,
         coalesce(ev.payload -> 'who', '{}') || coalesce(s.who, '{}') as who, coalesce(ev.ord, 0) as ord
    from postback.sale s left join ev on ev.id = s.event where s.event is not null
  union all
  select t.ref, t.generation, t.id, t.amount, t.currency, 0, (select r.id from turn r where r.ref = t.ref and r.generation = t.generation and r.kind = 'retract'),
         coalesce(t.payload -> 'who', '{}'), t.ord
    from turn t where t.kind = 'purchase'
), ended as (
  select s.*, coalesce(s.retracted, t.id) as ended_by
    from sale s left join turn t on t.ref = s.ref and t.generation = s.generation and t.kind = 'retract'
), waiting as (                            -- refunds that are not yet counted in a sale
  select distinct on (ref, refund_ref) ev.id, ev.ref, ev.refund_ref, ev.amount, ev.ord
    from ev
   where not ingested and kind = 'refund' and amount is not null and refund_ref is not null
     and not exists (select from postback.refund r where r.order_ref = ev.ref and r.refund_ref = ev.refund_ref)
   order by ref, refund_ref, ord
), counted as (
  select w.id, w.ref, w.refund_ref, s.generation, s.value as sale_value,
         case when w.ord < coalesce(s.ended_ord, w.ord + 1) then w.amount else 0 end as counts,
         s.refunded + sum(case when w.ord < coalesce(s.ended_ord, w.ord + 1) then w.amount else 0 end) over (partition by w.ref, s.generation order by w.ord) as total
    from (select * from waiting
          union all
          select r.event, r.order_ref, r.refund_ref, r.amount, coalesce(ev.ord, 0)
            from postback.refund r left join ev on ev.id = r.event where r.generation is null) w
         cross join lateral (select sale.*, (select ended.ord from ev ended where ended.id = sale.ended_by) as ended_ord from ended sale where sale.ref = w.ref
                              order by case when sale.ord < w.ord then -sale.generation else sale.generation + 1000000 end limit 1) s
), enriched as (
  select s.ref, s.generation, jsonb_object_agg(k.key, k.value order by e.ord) as who
    from ev e
         cross join lateral (select * from sale where sale.ref = e.ref
                              order by case when sale.ord < e.ord then -sale.generation else sale.generation + 1000000 end limit 1) s
         cross join lateral jsonb_each(jsonb_strip_nulls(coalesce(e.payload -> 'who', '{}'))) k
   where k.value <> '""' and e.kind = 'enrich' and not e.ingested and jsonb_typeof(e.payload -> 'who') = 'object'
   group by s.ref, s.generation
), told as (
  select s.event as id, s.ref, s.generation, null::text as refund_ref, s.value, null::numeric as total, null::boolean as is_full from sale s
  union all
  select e.ended_by, e.ref, e.generation, null, e.value, null, true from ended e where e.ended_by is not null
  union all
  select r.event, r.order_ref, r.generation, r.refund_ref, r.amount, r.total_after, r.total_after >= s.value
    from postback.refund r join sale s on s.ref = r.order_ref and s.generation = r.generation
  union all
  select c.id, c.ref, c.generation, c.refund_ref, least(c.sale_value, c.total) - least(c.sale_value, c.total - c.counts),
         least(c.sale_value, c.total), c.total >= c.sale_value
    from counted c
)
select ev.id, ev.kind, ev.ref, told.refund_ref, postback.event_id(ev.kind, ev.ref, told.refund_ref, told.generation::int) as event_id,
       told.value, s.currency, told.total as refunded_total, told.is_full as "full",
       s.who || coalesce(enriched.who, '{}') as who, coalesce(ev.payload -> 'more', '{}') as more, ev.occurred_at
  from told join ev on ev.id = told.id
       join sale s on s.ref = told.ref and s.generation = told.generation
       left join enriched on enriched.ref = told.ref and enriched.generation = told.generation
union all
select ev.id, ev.kind, ev.ref, null, postback.event_id(ev.kind, ev.ref), ev.amount, ev.currency, null, null,
       coalesce(ev.payload -> 'who', '{}'), coalesce(ev.payload -> 'more', '{}'), ev.occurred_at
  from ev
 where ev.kind in ('lead', 'signup', 'install', 'subscribe', 'custom')
   and case when exists (select from postback.once o where o.kind = ev.kind and o.ref = ev.ref)
         then exists (select from postback.once o where o.kind = ev.kind and o.ref = ev.ref and o.event = ev.id)
         else not ev.ingested and ev.id = (select e.id from ev e where e.kind = ev.kind and e.ref = ev.ref order by e.ord limit 1) end;
comment on view postback.said is 'What is told: one row per purchase, refund, retract, lead ..., once-only applied, person and currency of the sale joined.';

select postback.settle_ownership();

grant usage on schema postback to postback_daemon, postback_reader;

-- The daemon: reads events and deletes what retention lets go; rewrites a row to forget a person or to move to another
-- cluster; owns what it writes in the ledger. It cannot touch the attached triggers.
grant select, delete on postback.event to postback_daemon;
grant update (payload, txid) on postback.event to postback_daemon;
grant select, update on postback.event_seq to postback_daemon;
grant select, insert, update, delete on postback.trouble, postback.ingest, postback.log, postback.sale, postback.refund, postback.once,
  postback.position, postback.attempt, postback.receipt, postback.pending, postback.command to postback_daemon;
grant select on postback.migration, postback.attached, postback.book, postback.said to postback_daemon;
-- Backfill and reconcile say what no trigger said.
grant execute on function postback.purchase(text, numeric, text, jsonb, jsonb), postback.refund(text, text, numeric, jsonb), postback.retract(text, text),
  postback.enrich(text, jsonb), postback.emit(text, text, jsonb, jsonb), postback.note(text, text, text) to postback_daemon;

-- A dashboard: numbers, references, states and reasons. No payload, no `who`, no receipts (click ids), no commands (an
-- e-mail may stand in "forget"), of trouble not the kept rows and not the message, which may quote a value.
grant select (txid, id, kind, ref, occurred_at) on postback.event to postback_reader;
grant select (id, at, what, tab, operation, sqlstate, event, tries, done) on postback.trouble to postback_reader;
grant select (order_ref, generation, event, value, currency, refunded, retracted, who_seq) on postback.sale to postback_reader;
grant select (id, kind, ref, refund_ref, event_id, value, currency, refunded_total, "full", occurred_at) on postback.said to postback_reader;
grant select on postback.migration, postback.attached, postback.ingest, postback.log, postback.refund, postback.once, postback.position,
  postback.attempt, postback.pending to postback_reader;
grant execute on function postback.event_id(text, text, text, int), postback.click_ids(text), postback.minor(bigint, int), postback.json(text)
  to postback_daemon, postback_reader;
