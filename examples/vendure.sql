-- A DBA's recipe for Vendure 3 on PostgreSQL: what the shop writes, told to postbackd. A template for recipes of your own.
--
--   psql -X -v ON_ERROR_STOP=1 -f examples/vendure.sql shop          as a superuser, or as the tables' owner who is a
--                                                                    member of postback_owner
-- It may run again at any time, e.g. from a deployment: what is there already is left alone or replaced without a lock on
-- any table. Without -1 each attach is a transaction of its own and holds its lock for milliseconds. Look at the result,
-- before any daemon runs, with:  select * from postback.said order by id;
--
-- The custom fields "customFieldsGclid" ... are those of this shop's order (its vendure-config adds gclid, fbclid, fbc,
-- fbp, clientIp, userAgent, clickedAt); yours may be called otherwise. Money is an integer with two implied decimals
-- whatever the currency (MoneyStrategy.precision); if yours is 3, write postback.minor(.., 3).

-- Bodies run as postback_owner, which reads these tables and nothing else of the shop.
grant usage on schema public to postback_owner;
grant select on public."order", public.order_line, public.product_variant, public.customer, public.payment, public.refund to postback_owner;

-- 1. An order is paid when it enters PaymentSettled. It enters again after each modification, and the repeat is told to
-- nobody. A cart is an order too, so that the state alone decides. An order split among sellers is told once, as a whole.
-- The row is read again: it is cheap, it is right where NEW is stale, and it names the tables in one place.
select postback.attach(
  'public."order"', 'update',
  $$new.state = 'PaymentSettled' and old.state is distinct from new.state and new.type <> 'Seller'$$,
  $$
  select postback.purchase(
           o.code,
           postback.minor(o."subTotalWithTax" + o."shippingWithTax"),
           o."currencyCode",
           who => jsonb_build_object(
             'email', c."emailAddress",
             'phone', coalesce(nullif(c."phoneNumber", ''), nullif(a.address ->> 'phoneNumber', '')),
             'first_name', c."firstName",
             'last_name', c."lastName",
             'street', nullif(a.address ->> 'streetLine1', ''),
             'city', nullif(a.address ->> 'city', ''),
             'state', nullif(a.address ->> 'province', ''),
             'zip', nullif(a.address ->> 'postalCode', ''),
             'country', nullif(a.address ->> 'countryCode', ''),
             'external_id', c.id::text,
             'gclid', nullif(o."customFieldsGclid", ''),
             'fbclid', nullif(o."customFieldsFbclid", ''),
             'fbc', nullif(o."customFieldsFbc", ''),
             'fbp', nullif(o."customFieldsFbp", ''),
             'ip', nullif(o."customFieldsClientip", ''),
             'user_agent', nullif(o."customFieldsUseragent", ''),
             -- Vendure keeps times without a zone, in UTC if the server runs with TZ=UTC, as its manual asks.
             'clicked_at', o."customFieldsClickedat" at time zone 'UTC'),
           more => jsonb_strip_nulls(jsonb_build_object(
             'items', l.items,
             'subtotal', postback.minor(o."subTotal")::text,
             'shipping', postback.minor(o.shipping)::text,
             'tax', postback.minor(o."subTotalWithTax" - o."subTotal" + o."shippingWithTax" - o.shipping)::text,
             'discount', postback.minor(l.discount)::text,
             'coupon', nullif(o."couponCodes", ''),              -- several are joined by a comma
             'new_customer', not exists (
               select from public."order" before
                where before."customerId" = o."customerId" and before.id <> o.id
                  and before.state in ('PaymentSettled', 'PartiallyShipped', 'Shipped', 'PartiallyDelivered', 'Delivered')),
             'shop', 'vendure')))
    from public."order" o
         left join public.customer c on c.id = o."customerId"
         -- The billing address says who pays; most buyers leave it empty and mean the other one.
         cross join lateral (
           select coalesce(nullif(postback.json(o."billingAddress"), '{}'), postback.json(o."shippingAddress")) as address) a
         cross join lateral (
           select jsonb_agg(jsonb_build_object(
                    'id', coalesce(v.sku, i."productVariantId"::text),
                    'quantity', i.quantity,
                    'price', postback.minor(case when i."listPriceIncludesTax" then i."listPrice"
                                                 else round(i."listPrice" * (1 + t.rate / 100))::bigint end)::text) order by i.id) as items,
                  sum(p.off)::bigint as discount
             from public.order_line i
                  left join public.product_variant v on v.id = i."productVariantId"
                  cross join lateral (
                    select coalesce(sum((x ->> 'taxRate')::numeric), 0) as rate from jsonb_array_elements(coalesce(postback.json(i."taxLines"), '[]')) x) t
                  cross join lateral (
                    select coalesce(-sum((x ->> 'amount')::numeric), 0) as off from jsonb_array_elements(coalesce(postback.json(i.adjustments), '[]')) x
                     where x ->> 'type' in ('PROMOTION', 'DISTRIBUTED_ORDER_PROMOTION')) p
            where i."orderId" = o.id and i.quantity > 0) l
   where o.id = new.id
  $$,
  name => 'vendure_paid');

-- 2. Money went back when a refund turns Settled, at once or weeks later; Pending and Failed ones are silent. The sale
-- knows currency, person and clicks, so that the amount is all there is to say. Cancelling an order books no refund.
select postback.attach(
  'public.refund', 'insert or update',
  $$new.state = 'Settled' and (tg_op = 'INSERT' or old.state is distinct from new.state)$$,
  $$
  select postback.refund(
           (select o.code from public.payment p join public."order" o on o.id = p."orderId" where p.id = new."paymentId"),
           'refund:' || new.id,
           postback.minor(new.total),
           jsonb_strip_nulls(jsonb_build_object('reason', nullif(new.reason, ''), 'method', new.method)))
  $$,
  name => 'vendure_refunded');

-- 3. The storefront may learn the click after the payment: a redirect that came late, a cookie read on the thank-you page.
select postback.attach(
  'public."order"', 'update',
  $$not new.active
    and (new."customFieldsGclid", new."customFieldsFbclid", new."customFieldsFbc", new."customFieldsFbp")
        is distinct from (old."customFieldsGclid", old."customFieldsFbclid", old."customFieldsFbc", old."customFieldsFbp")$$,
  $$
  select postback.enrich(new.code, jsonb_build_object(
           'gclid', nullif(new."customFieldsGclid", ''),
           'fbclid', nullif(new."customFieldsFbclid", ''),
           'fbc', nullif(new."customFieldsFbc", ''),
           'fbp', nullif(new."customFieldsFbp", ''),
           'clicked_at', new."customFieldsClickedat" at time zone 'UTC'))
  $$,
  name => 'vendure_clicked');

-- 4. The shop's own truth, for "postbackd reconcile" and the report: settled payments and refunds of every order that was
-- placed. A cancelled order's totals are 0, therefore the payments are asked.
select postback.books($$
  select o.code as order_ref, postback.minor(p.paid) as value, postback.minor(coalesce(p.refunded, 0)) as refunded,
         o."currencyCode" as currency, o."orderPlacedAt" at time zone 'UTC' as paid_at
    from public."order" o
         cross join lateral (
           select sum(pay.amount)::bigint as paid,
                  sum((select sum(r.total) from public.refund r where r."paymentId" = pay.id and r.state = 'Settled'))::bigint as refunded
             from public.payment pay where pay."orderId" = o.id and pay.state = 'Settled') p
   where p.paid is not null and o.type <> 'Seller'
$$);
