//! Lookups as tables of the schema `lookup`, and in calls of LOOKUP (Druid: querying/lookups.md, querying/datasource.md).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue, TableReference, ToDFSchema};
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan, LogicalPlanBuilder, col, lit};
use datafusion::optimizer::utils::NamePreserver;
use sarsen_functions::lookup::{LOOKUP, Lookups, resolved};
use sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments, Value, Visit, Visitor,
};

use crate::statement::Statement;

/// The schema of lookups.
pub const SCHEMA: &str = "lookup";

/// Columns of a lookup: key and value.
const COLUMNS: [&str; 2] = ["k", "v"];

pub fn is_lookup(table: &TableReference) -> bool {
    table.schema() == Some(SCHEMA)
}

/// The lookups that a statement names, among its tables and in calls.
pub fn named(statement: &Statement, tables: &[TableReference]) -> Vec<String> {
    let mut names = Names(tables.iter().map(|table| table.table().to_owned()).collect());
    let _ = statement.query().visit(&mut names);
    names.0.into_iter().collect()
}

struct Names(BTreeSet<String>);

impl Visitor for Names {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &SqlExpr) -> ControlFlow<()> {
        if let SqlExpr::Function(call) = expr
            && call
                .name
                .to_string()
                .trim_matches('"')
                .eq_ignore_ascii_case(LOOKUP)
            && let FunctionArguments::List(arguments) = &call.args
            && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::Value(name)))) =
                arguments.args.get(1)
            && let Value::SingleQuotedString(name) = &name.value
        {
            self.0.insert(name.clone());
        }
        ControlFlow::Continue(())
    }
}

/// The tables of a schema of lookups.
///
/// # Errors
/// Never in practice: registering in memory does not fail.
pub fn schema(lookups: &Lookups) -> Result<MemorySchemaProvider> {
    let schema = MemorySchemaProvider::new();
    for (name, lookup) in lookups {
        schema.register_table(name.clone(), Arc::new(ViewTable::new(rows(lookup)?, None)))?;
    }
    Ok(schema)
}

fn rows(lookup: &BTreeMap<String, String>) -> Result<LogicalPlan> {
    if lookup.is_empty() {
        let fields = COLUMNS.map(|name| Field::new(name, DataType::Utf8View, true));
        let schema = Schema::new(fields.to_vec()).to_dfschema_ref()?;
        return Ok(LogicalPlan::EmptyRelation(EmptyRelation {
            produce_one_row: false,
            schema,
        }));
    }
    let text = |text: &String| lit(ScalarValue::Utf8View(Some(text.clone())));
    let values = lookup
        .iter()
        .map(|(key, value)| vec![text(key), text(value)])
        .collect();
    let [key, value] = COLUMNS;
    let columns = [col("column1").alias(key), col("column2").alias(value)];
    LogicalPlanBuilder::values(values)?.project(columns)?.build()
}

/// The plan with what its calls of LOOKUP look up.
///
/// # Errors
/// When a call names no lookup.
pub fn resolve(plan: LogicalPlan, lookups: &Lookups) -> Result<LogicalPlan> {
    let in_expr = |expr: Expr| match expr {
        Expr::ScalarFunction(call) if call.name() == LOOKUP => {
            Ok(Transformed::yes(resolved(call.args, lookups)?))
        }
        other => Ok(Transformed::no(other)),
    };
    let resolved = plan.transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_up(in_expr)?;
            Ok(expr.update_data(|expr| name.restore(expr)))
        })?;
        node.map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(resolved.data)
}
