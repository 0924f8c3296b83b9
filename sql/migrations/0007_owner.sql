-- Several daemons on one database: who is at work, and since when nobody else can be.

-- One number for every take-over, of the reader and of each destination. It is drawn in the statement that takes the lock, so
-- that whoever took a lock later has the higher number, and a paused process that comes back can take nothing away.
create sequence if not exists postback.epoch_seq;
select pg_catalog.setval('postback.epoch_seq',
  greatest((select last_value from postback.epoch_seq), (select epoch from postback.ingest), (select max(epoch) from postback.position), 1));

-- One row per session of a daemon. `checked` is written every second on the session that holds the locks: a request is begun
-- only while the last such check was sent less than fence_ms ago.
create table if not exists postback.daemon (
  id            bigint      generated always as identity primary key,
  instance      text        not null,
  machine       text        not null,      -- boot id and namespaces: only processes of the same one can be asked whether they live
  pid           int         not null,
  started       bigint      not null,      -- of the process, in ticks since boot: tells it from a later one with its pid
  backend       int         not null,      -- of the session that holds the locks
  backend_start timestamptz not null,
  fence_ms      int         not null,
  began         timestamptz not null default clock_timestamp(),
  checked       timestamptz not null default clock_timestamp(),
  released      timestamptz                -- a clean end
) with (fillfactor = 50);

-- The session that works it; NULL after a clean end. deadline_ms: how long a request that it began may take.
alter table postback.ingest add column if not exists daemon bigint;
alter table postback.ingest drop column if exists checked;
-- The last command that was carried out: daemons that hold destinations only read them anew.
alter table postback.ingest add column if not exists acted bigint not null default 0;
alter table postback.position add column if not exists daemon bigint;
alter table postback.position add column if not exists deadline_ms int;

select postback.settle_ownership();

grant select, usage on sequence postback.epoch_seq to postback_daemon;
grant select, insert, update, delete on postback.daemon to postback_daemon;
-- Not the process numbers: they are of no use on a dashboard.
grant select (id, instance, began, checked, released) on postback.daemon to postback_reader;
