# Sourced by tests/run.sh and .ci/run: what they need from the machine, and one PostgreSQL for many test processes.

# Installs Debian packages and says so.
install() {
  command -v apt-get > /dev/null || { echo "please install: $*" >&2; exit 1; }
  local root=()
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2> /dev/null || { echo "please install, as root: apt-get install $*" >&2; exit 1; }
    root=(sudo)
  fi
  echo "installing: $*"
  "${root[@]}" apt-get update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" > /dev/null < /dev/null
}

# need_programs PROGRAM PACKAGE ...
need_programs() {
  local missing=()
  while [ $# -gt 0 ]; do command -v "$1" > /dev/null || missing+=("$2"); shift 2; done
  [ ${#missing[@]} = 0 ] || install "${missing[@]}"
}

docker_answers() { command -v docker > /dev/null && timeout 5 docker version > /dev/null 2>&1; }

need_postgresql() {
  [ -z "${POSTBACKD_TEST_DATABASE_URL:-}" ] || return 0
  [ "${POSTBACKD_TEST_POSTGRES:-}" = local ] || ! docker_answers || return 0
  ls /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb > /dev/null 2>&1 || [ -x "$(pg_config --bindir 2> /dev/null)/initdb" ] || install postgresql
}

# Starts a server by the tests' own means and exports POSTBACKD_TEST_DATABASE_URL. It ends when we let go of its standard
# input: by stop_server, or by our own end.
start_server() {
  [ -z "${POSTBACKD_TEST_DATABASE_URL:-}" ] || return 0
  server_dir=$(mktemp -d)
  exec {server_hold}> >(POSTBACKD_TEST_SERVE=$server_dir/url exec cargo test -q --test it -- --ignored --exact harness::serve > "$server_dir/log" 2>&1)
  server_pid=$!
  while [ ! -s "$server_dir/url" ]; do
    kill -0 "$server_pid" 2> /dev/null || { cat "$server_dir/log" >&2; exit 1; }
    sleep 0.1
  done
  grep -a '^PostgreSQL for the tests' "$server_dir/log" || true
  POSTBACKD_TEST_DATABASE_URL=$(cat "$server_dir/url")
  export POSTBACKD_TEST_DATABASE_URL
}

release_server() { [ -z "${server_hold:-}" ] || exec {server_hold}>&-; }

stop_server() {
  [ -n "${server_dir:-}" ] || return 0
  release_server
  while kill -0 "$server_pid" 2> /dev/null; do sleep 0.1; done
  rm -rf "$server_dir"
  unset server_dir server_hold POSTBACKD_TEST_DATABASE_URL
}
