-- A small shop: orders, their lines, payments, refunds. An order that was cancelled can be paid anew.
create schema shop;

create table shop.orders (
  id         text primary key,
  state      text not null default 'open',      -- open, paid, cancelled
  generation int  not null default 1,           -- how often it has been sold
  total      numeric(12, 2) not null default 0,
  refunded   numeric(12, 2) not null default 0,
  currency   text not null default 'EUR',
  email      text not null default 'buyer@example.com',
  gclid      text
);

create table shop.line (
  id       bigint generated always as identity primary key,
  order_id text not null references shop.orders,
  sku      text not null,
  price    numeric(12, 2) not null
);

create table shop.payment (
  id       bigint generated always as identity primary key,
  order_id text not null references shop.orders,
  amount   numeric(12, 2) not null,
  state    text not null
);

create table shop.refund (
  id       text primary key,
  order_id text not null references shop.orders,
  amount   numeric(12, 2) not null
);

-- What the shop's own code does: authorise, then settle, each a statement of its own.
create function shop.pay(order_ref text, cents bigint) returns void language plpgsql as $$
declare
  this bigint;
begin
  update shop.orders set state = 'paid', total = cents / 100.0, refunded = 0, generation = generation + (state = 'cancelled')::int where id = order_ref;
  insert into shop.line (order_id, sku, price) values (order_ref, 'thing', cents / 100.0);
  insert into shop.payment (order_id, amount, state) values (order_ref, cents / 100.0, 'authorised') returning id into this;
  update shop.payment set state = 'settled' where id = this;
end $$;

create function shop.give_back(order_ref text, cents bigint, refund_ref text) returns void language plpgsql as $$
begin
  update shop.orders set refunded = refunded + cents / 100.0 where id = order_ref;
  insert into shop.refund (id, order_id, amount) values (refund_ref, order_ref, cents / 100.0);
end $$;

-- What the DBA adds.
grant usage on schema shop to postback_owner;
grant select on all tables in schema shop to postback_owner;
select postback.attach('shop.payment', 'insert or update', $$new.state = 'settled' and (tg_op = 'INSERT' or old.state <> 'settled')$$,
  $$perform postback.purchase(o.id, o.total, o.currency, jsonb_build_object('email', o.email, 'gclid', o.gclid)) from shop.orders o where o.id = new.order_id;$$);
select postback.attach('shop.refund', 'insert', 'true', $$perform postback.refund(new.order_id, new.id, new.amount);$$);
select postback.attach('shop.orders', 'update', $$old.state = 'paid' and new.state = 'cancelled'$$, $$perform postback.retract(new.id, 'cancelled');$$);
select postback.attach('shop.orders', 'update', $$new.gclid is distinct from old.gclid$$,
  $$perform postback.enrich(new.id, jsonb_build_object('gclid', new.gclid));$$);
