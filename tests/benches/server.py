"""Sarsen as a user meets it: processes that are started, asked over HTTP and measured from outside."""

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from paths import ROOT, SARSEN, TARGET

LOCAL_CLUSTER = ROOT / "deploy" / "local-cluster.sh"


class Failed(Exception):
    """A task that ended otherwise than SUCCESS."""


class Server:
    """What a standalone and a cluster have in common. `folder` holds everything the processes write."""

    port: int
    folder: Path

    def pids(self):
        raise NotImplementedError

    def deep_storage(self):
        return self.folder / "deep-storage"

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", method=method, headers={"Content-Type": "application/json"},
            data=None if body is None else json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise Failed(f"{method} {path}: {error.code} {error.read().decode()[:2000]}\n{body}") from error

    def submit(self, query, context=None):
        """Posts a task; answers its id."""
        return self.call("POST", "/druid/v2/sql/task", {"query": query, "context": context or {}})["taskId"]

    def status(self, task):
        return self.call("GET", f"/druid/indexer/v1/task/{task}/status")["status"]

    def report(self, task):
        return self.call("GET", f"/druid/indexer/v1/task/{task}/reports")["multiStageQuery"]["payload"]

    def wait(self, task):
        """Polls every millisecond until the task has ended."""
        while True:
            status = self.status(task)
            if status["status"] != "RUNNING":
                break
            time.sleep(0.001)
        if status["status"] != "SUCCESS":
            raise Failed(f"{task}: {status['errorMsg']}")

    def task(self, query, context=None):
        """Runs a task; answers the seconds from POST to SUCCESS and its id."""
        began = time.perf_counter()
        task = self.submit(query, context)
        self.wait(task)
        return time.perf_counter() - began, task

    def rows(self, query, context=None):
        """Rows of a SELECT, as lists."""
        return self.call("POST", "/druid/v2/sql", {"query": query, "resultFormat": "array", "context": context or {}})

    def cpu(self):
        """CPU seconds of all processes so far."""
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self, what):
        """MB over all processes: `VmRSS` is now, `VmHWM` the peak."""
        total = 0
        for pid in self.pids():
            text = Path(f"/proc/{pid}/status").read_text()
            total += int(next(line for line in text.splitlines() if line.startswith(what)).split()[1])
        return total / 1024

    def reset_peak(self):
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def measured(self, work):
        """Runs `work`; answers (wall s, CPU s, peak MB) and what it gave."""
        self.reset_peak()
        cpu, began = self.cpu(), time.perf_counter()
        result = work()
        wall = time.perf_counter() - began
        return (wall, self.cpu() - cpu, self.memory("VmHWM")), result


class Standalone(Server):
    """`sarsen standalone` in a folder of its own, which is removed at the end."""

    def __init__(self, port=18888):
        self.folder = Path(tempfile.mkdtemp(prefix="sarsen-bench-", dir=TARGET))
        self.port = port
        self.process = subprocess.Popen(
            [SARSEN, "standalone", "--data-dir", self.folder, "--http-addr", f"127.0.0.1:{port}"],
            stdout=subprocess.DEVNULL, stderr=(self.folder / "log").open("w"))
        deadline = time.time() + 30
        while True:
            try:
                self.call("GET", "/status/health")
                return
            except (OSError, Failed):
                if time.time() > deadline or self.process.poll() is not None:
                    raise SystemExit(f"standalone did not start: {(self.folder / 'log').read_text()}")
                time.sleep(0.02)

    def pids(self):
        return [self.process.pid]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.folder)


class Cluster(Server):
    """Every role as a process of its own, by `deploy/local-cluster.sh`, in a folder that is removed at the end."""

    def __init__(self, port=19888, workers=2, slots=4):
        self.folder = Path(tempfile.mkdtemp(prefix="sarsen-cluster-", dir=TARGET))
        self.port = port
        self.environment = {
            **os.environ, "SARSEN_CLUSTER_DIR": str(self.folder), "SARSEN_CLUSTER_PORT": str(port),
            "SARSEN_CLUSTER_WORKERS": str(workers), "SARSEN_CLUSTER_SLOTS": str(slots), "SARSEN_CLUSTER_SERVICES": "none",
        }
        self.script("up", SARSEN)

    def script(self, *arguments):
        subprocess.run([LOCAL_CLUSTER, *arguments], env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def pid(self, name):
        return int((self.folder / f"{name}.pid").read_text())

    def names(self):
        return sorted(path.stem for path in self.folder.glob("*.pid"))

    def pids(self):
        return [pid for pid in map(self.pid, self.names()) if Path(f"/proc/{pid}").exists()]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.script("down")
        shutil.rmtree(self.folder)
