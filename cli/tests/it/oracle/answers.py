"""Answers queries with DuckDB. Standard input: {"tables": {name: Parquet file}, "queries": {name: SQL}}; standard output:
{name: {"columns": [...], "rows": [[...]]}}, times as ISO texts."""

import datetime
import decimal
import json
import sys

import duckdb


def cell(value):
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03}Z"
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


asked = json.load(sys.stdin)
connection = duckdb.connect()
# Druid's order: NULL is less than any value.
connection.execute("SET default_null_order = 'nulls_first_on_asc_last_on_desc'")
for name, path in asked["tables"].items():
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM read_parquet('{path}')")
answers = {}
for name, sql in asked["queries"].items():
    try:
        result = connection.execute(sql)
    except duckdb.Error as error:
        sys.exit(f"{name}: {sql}\n{error}")
    columns = [column[0] for column in result.description]
    answers[name] = {"columns": columns, "rows": [[cell(value) for value in row] for row in result.fetchall()]}
json.dump(answers, sys.stdout)
