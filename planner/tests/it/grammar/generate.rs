//! Statements out of a seed.

use std::sync::LazyLock;

use sarsen_planner::routines;

/// Takes one turn of the grammar after another as its numbers say.
pub struct Generator {
    state: u64,
    /// Levels below which nothing nests any more.
    depth: u32,
}

static FUNCTIONS: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| routines().into_iter().map(|routine| routine.name).collect());

const TYPES: [&str; 11] = [
    "VARCHAR",
    "BIGINT",
    "INTEGER",
    "DOUBLE",
    "FLOAT",
    "BOOLEAN",
    "TIMESTAMP",
    "DATE",
    "DECIMAL(10, 2)",
    "CHAR(3)",
    "VARCHAR ARRAY",
];
const UNITS: [&str; 8] = [
    "SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR",
];
const BINARY: [&str; 18] = [
    "+",
    "-",
    "*",
    "/",
    "%",
    "||",
    "=",
    "<>",
    "<",
    ">",
    "<=",
    ">=",
    "AND",
    "OR",
    "LIKE",
    "IS DISTINCT FROM",
    "IS NOT DISTINCT FROM",
    "NOT LIKE",
];
const COLUMNS: [&str; 12] = [
    "__time", "country", "city", "n", "x", "id", "name", "author", "tags", "langs", "events.n", "\"a b\"",
];
const TABLES: [&str; 5] = ["events", "users", "posts", "druid.events", "missing"];
const LITERALS: [&str; 18] = [
    "0",
    "1",
    "-3",
    "2.5",
    "1e3",
    "9223372036854775807",
    "9223372036854775808",
    "'a'",
    "''",
    "'it''s'",
    "U&'\\00e9'",
    "'2023-01-02'",
    "'P1D'",
    "'$.a[0]'",
    "NULL",
    "TRUE",
    "TIMESTAMP '2023-01-02 03:04:05'",
    "DATE '2023-01-02'",
];
const AGGREGATES: [&str; 14] = [
    "COUNT",
    "SUM",
    "MIN",
    "MAX",
    "AVG",
    "EARLIEST",
    "LATEST",
    "ANY_VALUE",
    "ARRAY_AGG",
    "STRING_AGG",
    "STDDEV",
    "APPROX_COUNT_DISTINCT",
    "BIT_AND",
    "GROUPING",
];
const WINDOWS: [&str; 12] = [
    "ROW_NUMBER",
    "RANK",
    "DENSE_RANK",
    "PERCENT_RANK",
    "CUME_DIST",
    "NTILE",
    "LAG",
    "LEAD",
    "FIRST_VALUE",
    "LAST_VALUE",
    "NTH_VALUE",
    "SUM",
];

impl Generator {
    pub fn new(seed: u64) -> Self {
        let mut generator = Generator {
            state: seed,
            depth: 3,
        };
        // Streams of neighbouring seeds would be the same but for their beginnings.
        generator.state = generator.below(u64::MAX) ^ seed.rotate_left(32);
        generator
    }

    /// A number below another one.
    pub fn below(&mut self, behind: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % behind.max(1)
    }

    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn list(&mut self, most: u64, mut item: impl FnMut(&mut Self) -> String) -> String {
        let count = 1 + self.below(most);
        let items: Vec<String> = (0..count).map(|_| item(self)).collect();
        items.join(", ")
    }

    fn maybe(&mut self, times: u64, clause: impl FnOnce(&mut Self) -> String) -> String {
        if self.one_in(times) {
            clause(self)
        } else {
            String::new()
        }
    }

    /// What `nested` makes, or `plain` when nothing may nest any more.
    fn nested(
        &mut self,
        plain: impl FnOnce(&mut Self) -> String,
        nested: impl FnOnce(&mut Self) -> String,
    ) -> String {
        if self.depth == 0 {
            return plain(self);
        }
        self.depth -= 1;
        let text = nested(self);
        self.depth += 1;
        text
    }

    pub fn statement(&mut self) -> String {
        let set = self.maybe(12, |g| {
            let value = g.of(&["3", "'a'", "TRUE", "-1", "NULL"]);
            format!(
                "SET {} = {value}; ",
                g.of(&["maxNumTasks", "sqlTimeZone", "rowsPerSegment", "x"])
            )
        });
        let explain = self.maybe(12, |_| "EXPLAIN PLAN FOR ".to_owned());
        let body = match self.below(10) {
            0..=6 => self.query(),
            7 => {
                let query = self.query();
                format!(
                    "INSERT INTO t {}{query} {}",
                    self.target_columns(),
                    self.partitioned()
                )
            }
            8 => {
                let overwrite = match self.below(3) {
                    0 => "ALL".to_owned(),
                    1 => "WHERE __time >= TIMESTAMP '2023-01-01' AND __time < TIMESTAMP '2024-01-01'"
                        .to_owned(),
                    _ => format!("WHERE {}", self.expr()),
                };
                let query = self.query();
                format!(
                    "REPLACE INTO t OVERWRITE {overwrite} {query} {}",
                    self.partitioned()
                )
            }
            _ => {
                let query = self.query();
                let format = self.of(&["CSV", "JSON", "PARQUET", "XML"]);
                format!("INSERT INTO EXTERN(local(exportPath => '/tmp/x')) AS {format} {query}")
            }
        };
        format!("{set}{explain}{body}")
    }

    fn target_columns(&mut self) -> String {
        self.maybe(4, |g| format!("({}) ", g.list(3, |g| g.of(&COLUMNS).to_owned())))
    }

    fn partitioned(&mut self) -> String {
        let granularity = match self.below(6) {
            0 => "ALL".to_owned(),
            1 => "ALL TIME".to_owned(),
            2 => format!("FLOOR(__time TO {})", self.of(&UNITS)),
            3 => format!(
                "TIME_FLOOR(__time, {})",
                self.of(&["'PT1H'", "'P1D'", "'x'", "NULL"])
            ),
            _ => self.of(&["DAY", "HOUR", "MONTH", "YEAR", "FORTNIGHT"]).to_owned(),
        };
        let clustered = self.maybe(3, |g| format!(" CLUSTERED BY {}", g.list(2, |g| g.expr())));
        format!("PARTITIONED BY {granularity}{clustered}")
    }

    fn query(&mut self) -> String {
        let with = self.maybe(10, |g| {
            let inner = g.nested(|_| "SELECT 1 AS a".to_owned(), Self::query);
            format!("WITH w AS ({inner}) ")
        });
        let body = match self.below(12) {
            0 => {
                let (one, other) = (self.select(), self.select());
                format!(
                    "{one} {} {other}",
                    self.of(&["UNION ALL", "UNION", "INTERSECT", "EXCEPT"])
                )
            }
            1 => format!("SELECT * FROM ({}) AS v (a, b)", self.values()),
            _ => self.select(),
        };
        let order = self.maybe(3, |g| {
            let keys = g.list(2, |g| {
                let key = if g.one_in(3) { "1".to_owned() } else { g.expr() };
                format!("{key}{}", g.of(&["", " DESC", " ASC NULLS LAST", " NULLS FIRST"]))
            });
            format!(" ORDER BY {keys}")
        });
        let limit = self.maybe(4, |g| format!(" LIMIT {}", g.of(&["10", "0", "ALL", "x"])));
        let offset = self.maybe(8, |_| " OFFSET 5".to_owned());
        format!("{with}{body}{order}{limit}{offset}")
    }

    fn values(&mut self) -> String {
        let rows = self.list(3, |g| {
            let (one, other) = (g.of(&LITERALS), g.of(&LITERALS));
            format!("({one}, {other})")
        });
        format!("VALUES {rows}")
    }

    fn select(&mut self) -> String {
        let distinct = self.maybe(8, |_| "DISTINCT ".to_owned());
        let grouped = self.one_in(3);
        let items = match self.below(8) {
            0 => "*".to_owned(),
            _ => self.list(4, |g| {
                let item = match g.below(8) {
                    0..=1 => g.window(),
                    2..=3 => g.aggregate(),
                    _ if grouped => g.of(&COLUMNS[1..4]).to_owned(),
                    _ => g.expr(),
                };
                format!(
                    "{item}{}",
                    g.of(&["", "", " AS a", " AS __time", " b", " AS \"x y\""])
                )
            }),
        };
        let from = self.maybe(1, |g| {
            if g.one_in(12) {
                String::new()
            } else {
                format!(" FROM {}", g.relation())
            }
        });
        let filter = self.maybe(3, |g| format!(" WHERE {}", g.expr()));
        let group = if grouped { self.group_by() } else { String::new() };
        let window = self.maybe(15, |g| format!(" WINDOW win AS ({})", g.over()));
        format!("SELECT {distinct}{items}{from}{filter}{group}{window}")
    }

    fn group_by(&mut self) -> String {
        let keys = self.list(3, |g| {
            if g.one_in(4) {
                g.expr()
            } else {
                g.of(&COLUMNS[1..4]).to_owned()
            }
        });
        let group = match self.below(8) {
            0 => format!("ROLLUP ({keys})"),
            1 => format!("CUBE ({keys})"),
            2 => "GROUPING SETS ((country, city), (country), ())".to_owned(),
            3 => "1".to_owned(),
            _ => keys,
        };
        let having = self.maybe(4, |g| format!(" HAVING {} > 1", g.aggregate()));
        format!(" GROUP BY {group}{having}")
    }

    fn relation(&mut self) -> String {
        match self.below(14) {
            0..=1 => {
                let kind = self.of(&[
                    "JOIN",
                    "LEFT JOIN",
                    "RIGHT JOIN",
                    "FULL JOIN",
                    "CROSS JOIN",
                    "INNER JOIN",
                ]);
                let on = if kind == "CROSS JOIN" {
                    String::new()
                } else {
                    format!(" ON {}", self.condition())
                };
                format!("{} a {kind} {} b{on}", self.of(&TABLES), self.of(&TABLES))
            }
            2 => self.nested(|g| g.of(&TABLES).to_owned(), |g| format!("({}) AS s", g.query())),
            3 => format!(
                "posts CROSS JOIN UNNEST({}) AS u (t)",
                self.of(&["MV_TO_ARRAY(tags)", "ARRAY[1, 2]", "tags", "n"])
            ),
            4 => "TABLE(EXTERN('{\"type\":\"inline\",\"data\":\"a,1\"}', \
                  '{\"type\":\"csv\",\"columns\":[\"country\",\"n\"]}')) EXTEND (country VARCHAR, n BIGINT)"
                .to_owned(),
            5 => format!("events, {}", self.of(&TABLES)),
            _ => format!(
                "{}{}",
                self.of(&TABLES),
                self.of(&["", "", "", " AS e", " e (a, b)"])
            ),
        }
    }

    fn condition(&mut self) -> String {
        if self.one_in(3) {
            self.expr()
        } else {
            "a.country = b.country".to_owned()
        }
    }

    pub fn expr(&mut self) -> String {
        self.nested(
            |g| {
                if g.one_in(2) {
                    g.of(&COLUMNS).to_owned()
                } else {
                    g.of(&LITERALS).to_owned()
                }
            },
            |g| match g.below(24) {
                0..=4 => g.of(&COLUMNS).to_owned(),
                5..=7 => g.of(&LITERALS).to_owned(),
                8..=10 => {
                    let (left, right) = (g.expr(), g.expr());
                    format!("{left} {} {right}", g.of(&BINARY))
                }
                11..=14 => g.call(),
                15 => {
                    let (when, then, other) = (g.expr(), g.expr(), g.expr());
                    format!("CASE WHEN {when} THEN {then} ELSE {other} END")
                }
                16 => {
                    let cast = g.of(&["CAST", "TRY_CAST", "SAFE_CAST"]);
                    format!("{cast}({} AS {})", g.expr(), g.of(&TYPES))
                }
                17 => {
                    let list = g.list(3, Self::expr);
                    format!("{} {}IN ({list})", g.expr(), g.of(&["", "NOT "]))
                }
                18 => {
                    let query = g.query();
                    match g.below(3) {
                        0 => format!("EXISTS ({query})"),
                        1 => format!("n IN ({query})"),
                        _ => format!("({query})"),
                    }
                }
                19 => {
                    let (value, low, high) = (g.expr(), g.expr(), g.expr());
                    format!("{value} BETWEEN {low} AND {high}")
                }
                20 => {
                    let unit = g.of(&UNITS);
                    let value = g.of(&["__time", "CURRENT_TIMESTAMP", "n", "NULL"]);
                    match g.below(4) {
                        0 => format!("FLOOR({value} TO {unit})"),
                        1 => format!("EXTRACT({unit} FROM {value})"),
                        2 => format!("TIMESTAMPADD({unit}, 2, {value})"),
                        _ => format!("{value} + INTERVAL '1' {unit}"),
                    }
                }
                21 => {
                    let operator = g.of(&["NOT ", "-", "+"]);
                    format!("{operator}({})", g.expr())
                }
                22 => format!(
                    "{} {}",
                    g.expr(),
                    g.of(&["IS NULL", "IS NOT NULL", "IS TRUE", "IS NOT FALSE"])
                ),
                _ => format!("ARRAY[{}]", g.list(3, Self::expr)),
            },
        )
    }

    fn call(&mut self) -> String {
        let name = self.of(&FUNCTIONS);
        if self.one_in(30) {
            return format!("{name}()");
        }
        format!("{name}({})", self.list(3, Self::expr))
    }

    fn aggregate(&mut self) -> String {
        let name = self.of(&AGGREGATES);
        let distinct = self.of(&["", "", "", "DISTINCT "]);
        let argument = match self.below(4) {
            0 => "*".to_owned(),
            1 => self.expr(),
            2 => format!("{}, {}", self.expr(), self.of(&LITERALS)),
            _ => self.of(&COLUMNS).to_owned(),
        };
        let filter = self.maybe(6, |g| format!(" FILTER (WHERE {})", g.expr()));
        format!("{name}({distinct}{argument}){filter}")
    }

    fn window(&mut self) -> String {
        let name = self.of(&WINDOWS);
        let arguments = match name {
            "LAG" | "LEAD" | "NTH_VALUE" => {
                let rest = self.of(&["", ", 1", ", 2, 0", ", -1", ", n", ", NULL"]);
                format!("{}{rest}", self.of(&COLUMNS))
            }
            "NTILE" => self.of(&["4", "0", "-1", "n", "NULL"]).to_owned(),
            "FIRST_VALUE" | "LAST_VALUE" | "SUM" => self.expr(),
            _ => String::new(),
        };
        let nulls = self.of(&["", "", "", "", " IGNORE NULLS", " RESPECT NULLS"]);
        let over = if self.one_in(6) {
            "win".to_owned()
        } else {
            format!("({})", self.over())
        };
        format!("{name}({arguments}){nulls} OVER {over}")
    }

    fn over(&mut self) -> String {
        let partition = self.maybe(2, |g| format!("PARTITION BY {} ", g.of(&COLUMNS)));
        let order = self.maybe(2, |g| {
            format!("ORDER BY {}{} ", g.of(&COLUMNS), g.of(&["", " DESC"]))
        });
        let frame = self.maybe(2, |g| {
            let units = g.of(&["ROWS", "RANGE", "GROUPS"]);
            let bounds = [
                "UNBOUNDED PRECEDING",
                "2 PRECEDING",
                "CURRENT ROW",
                "3 FOLLOWING",
                "UNBOUNDED FOLLOWING",
                "-1 PRECEDING",
                "n FOLLOWING",
                "99999999999999999999 PRECEDING",
                "INTERVAL '1' DAY PRECEDING",
            ];
            format!("{units} BETWEEN {} AND {}", g.of(&bounds), g.of(&bounds))
        });
        format!("{partition}{order}{frame}")
    }
}
