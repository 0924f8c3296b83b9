-- Puts a page of events into the stream and the ledger. One statement, one transaction: the ingest row is updated first and
-- nothing else happens unless it is still this owner's and where he left it ($1 epoch, $2 last_seq).
-- $3 snap $4 win $5 page_id: the new place; $6 how many numbers; $7.. the rows as arrays, in order.
-- synchronous_commit is set for this transaction because nothing may be sent for a commit that a crash can take back: once
-- this one is durable, so is everything that it read. It waits for a lock no longer than lock_timeout, whoever left one.
-- What stands between --[ and --] is left out where there is nothing for it: a page mostly holds new orders and nothing else,
-- and parsing and planning the whole takes as long as carrying it out.
with me as (
  update postback.ingest
     set snap = $3, win = $4, page_id = $5, last_seq = last_seq + $6, last_at = greatest(last_at, clock_timestamp())
   where epoch = $1 and last_seq = $2 and set_config('synchronous_commit', 'on', true) is not null
     and set_config('lock_timeout', '30s', true) is not null
  returning last_at)
, log as (
  insert into postback.log (seq, event, cause, at)
  select $2 + l.n, l.event, l.cause, me.last_at from me, unnest($7::bigint[], $8::text[]) with ordinality l(event, cause, n))
--[ sales
, sales as (
  select n.* from me, unnest($9::text[], $10::int[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::bigint[], $16::text[], $17::bigint[])
         with ordinality n(order_ref, generation, event, value, currency, refunded, retracted, who, who_seq, ord))
-- The first $29 sales are new, which is known because nobody else writes them: a plain insert spares a third of the WAL.
, new_sale as (
  insert into postback.sale (order_ref, generation, event, value, currency, refunded, retracted, who, who_seq)
  select n.order_ref, n.generation, n.event, n.value::numeric, n.currency, n.refunded::numeric, n.retracted, n.who::jsonb, n.who_seq
    from sales n where n.ord <= $29)
--]
--[ changed sales
, sale as (
  insert into postback.sale as s (order_ref, generation, event, value, currency, refunded, retracted, who, who_seq)
  select n.order_ref, n.generation, n.event, n.value::numeric, n.currency, n.refunded::numeric, n.retracted, n.who::jsonb, n.who_seq
    from sales n where n.ord > $29
  on conflict (order_ref, generation) do update
     set (event, value, currency, refunded, retracted, who, who_seq)
       = (excluded.event, excluded.value, excluded.currency, excluded.refunded, excluded.retracted, excluded.who, excluded.who_seq))
--]
--[ refunds
, refund as (
  insert into postback.refund as r (order_ref, refund_ref, event, generation, amount, total_after)
  select n.order_ref, n.refund_ref, n.event, n.generation, n.amount::numeric, n.total_after::numeric
    from me, unnest($18::text[], $19::text[], $20::bigint[], $21::int[], $22::text[], $23::text[])
         n(order_ref, refund_ref, event, generation, amount, total_after)
  on conflict (order_ref, refund_ref) do update
     set (generation, amount, total_after) = (excluded.generation, excluded.amount, excluded.total_after))
--]
--[ once
, once as (
  insert into postback.once (kind, ref, event)
  select n.kind, n.ref, n.event from me, unnest($24::text[], $25::text[], $26::bigint[]) n(kind, ref, event))
--]
select count(*)
--[ notes
  , (select count(postback.note(n.what, null, n.message)) from me, unnest($27::text[], $28::text[]) n(what, message))
--]
  from me
