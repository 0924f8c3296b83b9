# Sourced by tests/package.sh: a shop that sells all the time, while the daemon is reloaded, upgraded, hung, and left without database.

state=/var/lib/postbackd/canary
on_machine "echo kept > $state; cat > /etc/postbackd/postbackd.toml" <(cat <<TOML
[database]
url = "postgres://postbackd@%2Frun%2Fpostgresql/shop"
expect = "shop"
[daemon]
settle = "100ms"
# At most once: whatever arrives here twice is a fault.
[destination.tracker]
platform = "postback"
url = "$base/tracker?id={{ event_id }}"
resend = "never"
TOML
)

# Orders by a client that commits each, 100 a second, until the shop is closed.
sell() {
  sql 'create table if not exists public.opened ()' > /dev/null
  on_machine 'cat > /tmp/sell.sql; chmod 644 /tmp/sell.sql; systemd-run -q --unit=shop --uid=postgres psql -X -q -f /tmp/sell.sql shop' <(cat <<SQL
do \$\$ begin
  for i in 1 .. 100000 loop
    exit when to_regclass('public.opened') is null;
    insert into public.orders values ('$1-' || i, 'paid', 1 + i % 90, 'EUR', 'a@shop.example', '?clickref=c');
    commit;
    perform pg_sleep(0.01);
  end loop;
end \$\$;
SQL
)
}
close_shop() {
  sql 'drop table public.opened' > /dev/null
  until_true 30 'the shop is closed' on_machine '! systemctl is-active -q shop'
}

# Each order of a load arrived, or is known to be in doubt.
told() { on_machine "awk -F'\t' '\$2 == \"$2\" && \$4 ~ /^purchase-$1-/ { print \$4 }' /srv/platforms/record.tsv"; }
orders() { sql "select count(*) from public.orders where number like '$1-%'"; }
unknown() { sql "select count(*) from postback.pending where destination = '$2' and state = 'unknown' and order_ref like '$1-%'"; }
all_told() { [ "$(orders "$1")" = $(($(told "$1" "$2" | sort -u | wc -l) + $(unknown "$1" "$2"))) ]; }
twice() { told "$1" "$2" | sort | uniq -d | wc -l; }
as_said() {
  until_true 60 "load $1: all $(orders "$1") orders are accounted for at $2" all_told "$1" "$2"
  same "load $1: told twice to $2" 0 "$(twice "$1" "$2")"
}

on_machine 'systemctl restart postbackd'
sell reload
until_true 30 'the shop sells' on_machine 'grep -q purchase-reload-50 /srv/platforms/record.tsv'
pid=$(property MainPID)
on_machine "cat >> /etc/postbackd/postbackd.toml; systemctl reload postbackd" <(cat <<TOML
# It knows ids again: here anything may be repeated, and nothing is in doubt.
[destination.partner]
platform = "postback"
url = "$base/partner?id={{ event_id }}"
resend = "safe"
start = "beginning"
TOML
)
until_true 30 'a reload adds a destination' on_machine 'grep -q "partner.*purchase-reload-" /srv/platforms/record.tsv'
on_machine 'cp /etc/postbackd/postbackd.toml good; echo "[nonsense]" >> /etc/postbackd/postbackd.toml; systemctl reload postbackd'
until_true 20 'a wrong configuration is said and changes nothing' on_machine 'systemctl show -P StatusText postbackd | grep -q "old one stays in force"'
on_machine 'cp good /etc/postbackd/postbackd.toml; systemctl reload postbackd'
until_true 20 'the next good one is in force' on_machine 'systemctl show -P StatusText postbackd | grep -q ^owner'
same 'the process is the same' "$pid" "$(property MainPID)"
close_shop
as_said reload tracker
as_said reload partner
same 'load reload: in doubt at tracker' 0 "$(unknown reload tracker)"

sell upgrade
until_true 30 'the shop sells' on_machine 'grep -q purchase-upgrade-50 /srv/platforms/record.tsv'
on_machine "md5sum /etc/postbackd/*.toml $state > before; DEBIAN_FRONTEND=noninteractive apt-get install -qq -y ./postbackd_${second}_amd64.deb < /dev/null" > /dev/null 2>&1 || broken 'apt-get upgrades it'
same 'upgraded to' "$second" "$(on_machine "dpkg-query -f '\${Version}' -W postbackd")"
must 'another process' [ "$pid" != "$(property MainPID)" ]
same 'both units are' 'active active' "$(property ActiveState) $(property ActiveState postbackd@de)"
must 'configuration and state are as they were' on_machine 'md5sum --quiet -c before'
until_true 30 'the new one sends' on_machine "tail -n 1 /srv/platforms/record.tsv | grep -q purchase-upgrade-"
close_shop
for destination in tracker partner; do
  as_said upgrade $destination
  same "load upgrade: in doubt at $destination" 0 "$(unknown upgrade $destination)"
done

# The watchdog, at a fraction of its time. First those that it must leave alone, for longer than a stuck one lives (10 s and the limit).
on_machine 'mkdir -p /run/systemd/system/postbackd.service.d; printf "[Service]\nWatchdogSec=3s\n" > /run/systemd/system/postbackd.service.d/quick.conf
  systemctl daemon-reload; systemctl restart postbackd; systemctl stop postgresql'
pid=$(property MainPID)
until_true 20 'it waits for a database that is away' on_machine 'systemctl show -P StatusText postbackd | grep -q "^waiting for the database"'
sleep 16
same 'without a database it lives on' "$pid active" "$(property MainPID) $(property ActiveState)"
on_machine 'systemctl start postgresql'
until_true 30 'it goes on with the database' on_machine 'systemctl show -P StatusText postbackd | grep -q ^owner'
sleep 14
same 'idle it lives on' "$pid active 0" "$(property MainPID) $(property ActiveState) $(property NRestarts)"

sell hang
until_true 30 'the shop sells' on_machine 'grep -q purchase-hang-50 /srv/platforms/record.tsv'
# As the container's engine numbers it: the main thread, on which the owner's loop runs.
outside=$(docker top "$machine" -eo pid,args | awk '$2 == "/usr/bin/postbackd" && $3 == "run" && NF == 3 { print $1 }')
exec 9> >(exec python3 tests/package/freeze.py "$outside" > "$work/frozen" 2>&1)
until_true 10 'one of its threads is stopped' grep -q frozen "$work/frozen"
began=$SECONDS
until_true 60 'the stuck loop is killed by the watchdog' on_machine 'journalctl -u postbackd | grep -q "Watchdog timeout"'
exec 9>&-
until_true 30 'and started again' on_machine 'systemctl is-active -q postbackd && [ "$(systemctl show -P NRestarts postbackd)" = 1 ]'
must 'the log names the loop' on_machine 'journalctl -u postbackd | grep "stuck; the service manager" | grep -Eq "owner|reader"'
ok "killed $((SECONDS - began)) s after it hung, with WatchdogSec=3s"
close_shop
until_true 60 "load hang: all $(orders hang) orders are accounted for at tracker, $(unknown hang tracker) in doubt so far" all_told hang tracker
same 'load hang: told twice to tracker' 0 "$(twice hang tracker)"
until_true 60 'load hang: all arrived at partner' all_told hang partner
ok "load hang: $(twice hang partner) repeated at partner, $(unknown hang tracker) in doubt at tracker"
on_machine 'rm -r /run/systemd/system/postbackd.service.d; systemctl daemon-reload'
