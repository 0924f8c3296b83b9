-- Which numbers of Apple's postbacks were written last, by whom: numbers whose answer was lost are sent again, and count once.

create table if not exists postback.apple_writer (
  writer bigint      primary key,          -- drawn by a process when it begins
  batch  bigint      not null,             -- its last one, from 1
  at     timestamptz not null
);

select postback.settle_ownership();
grant select, insert, update, delete on postback.apple_writer to postback_daemon;
grant select on postback.apple_writer to postback_reader;
