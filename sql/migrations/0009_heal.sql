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

select postback.settle_ownership();
grant execute on function postback.own(bigint), postback.heal(), postback.heal(bigint, int), postback.trouble_retry(bigint, jsonb) to postback_daemon;
