//! `TABLE(APPEND('t1', 't2'))`: the rows of several tables, whose columns are matched by name (Druid:
//! querying/datasource.md#union). It is written out as a UNION ALL, so that all else meets that only.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, TableFactor, Value, Visit,
    VisitMut, Visitor, VisitorMut,
};
use sqlparser::parser::Parser;

use crate::dialect::DruidDialect;
use crate::error::PlanError;
use crate::request::TableSchema;

/// The tables that a query appends to each other.
///
/// # Errors
/// For an argument that is no text.
pub fn tables(query: &Query) -> Result<Vec<String>, PlanError> {
    let mut find = Find(Vec::new());
    match query.visit(&mut find) {
        ControlFlow::Continue(()) => Ok(find.0),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Find(Vec<String>);

impl Visitor for Find {
    type Break = Box<PlanError>;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        match appended(factor) {
            Some(Ok(names)) => self.0.extend(names),
            Some(Err(error)) => return ControlFlow::Break(Box::new(error)),
            None => {}
        }
        ControlFlow::Continue(())
    }
}

/// Writes every APPEND of a query out.
///
/// # Errors
/// For a table that is not there, and for columns whose types have nothing in common.
pub fn write_out(query: &mut Query, known: &[TableSchema]) -> Result<(), PlanError> {
    match VisitMut::visit(query, &mut WriteOut(known)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct WriteOut<'a>(&'a [TableSchema]);

impl VisitorMut for WriteOut<'_> {
    type Break = Box<PlanError>;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        let Some(names) = appended(factor) else {
            return ControlFlow::Continue(());
        };
        let subquery = names.and_then(|names| union(&names, self.0)).map_err(Box::new);
        let subquery = match subquery {
            Ok(subquery) => subquery,
            Err(error) => return ControlFlow::Break(error),
        };
        if let TableFactor::TableFunction { alias, .. } = factor {
            *factor = TableFactor::Derived {
                lateral: false,
                subquery: Box::new(subquery),
                alias: alias.take(),
                sample: None,
            };
        }
        ControlFlow::Continue(())
    }
}

/// The names in an APPEND; `None` of anything else.
fn appended(factor: &TableFactor) -> Option<Result<Vec<String>, PlanError>> {
    let TableFactor::TableFunction {
        expr: Expr::Function(function),
        ..
    } = factor
    else {
        return None;
    };
    let is_append = function.name.to_string().eq_ignore_ascii_case("APPEND");
    is_append.then(|| names(function))
}

fn names(function: &Function) -> Result<Vec<String>, PlanError> {
    let list = match &function.args {
        FunctionArguments::List(list) => list.args.as_slice(),
        _ => &[],
    };
    if list.is_empty() {
        return Err(PlanError::invalid(
            "APPEND needs tables: APPEND( <TABLE_NAME>[, <TABLE_NAME> ...] )",
        ));
    }
    let name = |(position, argument): (usize, &FunctionArg)| {
        let not = |what: &str| {
            PlanError::invalid(format!(
                "All arguments to APPEND should be literal strings. Argument #{} is not {what}",
                position + 1
            ))
        };
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
                Value::SingleQuotedString(name) => Ok(name.clone()),
                _ => Err(not("string")),
            },
            _ => Err(not("literal")),
        }
    };
    list.iter().enumerate().map(name).collect()
}

/// A column of all tables together.
struct Column {
    name: String,
    native: String,
    /// Whether it is of another type in some table.
    differs: bool,
}

fn union(names: &[String], known: &[TableSchema]) -> Result<Query, PlanError> {
    let find = |name: &String| {
        let found = known.iter().find(|table| table.name == *name);
        found.ok_or_else(|| PlanError::invalid(format!("Table [{name}] not found")))
    };
    let tables = names.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    let mut columns: Vec<Column> = Vec::new();
    for (name, native) in tables.iter().flat_map(|table| &table.columns) {
        match columns.iter_mut().find(|column| column.name == *name) {
            None => columns.push(Column {
                name: name.clone(),
                native: native.clone(),
                differs: false,
            }),
            Some(column) if column.native == *native => {}
            Some(column) => {
                column.native = common(&column.native, native).ok_or_else(|| {
                    PlanError::invalid(format!(
                        "Can't create TABLE(APPEND()).\nConflicting types for column [{name}]: [{}] and [{native}]",
                        column.native
                    ))
                })?;
                // A single text is a multi-value string too.
                column.differs |= column.native != MULTI_VALUE;
            }
        }
    }
    let selects: Vec<String> = tables.iter().map(|table| select(table, &columns)).collect();
    Parser::new(&DruidDialect)
        .try_with_sql(&selects.join(" UNION ALL "))
        .and_then(|mut parser| parser.parse_query())
        .map(|query| *query)
        .map_err(|error| PlanError::invalid(format!("APPEND: {error}")))
}

/// Type of multi-value strings in the catalogue.
const MULTI_VALUE: &str = "STRING_MV";

/// The type that holds values of both.
fn common(left: &str, right: &str) -> Option<String> {
    const NUMBERS: [&str; 3] = ["LONG", "FLOAT", "DOUBLE"];
    let is_number = |native: &str| NUMBERS.contains(&native);
    let is_text = |native: &str| native == "STRING" || native == MULTI_VALUE;
    if is_text(left) && is_text(right) {
        return Some(MULTI_VALUE.to_owned());
    }
    match (is_number(left), is_number(right)) {
        (true, true) => Some("DOUBLE".to_owned()),
        (true, false) if right == "STRING" => Some("STRING".to_owned()),
        (false, true) if left == "STRING" => Some("STRING".to_owned()),
        _ => None,
    }
}

fn select(table: &TableSchema, columns: &[Column]) -> String {
    let items: Vec<String> = columns
        .iter()
        .map(|column| {
            let name = quoted(&column.name);
            let sql_type = match column.native.as_str() {
                "DOUBLE" => "DOUBLE",
                _ => "VARCHAR",
            };
            match table.columns.iter().any(|(known, _)| *known == column.name) {
                false => format!("NULL AS {name}"),
                true if column.differs => format!("CAST({name} AS {sql_type}) AS {name}"),
                true => name,
            }
        })
        .collect();
    // A named query of that name is no table.
    format!(
        "SELECT {} FROM \"druid\".{}",
        items.join(", "),
        quoted(&table.name)
    )
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
