-- What would go with the schema: events, those that no daemon has read, deliveries not at their end, open trouble, triggers.
-- Reads whole tables: for `schema uninstall` only.
select (select count(*) from postback.event),
       (select count(*) from postback.event e where not exists (select from postback.log l where l.event = e.id)),
       (select coalesce(sum(i.last_seq - p.seq), 0)::bigint from postback.position p, postback.ingest i)
         + (select count(*) from postback.pending where state in ('retrying', 'held', 'parked', 'sending')),
       (select count(*) from postback.trouble where done is null),
       (select count(*) from postback.attached)
