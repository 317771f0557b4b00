"""Makes the files of this folder: `pip install pyorc fastavro python-snappy backports.zstd`, then `python make.py`.

ORC and Avro files of other people's writers, with the types that the writers of the Rust libraries lack.
"""

import datetime
import decimal
import pathlib
import zoneinfo

import fastavro
import pyorc

FOLDER = pathlib.Path(__file__).parent
UTC = zoneinfo.ZoneInfo("UTC")


def orc():
    schema = (
        "struct<b:boolean,t:tinyint,s:smallint,i:int,l:bigint,f:float,d:double,str:string,c:char(3),v:varchar(9),"
        "bin:binary,day:date,ts:timestamp,tsi:timestamp with local time zone,dec:decimal(10,2),big:decimal(30,5),"
        "ints:array<int>,strs:array<string>,m:map<string,int>,o:struct<x:int,y:struct<z:string,when:timestamp>>,"
        "u:uniontype<int,string>,objs:array<struct<k:string,v:bigint>>>"
    )
    moment = datetime.datetime(2015, 9, 12, 0, 46, 58, 771000, tzinfo=UTC)
    before = datetime.datetime(1969, 12, 31, 23, 59, 58, tzinfo=UTC)
    after = datetime.datetime(2999, 1, 1, tzinfo=UTC)
    full = (
        True, 1, -2, 3, 2**62, 0.5, -1.25, "text", "ab", "vc", b"hi", datetime.date(2016, 1, 1), moment, moment,
        decimal.Decimal("12.50"), decimal.Decimal("-12345678901234567890.12345"), [1, None, 3], ["a", "b"],
        {"one": 1}, (7, ("deep", moment)), 5, [("k1", 1), ("k2", None)],
    )
    edge = (
        False, -128, 32767, -(2**31), -(2**63), -0.0, 1e20, "", "", "ñ🙂", b"", datetime.date(1969, 12, 31), before,
        after, decimal.Decimal("0"), decimal.Decimal("1"), [], [None], {}, (None, None), "of text", [],
    )
    empty = tuple([None] * len(full))
    for name, compression in [("types.orc", pyorc.CompressionKind.ZLIB), ("snappy.orc", pyorc.CompressionKind.SNAPPY)]:
        with open(FOLDER / name, "wb") as file:
            with pyorc.Writer(file, schema, compression=compression, timezone=zoneinfo.ZoneInfo("UTC")) as writer:
                for row in (full, edge, empty):
                    writer.write(row)


def avro():
    schema = {
        "type": "record", "name": "Row", "namespace": "org.example", "fields": [
            {"name": "b", "type": "boolean"},
            {"name": "i", "type": "int"},
            {"name": "l", "type": ["null", "long"]},
            {"name": "f", "type": "float"},
            {"name": "d", "type": "double"},
            {"name": "s", "type": "string"},
            {"name": "bytes", "type": "bytes"},
            {"name": "fixed", "type": {"type": "fixed", "name": "Four", "size": 4}},
            {"name": "e", "type": {"type": "enum", "name": "Colour", "symbols": ["RED", "GREEN"]}},
            {"name": "day", "type": {"type": "int", "logicalType": "date"}},
            {"name": "ms", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "us", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "dec", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}},
            {"name": "list", "type": {"type": "array", "items": ["null", "long"]}},
            {"name": "texts", "type": ["null", {"type": "array", "items": "string"}]},
            {"name": "m", "type": {"type": "map", "values": "int"}},
            {"name": "o", "type": {"type": "record", "name": "Inner", "fields": [
                {"name": "x", "type": "int"}, {"name": "u", "type": ["null", "int", "string"]},
                {"name": "e", "type": "Colour"}]}},
            {"name": "u", "type": ["null", "long", "string", "org.example.Inner", {"type": "array", "items": "int"}]},
            {"name": "late", "type": ["null", "string"], "default": None},
        ],
    }
    inner = {"x": 1, "u": "inside", "e": "GREEN"}
    common = {
        "b": True, "i": 3, "l": 2**62, "f": 0.1, "d": -1.25, "s": "ñ🙂", "bytes": b"hi", "fixed": b"abcd", "e": "RED",
        "day": datetime.date(2016, 1, 1), "ms": datetime.datetime(2015, 9, 12, tzinfo=UTC),
        "us": datetime.datetime(2015, 9, 12, tzinfo=UTC), "dec": decimal.Decimal("12.34"), "list": [1, None, 3],
        "texts": ["a", "b"], "m": {"one": 1}, "o": inner, "u": 5, "late": "x",
    }
    rows = [
        common,
        {**common, "l": None, "texts": None, "list": [], "m": {}, "u": "text", "o": {**inner, "u": None}, "late": None},
        {**common, "u": ("org.example.Inner", inner)},
        {**common, "u": [1, 2]},
        {**common, "u": None},
    ]
    parsed = fastavro.parse_schema(schema)
    for codec in ("null", "deflate", "snappy", "zstandard", "bzip2", "xz"):
        with open(FOLDER / f"{codec}.avro", "wb") as file:
            fastavro.writer(file, parsed, rows, codec=codec, sync_marker=b"0123456789abcdef")


orc()
avro()
