//! The logical plan of a statement, gathered operator by operator into one native query.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    Distinct, Expr, FetchType, LogicalPlan, Operator, SkipType, SortExpr, TableScan,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::scalar::ScalarValue;

use super::columns::{Columns, plain};
use super::expression::{json_literal, type_of};
use super::filter::{all, conjuncts};
use super::grouping::{self, Group};
use super::{DistinctCount, Native, NativeKind, NativeOrder, NativePlan, NativeQuery, NativeSource, join};
use crate::intervals;
use crate::tables::{DatasourceTable, ExternTable};
use crate::types::native_type;

/// What is known of a native query while the plan above it is read.
///
/// Expressions are over the columns of `base`, without qualifiers; those of `outputs`, `sort` and `having` are over the
/// group's outputs once there is a group.
pub struct Partial {
    pub source: NativeSource,
    /// Rows of an inline source, as expressions.
    rows: Option<Vec<Vec<Expr>>>,
    pub base: DFSchema,
    pub filter: Vec<Expr>,
    pub group: Option<Group>,
    pub outputs: Vec<Expr>,
    sort: Vec<SortExpr>,
    limit: Option<u64>,
    offset: Option<u64>,
}

/// The native query of `plan`; `ingest_order` are the output columns by which an ingestion is clustered.
pub fn native(plan: &LogicalPlan, ingest_order: &[usize], options: Native) -> Option<NativePlan> {
    let mut partial = read(plan, options)?;
    for position in ingest_order {
        let expr = partial.outputs.get(*position)?.clone();
        partial.sort.push(SortExpr::new(expr, true, true));
    }
    let names: Vec<String> = plan
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    finish(partial, &names)
}

pub fn read(plan: &LogicalPlan, options: Native) -> Option<Partial> {
    let read = |plan: &LogicalPlan| read(plan, options);
    match plan {
        LogicalPlan::TableScan(scan) => table_scan(scan),
        LogicalPlan::EmptyRelation(empty) => {
            let rows = if empty.produce_one_row {
                vec![Vec::new()]
            } else {
                Vec::new()
            };
            inline(&DFSchema::empty(), rows)
        }
        LogicalPlan::Values(values) => inline(&values.schema, values.values.clone()),
        LogicalPlan::SubqueryAlias(alias) => read(&alias.input),
        LogicalPlan::Join(join) => join::joined(join, options),
        LogicalPlan::Union(union) => {
            let inputs = union.inputs.iter().map(|input| read(input));
            united(inputs.collect::<Option<_>>()?)
        }
        LogicalPlan::Projection(projection) => {
            let mut partial = read(&projection.input)?;
            let exprs = projection.expr.iter();
            partial.outputs = exprs
                .map(|expr| partial.bound(expr, projection.input.schema()))
                .collect::<Option<_>>()?;
            Some(partial)
        }
        LogicalPlan::Filter(filter) => {
            let mut partial = read(&filter.input)?;
            if partial.limit.is_some() || partial.offset.is_some() || !partial.sort.is_empty() {
                partial = nested(partial)?;
            }
            let predicate = partial.bound(&filter.predicate, filter.input.schema())?;
            let conditions = conjuncts(&predicate);
            match &mut partial.group {
                Some(group) => group.having.extend(conditions),
                None => partial.filter.extend(conditions),
            }
            Some(partial)
        }
        LogicalPlan::Aggregate(aggregate) => {
            let mut partial = groupable(read(&aggregate.input)?)?;
            let schema = aggregate.input.schema();
            let bind = |exprs: &[Expr]| -> Option<Vec<Expr>> {
                exprs.iter().map(|expr| partial.bound(expr, schema)).collect()
            };
            let (keys, folds) = (bind(&aggregate.group_expr)?, bind(&aggregate.aggr_expr)?);
            if options.distinct == DistinctCount::Exact && folds.iter().any(grouping::counts_distinct) {
                return grouping::exact_distinct(partial, keys, folds);
            }
            grouping::group(&mut partial, keys, folds)?;
            Some(partial)
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let mut partial = groupable(read(input)?)?;
            let keys = partial.outputs.clone();
            grouping::group(&mut partial, keys, Vec::new())?;
            Some(partial)
        }
        LogicalPlan::Sort(sort) => {
            let mut partial = read(&sort.input)?;
            if partial.limit.is_some() || partial.offset.is_some() {
                partial = nested(partial)?;
            }
            partial.sort = sort
                .expr
                .iter()
                .map(|item| {
                    let expr = partial.bound(&item.expr, sort.input.schema())?;
                    Some(SortExpr::new(expr, item.asc, item.nulls_first))
                })
                .collect::<Option<_>>()?;
            Some(partial)
        }
        LogicalPlan::Limit(limit) => {
            let mut partial = read(&limit.input)?;
            if partial.limit.is_some() || partial.offset.is_some() {
                partial = nested(partial)?;
            }
            partial.limit = match limit.get_fetch_type().ok()? {
                FetchType::Literal(fetch) => fetch.map(|fetch| fetch as u64),
                FetchType::UnsupportedExpr => return None,
            };
            partial.offset = match limit.get_skip_type().ok()? {
                SkipType::Literal(0) => None,
                SkipType::Literal(skip) => Some(skip as u64),
                SkipType::UnsupportedExpr => return None,
            };
            Some(partial)
        }
        _ => None,
    }
}

/// Whether nothing is done to the rows of a source that is more than a query.
pub fn is_bare(partial: &Partial) -> bool {
    partial.group.is_none()
        && partial.rows.is_none()
        && partial.filter.is_empty()
        && partial.sort.is_empty()
        && partial.limit.is_none()
        && partial.offset.is_none()
        && partial.outputs.iter().all(|output| plain(output).is_some())
}

/// UNION ALL of datasources, where each gives the same columns as they are.
fn united(inputs: Vec<Partial>) -> Option<Partial> {
    let mut tables = Vec::new();
    for input in &inputs {
        match &input.source {
            NativeSource::Table(name) if is_bare(input) => tables.push(name.clone()),
            _ => return None,
        }
    }
    let mut inputs = inputs.into_iter();
    let first = inputs.next()?;
    if !inputs.all(|input| input.outputs == first.outputs) {
        return None;
    }
    Some(Partial {
        source: NativeSource::Union(tables),
        ..first
    })
}

/// A query that can be grouped: one without a group, a sort or a limit of its own.
fn groupable(partial: Partial) -> Option<Partial> {
    let done = partial.group.is_some() || partial.limit.is_some() || partial.offset.is_some();
    if done { nested(partial) } else { Some(partial) }
}

/// The query so far as the source of another; one that does nothing to the rows of a query is that query.
pub fn nested(partial: Partial) -> Option<Partial> {
    if matches!(partial.source, NativeSource::Query(_)) && is_bare(&partial) {
        return Some(partial);
    }
    let types: Vec<String> = {
        let schema = partial.output_schema();
        let types = partial.outputs.iter().map(|expr| type_of(expr, schema));
        types.collect::<Option<_>>()?
    };
    let fields: Vec<Field> = {
        let schema = partial.output_schema();
        partial
            .outputs
            .iter()
            .map(|expr| {
                datafusion::logical_expr::ExprSchemable::to_field(expr, schema)
                    .ok()
                    .map(|(_, field)| field.as_ref().clone())
            })
            .collect::<Option<_>>()?
    };
    let names: Vec<String> = (0..types.len()).map(|position| position.to_string()).collect();
    let plan = finish(partial, &names)?;
    let fields: Vec<Field> = fields
        .into_iter()
        .zip(&plan.mappings)
        .map(|(field, (column, _))| field.with_name(column))
        .collect();
    let outputs = plan
        .mappings
        .iter()
        .map(|(column, _)| Expr::Column(Column::new_unqualified(column)))
        .collect();
    let mut seen = Vec::new();
    let distinct = fields.into_iter().filter(|field| {
        let new = !seen.contains(field.name());
        seen.push(field.name().clone());
        new
    });
    Some(Partial {
        source: NativeSource::Query(Box::new(plan.query)),
        rows: None,
        base: DFSchema::try_from(Schema::new(distinct.collect::<Vec<_>>())).ok()?,
        filter: Vec::new(),
        group: None,
        outputs,
        sort: Vec::new(),
        limit: None,
        offset: None,
    })
}

fn table_scan(scan: &TableScan) -> Option<Partial> {
    let provider = source_as_provider(&scan.source).ok()?;
    let any: &dyn std::any::Any = provider.as_ref();
    let source = if let Some(table) = any.downcast_ref::<DatasourceTable>() {
        NativeSource::Table(table.datasource().to_owned())
    } else {
        NativeSource::External(any.downcast_ref::<ExternTable>()?.descriptor())
    };
    Some(Partial::over(source, None, &scan.projected_schema))
}

fn inline(schema: &DFSchema, rows: Vec<Vec<Expr>>) -> Option<Partial> {
    let source = NativeSource::Inline {
        columns: Vec::new(),
        rows: Vec::new(),
    };
    Some(Partial::over(source, Some(rows), schema))
}

impl Partial {
    pub fn over(source: NativeSource, rows: Option<Vec<Vec<Expr>>>, schema: &DFSchema) -> Self {
        let fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
        let outputs = fields
            .iter()
            .map(|field| Expr::Column(Column::new_unqualified(field.name())))
            .collect();
        let base = DFSchema::try_from(Schema::new(fields)).unwrap_or_else(|_| DFSchema::empty());
        Partial {
            source,
            rows,
            base,
            filter: Vec::new(),
            group: None,
            outputs,
            sort: Vec::new(),
            limit: None,
            offset: None,
        }
    }

    /// What `outputs` are over.
    pub fn output_schema(&self) -> &DFSchema {
        self.group.as_ref().map_or(&self.base, |group| &group.schema)
    }

    /// `expr` over the columns of a node with `schema`, as an expression over this query's own columns.
    pub fn bound(&self, expr: &Expr, schema: &DFSchemaRef) -> Option<Expr> {
        let mut missing = false;
        let replaced = expr.clone().transform_up(|expr| {
            Ok(match &expr {
                Expr::Column(column) => {
                    let found = schema
                        .index_of_column(column)
                        .ok()
                        .and_then(|index| self.outputs.get(index));
                    missing |= found.is_none();
                    found.map_or_else(
                        || Transformed::no(expr.clone()),
                        |found| Transformed::yes(found.clone()),
                    )
                }
                Expr::Alias(alias) => Transformed::yes(alias.expr.as_ref().clone()),
                Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::WindowFunction(_) => {
                    missing = true;
                    Transformed::no(expr)
                }
                _ => Transformed::no(expr),
            })
        });
        if missing {
            return None;
        }
        Some(simplified(replaced.ok()?.data, self.output_schema()))
    }
}

/// `x` of `x + 0`, `0 + x`, `x - 0`, `x * 1`, `1 * x` and `x / 1`.
fn neutral_operand(expr: &Expr) -> Option<Expr> {
    let Expr::BinaryExpr(binary) = expr else {
        return None;
    };
    let neutral = match binary.op {
        Operator::Plus | Operator::Minus => 0,
        Operator::Multiply | Operator::Divide => 1,
        _ => return None,
    };
    let is_neutral = |side: &Expr| matches!(side, Expr::Literal(ScalarValue::Int64(Some(number)), _) if *number == neutral);
    if is_neutral(&binary.right) {
        return Some(binary.left.as_ref().clone());
    }
    let commutes = matches!(binary.op, Operator::Plus | Operator::Multiply);
    (commutes && is_neutral(&binary.left)).then(|| binary.right.as_ref().clone())
}

/// `expr` with its constant parts worked out.
pub fn simplified(expr: Expr, schema: &DFSchema) -> Expr {
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(schema.clone()))
        .build();
    let simplifier = ExprSimplifier::new(context);
    if !expr.column_refs().is_empty() {
        let simple = simplifier.simplify(expr.clone()).unwrap_or(expr);
        let reduced = simple.clone().transform_up(|expr| {
            Ok(neutral_operand(&expr).map_or_else(|| Transformed::no(expr), Transformed::yes))
        });
        return reduced.map_or(simple, |reduced| reduced.data);
    }
    // Only constants may be coerced: Druid's expressions do not show coercions.
    let coerced = simplifier.coerce(expr.clone(), schema);
    coerced
        .and_then(|coerced| simplifier.simplify(coerced))
        .unwrap_or(expr)
}

/// Columns that the filter holds to one value.
fn constants(filter: &[Expr]) -> Vec<(String, Expr)> {
    let pairs = filter.iter().filter_map(|condition| match condition {
        Expr::BinaryExpr(binary) if binary.op == Operator::Eq => {
            match (binary.left.as_ref(), binary.right.as_ref()) {
                (column, value @ Expr::Literal(..)) | (value @ Expr::Literal(..), column) => {
                    plain(column).map(|name| (name.to_owned(), value.clone()))
                }
                _ => None,
            }
        }
        _ => None,
    });
    pairs.collect()
}

/// `expr` with the columns that are constant replaced.
fn with_constants(expr: &Expr, constants: &[(String, Expr)], schema: &DFSchema) -> Expr {
    if constants.is_empty() {
        return expr.clone();
    }
    let replaced = expr.clone().transform_up(|expr| {
        let value = plain(&expr).and_then(|name| constants.iter().find(|(constant, _)| constant == name));
        Ok(match value {
            Some((_, value)) => Transformed::yes(value.clone()),
            None => Transformed::no(expr),
        })
    });
    replaced.map_or_else(|_| expr.clone(), |replaced| simplified(replaced.data, schema))
}

fn finish(mut partial: Partial, names: &[String]) -> Option<NativePlan> {
    let never = |condition: &Expr| {
        matches!(
            condition,
            Expr::Literal(ScalarValue::Boolean(Some(false) | None), _)
        )
    };
    let always = |condition: &Expr| matches!(condition, Expr::Literal(ScalarValue::Boolean(Some(true)), _));
    if partial.filter.iter().any(never) {
        partial.rows = Some(Vec::new());
    }
    partial.filter.retain(|condition| !always(condition));
    if let Some(rows) = partial.rows.take() {
        return finish_inline(&partial, &rows, names);
    }
    let constants = constants(&partial.filter);
    let mut times = Vec::new();
    if let NativeSource::Table(_) = partial.source {
        (times, partial.filter) = time_intervals(std::mem::take(&mut partial.filter));
    }
    let base = partial.base.clone();
    let mut columns = Columns::new(&base);
    let filter = all(&partial.filter, &mut columns)?;
    let replace = |expr: &Expr| with_constants(expr, &constants, &base);
    let (kind, outputs, order) = match &partial.group {
        None => {
            let outputs: Vec<(String, String)> = partial
                .outputs
                .iter()
                .map(|expr| columns.column(&replace(expr)))
                .collect::<Option<_>>()?;
            let mut scanned: Vec<(String, String)> = Vec::new();
            for output in &outputs {
                if !scanned.contains(output) {
                    scanned.push(output.clone());
                }
            }
            let order = order(&partial.sort, |expr| columns.column(&replace(expr)))?;
            for item in &order {
                if !scanned.iter().any(|(name, _)| *name == item.column) {
                    let field = base.fields().iter().find(|field| field.name() == &item.column);
                    scanned.push((item.column.clone(), field.map(|field| native_type(field))?));
                }
            }
            (NativeKind::Scan { columns: scanned }, outputs, order)
        }
        Some(group) => {
            let mut grouped = grouping::finish(group, &mut columns, &replace)?;
            let outputs = partial
                .outputs
                .iter()
                .map(|expr| grouped.output(expr, group))
                .collect::<Option<Vec<_>>>()?;
            let order = order(&partial.sort, |expr| grouped.output(expr, group))?;
            (grouped.kind(), outputs, order)
        }
    };
    Some(NativePlan {
        query: NativeQuery {
            source: partial.source,
            intervals: times,
            virtual_columns: columns.made,
            filter,
            kind,
            order,
            limit: partial.limit,
            offset: partial.offset,
        },
        mappings: outputs
            .into_iter()
            .map(|(column, _)| column)
            .zip(names.iter().cloned())
            .collect(),
    })
}

fn order(
    sort: &[SortExpr],
    mut column: impl FnMut(&Expr) -> Option<(String, String)>,
) -> Option<Vec<NativeOrder>> {
    sort.iter()
        .map(|item| {
            let (name, native) = column(&item.expr)?;
            Some(NativeOrder {
                column: name,
                descending: !item.asc,
                numeric: matches!(native.as_str(), "LONG" | "DOUBLE" | "FLOAT"),
            })
        })
        .collect()
}

/// Conditions of `__time` as intervals, and the others.
fn time_intervals(filter: Vec<Expr>) -> (Vec<(i64, i64)>, Vec<Expr>) {
    let about_time = |condition: &Expr| match condition {
        Expr::BinaryExpr(binary) => {
            let sides = [binary.left.as_ref(), binary.right.as_ref()];
            sides.iter().any(|side| plain(side) == Some("__time"))
                && sides.iter().any(|side| side.column_refs().is_empty())
                && binary.op != Operator::NotEq
        }
        _ => false,
    };
    let (times, others): (Vec<Expr>, Vec<Expr>) = filter.into_iter().partition(about_time);
    if times.is_empty() {
        return (Vec::new(), others);
    }
    let found = intervals::of_filters(&times);
    if found.is_empty() {
        // Not understood: they stay conditions.
        return (found, times.into_iter().chain(others).collect());
    }
    (found, others)
}

/// A query without input: its rows are worked out and named as the statement names them.
fn finish_inline(partial: &Partial, rows: &[Vec<Expr>], names: &[String]) -> Option<NativePlan> {
    if partial.group.is_some() || !partial.sort.is_empty() || !partial.filter.is_empty() && !rows.is_empty() {
        return None;
    }
    let types: Vec<String> = partial
        .outputs
        .iter()
        .map(|expr| type_of(expr, &partial.base))
        .collect::<Option<_>>()?;
    let values = rows.iter().map(|row| {
        let constants: Vec<(String, Expr)> = partial
            .base
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .zip(
                row.iter()
                    .map(|value| simplified(value.clone(), &DFSchema::empty())),
            )
            .collect();
        partial
            .outputs
            .iter()
            .map(
                |output| match with_constants(output, &constants, &DFSchema::empty()) {
                    Expr::Literal(value, _) => json_literal(&value),
                    _ => None,
                },
            )
            .collect::<Option<Vec<_>>>()
    });
    let columns: Vec<(String, String)> = names.iter().cloned().zip(types).collect();
    Some(NativePlan {
        query: NativeQuery {
            source: NativeSource::Inline {
                columns: columns.clone(),
                rows: values.collect::<Option<_>>()?,
            },
            intervals: Vec::new(),
            virtual_columns: Vec::new(),
            filter: None,
            kind: NativeKind::Scan { columns },
            order: Vec::new(),
            limit: partial.limit,
            offset: partial.offset,
        },
        mappings: names.iter().map(|name| (name.clone(), name.clone())).collect(),
    })
}
