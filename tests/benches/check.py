"""Answers and files are checked before their time counts."""

import duckdb


class Wrong(SystemExit):
    """A result that is not what it must be."""


def same_rows(name, found, expected, ordered=True):
    """Equal rows in equal order (or in any); floats may differ by a millionth, as sums in another order do."""
    found, expected = ([normal(row) for row in rows] for rows in (found, expected))
    if not ordered:
        found, expected = (sorted(rows, key=exact_part) for rows in (found, expected))
    if len(found) != len(expected):
        raise Wrong(f"{name}: {len(found)} rows instead of {len(expected)}")
    for number, (left, right) in enumerate(zip(found, expected)):
        if len(left) != len(right) or not all(map(same_value, left, right)):
            raise Wrong(f"{name}: row {number} is {left} instead of {right}")


def normal(row):
    """Numbers as numbers, whatever text they came as."""
    values = []
    for value in row:
        if isinstance(value, bool):
            value = int(value)
        values.append(value)
    return values


def exact_part(row):
    return [(value is None, str(value)) for value in row if not isinstance(value, float)]


def same_value(left, right):
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return abs(left - right) <= 1e-6 * max(1.0, abs(left), abs(right))
    return left == right


def files(folder):
    return sorted(str(path) for path in folder.rglob("*.parquet"))


def parquet(folder):
    """The files below a folder, as DuckDB's SQL names them."""
    return f"read_parquet('{folder}/**/*.parquet', hive_partitioning=false)"


def segments(folder, order, chunk, sums):
    """Every file holds one time chunk and is sorted by `order`; answers rows and the sum of each of `sums` over all.

    `order` and `sums` are SQL expressions, `chunk` is the one that tells a row's time chunk."""
    wrong = misplaced(folder, order, chunk)
    if wrong:
        raise Wrong(f"{folder}: files out of order or with several time chunks (name, rows out of order, chunks): {wrong[:3]}")
    return totals(folder, sums)


def misplaced(folder, order, chunk):
    """The files that are not sorted by `order`, or hold several time chunks: name, rows out of order, chunks."""
    keys = ", ".join(f"{expression} AS k{number}" for number, expression in enumerate(order))
    now = ", ".join(f"k{number}" for number in range(len(order)))
    before = ", ".join(f"lag(k{number}) OVER (PARTITION BY filename ORDER BY file_row_number) AS p{number}"
                       for number in range(len(order)))
    previous = ", ".join(f"p{number}" for number in range(len(order)))
    source = f"read_parquet('{folder}/**/*.parquet', filename=true, file_row_number=true, hive_partitioning=false)"
    return duckdb.sql(
        f"SELECT filename, COUNT(*) FILTER (p0 IS NOT NULL AND ({now}) < ({previous})) AS unsorted, COUNT(DISTINCT chunk) AS chunks "
        f"FROM (SELECT *, {before} FROM (SELECT filename, file_row_number, {chunk} AS chunk, {keys} FROM {source})) "
        f"GROUP BY filename HAVING unsorted > 0 OR chunks <> 1").fetchall()


def totals(folder, sums):
    """Rows, and the sum of each SQL expression, over all files below a folder."""
    summed = ", ".join(f"SUM({expression})::DOUBLE" for expression in sums)
    return list(duckdb.sql(f"SELECT COUNT(*), {summed} FROM {parquet(folder)}").fetchall()[0])
