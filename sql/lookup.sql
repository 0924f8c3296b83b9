-- Follows the stream a few seconds behind and writes down what could not be found by an index otherwise: events of another time
-- than that of their reading (late), and events of an order that the ledger does not name (mention). $1 entries at most. Returns how
-- many were looked at. Index walks: log by seq, event by id, the keys of sale, refund and once.
with me as materialized (
  select r.seq from postback.reached r where r.what = 'events' for update),
looked as materialized (
  select l.seq, l.event, l.at, l.cause from postback.log l, me where l.seq > me.seq order by l.seq limit $1),
new as materialized (
  select e.id, e.kind, e.ref, e.occurred_at, looked.at from looked join postback.event e on e.id = looked.event where looked.cause is null),
late as (
  insert into postback.late (event, occurred_at)
  select n.id, n.occurred_at from new n where n.occurred_at < n.at - interval '1 hour' or n.occurred_at > n.at + interval '1 hour'
  on conflict do nothing),
mention as (
  insert into postback.mention (ref, event)
  select n.ref, n.id from new n
   where case
     when n.kind in ('purchase', 'retract') then not exists (select from postback.sale s where s.order_ref = n.ref and (s.event = n.id or s.retracted = n.id))
     when n.kind = 'refund' then not exists (select from postback.refund r where r.order_ref = n.ref and r.event = n.id)
     when n.kind = 'enrich' then true
     else not exists (select from postback.once o where o.kind = n.kind and o.ref = n.ref and o.event = n.id) end
  on conflict do nothing),
moved as (
  update postback.reached r set seq = (select max(looked.seq) from looked) where r.what = 'events' and exists (select from looked))
select count(*) from looked
