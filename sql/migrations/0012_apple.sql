-- What Apple's devices send to the shop: SKAdNetwork and AdAttributionKit postbacks. Beside the outbox and no part of the shop's
-- transactions: the daemon's listener writes here, and where forwarding is on says an event in the same transaction.

create table if not exists postback.apple_postback (
  id          uuid        primary key default gen_random_uuid(),   -- no sequence, so that a copied database needs nothing
  received_at timestamptz not null default clock_timestamp(),
  protocol    text        not null,        -- skadnetwork adattributionkit
  version     text,                        -- of SKAdNetwork; NULL: it named none
  verdict     text        not null,        -- verified invalid unverifiable
  reason      text,                        -- why it is not verified
  environment text,                        -- production development; NULL unless verified
  identifier  uuid        not null,        -- transaction-id, postback-identifier
  sequence    smallint    not null,        -- which of up to three of an install, from 0
  app         bigint      not null,        -- the advertised app, by its id in the App Store
  won         boolean     not null,        -- the network that it names is the one that counts
  fields      jsonb       not null,        -- what it says, under the house's names
  body        bytea       not null,        -- as it came
  event       bigint                       -- the event that was said of it
);
-- Only what Apple signed holds an identifier: a forged body cannot stand in the real one's way. The signature itself tells nothing
-- apart, since another one for the same text is easily made of it.
create unique index if not exists apple_postback_once_idx on postback.apple_postback (identifier, sequence, environment) where verdict = 'verified';
create index if not exists apple_postback_received_idx on postback.apple_postback (received_at);
-- Of what anybody can make only so many are kept, and not for long.
create index if not exists apple_postback_doubtful_idx on postback.apple_postback (verdict, received_at)
  where verdict <> 'verified' or environment = 'development';

-- Everything that came, counted; the words come from a closed list, so that a day has some dozens of rows at the most.
create table if not exists postback.apple_count (
  day      date   not null,
  protocol text   not null,
  version  text   not null,                -- empty: not read, or it has none
  verdict  text   not null,
  reason   text   not null,
  count    bigint not null,
  primary key (day, protocol, version, verdict, reason)
);

-- Stores one; `stored`, `duplicate`, or `full` where as many of its verdict as are kept came within a day. With `say_kind` the event
-- is said too, in this transaction. Durable with its commit, whatever the session's synchronous_commit is.
create or replace function postback.apple_receive(protocol text, version text, verdict text, reason text, environment text, identifier uuid, sequence int,
  app bigint, won boolean, fields jsonb, body bytea, keep int, say_kind text, say_ref text, say_more jsonb) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
  new_id uuid;
  said bigint;
begin
  perform set_config('synchronous_commit', 'on', true);
  if (verdict <> 'verified' or environment = 'development') and (
       select count(*) >= keep from (
         select from postback.apple_postback p
          where (p.verdict <> 'verified' or p.environment = 'development') and p.verdict = verdict
            and p.received_at > clock_timestamp() - interval '1 day'
          limit keep) kept) then
    return 'full';
  end if;
  insert into postback.apple_postback (protocol, version, verdict, reason, environment, identifier, sequence, app, won, fields, body)
  values (protocol, version, verdict, reason, environment, identifier, sequence, app, won, fields, body)
  on conflict do nothing returning apple_postback.id into new_id;
  if new_id is null then
    return 'duplicate';
  end if;
  if say_kind is not null then
    said := postback.emit(say_kind, say_ref, '{}', say_more);
    update postback.apple_postback p set event = said where p.id = new_id;
  end if;
  return 'stored';
end $$;
comment on function postback.apple_receive(text, text, text, text, text, uuid, int, bigint, boolean, jsonb, bytea, int, text, text, jsonb) is
  'For the daemon''s listener: keeps one postback of Apple''s, and says its event where that is wanted.';

select postback.settle_ownership();
grant execute on function postback.apple_receive(text, text, text, text, text, uuid, int, bigint, boolean, jsonb, bytea, int, text, text, jsonb)
  to postback_daemon;
grant select, delete on postback.apple_postback to postback_daemon;
grant select, insert, update, delete on postback.apple_count to postback_daemon;
-- The body is left out: of what is not verified it is whatever a stranger sent.
grant select (id, received_at, protocol, version, verdict, reason, environment, identifier, sequence, app, won, fields, event)
  on postback.apple_postback to postback_reader;
grant select on postback.apple_count to postback_reader;
