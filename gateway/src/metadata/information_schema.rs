//! `INFORMATION_SCHEMA`: schemas, tables, columns and functions.

use sarsen_proto::v1;
use serde_json::{Value, json};

use super::{Definition, definitions};

pub(super) const SCHEMA: &str = "INFORMATION_SCHEMA";

const CATALOG: &str = "druid";
const DATASOURCES: &str = "druid";

pub(super) const TABLES: &[Definition] = &[
    Definition {
        schema: SCHEMA,
        name: "SCHEMATA",
        columns: &[
            ("CATALOG_NAME", "STRING"),
            ("SCHEMA_NAME", "STRING"),
            ("SCHEMA_OWNER", "STRING"),
            ("DEFAULT_CHARACTER_SET_CATALOG", "STRING"),
            ("DEFAULT_CHARACTER_SET_SCHEMA", "STRING"),
            ("DEFAULT_CHARACTER_SET_NAME", "STRING"),
            ("SQL_PATH", "STRING"),
        ],
    },
    Definition {
        schema: SCHEMA,
        name: "TABLES",
        columns: &[
            ("TABLE_CATALOG", "STRING"),
            ("TABLE_SCHEMA", "STRING"),
            ("TABLE_NAME", "STRING"),
            ("TABLE_TYPE", "STRING"),
            ("IS_JOINABLE", "STRING"),
            ("IS_BROADCAST", "STRING"),
        ],
    },
    Definition {
        schema: SCHEMA,
        name: "COLUMNS",
        columns: &[
            ("TABLE_CATALOG", "STRING"),
            ("TABLE_SCHEMA", "STRING"),
            ("TABLE_NAME", "STRING"),
            ("COLUMN_NAME", "STRING"),
            ("ORDINAL_POSITION", "LONG"),
            ("COLUMN_DEFAULT", "STRING"),
            ("IS_NULLABLE", "STRING"),
            ("DATA_TYPE", "STRING"),
            ("CHARACTER_MAXIMUM_LENGTH", "LONG"),
            ("CHARACTER_OCTET_LENGTH", "LONG"),
            ("NUMERIC_PRECISION", "LONG"),
            ("NUMERIC_PRECISION_RADIX", "LONG"),
            ("NUMERIC_SCALE", "LONG"),
            ("DATETIME_PRECISION", "LONG"),
            ("CHARACTER_SET_NAME", "STRING"),
            ("COLLATION_NAME", "STRING"),
            ("JDBC_TYPE", "LONG"),
        ],
    },
    Definition {
        schema: SCHEMA,
        name: "ROUTINES",
        columns: &[
            ("ROUTINE_CATALOG", "STRING"),
            ("ROUTINE_SCHEMA", "STRING"),
            ("ROUTINE_NAME", "STRING"),
            ("ROUTINE_TYPE", "STRING"),
            ("IS_AGGREGATOR", "STRING"),
            ("SIGNATURES", "STRING"),
        ],
    },
];

/// Rows of one of [`TABLES`]; `catalog` are the datasources to show.
pub(super) fn rows(table: &str, catalog: &[v1::Table]) -> Vec<Vec<Value>> {
    match table {
        "SCHEMATA" => schemata(),
        "TABLES" => tables(catalog),
        "COLUMNS" => columns(catalog),
        _ => routines(),
    }
}

fn schemata() -> Vec<Vec<Value>> {
    let schema = |name: &str| {
        let mut row = vec![json!(CATALOG), json!(name)];
        row.resize(7, Value::Null);
        row
    };
    [DATASOURCES, SCHEMA, "lookup", "sys", "view"]
        .map(schema)
        .to_vec()
}

fn tables(catalog: &[v1::Table]) -> Vec<Vec<Value>> {
    let row = |schema: &str, name: &str, kind: &str| {
        [CATALOG, schema, name, kind, "NO", "NO"]
            .map(Value::from)
            .to_vec()
    };
    let datasources = catalog
        .iter()
        .map(|table| row(DATASOURCES, &table.datasource, "TABLE"));
    let system = definitions().map(|table| row(table.schema, table.name, "SYSTEM_TABLE"));
    datasources.chain(system).collect()
}

fn columns(catalog: &[v1::Table]) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    for table in catalog {
        let columns = table
            .columns
            .iter()
            .map(|column| (column.name.as_str(), column.native_type.as_str()));
        rows.extend(columns_of(DATASOURCES, &table.datasource, columns));
    }
    for table in definitions() {
        rows.extend(columns_of(
            table.schema,
            table.name,
            table.columns.iter().copied(),
        ));
    }
    rows
}

fn columns_of<'a>(
    schema: &'a str,
    table: &'a str,
    columns: impl Iterator<Item = (&'a str, &'a str)>,
) -> impl Iterator<Item = Vec<Value>> {
    (1..).zip(columns).map(move |(position, (name, native))| {
        let shown = Shown::of(name, native);
        vec![
            json!(CATALOG),
            json!(schema),
            json!(table),
            json!(name),
            json!(position),
            json!(""),
            json!(if shown.nullable { "YES" } else { "NO" }),
            json!(shown.sql_type),
            Value::Null,
            Value::Null,
            json!(shown.precision),
            json!(shown.radix),
            json!(shown.scale),
            json!(shown.time_precision),
            json!(shown.is_text.then_some("UTF-16LE")),
            json!(shown.is_text.then_some("UTF-16LE$en_US$primary")),
            json!(shown.jdbc_type),
        ]
    })
}

/// How a column's type is shown, with its code of `java.sql.Types`.
#[derive(Default)]
struct Shown {
    sql_type: String,
    jdbc_type: i32,
    nullable: bool,
    is_text: bool,
    precision: Option<u32>,
    radix: Option<u32>,
    scale: Option<u32>,
    time_precision: Option<u32>,
}

impl Shown {
    fn of(name: &str, native: &str) -> Self {
        let shown = |sql_type: &str, jdbc_type: i32| Shown {
            sql_type: sql_type.to_owned(),
            jdbc_type,
            nullable: true,
            ..Shown::default()
        };
        if name == "__time" {
            return Shown {
                nullable: false,
                time_precision: Some(3),
                ..shown("TIMESTAMP", 93)
            };
        }
        match native {
            "LONG" => Shown {
                precision: Some(19),
                radix: Some(10),
                scale: Some(0),
                ..shown("BIGINT", -5)
            },
            "DOUBLE" => Shown {
                precision: Some(15),
                radix: Some(10),
                ..shown("DOUBLE", 8)
            },
            "FLOAT" => Shown {
                precision: Some(15),
                radix: Some(10),
                ..shown("FLOAT", 6)
            },
            native if native.starts_with("ARRAY") => shown("ARRAY", 2003),
            native if native.starts_with("COMPLEX") => shown(native, 1111),
            _ => Shown {
                is_text: true,
                ..shown("VARCHAR", 12)
            },
        }
    }
}

fn routines() -> Vec<Vec<Value>> {
    let routine = |routine: sarsen_planner::Routine| {
        let is_aggregator = if routine.is_aggregator { "YES" } else { "NO" };
        vec![
            json!(CATALOG),
            json!(SCHEMA),
            json!(routine.name),
            json!("FUNCTION"),
            json!(is_aggregator),
            json!(routine.signatures),
        ]
    };
    sarsen_planner::routines().into_iter().map(routine).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn each_row_has_a_value_for_each_column() {
        let column = |name: &str, native_type: &str| v1::Column {
            name: name.to_owned(),
            native_type: native_type.to_owned(),
        };
        let catalog = [v1::Table {
            datasource: "t".to_owned(),
            columns: vec![
                column("__time", "LONG"),
                column("k", "STRING"),
                column("j", "COMPLEX<json>"),
            ],
            ..v1::Table::default()
        }];
        for table in TABLES {
            let rows = rows(table.name, &catalog);
            assert!(
                !rows.is_empty() && rows.iter().all(|row| row.len() == table.columns.len()),
                "{}",
                table.name
            );
        }
        let columns = rows("COLUMNS", &catalog);
        assert_eq!(columns[0][7], "TIMESTAMP");
        assert_eq!(
            (&columns[1][7], &columns[1][14]),
            (&json!("VARCHAR"), &json!("UTF-16LE"))
        );
        assert_eq!(
            (&columns[2][7], &columns[2][16]),
            (&json!("COMPLEX<json>"), &json!(1111))
        );
    }
}
