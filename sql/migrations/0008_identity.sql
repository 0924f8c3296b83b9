-- Where this database is at home. Positions and snapshots mean something only in the cluster whose transactions they count,
-- and a copy must not tell platforms what the original tells them. The daemon compares this row with the server before it
-- reads or sends anything; `postbackd rebase` and `postbackd adopt` rewrite it.

create table if not exists postback.identity (
  only_row boolean     primary key default true check (only_row),
  system   bigint,                         -- pg_control_system(): made by initdb; NULL: the server did not tell
  database oid         not null,           -- another one in every dump that was restored, and in every copy by template
  timeline int,                            -- another one after a promotion or a point-in-time recovery
  name     text,                           -- what [database] expect has to say; NULL: it was never given a name
  at       timestamptz not null default clock_timestamp(),
  by       text        not null default session_user
);

-- After a failover, a point-in-time recovery or a rebase: events up to lost_event may have been sent, until lost_at, by a
-- process whose marks did not come along, not even the mark that it was about to send.
alter table postback.position add column if not exists lost_event bigint not null default 0;
alter table postback.position add column if not exists lost_at timestamptz;

create or replace function postback.here() returns table (system bigint, database oid, timeline int)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  database := (select d.oid from pg_database d where d.datname = current_database());
  -- Everybody may ask this as PostgreSQL is shipped; where somebody took the right away, the rest has to do.
  begin
    system := (select c.system_identifier from pg_control_system() c);
  exception when insufficient_privilege or feature_not_supported then null;
  end;
  begin
    if pg_is_in_recovery() then
      timeline := (select c.timeline_id from pg_control_checkpoint() c);
    else
      -- The control file tells the timeline of the last checkpoint, which a promotion does not wait for; a WAL file's name
      -- begins with the present one.
      timeline := ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int;
    end if;
  exception when others then
    begin
      timeline := (select c.timeline_id from pg_control_checkpoint() c);
    exception when insufficient_privilege or feature_not_supported then null;
    end;
  end;
  return next;
end $$;
comment on function postback.here() is 'The cluster, the database and the timeline that this session is connected to.';

-- Makes a copied database the home of its daemon. One transaction, which has to be REPEATABLE READ and to begin with this
-- call, so that the shop may write meanwhile: what it commits after the snapshot is read as usual. Answers with what it did,
-- or with `dry` what it would do. The caller holds the owner's lock.
--   new_name    the identity's name from now on; NULL: it keeps the one it has
--   same_xids   transaction ids mean here what they meant there (pg_upgrade, point-in-time recovery)
--   in_doubt    somebody may have sent since the copy was taken: what has no attempt here is maybe-sent
create or replace function postback.rebase(new_name text, same_xids boolean, in_doubt boolean, dry boolean) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
set enable_nestloop = off                  -- tables that were restored a moment ago have no statistics
as $$
declare
  seen pg_snapshot := pg_current_snapshot();
  mine xid8;
  old_snap pg_snapshot;
  highest bigint;
  unread bigint[];
  taken bigint[];
  neutral bigint := 0;
  doubtful bigint := 0;
  commands bigint;
  behind jsonb := '[]';
  r record;
  was bigint;
  needed bigint;
begin
  if current_setting('transaction_isolation') <> 'repeatable read' then
    raise exception 'postback.rebase needs a REPEATABLE READ transaction of its own; use "postbackd rebase"';
  end if;
  perform set_config('synchronous_commit', 'on', true);

  if same_xids then
    select i.snap::pg_snapshot into old_snap from postback.ingest i;
    if pg_snapshot_xmax(old_snap) > pg_snapshot_xmax(seen) then
      raise exception using errcode = 'object_not_in_prerequisite_state',
        message = format('transaction ids are not the same here: the outbox was read up to %s, and this cluster is at %s',
          pg_snapshot_xmax(old_snap), pg_snapshot_xmax(seen)),
        hint = 'Run it without --same-xids.';
    end if;
    -- A row that stayed where its transaction put it carries that transaction (or a part of it that began later) as its writer;
    -- a restore writes all rows at once.
    if not exists (select from postback.identity i, postback.here() h where i.system = h.system and i.database = h.database)
       and exists (select from postback.event e where e.txid > '2')
       and not (select count(distinct x.writer) >= least(2, count(distinct x.txid)) and bool_or((x.writer - x.txid + 4294967296) % 4294967296 < 100000)
                  from (select e.xmin::text::bigint as writer, e.txid::text::numeric % 4294967296 as txid
                          from postback.event e where e.txid > '2' order by e.id desc limit 1000) x) then
      raise exception using errcode = 'object_not_in_prerequisite_state',
        message = 'transaction ids are not the same here: the last events were not written by the transactions that they name',
        hint = 'This is no pg_upgrade but a dump or a logical copy. Run it without --same-xids.';
    end if;
  end if;

  highest := greatest(0,
    (select max(e.id) from postback.event e), (select max(l.event) from postback.log l), (select max(a.event) from postback.attempt a),
    (select max(greatest(s.event, s.retracted)) from postback.sale s), (select max(f.event) from postback.refund f),
    (select max(o.event) from postback.once o), (select max(p.event) from postback.pending p), (select max(c.event) from postback.receipt c));
  unread := array(select e.id from postback.event e where not exists (select from postback.log l where l.event = e.id) order by e.id);
  -- An id that was given out again must not find what the ledger knows of another event.
  taken := array(
    select u.id from unnest(unread) u(id)
     where u.id in (select s.event from postback.sale s union all select s.retracted from postback.sale s union all select f.event from postback.refund f
                    union all select o.event from postback.once o union all select a.event from postback.attempt a
                    union all select p.event from postback.pending p) order by u.id);
  if not same_xids then
    -- Below the oldest running transaction nothing is ever looked at again; the rest would be, when this cluster gets there.
    select count(*) into neutral from postback.event e
     where e.txid >= pg_snapshot_xmin(seen) and exists (select from postback.log l where l.event = e.id);
  end if;
  if in_doubt then
    select (select coalesce(sum(i.last_seq + cardinality(unread) - p.seq), 0) from postback.position p, postback.ingest i)
           + (select count(*) from postback.pending p where p.state in ('retrying', 'held', 'parked', 'sending')) into doubtful;
  end if;
  select count(*) into commands from postback.command c where c.answer is null;

  -- A logical copy leaves sequences where they began. They are not part of the transaction: moving them twice does no harm.
  for r in
    select 'postback.event_seq' as seq, highest as top
    union all
    select pg_get_serial_sequence('postback.trouble', 'id'), (select coalesce(max(t.id), 0) from postback.trouble t)
    union all
    select pg_get_serial_sequence('postback.command', 'id'), (select coalesce(max(c.id), 0) from postback.command c)
    union all
    select pg_get_serial_sequence('postback.daemon', 'id'), (select coalesce(max(d.id), 0) from postback.daemon d)
    union all
    select 'postback.epoch_seq', (select greatest(i.epoch, (select max(p.epoch) from postback.position p)) from postback.ingest i)
  loop
    execute format('select last_value - (not is_called)::int from %s', r.seq) into was;
    if was < r.top then
      -- The shop may draw numbers meanwhile: a gap keeps them apart.
      needed := r.top + 1000;
      behind := behind || jsonb_build_object('sequence', r.seq, 'from', was, 'to', needed);
      if not dry then
        perform setval(r.seq::regclass, needed);
      end if;
    end if;
  end loop;

  if not dry then
    mine := pg_current_xact_id();
    if mine < pg_snapshot_xmax(seen) then
      raise exception 'postback.rebase has to be the first statement of its transaction';
    end if;
    foreach was in array taken loop
      update postback.event e set id = nextval('postback.event_seq') where e.id = was returning e.id into needed;
      unread := array_append(array_remove(unread, was), needed);
      highest := greatest(highest, needed);
    end loop;
    if not same_xids then
      update postback.event e set txid = '0' where e.txid >= pg_snapshot_xmin(seen) and exists (select from postback.log l where l.event = e.id);
      -- As if they had been said just now: the next look finds them, and reads them in id order.
      update postback.event e set txid = mine from unnest(unread) u(id) where e.id = u.id;
    end if;
    update postback.ingest i
       set epoch = nextval('postback.epoch_seq'), owner = null, daemon = null,
           last_seq = greatest(i.last_seq, (select max(l.seq) from postback.log l)),
           snap = case when same_xids then i.snap else seen::text end,
           win = case when same_xids then i.win end, page_id = case when same_xids then i.page_id end;
    update postback.position p set epoch = nextval('postback.epoch_seq'), daemon = null;
    if in_doubt then
      -- With which settings it was sent is not known either.
      update postback.position p set settings = null, lost_event = greatest(p.lost_event, highest), lost_at = clock_timestamp();
    end if;
    update postback.command c set answered = clock_timestamp(),
           answer = jsonb_build_object('ok', false, 'count', 0, 'text', 'asked before the database was moved; ask again if it is still wanted')
     where c.answer is null;
    insert into postback.identity as i (system, database, timeline, name)
      select h.system, h.database, h.timeline, new_name from postback.here() h
      on conflict (only_row) do update set (system, database, timeline, name, at, by)
        = (excluded.system, excluded.database, excluded.timeline, coalesce(excluded.name, i.name), clock_timestamp(), session_user);
  end if;
  return jsonb_build_object('events', (select count(*) from postback.event), 'unread', cardinality(unread), 'renumbered', cardinality(taken), 'neutralised', neutral,
    'in_doubt', doubtful, 'commands', commands, 'sequences', behind,
    'trouble', (select count(*) from postback.trouble t where t.done is null));
end $$;

select postback.settle_ownership();
grant select on postback.identity to postback_daemon, postback_reader;
grant insert, update on postback.identity to postback_daemon;
grant execute on function postback.here() to postback_daemon, postback_reader;
grant execute on function postback.rebase(text, boolean, boolean, boolean) to postback_daemon;
