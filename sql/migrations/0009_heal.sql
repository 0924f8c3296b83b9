-- Healing in the order in which things happened, a little at once, and only by the owner.
--
-- A change of the shop's tables breaks several attachments at once, and what each of them could not say belongs together:
-- a refund that is said before its purchase would wait, a retract would be lost. So all functions are written first, and
-- then trouble is said again by its id, whatever it is attached to.

select postback.patiently(array[
  -- Hash of the columns when it was last tried; NULL: only when it arose. What was tried in vain is tried again by itself
  -- when the table has changed once more.
  'alter table postback.trouble add column if not exists tried text',
  'create index if not exists trouble_shape_idx on postback.trouble (what, (coalesce(tried, columns))) where done is null',
  'create index if not exists trouble_plan_idx on postback.trouble (what, at) where done is null and tries = 0 and sqlstate in (''42804'', ''XX000'', ''0A000'')',
  'drop index if exists postback.trouble_type_idx'], 'trouble');
-- When heal last wrote the functions; NULL: attach did.
alter table postback.attached add column if not exists written timestamptz;

-- What was tried before this migration is nobody's to repeat.
update postback.trouble x set tried = a.columns from postback.attached a where a.name = x.what and x.done is null and x.tries > 0 and x.tried is null;

-- Ends a transaction of a daemon that is not the owner any more. The last statement of it, so that the row of the stream is
-- held for the moment of the commit only: a takeover comes before or after, never between.
create or replace function postback.own(mine bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  perform from postback.ingest i where i.epoch = mine for share;
  if not found then
    raise exception using errcode = 'PB001', message = 'another owner took over';
  end if;
end $$;

-- Runs once more what failed; as trouble_retry, and passing: nothing is wrong with it, a lock was not to be had.
create or replace function postback.say_again(trouble bigint, map jsonb, out said boolean, out answer text, out passing boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
  t postback.trouble;
  a postback.attached;
  args jsonb;
  kept jsonb[];
  unknown text;
  row_of text[];
  before bigint;
  event bigint;
  state text;
begin
  said := false;
  passing := false;
  select * into t from postback.trouble x where x.id = trouble for update;
  if not found then
    answer := format('there is no trouble %s', trouble);
    return;
  elsif t.done is not null then
    said := true;
    answer := coalesce(t.answer, 'done before');
    return;
  end if;
  select coalesce(max(e.id), 0) into before from postback.event e where e.txid = pg_current_xact_id();
  begin
    perform set_config('postback.guarded', 'on', true), set_config('postback.enabled', 'on', true), set_config('postback.retry', t.at::text, true);
    if t.args is not null then
      args := t.args || coalesce(map, '{}');
      if args ->> 'kind' in ('purchase', 'refund', 'retract', 'enrich') then
        perform postback.say(args ->> 'kind', args ->> 'ref', args ->> 'refund_ref', (args ->> 'amount')::numeric, args ->> 'currency', args -> 'who', args -> 'more', args ->> 'reason');
      else
        perform postback.emit(args ->> 'kind', args ->> 'ref', args -> 'who', case when jsonb_typeof(args -> 'more') = 'object'
          then args -> 'more' || jsonb_strip_nulls(jsonb_build_object('value', args -> 'amount', 'currency', args -> 'currency')) else args -> 'more' end);
      end if;
    else
      select * into a from postback.attached x where x.name = t.what;
      if not found then
        raise exception 'nothing is attached under the name %: it was noted by hand, or detached', t.what;
      elsif t.new_row is null and t.old_row is null and t.new_text is null and t.old_text is null then
        raise exception 'no row was kept with it';
      elsif not exists (select from pg_class where oid = a.tab) then
        raise exception 'table % does not exist any more', a.tab_name;
      end if;
      kept := case when map is null then array[t.new_row, t.old_row] else array[postback.renamed(t.new_row, map), postback.renamed(t.old_row, map)] end;
      select string_agg(distinct key, ', ') into unknown
        from unnest(kept) k, jsonb_object_keys(k) key
       where not exists (select from pg_attribute where attrelid = a.tab and attname = key and attnum > 0 and not attisdropped);
      if unknown is not null then
        raise exception 'table % has no column % any more: say what became of it by a map {"old": "new"}', a.tab_name, unknown;
      elsif coalesce(t.new_text, t.old_text) is not null and t.columns is distinct from postback.columns_of(a.tab) then
        raise exception 'only the text of the row could be kept, and table % has other columns since', a.tab_name;
      end if;
      -- A row's text is in the order of the table where it stood: a partition has an order of its own.
      row_of := case when coalesce(t.new_text, t.old_text) is not null
        then array[format('(select ($2::%s).*)', coalesce(to_regclass(t.tab)::text, a.tab_name)), format('(select ($3::%s).*)', coalesce(to_regclass(t.tab)::text, a.tab_name))]
        else array[format('(select (jsonb_populate_record(null::%s, $2::jsonb)).*)', a.tab_name), format('(select (jsonb_populate_record(null::%s, $3::jsonb)).*)', a.tab_name)] end;
      if a.bulk then
        execute 'with ' || concat_ws(', ', case when t.operation <> 'DELETE' then 'new_rows as ' || row_of[1] end,
                                           case when t.operation <> 'INSERT' then 'old_rows as ' || row_of[2] end)
          || ' ' || postback.bulk_statement(a) using t.operation, coalesce(t.new_text, kept[1]::text), coalesce(t.old_text, kept[2]::text);
      else
        execute format('select postback.%I(%s, %s, $1) from %s n, %s o', a.name || '_body', case when t.operation <> 'DELETE' then 'n' else 'null' end,
                       case when t.operation <> 'INSERT' then 'o' else 'null' end, row_of[1], row_of[2])
          using t.operation, coalesce(t.new_text, kept[1]::text), coalesce(t.old_text, kept[2]::text);
      end if;
    end if;
    said := true;
  exception when others or assert_failure then
    get stacked diagnostics state = returned_sqlstate, answer = message_text;
    passing := state in ('55P03', '40P01', '40001');
  end;
  perform set_config('postback.guarded', '', true), set_config('postback.retry', '', true);
  if said then
    select min(e.id) into event from postback.event e where e.txid = pg_current_xact_id() and e.id > before;
    answer := coalesce('said as event ' || event, 'it has nothing to say');
  elsif passing then
    return;
  end if;
  update postback.trouble x
     set tries = x.tries + 1, done = case when said then clock_timestamp() end, event = coalesce(event, x.event), answer = answer,
         sqlstate = coalesce(state, x.sqlstate), tried = a.columns
   where x.id = trouble;
end $$;

create or replace function postback.trouble_retry(trouble bigint, map jsonb default null, out said boolean, out answer text)
language sql security definer set search_path = pg_catalog, pg_temp
as $$ select s.said, s.answer from postback.say_again(trouble, map) s $$;

-- What is to be said again by itself, oldest first. Pinned to the index by id, because a planner that knows nothing of young
-- trouble reads and sorts all of it for every few rows.
create or replace function postback.to_say(at_most int) returns setof postback.trouble
language sql stable set search_path = pg_catalog, pg_temp set enable_sort = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
  select y.* from postback.trouble y join postback.attached x on x.name = y.what
   where y.done is null and x.columns <> 'gone' and not x.is_off
     and (coalesce(y.tried, y.columns) <> x.columns or y.tries = 0 and y.sqlstate in ('42804', 'XX000', '0A000'))
   order by y.id limit at_most
$$;

-- Writes the functions of every attachment whose table changed since, or that failed because another table did, and says
-- again up to at_most things that failed under other columns than the table has now. Takes no lock while there is nothing.
create or replace function postback.heal_some(at_most int) returns table (name text, said bigint, failed bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
as $$
#variable_conflict use_column
declare
  a postback.attached;
  one record;
  done record;
  healed text[] := '{}';
  spoke text[] := '{}';
  mute text[] := '{}';
begin
  if not exists (select from postback.attached x where x.columns <> postback.columns_of(x.tab) or x.tab_name <> postback.table_name(x.tab))
     and not exists (select from postback.attached x join postback.trouble y on y.what = x.name where y.done is null and not x.is_off
                        and (coalesce(y.tried, y.columns) < x.columns or coalesce(y.tried, y.columns) > x.columns))
     and not exists (select from postback.attached x join postback.trouble y on y.what = x.name
                      where y.done is null and y.tries = 0 and y.sqlstate in ('42804', 'XX000', '0A000') and not x.is_off) then
    return;
  end if;
  if not pg_try_advisory_xact_lock(1886351202, 1) then
    return;                                             -- somebody attaches: a second later is early enough
  end if;
  for a in select * from postback.attached x where x.columns <> postback.columns_of(x.tab) or x.tab_name <> postback.table_name(x.tab)
              or exists (select from postback.trouble y where y.what = x.name and y.done is null and y.tries = 0 and y.sqlstate in ('42804', 'XX000', '0A000')
                            and y.at > coalesce(x.written, '-infinity') and y.at > x.at) order by x.name loop
    a.columns := postback.columns_of(a.tab);
    a.tab_name := coalesce(postback.table_name(a.tab), a.tab_name);
    update postback.attached x set columns = a.columns, tab_name = a.tab_name, written = clock_timestamp() where x.name = a.name;
    if a.columns <> 'gone' then
      perform postback.write_functions(a);
    end if;
    healed := healed || a.name;
  end loop;
  for one in select y.id, y.what from postback.to_say(at_most) y loop
    perform from postback.trouble y where y.id = one.id for update skip locked;
    continue when not found;                            -- a person retries it just now
    select s.said, s.passing into done from postback.say_again(one.id, null) s;
    exit when done.passing;
    if done.said then
      spoke := spoke || one.what;
    else
      mute := mute || one.what;
    end if;
  end loop;
  return query
    select n, (select count(*) from unnest(spoke) s where s = n), (select count(*) from unnest(mute) m where m = n)
      from unnest(healed || spoke || mute) n group by n order by n;
end $$;

create or replace function postback.heal() returns table (name text, said bigint, failed bigint)
language sql security definer set search_path = pg_catalog, pg_temp
as $$ select h.name, h.said, h.failed from postback.heal_some(1000) h $$;

-- The daemon's: nothing of it stays if `mine` is not the epoch of the owner any more.
create or replace function postback.heal(mine bigint, at_most int) returns table (name text, said bigint, failed bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
as $$
#variable_conflict use_column
begin
  return query select h.name, h.said, h.failed from postback.heal_some(at_most) h;
  if found then
    perform postback.own(mine);
  end if;
end $$;

-- As before, and it knows children of a table, and columns that a kept row has and its table has not.
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
    -- Partitions get a copy of a row trigger, children do not.
    return query
      select 'warning', format('%s: rows of %s are not seen: a trigger of %s does not fire for its child', a.name, postback.table_name(inhrelid), a.tab_name),
             format('select postback.attach(%L, ...) with the same body, if orders stand there', postback.table_name(inhrelid))
        from pg_inherits join pg_class p on p.oid = inhparent
       where inhparent = a.tab and p.relkind = 'r' and not a.bulk and not exists (select from postback.attached x where x.tab = inhrelid)
       order by inhrelid limit 20;
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
           || case when bool_or(answer like '%by a map%') then ' --map ''{"old column": "new column", "gone": null}''' else '' end
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

select postback.settle_ownership();
grant execute on function postback.own(bigint), postback.heal(), postback.heal(bigint, int), postback.trouble_retry(bigint, jsonb) to postback_daemon;
