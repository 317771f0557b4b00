#!/usr/bin/env bash
# Runs the same work in Sarsen, DuckDB and plain DataFusion, checks the results, and prints a table.
#
#   run.sh [JOB…]        jobs: idle select1 wiki i1 i2 i2b i3 i4 s5 s6 t22 t22c (default: all)
#   run.sh --kill        6 million rows through a cluster of processes while workers are killed, checked by DuckDB
#
#   SCALE   TPC-H scale factor (default 1); the wiki rows grow with it
#   THREADS threads of DuckDB and DataFusion (default: all cores, as Sarsen)
set -euo pipefail
cd "$(dirname "$0")/../.."
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/python -c 'import duckdb' 2>/dev/null && [ -x .venv/bin/tpchgen-cli ] ||
  .venv/bin/pip install --quiet --disable-pip-version-check duckdb tpchgen-cli
if [ "${1:-}" = --kill ]; then
  shift
  exec .venv/bin/python tests/benches/kill.py "$@"
fi
exec .venv/bin/python tests/benches/bench.py "$@"
