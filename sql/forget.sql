-- Takes what is known of persons out of every table of the schema; keys, counts, states and money stay. Run by the owner, in its own
-- transaction. $1 ids of events, $2 references of orders, $3 words that name a person (an e-mail address), $4 patterns that find such a
-- word as a whole, however it is encoded, in a text in lower case. Returns how many rows were changed. Index walks but for
-- postback.trouble, postback.pending and postback.tally, which are small.
with person as materialized (
  select e.id, e.kind, e.ref, e.payload, e.kind not in ('purchase', 'refund', 'retract', 'enrich') as plain
    from postback.event e where e.id = any ($1::bigint[])),
-- What the person is known by. Towns, first names and browsers are other people's too.
leaf as materialized (
  select distinct p.id, w.key, v.value #>> '{}' as word
    from person p, jsonb_each(case when jsonb_typeof(p.payload -> 'who') = 'object' then p.payload -> 'who' else '{}' end) w,
         jsonb_path_query(w.value, '$.**') v(value)
   where jsonb_typeof(v.value) in ('string', 'number') and w.key <> 'consent'),
known as materialized (
  select lower(l.word) as word from leaf l
   where length(l.word) >= 6 and l.key not in ('first_name', 'last_name', 'city', 'state', 'zip', 'country', 'user_agent', 'ip', 'page_url', 'clicked_at', 'landed_at')
  union select lower(btrim(w.word)) from unnest($3::text[]) w(word)),
-- What names nobody else. A click id may be the same for all who came by one newsletter; a phone or an id of a shop's guests may be too.
own as materialized (
  select distinct lower(btrim(l.word)) as word, l.key = 'email' as sure from leaf l
   where length(l.word) >= 6 and l.key in ('email', 'phone', 'external_id')),
-- What a platform may have quoted of them in what it answered, as it stands or as it stands in a URL.
plain as materialized (
  select lower(l.word) as word from leaf l where length(l.word) >= 4
  union select k.word from known k where length(k.word) >= 4),
quoted as materialized (
  select p.word from plain p
  union select unnest(array[u.word, replace(u.word, '%20', '+')]) from (
    select (select string_agg(case when c.letter ~ '[a-z0-9._~-]' then c.letter
                                   else regexp_replace(encode(convert_to(c.letter, 'UTF8'), 'hex'), '(..)', '%\1', 'g') end, '' order by c.place)
              from regexp_split_to_table(p.word, '') with ordinality c(letter, place)) as word from plain p) u),
-- Amounts are kept as they are; a description of goods is not.
event as (
  update postback.event e
     set payload = (select coalesce(jsonb_object_agg(k.key, k.value), '{}') from jsonb_each(p.payload) k where k.key in ('value', 'currency', 'amount', 'refund_ref'))
                   || jsonb_build_object('forgotten', true, 'more', (
                        select coalesce(jsonb_object_agg(m.key, m.value), '{}')
                          from jsonb_each(case when jsonb_typeof(p.payload -> 'more') = 'object' then p.payload -> 'more' else '{}' end) m
                         where m.key in ('tax', 'shipping', 'subtotal', 'discount') and m.value #>> '{}' ~ '^[0-9.]+$')),
         -- An order's reference is the ledger's key and stays, even where the person goes by the same word.
         ref = case when p.plain and lower(e.ref) in (select k.word from known k) then 'forgotten-' || e.id else e.ref end
    from person p where e.id = p.id and jsonb_typeof(p.payload) = 'object' returning e.id),
-- A row that no shop's trigger wrote.
strange as (
  update postback.event e set payload = '{"forgotten": true}' from person p where e.id = p.id and jsonb_typeof(p.payload) is distinct from 'object' returning e.id),
once as (
  update postback.once o set ref = 'forgotten-' || o.event from person p
   where o.kind = p.kind and o.ref = p.ref and o.event = p.id and lower(p.ref) in (select k.word from known k) returning 1),
mention as (
  delete from postback.mention m using person p where p.plain and m.ref = p.ref and m.event = p.id and lower(p.ref) in (select k.word from known k) returning 1),
sale as (
  update postback.sale s set who = null where s.order_ref = any ($2::text[]) and s.who is not null returning 1),
receipt as (
  update postback.receipt r set sent = r.sent - 'click', answer = case when exists (select from quoted w where strpos(lower(r.answer::text), w.word) > 0) then null else r.answer end
    from person p, postback.position d where r.destination = d.destination and r.event = p.id returning 1),
attempt as (
  update postback.attempt a set reason = 'forgotten' from person p
   where a.event = p.id and exists (select from quoted w where strpos(lower(a.reason), w.word) > 0) returning 1),
-- The last reason of five minutes, for the page.
tally as (
  update postback.tally t set reason = 'forgotten' where exists (select from quoted w where strpos(lower(t.reason), w.word) > 0) returning 1),
pending as (
  update postback.pending q
     set reason = case when exists (select from quoted w where strpos(lower(q.reason), w.word) > 0) then 'forgotten' else q.reason end,
         order_ref = case when p.plain and lower(q.order_ref) in (select k.word from known k) then 'forgotten-' || q.event else q.order_ref end
    from person p where q.event = p.id returning 1),
trouble as (
  update postback.trouble t
     set new_row = null, old_row = null, new_text = null, old_text = null, args = null, message = 'forgotten', answer = 'forgotten', done = coalesce(t.done, clock_timestamp())
   -- What could not be said of the same person's other orders is lost only where the person is meant, and not one order. A row with
   -- another address is another person's.
   where cardinality($3::text[]) > 0 and exists (
           select from (values (t.new_row), (t.old_row), (t.args)) r(row), jsonb_path_query(r.row, '$.**') v(value), own o
            where jsonb_typeof(v.value) = 'string' and lower(btrim(v.value #>> '{}')) = o.word and (o.sure or strpos(r.row::text, '@') = 0))
      -- By its reference alone only where a column is called so: a price may be the same number.
      or exists (
           select from (values (t.new_row), (t.old_row), (t.args)) r(row), jsonb_each_text(case when jsonb_typeof(r.row) = 'object' then r.row else '{}' end) c
            where c.value = any ($2::text[]) and (c.key ~* '(order|ref|number|code)' or c.key = 'id' and t.tab ~* 'order'))
      or lower(concat_ws(' ', t.new_text, t.old_text, t.message, t.answer, t.new_row::text, t.old_row::text, t.args::text)) ~ any ($4::text[])
  returning 1)
select (select count(*) from event) + (select count(*) from strange), (select count(*) from once) + (select count(*) from mention) + (select count(*) from sale)
     + (select count(*) from receipt) + (select count(*) from attempt) + (select count(*) from pending) + (select count(*) from tally), (select count(*) from trouble)
