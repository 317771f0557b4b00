"""Sarsen beside DuckDB and plain DataFusion on the same work; see run.sh for how to call it."""

import sys
import time

import ingest
import queries
import tpch
from paths import SARSEN, SCALE, THREADS
from server import Cluster, Standalone
from table import HEADER, Line, shown

# What runs on one standalone, in this order: S5 and S6 read what I1 wrote.
ON_STANDALONE = {
    "idle": None,
    "select1": queries.select1,
    "wiki": ingest.wiki,
    "i1": ingest.i1,
    "i2": ingest.i2,
    "i2b": ingest.i2b,
    "i3": ingest.i3,
    "i4": ingest.i4,
    "s5": queries.s5,
    "s6": queries.s6,
    "t22": tpch.standalone,
}
ON_CLUSTER = {"t22c": tpch.separate}
NEEDS = {"s5": "i1", "s6": "i1"}


def main():
    wanted = [name.lower() for name in sys.argv[1:]] or [*ON_STANDALONE, *ON_CLUSTER]
    unknown = [name for name in wanted if name not in ON_STANDALONE and name not in ON_CLUSTER]
    if unknown:
        raise SystemExit(f"no job {unknown}; there are: {', '.join([*ON_STANDALONE, *ON_CLUSTER])}")
    wanted = {*wanted, *(NEEDS[name] for name in wanted if name in NEEDS)}
    print(f"TPC-H scale {SCALE}, {THREADS} threads; {SARSEN}\n{HEADER}", flush=True)
    notes = []
    if wanted & set(ON_STANDALONE):
        with Standalone() as server:
            notes.append(f"idle standalone: {server.memory('VmRSS'):.0f} MB (to reach: 100)")
            run(server, ON_STANDALONE, wanted, notes)
    if wanted & set(ON_CLUSTER):
        with Cluster() as cluster:
            run(cluster, ON_CLUSTER, wanted, notes)
    print("\n" + "\n".join(notes))


def run(server, jobs, wanted, notes):
    """Prints each line of the table as it comes; other results are kept for the end."""
    for name, job in jobs.items():
        if name not in wanted or job is None:
            continue
        began = time.perf_counter()
        result = job(server)
        if isinstance(result, Line):
            print(shown(result), flush=True)
        else:
            notes.append(result)
        print(f"{name}: checked, {time.perf_counter() - began:.0f} s in all", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
