-- How many deliveries ended how, by destination and five minutes: what a chart and "in the last hour" are drawn from. Without it both
-- would count attempts, of which there may be millions in an hour, at every look.
--
-- Written with the attempts, by the owner of the destination, one row a transaction and outcome: a backlog adds about 2 bytes of WAL to a
-- delivery, an order that comes alone about 170 (benches/wal.rs). Rows are updated where they are: a page has room for that.
create table if not exists postback.tally (
  destination text        not null,
  at          timestamptz not null,        -- begin of five minutes
  outcome     text        not null,        -- as in postback.attempt
  count       bigint      not null,
  status      int,                         -- HTTP status and reason of the last of them, as in postback.attempt
  reason      text,
  last        timestamptz not null,        -- when that was
  primary key (destination, at, outcome)
) with (fillfactor = 50);

-- A plan that has to read a table of one row costs ten billion while scans are off, and what is dear is compiled: 130 ms for what takes
-- less than one.
alter function postback.seq_at(timestamptz) set jit = off;
alter function postback.happened(timestamptz, timestamptz, text[]) set jit = off;
alter function postback.unread(int) set jit = off;
alter function postback.of_order(text) set jit = off;

select postback.settle_ownership();

grant select, insert, update, delete on postback.tally to postback_daemon;
grant select on postback.tally to postback_reader;
