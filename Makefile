.DEFAULT_GOAL := help
SHELL := /bin/bash

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

setup: ## install what a build and the tests need (C compiler, Python packages)
	@./tools/setup.sh

demo: setup ## build, then ingest and join real TPC-H data through a standalone
	cargo run --release --locked -p sarsen -- demo

test: setup ## set up and run all tests
	INSTA_UPDATE=no cargo test --workspace --locked

lint: setup ## formatting, clippy, dependency and file-size checks
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	./tools/check-structure.sh

bench: bench-build ## compare with DuckDB and plain DataFusion on the same work (JOBS="i1 t22" for some of it, SCALE=0.1)
	./tests/benches/run.sh $(JOBS)

bench-cluster: bench-build ## 6 million rows through a cluster while workers are killed; checksums against DuckDB's
	./tests/benches/run.sh --kill

bench-code: setup ## time single pieces of code (criterion): functions, keys, sort writer, readers, segments, planning, kernel
	cargo bench --locked -p sarsen-functions -p sarsen-engine -p sarsen-worker -p sarsen-storage -p sarsen-planner -p sarsen-kernel --benches

bench-build: setup
	cargo build --release --locked -p sarsen -p sarsen-engine --bin sarsen --example plain_datafusion

cluster: setup ## start a cluster of processes: etcd, PostgreSQL, every role (stop: deploy/local-cluster.sh down)
	cargo build --release --locked -p sarsen
	./deploy/local-cluster.sh up

conformance: setup ## run Druid's own SQL checks, where ../shared/conformance holds them (a tenth: make conformance-tenth)
	cargo build --release --locked -p sarsen
	./tests/conformance/conformance.py --all

conformance-tenth: setup
	cargo build --workspace --locked
	./tests/conformance/conformance.py --binary target/debug/sarsen

test-deploy: setup ## check the chart, the compose file and their command lines (needs Go, for helm)
	cargo build --locked -p sarsen
	./tools/setup-deploy.sh
	.venv/bin/python deploy/check.py --sarsen target/debug/sarsen --helm .tools/bin/helm \
	  --compose-schema .tools/compose-spec.json

test-rolling: setup ## replace every process of a cluster while 20 queries run; check their rows
	cargo build --locked -p sarsen
	./deploy/rolling_restart.py --binary target/debug/sarsen

.PHONY: help setup demo test conformance conformance-tenth lint bench bench-cluster bench-code bench-build cluster test-deploy test-rolling
