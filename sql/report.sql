-- Orders and refunds of some days, at each destination: how many are in which state, and what was told of their money.
-- $1 first day, $2 last day, $3 time zone, $4 a destination or NULL for all; $5.. what the configuration says of destinations: names,
-- how refunds are told (none, restate, cancel, event, negative), whether values are told without tax, without shipping.
-- An order belongs to the day of its purchase, with everything that was told back of it since; a refund to its own.
-- Indexes: postback.happened() for the days; from there on primary keys alone: sale and refund by order, attempt, pending and
-- receipt by event, event by id. The work is that of the days asked for, however many attempts there are.
with span as materialized (
  select ($1::text::date)::timestamp at time zone $3 as since, ($2::text::date + 1)::timestamp at time zone $3 as until),
place as materialized (
  select p.destination, p.seq, p.started, coalesce(t.shape, 'event') as shape, coalesce(t.tax, false) as tax, coalesce(t.shipping, false) as shipping
    from postback.position p left join unnest($5::text[], $6::text[], $7::bool[], $8::bool[]) t(name, shape, tax, shipping) on t.name = p.destination
   where $4::text is null or p.destination = $4),
happened as materialized (
  select h.* from span, postback.happened(span.since, span.until, '{purchase,refund,retract}') h),
-- What no daemon has read yet is told by the same rules once it is: an order and a refund once.
unread as materialized (
  select u.event, u.kind, u.ref, u.occurred_at, e.payload
    from span, postback.unread(100000) u join postback.event e on e.id = u.event
   where u.kind in ('purchase', 'refund') and u.occurred_at >= span.since and u.occurred_at < span.until and jsonb_typeof(e.payload) = 'object'),
sale as materialized (
  select (h.occurred_at at time zone $3)::date as day, h.event, h.seq, s.order_ref, s.generation, s.value, s.currency, s.retracted, s.refunded,
         case when s.retracted is not null then s.value else least(s.refunded, s.value) end as back
    from happened h join postback.sale s on s.order_ref = h.ref and s.event = h.event
   where h.kind = 'purchase'
  union all
  (select distinct on (u.ref) (u.occurred_at at time zone $3)::date, u.event, null, u.ref, 1, a.value, upper(u.payload ->> 'currency'), null, 0, 0
     from unread u
          cross join lateral (select case when u.payload ->> 'value' ~ '^[0-9]{1,28}(\.[0-9]+)?$' then (u.payload ->> 'value')::numeric end as value) a
    where u.kind = 'purchase' and a.value is not null
      and not exists (select from postback.sale s where s.order_ref = u.ref and s.event is not null and s.retracted is null)
    order by u.ref, u.event)),
refund as materialized (
  select (h.occurred_at at time zone $3)::date as day, h.event, h.seq, r.amount, s.currency
    from happened h join postback.refund r on r.order_ref = h.ref and r.event = h.event
         left join postback.sale s on s.order_ref = r.order_ref and s.generation = r.generation
   where h.kind = 'refund'
  union all
  select (h.occurred_at at time zone $3)::date, h.event, h.seq, s.value - least(s.refunded, s.value), s.currency
    from happened h join postback.sale s on s.order_ref = h.ref and s.retracted = h.event
   where h.kind = 'retract'
  union all
  (select distinct on (u.ref, u.payload ->> 'refund_ref') (u.occurred_at at time zone $3)::date, u.event, null, a.value, s.currency
     from unread u
          cross join lateral (select case when u.payload ->> 'amount' ~ '^[0-9]{1,28}(\.[0-9]+)?$' then (u.payload ->> 'amount')::numeric end as value) a
          left join lateral (select s.currency from postback.sale s where s.order_ref = u.ref order by s.generation desc limit 1) s on true
    where u.kind = 'refund' and a.value is not null
      and not exists (select from postback.refund r where r.order_ref = u.ref and r.refund_ref = u.payload ->> 'refund_ref')
    order by u.ref, u.payload ->> 'refund_ref', u.event)),
told as materialized (
  select s.day, p.destination, s.currency, st.state, st.reason, s.value, s.back, k.value as told, s.order_ref, s.generation, s.event, s.retracted,
         s.refunded, p.shape, p.started, p.seq, postback.digits(s.currency) as digits
    from sale s cross join place p
         cross join lateral postback.standing(p.destination, s.event, s.seq, p.started, p.seq) st
         left join lateral (
           select coalesce((select (r.sent ->> 'value')::numeric from postback.receipt r where r.destination = p.destination and r.event = s.event),
                           greatest(round(s.value
                             - case when p.tax then coalesce((select e.payload #>> '{more,tax}' from postback.event e where e.id = s.event)::numeric, 0) else 0 end
                             - case when p.shipping then coalesce((select e.payload #>> '{more,shipping}' from postback.event e where e.id = s.event)::numeric, 0) else 0 end,
                             postback.digits(s.currency)), 0)) as value
         ) k on st.state in ('delivered', 'accepted')),
weighed as materialized (
  select t.*, coalesce(b.told, 0) as told_back, b.why, b.by, postback.remaining(t.told, t.value, t.back, t.digits) as due
    from told t
         left join lateral (
           select case t.shape
                    when 'restate' then t.told - postback.remaining(t.told, t.value, max(x.total) filter (where x.sent), t.digits)
                    when 'cancel' then case when bool_or(x.sent) then t.told end
                    else sum(postback.remaining(t.told, t.value, x.total - x.amount, t.digits) - postback.remaining(t.told, t.value, x.total, t.digits))
                           filter (where x.sent) end as told,
                  (array_agg(x.state order by x.total desc, x.event desc) filter (where not x.sent))[1] as why,
                  (array_agg(x.reason order by x.total desc, x.event desc) filter (where not x.sent))[1] as by
             from (select r.*, st.state, st.reason, st.state in ('delivered', 'accepted') as sent
                     from (select r.event, r.amount, r.total_after as total from postback.refund r
                            where r.order_ref = t.order_ref and r.generation = t.generation and r.amount > 0
                           union all
                           select t.retracted, t.value - t.refunded, t.value where t.retracted is not null and t.value > t.refunded) r
                          left join lateral (select min(l.seq) as seq from postback.log l where l.event = r.event) l on true
                          cross join lateral postback.standing(t.destination, r.event, l.seq, t.started, t.seq) st) x
         ) b on t.told is not null and t.back > 0)
select 'order' as line, w.day::text, w.destination, w.currency, w.state, w.reason, count(*) as n, sum(w.value)::text as value, sum(w.back)::text as back,
       sum(coalesce(w.told, 0))::text as told, sum(w.told_back)::text as told_back,
       sum(case when w.told is null then 0 else (w.value - w.back) - w.due end)::text as basis
  from weighed w group by w.day, w.destination, w.currency, w.state, w.reason
union all
select 'over', w.day::text, w.destination, w.currency, w.why, w.by, count(*), sum(w.told - w.told_back - w.due)::text, null, null, null, null
  from weighed w where w.told - w.told_back <> w.due group by w.day, w.destination, w.currency, w.why, w.by
union all
select 'refund', r.day::text, p.destination, r.currency, st.state, st.reason, count(*), sum(r.amount)::text, null, null, null, null
  from refund r cross join place p cross join lateral postback.standing(p.destination, r.event, r.seq, p.started, p.seq) st
 group by r.day, p.destination, r.currency, st.state, st.reason
