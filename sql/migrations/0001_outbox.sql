-- The outbox and the functions that write it: what the shop's transaction touches.
--
-- A transaction of the shop appends one row to postback.event and does nothing else: no unique key besides the id, no
-- second table, no row lock, no update. Once-only, running totals and late click ids are the daemon's work. Nothing here
-- may fail the shop: what cannot be said becomes a row of postback.trouble, and the order commits.
--
-- Run it in one transaction. A superuser needs nothing else. Anybody else needs the three roles (or CREATEROLE), to be a
-- member of postback_owner, and CREATE on the database; the first block says exactly which one is missing.

do $install$
declare
  missing text[];
  may_create_roles boolean := (select rolsuper or rolcreaterole from pg_catalog.pg_roles where rolname = current_user);
begin
  if current_setting('server_version_num')::int < 140000 then
    raise exception 'postbackd needs PostgreSQL 14 or newer, this is %', current_setting('server_version');
  end if;
  select array_agg(r order by r) into missing from unnest(array['postback_owner', 'postback_daemon', 'postback_reader']) r
   where not exists (select from pg_catalog.pg_roles where rolname = r);
  if missing is not null and not may_create_roles then
    raise exception using errcode = 'insufficient_privilege',
      message = format('the roles %s do not exist and %I may not create them', array_to_string(missing, ', '), current_user),
      hint = format('A superuser runs: %sgrant postback_owner to %I; grant create on database %I to %I;',
        (select string_agg(format('create role %I nologin; ', r), '') from unnest(missing) r),
        current_user, current_database(), current_user);
  end if;
  for i in 1 .. coalesce(cardinality(missing), 0) loop
    begin
      execute format('create role %I nologin', missing[i]);
    exception when duplicate_object or unique_violation then null;     -- another database of this cluster was faster
    end;
  end loop;
  if not pg_has_role(current_user, 'postback_owner', 'member') then
    begin
      execute format('grant postback_owner to %I', current_user);
    exception when insufficient_privilege then
      raise exception using errcode = 'insufficient_privilege',
        message = format('%I is not a member of postback_owner, which has to own schema postback', current_user),
        hint = format('A superuser runs: grant postback_owner to %I;', current_user);
    end;
  end if;
  if to_regnamespace('postback') is null then
    if not has_database_privilege(current_user, current_database(), 'create') then
      raise exception using errcode = 'insufficient_privilege',
        message = format('%I may not create a schema in database %I', current_user, current_database()),
        hint = format('The owner of the database runs: grant create on database %I to %I;', current_database(), current_user);
    end if;
    create schema postback;
  end if;
  -- doctor() tells how long other people's transactions have been open; without this it says that it cannot see them.
  begin
    if not pg_has_role('postback_owner', 'pg_read_all_stats', 'member') then
      grant pg_read_all_stats to postback_owner;
    end if;
  exception when insufficient_privilege or internal_error then      -- internal: another database of the cluster does the same
    raise notice 'postback_owner cannot see other sessions: a superuser may run "grant pg_read_all_stats to postback_owner"';
  end;
end $install$;

create table if not exists postback.migration (
  version int         primary key,
  name    text        not null,
  at      timestamptz not null default clock_timestamp(),
  by      text        not null default session_user
);

create sequence if not exists postback.event_seq;            -- cache 1: ids must follow causal order

-- What was said. Rows are never updated, but to forget a person and to move to another cluster.
create table if not exists postback.event (
  txid        xid8        not null default pg_current_xact_id(),
  id          bigint      primary key default nextval('postback.event_seq'),
  kind        text        not null,        -- purchase refund retract enrich lead signup install subscribe custom
  ref         text        not null,        -- the order (or lead, account ...) as the shop calls it
  payload     jsonb       not null,
  occurred_at timestamptz not null default clock_timestamp()
) with (autovacuum_vacuum_insert_scale_factor = 0.1);
create index if not exists event_txid_id_idx on postback.event (txid, id);

-- What could not be said, and what is needed to say it later.
create table if not exists postback.trouble (
  id        bigint      generated always as identity primary key,
  at        timestamptz not null default clock_timestamp(),
  what      text        not null,          -- the attached trigger, or the function that was called
  tab       text,                          -- the table as it was called then
  operation text,                          -- INSERT, UPDATE or DELETE
  sqlstate  text        not null,
  message   text        not null,          -- may quote a value of the shop: not for logs
  new_row   jsonb,
  old_row   jsonb,
  new_text  text,                          -- instead of new_row where to_jsonb itself raised
  old_text  text,
  columns   text,                          -- hash of the table's columns when it was attached
  args      jsonb,                         -- arguments of a function that refused them
  event     bigint,                        -- the event that was said nevertheless, or said by a retry
  tries     int         not null default 0,
  done      timestamptz,                   -- NULL: open
  answer    text
);
create index if not exists trouble_open_idx on postback.trouble (id) where done is null;
-- What heal() looks for every second: what a changed column type broke.
create index if not exists trouble_type_idx on postback.trouble (what) where done is null and tries = 0 and sqlstate = '42804';

-- The triggers that postback.attach made, with what is needed to make them again.
create table if not exists postback.attached (
  name      text        primary key,
  tab       regclass    not null,
  tab_name  text        not null,          -- as it was called when columns was taken; finds a table that was made anew
  operation text        not null,          -- insert, update, delete, joined by " or " in this order
  condition text        not null,
  body      text        not null,
  deferred  boolean     not null,
  bulk      boolean     not null,
  is_off    boolean     not null default false,   -- postback.off() was called
  columns   text        not null,          -- hash of the table's columns when its functions were last written
  at        timestamptz not null default clock_timestamp(),
  by        text        not null default session_user
);

-- The shop's own truth for reconcile: a query, kept as text so that it never stands in the way of a DROP or ALTER.
create table if not exists postback.book (
  only_row boolean     primary key default true check (only_row),
  query    text        not null,
  at       timestamptz not null default clock_timestamp(),
  by       text        not null default session_user
);

---------------------------------------------------------------------------------------------------------------------
-- Pure functions
---------------------------------------------------------------------------------------------------------------------

create or replace function postback.event_id(kind text, ref text, refund_ref text default null, generation int default 1) returns text
language sql immutable parallel safe
return kind || '-' || ref || case when generation > 1 then '.' || generation else '' end || coalesce('-' || refund_ref, '');
comment on function postback.event_id(text, text, text, int) is
  'The dedupe id under which the event is told: purchase-1001. Print it in the page, so that pixel and server agree.';

create or replace function postback.minor(amount bigint, exponent int default 2) returns numeric
language sql immutable parallel safe
return case when exponent between 0 and 18 then round(amount * ('1e-' || exponent)::numeric, exponent) end;      -- a division would keep 16 digits only
comment on function postback.minor(bigint, int) is 'Money that the shop keeps in its smallest unit: minor(14098) is 140.98.';

-- An exception block cannot run in a parallel plan, therefore unsafe.
create or replace function postback.json(text) returns jsonb
language plpgsql immutable parallel unsafe set search_path = pg_catalog, pg_temp
as $$
begin
  if $1 is null or btrim($1, E' \t\n\r') = '' then
    return null;
  end if;
  begin
    return $1::jsonb;
  exception when others then
    -- A NUL is valid JSON that jsonb cannot hold. It is dropped, the rest is kept.
    if position('\u0000' in $1) = 0 then
      return null;
    end if;
  end;
  begin
    return regexp_replace($1, '(?<!\\)((?:\\\\)*)\\u0000', '\1', 'g')::jsonb;
  exception when others then
    return null;
  end;
end $$;
comment on function postback.json(text) is 'Text that may be JSON; NULL when empty or invalid, without an error.';

-- Click ids by their URL names (the daemon has the same list, src/click.rs), which are told apart without case; the first
-- non-empty one of a name counts. They are ASCII, so that only such escapes are decoded and no URL, however broken, can raise.
create or replace function postback.click_ids(url text) returns jsonb
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
  with pair as (
    select n, split_part(p, '=', 1) as name, substr(p, strpos(p, '=') + 1) as raw
      from regexp_split_to_table(substr(left(url, 8192), strpos(url, '?') + 1), '[?&;#]') with ordinality as s(p, n)
     where strpos(url, '?') > 0 and strpos(p, '=') > 1
  ), known as (
    select k.name, min(pair.n) as n
      from unnest(string_to_array('gclid gbraid wbraid dclid fbclid fbc fbp ttclid ttp msclkid epik ScCid rdt_cid li_fat_id twclid awc cjevent '
             || 'ranSiteID irclickid tduid tdclid clickref clickid click_id aff_click_id sscid admitad_uid afclid dicbo tblci qclid yclid '
             || 'subid sub_id cid tid cnv_id ckmguid', ' ')) k(name)
      join pair on lower(pair.name) = lower(k.name) and pair.raw <> ''
     group by k.name
  )
  select coalesce(jsonb_object_agg(known.name, (
           select string_agg(case when m[2] is null then m[1] else chr(('x' || lpad(m[2], 8, '0'))::bit(32)::int) end, '' order by i)
             from regexp_matches(replace(left(pair.raw, 1024), '+', ' '), '(%([2-6][0-9a-fA-F]|7[0-9a-eA-E])|.)', 'g') with ordinality as r(m, i))), '{}')
    from known join pair using (n)
$$;
comment on function postback.click_ids(text) is 'Every known click id out of a landing URL, as an object to merge into who. Never NULL, never an error.';

-- Text or JSON string to a time, or NULL. Session settings for dates apply to a time without a zone: give one.
create or replace function postback.instant(text) returns timestamptz
language plpgsql stable parallel unsafe set search_path = pg_catalog, pg_temp
as $$
declare
  t timestamptz;
begin
  t := $1::timestamptz;
  -- Beyond these it is a mistake of the shop, and no platform would take it.
  return case when t >= '2000-01-01 00:00+00' and t < clock_timestamp() + interval '1 day' then t end;
exception when others then
  return null;
end $$;

---------------------------------------------------------------------------------------------------------------------
-- Saying
---------------------------------------------------------------------------------------------------------------------

-- Keeps what could not be said. Never raises: where not even this can be written, a warning is all that is left. In a
-- retry the refusal is raised instead, because there the person who retries has to see it.
create or replace function postback.keep(what text, state text, why text, args jsonb, event bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if coalesce(current_setting('postback.retry', true), '') <> '' and event is null then
    raise exception using errcode = state, message = why;
  end if;
  begin
    insert into postback.trouble (what, sqlstate, message, args, event, done, answer)
    values (what, state, why, args, event, case when event is not null then clock_timestamp() end,
            case when event is not null then 'said, with what could be read' end);
  exception when others or assert_failure then
    raise warning 'postback: % was not said (%), and that could not be kept (%)', what, state, sqlstate;
  end;
  return null;
end $$;

-- Checks and appends one event; returns its id, or NULL when it was refused.
create or replace function postback.append(kind text, ref text, refund_ref text, amount numeric, currency text, who jsonb, more jsonb, reason text)
returns bigint language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
  money constant boolean := kind in ('purchase', 'refund') or amount is not null;
  amount_name constant text := case kind when 'refund' then 'amount' else 'value' end;
  payload jsonb;
  said_at timestamptz;
  notes text[] := '{}';
  why text;
  new_id bigint;
begin
  why := case
    when ref is null or btrim(ref) = '' then 'the reference is missing'
    when octet_length(ref) > 500 then 'the reference is longer than 500 bytes'
    when kind = 'refund' and (refund_ref is null or btrim(refund_ref) = '') then 'refund_ref is missing'
    when octet_length(refund_ref) > 500 then 'refund_ref is longer than 500 bytes'
    when money and amount is null then amount_name || ' is NULL'
    when amount = 'NaN' then amount_name || ' is NaN'
    when amount in ('Infinity', '-Infinity') then amount_name || ' is infinite'
    when amount < 0 then amount_name || ' is negative'
    when amount >= 1e15 then amount_name || ' is too large to be money'
    when kind = 'purchase' and currency is null then 'currency is NULL'
    when btrim(currency) !~ '^[A-Za-z]{3}$' then 'currency is not three letters'
    when jsonb_typeof(who) not in ('object', 'null') then 'who is not a JSON object'
    when jsonb_typeof(more) not in ('object', 'null') then 'more is not a JSON object'
  end;
  if why is not null then
    return postback.keep(kind, '22023', why, postback.args(kind, ref, refund_ref, amount, currency, who, more, reason), null);
  end if;

  -- x || NULL is NULL: a recipe that merges two objects loses the person without noticing. The sale counts nevertheless.
  if kind not in ('refund', 'retract') and who is null then
    notes := notes || 'who is NULL: said without a person'::text;
  end if;
  who := case when jsonb_typeof(who) = 'object' then jsonb_strip_nulls(who) else '{}' end;
  more := case when jsonb_typeof(more) = 'object' then more else '{}' end;

  if more ? 'occurred_at' then
    said_at := postback.instant(more ->> 'occurred_at');
    if said_at is null and more ->> 'occurred_at' is not null then
      notes := notes || 'more.occurred_at is not a time of this century up to now: the time of the commit stands instead'::text;
    end if;
    more := more - 'occurred_at';
  end if;
  said_at := coalesce(said_at, nullif(current_setting('postback.retry', true), '')::timestamptz, clock_timestamp());

  if scale(amount) > 10 then
    amount := round(amount, 10);
  end if;
  payload := case kind
    when 'purchase' then jsonb_build_object('value', amount::text, 'currency', upper(btrim(currency)), 'who', who, 'more', more)
    when 'refund' then jsonb_build_object('refund_ref', refund_ref, 'amount', amount::text, 'more', more)
    when 'retract' then jsonb_strip_nulls(jsonb_build_object('reason', reason))
    when 'enrich' then jsonb_build_object('who', who)
    else jsonb_build_object('who', who, 'more', more)
      || case when amount is null then '{}' else jsonb_build_object('value', amount::text) end
      || case when currency is null then '{}' else jsonb_build_object('currency', upper(btrim(currency))) end
  end;

  -- The size in memory is free to ask and close to the text's; only near the limit the text itself is measured.
  if pg_column_size(payload) > 32768 and octet_length(payload::text) > 65536 then
    payload := payload #- '{more,items}';
    notes := notes || 'the payload is over 64 KiB: said without items'::text;
    if octet_length(payload::text) > 65536 then
      select payload || coalesce(jsonb_object_agg(part, (
               select coalesce(jsonb_object_agg(e.key, e.value), '{}') from jsonb_each(payload -> part) e where octet_length(e.value::text) <= 2000)), '{}')
        into payload
        from unnest(array['who', 'more']) part where payload ? part;
      notes := notes || 'still over 64 KiB: said without the entries of who and more that are longer than 2,000 bytes'::text;
    end if;
    if octet_length(payload::text) > 65536 then
      return postback.keep(kind, '54000', 'the payload is over 64 KiB even without items and long entries',
                           postback.args(kind, ref, refund_ref, amount, currency, who, more, reason), null);
    end if;
  end if;

  insert into postback.event (kind, ref, payload, occurred_at) values (kind, ref, payload, said_at) returning event.id into new_id;
  if cardinality(notes) > 0 then
    perform postback.keep(kind, '01000', array_to_string(notes, '; '), null, new_id);
  end if;
  return new_id;
end $$;

-- Arguments as they are kept with a refusal: numbers as text, because NaN is no JSON number.
create or replace function postback.args(kind text, ref text, refund_ref text, amount numeric, currency text, who jsonb, more jsonb, reason text)
returns jsonb language sql immutable set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('kind', kind, 'ref', ref, 'who', who, 'more', more)
      || jsonb_strip_nulls(jsonb_build_object('refund_ref', refund_ref, 'amount', amount::text, 'currency', currency, 'reason', reason))
$$;

-- The one way in. Inside a guarded trigger the guard catches what raises; elsewhere a block of its own does, so that a
-- row costs one subtransaction and not two. A cancel or a timeout passes through: it would have ended the statement anyway.
create or replace function postback.say(kind text, ref text, refund_ref text, amount numeric, currency text, who jsonb, more jsonb, reason text)
returns bigint language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
  state text;
  why text;
begin
  if lower(current_setting('postback.enabled', true)) in ('off', 'false', 'no', '0') then
    return null;
  end if;
  if current_setting('postback.guarded', true) = 'on' then
    return postback.append(kind, ref, refund_ref, amount, currency, who, more, reason);
  end if;
  begin
    return postback.append(kind, ref, refund_ref, amount, currency, who, more, reason);
  exception when others or assert_failure then
    get stacked diagnostics state = returned_sqlstate, why = message_text;
  end;
  return postback.keep(kind, state, why, postback.args(kind, ref, refund_ref, amount, currency, who, more, reason), null);
end $$;

create or replace function postback.purchase(order_ref text, value numeric, currency text, who jsonb, more jsonb default '{}') returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$ begin return postback.say('purchase', order_ref, null, value, currency, who, more, null); end $$;
comment on function postback.purchase(text, numeric, text, jsonb, jsonb) is
  'The order is paid. Call it as often as the shop touches the order: it is told once. Returns the event''s id, NULL when refused (see postback.trouble).';

create or replace function postback.refund(order_ref text, refund_ref text, amount numeric, more jsonb default '{}') returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$ begin return postback.say('refund', order_ref, refund_ref, amount, null, null, more, null); end $$;
comment on function postback.refund(text, text, numeric, jsonb) is
  'Money of an order went back. amount is that of this refund, not a running total; currency, person and click ids come from the sale.';

create or replace function postback.retract(order_ref text, reason text default null) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$ begin return postback.say('retract', order_ref, null, null, null, null, null, reason); end $$;
comment on function postback.retract(text, text) is 'The shop undid the sale in a later transaction. A purchase after it is a new one.';

create or replace function postback.enrich(order_ref text, who jsonb) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$ begin return postback.say('enrich', order_ref, null, null, null, who, null, null); end $$;
comment on function postback.enrich(text, jsonb) is
  'The click came later, or consent changed. The last non-null value of a key counts; consent is replaced whole.';

create or replace function postback.emit(kind text, ref text, who jsonb, more jsonb default '{}') returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
  raw text := btrim(more ->> 'value');
  why text;
begin
  why := case
    when kind is null then 'kind is NULL'
    when kind in ('purchase', 'refund', 'retract', 'enrich') then format('say it with postback.%s()', kind)
    when kind not in ('lead', 'signup', 'install', 'subscribe', 'custom') then 'kind is none of lead, signup, install, subscribe, custom'
    when jsonb_typeof(more) = 'object' and raw <> '' and raw !~ '^[+-]?\d{1,30}(\.\d{0,30})?$' then 'more.value is not a decimal number'
  end;
  if why is not null then
    if lower(current_setting('postback.enabled', true)) in ('off', 'false', 'no', '0') then
      return null;
    end if;
    return postback.keep('emit', '22023', why, postback.args(kind, ref, null, null, null, who, more, null), null);
  end if;
  if jsonb_typeof(more) <> 'object' then
    return postback.say(kind, ref, null, null, null, who, more, null);
  end if;
  return postback.say(kind, ref, null, nullif(raw, '')::numeric, nullif(btrim(more ->> 'currency'), ''), who, more - '{value,currency}'::text[], null);
end $$;
comment on function postback.emit(text, text, jsonb, jsonb) is
  'What is not an order: lead, signup, install, subscribe, custom. value and currency may stand in more. Told once per kind and reference.';

create or replace function postback.note(what text, sqlstate text, message text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
  insert into postback.trouble (what, sqlstate, message, done)
  values (coalesce(what, '?'), coalesce(sqlstate, '01000'), coalesce(message, ''), case when sqlstate is null then clock_timestamp() end);
exception when others or assert_failure then
  raise warning 'postback: trouble of % could not be kept', what;
end $$;
comment on function postback.note(text, text, text) is 'For the exception block of a trigger function of one''s own: keeps what went wrong. Without an sqlstate it is a remark that waits for nobody. Never raises.';

---------------------------------------------------------------------------------------------------------------------
-- Owner and rights
---------------------------------------------------------------------------------------------------------------------

-- Whoever runs a migration, everything belongs to postback_owner: SECURITY DEFINER functions must not run as anybody
-- mightier. Nobody else may call anything; 0003 and later give each role what it needs.
create or replace function postback.settle_ownership() returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  s text;
begin
  for s in
    select 'alter schema postback owner to postback_owner' where (select nspowner from pg_namespace where nspname = 'postback') <> 'postback_owner'::regrole
    union all
    select format('alter %s %s owner to postback_owner', case relkind when 'S' then 'sequence' when 'v' then 'view' else 'table' end, oid::regclass)
      from pg_class c
     where relnamespace = 'postback'::regnamespace and relkind in ('r', 'p', 'v', 'S') and relowner <> 'postback_owner'::regrole
       and not exists (select from pg_depend d where d.objid = c.oid and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i') and relkind = 'S')
    union all
    select format('alter function %s owner to postback_owner', oid::regprocedure)
      from pg_proc where pronamespace = 'postback'::regnamespace and proowner <> 'postback_owner'::regrole
  loop
    execute s;
  end loop;
  for s in
    select format('revoke execute on function %s from public', oid::regprocedure) from pg_proc
     where pronamespace = 'postback'::regnamespace
       and (proacl is null or exists (select from aclexplode(proacl) where grantee = 0))
  loop
    execute s;
  end loop;
end $$;
alter schema postback owner to postback_owner;
select postback.settle_ownership();
