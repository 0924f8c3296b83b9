-- Takes away what is past retention, a few entries of the stream at once: the event with its personal data, its numbers, attempts
-- and receipts, and what was added of a person later. Order and refund keys (sale, refund, once) stay, since a shop may touch an old order again.
-- Nothing goes that a position has not passed or that `pending` names. The position of a destination that left the configuration holds
-- nothing back: it would for ever. $1 retention in seconds, $2 entries to look at, $3 behind this number, $4 destinations of this
-- configuration. Returns how many were old, and the last number looked at. Index: log by seq; log.at never goes back, so the old entries
-- are the first ones and the rest need not be looked at.
with floor as (
  select coalesce(min(p.seq), 0) as seq from postback.position p
   where p.destination = any ($4::text[])
      -- Another daemon's, with a configuration of its own.
      or p.at > clock_timestamp() - interval '1 day'
      or exists (select from postback.daemon d where d.id = p.daemon and d.checked > clock_timestamp() - interval '1 day')),
looked as materialized (
  select l.seq, l.event, l.at from postback.log l where l.seq > $3 order by l.seq limit $2),
old as materialized (
  select looked.seq, looked.event from looked, floor
   where looked.seq <= floor.seq and looked.at < clock_timestamp() - $1::float8 * interval '1 s'),
open as (
  select distinct p.event from postback.pending p join old on old.event = p.event),
-- An event that stands in the stream again later (a replay, a late click) stays until its last entry is old.
later as (
  select distinct l.event from postback.log l join old on old.event = l.event where l.seq > (select max(seq) from old)),
gone as materialized (
  select old.seq, old.event, exists (select from later where later.event = old.event) as again
    from old where not exists (select from open where open.event = old.event)),
log as (delete from postback.log l using gone where l.seq = gone.seq),
attempt as (delete from postback.attempt a using gone where a.event = gone.event and not gone.again),
receipt as (
  delete from postback.receipt r using gone, postback.position p where r.destination = p.destination and r.event = gone.event and not gone.again),
-- What an enrich said of a person goes with it, and with the purchase.
person as (
  update postback.sale s set who = null from gone, postback.event e
   where e.id = gone.event and not gone.again and s.order_ref = e.ref and s.who is not null
     and (s.event = e.id or s.event is null and e.kind = 'enrich')),
late as (delete from postback.late t using gone where t.event = gone.event and not gone.again),
mention as (
  delete from postback.mention m using gone, postback.event e
   where e.id = gone.event and not gone.again and m.ref = e.ref and m.event = e.id),
event as (delete from postback.event e using gone where e.id = gone.event and not gone.again),
tally as (delete from postback.tally t using postback.position p where t.destination = p.destination and t.at < clock_timestamp() - $1::float8 * interval '1 s')
select (select count(*) from old), (select max(seq) from looked)
