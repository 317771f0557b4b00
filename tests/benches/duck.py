"""DuckDB in a process of its own, so that CPU time and peak memory are its own and nothing else's."""

import json
import resource
import subprocess
import sys
import time

from paths import THREADS


def run(queries, setup=(), runs=1):
    """Runs each query `runs` times; answers per query the wall seconds and the rows, and over all CPU s and peak MB."""
    work = json.dumps({"threads": THREADS, "setup": list(setup), "queries": queries, "runs": runs})
    answer = subprocess.run([sys.executable, __file__], input=work, capture_output=True, text=True)
    if answer.returncode:
        raise SystemExit(f"DuckDB: {answer.stderr}")
    return json.loads(answer.stdout)


def one(query, setup=()):
    """Runs one query once; answers (wall s, CPU s, peak MB) and its rows."""
    answer = run([query], setup)
    return (answer["walls"][0][0], answer["cpu"], answer["peak"]), answer["rows"][0]


def main():
    import duckdb

    work = json.load(sys.stdin)
    connection = duckdb.connect(config={"threads": work["threads"]})
    for statement in work["setup"]:
        connection.execute(statement)
    before = resource.getrusage(resource.RUSAGE_SELF)
    walls, rows = [], []
    for query in work["queries"]:
        times = []
        for _ in range(work["runs"]):
            began = time.perf_counter()
            found = connection.execute(query).fetchall()
            times.append(time.perf_counter() - began)
        walls.append(times)
        rows.append(found)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    json.dump({"walls": walls, "rows": rows, "cpu": cpu, "peak": after.ru_maxrss / 1024}, sys.stdout, default=str)


if __name__ == "__main__":
    main()
