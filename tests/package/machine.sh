# Sourced by tests/package.sh: a Debian server with systemd and PostgreSQL in a container, and what is done on it.

IMAGE=postbackd-test-server:12.1

# Built once on a machine, from Debian's packages: no image registry is asked.
machine_image() {
  docker image inspect "$IMAGE" > /dev/null 2>&1 && return 0
  echo 'building the image of a server from Debian packages'
  local root; root=$(mktemp)
  need_programs mmdebstrap mmdebstrap
  mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,dbus,procps,postgresql,ca-certificates,curl,sudo bookworm > "$root" \
    && docker import "$root" "$IMAGE" > /dev/null
  local done=$?
  rm -f "$root"
  return $done
}

machine_start() {
  # A server's root may look at every process: without that PrivateUsers= and ProtectProc= exclude each other.
  # systemd in a container leaves the propagation of mounts to whoever starts it; LoadCredential= needs it shared, as it is on a server.
  machine=$(docker run -d --cap-add SYS_ADMIN --cap-add SYS_PTRACE --security-opt seccomp=unconfined --security-opt apparmor=unconfined --tmpfs /run --tmpfs /run/lock \
    --tmpfs /tmp -v /sys/fs/cgroup:/sys/fs/cgroup:rw -e container=docker "$IMAGE" /bin/sh -c 'mount --make-rshared / && exec /sbin/init')
  # 77: this engine's containers do not boot systemd, which says nothing about the package.
  if ! wait_for 90 on_machine 'systemctl is-system-running | grep -qE "running|degraded"'; then
    echo "tests/package.sh: not run: systemd does not boot in a container here: $(docker logs "$machine" 2>&1 | tail -n 3)" >&2
    exit 77
  fi
  until_true 60 'the server is up' on_machine 'systemctl is-system-running | grep -qx running && pg_isready -q'
}

machine_stop() { [ -z "${machine:-}" ] || docker rm -f "$machine" > /dev/null; }

# Runs a script as root, as over ssh.
on_machine() { docker exec -i -w /root "$machine" bash -eo pipefail -c "$1" < "${2:-/dev/null}"; }

# What PostgreSQL says to one query of database shop.
sql() { on_machine "cd /; sudo -u postgres psql -X -At -v ON_ERROR_STOP=1 ${2:-shop}" <(printf '%s' "$1"); }

property() { on_machine "systemctl show -P $1 ${2:-postbackd}"; }

ok() { printf '%5d s  ok  %s\n' $SECONDS "$*"; }

broken() {
  printf '%5d s  BROKEN  %s\n' $SECONDS "$*" >&2
  [ -z "${machine:-}" ] || on_machine 'journalctl --no-pager -o short-precise -n 60 -u "postbackd*"; systemctl --no-pager --failed' >&2 || true
  exit 1
}

# must 'what has to hold' COMMAND ...
must() { local what=$1; shift; if "$@"; then ok "$what"; else broken "$what"; fi; }

# same 'what' WANTED FOUND
same() { if [ "$2" = "$3" ]; then ok "$1: $3"; else broken "$1: wanted '$2', found '$3'"; fi; }

# wait_for SECONDS COMMAND ...
wait_for() {
  local end=$((SECONDS + $1)); shift
  until "$@" > /dev/null 2>&1; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.2
  done
}

# until_true SECONDS 'what has to hold by then' COMMAND ...
until_true() {
  local limit=$1 what=$2; shift 2
  if wait_for "$limit" "$@"; then ok "$what"; else broken "$what"; fi
}

# Runs what docs/install.md says, in its order: "sh" blocks are run, those with a file name are written there, "until WORD" ones are
# repeated until they print it.
follow_guide() {
  local kind arg line block='' inside=
  while IFS= read -r line; do
    if [ -z "$inside" ]; then
      case $line in '```'?*) inside=${line#'```'}; block='' ;; '```') inside=text; block='' ;; esac
    elif [ "$line" = '```' ]; then
      read -r kind arg <<< "$inside"; inside=
      case $kind:$arg in
        sh:until\ *) until_true 60 "the guide's $(head -n 1 <<< "$block")" on_machine "($block) 2>&1 | grep -w '${arg#until }'" ;;
        sh:) guide_step "$block" ;;
        *:/*) on_machine "cat > $arg" <(printf '%s' "$block") ;;
      esac
    else
      block+=${line//https:\/\/tracker.example\/postback/$tracker}$'\n'
    fi
  done < docs/install.md
}

# What is typed into a command that waits for it is the tracker's key.
guide_step() {
  local out
  if out=$(on_machine "$1" <(echo canary-key) 2>&1); then ok "the guide's $(head -n 1 <<< "$1")"; else echo "$out" >&2; broken "the guide's $1"; fi
}
