-- The shop's books of some days beside the ledger. $1 first day, $2 last day, $3 time zone. An order belongs to the day that the books
-- say; one that they do not have, to the day of its purchase event. Planned by the server as it likes: the books are the shop's query.
with span as materialized (
  select ($1::text::date)::timestamp at time zone $3 as since, ($2::text::date + 1)::timestamp at time zone $3 as until),
-- Events and books may differ about midnight: a day more at both ends finds the order all the same.
book as materialized (
  select distinct on (b.order_ref) b.order_ref, coalesce(case when b.value not in ('NaN', 'Infinity', '-Infinity') then b.value end, 0) as value,
         coalesce(case when b.refunded not in ('NaN', 'Infinity', '-Infinity') then b.refunded end, 0) as refunded, upper(btrim(b.currency)) as currency,
         (b.paid_at at time zone $3)::date as day, b.paid_at >= span.since and b.paid_at < span.until as inside
    from span, postback.booked(span.since - interval '1 day', span.until + interval '1 day') b
   where b.order_ref is not null
   order by b.order_ref, b.paid_at),
happened as materialized (
  select distinct on (h.ref) h.ref, (h.occurred_at at time zone $3)::date as day
    from span, postback.happened(span.since, span.until, '{purchase}') h join postback.sale s on s.order_ref = h.ref and s.event = h.event
   order by h.ref, s.generation desc),
unread as materialized (
  select distinct u.ref from postback.unread(100000) u where u.kind = 'purchase'),
-- The order as it stands: of several generations the last.
matched as (
  select coalesce(b.day, h.day) as day, coalesce(b.currency, s.currency) as currency, b.order_ref as booked, b.value, b.refunded, b.currency as book_currency,
         s.order_ref as sold, s.value as sold_value, s.currency as sold_currency,
         case when s.retracted is not null then s.value else least(s.refunded, s.value) end as sold_refunded,
         s.order_ref is null and b.order_ref in (select u.ref from unread u) as waits
    from (select * from book where inside) b
         full join (select h.ref, h.day from happened h where not exists (select from book o where o.order_ref = h.ref and not o.inside)) h on h.ref = b.order_ref
         left join lateral (select s.* from postback.sale s
                             where s.order_ref = coalesce(b.order_ref, h.ref) and s.event is not null order by s.generation desc limit 1) s on true)
select m.day::text, m.currency,
       count(m.booked), coalesce(sum(m.value), 0)::text, coalesce(sum(m.refunded), 0)::text,
       count(m.sold), coalesce(sum(m.sold_value), 0)::text, coalesce(sum(m.sold_refunded), 0)::text,
       count(*) filter (where m.sold is null and not m.waits), coalesce(sum(m.value) filter (where m.sold is null and not m.waits), 0)::text,
       count(*) filter (where m.waits), coalesce(sum(m.value) filter (where m.waits), 0)::text,
       count(*) filter (where m.booked is null), coalesce(sum(m.sold_value) filter (where m.booked is null), 0)::text,
       count(*) filter (where m.booked is not null and m.sold is not null and (m.value <> m.sold_value or m.currency <> m.sold_currency)),
       coalesce(sum(m.value - m.sold_value) filter (where m.booked is not null and m.sold is not null), 0)::text,
       count(*) filter (where m.booked is not null and m.sold is not null and m.refunded <> m.sold_refunded),
       coalesce(sum(m.refunded - m.sold_refunded) filter (where m.booked is not null and m.sold is not null), 0)::text,
       coalesce(sum(m.refunded) filter (where m.sold is null), 0)::text,
       coalesce(sum(m.sold_refunded) filter (where m.booked is null), 0)::text
  from matched m group by m.day, m.currency order by m.day, m.currency
