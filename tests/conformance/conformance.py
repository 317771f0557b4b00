#!/usr/bin/env python3
"""Runs Druid's own SQL checks against a standalone that is started for it.

    conformance.py [--binary FILE] [--corpus DIR] [--all] [--record] [MORE…]

Without --all a fixed tenth of the checks runs, and fewer passes than recorded in passes.json are a failure; --record
writes what passed now. MORE goes to the corpus' runner, such as `--suite qaWin` or `--failures FILE`.
"""
import argparse
import collections
import gzip
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zlib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RECORDED = HERE / "passes.json"
PORT = 26888
# Checks whose rows no ORDER BY puts in order pass by chance.
CHANCE = 4

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--binary", default=str(ROOT / "target" / "release" / "sarsen"))
parser.add_argument("--corpus", type=pathlib.Path, default=ROOT.parent / "shared" / "conformance")
parser.add_argument("--all", action="store_true")
parser.add_argument("--record", action="store_true")
options, more = parser.parse_known_args()

if not (options.corpus / "run.py").exists():
    print(f"conformance: {options.corpus} is not there, nothing is run")
    sys.exit(0)


def tenth(file):
    """Writes the ids of the checks whose checksum says so, whatever else the corpus holds."""
    with gzip.open(options.corpus / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines, file.open("w") as chosen:
        for line in lines:
            name = json.loads(line)["id"]
            if zlib.crc32(name.encode()) % 10 == 0:
                chosen.write(name + "\n")


def wait_until_up(process, log):
    deadline = time.time() + 60
    while True:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{PORT}/status/health", timeout=5).read()
        except (OSError, urllib.error.HTTPError):
            if process.poll() is not None or time.time() > deadline:
                sys.exit(f"the standalone did not start: {log.read_text()}")
            time.sleep(0.05)


with tempfile.TemporaryDirectory(prefix="sarsen-conformance-") as name:
    folder = pathlib.Path(name)
    data = options.corpus / "data"
    selection = []
    if not options.all:
        tenth(folder / "ids")
        selection = ["--ids", folder / "ids"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [options.binary, "standalone", "--data-dir", folder / "data", "--http-addr", f"127.0.0.1:{PORT}",
             "--workers", "2", "--extern-allow", data], stdout=log, stderr=log)
    try:
        wait_until_up(process, folder / "log")
        # More at once than cores: a check that waits for its data leaves a core to another.
        subprocess.run(
            [sys.executable, options.corpus / "run.py", "--url", f"http://127.0.0.1:{PORT}", "--data", data, "--unique",
             "-j", str(2 * (os.cpu_count() or 1)), "--timeout", "60", "--results", folder / "results",
             "--failures", folder / "failures", *selection, *more], check=True, cwd=folder)
    finally:
        process.terminate()
        process.wait(60)
    classes = collections.Counter(json.loads(line)["class"] for line in (folder / "results").open())

found = {"checks": sum(classes.values()), "passes": classes["pass"]}
print(f"{found['passes']} of {found['checks']} checks pass")
if options.record:
    RECORDED.write_text(json.dumps(found) + "\n")
elif not options.all and not more:
    recorded = json.loads(RECORDED.read_text())
    if found["passes"] < recorded["passes"] - CHANCE:
        sys.exit(f"fewer than the {recorded['passes']} of {recorded['checks']} that are recorded in {RECORDED}")
