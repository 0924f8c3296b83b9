-- One index for attempts instead of two. Everything that looks for them has the event, a range of events, or the event and the
-- destination: with the event first, the primary key serves all, and a delivery writes a sixth less WAL.
do $$
begin
  if not exists (select from pg_catalog.pg_constraint where conrelid = 'postback.attempt'::regclass and conname = 'attempt_event_pkey') then
    alter table postback.attempt drop constraint attempt_pkey, add constraint attempt_event_pkey primary key (event, destination, attempt);
  end if;
end $$;
drop index if exists postback.attempt_event_idx;
