-- Writes what became of deliveries at one destination and moves its position. One statement, one transaction: the position
-- row is updated first and nothing else happens unless it is still this owner's and where he left it.
-- $1 destination $2 epoch $3 seq as last written $4 new seq $5 new horizon $6 whether to write halted $7 halted
-- $8.. attempts, receipts, pending rows, entries whose pending row goes, and events told again, as arrays.
-- What stands between --[ and --] is left out where there is nothing for it.
with me as (
  update postback.position
     set seq = $4, horizon = $5, halted = case when $6 then $7 else halted end, at = clock_timestamp()
   where destination = $1 and epoch = $2 and seq = $3 and set_config('synchronous_commit', 'on', true) is not null
     and set_config('lock_timeout', '30s', true) is not null
  returning destination)
--[ attempts
, attempt as (
  insert into postback.attempt (destination, event, attempt, seq, at, outcome, status, duration_ms, reason)
  -- Numbered here: what a lost session recorded counts, whoever remembers it.
  select me.destination, n.event,
         coalesce((select max(a.attempt) from postback.attempt a where a.destination = me.destination and a.event = n.event), 0)
           + row_number() over (partition by n.event order by n.ord),
         n.seq, clock_timestamp(), n.outcome, n.status, n.duration_ms, n.reason
    from me, unnest($8::bigint[], $9::bigint[], $10::text[], $11::int[], $12::int[], $13::text[]) with ordinality
         n(event, seq, outcome, status, duration_ms, reason, ord))
-- Of each outcome the last one's status and reason: what is wrong now, in words.
, tally as (
  insert into postback.tally as t (destination, at, outcome, count, status, reason, last)
  select me.destination, date_bin('5 min', now(), timestamptz '2000-01-01 00:00+00'), n.outcome, count(*),
         (array_agg(n.status order by n.ord desc))[1], (array_agg(n.reason order by n.ord desc))[1], now()
    from me, unnest($10::text[], $11::int[], $13::text[]) with ordinality n(outcome, status, reason, ord)
   group by me.destination, n.outcome
  on conflict (destination, at, outcome) do update
     set (count, status, reason, last) = (t.count + excluded.count, excluded.status, excluded.reason, excluded.last))
--]
--[ receipts
-- Not "on conflict": its speculative insertion writes a record of WAL more, and only this owner writes here.
, receipts as materialized (
  select me.destination, n.event, n.sent::jsonb as sent, n.answer::jsonb as answer, n.uncertain
    from me, unnest($14::bigint[], $15::text[], $16::text[], $17::bool[]) n(event, sent, answer, uncertain))
, new_receipt as (
  insert into postback.receipt (destination, event, sent, answer, uncertain)
  select n.* from receipts n
   where (select r.event from postback.receipt r where r.destination = n.destination and r.event = n.event) is null)
, receipt as (
  update postback.receipt r set answer = n.answer
    from receipts n where n.answer is not null and r.destination = n.destination and r.event = n.event)
--]
--[ pending
, pending as (
  insert into postback.pending as p (destination, event, seq, order_ref, state, attempts, next_at, reason)
  select me.destination, n.event, n.seq, n.order_ref, n.state, n.attempts, n.next_at, n.reason
    from me, unnest($18::bigint[], $19::bigint[], $20::text[], $21::text[], $22::int[], $23::timestamptz[], $24::text[])
         n(event, seq, order_ref, state, attempts, next_at, reason)
  on conflict (destination, seq) do update
     set (state, attempts, next_at, reason) = (excluded.state, excluded.attempts, excluded.next_at, excluded.reason))
--]
--[ gone
, gone as (
  delete from postback.pending p using me where p.destination = me.destination and p.seq = any($25::bigint[]))
--]
--[ decided anew
-- What an earlier entry of the same event left for a person is settled by what a later one was told.
, settled as (
  delete from postback.pending p using me
   where p.destination = me.destination and p.event = any($26::bigint[]) and p.state in ('accepted', 'dead', 'unknown') and p.seq <> all($19::bigint[]))
--]
select count(*) from me
