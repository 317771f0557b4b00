"""Where things lie, and what the environment sets."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "target"
SARSEN = TARGET / "release" / "sarsen"
PLAIN_DATAFUSION = TARGET / "release" / "examples" / "plain_datafusion"
SCALE = os.environ.get("SCALE", "1")
THREADS = int(os.environ.get("THREADS", os.cpu_count()))
DATA = TARGET / "bench-data" / f"sf{SCALE}"
TPCH_SQL = Path(__file__).with_name("tpch.sql")
