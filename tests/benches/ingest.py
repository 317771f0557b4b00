"""Jobs that make tables of files: I1 to I4 and the wiki sample."""

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import duckdb

import check
import data
import duck
from paths import TARGET
from table import Line

MONTHS = "REPLACE INTO {} OVERWRITE ALL SELECT TIME_PARSE(l_shipdate) AS __time, * FROM {} PARTITIONED BY MONTH CLUSTERED BY l_suppkey"
ONE_WORKER = {"maxNumTasks": 2}
WIKI_TIME = 'TIME_PARSE("time") AS __time'
UTC_DAY = "epoch_ms(__time) // 86400000"
SAMPLE_RUNS = 5


def lineitem(server, name, table, files, input_format, reader):
    """lineitem into months, each file sorted by (l_shipdate, l_suppkey)."""
    query = MONTHS.format(table, data.extern(files, input_format, data.LINEITEM))
    ours, _ = server.measured(lambda: server.task(query, ONE_WORKER))
    sums = ["l_orderkey", "l_quantity * l_linenumber", "length(l_comment)"]
    order = ["l_shipdate", "l_suppkey"]
    found = check.segments(server.deep_storage() / table, order, "substr(l_shipdate, 1, 7)", sums)
    source = f"{reader}, columns={data.struct(data.LINEITEM)})"
    theirs = copied(f"SELECT *, substr(l_shipdate, 1, 7) AS chunk FROM {source} ORDER BY l_shipdate, l_suppkey", order, sums, found)
    return Line(name, ours, theirs, limit=2.0)


def copied(select, order, sums, expected):
    """The same files by DuckDB, in the codec and at the level of our segments; ours hold the rows and sums that DuckDB's
    do. Its threads may append to one file by turns, so that its order breaks: that is said, and its time counts."""
    out = Path(tempfile.mkdtemp(prefix="duckdb-", dir=TARGET))
    try:
        copy = f"COPY ({select}) TO '{out}/o' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, PARTITION_BY (chunk), WRITE_PARTITION_COLUMNS true)"
        measured, _ = duck.one(copy)
        check.same_rows("what DuckDB wrote", [expected], [check.totals(out / "o", sums)])
        broken = check.misplaced(out / "o", order, "chunk")
        if broken:
            print(f"DuckDB: {len(broken)} of {len(check.files(out / 'o'))} files are not in order", file=sys.stderr, flush=True)
        return measured
    finally:
        shutil.rmtree(out)


def i1(server):
    csv = data.tpch_csv("lineitem")
    return lineitem(server, "I1 lineitem.csv to months", "i1", [csv], data.CSV, f"read_csv('{csv}', header=true")


def i2(server):
    file = data.lineitem_json()
    return lineitem(server, "I2 lineitem.json.gz, one file", "i2", [file], data.JSON, f"read_json('{file}', format='newline_delimited'")


def i2b(server):
    files = data.lineitem_json_parts()
    names = [str(file) for file in files]
    return lineitem(server, f"I2b the same in {len(files)} files", "i2b", files, data.JSON, f"read_json({names}, format='newline_delimited'")


def i3(server):
    file = data.wiki_json()
    columns = ", ".join(f'"{name}"' for name, _ in data.WIKI if name != "time")
    source = data.extern([file], data.JSON, data.WIKI)
    query = f"REPLACE INTO i3 OVERWRITE ALL SELECT {WIKI_TIME}, {columns} FROM {source} PARTITIONED BY DAY"
    ours, _ = server.measured(lambda: server.task(query, ONE_WORKER))
    sums = ["added", "deleted", "delta", "length(page)", 'length("user")', "length(comment)"]
    found = check.segments(server.deep_storage() / "i3", ["__time"], UTC_DAY, sums)
    reader = f"read_json('{file}', format='newline_delimited', columns={data.struct(data.WIKI)})"
    select = (f'SELECT "time"::TIMESTAMPTZ AS __time, {columns}, substr("time", 1, 10) AS chunk FROM {reader} ORDER BY "time"')
    return Line("I3 wide wiki rows json.gz to days", ours, copied(select, ["__time"], sums, found))


def i4(server):
    file = data.wiki_json()
    keys = ["channel", "namespace", "isRobot"]
    columns = ", ".join(keys)
    aggregates = 'COUNT(*) AS "count", SUM(added) AS added, SUM(deleted) AS deleted, SUM(delta) AS delta'
    source = data.extern([file], data.JSON, data.WIKI)
    query = (f"REPLACE INTO i4 OVERWRITE ALL SELECT TIME_FLOOR(TIME_PARSE(\"time\"), 'PT1H') AS __time, {columns}, {aggregates} "
             f"FROM {source} GROUP BY 1, 2, 3, 4 PARTITIONED BY DAY CLUSTERED BY channel")
    ours, _ = server.measured(lambda: server.task(query, ONE_WORKER))
    sums = ['"count"', "added", "deleted", "delta"]
    order = ["__time", "channel"]
    found = check.segments(server.deep_storage() / "i4", order, UTC_DAY, sums)
    reader = f"read_json('{file}', format='newline_delimited', columns={data.struct(data.WIKI)})"
    select = (f"SELECT date_trunc('hour', \"time\"::TIMESTAMPTZ) AS __time, {columns}, {aggregates}, {UTC_DAY} AS chunk "
              f"FROM {reader} GROUP BY ALL ORDER BY __time, channel")
    return Line("I4 the same with rollup by hour", ours, copied(select, order, sums, found))


def wiki(server):
    """Druid's sample by day; warm, as one that tries it a second time sees it."""
    file = data.wiki_sample()
    columns = ", ".join(f'"{name}"' for name, _ in data.WIKI if name != "time")
    source = data.extern([file], data.JSON, data.WIKI)
    query = f"REPLACE INTO wiki OVERWRITE ALL SELECT {WIKI_TIME}, {columns} FROM {source} PARTITIONED BY DAY"
    walls = [server.task(query)[0] for _ in range(SAMPLE_RUNS)]
    expected = duckdb.sql(f"SELECT COUNT(*), SUM(added) FROM read_json('{file}', format='newline_delimited', columns={data.struct(data.WIKI)})").fetchall()
    check.same_rows("wiki sample", server.rows("SELECT COUNT(*), SUM(added) FROM wiki"), expected)
    return f"wiki sample by day, median of {SAMPLE_RUNS}: {statistics.median(walls):.2f} s (to reach: 0.5 s; Druid 37, measured elsewhere: 1.5 s)"
