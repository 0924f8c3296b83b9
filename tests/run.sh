#!/bin/bash
# Runs all tests:  tests/run.sh [what a test's name must contain]
# Needs Rust, a C compiler and make, PgBouncer, Chromium with its driver, and a PostgreSQL, which is taken as tests/support/postgres.rs says: POSTBACKD_TEST_DATABASE_URL,
# a Docker engine, or server binaries on this machine. What is missing is installed on Debian and its relatives; elsewhere it
# is named. The server that the tests start is their own and ends with them.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/server.sh

command -v cargo > /dev/null || { echo "tests/run.sh: Rust is missing; rustup installs it, version $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer" >&2; exit 1; }
need_programs cc gcc make make curl curl
need_postgresql
# Of the pool's tests; its own service need not run.
[ -x /usr/sbin/pgbouncer ] || need_programs pgbouncer pgbouncer
# The page is tried in a browser; where there is none, that test says so and the others go on.
! command -v apt-get > /dev/null || (need_programs chromium chromium chromedriver chromium-driver) || echo 'tests/run.sh: goes on without a browser' >&2

log=$(mktemp); trap 'stop_server; rm -f "$log"' EXIT
failed=0
# What a test leaves behind must not hold the server, so it does not get the server's standard input.
run() { (release_server; exec "$@") 2>&1 | tee -a "$log" || failed=1; }

if cargo nextest --version > /dev/null 2>&1; then
  # One process per test: they share a server, and the processes that need a server of their own start one.
  cargo nextest run --no-run
  start_server
  run cargo nextest run "$@" --no-tests=pass
else
  cargo test --lib --bins --tests --no-run
  run cargo test --lib --bins -- "$@"
  # Those that measure or need the whole machine run after the others and one at a time.
  heavy=(crash:: in_doubt:: isolation:: visibility::)
  run cargo test --test it -- "${heavy[@]/#/--skip=}" "$@"
  [ $# -gt 0 ] || run cargo test --test it -- --test-threads=1 "${heavy[@]}"
fi
[ $# -gt 0 ] || run cargo test --doc

count() { { grep -aoE "[0-9]+ (tests? )?$1" "$log" || true; } | awk '{n += $1} END {print n + 0}'; }
passed=$(count passed); broken=$(count 'failed\b'); timed_out=$(count 'timed out')
[ "$failed" = 0 ] || [ $((broken + timed_out)) -gt 0 ] || broken=1          # it did not even compile
[ $((passed + broken + timed_out)) -gt 0 ] || { echo 'tests/run.sh: no test of that name' >&2; failed=1; }
echo "$passed passed, $((broken + timed_out)) failed"
exit $failed
