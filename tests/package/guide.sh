# Sourced by tests/package.sh: docs/install.md, and what the installed package is like.

follow_guide
same 'the unit is' 'notify active enabled' "$(property Type) $(property ActiveState) $(on_machine 'systemctl is-enabled postbackd')"
must 'it says what it does' grep -q '^owner' <<< "$(property StatusText)"
arrived() { [ "purchase-$1-1" = "$(received "$1")" ]; }
received() { on_machine "awk -F'\t' '\$2 == \"$1\" && \$3 == 200 { print \$4 }' /srv/platforms/record.tsv"; }
same 'the live order arrived, the one of the shadow did not' purchase-1002 "$(received tracker)"
must 'the secret is nowhere in the log' on_machine '! journalctl -u postbackd | grep -q canary-key'

for shop in de at; do
  sql "create table public.orders (number text primary key, status text not null, total numeric(12,2) not null, currency text not null, email text, landing_url text)" shop_$shop > /dev/null
  on_machine "sed -i 's,$tracker,$base/$shop,; s,^\[destination,[daemon]\nsettle = \"100ms\"\n&,' /etc/postbackd/$shop.toml
    sudo -u postgres psql -X -q -v ON_ERROR_STOP=1 -f - shop_$shop < /etc/postbackd/shop.sql; systemctl reload postbackd@$shop"
done
for shop in de at; do sql "insert into orders values ('$shop-1', 'paid', 5, 'EUR', null, '?clickref=x')" shop_$shop > /dev/null; done
for shop in de at; do until_true 30 "shop $shop has an instance of its own" arrived $shop; done
on_machine 'systemctl disable -q --now postbackd@at'
same 'one instance stops alone' 'active inactive' "$(property ActiveState postbackd@de) $(property ActiveState postbackd@at)"

for unit in postbackd postbackd@de; do
  exposure=$(on_machine "systemd-analyze security --no-pager $unit.service" | sed -n 's/.*Overall exposure level for .*: \([0-9.]*\).*/\1/p')
  must "$unit is exposed less than 2.0: $exposure" awk "BEGIN { exit !(\"$exposure\" != \"\" && $exposure < 2.0) }"
done
must 'it runs as its own user, with no capability' on_machine '
  pid=$(systemctl show -P MainPID postbackd); [ "$(stat -c %U /proc/$pid)" = postbackd ]; grep -q "^CapEff:.0000000000000000" /proc/$pid/status'
must 'others read neither configuration nor secrets' on_machine '
  ! sudo -u nobody cat /etc/postbackd/postbackd.toml 2> /dev/null && ! sudo -u nobody ls /etc/postbackd/credentials 2> /dev/null
  [ "$(stat -c %a:%U:%G /etc/postbackd/postbackd.toml)" = 640:root:postbackd ]'
must 'manual pages and completions are in their places' on_machine '
  [ -s /usr/share/man/man1/postbackd.1.gz ] || ! grep -q man /etc/dpkg/dpkg.cfg.d/* 2> /dev/null
  bash -n /usr/share/bash-completion/completions/postbackd'
