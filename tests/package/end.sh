# Sourced by tests/package.sh: removed, installed again, purged.

apt() { on_machine "DEBIAN_FRONTEND=noninteractive apt-get $* < /dev/null 2>&1"; }
events=$(sql 'select count(*) from postback.event')
apt remove -y postbackd > "$work/said" || broken 'apt-get removes it'
must 'removing it says what goes on in the database' grep -q 'triggers in the shop' "$work/said"
same 'nothing of it runs' '' "$(on_machine 'pgrep -a postbackd || true')"
must 'configuration, secrets and state stay' on_machine "cmp good /etc/postbackd/postbackd.toml && [ -s /etc/postbackd/credentials/tracker-key ] && [ -s $state ]"
sql "insert into orders values ('away-1', 'paid', 5, 'EUR', null, null)" > /dev/null
apt install -y ./postbackd_${second}_amd64.deb > /dev/null || broken 'apt-get installs it again'
on_machine 'systemctl start postbackd'
until_true 30 'installed again, it goes on where it was' on_machine 'grep -q "tracker.*purchase-away-1" /srv/platforms/record.tsv'
same 'it is enabled as before' enabled "$(on_machine 'systemctl is-enabled postbackd')"

apt purge -y postbackd > "$work/said" || broken 'apt-get purges it'
must 'purging it says what stays in the database' grep -q 'schema postback stays' "$work/said"
same 'left on the machine: what the admin wrote' '/etc/postbackd /etc/postbackd/at.toml /etc/postbackd/de.toml /etc/postbackd/shop.sql ' \
  "$(on_machine 'find /etc /usr /var/lib -path "*postbackd*" ! -path "/var/lib/dpkg/*" | sort | tr "\n" " "')"
must 'the user stays, whose id something else must not get' on_machine 'getent passwd postbackd > /dev/null'
must 'no unit is left' on_machine '[ -z "$(systemctl list-unit-files --no-legend "postbackd*")" ] && [ -z "$(systemctl list-units --no-legend --all "postbackd*")" ]'
same 'the schema stays' $((events + 1)) "$(sql 'select count(*) from postback.event')"
sql 'drop schema postback cascade' > /dev/null 2>&1
sql "insert into orders values ('after-1', 'paid', 5, 'EUR', null, null)" > /dev/null
same 'without it the shop sells on' 1 "$(sql "select count(*) from orders where number = 'after-1'")"
