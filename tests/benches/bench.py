"""Sarsen beside DuckDB: wall seconds, CPU seconds and peak memory of the same work, results checked first."""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import duckdb

ROOT = Path(__file__).resolve().parents[2]
SCALE = os.environ.get("SCALE", "1")
THREADS = int(os.environ.get("THREADS", os.cpu_count()))
DATA = ROOT / "target" / "bench-data" / f"sf{SCALE}"
COLUMNS = [
    ("l_orderkey", "BIGINT"), ("l_partkey", "BIGINT"), ("l_suppkey", "BIGINT"), ("l_linenumber", "BIGINT"),
    ("l_quantity", "DOUBLE"), ("l_extendedprice", "DOUBLE"), ("l_discount", "DOUBLE"), ("l_tax", "DOUBLE"),
    ("l_returnflag", "VARCHAR"), ("l_linestatus", "VARCHAR"), ("l_shipdate", "VARCHAR"), ("l_commitdate", "VARCHAR"),
    ("l_receiptdate", "VARCHAR"), ("l_shipinstruct", "VARCHAR"), ("l_shipmode", "VARCHAR"), ("l_comment", "VARCHAR"),
]
EXTEND = ", ".join(f"{name} {kind}" for name, kind in COLUMNS)


def prepare():
    """lineitem as csv with a header and as one json.gz, made once."""
    DATA.mkdir(parents=True, exist_ok=True)
    csv, gz = DATA / "lineitem.csv", DATA / "lineitem.json.gz"
    if not csv.exists():
        tool = Path(sys.executable).parent / "tpchgen-cli"
        subprocess.run([tool, "csv", "-s", SCALE, "--tables=lineitem", f"--output-dir={DATA}"], check=True)
    if not gz.exists():
        duckdb.sql(f"COPY (SELECT * FROM read_csv('{csv}', all_varchar=true, header=true)) TO '{gz}' (FORMAT json, COMPRESSION gzip)")
    return csv, gz


class Sarsen:
    """A standalone server that is measured from outside."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="sarsen-bench-", dir=ROOT / "target"))
        self.port = 18888
        binary = ROOT / "target" / "release" / "sarsen"
        self.process = subprocess.Popen(
            [binary, "standalone", "--data-dir", self.folder, "--http-addr", f"127.0.0.1:{self.port}"],
            stdout=subprocess.DEVNULL, stderr=(self.folder / "log").open("w"))
        deadline = time.time() + 30
        while time.time() < deadline:
            try:
                self.call("GET", "/status/health")
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("standalone did not start")

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", method=method, headers={"Content-Type": "application/json"},
            data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.loads(answer.read())

    def task(self, query, context=None):
        """Runs a task; answers seconds from POST to SUCCESS."""
        began = time.perf_counter()
        task = self.call("POST", "/druid/v2/sql/task", {"query": query, "context": context or {}})["taskId"]
        while True:
            status = self.call("GET", f"/druid/indexer/v1/task/{task}/status")["status"]
            if status["status"] != "RUNNING":
                break
            time.sleep(0.001)
        took = time.perf_counter() - began
        if status["status"] != "SUCCESS":
            raise SystemExit(f"{query}\n{status['errorMsg']}")
        return took, task

    def rows(self, query):
        return self.call("POST", "/druid/v2/sql", {"query": query, "resultFormat": "array"})

    def cpu(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, what):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in text.splitlines() if line.startswith(what)).split()[1]) / 1024

    def reset_peak(self):
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.folder)


def in_duckdb(sql, rows=False):
    """Runs SQL in a process of its own; answers wall, CPU, peak MB and rows."""
    script = (
        "import duckdb,sys,json,resource,time\n"
        f"c=duckdb.connect(config={{'threads':{THREADS}}})\n"
        "b=time.perf_counter()\n"
        "r=c.execute(sys.argv[1]).fetchall()\n"
        "w=time.perf_counter()-b\n"
        "u=resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(json.dumps([w,u.ru_utime+u.ru_stime,u.ru_maxrss/1024,r[:5] if len(r)<6 else len(r)],default=str))")
    answer = subprocess.run([sys.executable, "-c", script, sql], check=True, capture_output=True, text=True)
    return json.loads(answer.stdout.strip().splitlines()[-1])


def check_segments(folder, table):
    """Every file is sorted by time and supplier, none holds two months, nothing is lost."""
    files = [str(path) for path in (folder / "deep-storage" / table).rglob("*.parquet")]
    rows = total = 0
    for file in files:
        count, value, months, unsorted = duckdb.sql(f"""
            SELECT COUNT(*), SUM(l_orderkey), COUNT(DISTINCT substr(l_shipdate, 1, 7)),
                   COUNT(*) FILTER (pk IS NOT NULL AND (k, s) < (pk, ps))
            FROM (SELECT *, l_shipdate AS k, l_suppkey AS s, lag(l_shipdate) OVER (ORDER BY r) AS pk,
                         lag(l_suppkey) OVER (ORDER BY r) AS ps
                  FROM (SELECT *, file_row_number AS r FROM read_parquet('{file}', file_row_number=true)))""").fetchall()[0]
        if months != 1 or unsorted:
            raise SystemExit(f"{file}: {months} months, {unsorted} rows out of order")
        rows, total = rows + count, total + value
    return rows, int(total)


def main():
    csv, gz = prepare()
    expected = duckdb.sql(f"SELECT COUNT(*), SUM(l_orderkey)::BIGINT FROM read_csv('{csv}', header=true)").fetchall()[0]
    table = []
    server = Sarsen()
    idle = server.memory("VmRSS")
    try:
        for name, path, source_format, reader in [
            ("I1 lineitem.csv to months", csv, {"type": "csv", "findColumnsFromHeader": True}, "read_csv('{}', header=true, columns={})"),
            ("I2 lineitem.json.gz, one file", gz, {"type": "json"}, "read_json('{}', format='newline_delimited', columns={})"),
        ]:
            target = name.split()[0].lower()
            source = json.dumps({"type": "local", "files": [str(path)]})
            query = (f"REPLACE INTO {target} OVERWRITE ALL SELECT TIME_PARSE(l_shipdate) AS __time, * FROM TABLE(EXTERN('{source}', "
                     f"'{json.dumps(source_format)}')) EXTEND ({EXTEND}) PARTITIONED BY MONTH CLUSTERED BY l_suppkey")
            server.reset_peak()
            cpu = server.cpu()
            wall, _ = server.task(query, {"maxNumTasks": 2})
            ours = (wall, server.cpu() - cpu, server.memory("VmHWM"))
            found = check_segments(server.folder, target)
            if tuple(found) != tuple(expected):
                raise SystemExit(f"{name}: {found} instead of {expected}")
            types = "{" + ", ".join(f"'{column}': '{kind}'" for column, kind in COLUMNS) + "}"
            out = Path(tempfile.mkdtemp(dir=ROOT / "target"))
            theirs = in_duckdb(
                f"COPY (SELECT *, substr(l_shipdate, 1, 7) AS month FROM {reader.format(path, types)} ORDER BY l_shipdate, l_suppkey) "
                f"TO '{out}/o' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (month))")
            shutil.rmtree(out)
            table.append((name, ours, theirs[:3]))
        group = "SELECT COUNT(*), SUM(c), MAX(q) FROM (SELECT l_orderkey, COUNT(*) AS c, SUM(l_quantity) AS q FROM {} GROUP BY l_orderkey)"
        server.rows(group.format("i1"))
        server.reset_peak()
        cpu = server.cpu()
        began = time.perf_counter()
        rows = server.rows(group.format("i1"))
        ours = (time.perf_counter() - began, server.cpu() - cpu, server.memory("VmHWM"))
        files = server.folder / "deep-storage" / "i1" / "**" / "*.parquet"
        theirs = in_duckdb(group.format(f"read_parquet('{files}')"))
        if [float(value) for value in rows[0]] != [float(value) for value in theirs[3][0]]:
            raise SystemExit(f"GROUP BY: {rows} instead of {theirs[3]}")
        table.append(("S6 GROUP BY l_orderkey", ours, theirs[:3]))
        latencies = sorted(server.task("SELECT 1 AS x")[0] * 1000 for _ in range(200))
        print(f"{'job':34} {'Sarsen wall / CPU s / peak MB':>32} {'DuckDB':>28} {'wall ratio':>11}")
        for name, ours, theirs in table:
            left, right = ("{:.2f} / {:.2f} / {:.0f}".format(*side) for side in (ours, theirs))
            print(f"{name:34} {left:>32} {right:>28} {ours[0] / theirs[0]:>10.2f}x")
        print(f"SELECT 1 as a task, 200 times: p50 {statistics.median(latencies):.1f} ms, p99 {latencies[197]:.1f} ms")
        print(f"idle standalone: {idle:.0f} MB")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
