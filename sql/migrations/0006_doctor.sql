-- Health of the database side, for people. severity: error (something is not said), warning (it may come to that, or it
-- costs), info. Runs bodies on recent rows and takes it back, so it wants a primary, not a standby.

create or replace function postback.doctor() returns table (severity text, what text, hint text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  a postback.attached;
  r record;
  tool oid;
begin
  if pg_is_in_recovery() then
    return query select 'info', 'this is a standby', 'ask the primary: bodies cannot be tried here';
    return;
  end if;

  -- Owner and rights.
  if (select rolsuper from pg_roles where rolname = 'postback_owner') then
    return query select 'error', 'postback_owner is a superuser: bodies of triggers run as it', 'alter role postback_owner nosuperuser;';
  end if;
  if (select rolcanlogin from pg_roles where rolname = 'postback_owner') then
    return query select 'warning', 'postback_owner can log in', 'alter role postback_owner nologin;';
  end if;
  return query
    select 'error', format('%s belongs to %s', oid::regprocedure, proowner::regrole), format('alter function %s owner to postback_owner;', oid::regprocedure)
      from pg_proc where pronamespace = 'postback'::regnamespace and proowner <> 'postback_owner'::regrole
    union all
    select 'error', format('%s belongs to %s', oid::regclass, relowner::regrole), format('alter table %s owner to postback_owner;', oid::regclass)
      from pg_class where relnamespace = 'postback'::regnamespace and relkind in ('r', 'v', 'S') and relowner <> 'postback_owner'::regrole
    union all
    select 'error', format('%s is SECURITY DEFINER without a fixed search_path', oid::regprocedure), format('alter function %s set search_path = pg_catalog, pg_temp;', oid::regprocedure)
      from pg_proc where pronamespace = 'postback'::regnamespace and prosecdef and not coalesce(array_to_string(proconfig, '|'), '') like '%search_path=%'
    union all
    select 'error', format('everybody may create objects in schema postback'), 'revoke create on schema postback from public;'
      from pg_namespace, aclexplode(nspacl) where nspname = 'postback' and grantee = 0 and privilege_type = 'CREATE';

  -- Ids follow causal order only without a cache.
  return query
    select 'error', format('postback.event_seq has cache %s and increment %s: a later event of another session may get a lower id', seqcache, seqincrement),
           'alter sequence postback.event_seq cache 1 increment 1;'
      from pg_sequence where seqrelid = 'postback.event_seq'::regclass and (seqcache <> 1 or seqincrement <> 1);

  -- Attached triggers.
  if not exists (select from postback.attached) then
    return query select 'warning', 'nothing is attached: no order of the shop is seen', 'select postback.attach(''public.orders'', ''update'', ''new.state = ...'', ''perform postback.purchase(...)'');';
  end if;
  for a in select * from postback.attached order by name loop
    tool := to_regprocedure(format('postback.%I()', a.name));
    if postback.table_name(a.tab) is null then
      return query select 'error', format('%s: table %s does not exist any more', a.name, a.tab_name), format('attach it anew, postback.attach_all() if the table is back under that name, or: select postback.detach(%L);', a.name);
      continue;
    end if;
    if tool is null or not a.bulk and to_regprocedure(format('postback.%I(record, record, text)', a.name || '_body')) is null then
      return query select 'error', format('%s: its functions are missing', a.name), 'select postback.attach_all();';
      continue;
    end if;
    if cardinality(postback.trigger_statements(a, false)) > 0 then
      return query select 'error', format('%s: its trigger on %s is missing or disabled', a.name, a.tab_name), 'select postback.attach_all();';
    end if;
    if a.is_off then
      return query select 'error', format('%s: switched off by postback.off()', a.name), 'select postback."on"(); and say with "postbackd reconcile" what happened meanwhile';
    end if;
    if a.columns <> postback.columns_of(a.tab) or a.tab_name <> postback.table_name(a.tab) then
      return query select 'error', format('%s: %s has changed since its functions were written', a.name, a.tab_name), 'the daemon heals this within a second; without it: select postback.heal();';
    elsif not a.bulk and (select prosrc from pg_proc where oid = to_regprocedure(format('postback.%I(record, record, text)', a.name || '_body'))) <> postback.body_source(a)
       or (select prosrc from pg_proc where oid = tool) <> postback.trigger_source(a) then
      return query select 'warning', format('%s: its functions were changed by hand', a.name), 'the next attach, on() or heal() writes them as registered: put the change into the recipe';
    end if;
    if postback.hides_rows(a.tab) then
      return query select 'error', format('%s: row security hides rows of %s from postback_owner', a.name, a.tab_name), format('create policy postback on %s for select to postback_owner using (true);', a.tab_name);
    end if;
    if not has_table_privilege('postback_owner', a.tab, 'select') then
      return query select 'error', format('%s: postback_owner may not read %s', a.name, a.tab_name), format('grant select on %s to postback_owner;', a.tab_name);
    else
      return query select t.verdict, format('%s: fails for %s on a recent row: %s (%s)', a.name, t.op, t.message, t.state),
             'correct the body, call postback.attach with it again, then: postbackd trouble retry' from postback.trial(a.name) t;
    end if;
    if a.bulk and exists (select from pg_inherits where inhparent = a.tab) then
      return query select 'info', format('%s: writes that name a partition or child of %s do not fire a bulk trigger', a.name, a.tab_name), 'use a row trigger if the shop does that';
    end if;
  end loop;
  return query
    select 'warning', format('trigger %I on %s calls schema postback and is not registered', tgname, tgrelid::regclass), 'made by hand, or left by a restore: drop it, or attach with postback.attach'
      from pg_trigger join pg_proc p on p.oid = tgfoid
     where not tgisinternal and tgparentid = 0 and pronamespace = 'postback'::regnamespace and tgrelid <> 'postback.event'::regclass
       and not exists (select from postback.attached x where x.name = proname);
  return query
    select 'warning', 'commits notify the daemon, and prepared transactions are allowed: PREPARE TRANSACTION fails after a NOTIFY', 'wake = "poll" in the configuration'
     where current_setting('max_prepared_transactions')::int > 0 and exists (select from pg_trigger where tgrelid = 'postback.event'::regclass and tgname = 'wake');

  -- What switches triggers off behind one's back.
  return query
    select 'error', format('%s is set for %s', c, concat_ws(' in ', coalesce('role ' || (select rolname from pg_roles where oid = setrole), 'every role'),
             (select format('database %s', datname) from pg_database where oid = setdatabase))), 'triggers say nothing there: reset it'
      from pg_db_role_setting, unnest(setconfig) c
     where setdatabase in (0, (select oid from pg_database where datname = current_database()))
       and (lower(c) like 'session_replication_role=replica%' or lower(c) ~ '^postback\.enabled=(off|false|no|0)');

  -- Trouble.
  return query
    select 'error', format('%s things were not said by %s, the last at %s (%s)', count(*), t.what, to_char(max(at), 'YYYY-MM-DD HH24:MI'), (array_agg(sqlstate order by id desc))[1]),
           'postbackd trouble list, then: postbackd trouble retry'
      from postback.trouble t where done is null group by t.what order by count(*) desc limit 20;
  return query
    select 'warning', format('%s events since yesterday were said with something left out, e.g. of kind %s', count(*), min(t.what)), 'select at, what, message, event from postback.trouble where event is not null;'
      from postback.trouble t where t.sqlstate = '01000' and at > now() - interval '1 day' having count(*) > 0;

  -- A row trigger takes one subtransaction per row that says something; beyond 64 they overflow what a backend shares.
  return query
    select 'warning', format('a transaction said %s events at once (e.g. %s)', n, kind), 'attach with bulk => true where the shop writes many rows in one statement'
      from (select count(*) as n, min(e.kind) as kind from postback.event e where id > (select coalesce(max(id), 0) - 20000 from postback.event) group by txid) s
     where n > 200 and exists (select from postback.attached where not bulk)
     order by n desc limit 1;

  -- What holds events back, or keeps dead rows.
  return query
    select case when since > interval '1 hour' then 'warning' else 'info' end,
           format('session %s (%s, %s) has a transaction open since %s', pid, usename, state, date_trunc('second', since)),
           'its own events wait for its commit, and vacuum waits for it; see idle_in_transaction_session_timeout'
      from (select pid, usename, state, clock_timestamp() - xact_start as since from pg_stat_activity
             where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()) s
     where since > interval '5 minutes';
  if not pg_has_role(current_user, 'pg_read_all_stats', 'usage') then
    return query select 'info', 'transactions of others cannot be seen', 'grant pg_read_all_stats to postback_owner;';
  end if;
  return query
    select 'warning', format('prepared transaction %s is open since %s', gid, date_trunc('second', clock_timestamp() - prepared)), 'commit prepared or rollback prepared: its events wait'
      from pg_prepared_xacts where database = current_database() and clock_timestamp() - prepared > interval '5 minutes';

  -- Nobody reads.
  return query
    select 'warning', format('event %s of %s is not in the stream', s.id, s.ref), 'is a daemon running? postbackd status'
      from (select e.id, e.ref from postback.event e where not exists (select from postback.log l where l.event = e.id)
               and occurred_at < now() - interval '1 minute' and id > (select coalesce(max(event), 0) from postback.log) order by id limit 1) s
     where exists (select from postback.ingest where snap is not null);

  -- Vacuum and age.
  if current_setting('autovacuum') <> 'on' then
    return query select 'warning', 'autovacuum is off', 'alter system set autovacuum = on; select pg_reload_conf();';
  end if;
  return query
    select 'warning', format('%s has %s dead rows of %s', relid::regclass, n_dead_tup, n_live_tup + n_dead_tup), 'a long transaction, or autovacuum workers busy elsewhere: vacuum ' || relid::regclass
      from pg_stat_user_tables where schemaname = 'postback' and n_dead_tup > 50000 and n_dead_tup > n_live_tup;
  return query
    select 'warning', format('%s is %s transactions old', oid::regclass, age(relfrozenxid)), 'vacuum freeze ' || oid::regclass
      from pg_class where relnamespace = 'postback'::regnamespace and relkind = 'r' and age(relfrozenxid) > 1.5 * current_setting('autovacuum_freeze_max_age')::bigint
    union all
    select 'warning', format('the database is %s transactions old', age(datfrozenxid)), 'autovacuum does not keep up: look for old transactions, prepared transactions and replication slots'
      from pg_database where datname = current_database() and age(datfrozenxid) > 1000000000
    union all
    select 'info', format('the oldest snapshot is %s transactions back', n), 'an old transaction, replication slot or standby holds vacuum back'
      from (select pg_current_xact_id()::text::numeric - pg_snapshot_xmin(pg_current_snapshot())::text::numeric as n) s where n > 5000000;
end $$;
comment on function postback.doctor() is 'What is wrong on the database side, each with its fix. Empty: nothing.';

select postback.settle_ownership();
-- Not the reader: a message may quote a value of the shop.
grant execute on function postback.doctor() to postback_daemon;
