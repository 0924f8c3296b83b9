#!/bin/bash
# A whole shop in a throw-away PostgreSQL, four platforms, and postbackd between them:  examples/demo.sh [--keep]
#
# Builds postbackd, starts everything in a temporary directory, plays a few minutes of a shop's life in ten seconds, shows
# what each platform gets, and checks every promise from the platforms' own record. Exit code 0: all were kept; 1: one was
# broken (it is named); 2: the demo could not run. Everything ends and is removed with it, also after Ctrl-C.
#
# --keep leaves it running afterwards, to look around.
#
# Read along: examples/demo/shop.sql (the shop), triggers.sql (the recipe), postbackd.toml, checks.sql (the judge).
#
# For tests: POSTBACKD_DEMO_BIN=FILE uses this postbackd and builds none; POSTBACKD_DEMO_FORGE=NAME has a platform's record
# hold a request that never came (see forge below), so that a promise is broken; NAME "each" tries all of them after the
# honest checks and fails unless every one is found.
set -euo pipefail
cd "$(dirname "$0")/.."

keep=
case "${1:-}" in
  '') ;;
  --keep) keep=1 ;;
  -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '/^set/d'; exit 0 ;;
  *) echo "examples/demo.sh: only --keep is known, not $1" >&2; exit 2 ;;
esac

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  export DEMO_COLOUR=1; bold=$'\e[1m' dim=$'\e[2m' cyan=$'\e[36m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
  bold='' dim='' cyan='' green='' red='' plain=''
fi
cannot() { echo "${red}the demo cannot run:${plain} $*" >&2; exit 2; }

# ---------------------------------------------------------------------------------------------------------- what it needs

find_postgresql() {
  local place
  for place in "$(pg_config --bindir 2> /dev/null || true)" $(printf "%s\n" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -rV); do
    if [ -x "$place/initdb" ] && [ -x "$place/postgres" ] && [ -x "$place/psql" ] && "$place/postgres" --version | grep -qE " (1[4-9]|[2-9][0-9])[.b r]"; then pg=$place; break; fi
  done
  [ -n "${pg:-}" ]
}

need_postgresql() {
  find_postgresql && return
  command -v apt-get > /dev/null || cannot 'no PostgreSQL server (14 or newer) is installed, and there is no apt-get to install one'
  local root=()
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2> /dev/null || cannot 'no PostgreSQL server (14 or newer) is installed; as root: apt-get install postgresql'
    root=(sudo)
  fi
  echo 'no PostgreSQL server on this machine: installing the package "postgresql" by apt-get'
  "${root[@]}" apt-get update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends postgresql > /dev/null < /dev/null
  find_postgresql || cannot 'the package "postgresql" brought no server that is new enough (14)'
}

build() {
  if [ -n "${POSTBACKD_DEMO_BIN:-}" ]; then
    bin=$POSTBACKD_DEMO_BIN
  else
    command -v cargo > /dev/null || cannot "Rust is missing; rustup installs it, version $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer"
    echo 'building postbackd (the first time takes minutes)'
    cargo build --release --quiet --bin postbackd || cannot 'postbackd does not compile, see above'
    bin=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/postbackd
  fi
  [ -x "$bin" ] || cannot "$bin is no program"
  receiver=$dir/receiver
  "${RUSTC:-rustc}" --edition 2024 -C opt-level=1 -C debuginfo=0 examples/demo/receiver.rs -o "$receiver" || cannot 'the receiver does not compile, see above'
}

# --------------------------------------------------------------------------------------------------- starting and stopping

# Runs all of it in a process group of its own, and waits: a signal finds this shell in "wait", where it can be obeyed at
# once, and everything that was started ends by the group's number.
supervise() {
  dir=$(mktemp -d /tmp/postbackd-demo.XXXXXX)
  set -m
  (set +m; everything) &
  body=$!
  set +m
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'exit 129' HUP
  wait "$body"
}
clean_up() {
  local code=$? try
  trap '' INT TERM HUP
  set +e
  kill -TERM -- "-$body" 2> /dev/null
  kill -CONT -- "-$body" 2> /dev/null
  for ((try = 0; try < 300; try++)); do kill -0 -- "-$body" 2> /dev/null || break; sleep 0.05; done
  kill -KILL -- "-$body" 2> /dev/null
  if [ -f "$dir/data/postmaster.pid" ]; then
    find_postgresql
    server pg_ctl stop -s -m immediate -w -D "$dir/data" > /dev/null 2>&1
  fi
  rm -rf "$dir"
  exit "$code"
}

# PostgreSQL refuses to run as root.
server() {
  local program=$pg/$1 server_user=postgres; shift
  id -u postgres > /dev/null 2>&1 || server_user=nobody
  if [ "$(id -u)" != 0 ]; then "$program" "$@"; else setpriv --reuid="$server_user" --regid="$(id -g "$server_user")" --clear-groups "$program" "$@"; fi
}

start_postgresql() {
  local try word
  word=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  echo "$word" > "$dir/password"
  chmod 711 "$dir"
  mkdir "$dir/data"
  [ "$(id -u)" != 0 ] || chown "$(id -u postgres 2> /dev/null || id -u nobody)" "$dir/data" "$dir/password"
  cd "$dir"
  server initdb -D "$dir/data" --username=postgres --pwfile="$dir/password" --auth=scram-sha-256 --encoding=UTF8 --locale=C --no-sync > "$dir/initdb.log" 2>&1 \
    || { cat "$dir/initdb.log" >&2; cannot 'initdb failed, see above'; }
  # Commit times are kept for the checks alone. Everything that makes commits durable is as shipped.
  printf '%s\n' "listen_addresses = '127.0.0.1'" "unix_socket_directories = ''" 'track_commit_timestamp = on' "timezone = 'UTC'" > "$dir/conf"
  cat "$dir/conf" >> "$dir/data/postgresql.conf"
  for try in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 30000))
    ! (exec 9<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null || continue      # taken
    if server pg_ctl start -s -w -t 30 -D "$dir/data" -l "$dir/data/server.log" -o "-p $port" > /dev/null 2>&1; then break; fi
    [ "$try" != 5 ] || { tail -n 20 "$dir/data/server.log" >&2; cannot 'PostgreSQL does not start, see above'; }
  done
  cd - > /dev/null
  admin_url=postgres://postgres:$word@127.0.0.1:$port/shop
  shop_url=postgres://shop:$word@127.0.0.1:$port/shop
  export DEMO_DATABASE_URL=postgres://postbackd:$word@127.0.0.1:$port/shop DEMO_TOKEN=any
  sql "${admin_url%/shop}/postgres" -c 'create database shop'
  sql "$admin_url" -c "create role shop login password '$word'; create role postbackd login password '$word'"
}

sql() { local url=$1; shift; PGOPTIONS='-c client_min_messages=warning' "$pg/psql" -qAtX -v ON_ERROR_STOP=1 -d "$url" "$@"; }
ask() { sql "$admin_url" -c "$1"; }

start_receiver() {
  mkfifo "$dir/orders"
  export DEMO_START_US=$1
  "$receiver" "$dir" < "$dir/orders" & receiver_pid=$!
  exec 8> "$dir/orders"
  until [ -s "$dir/port" ]; do kill -0 "$receiver_pid" 2> /dev/null || cannot 'the receiver ended'; sleep 0.02; done
}
tell() { echo "$*" >&8; }

# An ad platform that judges every request by that platform's documentation; one line of JSON for each.
start_fake() {
  "$bin" --json fake --listen 127.0.0.1:0 > "$dir/fake.jsonl" 2> "$dir/fake.log" & fake_pid=$!
  until [ -s "$dir/fake.jsonl" ]; do kill -0 "$fake_pid" 2> /dev/null || { cat "$dir/fake.log" >&2; cannot 'postbackd fake ended, see above'; }; sleep 0.02; done
  fake=$(sed -n '1s/.*"listening":"\([^"]*\)".*/\1/p' "$dir/fake.jsonl")
}

start_daemon() {
  sed "s|http://127.0.0.1:8080/|http://127.0.0.1:$(cat "$dir/port")/|; s|http://127.0.0.1:9080/|$fake/|" examples/demo/postbackd.toml > "$dir/postbackd.toml"
  NO_COLOR=1 "$bin" --config "$dir/postbackd.toml" run >> "$dir/daemon.log" 2>&1 & daemon=$!
  wait_for 30 'the daemon begins' "select count(*) = 4 and min(p.epoch) > $epoch from postback.position p"
  epoch=$(ask 'select greatest((select epoch from postback.ingest), max(epoch)) from postback.position')
}

# wait_for SECONDS WHAT QUERY: until the query says t.
wait_for() {
  local until=$((SECONDS + $1)) 
  until [ "$(ask "$3")" = t ]; do
    kill -0 "$daemon" 2> /dev/null || { cat "$dir/daemon.log" >&2; echo "${red}postbackd ended${plain}" >&2; exit 1; }
    if [ $SECONDS -ge $until ]; then
      tail -n 20 "$dir/daemon.log" >&2
      echo "${red}broken promise:${plain} in $1 s it did not come to this: $2" >&2; exit 1
    fi
    sleep 0.1
  done
}

# ------------------------------------------------------------------------------------------------------------- the shop

clock() { local us=$(( ${EPOCHREALTIME/[.,]/} - DEMO_START_US )); printf '%3d.%ds' $((us / 1000000)) $((us / 100000 % 10)); }
say() { echo "$cyan$(clock) shop     $*$plain"; }
title() { echo; echo "$bold$*$plain"; }
shop() { sql "$shop_url" -c "$1" || { echo "${red}broken promise:${plain} the shop's transaction failed, see above" >&2; exit 1; }; }

# order NUMBER VALUE CURRENCY LANDING-URL: what the shop writes while somebody fills a basket and goes to pay.
order() {
  echo "insert into orders (number, total, tax, currency, email, country, landing_url)
        values ('$1', $2, round($2 * 0.19 / 1.19, 2), '$3', 'buyer-$1@example.com', 'DE', nullif('$4', ''));
        insert into order_line values ('$1', 'MUG-BLUE', 1, $2 - 9.90), ('$1', 'TEA-100', 2, 4.95);
        insert into payment (order_number, amount) values ('$1', $2);"
}
# What it writes when the payment provider says yes.
settle() {
  echo "update payment set status = 'settled' where order_number = '$1';
        update orders set status = 'paid', paid_at = now() where number = '$1';"
}
refund() { echo "insert into refund (order_number, amount, reason) values ('$1', $2, 'returned');"; }
partner_link() { echo "https://shop.example/?clickref=p-$1&gclid=g-$1"; }

play() {
  title 'All is well (but for the partner, who never answers)'
  tell partner hang
  shop "begin; $(order 1001 140.98 EUR "$(partner_link 1001)") commit; begin; $(settle 1001) commit"
  say 'order 1001 is paid, 140.98 EUR; the buyer came by a link of the network'
  shop "begin; $(order 1002 89.00 GBP "$(partner_link 1002)") commit; begin; $(settle 1002) commit"
  say 'order 1002 is paid, 89.00 GBP'
  shop "begin; $(order 1003 59.90 EUR '') commit; begin; $(settle 1003) commit"
  say 'order 1003 is paid, 59.90 EUR; no click is known'
  shop "begin; $(order 1004 75.00 EUR "$(partner_link 1004)") commit"
  say 'order 1004 is left in the basket'
  shop "begin; $(order 1005 49.00 EUR "$(partner_link 1005)") $(settle 1005) rollback"
  say 'order 1005 is paid, but the transaction rolls back'
  shop "begin; $(order 1006 33.00 EUR "$(partner_link 1006)") commit; update payment set status = 'declined' where order_number = '1006'"
  say 'order 1006: the card is declined'
  shop "begin; $(order 1007 61.50 EUR "$(partner_link 1007)") commit; begin; $(settle 1007) commit; update orders set status = 'cancelled' where number = '1007'"
  say 'order 1007 is paid, and taken back by the next transaction'
  shop "begin; $(order 1008 210.00 EUR "$(partner_link 1008)") $(settle 1008) select pg_sleep(2.5); commit" > /dev/null & slow=$!
  say 'order 1008 is paid in a transaction that stays open for 2.5 s'
  shop "begin; $(order 1009 24.90 EUR '') commit; begin; $(settle 1009) commit"
  say 'order 1009 is paid meanwhile, 24.90 EUR'
  wait $slow
  say 'the transaction of order 1008 commits, 210.00 EUR'
  wait_for 15 'the network skips order 1003, which has no click' "select exists (select from demo.state where destination = 'network' and ref = '1003' and state = 'skipped')"
  shop "update orders set landing_url = '$(partner_link 1003)' where number = '1003'"
  say 'the click of order 1003 comes late'
  wait_for 15 'the network gets order 1003 after all' "select exists (select from demo.state where destination = 'network' and ref = '1003' and state = 'sent')"

  title 'The network answers 503, the shop goes on selling'
  tell network 503
  tell network refuse 2004
  local n
  for n in 2001 2002 2003 2004 2005 2006 2007 2008; do
    shop "begin; $(order $n "$((30 + n % 10)).95" EUR "$(partner_link $n)") commit; begin; $(settle $n) commit"
  done
  say 'orders 2001 to 2008 are paid'
  shop "$(refund 1001 20.00) $(refund 1001 15.49)"
  say 'order 1001 gets 20.00 and 15.49 back'
  shop "$(refund 1002 89.00)"
  say 'order 1002 gets everything back'
  shop "$(refund 2001 10.00)"
  say 'order 2001 gets 10.00 back; the network has not even taken its purchase'
  shop "$(refund 2004 5.00)"
  say 'order 2004 gets 5.00 back'
  wait_for 15 'the tracker, who works, gets everything' "select count(*) filter (where state <> 'sent') = 1 from demo.state where destination = 'tracker'
     and kind in ('purchase', 'refund')"
  # What is on its way when postbackd is killed would be told again, under its dedupe id: this platform drops that, its fake counts it.
  wait_for 15 'the ad platform gets everything' "select count(*) filter (where state = 'waiting') = 0 from demo.state where destination = 'tiktok'"

  title 'postbackd is killed (kill -9) and started again'
  kill -9 "$daemon"; wait "$daemon" 2> /dev/null || true
  shop "begin; $(order 2009 19.95 EUR "$(partner_link 2009)") commit; begin; $(settle 2009) commit"
  say 'order 2009 is paid while no postbackd runs'
  start_daemon
  wait_for 20 'the tracker gets order 2009' "select exists (select from demo.state where destination = 'tracker' and ref = '2009' and state = 'sent')"

  title 'The network is back'
  tell network ok
  wait_for 20 'network and ad platform get what waited for them' "select count(*) filter (where state = 'waiting') = 0 from demo.state where destination in ('network', 'tiktok')"
}

# ------------------------------------------------------------------------------------------------------------- the judge

load() {
  sql "$admin_url" -c 'truncate demo.request, demo.judged restart identity' \
    -c "\\copy demo.request (at_us, platform, status, event_id, order_ref, kind, value, currency, click) from '$dir/record.tsv'" \
    -c "\\copy demo.judged from '$dir/fake.jsonl' csv quote e'\\x01' delimiter e'\\x02'" -c 'select demo.take_judged()' > /dev/null
}
judge() {
  load
  ask "select case when broken is null then 'kept' else 'BROKEN' end, promise, coalesce(broken, figures) from demo.promises('1500 ms')" > "$dir/verdict"
}
show_verdict() {
  local state promise figures
  while IFS='|' read -r state promise figures; do
    if [ "$state" = kept ]; then echo "  ${green}kept${plain}    $promise  ${dim}($figures)$plain"
    else echo "  ${red}BROKEN  $promise: $figures$plain"; fi
  done < "$dir/verdict"
}

# What the record is made to hold, and the promise that this breaks.
forgeries=(early ghost twice refund-first revenue slow wrong)
forge() {
  case $1 in
    early) tell forge tracker purchase 1008 210.00 EUR purchase-1008 500 ;;
    ghost) tell forge tracker purchase 1005 49.00 EUR purchase-1005 9000 ;;
    twice) tell forge tracker purchase 1001 140.98 EUR purchase-1001-again 9000 ;;
    refund-first) tell forge partner refund 1001 20.00 EUR refund-1001-1 9000 ;;
    revenue) tell forge network purchase 1001 140.99 EUR purchase-1001 9000 ;;
    slow) local n; for n in 1 2 3 5 6 7 8; do tell forge tracker purchase 200$n 1.00 EUR purchase-200$n 60000; done ;;
    # A request with nothing in it. It stays in the fake's record: the last one.
    wrong)
      local place=${fake#http://}
      exec 7<> "/dev/tcp/${place%:*}/${place#*:}"
      printf 'POST /tiktok/open_api/v1.3/event/track/ HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}' "$place" >&7
      cat <&7 > /dev/null; exec 7>&-
      ;;
    *) cannot "no forgery $1, but: ${forgeries[*]}" ;;
  esac
  # Commands are obeyed one after the other.
  rm -f "$dir/mark"
  tell mark
  until [ -e "$dir/mark" ]; do sleep 0.02; done
}
breaks() {
  case $1 in
    early) echo 'nothing is sent before' ;;
    ghost) echo 'nothing is sent for orders' ;;
    twice) echo 'every event has one dedupe id' ;;
    refund-first) echo 'a refund is sent only where' ;;
    revenue) echo 'revenue at each platform' ;;
    slow) echo 'a platform that hangs' ;;
    wrong) echo 'what an ad platform gets' ;;
  esac
}
forge_each() {
  local name missed=0 promise
  title 'Does the judge find what is forged?'
  kill "$daemon"; wait "$daemon" || true         # nothing more comes, and what is forged is all that changes
  cp "$dir/record.tsv" "$dir/honest.tsv"
  for name in "${forgeries[@]}"; do
    cat "$dir/honest.tsv" > "$dir/record.tsv"
    forge "$name"
    judge
    if promise=$(grep -m1 "^BROKEN|$(breaks "$name")" "$dir/verdict"); then echo "  ${green}found${plain}   $name: ${promise#*|}"
    else echo "  ${red}MISSED  $name$plain"; missed=1; fi
  done
  return $missed
}

# ------------------------------------------------------------------------------------------------------------------ all

everything() {
  local epoch=0 code=0                # the epoch of the last daemon
  need_postgresql
  build
  echo "starting $("$pg/postgres" --version) in $dir"
  start_postgresql
  sql "$admin_url" -f examples/demo/shop.sql || cannot 'the shop cannot be made, see above'
  "$bin" schema install --url "$admin_url" > "$dir/install.log" 2>&1 || { cat "$dir/install.log" >&2; cannot 'schema install failed, see above'; }
  ask 'grant postback_daemon to postbackd'
  sql "$admin_url" -f examples/demo/triggers.sql > /dev/null || cannot 'the triggers cannot be attached, see above'
  sql "$admin_url" -f examples/demo/checks.sql || cannot 'the judge cannot be installed, see above'
  start_receiver "${EPOCHREALTIME/[.,]/}"
  start_fake
  start_daemon
  play

  load
  title 'What each platform got'
  "$pg/psql" -qX -d "$admin_url" -P pager=off -P footer=off -P border=0 -c 'table demo.summary' -c 'table demo.why'
  [ -z "${POSTBACKD_DEMO_FORGE:-}" ] || [ "$POSTBACKD_DEMO_FORGE" = each ] || forge "$POSTBACKD_DEMO_FORGE"
  title 'Promises'
  judge
  show_verdict
  if grep -q '^BROKEN' "$dir/verdict"; then code=1; fi
  if [ "${POSTBACKD_DEMO_FORGE:-}" = each ]; then forge_each || code=1; fi

  if [ -n "$keep" ]; then
    title 'It goes on running. Look around in another terminal:'
    cat <<LOOK
  export POSTBACKD_CONFIG=$dir/postbackd.toml DEMO_DATABASE_URL=$DEMO_DATABASE_URL DEMO_TOKEN=$DEMO_TOKEN
  $bin status
  $bin order 1001
  $bin order 1003
  $bin dead list
  $pg/psql $admin_url

The shop is there too; whatever you pay arrives here:
  insert into orders (number, total) values ('3001', 12.00); insert into payment (order_number, amount, status) values ('3001', 12.00, 'settled');

The daemon's log is $dir/daemon.log. To end and remove it all: Ctrl-C here, or kill $$
LOOK
    while kill -0 "$daemon" 2> /dev/null; do sleep 0.5; done
  fi
  if [ $code = 0 ]; then echo; echo "${green}Every promise was kept.$plain"; else echo; echo "${red}A promise was broken.$plain"; fi
  exit $code
}

[ "${BASH_VERSINFO[0]}" -ge 5 ] || cannot 'bash 5 or newer is needed'
supervise
