-- The schema as text, the same on every version of PostgreSQL: tables, indexes, constraints, view columns, functions with their
-- settings, and rights.
with ns as (select 'postback'::regnamespace as oid),
line(section, name, n, text) as (
  select 0, '', 0, '-- Schema postback after all migrations. Made by a test; how: tests/schema.rs, golden.'
  union all
  select 1, relname::text, 0, format(E'\n%s %s%s  -- rights: %s', case relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end, relname,
         coalesce(' with (' || array_to_string(reloptions, ', ') || ')', ''), coalesce((select string_agg(a::text, ' ' order by a::text) from unnest(relacl) a), ''))
    from pg_class, ns where relnamespace = ns.oid and relkind in ('r', 'v', 'S')
  union all
  select 1, relname::text, attnum, format('  %s %s%s%s%s%s', attname, format_type(atttypid, atttypmod), case when attnotnull then ' not null' else '' end,
         coalesce(' default ' || pg_get_expr(adbin, adrelid), ''), case attidentity when 'a' then ' generated always as identity' else '' end,
         coalesce('  -- rights: ' || (select string_agg(a::text, ' ' order by a::text) from unnest(attacl) a), ''))
    from pg_class c join pg_attribute a on attrelid = c.oid left join pg_attrdef d on adrelid = c.oid and adnum = attnum, ns
   where relnamespace = ns.oid and relkind in ('r', 'v') and attnum > 0 and not attisdropped
  union all
  select 1, conrelid::regclass::text, 1000, '  ' || conname || ' ' || pg_get_constraintdef(c.oid)
    from pg_constraint c, ns where connamespace = ns.oid and contype in ('p', 'c', 'u', 'f')
  union all
  select 1, c.relname::text, 2000, '  ' || pg_get_indexdef(indexrelid) from pg_index join pg_class c on c.oid = indrelid, ns where relnamespace = ns.oid and not indisprimary
  union all
  select 2, proname::text, 0, format(E'\nfunction %s(%s) returns %s\n  %s%s%s%s  -- rights: %s', proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
         lanname, case provolatile when 'i' then ' immutable' when 's' then ' stable' else '' end || case proparallel when 's' then ' parallel safe' else '' end,
         case when prosecdef then ' security definer' else '' end, coalesce(' set ' || array_to_string(proconfig, ' set '), ''),
         coalesce((select string_agg(a::text, ' ' order by a::text) from unnest(proacl) a), ''))
    from pg_proc p join pg_language l on l.oid = prolang, ns where pronamespace = ns.oid
)
-- From 17 on an owner may maintain, too.
select replace(replace(replace(text, 'postback.', ''), 'postback_', ''), '=arwdDxtm/', '=arwdDxt/') from line order by section, regexp_replace(name, '^postback\.', '') collate "C", n, text collate "C"
