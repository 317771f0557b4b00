//! Rows as text.

use serde_json::Value;

/// Formats of `sarsen sql`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Table,
    Csv,
    Json,
}

/// Lines of a result.
pub fn lines(columns: &[String], rows: &[Vec<Value>], format: Format) -> Vec<String> {
    match format {
        Format::Json => rows
            .iter()
            .map(|row| {
                let named: serde_json::Map<String, Value> =
                    columns.iter().cloned().zip(row.iter().cloned()).collect();
                Value::Object(named).to_string()
            })
            .collect(),
        Format::Csv => {
            let quoted = |text: String| {
                if text.contains([',', '"', '\n']) {
                    format!("\"{}\"", text.replace('"', "\"\""))
                } else {
                    text
                }
            };
            let line = |cells: Vec<String>| cells.into_iter().map(quoted).collect::<Vec<_>>().join(",");
            let header = line(columns.to_vec());
            std::iter::once(header)
                .chain(rows.iter().map(|row| line(row.iter().map(text).collect())))
                .collect()
        }
        Format::Table => table(columns, rows),
    }
}

fn table(columns: &[String], rows: &[Vec<Value>]) -> Vec<String> {
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(text).collect()).collect();
    let width = |column: usize, name: &String| {
        let widest = cells
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max();
        widest.unwrap_or(0).max(name.chars().count())
    };
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(column, name)| width(column, name))
        .collect();
    let line = |cells: &[String]| {
        let padded = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!(" {cell:<width$} "));
        format!("|{}|", padded.collect::<Vec<_>>().join("|"))
    };
    let rule = format!(
        "+{}+",
        widths
            .iter()
            .map(|width| "-".repeat(width + 2))
            .collect::<Vec<_>>()
            .join("+")
    );
    let mut lines = vec![rule.clone(), line(columns), rule.clone()];
    lines.extend(cells.iter().map(|row| line(row)));
    lines.push(rule);
    lines
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let rows = vec![
            vec![Value::from("abc"), Value::from(1)],
            vec![Value::Null, Value::from(20)],
        ];
        let shown = lines(&["a".to_owned(), "n".to_owned()], &rows, Format::Table).join("\n");
        assert_eq!(
            shown,
            "+-----+----+\n| a   | n  |\n+-----+----+\n| abc | 1  |\n|     | 20 |\n+-----+----+"
        );
    }

    #[test]
    fn csv_quotes_what_it_must() {
        let rows = vec![vec![Value::from("a,\"b\"")]];
        assert_eq!(
            lines(&["x".to_owned()], &rows, Format::Csv),
            ["x", "\"a,\"\"b\"\"\""]
        );
    }
}
