-- How many deliveries ended how, by destination and five minutes: what a chart and "in the last hour" are drawn from. Without it both
-- would count attempts, of which there may be millions in an hour, at every look.
--
-- Written with the attempts, by the owner of the destination, one row a transaction and outcome: a backlog adds about 2 bytes of WAL to a
-- delivery, an order that comes alone about 170 (benches/wal.rs). Rows are updated where they are: a page has room for that.
create table if not exists postback.tally (
  destination text        not null,
  at          timestamptz not null,        -- begin of five minutes
  outcome     text        not null,        -- as in postback.attempt
  count       bigint      not null,
  status      int,                         -- HTTP status and reason of the last of them, as in postback.attempt
  reason      text,
  last        timestamptz not null,        -- when that was
  primary key (destination, at, outcome)
) with (fillfactor = 50);

-- A plan that has to read a table of one row costs ten billion while scans are off, and what is dear is compiled: 130 ms for what takes
-- less than one.
alter function postback.seq_at(timestamptz) set jit = off;
alter function postback.happened(timestamptz, timestamptz, text[]) set jit = off;
alter function postback.unread(int) set jit = off;

-- As before, but that what the walk has not reached is looked up from the stream, one event after the other ("offset 0" keeps the planner to
-- it): from the events, whose reference has no index, it read five million for one.
create or replace function postback.of_order(reference text) returns table (event bigint)
language sql stable set search_path = pg_catalog, pg_temp
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
  select s.event from postback.sale s where s.order_ref = reference and s.event is not null
  union
  select s.retracted from postback.sale s where s.order_ref = reference and s.retracted is not null
  union
  select r.event from postback.refund r where r.order_ref = reference
  union
  select o.event from postback.once o where o.kind = any ('{lead,signup,install,subscribe,custom}') and o.ref = reference
  union
  select m.event from postback.mention m where m.ref = reference
  union
  select x.id
    from postback.log l cross join lateral (select e.id from postback.event e where e.id = l.event and e.ref = reference offset 0) x
   where l.seq > (select w.seq from postback.reached w where w.what = 'events')
  union
  select u.event from postback.unread(1000000) u where u.ref = reference
$$;

select postback.settle_ownership();

grant select, insert, update, delete on postback.tally to postback_daemon;
grant select on postback.tally to postback_reader;
