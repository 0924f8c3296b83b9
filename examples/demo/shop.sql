-- The demo's shop: a small, ordinary one that knows nothing of postbackd. It has a role of its own, which owns nothing and
-- has no right in schema postback.

create table public.orders (
  number      text          primary key,
  status      text          not null default 'cart' check (status in ('cart', 'paid', 'cancelled')),
  total       numeric(12,2) not null default 0,
  tax         numeric(12,2) not null default 0,
  currency    text          not null default 'EUR',
  email       text,
  country     text,
  landing_url text,                        -- the page on which the buyer came in, click ids and all
  paid_at     timestamptz
);

create table public.order_line (
  order_number text          not null references public.orders,
  sku          text          not null,
  quantity     int           not null,
  price        numeric(12,2) not null,
  primary key (order_number, sku)
);

create table public.payment (
  id           bigint        generated always as identity primary key,
  order_number text          not null references public.orders,
  amount       numeric(12,2) not null,
  status       text          not null default 'pending' check (status in ('pending', 'settled', 'declined'))
);

create table public.refund (
  id           bigint        generated always as identity primary key,
  order_number text          not null references public.orders,
  amount       numeric(12,2) not null check (amount > 0),
  reason       text
);

grant select, insert, update on public.orders, public.order_line, public.payment, public.refund to shop;
