#!/usr/bin/env python3
"""Replaces every process of a local cluster, one after the other, while queries run, and checks each answer row for row.

    rolling_restart.py [--queries 20] [--rows 60000] [--binary FILE] [--announce VERSION]

Starts the cluster with local-cluster.sh in a folder of its own, and stops it again. A client that finds the gateway away
asks again, as any client of a service that is upgraded must.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
KEYS = 997
PATIENCE = 600

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--queries", type=int, default=20)
parser.add_argument("--rows", type=int, default=60_000)
parser.add_argument("--binary", default=str(HERE.parent / "target" / "release" / "sarsen"))
parser.add_argument("--announce", help="version that the new processes say they are of, such as 0.2.0")
options = parser.parse_args()

folder = tempfile.TemporaryDirectory(prefix="sarsen-rolling-")
# PostgreSQL runs as another user.
os.chmod(folder.name, 0o711)
port = 27888
environment = {**os.environ, "SARSEN_CLUSTER_DIR": f"{folder.name}/cluster", "SARSEN_CLUSTER_PORT": str(port)}


def cluster(*arguments, **more):
    subprocess.run([HERE / "local-cluster.sh", *arguments], env={**environment, **more}, check=True)


def turn(name):
    """Overlords first, then controllers and workers in turns, gateways last: the order of an upgrade."""
    role, number = re.fullmatch(r"([a-z]+)(\d*)", name).groups()
    return {"overlord": 0, "gateway": 2}.get(role, 1), int(number or 0), role


def call(method, path, body=None):
    """An answer's JSON; asks again while nobody answers or the answer is 503."""
    deadline = time.time() + PATIENCE
    while True:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}", method=method, data=json.dumps(body).encode() if body else None,
            headers={"Content-Type": "application/json"},
        )
        try:
            return json.load(urllib.request.urlopen(request, timeout=30))
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.time() > deadline:
                raise SystemExit(f"{method} {path}: {error.code} {error.read()[:300]}")
        except OSError:
            if time.time() > deadline:
                raise
        time.sleep(0.2)


def states(tasks):
    return [call("GET", f"/druid/indexer/v1/task/{task}/status")["status"] for task in tasks]


def expected():
    """Rows of the join, computed here."""
    numbers = {}
    for n in range(options.rows):
        numbers.setdefault(f"k{n % KEYS}", []).append(n)
    return [[key, len(found) ** 2, len(found) * sum(found)] for key, found in sorted(numbers.items())]


data = pathlib.Path(folder.name) / "rows.json"
with data.open("w") as file:
    for n in range(options.rows):
        file.write(json.dumps({"n": n, "k": f"k{n % KEYS}"}) + "\n")
source = (
    'TABLE(EXTERN(\'{"type":"local","files":["%s"]}\', \'{"type":"json"}\')) EXTEND (n BIGINT, k VARCHAR)' % data
)
query = f"SELECT a.k, COUNT(*) AS pairs, SUM(b.n) AS total FROM {source} a JOIN {source} b ON a.k = b.k GROUP BY 1 ORDER BY 1"

cluster("up", options.binary)
try:
    tasks = []
    for number in range(options.queries):
        body = {"query": query, "context": {"sqlQueryId": f"rolling{number}", "maxNumTasks": 3}}
        tasks.append(call("POST", "/druid/v2/sql/task", body)["taskId"])
    names = sorted((path.stem for path in pathlib.Path(environment["SARSEN_CLUSTER_DIR"]).glob("*.pid")), key=turn)
    announced = {"SARSEN_TEST_ANNOUNCED_VERSION": options.announce} if options.announce else {}
    for name in names:
        if name in ("etcd", "postgres", "s3"):
            continue
        begun = time.time()
        cluster("restart", name, **announced)
        open_tasks = sum(state["status"] == "RUNNING" for state in states(tasks))
        print(f"{name} replaced in {time.time() - begun:.1f} s; {open_tasks} of {len(tasks)} queries still run", flush=True)
    deadline = time.time() + PATIENCE
    while any(state["status"] == "RUNNING" for state in states(tasks)):
        if time.time() > deadline:
            raise SystemExit("some queries do not end")
        time.sleep(0.5)
    rows = expected()
    for state in states(tasks):
        if state["status"] != "SUCCESS":
            raise SystemExit(f"{state['id']}: {state['errorMsg']}")
        report = call("GET", f"/druid/indexer/v1/task/{state['id']}/reports")
        if report["multiStageQuery"]["payload"]["results"]["results"] != rows:
            raise SystemExit(f"{state['id']}: its rows are wrong")
    print(f"{len(tasks)} queries succeeded with {len(rows)} right rows each")
finally:
    cluster("down")
    folder.cleanup()
