-- The demo's judge: what the platforms got (the receiver's own record), against the shop's own tables. Commit times are
-- PostgreSQL's (track_commit_timestamp), arrival times the receiver's; both run on one machine.

create schema demo;

-- One row per request, as the receiver wrote it down. status is NULL where no answer was given.
create table demo.request (
  n         bigint generated always as identity primary key,
  at_us     bigint not null,
  platform  text   not null,
  status    int,
  event_id  text   not null,
  order_ref text   not null,
  kind      text   not null,
  value     numeric,
  currency  text,
  click     text
);

-- What "postbackd fake" said of each request, and first where it listens.
create table demo.judged (record jsonb not null);

create function demo.take_judged() returns bigint language sql as $$
  with taken as (
    insert into demo.request (at_us, platform, status, event_id, order_ref, kind, value, currency)
    select extract(epoch from (record->>'at')::timestamptz) * 1e6, record->>'platform', (record->>'status')::int, item->>'id',
           replace(item->>'id', 'purchase-', ''), 'purchase', split_part(item->>'amount', ' ', 1)::numeric, split_part(item->>'amount', ' ', 2)
      from demo.judged, jsonb_array_elements(record->'items') item
    returning n)
  select count(*) from taken
$$;

create view demo.arrival as
select r.*, to_timestamp(at_us / 1e6) as at, status between 200 and 299 as taken from demo.request r;

-- What was said, and when its transaction was committed.
create view demo.said as
select s.id, s.kind, s.ref, s.event_id, s.value, s.currency, pg_xact_commit_timestamp(e.txid::xid) as committed
  from postback.said s join postback.event e using (id);

-- The shop's books: what every paid order is worth after its refunds. The shop's tables alone.
create view demo.books as
select o.number as ref, o.currency, p.paid, p.paid - coalesce(r.refunded, 0) as net, coalesce(o.landing_url, '') like '%clickref=%' as has_click
  from public.orders o
       cross join lateral (select sum(amount) as paid from public.payment where order_number = o.number and status = 'settled') p
       cross join lateral (select sum(amount) as refunded from public.refund where order_number = o.number) r
 where o.status = 'paid';

-- The platforms' books: the tracker adds purchases and takes refunds off, the network believes what it was told last.
create view demo.balance as
select platform, order_ref as ref, currency, sum(case kind when 'purchase' then value else -value end) as net
  from demo.arrival where platform in ('tracker', 'tiktok') and taken group by platform, order_ref, currency
union all
(select distinct on (order_ref) 'network', order_ref, currency, value
   from demo.arrival where platform = 'network' and taken order by order_ref, n desc);

-- Which orders a platform has to have: the network those that came by its link and that it did not refuse.
create view demo.owed as
select 'tracker' as platform, ref, currency, net from demo.books
union all
-- It takes no refunds: it has what was paid.
select 'tiktok', ref, currency, paid from demo.books
union all
select 'network', ref, currency, net from demo.books b
 where has_click and not exists (select from demo.arrival a where a.platform = 'network' and a.order_ref = b.ref and a.status = 422);

-- Where every event stands at every destination, by postbackd's own record.
create view demo.state as
select p.destination, s.id, s.kind, s.ref,
       case when coalesce(d.state, a.outcome, '') in ('dead', 'unknown') then coalesce(d.state, a.outcome)
            when d.state is not null or a.outcome = 'retry' or a.outcome is null and l.seq > p.seq then 'waiting'
            when a.outcome in ('delivered', 'accepted') then 'sent'
            else coalesce(a.outcome, 'dropped') end as state,
       coalesce(d.reason, a.reason) as reason
  from postback.position p
       cross join demo.said s
       left join lateral (select max(seq) as seq from postback.log where event = s.id and cause is null) l on true
       -- An event that is to be judged again stands there twice.
       left join lateral (select state, reason from postback.pending w where w.destination = p.destination and w.event = s.id order by w.seq limit 1) d on true
       left join lateral (select outcome, reason from postback.attempt t where t.destination = p.destination and t.event = s.id
                           order by attempt desc limit 1) a on true;

-- The table at the end.
create view demo.summary as
select s.destination,
       count(*) filter (where kind = 'purchase') as "orders said",
       count(*) filter (where kind = 'purchase' and state = 'sent') as sent,
       count(*) filter (where kind = 'purchase' and state = 'skipped') as skipped,
       count(*) filter (where kind = 'purchase' and state = 'annulled') as "taken back",
       count(*) filter (where kind = 'purchase' and state = 'waiting') as waiting,
       count(*) filter (where kind = 'purchase' and state = 'dead') as dead,
       count(*) filter (where kind = 'refund' and state = 'sent') || ' of ' || count(*) filter (where kind = 'refund') as refunds,
       coalesce((select string_agg(x.net || ' ' || x.currency, ', ' order by x.currency)
                   from (select currency, sum(net) as net from demo.balance b where b.platform = s.destination group by currency) x), '-') as "revenue there"
  from demo.state s group by s.destination order by s.destination desc;

create view demo.why as
select destination, kind, state, count(*), coalesce(reason, '') as why, string_agg(ref, ' ' order by ref) as orders
  from demo.state where state in ('skipped', 'annulled', 'dead', 'unknown', 'dropped') or state = 'waiting' and destination <> 'partner'
 group by destination, kind, state, reason order by destination desc, kind, state, why;

-- How long after it was due (commit and settle) the tracker got the orders, median in milliseconds: those that were paid while the
-- others were down (2001 and so on), and those before.
create function demo.late(settle interval) returns table (down numeric, calm numeric) language sql as $$
  select percentile_disc(0.5) within group (order by ms) filter (where ref >= '2'), percentile_disc(0.5) within group (order by ms) filter (where ref < '2')
    from (select s.ref, round(extract(epoch from max(a.at) - s.committed - settle) * 1000) as ms
            from demo.arrival a join demo.said s using (event_id)
           where a.platform = 'tracker' and s.kind = 'purchase' group by s.ref, s.committed) x
$$;

-- One row per promise; `broken` is NULL where it was kept.
create function demo.promises(settle interval) returns table (promise text, broken text, figures text) language sql as $$
  select 'nothing is sent before its transaction has committed',
         (select string_agg(format('%s at %s, %s before the commit', a.event_id, a.platform, s.committed - a.at), '; ')
            from demo.arrival a join demo.said s using (event_id) where a.at < s.committed),
         (select format('%s requests for %s events', count(*), count(distinct a.event_id)) from demo.arrival a)
  union all
  select 'nothing is sent for orders that were abandoned, rolled back, declined or taken back',
         (select string_agg(distinct format('%s %s at %s', a.kind, a.order_ref, a.platform), '; ')
            from demo.arrival a where not exists (select from demo.books b where b.ref = a.order_ref)),
         (select format('%s paid orders, %s others', count(*) filter (where status = 'paid'), 1 + count(*) filter (where status <> 'paid')) from public.orders)
  union all
  select 'every event has one dedupe id, and is taken once',
         (select string_agg(why, '; ') from (
            select format('%s was taken %s times at %s', a.event_id, count(*), a.platform) as why
              from demo.arrival a where taken group by a.platform, a.event_id having count(*) > 1
            union all
            select format('order %s was told under %s ids at %s', a.order_ref, count(distinct a.event_id), a.platform)
              from demo.arrival a where a.kind = 'purchase' group by a.platform, a.order_ref having count(distinct a.event_id) > 1
            union all
            select format('%s %s was told under the id %s at %s', a.kind, a.order_ref, a.event_id, a.platform)
              from demo.arrival a where not exists (select from demo.said s where (s.event_id, s.kind, s.ref) = (a.event_id, a.kind, a.order_ref))) x),
         (select format('%s taken, %s answered with an error or not at all', count(*) filter (where taken), count(*) filter (where taken is not true)) from demo.arrival)
  union all
  select 'a refund is sent only where its purchase was taken, and after it',
         (select string_agg(format('%s at %s', a.event_id, a.platform), '; ') from demo.arrival a
           where a.kind <> 'purchase'
             and not exists (select from demo.arrival p where p.platform = a.platform and p.order_ref = a.order_ref and p.kind = 'purchase' and p.taken and p.at < a.at)),
         (select format('%s refunds in the shop', count(*)) from public.refund)
  union all
  select 'revenue at each platform is the shop''s books, to the cent',
         (select string_agg(format('order %s: %s has %s %s, the shop %s %s', coalesce(o.ref, b.ref), coalesce(o.platform, b.platform),
                                   coalesce(b.net::text, 'nothing'), b.currency, coalesce(o.net::text, 'nothing'), o.currency), '; ')
            from demo.owed o full join demo.balance b on (b.platform, b.ref) = (o.platform, o.ref)
           where (b.net, b.currency) is distinct from (o.net, o.currency)),
         (select string_agg(format('%s %s in the shop', net, currency), ', ') from (select currency, sum(net) as net from demo.books group by currency order by 1) x)
  union all
  select 'what an ad platform gets is as its documentation wants it',
         (select string_agg(format('%s %s', fault->>'field', fault->>'rule'), '; ') from demo.judged, jsonb_array_elements(record->'faults') fault),
         (select format('%s requests judged', count(*)) from demo.judged where record ? 'items')
  union all
  select 'every event has a state with a name at every destination',
         (select string_agg(format('%s of %s at %s: %s', kind, ref, destination, state), '; ') from demo.state
           where state in ('dropped', 'unknown') or state = 'waiting' and destination <> 'partner'),
         (select format('%s states', count(*)) from demo.state)
  union all
  select 'a platform that hangs and one that fails slow nobody else',
         case when down > calm + 500 or down is null
              then format('the tracker got orders %s ms late while the others were down, %s ms before', down, calm) end,
         format('median %s ms late while the others were down, %s ms before', down, calm)
    from demo.late(settle)
  union all
  select 'nothing of this failed the shop',
         (select string_agg(what || ': ' || message, '; ') from postback.trouble where done is null),
         (select format('%s transactions said something', count(distinct txid)) from postback.event)
$$;
