//! Statements whose names and types are right, so that most of them are planned to the end.

use super::generate::Generator;

const UNITS: [&str; 5] = ["HOUR", "DAY", "WEEK", "MONTH", "YEAR"];

impl Generator {
    /// A statement over `events`.
    pub fn valid_statement(&mut self) -> String {
        match self.below(8) {
            0 => {
                let query = self.valid_rows();
                format!(
                    "INSERT INTO t {query} PARTITIONED BY {} CLUSTERED BY a",
                    self.of(&["DAY", "ALL", "MONTH"])
                )
            }
            1 => format!(
                "REPLACE INTO t OVERWRITE ALL {} PARTITIONED BY DAY",
                self.valid_rows()
            ),
            2 => format!("EXPLAIN PLAN FOR {}", self.valid_query()),
            3 => format!("{} UNION ALL {}", self.valid_grouping(), self.valid_grouping()),
            4 => format!("WITH w AS ({}) SELECT COUNT(*) FROM w", self.valid_query()),
            _ => self.valid_query(),
        }
    }

    fn valid_rows(&mut self) -> String {
        let (text, number, source) = (self.text(2), self.number(2), self.source());
        format!("SELECT __time, {text} AS a, {number} AS b FROM {source}")
    }

    fn valid_query(&mut self) -> String {
        match self.below(3) {
            0 => self.valid_grouping(),
            1 => {
                let (window, source) = (self.valid_window(), self.source());
                let number = self.number(2);
                format!(
                    "SELECT country, {number} AS a, {window} AS b FROM {source} WHERE {}",
                    self.condition_of(2)
                )
            }
            _ => {
                let (text, time, source) = (self.text(3), self.time(), self.source());
                let end = self.of(&[
                    "",
                    " ORDER BY 1",
                    " ORDER BY n DESC LIMIT 10",
                    " LIMIT 3 OFFSET 2",
                ]);
                format!(
                    "SELECT {text} AS a, {time} AS b, n FROM {source} WHERE {}{end}",
                    self.condition_of(3)
                )
            }
        }
    }

    fn valid_grouping(&mut self) -> String {
        let number = self.number(2);
        let aggregate = match self.below(6) {
            0 => "COUNT(*)".to_owned(),
            1 => format!("COUNT(DISTINCT {})", self.text(1)),
            2 => format!("MAX({number}) FILTER (WHERE {})", self.condition_of(1)),
            3 => "LATEST(n)".to_owned(),
            4 => format!("ARRAY_AGG({})", self.text(1)),
            _ => format!("SUM({number})"),
        };
        let (source, filter) = (self.source(), self.condition_of(2));
        let group = self.of(&[
            "country, city",
            "ROLLUP (country, city)",
            "GROUPING SETS ((country, city), (country))",
        ]);
        let having = self.of(&["", " HAVING COUNT(*) > 1"]);
        format!(
            "SELECT country, city, {aggregate} AS a FROM {source} WHERE {filter} GROUP BY {group}{having}"
        )
    }

    fn valid_window(&mut self) -> String {
        let frame = self.of(&[
            "",
            "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
            "RANGE BETWEEN 3 PRECEDING AND 1 FOLLOWING",
            "GROUPS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
        ]);
        let call = self.of(&[
            "ROW_NUMBER()",
            "RANK()",
            "CUME_DIST()",
            "NTILE(4)",
            "LAG(x)",
            "LEAD(x, 2, 0.5)",
            "FIRST_VALUE(city)",
            "LAST_VALUE(n)",
            "SUM(x)",
            "COUNT(*)",
            "MIN(n)",
        ]);
        let by = self.of(&["PARTITION BY country ", ""]);
        format!("{call} OVER ({by}ORDER BY n{} {frame})", self.of(&["", " DESC"]))
    }

    fn source(&mut self) -> String {
        match self.below(6) {
            0 => format!("(SELECT * FROM events WHERE {}) AS s", self.condition_of(1)),
            1 => "(SELECT e.__time, e.country, e.city, e.n, e.x FROM events e \
                  JOIN users u ON e.country = u.country) AS j"
                .to_owned(),
            _ => "events".to_owned(),
        }
    }

    fn number(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.of(&["n", "x", "1", "2.5", "-7"]).to_owned();
        }
        match self.below(8) {
            0 => format!("ABS({})", self.number(depth - 1)),
            1 => format!("LENGTH({})", self.text(depth - 1)),
            2 => {
                let (condition, one, other) = (
                    self.condition_of(depth - 1),
                    self.number(depth - 1),
                    self.number(depth - 1),
                );
                format!("CASE WHEN {condition} THEN {one} ELSE {other} END")
            }
            3 => format!("EXTRACT({} FROM {})", self.of(&UNITS), self.time()),
            4 => format!("ROUND({}, 1)", self.number(depth - 1)),
            5 => {
                let (one, other) = (self.number(depth - 1), self.number(depth - 1));
                format!("({one} {} {other})", self.of(&["+", "-", "*"]))
            }
            _ => self.number(0),
        }
    }

    fn text(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.of(&["country", "city", "'a'", "''"]).to_owned();
        }
        match self.below(7) {
            0 => format!("UPPER({})", self.text(depth - 1)),
            1 => format!("SUBSTRING({}, 1, 2)", self.text(depth - 1)),
            2 => format!("{} || {}", self.text(depth - 1), self.text(depth - 1)),
            3 => format!("CAST({} AS VARCHAR)", self.number(depth - 1)),
            4 => format!("COALESCE({}, {})", self.text(depth - 1), self.text(depth - 1)),
            _ => self.text(0),
        }
    }

    fn time(&mut self) -> String {
        match self.below(4) {
            0 => format!("FLOOR(__time TO {})", self.of(&UNITS)),
            1 => "TIME_SHIFT(__time, 'P1D', 1)".to_owned(),
            2 => format!("TIMESTAMPADD({}, 1, __time)", self.of(&UNITS)),
            _ => "__time".to_owned(),
        }
    }

    fn condition_of(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self
                .of(&["n > 1", "country = 'a'", "x IS NULL", "city LIKE 'a%'"])
                .to_owned();
        }
        match self.below(7) {
            0 => format!("NOT ({})", self.condition_of(depth - 1)),
            1 => format!(
                "({} AND {})",
                self.condition_of(depth - 1),
                self.condition_of(depth - 1)
            ),
            2 => format!(
                "({} OR {})",
                self.condition_of(depth - 1),
                self.condition_of(depth - 1)
            ),
            3 => format!("{} IN ('a', 'b')", self.text(depth - 1)),
            4 => format!("{} < {}", self.number(depth - 1), self.number(depth - 1)),
            5 => format!(
                "n IN (SELECT n FROM events WHERE {})",
                self.condition_of(depth - 1)
            ),
            _ => self.condition_of(0),
        }
    }
}
