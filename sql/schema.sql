-- Schema postback after all migrations. Made by a test; how: tests/schema.rs, golden.
  position_check CHECK ((horizon >= seq))
  position_pkey PRIMARY KEY (destination)

table alert  -- rights: daemon=arwd/owner owner=arwdDxt/owner reader=r/owner
  what text not null
  destination text not null default ''::text
  since timestamp with time zone not null
  told timestamp with time zone not null
  alert_pkey PRIMARY KEY (what, destination)

table apple_count  -- rights: daemon=arwd/owner owner=arwdDxt/owner reader=r/owner
  day date not null
  protocol text not null
  version text not null
  verdict text not null
  reason text not null
  count bigint not null
  apple_count_pkey PRIMARY KEY (day, protocol, version, verdict, reason)

table apple_postback  -- rights: daemon=rd/owner owner=arwdDxt/owner
  id uuid not null default gen_random_uuid()  -- rights: reader=r/owner
  received_at timestamp with time zone not null default clock_timestamp()  -- rights: reader=r/owner
  protocol text not null  -- rights: reader=r/owner
  version text  -- rights: reader=r/owner
  verdict text not null  -- rights: reader=r/owner
  reason text  -- rights: reader=r/owner
  environment text  -- rights: reader=r/owner
  identifier uuid not null  -- rights: reader=r/owner
  sequence smallint not null  -- rights: reader=r/owner
  app bigint not null  -- rights: reader=r/owner
  won boolean not null  -- rights: reader=r/owner
  fields jsonb not null  -- rights: reader=r/owner
  body bytea not null
  event bigint  -- rights: reader=r/owner
  apple_pkey PRIMARY KEY (id)
  CREATE INDEX apple_doubtful_idx ON apple_postback USING btree (verdict, received_at) WHERE ((verdict <> 'verified'::text) OR (environment = 'development'::text))
  CREATE INDEX apple_received_idx ON apple_postback USING btree (received_at)
  CREATE UNIQUE INDEX apple_once_idx ON apple_postback USING btree (identifier, sequence, environment) WHERE (verdict = 'verified'::text)

table apple_writer  -- rights: daemon=arwd/owner owner=arwdDxt/owner reader=r/owner
  writer bigint not null
  batch bigint not null
  at timestamp with time zone not null
  apple_writer_pkey PRIMARY KEY (writer)

table attached  -- rights: daemon=r/owner owner=arwdDxt/owner reader=r/owner
  name text not null
  tab regclass not null
  tab_name text not null
  operation text not null
  condition text not null
  body text not null
  deferred boolean not null
  bulk boolean not null
  is_off boolean not null default false
  columns text not null
  at timestamp with time zone not null default clock_timestamp()
  by text not null default SESSION_USER
  written timestamp with time zone
  attached_pkey PRIMARY KEY (name)

table attempt  -- rights: daemon=arwd/owner owner=arwdDxt/owner reader=r/owner
  destination text not null
  event bigint not null
  attempt integer not null
  seq bigint not null
  at timestamp with time zone not null
  outcome text not null
  status integer
  duration_ms integer
  reason text
  attempt_event_pkey PRIMARY KEY (event, destination, attempt)
  attempt_outcome_check CHECK ((outcome = ANY (ARRAY['delivered'::text, 'accepted'::text, 'skipped'::text, 'dead'::text, 'annulled'::text, 'unknown'::text, 'retry'::text])))

table book  -- rights: daemon=r/owner owner=arwdDxt/owner
  only_row boolean not null default true
  query text not null
  at timestamp with time zone not null default clock_timestamp()
  by text not null default SESSION_USER
  book_only_row_check CHECK (only_row)
  book_pkey PRIMARY KEY (only_row)

table command  -- rights: daemon=arwd/owner owner=arwdDxt/owner
  id bigint not null generated always as identity
  at timestamp with time zone not null default clock_timestamp()
  who text not null default SESSION_USER
  what jsonb not null
  answer jsonb
  answered timestamp with time zone
  command_pkey PRIMARY KEY (id)
  CREATE INDEX command_id_idx ON command USING btree (id) WHERE (answer IS NULL)

sequence command_id_seq  -- rights: 

table daemon with (fillfactor=50)  -- rights: daemon=arwd/owner owner=arwdDxt/owner
  id bigint not null generated always as identity  -- rights: reader=r/owner
  instance text not null  -- rights: reader=r/owner
  machine text not null
  pid integer not null
  started bigint not null
  backend integer not null
  backend_start timestamp with time zone not null
  fence_ms integer not null
  began timestamp with time zone not null default clock_timestamp()  -- rights: reader=r/owner
  checked timestamp with time zone not null default clock_timestamp()  -- rights: reader=r/owner
  released timestamp with time zone  -- rights: reader=r/owner
  daemon_pkey PRIMARY KEY (id)

sequence daemon_id_seq  -- rights: 

sequence epoch_seq  -- rights: daemon=rU/owner owner=rwU/owner

table event with (autovacuum_vacuum_insert_scale_factor=0.1)  -- rights: daemon=rd/owner owner=arwdDxt/owner
  txid xid8 not null default pg_current_xact_id()  -- rights: daemon=w/owner reader=r/owner
  id bigint not null default nextval('event_seq'::regclass)  -- rights: reader=r/owner
  kind text not null  -- rights: reader=r/owner
  ref text not null  -- rights: daemon=w/owner reader=r/owner
  payload jsonb not null  -- rights: daemon=w/owner
  occurred_at timestamp with time zone not null default clock_timestamp()  -- rights: reader=r/owner
  event_pkey PRIMARY KEY (id)
  CREATE INDEX event_txid_id_idx ON event USING btree (txid, id)

sequence event_seq  -- rights: daemon=rw/owner owner=rwU/owner

table identity  -- rights: daemon=arw/owner owner=arwdDxt/owner reader=r/owner
  only_row boolean not null default true
  system bigint
  database oid not null
  timeline integer
  name text
  at timestamp with time zone not null default clock_timestamp()
  by text not null default SESSION_USER
  identity_only_row_check CHECK (only_row)
  identity_pkey PRIMARY KEY (only_row)

table ingest with (fillfactor=50)  -- rights: daemon=arwd/owner owner=arwdDxt/owner reader=r/owner
  only_row boolean not null default true
  snap text
  win text
  page_id bigint
  last_seq bigint not null default 0
  last_at timestamp with time zone not null default '-infinity'::timestamp with time zone
  epoch bigint not null default 0
  owner text
  daemon bigint
  acted bigint not null default 0
  ingest_only_row_check CHECK (only_row)
  ingest_pkey PRIMARY KEY (only_row)

table late  -- rights: daemon=arwd/owner owner=arwdDxt/owner reader=r/owner
  event bigint not null
  occurred_at timestamp with time zone not null
  late_pkey PRIMARY KEY (event)
  CREATE INDEX late_occurred_at_idx ON late USING btree (occurred_at)

table log with (autovacuum_vacuum_insert_scale_factor=0.1)  -- rights: daemon=arwd/owner owner=arwdDxt/owner reader=r/owner
  seq bigint not null
  event bigint not null
  cause text
  only_at text[]
  at timestamp with time zone not null
  log_pkey PRIMARY KEY (seq)
  CREATE INDEX log_event_idx ON log USING btree (event)

table mention  -- rights: daemon=arwd/owner owner=arwdDxt/owner reader=r/owner
  ref text not null
  event bigint not null
  mention_pkey PRIMARY KEY (ref, event)

table migration  -- rights: daemon=r/owner owner=arwdDxt/owner reader=r/owner
  version integer not null
  name text not null
  at timestamp with time zone not null default clock_timestamp()
  by text not null default SESSION_USER
  migration_pkey PRIMARY KEY (version)

table once  -- rights: daemon=arwd/owner owner=arwdDxt/owner reader=r/owner
  kind text not null
  ref text not null
  event bigint not null
  once_pkey PRIMARY KEY (kind, ref)

table pending with (fillfactor=80)  -- rights: daemon=arwd/owner owner=arwdDxt/owner reader=r/owner
  destination text not null
  event bigint not null
  seq bigint not null
  order_ref text not null
  state text not null
  attempts integer not null default 0
  next_at timestamp with time zone
  since timestamp with time zone not null default clock_timestamp()
  reason text
  pending_pkey PRIMARY KEY (destination, seq)
  pending_state_check CHECK ((state = ANY (ARRAY['retrying'::text, 'held'::text, 'parked'::text, 'sending'::text, 'accepted'::text, 'dead'::text, 'unknown'::text])))
  CREATE INDEX pending_destination_order_ref_idx ON pending USING btree (destination, order_ref)
  CREATE INDEX pending_destination_state_next_at_idx ON pending USING btree (destination, state, next_at)
  CREATE INDEX pending_event_idx ON pending USING btree (event)

table position with (fillfactor=50)  -- rights: daemon=arwd/owner owner=arwdDxt/owner reader=r/owner
  destination text not null
  seq bigint not null
  horizon bigint not null
  epoch bigint not null
  started bigint not null
  paused boolean not null default false
  halted text
  settings text
  at timestamp with time zone not null default now()
  daemon bigint
  deadline_ms integer
  lost_event bigint not null default 0
  lost_at timestamp with time zone

table reached  -- rights: daemon=arwd/owner owner=arwdDxt/owner reader=r/owner
  what text not null
  seq bigint not null default 0
  reached_pkey PRIMARY KEY (what)

table receipt  -- rights: daemon=arwd/owner owner=arwdDxt/owner
  destination text not null
  event bigint not null
  sent jsonb not null
  answer jsonb
  uncertain boolean not null default false
  receipt_pkey PRIMARY KEY (destination, event)

table refund  -- rights: daemon=arwd/owner owner=arwdDxt/owner reader=r/owner
  order_ref text not null
  refund_ref text not null
  event bigint not null
  generation integer
  amount numeric not null
  total_after numeric
  refund_pkey PRIMARY KEY (order_ref, refund_ref)

view said  -- rights: daemon=r/owner owner=arwdDxt/owner
  id bigint  -- rights: reader=r/owner
  kind text  -- rights: reader=r/owner
  ref text  -- rights: reader=r/owner
  refund_ref text  -- rights: reader=r/owner
  event_id text  -- rights: reader=r/owner
  value numeric  -- rights: reader=r/owner
  currency text  -- rights: reader=r/owner
  refunded_total numeric  -- rights: reader=r/owner
  full boolean  -- rights: reader=r/owner
  who jsonb
  more jsonb
  occurred_at timestamp with time zone  -- rights: reader=r/owner

table sale with (fillfactor=80)  -- rights: daemon=arwd/owner owner=arwdDxt/owner
  order_ref text not null  -- rights: reader=r/owner
  generation integer not null  -- rights: reader=r/owner
  event bigint  -- rights: reader=r/owner
  value numeric  -- rights: reader=r/owner
  currency text  -- rights: reader=r/owner
  refunded numeric not null default 0  -- rights: reader=r/owner
  retracted bigint  -- rights: reader=r/owner
  who jsonb
  who_seq bigint  -- rights: reader=r/owner
  sale_pkey PRIMARY KEY (order_ref, generation)

table tally with (fillfactor=50)  -- rights: daemon=arwd/owner owner=arwdDxt/owner reader=r/owner
  destination text not null
  at timestamp with time zone not null
  outcome text not null
  count bigint not null
  status integer
  reason text
  last timestamp with time zone not null
  tally_pkey PRIMARY KEY (destination, at, outcome)

table trouble  -- rights: daemon=arwd/owner owner=arwdDxt/owner
  id bigint not null generated always as identity  -- rights: reader=r/owner
  at timestamp with time zone not null default clock_timestamp()  -- rights: reader=r/owner
  what text not null  -- rights: reader=r/owner
  tab text  -- rights: reader=r/owner
  operation text  -- rights: reader=r/owner
  sqlstate text not null  -- rights: reader=r/owner
  message text not null
  new_row jsonb
  old_row jsonb
  new_text text
  old_text text
  columns text
  args jsonb
  event bigint  -- rights: reader=r/owner
  tries integer not null default 0  -- rights: reader=r/owner
  done timestamp with time zone  -- rights: reader=r/owner
  answer text
  tried text
  trouble_pkey PRIMARY KEY (id)
  CREATE INDEX trouble_open_idx ON trouble USING btree (id) WHERE (done IS NULL)
  CREATE INDEX trouble_plan_idx ON trouble USING btree (what, at) WHERE ((done IS NULL) AND (tries = 0) AND (sqlstate = ANY (ARRAY['42804'::text, 'XX000'::text, '0A000'::text])))
  CREATE INDEX trouble_shape_idx ON trouble USING btree (what, COALESCE(tried, columns)) WHERE (done IS NULL)

sequence trouble_id_seq  -- rights: 

function append(kind text, ref text, refund_ref text, amount numeric, currency text, who jsonb, more jsonb, reason text) returns bigint
  plpgsql set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function apple_receive(protocol text, version text, verdict text, reason text, environment text, identifier uuid, sequence integer, app bigint, won boolean, fields jsonb, body bytea, keep integer, say_kind text, say_ref text, say_more jsonb) returns text
  plpgsql security definer set search_path=pg_catalog, pg_temp  -- rights: daemon=X/owner owner=X/owner

function args(kind text, ref text, refund_ref text, amount numeric, currency text, who jsonb, more jsonb, reason text) returns jsonb
  sql immutable set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function attach(tab regclass, operation text, condition text, body text, deferred boolean DEFAULT false, bulk boolean DEFAULT false, name text DEFAULT NULL::text) returns text
  plpgsql set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function attach_all() returns integer
  plpgsql set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function body_source(a attached, trial boolean DEFAULT false) returns text
  sql stable set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function booked(since timestamp with time zone, until timestamp with time zone) returns TABLE(order_ref text, value numeric, refunded numeric, currency text, paid_at timestamp with time zone)
  plpgsql stable security definer set search_path=pg_catalog, pg_temp  -- rights: daemon=X/owner owner=X/owner

function books(query text) returns void
  plpgsql set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function bulk_statement(a attached) returns text
  sql stable set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function click_ids(url text) returns jsonb
  plpgsql immutable parallel safe set search_path=pg_catalog, pg_temp  -- rights: daemon=X/owner owner=X/owner reader=X/owner

function columns_of(tab oid) returns text
  sql stable set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function detach(name text) returns boolean
  plpgsql set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function detach_all() returns integer
  plpgsql set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function digits(currency text) returns integer
  sql immutable parallel safe  -- rights: daemon=X/owner owner=X/owner reader=X/owner

function doctor() returns TABLE(severity text, what text, hint text)
  plpgsql security definer set search_path=pg_catalog, pg_temp  -- rights: daemon=X/owner owner=X/owner

function emit(kind text, ref text, who jsonb, more jsonb DEFAULT '{}'::jsonb) returns bigint
  plpgsql security definer set search_path=pg_catalog, pg_temp  -- rights: daemon=X/owner owner=X/owner

function enrich(order_ref text, who jsonb) returns bigint
  plpgsql security definer set search_path=pg_catalog, pg_temp  -- rights: daemon=X/owner owner=X/owner

function event_id(kind text, ref text, refund_ref text DEFAULT NULL::text, generation integer DEFAULT 1) returns text
  sql immutable parallel safe  -- rights: daemon=X/owner owner=X/owner reader=X/owner

function happened(since timestamp with time zone, until timestamp with time zone, kinds text[]) returns TABLE(event bigint, seq bigint, kind text, ref text, occurred_at timestamp with time zone)
  plpgsql stable set search_path=pg_catalog, pg_temp set enable_seqscan=off set enable_bitmapscan=off set enable_hashjoin=off set enable_mergejoin=off set jit=off  -- rights: daemon=X/owner owner=X/owner reader=X/owner

function heal() returns TABLE(name text, said bigint, failed bigint)
  sql security definer set search_path=pg_catalog, pg_temp  -- rights: daemon=X/owner owner=X/owner

function heal(mine bigint, at_most integer) returns TABLE(name text, said bigint, failed bigint)
  plpgsql security definer set search_path=pg_catalog, pg_temp set lock_timeout=500ms  -- rights: daemon=X/owner owner=X/owner

function heal_some(at_most integer) returns TABLE(name text, said bigint, failed bigint)
  plpgsql security definer set search_path=pg_catalog, pg_temp set lock_timeout=500ms  -- rights: owner=X/owner

function here() returns TABLE(system bigint, database oid, timeline integer)
  plpgsql security definer set search_path=pg_catalog, pg_temp  -- rights: daemon=X/owner owner=X/owner reader=X/owner

function hides_rows(tab regclass) returns boolean
  sql stable security definer set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function instant(text) returns timestamp with time zone
  plpgsql stable set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function json(text) returns jsonb
  plpgsql immutable set search_path=pg_catalog, pg_temp  -- rights: daemon=X/owner owner=X/owner reader=X/owner

function keep(what text, state text, why text, args jsonb, event bigint) returns bigint
  plpgsql security definer set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function minor(amount bigint, exponent integer DEFAULT 2) returns numeric
  sql immutable parallel safe  -- rights: daemon=X/owner owner=X/owner reader=X/owner

function note(what text, sqlstate text, message text) returns void
  plpgsql security definer set search_path=pg_catalog, pg_temp  -- rights: daemon=X/owner owner=X/owner

function notify() returns trigger
  plpgsql security definer set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function of_order(reference text) returns TABLE(event bigint)
  sql stable set search_path=pg_catalog, pg_temp set enable_seqscan=off set enable_bitmapscan=off set enable_hashjoin=off set enable_mergejoin=off set jit=off  -- rights: daemon=X/owner owner=X/owner reader=X/owner

function off() returns integer
  sql security definer set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function on() returns integer
  sql security definer set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function operations(operation text) returns text[]
  sql immutable set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function own(mine bigint) returns void
  plpgsql set search_path=pg_catalog, pg_temp  -- rights: daemon=X/owner owner=X/owner

function patiently(statements text[], what text) returns void
  plpgsql set search_path=pg_catalog, pg_temp set lock_timeout=100ms  -- rights: owner=X/owner

function purchase(order_ref text, value numeric, currency text, who jsonb, more jsonb DEFAULT '{}'::jsonb) returns bigint
  plpgsql security definer set search_path=pg_catalog, pg_temp  -- rights: daemon=X/owner owner=X/owner

function rebase(new_name text, same_xids boolean, in_doubt boolean, dry boolean) returns jsonb
  plpgsql security definer set search_path=pg_catalog, pg_temp set enable_nestloop=off  -- rights: daemon=X/owner owner=X/owner

function refund(order_ref text, refund_ref text, amount numeric, more jsonb DEFAULT '{}'::jsonb) returns bigint
  plpgsql security definer set search_path=pg_catalog, pg_temp  -- rights: daemon=X/owner owner=X/owner

function remaining(said numeric, sale numeric, refunded numeric, digits integer) returns numeric
  sql immutable parallel safe  -- rights: daemon=X/owner owner=X/owner reader=X/owner

function renamed(kept jsonb, map jsonb) returns jsonb
  sql immutable set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function retract(order_ref text, reason text DEFAULT NULL::text) returns bigint
  plpgsql security definer set search_path=pg_catalog, pg_temp  -- rights: daemon=X/owner owner=X/owner

function say(kind text, ref text, refund_ref text, amount numeric, currency text, who jsonb, more jsonb, reason text) returns bigint
  plpgsql set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function say_again(trouble bigint, map jsonb, OUT said boolean, OUT answer text, OUT passing boolean) returns record
  plpgsql security definer set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function seq_at(since timestamp with time zone) returns bigint
  plpgsql stable set search_path=pg_catalog, pg_temp set enable_seqscan=off set enable_bitmapscan=off set enable_sort=off set jit=off  -- rights: daemon=X/owner owner=X/owner reader=X/owner

function settle_ownership() returns void
  plpgsql set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function standing(destination text, event bigint, seq bigint, started bigint, passed bigint) returns TABLE(state text, reason text)
  sql stable  -- rights: daemon=X/owner owner=X/owner reader=X/owner

function statements(body text) returns text
  sql immutable set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function switch(off boolean) returns integer
  plpgsql security definer set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function table_name(tab oid) returns text
  sql stable set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function to_say(at_most integer) returns SETOF trouble
  sql stable set search_path=pg_catalog, pg_temp set enable_sort=off set enable_bitmapscan=off set enable_hashjoin=off set enable_mergejoin=off  -- rights: owner=X/owner

function trial(name text) returns TABLE(op text, verdict text, state text, message text)
  plpgsql security definer set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function trigger_source(a attached) returns text
  sql stable set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function trigger_statements(a attached, anew boolean) returns text[]
  plpgsql stable set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function trimmed(body text) returns text
  sql immutable set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner

function trouble_retry(trouble bigint, map jsonb DEFAULT NULL::jsonb, OUT said boolean, OUT answer text) returns record
  sql security definer set search_path=pg_catalog, pg_temp  -- rights: daemon=X/owner owner=X/owner

function unread(at_most integer) returns TABLE(event bigint, kind text, ref text, occurred_at timestamp with time zone)
  sql stable set search_path=pg_catalog, pg_temp set enable_seqscan=off set enable_bitmapscan=off set jit=off  -- rights: daemon=X/owner owner=X/owner reader=X/owner

function wake(listen boolean) returns boolean
  plpgsql security definer set search_path=pg_catalog, pg_temp  -- rights: daemon=X/owner owner=X/owner

function write_functions(a attached) returns void
  plpgsql set search_path=pg_catalog, pg_temp  -- rights: owner=X/owner
