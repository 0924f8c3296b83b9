-- What the hooks of [alert] were told and is not over: whoever owns the outbox next knows, so that a restart tells nothing twice.

create table if not exists postback.alert (
  what        text        not null,          -- halted, overdue, dead, unknown, trouble, paid_without_event
  destination text        not null default '',   -- '': it is about none
  since       timestamptz not null,
  told        timestamptz not null,          -- when the hooks last took it
  primary key (what, destination)
);

select postback.settle_ownership();

grant select, insert, update, delete on postback.alert to postback_daemon;
grant select on postback.alert to postback_reader;
