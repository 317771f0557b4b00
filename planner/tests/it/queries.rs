//! Queries whose plans are kept, by name.

const fn query(name: &'static str, sql: &'static str) -> (&'static str, &'static str) {
    (name, sql)
}

/// See the module.
pub const QUERIES: &[(&str, &str)] = &[
    query("constant", "SELECT 1 + 1 AS x"),
    query("values", "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS t (n, s)"),
    query("scan", "SELECT country, n FROM events"),
    query("filter", "SELECT n FROM events WHERE country = 'SE' AND x > 1.5"),
    query(
        "time-filter",
        "SELECT n FROM events WHERE __time >= TIMESTAMP '2024-01-01' AND __time < TIMESTAMP '2024-02-01'",
    ),
    query(
        "expression",
        "SELECT UPPER(country) || '-' || city AS place, n * 2 AS m FROM events",
    ),
    query("limit", "SELECT n FROM events LIMIT 10"),
    query("limit-expression", "SELECT n * 2 AS twice FROM events LIMIT 10"),
    query("limit-offset", "SELECT n FROM events LIMIT 10 OFFSET 5"),
    query(
        "order-by",
        "SELECT country, n FROM events ORDER BY n DESC, country",
    ),
    query(
        "order-by-limit",
        "SELECT country, n FROM events ORDER BY n DESC LIMIT 3",
    ),
    query("order-by-expression", "SELECT country FROM events ORDER BY x / 2"),
    query("count", "SELECT COUNT(*) FROM events"),
    query("aggregates", "SELECT SUM(n), MIN(x), MAX(x), AVG(n) FROM events"),
    query(
        "group-by",
        "SELECT country, COUNT(*) AS c FROM events GROUP BY country",
    ),
    query(
        "group-by-two",
        "SELECT country, city, SUM(n) FROM events GROUP BY 1, 2",
    ),
    query(
        "group-by-time",
        "SELECT TIME_FLOOR(__time, 'PT6H') AS t, COUNT(*) FROM events GROUP BY 1",
    ),
    query(
        "group-by-order",
        "SELECT country, SUM(n) AS s FROM events GROUP BY country ORDER BY s DESC",
    ),
    query(
        "having",
        "SELECT country FROM events GROUP BY country HAVING COUNT(*) > 10",
    ),
    query("distinct", "SELECT DISTINCT country FROM events"),
    query("count-distinct", "SELECT COUNT(DISTINCT city) FROM events"),
    query(
        "approximate",
        "SELECT country, APPROX_COUNT_DISTINCT(city) FROM events GROUP BY 1",
    ),
    query(
        "aggregate-filter",
        "SELECT SUM(n) FILTER (WHERE country = 'SE') FROM events",
    ),
    query(
        "inner-join",
        "SELECT e.n, u.name FROM events e JOIN users u ON e.n = u.id",
    ),
    query(
        "extern-join",
        "SELECT e.n, x.a FROM events e LEFT JOIN (SELECT * FROM TABLE(EXTERN('{\"type\":\"local\",\"files\":[\"/f.json\"]}', '{\"type\":\"json\"}')) EXTEND (k BIGINT, a VARCHAR)) x ON e.n = x.k",
    ),
    query(
        "joins-in-a-row",
        "SELECT u.name, COUNT(*) FROM events e JOIN users u ON e.n = u.id JOIN users v ON e.n = v.id GROUP BY 1",
    ),
    query(
        "append",
        "SELECT country, name, n FROM TABLE(APPEND('events', 'users')) WHERE n > 1",
    ),
    query(
        "append-beside-named-query",
        "WITH users AS (SELECT 'x' AS name, 5 AS n) SELECT name, n FROM TABLE(APPEND('events', 'users'))",
    ),
    query(
        "union-of-groups",
        "SELECT country, COUNT(*) FROM (SELECT DISTINCT country FROM events UNION ALL SELECT DISTINCT country FROM users) GROUP BY 1",
    ),
    query(
        "left-join",
        "SELECT e.n, u.name FROM events e LEFT JOIN users u ON e.n = u.id",
    ),
    query(
        "right-join",
        "SELECT e.n, u.name FROM events e RIGHT JOIN users u ON e.n = u.id",
    ),
    query(
        "full-join",
        "SELECT e.n, u.name FROM events e FULL JOIN users u ON e.n = u.id",
    ),
    query(
        "cross-join",
        "SELECT COUNT(*) FROM (SELECT DISTINCT country FROM events) a CROSS JOIN (SELECT DISTINCT country FROM users) b",
    ),
    query(
        "inequality-join",
        "SELECT COUNT(*) FROM users a JOIN users b ON a.id < b.id",
    ),
    query(
        "semi-join",
        "SELECT n FROM events WHERE n IN (SELECT id FROM users)",
    ),
    query(
        "anti-join",
        "SELECT n FROM events e WHERE NOT EXISTS (SELECT 1 FROM users u WHERE u.id = e.n)",
    ),
    query(
        "join-group-order",
        "SELECT u.name, SUM(e.n) AS s FROM events e JOIN users u ON e.n = u.id GROUP BY 1 ORDER BY 2 DESC LIMIT 5",
    ),
    query(
        "union-all",
        "SELECT country FROM events UNION ALL SELECT country FROM users",
    ),
    query(
        "union-group",
        "SELECT country, COUNT(*) FROM (SELECT country FROM events UNION ALL SELECT country FROM users) GROUP BY 1",
    ),
    query(
        "cte",
        "WITH big AS (SELECT * FROM events WHERE n > 100) SELECT country, COUNT(*) FROM big GROUP BY country",
    ),
    query(
        "scalar-subquery",
        "SELECT n FROM events WHERE n > (SELECT AVG(id) FROM users)",
    ),
    query(
        "correlated-subquery",
        "SELECT name FROM users u WHERE id > (SELECT MIN(n) FROM events e WHERE e.country = u.country)",
    ),
    query(
        "window",
        "SELECT country, ROW_NUMBER() OVER (PARTITION BY country ORDER BY __time) FROM events",
    ),
    query(
        "window-without-partition",
        "SELECT n, SUM(n) OVER (ORDER BY __time) FROM events",
    ),
    query(
        "mod-and-floor",
        "SELECT MOD(n, 3), FLOOR(__time TO HOUR) FROM events",
    ),
    query(
        "insert-day",
        "INSERT INTO t SELECT __time, country, n FROM events PARTITIONED BY DAY",
    ),
    query(
        "insert-all",
        "INSERT INTO t SELECT __time, n FROM events PARTITIONED BY ALL TIME",
    ),
    query(
        "insert-without-time",
        "INSERT INTO t SELECT country FROM events PARTITIONED BY ALL",
    ),
    query(
        "insert-period",
        "INSERT INTO t SELECT __time, n FROM events PARTITIONED BY TIME_FLOOR(__time, 'PT6H')",
    ),
    query(
        "insert-floor",
        "INSERT INTO t SELECT __time, n FROM events PARTITIONED BY FLOOR(__time TO MONTH)",
    ),
    query(
        "insert-clustered",
        "INSERT INTO t SELECT __time, country, n FROM events PARTITIONED BY HOUR CLUSTERED BY country, n",
    ),
    query(
        "insert-clustered-ordinal",
        "INSERT INTO t SELECT __time, country, n FROM events PARTITIONED BY WEEK CLUSTERED BY 2",
    ),
    query(
        "insert-clustered-expression",
        "INSERT INTO t SELECT __time, country, n FROM events PARTITIONED BY QUARTER CLUSTERED BY UPPER(country)",
    ),
    query(
        "replace-all",
        "REPLACE INTO t OVERWRITE ALL SELECT __time, country, COUNT(*) AS c FROM events GROUP BY 1, 2 PARTITIONED BY YEAR",
    ),
    query(
        "replace-where",
        "REPLACE INTO t OVERWRITE WHERE __time >= TIMESTAMP '2024-01-01' AND __time < TIMESTAMP '2024-02-01' SELECT __time, n FROM events PARTITIONED BY MONTH",
    ),
    query(
        "extern",
        "SELECT a, b FROM TABLE(EXTERN('{\"type\":\"inline\",\"data\":\"1,x\"}', '{\"type\":\"csv\",\"columns\":[\"a\",\"b\"]}', '[{\"name\":\"a\",\"type\":\"long\"},{\"name\":\"b\",\"type\":\"string\"}]'))",
    ),
    query(
        "extern-extend",
        "INSERT INTO t SELECT TIME_PARSE(t) AS __time, a FROM TABLE(EXTERN('{\"type\":\"local\",\"files\":[\"/f.json\"]}', '{\"type\":\"json\"}')) EXTEND (t VARCHAR, a BIGINT) PARTITIONED BY DAY",
    ),
    query(
        "in-subquery",
        "SELECT n FROM events WHERE city IS NULL OR city IN (SELECT name FROM users)",
    ),
];
