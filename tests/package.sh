#!/bin/bash
# The Debian package, for real:  tests/package.sh [--keep]
# Builds it, follows docs/install.md to the letter on a Debian server in a container (systemd, PostgreSQL as a unit), and then reloads,
# upgrades under load, hangs, removes and purges it. Needs a Docker engine, cargo-deb and mmdebstrap; as root on Debian the latter two are
# installed. --keep leaves the server running. Exit code 77: systemd cannot be had in a container here.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/server.sh
. tests/package/machine.sh

docker_answers || { echo 'tests/package.sh: not run: no Docker engine answers here. Start one (as root: dockerd &) and run it again' >&2; exit 1; }
keep=; [ "${1:-}" != --keep ] || keep=1
work=$(mktemp -d)
finish() {
  exec 9>&- || true
  if [ -n "$keep" ] && [ -n "${machine:-}" ]; then echo "left running: docker exec -it ${machine:0:12} bash; docker rm -f ${machine:0:12}"; else machine_stop; fi
  rm -rf "$work"
}
trap finish EXIT

need_programs mmdebstrap mmdebstrap dpkg-deb dpkg-dev python3 python3-minimal readelf binutils
if ! cargo deb --version > /dev/null 2>&1; then
  CARGO_TARGET_DIR=${XDG_CACHE_HOME:-$HOME/.cache}/postbackd-ci/deb cargo install cargo-deb --locked --profile dev --quiet
fi
first=0.1.0-1 second=0.1.0-2
for version in $second $first; do
  package=$(packaging/build-deb --version $version)
  cp "$package" "$work/postbackd_${version}_amd64.deb"
done
ok "packages are built: $(stat -c %s "$package") bytes"
rustc --edition 2024 -O -o "$work/receiver" examples/demo/receiver.rs

# What is in it.
dpkg-deb -x "$package" "$work/x"
program=$work/x/usr/bin/postbackd
size=$(stat -c %s "$program")
must "the program is smaller than 30 MB: $size bytes" [ "$size" -lt 30000000 ]
needed=$(readelf -d "$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort | tr '\n' ' ')
same 'libraries it needs, all of glibc and gcc' 'ld-linux-x86-64.so.2 libc.so.6 libgcc_s.so.1 libm.so.6 ' "$needed"
of_shop=$(sed 's/, shop %i$//; s/ --config .*%i.toml$//; s,^\(StateDirectory=postbackd\)/%i,\1,' packaging/postbackd@.service)
same 'the template is the unit for one shop of several' "$(md5sum < packaging/postbackd.service)" "$(md5sum <<< "$of_shop")"

machine_image
machine_start
on_machine 'cat > receiver && chmod +x receiver && mkdir /srv/platforms' "$work/receiver"
on_machine 'systemd-run -q --unit=platforms bash -c "sleep infinity | /root/receiver /srv/platforms"'
until_true 20 'the platforms listen' on_machine 'test -s /srv/platforms/port'
base=http://127.0.0.1:$(on_machine 'cat /srv/platforms/port')
tracker=$base/tracker
for version in $first $second; do on_machine "cat > postbackd_${version}_amd64.deb" "$work/postbackd_${version}_amd64.deb"; done
# The shop, as it was before.
sql 'create database shop' postgres
sql 'create table public.orders (number text primary key, status text not null, total numeric(12,2) not null, currency text not null, email text, landing_url text)' > /dev/null

. tests/package/guide.sh
. tests/package/life.sh
. tests/package/end.sh
echo "the package holds: $SECONDS s"
