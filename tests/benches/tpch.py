"""T22: the 22 queries of TPC-H over tables that Sarsen published, beside plain DataFusion and DuckDB on the same files."""

import json
import statistics
import subprocess
import time

import check
import data
import duck
from paths import PLAIN_DATAFUSION, THREADS, TPCH_SQL

RUNS = 5
# Time chunks of the two large tables are months of these columns; the others have one chunk.
DATES = {"lineitem": "l_shipdate", "orders": "o_orderdate"}
ONE_QUERY_LIMIT = 4.0


def queries():
    """The queries in order, without their comments."""
    lines = [line for line in TPCH_SQL.read_text().splitlines() if not line.startswith("--")]
    return [query.strip() for query in "\n".join(lines).split(";") if query.strip()]


def load(server, context=None):
    """Makes the eight tables."""
    for table, columns in data.TPCH.items():
        source = data.extern([data.tpch_csv(table)], data.CSV, columns)
        if table in DATES:
            select = f"SELECT TIME_PARSE({DATES[table]}) AS __time, * FROM {source} PARTITIONED BY MONTH CLUSTERED BY {columns[0][0]}"
        else:
            select = f"SELECT * FROM {source} PARTITIONED BY ALL CLUSTERED BY {columns[0][0]}"
        server.task(f"REPLACE INTO {table} OVERWRITE ALL {select}", context)


def sarsen(server, context=None):
    """Median wall seconds and rows of each query."""
    walls, rows = [], []
    for query in queries():
        times = []
        for _ in range(RUNS + 1):
            began = time.perf_counter()
            found = server.rows(query, context)
            times.append(time.perf_counter() - began)
        # The first run warms the caches.
        walls.append(statistics.median(times[1:]))
        rows.append(found)
    return walls, rows


def plain_datafusion(server):
    tables = [f"{table}={server.deep_storage() / table}/" for table in data.TPCH]
    answer = subprocess.run(
        [PLAIN_DATAFUSION, str(THREADS), str(RUNS + 1), TPCH_SQL, *tables], check=True, stdout=subprocess.PIPE, text=True)
    answers = json.loads(answer.stdout)
    return [statistics.median(one["wall"][1:]) for one in answers], [one["rows"] for one in answers]


def duckdb(server):
    views = [f"CREATE VIEW {table} AS SELECT * FROM {check.parquet(server.deep_storage() / table)}" for table in data.TPCH]
    answer = duck.run(queries(), views, RUNS + 1)
    return [statistics.median(walls[1:]) for walls in answer["walls"]], answer["rows"]


def compare(server, name, limit, context=None):
    """Loads, runs and checks; answers lines of text."""
    load(server, context)
    (cost, (ours, rows)) = server.measured(lambda: sarsen(server, context))
    plain, plain_rows = plain_datafusion(server)
    duck_walls, duck_rows = duckdb(server)
    for number, (found, of_plain, of_duck) in enumerate(zip(rows, plain_rows, duck_rows, strict=True), 1):
        check.same_rows(f"{name} Q{number}", found, of_duck)
        check.same_rows(f"plain DataFusion Q{number}", of_plain, of_duck)
    lines = [f"{name}, median of {RUNS} warm runs, ms: {'Sarsen':>8} {'DataFusion':>11} {'DuckDB':>8} {'ratio to DataFusion':>20}"]
    for number, walls in enumerate(zip(ours, plain, duck_walls), 1):
        mine, of_plain, of_duck = (wall * 1000 for wall in walls)
        above = "  above the limit" if mine > ONE_QUERY_LIMIT * of_plain else ""
        lines.append(f"  Q{number:<2} {mine:>37.1f} {of_plain:>11.1f} {of_duck:>8.1f} {mine / of_plain:>19.2f}x{above}")
    totals = [sum(walls) for walls in (ours, plain, duck_walls)]
    worst = max(range(len(ours)), key=lambda query: ours[query] / plain[query])
    lines.append(f"  all {totals[0] * 1000:>36.1f} {totals[1] * 1000:>11.1f} {totals[2] * 1000:>8.1f} {totals[0] / totals[1]:>19.2f}x"
                 f"  (to reach: {limit:.1f}x, no query above {ONE_QUERY_LIMIT:.0f}x; worst: Q{worst + 1}; peak {cost[2]:.0f} MB)")
    return "\n".join(lines)


def standalone(server):
    return compare(server, "T22 standalone", 1.6, {"maxNumTasks": 2})


def separate(cluster):
    """Every role a process, two workers."""
    return compare(cluster, "T22 in separate processes, 2 workers", 2.5, {"maxNumTasks": 3})
