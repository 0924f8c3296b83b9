-- Orders that the shop's books have as paid in a period and that no event tells, the oldest first, at most $3; and how many there are. $1
-- since, $2 until. Planned by the server as it likes: the books are the shop's query. Index for each: sale by order_ref.
with book as materialized (
  select distinct on (b.order_ref) b.order_ref, b.value, coalesce(b.refunded, 0) as refunded, upper(btrim(b.currency)) as currency, b.paid_at
    from postback.booked($1, $2) b where b.order_ref is not null order by b.order_ref, b.paid_at),
unread as materialized (
  select distinct u.ref from postback.unread(1000000) u where u.kind = 'purchase')
select b.order_ref, b.value::text, b.refunded::text, b.currency, b.paid_at, count(*) over ()
  from book b
 where not exists (select from postback.sale s where s.order_ref = b.order_ref and s.event is not null)
   and not exists (select from unread u where u.ref = b.order_ref)
 order by b.paid_at, b.order_ref limit $3
