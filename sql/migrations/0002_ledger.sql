-- What the daemon writes: the numbered stream, the ledger, and per destination a position, attempts, receipts, exceptions.
-- The shop never touches these tables. Nothing here is updated per event but `sale` (a refund or a late click); the
-- stream and the attempts are appended, so that a forgotten open transaction in the shop cannot make them slow.

-- One row: how far the shop's commits have been read. Every writing transaction of the reader begins by updating it
-- `where epoch = mine and last_seq = what I read`: no row means that another owner, or a COMMIT in doubt, was there.
create table postback.ingest (
  only_row  boolean     primary key default true check (only_row),
  snap      text,                          -- pg_snapshot up to whose view everything is in the stream; NULL: nothing read yet
  win       text,                          -- a large window is read in pages: the snapshot where it ends
  page_id   bigint,                        -- the highest event id of that window that is in the stream
  last_seq  bigint      not null default 0,
  last_at   timestamptz not null default '-infinity',   -- log.at never goes back
  epoch     bigint      not null default 0,             -- raised by every session of an owner
  owner     text,                                       -- instance id of the daemon that holds the lock, NULL after a clean release
  checked   timestamptz                                 -- when that owner last proved that it holds the lock
) with (fillfactor = 50);
insert into postback.ingest default values on conflict do nothing;

-- The stream. seq has no gaps: it is last_seq + ordinality under the lock of the ingest row.
create table postback.log (
  seq   bigint      primary key,
  event bigint      not null,
  cause text,                              -- NULL: its commit; else why it is judged again: sale, enrich, reopen, replay
  only_at text[],                          -- the destinations concerned; NULL: all
  at    timestamptz not null               -- database clock at ingest
) with (autovacuum_vacuum_insert_scale_factor = 0.1);
create index on postback.log (event);

-- One row per order and generation. Keys stay for ever (a shop may touch an old order again); the personal data of the
-- purchase is read from its event, only what `enrich` added is kept here.
create table postback.sale (
  order_ref  text        not null,
  generation int         not null,
  event      bigint,                       -- the purchase; NULL: a stub, an enrich came before it
  value      numeric,
  currency   text,
  refunded   numeric     not null default 0,
  retracted  bigint,                       -- the event that took the order back
  who        jsonb,                        -- what enrich added; consent is replaced whole
  who_seq    bigint,                       -- stream position of the last enrich
  primary key (order_ref, generation)
) with (fillfactor = 80);

create table postback.refund (
  order_ref   text    not null,
  refund_ref  text    not null,
  event       bigint  not null,
  generation  int,                         -- NULL: no sale known yet
  amount      numeric not null,            -- as booked: clamped to what was left
  total_after numeric,                     -- running total of its sale, this refund included; NULL: no sale known yet
  primary key (order_ref, refund_ref)
);

-- Once-only for what is not an order: lead, signup, install, subscribe, custom.
create table postback.once (
  kind  text   not null,
  ref   text   not null,
  event bigint not null,
  primary key (kind, ref)
);

-- Per destination, a plain number over the stream. Every event at or below seq has its attempt or a row in pending;
-- nothing above horizon has been put on the wire. After a lost process exactly (seq, horizon] is maybe-sent.
create table postback.position (
  destination text        primary key,
  seq         bigint      not null,
  horizon     bigint      not null,
  epoch       bigint      not null,
  started     bigint      not null,        -- the stream position at which this destination began
  paused      boolean     not null default false,
  halted      text,                        -- why nobody can deliver there, and what to do; NULL: it works
  settings    text,                        -- digest of the settings in force, to mark rebuilt deliveries as uncertain
  at          timestamptz not null default now(),
  check (horizon >= seq)
) with (fillfactor = 50);

-- One row per outcome, append-only: the mark "delivered" and the audit trail.
create table postback.attempt (
  destination text        not null,
  event       bigint      not null,
  attempt     int         not null,        -- counts rows; a skip after a delivery is a row too
  seq         bigint      not null,        -- the entry of the stream that this answers
  at          timestamptz not null,
  outcome     text        not null check (outcome in
                ('delivered', 'accepted', 'skipped', 'dead', 'annulled', 'unknown', 'retry')),
  status      int,                         -- HTTP status; NULL: nothing was sent, or no answer came
  duration_ms int,
  reason      text,                        -- never a body, a query or personal data
  primary key (destination, event, attempt)
);
create index on postback.attempt (event);

-- What was said and what the platform called it, kept where a refund may follow or a retry must repeat it.
create table postback.receipt (
  destination text    not null,
  event       bigint  not null,
  sent        jsonb   not null,            -- value, currency, time, click ids, conversion name; never e-mail or phone
  answer      jsonb,                       -- the platform's ids
  uncertain   boolean not null default false,   -- rebuilt after a crash while configuration or sale had changed
  primary key (destination, event)
);

-- Exceptions only. Open: retrying, held, parked (behind another event of its order), sending (at-most-once, written
-- before the request). Closed but for a person or the platform: accepted, dead, unknown.
create table postback.pending (
  destination text        not null,
  event       bigint      not null,
  seq         bigint      not null,
  order_ref   text        not null,
  state       text        not null check (state in
                ('retrying', 'held', 'parked', 'sending', 'accepted', 'dead', 'unknown')),
  attempts    int         not null default 0,
  next_at     timestamptz,                 -- NULL: waits for another row or for a person
  since       timestamptz not null default clock_timestamp(),
  reason      text,
  primary key (destination, seq)           -- an event may stand in the stream twice, and each entry waits for itself
) with (fillfactor = 80);
create index on postback.pending (event);
create index on postback.pending (destination, order_ref);
create index on postback.pending (destination, state, next_at);

-- What a person asked for. Commands and page actions never write what the owner caches: they insert here.
create table postback.command (
  id       bigint      generated always as identity primary key,
  at       timestamptz not null default clock_timestamp(),
  who      text        not null default session_user,
  what     jsonb       not null,
  answer   jsonb,
  answered timestamptz
);
create index on postback.command (id) where answer is null;
