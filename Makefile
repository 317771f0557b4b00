.DEFAULT_GOAL := help
SHELL := /bin/bash

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

setup: ## install what a build needs (C compiler, linker) with the system's package manager
	@./tools/setup.sh

demo: setup ## build, then ingest and join real TPC-H data through a standalone
	cargo run --release --locked -p sarsen -- demo

test: setup ## set up and run all tests
	INSTA_UPDATE=no cargo test --workspace --locked

lint: setup ## formatting, clippy, dependency and file-size checks
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	./tools/check-structure.sh

bench: setup ## compare with DuckDB and plain DataFusion on the same work
	cargo build --release --locked -p sarsen
	./tests/benches/run.sh

cluster: setup ## start every role as a process on loopback (stop: deploy/local-cluster.sh down)
	cargo build --release --locked -p sarsen
	./deploy/local-cluster.sh up

.PHONY: help setup demo test lint bench cluster
