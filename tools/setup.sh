#!/usr/bin/env bash
# Installs what a build and its tests need and the machine lacks: a C compiler for the bundled SQLite and codecs, and a
# PostgreSQL server for the tests of the metadata store.
set -euo pipefail

missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v make >/dev/null || missing+=(make)
command -v curl >/dev/null || missing+=(curl)
command -v python3 >/dev/null || missing+=(python3)
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)

if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "Please install ${missing[*]} with your system's package manager, then try again." >&2
    exit 1
  fi
  as_root=""
  [ "$(id -u)" = 0 ] || as_root="sudo"
  $as_root apt-get update -qq
  $as_root apt-get install -y -qq "${missing[@]}"
fi

if ! command -v cargo >/dev/null; then
  echo "Please install Rust with rustup (https://rustup.rs), then try again; the toolchain is pinned in rust-toolchain.toml." >&2
  exit 1
fi
# A rustup that does not install pinned toolchains by itself is asked to.
if command -v rustup >/dev/null && ! cargo --version >/dev/null 2>&1; then
  rustup toolchain install
fi
