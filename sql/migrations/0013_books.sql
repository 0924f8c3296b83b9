-- What report, reconcile and the order page look up. Nothing here is written in the shop's transaction, nor in the one that
-- puts its events into the stream: a walk of the daemon over the stream follows a few seconds behind (sql/lookup.sql), and what it
-- has not reached yet is looked through.

-- How far walks over the stream have come.
create table if not exists postback.reached (
  what text   primary key,                 -- events: sql/lookup.sql
  seq  bigint not null default 0
);
insert into postback.reached (what) values ('events') on conflict do nothing;

-- Events that happened more than an hour before or after they were read: a backfill, a shop that tells a time of its own, a day
-- without a daemon. The others are found by log.at, which never goes back.
create table if not exists postback.late (
  event       bigint      primary key,
  occurred_at timestamptz not null
);
create index if not exists late_occurred_at_idx on postback.late (occurred_at);

-- Events of an order that neither sale nor refund nor once names: an enrich, a repeat, what could not be read.
create table if not exists postback.mention (
  ref   text   not null,
  event bigint not null,
  primary key (ref, event)
);

-- The first number of the stream that was read at or after a time; one behind the last when there is none. The numbers have no gaps
-- but those that retention leaves, and log.at never goes back: some twenty lookups by seq, however long the stream is.
create or replace function postback.seq_at(since timestamptz) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
declare
  lo bigint := (select min(l.seq) from postback.log l);
  hi bigint := (select max(l.seq) from postback.log l) + 1;
  middle bigint;
begin
  if lo is null then
    return (select i.last_seq + 1 from postback.ingest i);
  end if;
  while lo < hi loop
    middle := lo + (hi - lo) / 2;
    if (select l.at from postback.log l where l.seq >= middle order by l.seq limit 1) >= since then
      hi := middle;
    else
      lo := middle + 1;
    end if;
  end loop;
  return lo;
end $$;
comment on function postback.seq_at(timestamptz) is 'The first number of the stream that was read at or after a time.';

-- Events of these kinds that are in the stream and happened in a period. Indexes: log by seq, event by id, late by occurred_at.
create or replace function postback.happened(since timestamptz, until timestamptz, kinds text[])
returns table (event bigint, seq bigint, kind text, ref text, occurred_at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
  first constant bigint := postback.seq_at(since - interval '1 hour');
  behind constant bigint := postback.seq_at(until + interval '1 hour');
  walked constant bigint := (select r.seq from postback.reached r where r.what = 'events');
begin
  return query
    select e.id, l.seq, e.kind, e.ref, e.occurred_at
      from postback.log l join postback.event e on e.id = l.event
     where (l.seq >= first and l.seq < behind) and l.cause is null and e.kind = any (kinds) and e.occurred_at >= since and e.occurred_at < until;
  return query
    select e.id, l.seq, e.kind, e.ref, e.occurred_at
      from postback.late t join postback.event e on e.id = t.event join postback.log l on l.event = e.id
     where t.occurred_at >= since and t.occurred_at < until and l.cause is null and not (l.seq >= first and l.seq < behind) and e.kind = any (kinds);
  return query
    select e.id, l.seq, e.kind, e.ref, e.occurred_at
      from postback.log l join postback.event e on e.id = l.event
     where l.seq > walked and not (l.seq >= first and l.seq < behind) and l.cause is null and e.kind = any (kinds)
       and e.occurred_at >= since and e.occurred_at < until
       and not exists (select from postback.late t where t.event = e.id);
end $$;
comment on function postback.happened(timestamptz, timestamptz, text[]) is 'Events of these kinds that are in the stream and happened in a period.';

-- Events that are committed and not in the stream yet. Index: event by txid.
create or replace function postback.unread(at_most int)
returns table (event bigint, kind text, ref text, occurred_at timestamptz)
language sql stable set search_path = pg_catalog, pg_temp
  set enable_seqscan = off set enable_bitmapscan = off
as $$
  select e.id, e.kind, e.ref, e.occurred_at
    from postback.ingest i, postback.event e
   where e.txid >= coalesce(pg_snapshot_xmin(i.snap::pg_snapshot), '0') and (i.snap is null or not pg_visible_in_snapshot(e.txid, i.snap::pg_snapshot))
     and not (i.win is not null and e.id <= i.page_id and pg_visible_in_snapshot(e.txid, i.win::pg_snapshot))
   limit at_most
$$;
comment on function postback.unread(int) is 'Events that are committed and not in the stream yet.';

-- Events of an order, a lead ... by its reference. Indexes: the keys of sale, refund, once and mention; log by seq; event by id, txid.
create or replace function postback.of_order(reference text) returns table (event bigint)
language sql stable set search_path = pg_catalog, pg_temp
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
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
  select e.id
    from postback.reached w join postback.log l on l.seq > w.seq join postback.event e on e.id = l.event
   where w.what = 'events' and e.ref = reference
  union
  select u.event from postback.unread(1000000) u where u.ref = reference
$$;
comment on function postback.of_order(text) is 'Ids of the events of an order, a lead ...';

-- What became of an event at a destination. seq: its first number; NULL: not read yet. What was delivered once stays delivered,
-- whatever was judged later; what one restatement said together shares its fate. Without SET, so that it is planned with its caller.
create or replace function postback.standing(destination text, event bigint, seq bigint, started bigint, passed bigint)
returns table (state text, reason text)
language sql stable rows 1
as $$
  select case when a.outcome = 'delivered' then a.outcome
              when c.outcome is not null then c.outcome
              when w.state is not null then w.state
              when a.outcome = 'retry' then 'retrying'
              when a.outcome is not null then a.outcome
              when $3 is null or $3 > $5 then 'waiting'
              when $3 <= $4 then 'skipped'
              else 'nothing' end,
         case when a.outcome = 'delivered' then null
              when c.outcome is not null then a.reason
              when w.state is not null then coalesce(w.reason, a.reason)
              when a.outcome is not null then a.reason
              when $3 is null then 'not read yet'
              when $3 > $5 then 'in its turn'
              when $3 <= $4 then 'before its start' end
    from (values (1)) one(n)
    left join lateral (select t.outcome, t.reason from postback.attempt t where t.event = $2 and t.destination = $1
                        order by t.outcome = 'delivered' desc, t.attempt desc limit 1) a on true
    left join lateral (select p.state, p.reason from postback.pending p where p.event = $2 and p.destination = $1
                        order by p.seq desc limit 1) w on a.outcome is distinct from 'delivered'
    left join lateral (select t.outcome from postback.attempt t
                        where t.event = substring(a.reason from '^covered by event ([0-9]{1,18})')::bigint and t.destination = $1
                        order by t.outcome = 'delivered' desc, t.attempt desc limit 1) c on a.outcome = 'accepted' and a.reason like 'covered by event %'
$$;
comment on function postback.standing(text, bigint, bigint, bigint, bigint) is 'What became of an event at a destination, and why.';

-- Digits of a currency behind the point (ISO 4217); the daemon has the same list, src/money.rs.
create or replace function postback.digits(currency text) returns int
language sql immutable parallel safe
return case
  when currency in ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') then 0
  when currency in ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') then 3
  when currency in ('CLF', 'UYW') then 4
  else 2 end;

-- What is left of what was said when so much of the sale is refunded, as the daemon reckons it (src/basis.rs). The zeros make the
-- division exact enough for any amount of money.
create or replace function postback.remaining(said numeric, sale numeric, refunded numeric, digits int) returns numeric
language sql immutable parallel safe
return case when refunded <= 0 then said
            when refunded >= sale then 0
            else least(greatest(round((said * (sale - refunded) + 0.0000000000000000000000000000) / sale, digits), 0), greatest(said, 0)) end;

select postback.settle_ownership();
-- A lead whose reference is an e-mail address loses it when the person is forgotten.
grant update (ref) on postback.event to postback_daemon;
grant select, insert, update, delete on postback.reached, postback.late, postback.mention to postback_daemon;
grant select on postback.reached, postback.late, postback.mention to postback_reader;
grant execute on function postback.seq_at(timestamptz), postback.happened(timestamptz, timestamptz, text[]), postback.unread(int), postback.of_order(text),
  postback.standing(text, bigint, bigint, bigint, bigint), postback.digits(text), postback.remaining(numeric, numeric, numeric, int)
  to postback_daemon, postback_reader;
