#!/usr/bin/env bash
# Installs what a build and its tests need and the machine lacks: a C compiler for the bundled SQLite and codecs, a
# PostgreSQL server for the tests of the metadata store, Python with the packages that the tests compare with. Does
# nothing, at once, where all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v make >/dev/null || missing+=(make)
# etcd-client compiles its messages.
command -v protoc >/dev/null || missing+=(protobuf-compiler)
command -v etcd >/dev/null || missing+=(etcd-server)
command -v curl >/dev/null || missing+=(curl)
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
# Debian's python3 comes without venv.
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3 python3-venv)

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

# The tests' oracles and clients are Python packages, in an environment of their own.
packages=(duckdb==2.0.0 requests==2.34.2 "moto[s3,server]==5.1.22")
if ! .venv/bin/python -c 'import duckdb, flask, moto, requests' 2>/dev/null; then
  [ -x .venv/bin/pip ] || python3 -m venv --clear .venv
  .venv/bin/pip install --quiet --disable-pip-version-check "${packages[@]}"
fi
