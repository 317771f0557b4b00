#!/usr/bin/env bash
# Runs the same work in Sarsen (release build) and in DuckDB, checks the results, and prints a table.
#   SCALE   TPC-H scale factor (default 1)
#   THREADS threads of DuckDB (default: all cores, as Sarsen)
set -euo pipefail
cd "$(dirname "$0")/../.."
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check duckdb tpchgen-cli
exec .venv/bin/python tests/benches/bench.py "$@"
