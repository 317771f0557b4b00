//! What is asked: the planner's list, and more about joins, NULLs and order. Where dialects differ, the oracles' wording
//! stands here.

use super::compare::Check;
use super::planner_queries::QUERIES;

/// One question to three engines.
#[derive(Debug, Clone)]
pub struct Question {
    pub name: String,
    pub sql: String,
    pub duckdb: String,
    pub datafusion: String,
    pub check: Check,
    /// Whether an operator has to hold more than others at once: one side of a join, long groups.
    pub builds: bool,
    /// Context parameters beside the test's own.
    pub context: Vec<(&'static str, &'static str)>,
}

/// What an ingestion's segments are sorted by after `__time`, and how long its time chunks may be.
pub struct Layout {
    pub cluster: &'static [Cluster],
    pub chunk_hours: Option<(i64, i64)>,
}

pub enum Cluster {
    Column(&'static str),
    Upper(&'static str),
}

/// A query of the planner's list whose text is none for the oracles, or whose rows come in an order.
struct Special {
    name: &'static str,
    /// For this engine, where the planner's text does not fit the data.
    own: &'static str,
    /// For DuckDB and DataFusion.
    oracles: [&'static str; 2],
    check: Check,
}

const fn worded(name: &'static str, duckdb: &'static str, datafusion: &'static str) -> Special {
    Special {
        name,
        own: "",
        oracles: [duckdb, datafusion],
        check: Check::Rows,
    }
}

const fn checked(name: &'static str, check: Check) -> Special {
    Special {
        name,
        own: "",
        oracles: [""; 2],
        check,
    }
}

const SPECIAL: &[Special] = &[
    Special {
        name: "limit",
        own: "",
        oracles: ["SELECT n FROM events"; 2],
        check: Check::AnyOf(10),
    },
    Special {
        name: "limit-expression",
        own: "",
        oracles: ["SELECT n * 2 AS twice FROM events"; 2],
        check: Check::AnyOf(10),
    },
    Special {
        name: "limit-offset",
        own: "",
        oracles: ["SELECT n FROM events"; 2],
        check: Check::AnyOf(10),
    },
    checked("order-by", Check::Ordered(&[0, 1])),
    checked("order-by-limit", Check::Ordered(&[0, 1])),
    checked("group-by-order", Check::Ordered(&[1])),
    checked("join-group-order", Check::Ordered(&[1])),
    worded(
        "group-by-time",
        "SELECT time_bucket(INTERVAL '6 hours', __time) AS t, COUNT(*) FROM events GROUP BY 1",
        "SELECT date_bin(INTERVAL '6 hours', __time) AS t, COUNT(*) FROM events GROUP BY 1",
    ),
    Special {
        name: "approximate",
        own: "",
        oracles: ["SELECT country, COUNT(DISTINCT city) FROM events GROUP BY 1"; 2],
        check: Check::Estimates,
    },
    worded(
        "mod-and-floor",
        "SELECT n % 3, date_trunc('hour', __time) FROM events",
        "SELECT n % 3, date_trunc('hour', __time) FROM events",
    ),
    worded(
        "extern-join",
        "SELECT e.n, x.a FROM events e LEFT JOIN (SELECT CASE WHEN n < 0 OR n >= 1000000 THEN n END AS k, CAST(n AS VARCHAR) AS a FROM events) x ON e.n = x.k",
        "SELECT e.n, x.a FROM events e LEFT JOIN (SELECT CASE WHEN n < 0 OR n >= 1000000 THEN n END AS k, CAST(n AS VARCHAR) AS a FROM events) x ON e.n = x.k",
    ),
    // The users have no `n`.
    worded(
        "append",
        "SELECT country, CAST(NULL AS VARCHAR) AS name, n FROM events WHERE n > 1",
        "SELECT country, CAST(NULL AS VARCHAR) AS name, n FROM events WHERE n > 1",
    ),
    worded(
        "append-beside-named-query",
        "SELECT CAST(NULL AS VARCHAR) AS name, n FROM events UNION ALL SELECT name, CAST(NULL AS BIGINT) AS n FROM users",
        "SELECT CAST(NULL AS VARCHAR) AS name, n FROM events UNION ALL SELECT name, CAST(NULL AS BIGINT) AS n FROM users",
    ),
    worded("extern", "SELECT 1 AS a, 'x' AS b", "SELECT 1 AS a, 'x' AS b"),
    Special {
        name: "replace-where",
        own: "REPLACE INTO t OVERWRITE WHERE __time >= TIMESTAMP '2024-01-01' AND __time < TIMESTAMP '2024-02-01' SELECT __time, n FROM events WHERE __time >= TIMESTAMP '2024-01-01' AND __time < TIMESTAMP '2024-02-01' PARTITIONED BY MONTH",
        oracles: [""; 2],
        check: Check::Rows,
    },
    worded(
        "extern-extend",
        "SELECT __time, n AS a FROM events",
        "SELECT __time, n AS a FROM events",
    ),
];

/// More about what a plan's text does not show.
const MORE: &[(&str, &str, Check)] = &[
    (
        "nulls-in-order",
        "SELECT n, x FROM events ORDER BY n, x DESC",
        Check::Ordered(&[0, 1]),
    ),
    (
        "nulls-in-descending-order",
        "SELECT country, n FROM events ORDER BY country DESC, n DESC",
        Check::Ordered(&[0, 1]),
    ),
    (
        "nulls-last",
        "SELECT n FROM events ORDER BY n NULLS LAST",
        Check::Ordered(&[0]),
    ),
    (
        "expression-in-order",
        "SELECT country, x FROM events ORDER BY x / 2",
        Check::Ordered(&[1]),
    ),
    (
        "last-rows",
        "SELECT country, n FROM events ORDER BY n, country LIMIT 500",
        Check::Ordered(&[0, 1]),
    ),
    (
        "page-of-rows",
        "SELECT country, n FROM events ORDER BY n, country LIMIT 500 OFFSET 700",
        Check::Ordered(&[0, 1]),
    ),
    (
        "many-groups",
        "SELECT n, city, COUNT(*), SUM(x), MIN(x) FROM events GROUP BY n, city",
        Check::Rows,
    ),
    (
        "groups-of-doubles",
        "SELECT x, COUNT(*) FROM events GROUP BY x",
        Check::Rows,
    ),
    (
        "many-distinct",
        "SELECT DISTINCT city, n FROM events",
        Check::Rows,
    ),
    (
        "distinct-in-groups",
        "SELECT country, COUNT(DISTINCT n), COUNT(n), COUNT(*) FROM events GROUP BY country",
        Check::Rows,
    ),
    (
        "filters-in-groups",
        "SELECT city, COUNT(*) FILTER (WHERE x > 0), SUM(n) FILTER (WHERE country = '') FROM events GROUP BY city",
        Check::Rows,
    ),
    (
        "empty-is-not-null",
        "SELECT COUNT(*) FROM events WHERE country = '' OR city IS NULL",
        Check::Rows,
    ),
    (
        "no-rows",
        "SELECT country, n FROM events WHERE n > 5000000",
        Check::Rows,
    ),
    (
        "aggregate-of-no-rows",
        "SELECT COUNT(*), SUM(n), MIN(country) FROM events WHERE n > 5000000",
        Check::Rows,
    ),
    (
        "groups-of-no-rows",
        "SELECT country, COUNT(*) FROM events WHERE n > 5000000 GROUP BY country",
        Check::Rows,
    ),
    (
        "inner-join-on-text",
        "SELECT e.n, u.id FROM (SELECT * FROM events WHERE n < 300) e JOIN (SELECT * FROM users WHERE id < 100) u ON e.country = u.country",
        Check::Rows,
    ),
    (
        "left-join-on-two",
        "SELECT e.n, e.country, u.name FROM events e LEFT JOIN users u ON e.n = u.id AND e.country = u.country",
        Check::Rows,
    ),
    (
        "full-join-on-two",
        "SELECT e.n, e.country, u.id, u.name FROM events e FULL JOIN users u ON e.n = u.id AND e.country = u.country",
        Check::Rows,
    ),
    (
        "right-join-with-filter",
        "SELECT e.n, u.id FROM events e RIGHT JOIN users u ON e.n = u.id AND e.x > 100",
        Check::Rows,
    ),
    (
        "left-join-with-filter",
        "SELECT e.n, u.id FROM events e LEFT JOIN users u ON e.n = u.id AND u.name <> 'Zoë 4'",
        Check::Rows,
    ),
    (
        "cross-join-of-rows",
        "SELECT a.country, b.name, COUNT(*) FROM (SELECT * FROM events WHERE n > 1000000) a CROSS JOIN users b GROUP BY 1, 2",
        Check::Rows,
    ),
    (
        "not-in-with-null",
        "SELECT n FROM events WHERE n NOT IN (SELECT id FROM users)",
        Check::Rows,
    ),
    (
        "not-in-without-null",
        "SELECT n FROM events WHERE n NOT IN (SELECT id FROM users WHERE id IS NOT NULL)",
        Check::Rows,
    ),
    (
        "semi-join-on-text",
        "SELECT id FROM users WHERE country IN (SELECT country FROM events WHERE n > 1000000)",
        Check::Rows,
    ),
    (
        "anti-join-large",
        "SELECT id, name FROM users u WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.n = u.id AND e.country = u.country)",
        Check::Rows,
    ),
    (
        "self-join",
        "SELECT a.name, COUNT(*) FROM users a JOIN users b ON a.id = b.id GROUP BY 1",
        Check::Rows,
    ),
    (
        "join-of-groups",
        "SELECT a.country, a.c, b.c FROM (SELECT country, COUNT(*) c FROM events GROUP BY 1) a FULL JOIN (SELECT country, COUNT(*) c FROM users GROUP BY 1) b ON a.country = b.country",
        Check::Rows,
    ),
    (
        "three-joins",
        "SELECT a.n, b.name, c.country FROM events a JOIN users b ON a.n = b.id LEFT JOIN (SELECT DISTINCT country FROM users WHERE id > 900) c ON b.country = c.country",
        Check::Rows,
    ),
    (
        "window-over-groups",
        "SELECT city, n, SUM(n) OVER (PARTITION BY city ORDER BY n), RANK() OVER (PARTITION BY city ORDER BY n DESC) FROM events",
        Check::Rows,
    ),
    (
        "window-of-frames",
        "SELECT country, __time, n, MAX(n) OVER (PARTITION BY country ORDER BY __time, n ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM events WHERE n > 1000",
        Check::Rows,
    ),
    (
        "union-of-sorted",
        "SELECT n FROM (SELECT n FROM events UNION ALL SELECT id FROM users) ORDER BY n",
        Check::Ordered(&[0]),
    ),
    (
        "in-list",
        "SELECT country, n FROM events WHERE country IN ('SE', '日本', '') AND n BETWEEN -50 AND 50",
        Check::Rows,
    ),
    (
        "like",
        "SELECT city FROM events WHERE city LIKE '%° 7_ %'",
        Check::Rows,
    ),
    (
        "case",
        "SELECT CASE WHEN n < 0 THEN 'minus' WHEN n IS NULL THEN 'none' ELSE 'plus' END AS s, COUNT(*) FROM events GROUP BY 1",
        Check::Rows,
    ),
    (
        "long-rows-in-order",
        "SELECT n, country, city, x FROM events ORDER BY n, country, city, x",
        Check::Ordered(&[0, 1, 2, 3]),
    ),
    (
        "long-rows-joined",
        "SELECT e.city, e.n, u.name FROM users u RIGHT JOIN events e ON e.n = u.id AND e.country = u.country",
        Check::Rows,
    ),
    (
        "long-rows-together",
        "SELECT city, n FROM events WHERE x > 0 UNION ALL SELECT city, n FROM events WHERE n < 500",
        Check::Rows,
    ),
    (
        "coalesce",
        "SELECT COALESCE(country, name, '?') AS c, COUNT(*) FROM users GROUP BY 1",
        Check::Rows,
    ),
];

/// Joins of these names are asked for with `sqlJoinAlgorithm: sortMerge` too.
const SORTED_JOINS: &[&str] = &[
    "inner-join",
    "left-join",
    "right-join",
    "full-join",
    "semi-join",
    "anti-join",
    "left-join-on-two",
    "full-join-on-two",
    "right-join-with-filter",
    "left-join-with-filter",
    "three-joins",
];

/// Questions that need more memory than the others, since what they hold cannot be spilled.
const BUILDS: &[&str] = &[
    "many-groups",
    "many-distinct",
    "three-joins",
    "window-over-groups",
    "long-rows-in-order",
];

pub fn all() -> Vec<Question> {
    let mut questions: Vec<Question> = QUERIES.iter().map(|(name, sql)| of_planner(name, sql)).collect();
    questions.extend(MORE.iter().map(|(name, sql, check)| question(name, sql, *check)));
    let sorted = questions
        .iter()
        .filter(|question| SORTED_JOINS.contains(&question.name.as_str()));
    let sorted: Vec<Question> = sorted
        .map(|question| Question {
            name: format!("{}-sorted", question.name),
            context: vec![("sqlJoinAlgorithm", "sortMerge")],
            ..question.clone()
        })
        .collect();
    assert_eq!(sorted.len(), SORTED_JOINS.len());
    questions.extend(sorted);
    questions
}

fn question(name: &str, sql: &str, check: Check) -> Question {
    let [name, sql] = [name, sql].map(str::to_owned);
    Question {
        name: name.clone(),
        duckdb: sql.clone(),
        datafusion: sql.clone(),
        sql,
        check,
        builds: BUILDS.contains(&name.as_str()),
        context: Vec::new(),
    }
}

fn of_planner(name: &str, sql: &str) -> Question {
    let special = SPECIAL.iter().find(|special| special.name == name);
    let sql = special
        .map(|special| special.own)
        .filter(|own| !own.is_empty())
        .unwrap_or(sql);
    let mut question = question(name, sql, Check::Rows);
    if let Some(select) = ingested(sql) {
        question.sql = sql.replace("INTO t ", &format!("INTO \"{}\" ", question.table()));
        (question.duckdb, question.datafusion) = (select.clone(), select);
    }
    if let Some(special) = special {
        question.check = special.check;
        let [duckdb, datafusion] = special.oracles;
        if !duckdb.is_empty() {
            (question.duckdb, question.datafusion) = (duckdb.to_owned(), datafusion.to_owned());
        }
    }
    question
}

/// The query within INSERT and REPLACE.
fn ingested(sql: &str) -> Option<String> {
    let (_, select) = sql.starts_with(['I', 'R']).then(|| sql.split_once("SELECT "))??;
    Some(format!("SELECT {}", select.split(" PARTITIONED BY").next()?))
}

impl Question {
    /// What an ingestion writes to.
    pub fn table(&self) -> String {
        format!("t-{}", self.name)
    }

    /// Of an ingestion, how its segments must lie.
    pub fn layout(&self) -> Option<Layout> {
        use Cluster::{Column, Upper};
        let days = |least: i64, most: i64| Some((24 * least, 24 * most));
        let (cluster, chunk_hours): (&[Cluster], _) = match self.name.as_str() {
            "insert-day" | "extern-extend" => (&[], days(1, 1)),
            "insert-all" | "insert-without-time" => (&[], None),
            "insert-period" => (&[], Some((6, 6))),
            "insert-floor" | "replace-where" => (&[], days(28, 31)),
            "insert-clustered" => (&[Column("country"), Column("n")], Some((1, 1))),
            "insert-clustered-ordinal" => (&[Column("country")], days(7, 7)),
            "insert-clustered-expression" => (&[Upper("country")], days(90, 92)),
            "replace-all" => (&[], days(365, 366)),
            name => {
                assert!(!self.sql.starts_with(['I', 'R']), "no layout for {name}");
                return None;
            }
        };
        Some(Layout { cluster, chunk_hours })
    }
}
