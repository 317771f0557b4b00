#!/usr/bin/env bash
# Every role as a process on loopback: an Overlord, two controllers, two or more workers, a gateway.
#
#   local-cluster.sh up [BINARY]    start; prints the gateway's address
#   local-cluster.sh down           stop with SIGTERM and wait
#   local-cluster.sh status         which processes live, and the gateway's health
#
# SARSEN_CLUSTER_DIR  where data, logs and process ids go   (default ./sarsen-data/cluster)
# SARSEN_CLUSTER_PORT first of the ports                    (default 8888; the gateway's, the others follow at +1000)
# SARSEN_WORKERS      number of worker processes            (default 2)
# SARSEN_SLOTS        worker tasks per worker process       (default 4)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
dir=${SARSEN_CLUSTER_DIR:-$root/sarsen-data/cluster}
port=${SARSEN_CLUSTER_PORT:-8888}
workers=${SARSEN_WORKERS:-2}
slots=${SARSEN_SLOTS:-4}
host=127.0.0.1
overlord=http://$host:$((port + 1000))

start() { # name, arguments…
  local name=$1
  shift
  mkdir -p "$dir/$name"
  nohup "$binary" "$@" --data-dir "$dir/$name" --deep-storage "$dir/deep-storage" --spill-dir "$dir/$name/spill" \
    --extern-allow / --extern-allow http:// --extern-allow https:// \
    >"$dir/$name.log" 2>&1 </dev/null &
  echo $! >"$dir/$name.pid"
}

up() {
  binary=${1:-$root/target/release/sarsen}
  [ -x "$binary" ] || binary=$root/target/debug/sarsen
  [ -x "$binary" ] || { echo "No binary: run 'cargo build --release' first." >&2; exit 1; }
  mkdir -p "$dir"
  start overlord overlord --grpc-addr "$host:$((port + 1000))"
  for i in 1 2; do
    start "controller$i" controller --overlord "$overlord" --grpc-addr "$host:$((port + 1000 + i))"
  done
  for i in $(seq "$workers"); do
    start "worker$i" worker --overlord "$overlord" --grpc-addr "$host:$((port + 1010 + i))" --slots "$slots"
  done
  start gateway gateway --overlord "$overlord" --http-addr "$host:$port"
  for _ in $(seq 300); do
    if curl -sf "http://$host:$port/status/health" >/dev/null 2>&1; then
      echo "Sarsen is up: http://$host:$port (logs in $dir)"
      return
    fi
    sleep 0.1
  done
  echo "The cluster did not become healthy within 30 s; see the logs in $dir." >&2
  exit 1
}

down() {
  local pids=()
  for file in "$dir"/*.pid; do
    [ -e "$file" ] || continue
    kill -TERM "$(cat "$file")" 2>/dev/null || true
    pids+=("$(cat "$file")")
    rm -f "$file"
  done
  for _ in $(seq 100); do
    alive=0
    for pid in "${pids[@]:-}"; do [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && alive=1; done
    [ "$alive" = 0 ] && return
    sleep 0.1
  done
  for pid in "${pids[@]:-}"; do [ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null || true; done
}

status() {
  for file in "$dir"/*.pid; do
    [ -e "$file" ] || { echo "no cluster in $dir"; exit 1; }
    name=$(basename "$file" .pid)
    if kill -0 "$(cat "$file")" 2>/dev/null; then echo "$name: up (pid $(cat "$file"))"; else echo "$name: down"; fi
  done
  echo "health: $(curl -s -o /dev/null -w '%{http_code}' "http://$host:$port/status/health")"
}

case "${1:-}" in
  up) up "${2:-}" ;;
  down) down ;;
  status) status ;;
  *) sed -n '2,14p' "$0"; exit 1 ;;
esac
