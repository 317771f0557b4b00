//! Queries that no other engine has: of multi-value strings, by table functions, with stored results.

/// Names and texts.
pub const QUERIES: &[(&str, &str)] = &[
    ("strings-scan", "SELECT author, tags FROM posts"),
    (
        "strings-filter",
        "SELECT author FROM posts WHERE tags = 'a' AND tags <> 'b'",
    ),
    ("strings-map", "SELECT UPPER(tags) || langs || author FROM posts"),
    ("strings-group", "SELECT tags, COUNT(*) FROM posts GROUP BY tags"),
    (
        "strings-group-two",
        "SELECT UPPER(tags), langs, COUNT(DISTINCT tags) FROM posts GROUP BY 1, 2 HAVING UPPER(tags) > 'A'",
    ),
    ("strings-distinct", "SELECT DISTINCT tags FROM posts"),
    (
        "strings-unnest",
        "SELECT t, COUNT(*) FROM posts, UNNEST(MV_TO_ARRAY(tags)) AS u(t) GROUP BY 1",
    ),
    (
        "strings-whole",
        "SELECT MV_LENGTH(tags), MV_FILTER_ONLY(tags, ARRAY['a']) FROM posts WHERE MV_CONTAINS(tags, 'a')",
    ),
    (
        "strings-extern",
        "INSERT INTO t SELECT MV_TO_ARRAY(a) AS a, b FROM TABLE(EXTERN('{\"type\":\"local\",\"files\":[\"/f.json\"]}', '{\"type\":\"json\"}')) EXTEND (a VARCHAR, b VARCHAR) PARTITIONED BY ALL",
    ),
    (
        "extern-inline",
        "SELECT a, b FROM TABLE(INLINE(data => ARRAY['1,x;y', '2,z'], format => 'csv', \"listDelimiter\" => ';')) EXTEND (a BIGINT, b VARCHAR ARRAY)",
    ),
    (
        "extern-s3",
        "SELECT a FROM TABLE(S3(bucket => 'b', paths => ARRAY['x.json', 'y.json'], \"objectGlob\" => '*.json', format => 'json')) (a BIGINT)",
    ),
    (
        "durable-results",
        "SET selectDestination = 'durableStorage'; SELECT country AS a, n AS a FROM events",
    ),
    (
        "durable-results-in-order",
        "SET selectDestination = 'durableStorage'; SET rowsPerPage = 5000; SELECT country, n FROM events ORDER BY x DESC",
    ),
    (
        "durable-results-limited",
        "SET selectDestination = 'durableStorage'; SELECT country, n FROM events ORDER BY n DESC LIMIT 3",
    ),
];
