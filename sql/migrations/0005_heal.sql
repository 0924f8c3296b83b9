-- Saying later what could not be said: retry one row of trouble, and heal what a migration of the shop broke.

-- A kept row under the names that the table has now: {"old_name": "new_name"}, {"old_name": null} leaves it out.
create or replace function postback.renamed(kept jsonb, map jsonb) returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  select case when kept is null then null else coalesce(jsonb_object_agg(coalesce(map ->> key, key), value)
         filter (where map is null or not map ? key or map ->> key is not null), '{}') end
    from jsonb_each(coalesce(kept, '{}'))
$$;

-- Runs once more what failed. said: everything it had to say is said; answer: as which event, or why not. The event is
-- dated back to when the trouble arose. `map` renames columns of a kept row, or replaces arguments of a refused call
-- (kind, ref, refund_ref, amount, currency, who, more, reason).
create or replace function postback.trouble_retry(trouble bigint, map jsonb default null, out said boolean, out answer text)
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
      elsif postback.table_name(a.tab) is null then
        raise exception 'table % does not exist any more', a.tab_name;
      end if;
      kept := array[postback.renamed(t.new_row, map), postback.renamed(t.old_row, map)];
      select string_agg(distinct key, ', ') into unknown
        from unnest(kept) k, jsonb_object_keys(k) key
       where not exists (select from pg_attribute where attrelid = a.tab and attname = key and attnum > 0 and not attisdropped);
      if unknown is not null then
        raise exception 'table % has no column % any more: say what became of it by a map {"old": "new"}', a.tab_name, unknown;
      elsif coalesce(t.new_text, t.old_text) is not null and t.columns is distinct from postback.columns_of(a.tab) then
        raise exception 'only the text of the row could be kept, and table % has other columns since', a.tab_name;
      end if;
      row_of := case when coalesce(t.new_text, t.old_text) is not null
        then array[format('(select ($2::%s).*)', a.tab_name), format('(select ($3::%s).*)', a.tab_name)]
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
  end;
  perform set_config('postback.guarded', '', true), set_config('postback.retry', '', true);
  if said then
    select min(e.id) into event from postback.event e where e.txid = pg_current_xact_id() and e.id > before;
    answer := coalesce('said as event ' || event, 'it has nothing to say');
  end if;
  update postback.trouble x
     set tries = x.tries + 1, done = case when said then clock_timestamp() end, event = coalesce(event, x.event), answer = answer,
         sqlstate = coalesce(state, x.sqlstate)
   where x.id = trouble;
end $$;

-- After ALTER COLUMN TYPE sessions that had run the trigger fail with 42804 until its functions are replaced. Writes the
-- functions of every attachment whose table changed, or that failed so because another table did, and retries what it
-- could not say. Called every second; while nothing changed it reads a few catalog rows and takes no lock.
create or replace function postback.heal() returns table (name text, said bigint, failed bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  a postback.attached;
  one bigint;
  ok boolean;
begin
  if not exists (select from postback.attached x where x.columns <> postback.columns_of(x.tab) or x.tab_name <> postback.table_name(x.tab))
     and not exists (select from postback.trouble x where x.done is null and x.tries = 0 and x.sqlstate = '42804') then
    return;
  end if;
  if not pg_try_advisory_xact_lock(1886351202, 1) then
    return;                                             -- somebody attaches: a second later is early enough
  end if;
  for a in select * from postback.attached x where x.columns <> postback.columns_of(x.tab) or x.tab_name <> postback.table_name(x.tab)
              or exists (select from postback.trouble y where y.done is null and y.tries = 0 and y.sqlstate = '42804' and y.what = x.name) order by x.name loop
    a.columns := postback.columns_of(a.tab);
    a.tab_name := coalesce(postback.table_name(a.tab), a.tab_name);
    update postback.attached x set columns = a.columns, tab_name = a.tab_name where x.name = a.name;
    name := a.name;
    said := 0;
    failed := 0;
    if a.columns <> 'gone' then
      perform postback.write_functions(a);
      for one in select x.id from postback.trouble x where x.what = a.name and x.done is null and x.tries = 0 order by x.id limit 1000 loop
        select r.said into ok from postback.trouble_retry(one) r;
        said := said + ok::int;
        failed := failed + (not ok)::int;
      end loop;
    end if;
    return next;
  end loop;
  -- What is of no attachment cannot be healed and must not be looked at every second.
  update postback.trouble x set tries = 1
   where x.done is null and x.tries = 0 and x.sqlstate = '42804' and not exists (select from postback.attached y where y.name = x.what);
end $$;

select postback.settle_ownership();
grant execute on function postback.heal(), postback.trouble_retry(bigint, jsonb) to postback_daemon;
