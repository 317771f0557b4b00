"""Input files, made once per scale and kept below `target/bench-data`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb

from paths import DATA, ROOT, SCALE

LINEITEM = [
    ("l_orderkey", "BIGINT"), ("l_partkey", "BIGINT"), ("l_suppkey", "BIGINT"), ("l_linenumber", "BIGINT"),
    ("l_quantity", "DOUBLE"), ("l_extendedprice", "DOUBLE"), ("l_discount", "DOUBLE"), ("l_tax", "DOUBLE"),
    ("l_returnflag", "VARCHAR"), ("l_linestatus", "VARCHAR"), ("l_shipdate", "VARCHAR"), ("l_commitdate", "VARCHAR"),
    ("l_receiptdate", "VARCHAR"), ("l_shipinstruct", "VARCHAR"), ("l_shipmode", "VARCHAR"), ("l_comment", "VARCHAR"),
]
ORDERS = [
    ("o_orderkey", "BIGINT"), ("o_custkey", "BIGINT"), ("o_orderstatus", "VARCHAR"), ("o_totalprice", "DOUBLE"),
    ("o_orderdate", "VARCHAR"), ("o_orderpriority", "VARCHAR"), ("o_clerk", "VARCHAR"), ("o_shippriority", "BIGINT"),
    ("o_comment", "VARCHAR"),
]
TPCH = {
    "lineitem": LINEITEM,
    "orders": ORDERS,
    "customer": [
        ("c_custkey", "BIGINT"), ("c_name", "VARCHAR"), ("c_address", "VARCHAR"), ("c_nationkey", "BIGINT"),
        ("c_phone", "VARCHAR"), ("c_acctbal", "DOUBLE"), ("c_mktsegment", "VARCHAR"), ("c_comment", "VARCHAR")],
    "part": [
        ("p_partkey", "BIGINT"), ("p_name", "VARCHAR"), ("p_mfgr", "VARCHAR"), ("p_brand", "VARCHAR"),
        ("p_type", "VARCHAR"), ("p_size", "BIGINT"), ("p_container", "VARCHAR"), ("p_retailprice", "DOUBLE"),
        ("p_comment", "VARCHAR")],
    "partsupp": [
        ("ps_partkey", "BIGINT"), ("ps_suppkey", "BIGINT"), ("ps_availqty", "BIGINT"), ("ps_supplycost", "DOUBLE"),
        ("ps_comment", "VARCHAR")],
    "supplier": [
        ("s_suppkey", "BIGINT"), ("s_name", "VARCHAR"), ("s_address", "VARCHAR"), ("s_nationkey", "BIGINT"),
        ("s_phone", "VARCHAR"), ("s_acctbal", "DOUBLE"), ("s_comment", "VARCHAR")],
    "nation": [
        ("n_nationkey", "BIGINT"), ("n_name", "VARCHAR"), ("n_regionkey", "BIGINT"), ("n_comment", "VARCHAR")],
    "region": [("r_regionkey", "BIGINT"), ("r_name", "VARCHAR"), ("r_comment", "VARCHAR")],
}
WIKI = [
    ("time", "VARCHAR"), ("channel", "VARCHAR"), ("cityName", "VARCHAR"), ("comment", "VARCHAR"),
    ("countryIsoCode", "VARCHAR"), ("countryName", "VARCHAR"), ("isAnonymous", "VARCHAR"), ("isMinor", "VARCHAR"),
    ("isNew", "VARCHAR"), ("isRobot", "VARCHAR"), ("isUnpatrolled", "VARCHAR"), ("metroCode", "BIGINT"),
    ("namespace", "VARCHAR"), ("page", "VARCHAR"), ("regionIsoCode", "VARCHAR"), ("regionName", "VARCHAR"),
    ("user", "VARCHAR"), ("delta", "BIGINT"), ("added", "BIGINT"), ("deleted", "BIGINT"),
]
# Stands in a COPY for the name of the file that is being made.
OUT = "OUTPUT_FILE"
WIKI_ROWS = int(2_000_000 * float(SCALE))
SAMPLE_ROWS = 39_244
# The sample that Druid comes with, where a checkout of the compatibility data lies beside this one.
SAMPLE = Path("shared/conformance/data/builtin/wikiticker-2015-09-12-sampled.json.gz")


def tpch_csv(table):
    """A table of TPC-H as csv with a header."""
    path = DATA / f"{table}.csv"
    if not path.exists():
        DATA.mkdir(parents=True, exist_ok=True)
        tool = Path(sys.executable).parent / "tpchgen-cli"
        subprocess.run([tool, "csv", "-s", SCALE, f"--tables={table}", f"--output-dir={DATA}"], check=True)
    return path


def lineitem_json():
    """lineitem as one json.gz."""
    path = DATA / "lineitem.json.gz"
    if not path.exists():
        csv = tpch_csv("lineitem")
        made(path, f"COPY ({csv_rows(csv)}) TO '{OUT}' (FORMAT json, COMPRESSION gzip)")
    return path


def lineitem_json_parts(parts=8):
    """The same rows in several files of equal size."""
    folder = DATA / f"lineitem-json-{parts}"
    if not folder.exists():
        temporary = folder.with_suffix(".tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        csv = tpch_csv("lineitem")
        for part in range(parts):
            rows = f"{csv_rows(csv)} WHERE l_orderkey::BIGINT // 32 % {parts} = {part}"
            duckdb.sql(f"COPY ({rows}) TO '{temporary}/part-{part}.json.gz' (FORMAT json, COMPRESSION gzip)")
        temporary.rename(folder)
    return sorted(folder.glob("*.json.gz"))


def csv_rows(csv):
    types = struct([(name, kind) for name, kind in LINEITEM])
    return f"SELECT * FROM read_csv('{csv}', header=true, columns={types})"


def wiki_json():
    """Wide rows of edits over thirty days, of the same columns as Druid's sample."""
    path = DATA / "wiki.json.gz"
    if not path.exists():
        made(path, f"COPY ({wiki_rows(WIKI_ROWS, 30)}) TO '{OUT}' (FORMAT json, COMPRESSION gzip)")
    return path


def wiki_sample():
    """Druid's sample of one day, or rows of that shape where it is not at hand."""
    for parent in (ROOT, *ROOT.parents):
        if (parent / SAMPLE).exists():
            return parent / SAMPLE
    path = DATA / "wiki-sample.json.gz"
    if not path.exists():
        made(path, f"COPY ({wiki_rows(SAMPLE_ROWS, 1)}) TO '{OUT}' (FORMAT json, COMPRESSION gzip)")
    return path


def made(path, statement):
    """Runs a COPY into a temporary name, so that a broken run leaves no half file."""
    DATA.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name("tmp-" + path.name)
    duckdb.sql(statement.replace(OUT, str(temporary)))
    temporary.rename(path)


def wiki_rows(rows, days):
    """Edits that depend on nothing but their number: skewed channels and users, mostly null places."""
    pick = "(hash(i * 31 + {}) % {})::BIGINT".format
    return f"""
        SELECT strftime(TIMESTAMP '2015-09-12' + to_milliseconds({pick(1, days * 86_400_000)}), '%Y-%m-%dT%H:%M:%S.%gZ') AS time,
          '#' || ['en', 'en', 'en', 'vi', 'de', 'fr', 'ru', 'it', 'es', 'ja', 'pl', 'zh'][1 + {pick(2, 12)}] || '.wikipedia' AS channel,
          CASE WHEN {pick(3, 10)} = 0 THEN 'City ' || {pick(4, 900)} END AS cityName,
          '/* ' || md5({pick(5, 100_000_000)}::VARCHAR) || ' */ ' || repeat('edit ', 1 + {pick(6, 12)}) || md5(i::VARCHAR) AS comment,
          CASE WHEN {pick(7, 10)} = 0 THEN 'C' || {pick(8, 90)} END AS countryIsoCode,
          CASE WHEN {pick(7, 10)} = 0 THEN 'Country ' || {pick(8, 90)} END AS countryName,
          ({pick(7, 10)} = 0)::VARCHAR AS isAnonymous, ({pick(9, 3)} = 0)::VARCHAR AS isMinor,
          ({pick(10, 15)} = 0)::VARCHAR AS isNew, ({pick(11, 5)} < 2)::VARCHAR AS isRobot,
          ({pick(12, 20)} = 0)::VARCHAR AS isUnpatrolled,
          CASE WHEN {pick(13, 40)} = 0 THEN {pick(14, 800)} END AS metroCode,
          ['Main', 'Main', 'Main', 'User', 'Talk', 'Wikipedia', 'Category', 'User talk'][1 + {pick(15, 8)}] AS namespace,
          'Page ' || {pick(16, 400_000)} AS page,
          CASE WHEN {pick(3, 10)} = 0 THEN 'R' || {pick(17, 200)} END AS regionIsoCode,
          CASE WHEN {pick(3, 10)} = 0 THEN 'Region ' || {pick(17, 200)} END AS regionName,
          'User ' || (sqrt({pick(18, 1_000_000_000)}))::BIGINT AS "user",
          {pick(19, 5000)} - {pick(20, 3000)} AS delta, {pick(19, 5000)} AS added, {pick(20, 3000)} AS deleted
        FROM range({rows}) AS numbers(i)"""


def struct(columns):
    """Columns as DuckDB's readers want them."""
    return "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in columns) + "}"


def extern(files, input_format, columns):
    """Files as a table of Druid's SQL."""
    source = json.dumps({"type": "local", "files": [str(file) for file in files]})
    signature = ", ".join(f'"{name}" {kind}' for name, kind in columns)
    return f"TABLE(EXTERN('{source}', '{json.dumps(input_format)}')) EXTEND ({signature})"


CSV = {"type": "csv", "findColumnsFromHeader": True}
JSON = {"type": "json"}
