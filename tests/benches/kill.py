"""The cluster's proof: every role a process; lineitem is INSERTed, joined and sorted, and in the middle of each one worker
is killed with `kill -9`. Checksums must be DuckDB's, and nothing that was not published may lie around afterwards."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import time

import check
import data
import duck
from paths import SARSEN
from server import Cluster

TWO_WORKERS = {"maxNumTasks": 3}
DEADLINE = 600
SUMS = ["l_orderkey", "l_quantity * l_linenumber", "l_extendedprice", "length(l_comment)"]
TOTALS = "COUNT(*), SUM(l_orderkey), SUM(l_quantity * l_linenumber), SUM(l_extendedprice)"
JOIN = ("SELECT o_orderpriority, " + TOTALS + " FROM {} JOIN {} ON l_orderkey = o_orderkey "
        "GROUP BY o_orderpriority ORDER BY o_orderpriority")


def csv(table):
    return f"read_csv('{data.tpch_csv(table)}', header=true, columns={data.struct(data.TPCH[table])})"


def insert(table, time_column, cluster_column):
    source = data.extern([data.tpch_csv(table)], data.CSV, data.TPCH[table])
    return (f"INSERT INTO {table} SELECT TIME_PARSE({time_column}) AS __time, * FROM {source} "
            f"PARTITIONED BY MONTH CLUSTERED BY {cluster_column}")


def rows_read(report):
    """Rows that all stages have read so far."""
    snapshots = [worker for stage in report.get("counters", {}).values() for worker in stage.values()]
    channels = [channel for worker in snapshots for name, channel in worker.items() if name.startswith("input")]
    return sum(sum(channel.get("rows") or []) for channel in channels)


def with_a_kill(cluster, what, statement, rows, context=None):
    """Runs a statement as a task, and kills a worker process that works for it once `rows` rows have been read."""
    began = time.perf_counter()
    task = cluster.submit(statement, {**TWO_WORKERS, **(context or {})})
    while True:
        state = cluster.status(task)["status"]
        if state != "RUNNING" or time.perf_counter() - began > DEADLINE:
            raise check.Wrong(f"{what}: {task} was {state} before {rows} rows were read, so that nothing was killed")
        found = rows_read(cluster.report(task))
        if found >= rows:
            break
        time.sleep(0.005)
    victim = at_work(cluster, task)[-1]
    os.kill(cluster.pid(victim), signal.SIGKILL)
    killed = time.perf_counter() - began
    cluster.wait(task)
    took = time.perf_counter() - began
    report = cluster.report(task)
    lives = {number: len(of_worker) for number, of_worker in report["status"]["workers"].items()}
    if max(lives.values()) < 2:
        raise check.Wrong(f"{what}: no worker task was started anew: {lives}")
    print(f"{what}: SUCCESS after {took:.1f} s; {victim} killed after {killed:.1f} s and {found} rows; worker tasks started: {lives}", flush=True)
    revive(cluster, victim)
    return report


def at_work(cluster, task):
    """Worker processes that play a worker of the task: each keeps a spill folder for it."""
    workers = [name for name in cluster.names() if name.startswith("worker")]
    return [worker for worker in workers if list((cluster.folder / worker / "spill").glob(f"{task}-worker*"))]


def revive(cluster, victim):
    """Starts a killed worker again, by the command line that it had, and waits until it listens."""
    port = cluster.port + 1010 + int(victim.removeprefix("worker"))
    arguments = [
        SARSEN, "worker", "--overlord", f"http://127.0.0.1:{cluster.port + 1000}", "--slots", "4",
        "--grpc-addr", f"127.0.0.1:{port}", "--data-dir", cluster.folder / victim,
        "--deep-storage", cluster.deep_storage(), "--spill-dir", cluster.folder / victim / "spill", "--extern-allow", "/"]
    with (cluster.folder / f"{victim}.log").open("a") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log, start_new_session=True)
    (cluster.folder / f"{victim}.pid").write_text(str(process.pid))
    deadline = time.time() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError as error:
            if time.time() > deadline:
                raise check.Wrong(f"{victim} did not come back: {error}") from error
            time.sleep(0.02)


def unpublished(cluster):
    """Files of deep storage that no used segment names, and segments whose file is gone."""
    store = sqlite3.connect(f"file:{cluster.folder}/overlord/metadata.db?mode=ro", uri=True)
    payloads = [json.loads(payload) for (payload,) in store.execute("SELECT payload FROM druid_segments WHERE used = 1")]
    store.close()
    named = {payload["loadSpec"]["path"] for payload in payloads}
    root = cluster.deep_storage()
    there = {str(path.relative_to(root)) for path in root.rglob("*.parquet")}
    return sorted(there - named), sorted(named - there)


def spilled(cluster):
    return sorted(str(path) for spill in cluster.folder.glob("*/spill") for path in spill.rglob("*") if path.is_file())


def nothing_is_left(cluster):
    """Cleaning goes on for a moment after the end of a query; then there is nothing."""
    deadline = time.time() + 60
    while True:
        extra, missing = unpublished(cluster)
        files = spilled(cluster)
        if not (extra or missing or files):
            print("no spill file, no unpublished segment, no published segment without its file", flush=True)
            return
        if time.time() > deadline:
            raise check.Wrong(f"left behind: segments {extra[:5]}, spill files {files[:5]}; missing: {missing[:5]}")
        time.sleep(0.1)


def main():
    totals = "COUNT(*), " + ", ".join(f"SUM({expression})::DOUBLE" for expression in SUMS)
    expected, joined = duck.run([f"SELECT {totals} FROM {csv('lineitem')}", JOIN.format(csv("lineitem"), csv("orders"))])["rows"]
    half = expected[0][0] // 2
    with Cluster() as cluster:
        storage = cluster.deep_storage()
        with_a_kill(cluster, "INSERT of lineitem", insert("lineitem", "l_shipdate", "l_suppkey"), half)
        found = check.segments(storage / "lineitem", ["l_shipdate", "l_suppkey"], "substr(l_shipdate, 1, 7)", SUMS)
        check.same_rows("INSERT", [found], expected)
        nothing_is_left(cluster)

        cluster.task(insert("orders", "o_orderdate", "o_orderkey"), TWO_WORKERS)
        report = with_a_kill(cluster, "join with orders", JOIN.format("lineitem", "orders"), half // 4)
        check.same_rows("join", report["results"]["results"], joined)
        nothing_is_left(cluster)

        # Small memory makes the sort spill, so that there is something to leave behind.
        sort = "INSERT INTO sorted SELECT * FROM lineitem PARTITIONED BY ALL CLUSTERED BY l_orderkey, l_linenumber"
        with_a_kill(cluster, "sort", sort, half, {"rowsPerSegment": 1_000_000, "taskMemoryBytes": 400_000_000})
        check.same_rows("sort", [check.segments(storage / "sorted", ["__time", "l_orderkey", "l_linenumber"], "1", SUMS)], expected)
        check.same_rows("tables", cluster.rows("SELECT COUNT(*) FROM sorted"), [[expected[0][0]]])
        nothing_is_left(cluster)


if __name__ == "__main__":
    main()
