-- Triggers on the shop's tables: attach, detach, off, on; and the shop's books.
--
-- An attached trigger is two functions. The inner one holds condition and body and may break when the shop changes its
-- tables. The outer one, the trigger function, names no object of the shop and catches whatever the inner one raises,
-- compile errors included; what failed becomes a row of postback.trouble with the rows concerned, to be said again.
--
-- Whoever calls attach and detach needs what CREATE TRIGGER and DROP TRIGGER need on the table, and membership in
-- postback_owner. Bodies run as postback_owner: grant it SELECT on the tables they read, and USAGE on their schemas.

-- A hash of the columns: when it changes, sessions that ran the trigger may hold plans of the old types.
create or replace function postback.columns_of(tab oid) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select coalesce(md5(string_agg(attnum || ' ' || attname || ' ' || atttypid || ' ' || atttypmod, ',' order by attnum)), 'gone')
    from pg_attribute where attrelid = tab and attnum > 0 and not attisdropped
$$;

-- Whether row security hides rows of the table from the role that reads it.
create or replace function postback.hides_rows(tab regclass) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  with policy as (
    select polpermissive, pg_get_expr(polqual, polrelid) as qual from pg_policy
     where polrelid = tab and polcmd in ('*', 'r')
       and exists (select from unnest(polroles) r where r = 0 or pg_has_role(current_user, r, 'usage'))
  )
  select row_security_active(tab)
     and (not exists (select from policy where polpermissive and qual = 'true') or exists (select from policy where not polpermissive))
$$;

-- Schema and table, quoted, whatever search_path is; NULL when the table is gone.
create or replace function postback.table_name(tab oid) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$ select format('%I.%I', nspname, relname) from pg_class c join pg_namespace n on n.oid = relnamespace where c.oid = tab $$;

create or replace function postback.operations(operation text) returns text[]
language sql immutable set search_path = pg_catalog, pg_temp
as $$ select regexp_split_to_array(operation, ' or ') $$;

-- The body without what stands around its statements: comments before them, semicolon and comments after them.
create or replace function postback.trimmed(body text) returns text
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  select regexp_replace(regexp_replace(body, '^(\s|--[^\n]*(\n|$)|/\*([^*]|\*+[^*/])*\*+/)+', ''),
                        '(\s*;(\s|--[^\n''"$]*(\n|$)|/\*[^*''"$]*\*/)*|\s+)$', '')
$$;

-- A body as statements of a function: a bare SELECT or WITH may stand there too, as one would try it out by hand.
create or replace function postback.statements(body text) returns text
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  select case when s ~* '^select\y' then regexp_replace(s, '^select\y', 'perform', 'i') || E'\n;'
              when s ~* '^with\y' then format(E'perform count(*) from (%s\n) postback_said;', s)
              else s || E'\n;' end
    from (select postback.trimmed(body)) t(s)
$$;

-- Source of the inner function. Where a trigger serves several operations the absent record gets the table's shape, so
-- that a condition like "tg_op = 'INSERT' or old.state <> new.state" can be read for an INSERT too.
create or replace function postback.body_source(a postback.attached, trial boolean default false) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select E'begin\n'
      || case when a.operation like '%insert or %' then format(E'  if tg_op = ''INSERT'' then select (null::%s).* into old; end if;\n', a.tab_name) else '' end
      || case when a.operation like '%or delete' then format(E'  if tg_op = ''DELETE'' then select (null::%s).* into new; end if;\n', a.tab_name) else '' end
      || case when trial
           then format(E'  perform (%s\n  );\n%s\n', a.condition, postback.statements(a.body))
           else format(E'  if (%s\n  ) then\n%s\n  end if;\n', a.condition, postback.statements(a.body)) end
      || 'end'
$$;

-- The statement of a bulk trigger: the body is one SELECT over new_rows and old_rows, the condition is judged once.
create or replace function postback.bulk_statement(a postback.attached) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select format(E'select (select count(*) from (%s\n) postback_said) from (select $1::text as tg_op) postback_op where (%s\n)',
                postback.trimmed(a.body), a.condition)
$$;

-- Source of the outer function.
create or replace function postback.trigger_source(a postback.attached) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select case
    when a.is_off then E'begin\n  return null;   -- postback.off() was called; postback.on() brings it back\nend'
    else replace(replace(replace(replace(case when a.bulk then $bulk$
declare
  state text;
  why text;
begin
  begin
    if lower(current_setting('postback.enabled', true)) in ('off', 'false', 'no', '0') then
      return null;
    end if;
    perform set_config('postback.guarded', 'on', true);
    execute <statement> using tg_op;
    perform set_config('postback.guarded', '', true);
    return null;
  exception when others or assert_failure then
    get stacked diagnostics state = returned_sqlstate, why = message_text;
  end;
  -- One bad row sends every row of the statement here; they are retried one by one. Both tables hold the rows of an
  -- UPDATE in the same order.
  begin
    if tg_op = 'INSERT' then
      insert into postback.trouble (what, tab, operation, sqlstate, message, columns, new_row)
      select <name>, format('%I.%I', tg_table_schema, tg_table_name), tg_op, state, why, <columns>, to_jsonb(r) from new_rows r;
    elsif tg_op = 'DELETE' then
      insert into postback.trouble (what, tab, operation, sqlstate, message, columns, old_row)
      select <name>, format('%I.%I', tg_table_schema, tg_table_name), tg_op, state, why, <columns>, to_jsonb(r) from old_rows r;
    else
      insert into postback.trouble (what, tab, operation, sqlstate, message, columns, new_row, old_row)
      select <name>, format('%I.%I', tg_table_schema, tg_table_name), tg_op, state, why, <columns>, n.r, o.r
        from (select row_number() over () as i, to_jsonb(r) as r from new_rows r) n
        join (select row_number() over () as i, to_jsonb(r) as r from old_rows r) o using (i);
    end if;
  exception when others or assert_failure then
    if tg_op = 'INSERT' then
      insert into postback.trouble (what, tab, operation, sqlstate, message, columns, new_text)
      select <name>, format('%I.%I', tg_table_schema, tg_table_name), tg_op, state, why, <columns>, r::text from new_rows r;
    elsif tg_op = 'DELETE' then
      insert into postback.trouble (what, tab, operation, sqlstate, message, columns, old_text)
      select <name>, format('%I.%I', tg_table_schema, tg_table_name), tg_op, state, why, <columns>, r::text from old_rows r;
    else
      insert into postback.trouble (what, tab, operation, sqlstate, message, columns, new_text, old_text)
      select <name>, format('%I.%I', tg_table_schema, tg_table_name), tg_op, state, why, <columns>, n.r, o.r
        from (select row_number() over () as i, r::text as r from new_rows r) n
        join (select row_number() over () as i, r::text as r from old_rows r) o using (i);
    end if;
  end;
  return null;
exception when others or assert_failure then
  raise warning 'postback: % on %.% was not said (%), and that could not be kept (%)', <name>, tg_table_schema, tg_table_name, state, sqlstate;
  return null;
end$bulk$ else $row$
declare
  state text;
  why text;
begin
  if lower(current_setting('postback.enabled', true)) in ('off', 'false', 'no', '0') then
    return null;
  end if;
  begin
    perform set_config('postback.guarded', 'on', true);
    perform postback.<body>(new, old, tg_op);
    perform set_config('postback.guarded', '', true);
    return null;
  exception when others or assert_failure then
    get stacked diagnostics state = returned_sqlstate, why = message_text;
  end;
  begin
    begin
      insert into postback.trouble (what, tab, operation, sqlstate, message, columns, new_row, old_row)
      values (<name>, format('%I.%I', tg_table_schema, tg_table_name), tg_op, state, why, <columns>,
              case when tg_op <> 'DELETE' then to_jsonb(new) end, case when tg_op <> 'INSERT' then to_jsonb(old) end);
    exception when others or assert_failure then     -- to_jsonb raises on a json column that holds \u0000
      insert into postback.trouble (what, tab, operation, sqlstate, message, columns, new_text, old_text)
      values (<name>, format('%I.%I', tg_table_schema, tg_table_name), tg_op, state, why, <columns>,
              case when tg_op <> 'DELETE' then new::text end, case when tg_op <> 'INSERT' then old::text end);
    end;
  exception when others or assert_failure then
    raise warning 'postback: % on %.% was not said (%), and that could not be kept (%)', <name>, tg_table_schema, tg_table_name, state, sqlstate;
  end;
  return null;
end$row$ end, '<name>', quote_literal(a.name)), '<columns>', quote_literal(a.columns)), '<body>', quote_ident(a.name || '_body')),
      '<statement>', case when a.bulk then quote_literal(postback.bulk_statement(a)) else '' end)
  end
$$;

-- Writes both functions. Replacing a function takes no lock on any table and every session sees it at its next call.
create or replace function postback.write_functions(a postback.attached) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  kinds text[] := case when a.bulk then array['trigger'] else array['body', 'trigger'] end;
  kind text;
  signature text;
begin
  if a.bulk and to_regprocedure(format('postback.%I(record, record, text)', a.name || '_body')) is not null then
    execute format('drop function postback.%I(record, record, text)', a.name || '_body');
  end if;
  foreach kind in array kinds loop
    if kind = 'body' then
      signature := format('postback.%I', a.name || '_body');
      execute format('create or replace function %s(new record, old record, tg_op text) returns void language plpgsql as %L', signature, postback.body_source(a));
      signature := signature || '(record, record, text)';
    else
      signature := format('postback.%I()', a.name);
      execute format('create or replace function %s returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as %L',
                     signature, postback.trigger_source(a));
    end if;
    if (select proowner from pg_proc where oid = signature::regprocedure) <> 'postback_owner'::regrole then
      execute format('alter function %s owner to postback_owner', signature);
      execute format('revoke execute on function %s from public', signature);
    end if;
    if exists (select from pg_proc where oid = signature::regprocedure and proacl is null) then
      execute format('revoke execute on function %s from public', signature);
    end if;
  end loop;
end $$;

-- Runs DDL so that the shop never queues behind it: 100 ms for a lock, else everything taken is given back and tried again.
create or replace function postback.patiently(statements text[], what text) returns void
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '100ms'
as $$
declare
  s text;
begin
  for attempt in 1 .. 100 loop
    begin
      foreach s in array statements loop
        execute s;
      end loop;
      return;
    exception when lock_not_available or deadlock_detected then
      perform pg_sleep(0.05 + 0.15 * random());
    end;
  end loop;
  raise exception using errcode = 'lock_not_available',
    message = format('%s: a lock was not to be had in 100 attempts of 100 ms; nothing was changed', what),
    hint = 'A long transaction holds the table: see pg_locks and pg_stat_activity, and call again. postback.off() silences all triggers without a lock.';
end $$;

-- The statements that bring the triggers of an attachment to where they should be; none when they are there.
create or replace function postback.trigger_statements(a postback.attached, anew boolean) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  base text := 'postback_' || a.name;
  ops text[] := postback.operations(a.operation);
  wanted text[] := case when a.bulk then array(select base || '_' || op from unnest(ops) op) else array[base] end;
  tab text := a.tab_name;
  t text;
  enabled "char";
  out text[] := '{}';
begin
  for t in select tgname from pg_trigger where tgrelid = a.tab and not tgisinternal and tgfoid = to_regprocedure(format('postback.%I()', a.name))
                and (anew or tgname <> all (wanted)) loop
    out := out || format('drop trigger %I on %s', t, tab);
  end loop;
  for i in 1 .. cardinality(wanted) loop
    select tgenabled into enabled from pg_trigger where tgrelid = a.tab and tgname = wanted[i] and not anew;
    if not found then
      out := out || case
        when a.bulk then format('create trigger %I after %s on %s referencing %s for each statement execute function postback.%I()', wanted[i], ops[i], tab,
          concat_ws(' ', case when ops[i] <> 'delete' then 'new table as new_rows' end, case when ops[i] <> 'insert' then 'old table as old_rows' end), a.name)
        when a.deferred then format('create constraint trigger %I after %s on %s deferrable initially deferred for each row execute function postback.%I()',
          wanted[i], a.operation, tab, a.name)
        else format('create trigger %I after %s on %s for each row execute function postback.%I()', wanted[i], a.operation, tab, a.name) end;
    elsif enabled = 'D' then
      out := out || format('alter table %s enable trigger %I', tab, wanted[i]);
    end if;
  end loop;
  return out;
end $$;

-- Runs condition and body once per operation on a recent row, then the body whatever the condition says of that row, and
-- takes everything back. An error is the code's: it does not compile, or fails on a row that meets the condition. A
-- warning is a row that meets the condition and is refused. What a row that the condition rules out does is nobody's business.
create or replace function postback.trial(name text) returns table (op text, verdict text, state text, message text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
  a postback.attached;
  latest text;
  source text;
  o text;
  forced boolean;
  empty boolean;
begin
  select * into a from postback.attached t where t.name = name;
  select string_agg(format('%I desc', attname), ', ' order by array_position(i.indkey::int2[], attnum)) into latest
    from pg_index i join pg_attribute on attrelid = indrelid and attnum = any (i.indkey) where indrelid = a.tab and indisprimary;
  -- An empty table gives one row of NULLs.
  source := format('(select r.* from (select) one left join (select * from %s %s limit 1) r on true)', a.tab_name, coalesce('order by ' || latest, ''));
  foreach o in array postback.operations(a.operation) loop
    op := upper(o);
    foreach forced in array array[false, true] loop
      continue when forced and a.bulk;
      begin
        execute format('select not exists (select from %s)', a.tab_name) into empty;
        perform set_config('postback.guarded', 'on', true), set_config('postback.enabled', 'on', true);
        perform set_config('postback.retry', clock_timestamp()::text, true);
        if a.bulk then
          execute 'with ' || concat_ws(', ', case when o <> 'delete' then 'new_rows as ' || source end, case when o <> 'insert' then 'old_rows as ' || source end)
            || ' ' || postback.bulk_statement(a) using op;
        else
          execute format('create function postback.%I(new record, old record, tg_op text) returns void language plpgsql as %L',
                         name || '_try', postback.body_source(a, forced));
          execute format('select postback.%I(%s, %s, %L) from %s r', name || '_try', case when o <> 'delete' then 'r' else 'null' end,
                         case when o <> 'insert' then 'r' else 'null' end, op, source);
        end if;
        raise exception using errcode = 'PB000', message = 'taken back';
      exception
        when sqlstate 'PB000' then null;
        when others or assert_failure then
          get stacked diagnostics state = returned_sqlstate, message = message_text;
          -- 55000: OLD in an INSERT, NEW in a DELETE. 22023: a value that purchase() and the like refuse.
          verdict := case when state ~ '^(42|3F|0A|26)' or state = '55000' then 'error'
                          when not forced and not coalesce(empty, false) then case when state = '22023' then 'warning' else 'error' end end;
          if verdict is not null then
            return next;
            exit;
          end if;
      end;
    end loop;
  end loop;
end $$;

create or replace function postback.attach(tab regclass, operation text, condition text, body text,
                                           deferred boolean default false, bulk boolean default false, name text default null) returns text
language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
  rel record;
  ops text[];
  before postback.attached;
  a postback.attached;
  other text;
  tried record;
begin
  select c.relkind, c.relname, n.nspname, c.relpersistence, c.relispartition into rel from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = tab;
  if rel.relkind not in ('r', 'p') or rel.relpersistence = 't' or rel.nspname in ('pg_catalog', 'information_schema', 'postback') then
    raise exception using errcode = 'wrong_object_type', message = format('%s is not a table of the shop: postback.attach works on ordinary and partitioned tables', tab);
  end if;
  if not pg_has_role(current_user, 'postback_owner', 'member') then
    raise exception using errcode = 'insufficient_privilege', message = format('%I is not a member of postback_owner, which owns the functions of a trigger', current_user),
      hint = format('A superuser runs: grant postback_owner to %I;', current_user);
  end if;
  ops := array(select o from unnest(array['insert', 'update', 'delete']) with ordinality s(o, i)
                where o = any (regexp_split_to_array(lower(btrim(operation)), '\s*,\s*|\s+or\s+')) order by i);
  if operation is null or cardinality(ops) = 0
     or exists (select from unnest(regexp_split_to_array(lower(btrim(operation)), '\s*,\s*|\s+or\s+')) o where o <> all (array['insert', 'update', 'delete'])) then
    raise exception using errcode = 'invalid_parameter_value', message = format('operation %L is not "insert", "update", "delete" or several of them joined by " or "', operation),
      hint = 'Columns belong into the condition, e.g. old.state is distinct from new.state: a trigger "UPDATE OF column" would make the shop''s own ALTER TABLE fail.';
  end if;
  if bulk and deferred then
    raise exception using errcode = 'feature_not_supported', message = 'bulk and deferred exclude each other: a statement trigger cannot wait for the commit';
  end if;
  if nullif(btrim(body), '') is null then
    raise exception using errcode = 'invalid_parameter_value', message = 'the body is empty: it should say something, e.g. perform postback.purchase(...)';
  end if;

  -- One at a time: two sessions that replace the same function would fail each other.
  perform pg_advisory_xact_lock(1886351202, 1);
  a.tab := tab;
  a.tab_name := postback.table_name(tab);
  a.operation := array_to_string(ops, ' or ');
  a.condition := coalesce(nullif(btrim(condition), ''), 'true');
  a.body := body;
  a.deferred := coalesce(deferred, false);
  a.bulk := coalesce(bulk, false);
  a.columns := postback.columns_of(tab);
  if name is not null then
    if name !~ '^[a-z][a-z0-9_]{0,39}$' then
      raise exception using errcode = 'invalid_name', message = format('name %L should be lower-case letters, digits and _, at most 40', name);
    end if;
    a.name := name;
  else
    select t.name into a.name from postback.attached t where t.tab = tab and t.operation = a.operation and t.condition = a.condition order by at limit 1;
    if not found then
      a.name := regexp_replace(regexp_replace(left(lower(rel.relname), 20), '[^a-z0-9]+', '_', 'g'), '^([^a-z])', 't\1') || '_'
        || array_to_string(array(select left(o, 1) from unnest(ops) o), '') || '_' || left(md5(concat_ws('|', rel.nspname, rel.relname, a.operation, a.condition)), 6);
    end if;
  end if;
  select * into before from postback.attached t where t.name = a.name;
  if before.name is null and exists (select from pg_proc where pronamespace = 'postback'::regnamespace and proname in (a.name, a.name || '_body')) then
    raise exception using errcode = 'duplicate_function', message = format('name %L is taken by a function of schema postback', a.name);
  end if;
  if before.tab is not null and before.tab <> tab and postback.table_name(before.tab) is not null then
    raise exception using errcode = 'duplicate_object', message = format('%L is attached to %s already', a.name, before.tab),
      hint = format('Choose another name, or first: select postback.detach(%L)', a.name);
  end if;
  -- While everything is off, a recipe that runs again must not switch a part on.
  a.is_off := coalesce(before.is_off, (select bool_and(t.is_off) from postback.attached t), false);

  begin
    if not has_schema_privilege('postback_owner', rel.nspname, 'usage') then
      execute format('grant usage on schema %I to postback_owner', rel.nspname);
    end if;
    if not has_table_privilege('postback_owner', tab, 'select') then
      execute format('grant select on %s to postback_owner', tab);
    end if;
  exception when insufficient_privilege then null;
  end;
  if not (has_schema_privilege('postback_owner', rel.nspname, 'usage') and has_table_privilege('postback_owner', tab, 'select')) then
    raise exception using errcode = 'insufficient_privilege', message = format('postback_owner may not read %s', tab),
      hint = format('Its owner runs: grant usage on schema %I to postback_owner; grant select on %s to postback_owner;', rel.nspname, tab);
  end if;
  if postback.hides_rows(tab) then
    raise exception using errcode = 'insufficient_privilege', message = format('row security hides rows of %s from postback_owner: the trigger would see less than happened', tab),
      hint = format('create policy postback on %s for select to postback_owner using (true);', tab);
  end if;

  insert into postback.attached (name, tab, tab_name, operation, condition, body, deferred, bulk, is_off, columns)
  values (a.name, a.tab, a.tab_name, a.operation, a.condition, a.body, a.deferred, a.bulk, a.is_off, a.columns)
  on conflict on constraint attached_pkey do update set tab = excluded.tab, tab_name = excluded.tab_name, operation = excluded.operation, condition = excluded.condition, body = excluded.body,
    deferred = excluded.deferred, bulk = excluded.bulk, columns = excluded.columns, at = clock_timestamp(), by = session_user;
  perform postback.write_functions(a);

  for tried in select * from postback.trial(a.name) loop
    if tried.verdict = 'error' then
      raise exception using errcode = tried.state, message = format('the body fails for %s on a recent row of %s: %s', tried.op, tab, tried.message),
        hint = case when tried.state = '42501' then 'Bodies run as postback_owner: grant it SELECT on the tables they read and USAGE on their schemas.'
                    when tried.state = '42P01' then 'Names in bodies are qualified with their schema; search_path is empty there.'
                    when tried.state = '55000' then 'OLD does not exist for an INSERT, NEW not for a DELETE.'
                    else 'Nothing was attached. Where the row is at fault, let the condition rule it out.' end;
    end if;
    raise notice 'postback: tried % on a recent row of %, which would have been refused: % (%)', tried.op, tab, tried.message, tried.state;
  end loop;

  perform postback.patiently(postback.trigger_statements(a, before.name is not null
    and (before.tab, before.operation, before.deferred, before.bulk) is distinct from (a.tab, a.operation, a.deferred, a.bulk)), format('attach %s on %s', a.name, tab));

  if before.name is null then
    select string_agg(t.name, ', ') into other from postback.attached t where t.tab = tab and t.name <> a.name
       and postback.operations(t.operation) && ops and regexp_replace(t.body, '\s', '', 'g') = regexp_replace(a.body, '\s', '', 'g');
    if other is not null then
      raise notice 'postback: % says the same on % already; if % replaces it: select postback.detach(''%'')', other, tab, a.name, other;
    end if;
    if a.deferred then
      raise notice 'postback: % waits for the commit; a transaction that has written % cannot ALTER it before', a.name, tab;
    end if;
    if a.bulk and rel.relkind = 'p' then
      raise notice 'postback: % is a statement trigger: writes that name a partition instead of % do not fire it', a.name, tab;
    end if;
  end if;
  return a.name;
end $$;
comment on function postback.attach(regclass, text, text, text, boolean, boolean, text) is
  'Says something when rows of a table change. condition is SQL over new, old and tg_op; body is plpgsql statements or one SELECT, names qualified. '
  'In a deferred trigger, and where the shop completes a row later, NEW may be stale: read the row again. bulk: body is one SELECT over new_rows and '
  'old_rows, once per statement. Calling it again with the same table, operation and condition (or name) replaces the body without a table lock.';

create or replace function postback.detach(name text) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
  a postback.attached;
begin
  perform pg_advisory_xact_lock(1886351202, 1);
  select * into a from postback.attached t where t.name = name;
  if not found then
    return false;
  end if;
  perform postback.patiently(array(select format('drop trigger %I on %s', tgname, tgrelid::regclass) from pg_trigger
                                    where tgfoid = to_regprocedure(format('postback.%I()', name)) and not tgisinternal and tgparentid = 0)
    || array(select format('drop function %s', oid::regprocedure) from pg_proc
              where oid in (to_regprocedure(format('postback.%I()', name)), to_regprocedure(format('postback.%I(record, record, text)', name || '_body')))),
    format('detach %s from %s', name, a.tab));
  delete from postback.attached t where t.name = name;
  return true;
end $$;
comment on function postback.detach(text) is 'Removes one attached trigger with its functions, for good. False: there is none of that name.';

-- The triggers go, functions and registry stay. Tables are locked in the order of their ids; when one is not to be had
-- the locks on the others are given back before the next attempt, so that the shop waits 100 ms at most.
create or replace function postback.detach_all() returns int
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  todo text[];
begin
  perform pg_advisory_xact_lock(1886351202, 1);
  todo := array(select format('drop trigger %I on %s', tgname, tgrelid::regclass)
                  from pg_trigger join postback.attached a on tgfoid = to_regprocedure(format('postback.%I()', a.name))
                 where not tgisinternal and tgparentid = 0 order by tgrelid, tgname);
  perform postback.patiently(todo, 'detach_all');
  return cardinality(todo);
end $$;
comment on function postback.detach_all() is 'Takes all triggers off the shop''s tables, before a restore or a migration. attach_all() brings them back.';

create or replace function postback.attach_all() returns int
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  a postback.attached;
  todo text[] := '{}';
begin
  perform pg_advisory_xact_lock(1886351202, 1);
  for a in select * from postback.attached order by tab, name loop
    -- A table that was dropped and made anew has another id under its old name.
    if postback.table_name(a.tab) is null then
      if to_regclass(a.tab_name) is null then
        raise warning 'postback: table % of % does not exist any more; attach it anew or: select postback.detach(%)', a.tab_name, a.name, quote_literal(a.name);
        continue;
      end if;
      a.tab := to_regclass(a.tab_name);
    end if;
    a.tab_name := postback.table_name(a.tab);
    a.columns := postback.columns_of(a.tab);
    perform postback.write_functions(a);
    update postback.attached t set tab = a.tab, tab_name = a.tab_name, columns = a.columns
     where t.name = a.name and (t.tab, t.tab_name, t.columns) is distinct from (a.tab, a.tab_name, a.columns);
    todo := todo || postback.trigger_statements(a, false);
  end loop;
  perform postback.patiently(todo, 'attach_all');
  return cardinality(todo);
end $$;
comment on function postback.attach_all() is 'Brings back every trigger that postback.attach made and that is missing or disabled.';

create or replace function postback.switch(off boolean) returns int
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
  a postback.attached;
  n int := 0;
begin
  perform pg_advisory_xact_lock(1886351202, 1);
  for a in update postback.attached t set is_off = off where t.is_off <> off returning t.* loop
    perform postback.write_functions(a);
    n := n + 1;
  end loop;
  return n;
end $$;

create or replace function postback.off() returns int
language sql security definer set search_path = pg_catalog, pg_temp as $$ select postback.switch(true) $$;
comment on function postback.off() is 'Silences all attached triggers at once, without a lock on any table. What happens meanwhile is not said: reconcile finds it.';

create or replace function postback."on"() returns int
language sql security definer set search_path = pg_catalog, pg_temp as $$ select postback.switch(false) $$;
comment on function postback."on"() is 'Undoes postback.off().';

-- NOTIFY at the commit of whatever said something, for wake = "listen". Half a queue is left to others: a full one would
-- fail the shop's commits.
create or replace function postback.notify() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_notification_queue_usage() < 0.5 then
    perform pg_notify('postback_wake', '');
  end if;
  return null;
end $$;

-- The daemon asks for it when its session begins. A transaction that has notified cannot be prepared: shops with two-phase
-- commits should poll.
create or replace function postback.wake(listen boolean) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if listen = exists (select from pg_trigger where tgrelid = 'postback.event'::regclass and tgname = 'wake') then
    return false;
  end if;
  perform postback.patiently(array[case when listen then 'create trigger wake after insert on postback.event for each statement execute function postback.notify()'
                                        else 'drop trigger wake on postback.event' end], 'wake');
  return true;
end $$;
comment on function postback.wake(boolean) is 'Whether commits that say something notify the daemon. It costs a cluster-wide lock at each such commit.';

-- The query runs as postback_owner; only whoever may write the table may set it.
create or replace function postback.books(query text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
  q text := regexp_replace(query, '[\s;]+$', '');
begin
  insert into postback.book (query) values (q) on conflict (only_row) do update set query = excluded.query, at = clock_timestamp(), by = session_user;
  begin
    perform count(*) from postback.booked(now() - interval '1 day', now());
  exception when syntax_error_or_access_rule_violation or undefined_table or undefined_column then
    raise exception using errcode = sqlstate, message = 'the query of the books fails: ' || sqlerrm,
      hint = 'It gives order_ref, value, refunded, currency and paid_at (with time zone); names are schema-qualified; it runs as postback_owner, who needs SELECT.';
  end;
end $$;
comment on function postback.books(text) is
  'The shop''s own truth for reconcile and report: a query that gives order_ref, value, refunded, currency, paid_at of every paid order.';

create or replace function postback.booked(since timestamptz, until timestamptz)
returns table (order_ref text, value numeric, refunded numeric, currency text, paid_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  q text := (select query from postback.book);
begin
  if q is null then
    raise exception using errcode = 'no_data_found', message = 'the shop''s books are not known', hint = 'Tell them once: select postback.books(''select ...'');';
  end if;
  return query execute format(E'select b.order_ref::text, b.value::numeric, b.refunded::numeric, b.currency::text, b.paid_at::timestamptz from (%s\n) b '
    || 'where b.paid_at >= $1 and b.paid_at < $2', q) using since, until;
end $$;

select postback.settle_ownership();
grant execute on function postback.booked(timestamptz, timestamptz), postback.wake(boolean) to postback_daemon;
