-- What the shop writes, told to postbackd: the whole recipe for this shop. Change the names, and it is one for yours.
--
-- The shop itself is not changed. It needs no right in schema postback, and nothing in here can fail or block its
-- transactions: what cannot be said becomes a row of postback.trouble. Running the file again does no harm.

-- The bodies below run as postback_owner, which reads these tables and nothing else of the shop.
grant usage on schema public to postback_owner;
grant select on public.orders, public.order_line, public.payment, public.refund to postback_owner;

-- 1. An order is paid when a payment of it settles. Carts, pending and declined payments say nothing.
select postback.attach(
  'public.payment', 'insert or update',
  $$new.status = 'settled' and (tg_op = 'INSERT' or old.status is distinct from new.status)$$,
  $$
  select postback.purchase(
           o.number, new.amount, o.currency,
           who  => jsonb_build_object('email', o.email, 'country', o.country) || postback.click_ids(o.landing_url),
           more => jsonb_build_object(
             'tax', o.tax::text,
             'items', (select jsonb_agg(jsonb_build_object('id', l.sku, 'quantity', l.quantity, 'price', l.price::text) order by l.sku)
                         from public.order_line l where l.order_number = o.number)))
    from public.orders o where o.number = new.order_number
  $$,
  name => 'shop_paid');

-- 2. Money went back, in part or in full. Currency, buyer and click ids come from the sale.
select postback.attach(
  'public.refund', 'insert', 'true',
  $$select postback.refund(new.order_number, new.id::text, new.amount)$$,
  name => 'shop_refunded');

-- 3. The shop takes a paid order back: the payment provider called it off, or a person did.
select postback.attach(
  'public.orders', 'update',
  $$old.status = 'paid' and new.status = 'cancelled'$$,
  $$select postback.retract(new.number, 'cancelled')$$,
  name => 'shop_cancelled');

-- 4. The click became known after the payment, by a redirect or a beacon that came late.
select postback.attach(
  'public.orders', 'update',
  $$new.status = 'paid' and new.landing_url is distinct from old.landing_url$$,
  $$select postback.enrich(new.number, postback.click_ids(new.landing_url))$$,
  name => 'shop_clicked');

-- 5. The shop's own truth, for "postbackd reconcile" and the report.
select postback.books($$
  select o.number as order_ref, o.total as value, coalesce(sum(r.amount), 0) as refunded, o.currency, o.paid_at
    from public.orders o left join public.refund r on r.order_number = o.number
   where o.status = 'paid'
   group by o.number
$$);
