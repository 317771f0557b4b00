#!/usr/bin/env bash
# Checks what no compiler does: the arrows between crates and the length of files.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0
fail() { echo "$1" >&2; failed=1; }

# The kernel is pure: nothing but serde, thiserror and what they are made of.
allowed='^(sarsen-kernel|serde|serde_core|serde_derive|thiserror|thiserror-impl|proc-macro2|quote|syn|unicode-ident)$'
extra=$(cargo tree --locked -p sarsen-kernel -e normal --prefix none --format '{p}' | awk '{print $1}' | sort -u | grep -vE "$allowed" || true)
[ -z "$extra" ] || fail "sarsen-kernel depends on: $extra"

# The Overlord knows no SQL.
sql=$(cargo tree --locked -p sarsen-overlord -e normal --prefix none --format '{p}' | awk '{print $1}' | sort -u | grep -E '^(datafusion|sqlparser|sarsen-planner|sarsen-engine|sarsen-functions)' || true)
[ -z "$sql" ] || fail "sarsen-overlord depends on: $sql"

# No file is too long to be read in one go.
while read -r lines file; do
  [ "$file" = total ] || [ "$lines" -le 800 ] || fail "$file has $lines lines, at most 800 are allowed"
done < <(git ls-files '*.rs' | xargs wc -l)

[ "$failed" = 0 ] && echo "structure: ok"
exit "$failed"
