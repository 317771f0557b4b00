#!/usr/bin/env bash
# The cluster of docker-compose.yml as processes on this machine: two Overlords over etcd and PostgreSQL, two controllers,
# workers, a gateway, deep storage on an S3 server. What is not installed is done without, and said: SQLite and one
# Overlord without etcd or PostgreSQL, a folder without an S3 server.
#
#   local-cluster.sh up [BINARY]    start; prints the gateway's address
#   local-cluster.sh down           stop with SIGTERM and wait
#   local-cluster.sh status         which processes live, and the gateway's health
#   local-cluster.sh commands       what `up` would run, line by line
#   local-cluster.sh restart NAME   stop one process (overlord1, worker2, …) with SIGTERM and start it again
#
# SARSEN_CLUSTER_DIR      where data, logs and process ids go  (default ./sarsen-data/cluster)
# SARSEN_CLUSTER_PORT     first of the ports                   (default 8888; the gateway's, the others follow at +1000)
# SARSEN_CLUSTER_WORKERS  number of worker processes           (default 2)
# SARSEN_CLUSTER_SLOTS    worker tasks per worker process      (default 4)
# SARSEN_CLUSTER_SERVICES which of `etcd postgres s3` to use   (default: those installed; `none` for no service)
# SARSEN_CLUSTER_S3       the S3 server, versitygw             (default: the one on the PATH or in ~/go/bin)
# SARSEN_CLUSTER_NETNS    1: each process in a network namespace of its own, as on a host of its own (needs root)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
dir=${SARSEN_CLUSTER_DIR:-$root/sarsen-data/cluster}
port=${SARSEN_CLUSTER_PORT:-8888}
workers=${SARSEN_CLUSTER_WORKERS:-2}
slots=${SARSEN_CLUSTER_SLOTS:-4}
netns=${SARSEN_CLUSTER_NETNS:-}
s3=${SARSEN_CLUSTER_S3:-$(command -v versitygw || echo "$HOME/go/bin/versitygw")}
postgres=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)

# --- What there is, and where it is reached.

installed() {
  case $1 in
    etcd) command -v etcd >/dev/null ;;
    postgres) [ -x "$postgres/initdb" ] ;;
    s3) [ -x "$s3" ] ;;
  esac
}

uses() {
  case " ${SARSEN_CLUSTER_SERVICES:-etcd postgres s3} " in
    *" $1 "*) installed "$1" ;;
    *) return 1 ;;
  esac
}

# Every process has a number; it is the last part of its address as a host, or added to the first port without hosts.
number_of() {
  case $1 in
    gateway) echo 1 ;;
    etcd) echo 2 ;;
    postgres) echo 3 ;;
    s3) echo 4 ;;
    overlord*) echo $((10 + ${1#overlord})) ;;
    controller*) echo $((20 + ${1#controller})) ;;
    worker*) echo $((30 + ${1#worker})) ;;
  esac
}

host_of() { if [ -n "$netns" ]; then echo "10.77.0.$(($(number_of "$1") + 1))"; else echo 127.0.0.1; fi; }
port_of() { if [ "$1" = gateway ]; then echo "$port"; else echo $((port + 1000 + $(number_of "$1"))); fi; }
admin_of() { echo "$(host_of "$1"):$((port + 1100 + $(number_of "$1")))"; }
at() { echo "$(host_of "$1"):$(port_of "$1")"; }

overlords() { if uses etcd && uses postgres; then echo overlord1 overlord2; else echo overlord1; fi; }
members() { echo controller1 controller2; for i in $(seq "$workers"); do echo "worker$i"; done; }
roles() { overlords; members; echo gateway; }

# --- Command lines: the arguments are those of docker-compose.yml, the settings its environment.

arguments_of() {
  case $1 in
    overlord*) echo "overlord --grpc-addr $(at "$1") --advertise $(at "$1")" ;;
    controller*) echo "controller --grpc-addr $(at "$1") --advertise $(at "$1")" ;;
    worker*) echo "worker --grpc-addr $(at "$1") --advertise $(at "$1") --slots $slots" ;;
    gateway) echo "gateway --http-addr $(at "$1")" ;;
  esac
}

settings_of() {
  echo "SARSEN_DATA_DIR=$dir/$1"
  echo "SARSEN_ADMIN_ADDR=$(admin_of "$1")"
  if uses s3; then
    echo "SARSEN_DEEP_STORAGE=s3://sarsen/deep-storage"
    echo "SARSEN_S3_ENDPOINT=http://$(at s3)"
    echo "SARSEN_S3_PATH_STYLE=true"
    echo "AWS_REGION=us-east-1"
    echo "AWS_ACCESS_KEY_ID=sarsen"
    echo "AWS_SECRET_ACCESS_KEY=sarsen-secret"
  else
    echo "SARSEN_DEEP_STORAGE=$dir/deep-storage"
  fi
  case $1 in
    overlord*)
      if uses etcd && uses postgres; then echo "SARSEN_ETCD=etcd://$(at etcd)/sarsen"; fi
      if uses postgres; then echo "SARSEN_METADATA=postgres://sarsen@$(at postgres)/sarsen"; fi
      ;;
    *)
      if uses etcd && uses postgres; then
        echo "SARSEN_OVERLORD=etcd://$(at etcd)/sarsen"
      else
        echo "SARSEN_OVERLORD=http://$(at overlord1)"
      fi
      echo "SARSEN_EXTERN_ALLOW=/,http://,https://,s3://sarsen/"
      ;;
  esac
}

# --- Processes.

# Runs a command on the host of a process.
on_host() {
  local name=$1
  shift
  if [ -n "$netns" ]; then ip netns exec "sarsen-$name" "$@"; else "$@"; fi
}

start() { # name, command…
  local name=$1
  shift
  mkdir -p "$dir/$name"
  if [ -n "$netns" ]; then set -- ip netns exec "sarsen-$name" "$@"; fi
  nohup "$@" >>"$dir/$name.log" 2>&1 </dev/null &
  echo $! >"$dir/$name.pid"
}

start_role() {
  local settings
  mapfile -t settings < <(settings_of "$1")
  # shellcheck disable=SC2046
  start "$1" env "${settings[@]}" "$binary" $(arguments_of "$1")
}

# A host per process: a namespace with an address on one bridge.
make_hosts() {
  ip link add sarsen0 type bridge 2>/dev/null || true
  ip addr replace 10.77.0.1/24 dev sarsen0
  ip link set sarsen0 up
  local name link
  for name in etcd postgres s3 $(roles); do
    link="sarsen-$(number_of "$name")"
    ip netns add "sarsen-$name" 2>/dev/null || continue
    ip link add "$link" type veth peer name eth0 netns "sarsen-$name"
    ip link set "$link" master sarsen0 up
    ip -n "sarsen-$name" addr add "$(host_of "$name")/24" dev eth0
    ip -n "sarsen-$name" link set eth0 up
    ip -n "sarsen-$name" link set lo up
    ip -n "sarsen-$name" route add default via 10.77.0.1
  done
}

remove_hosts() {
  ip netns list | awk '/^sarsen-/ {print $1}' | while read -r name; do ip netns del "$name"; done
  ip link del sarsen0 2>/dev/null || true
}

# PostgreSQL does not run as root.
as_postgres() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi; }

start_services() {
  if uses etcd; then
    start etcd etcd --name etcd --data-dir "$dir/etcd/db" --unsafe-no-fsync \
      --listen-client-urls "http://$(at etcd)" --advertise-client-urls "http://$(at etcd)" \
      --listen-peer-urls "http://$(host_of etcd):$((port + 1090))" \
      --initial-advertise-peer-urls "http://$(host_of etcd):$((port + 1090))" \
      --initial-cluster "etcd=http://$(host_of etcd):$((port + 1090))"
  fi
  if uses postgres; then
    mkdir -p "$dir/postgres"
    if [ "$(id -u)" = 0 ]; then chown postgres "$dir/postgres"; fi
    if [ ! -e "$dir/postgres/db/PG_VERSION" ]; then
      (cd / && as_postgres "$postgres/initdb" --auth=trust --username=sarsen --no-sync -D "$dir/postgres/db" >"$dir/postgres.log")
      (cd / && as_postgres sh -c "echo 'host all all 10.77.0.0/24 trust' >>'$dir/postgres/db/pg_hba.conf'")
    fi
    local run=("$postgres/postgres" -D "$dir/postgres/db" -h "$(host_of postgres)" -p "$(port_of postgres)" -k "$dir/postgres")
    if [ "$(id -u)" = 0 ]; then run=(setpriv --reuid=postgres --regid=postgres --clear-groups "${run[@]}"); fi
    (cd / && start postgres "${run[@]}")
    wait_for postgres "$postgres/pg_isready" -q -h "$(host_of postgres)" -p "$(port_of postgres)" -U sarsen
    on_host postgres "$postgres/createdb" -h "$(host_of postgres)" -p "$(port_of postgres)" -U sarsen sarsen 2>/dev/null || true
  fi
  if uses s3; then
    mkdir -p "$dir/s3/sarsen"
    start s3 env ROOT_ACCESS_KEY=sarsen ROOT_SECRET_KEY=sarsen-secret "$s3" --port "$(at s3)" posix "$dir/s3"
  fi
}

wait_for() { # name, command…
  local name=$1
  shift
  for _ in $(seq 300); do
    if on_host "$name" "$@" >/dev/null 2>&1; then return; fi
    sleep 0.05
  done
  echo "$name did not start within 15 s; see $dir/$name.log." >&2
  exit 1
}

find_binary() {
  binary=${1:-$root/target/release/sarsen}
  [ -x "$binary" ] || binary=$root/target/debug/sarsen
  [ -x "$binary" ] || { echo "No binary: run 'cargo build --release' first." >&2; exit 1; }
}

up() {
  find_binary "$1"
  mkdir -p "$dir"
  echo "$binary" >"$dir/binary"
  if [ -n "$netns" ]; then make_hosts; fi
  for service in etcd postgres s3; do
    uses "$service" || echo "Without $service: it is not installed, or not asked for."
  done
  start_services
  for name in $(roles); do start_role "$name"; done
  wait_for gateway "$binary" probe "http://$(at gateway)/status/health"
  echo "Sarsen is up: http://$(at gateway) (logs in $dir)"
}

stop() { # pid files…
  local file pid pids=()
  for file in "$@"; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    # PostgreSQL waits for its clients at SIGTERM.
    if [ "$(basename "$file")" = postgres.pid ]; then kill -INT "$pid" 2>/dev/null || true; else kill -TERM "$pid" 2>/dev/null || true; fi
    pids+=("$pid")
    rm -f "$file"
  done
  for _ in $(seq 600); do
    local alive=0
    for pid in "${pids[@]:-}"; do [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && alive=1; done
    [ "$alive" = 0 ] && return
    sleep 0.1
  done
  for pid in "${pids[@]:-}"; do [ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null || true; done
}

down() {
  # Those that others need end last.
  local files=()
  for file in "$dir"/*.pid; do
    case $(basename "$file" .pid) in etcd | postgres | s3) ;; *) files+=("$file") ;; esac
  done
  stop "${files[@]:-}"
  stop "$dir"/*.pid
  if [ -n "$netns" ]; then remove_hosts; fi
}

restart() {
  find_binary "$(cat "$dir/binary" 2>/dev/null || true)"
  [ -e "$dir/$1.pid" ] || { echo "no process $1 in $dir" >&2; exit 1; }
  stop "$dir/$1.pid"
  start_role "$1"
}

status() {
  for file in "$dir"/*.pid; do
    [ -e "$file" ] || { echo "no cluster in $dir"; exit 1; }
    name=$(basename "$file" .pid)
    if kill -0 "$(cat "$file")" 2>/dev/null; then echo "$name: up (pid $(cat "$file"))"; else echo "$name: down"; fi
  done
  echo "health: $(curl -s -o /dev/null -w '%{http_code}' "http://$(at gateway)/status/health")"
}

commands() {
  for name in $(roles); do echo "$(settings_of "$name" | tr '\n' ' ')sarsen $(arguments_of "$name")"; done
}

case "${1:-}" in
  up) up "${2:-}" ;;
  down) down ;;
  status) status ;;
  commands) commands ;;
  restart) restart "${2:?NAME}" ;;
  *) sed -n '2,20p' "$0"; exit 1 ;;
esac
