//! GROUP BY and aggregates of a native query.

use arrow::datatypes::{Field, Schema};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, ExprSchemable};

use super::build::{Partial, nested, simplified};
use super::columns::{Columns, plain, unused_prefix};
use super::expression::{text, type_of};
use super::filter::{all, conjuncts, filter};
use super::{
    Aggregation, Dimension, Fold, Grouping, NativeKind, PostAggregation, TimeDimension, VirtualColumn,
};

/// A grouping whose inputs are over the query's base columns.
pub struct Group {
    keys: Vec<Expr>,
    folds: Vec<Expr>,
    /// The dimensions and aggregates as columns: `d0`, …, `a0`, ….
    pub schema: DFSchema,
    /// Over `schema`.
    pub having: Vec<Expr>,
}

/// Makes `partial` a grouping; its outputs are the keys, then the aggregates.
pub fn group(partial: &mut Partial, keys: Vec<Expr>, folds: Vec<Expr>) -> Option<()> {
    let field = |expr: &Expr, name: String| -> Option<Field> {
        let (_, field) = expr.to_field(&partial.base).ok()?;
        Some(field.as_ref().clone().with_name(name))
    };
    let (dimension, aggregate) = (
        unused_prefix("d", &partial.base),
        unused_prefix("a", &partial.base),
    );
    let mut fields = Vec::new();
    for (position, key) in keys.iter().enumerate() {
        if matches!(key, Expr::GroupingSet(_)) {
            return None;
        }
        fields.push(field(key, format!("{dimension}{position}"))?);
    }
    for (position, fold) in folds.iter().enumerate() {
        fields.push(field(fold, format!("{aggregate}{position}"))?);
    }
    partial.outputs = fields
        .iter()
        .map(|field| Expr::Column(Column::new_unqualified(field.name())))
        .collect();
    partial.group = Some(Group {
        keys,
        folds,
        schema: DFSchema::try_from(Schema::new(fields)).ok()?,
        having: Vec::new(),
    });
    Some(())
}

/// Whether an aggregate counts distinct values.
pub fn counts_distinct(fold: &Expr) -> bool {
    let Expr::AggregateFunction(function) = fold else {
        return false;
    };
    function.func.name() == "count" && function.params.distinct
}

/// A grouping that counts distinct values of one column exactly, and nothing else: groups of keys and values, and then
/// of keys, where each value counts that is not null.
pub fn exact_distinct(mut partial: Partial, keys: Vec<Expr>, folds: Vec<Expr>) -> Option<Partial> {
    let [Expr::AggregateFunction(distinct)] = folds.as_slice() else {
        return None;
    };
    let ([value], None) = (distinct.params.args.as_slice(), &distinct.params.filter) else {
        return None;
    };
    let count = keys.len();
    let inner: Vec<Expr> = keys.into_iter().chain([value.clone()]).collect();
    group(&mut partial, inner, Vec::new())?;
    let mut outer = nested(partial)?;
    let mut keys = outer.outputs.clone();
    let value = (keys.len() > count).then(|| keys.remove(count))?;
    let mut counted = distinct.clone();
    counted.params.distinct = false;
    counted.params.args = vec![value];
    group(&mut outer, keys, vec![Expr::AggregateFunction(counted)])?;
    Some(outer)
}

/// A grouping with native names.
pub struct Grouped {
    grouping: Grouping,
    posts: usize,
}

impl Grouped {
    /// Name and native type of the column that holds `expr`, which is over the group's columns.
    pub fn output(&mut self, expr: &Expr, group: &Group) -> Option<(String, String)> {
        let native = type_of(expr, &group.schema)?;
        if let Some(name) = plain(expr) {
            return Some((name.to_owned(), native));
        }
        let expression = text(expr, &group.schema)?;
        for known in &self.grouping.post_aggregations {
            if let PostAggregation::Expression(known) = known
                && known.expression == expression
            {
                return Some((known.name.clone(), native));
            }
        }
        let name = format!("p{}", self.posts);
        self.posts += 1;
        self.grouping
            .post_aggregations
            .push(PostAggregation::Expression(VirtualColumn {
                name: name.clone(),
                expression,
                native_type: native.clone(),
            }));
        Some((name, native))
    }

    pub fn kind(self) -> NativeKind {
        NativeKind::GroupBy(Box::new(self.grouping))
    }
}

/// Names the inputs of a group among `columns`; `replace` puts constants for columns that the filter holds to one value.
pub fn finish(group: &Group, columns: &mut Columns<'_>, replace: &dyn Fn(&Expr) -> Expr) -> Option<Grouped> {
    let mut grouping = Grouping {
        dimensions: Vec::new(),
        aggregations: Vec::new(),
        post_aggregations: Vec::new(),
        having: None,
        time: None,
    };
    let names: Vec<&String> = group.schema.fields().iter().map(|field| field.name()).collect();
    for (position, (key, output)) in group.keys.iter().zip(&names).enumerate() {
        let key = replace(key);
        let (column, native_type) = columns.column(&key)?;
        if grouping.time.is_none() {
            grouping.time = time_floor(&key, output, position);
        }
        grouping.dimensions.push(Dimension {
            column,
            output: (*output).clone(),
            native_type,
        });
    }
    for (fold, name) in group.folds.iter().zip(names.iter().skip(group.keys.len())) {
        aggregate(fold, name, columns, &mut grouping)?;
    }
    let mut over_group = Columns::new(&group.schema);
    grouping.having = all(&group.having, &mut over_group)?;
    // A condition on an expression of aggregates needs a virtual column, which HAVING has not.
    over_group
        .made
        .is_empty()
        .then_some(Grouped { grouping, posts: 0 })
}

fn time_floor(key: &Expr, output: &str, position: usize) -> Option<TimeDimension> {
    let Expr::ScalarFunction(function) = key else {
        return None;
    };
    let is_floor =
        function.func.name() == "time_floor" && function.args.first().and_then(plain) == Some("__time");
    let string = |position: usize| match function.args.get(position) {
        Some(Expr::Literal(value, _)) => value.try_as_str().flatten().map(str::to_owned),
        _ => None,
    };
    is_floor.then_some(TimeDimension {
        output: output.to_owned(),
        position,
        period: string(1)?,
        zone: string(3).unwrap_or_else(|| "UTC".to_owned()),
    })
}

fn aggregate(fold: &Expr, name: &str, columns: &mut Columns<'_>, grouping: &mut Grouping) -> Option<()> {
    let Expr::AggregateFunction(function) = fold else {
        return None;
    };
    let condition = match &function.params.filter {
        Some(condition) => {
            let condition = simplified(condition.as_ref().clone(), columns.schema);
            all(&conjuncts(&condition), columns)?
        }
        None => None,
    };
    let filtered = |name: &str, aggregation: Aggregation| match &condition {
        Some(condition) => Aggregation::Filtered {
            name: name.to_owned(),
            aggregation: Box::new(aggregation),
            filter: condition.clone(),
        },
        None => aggregation,
    };
    let argument = function.params.args.first();
    match (function.func.name(), function.params.distinct) {
        ("count", false) => {
            let counted = count(name, function, columns)?;
            grouping.aggregations.push(filtered(name, counted));
        }
        ("count", true) | ("approx_count_distinct" | "approx_count_distinct_builtin", _) => {
            let (column, native_type) = columns.column(argument?)?;
            let distinct = Aggregation::ApproximateDistinct {
                name: name.to_owned(),
                column,
                native_type,
            };
            grouping.aggregations.push(filtered(name, distinct));
        }
        (function_name @ ("sum" | "min" | "max"), false) => {
            let kind = match function_name {
                "sum" => Fold::Sum,
                "min" => Fold::Min,
                _ => Fold::Max,
            };
            let folded = number_fold(name, kind, argument?, columns)?;
            grouping.aggregations.push(filtered(name, folded));
        }
        ("avg", false) => {
            let (dividend, divisor) = (format!("{name}:sum"), format!("{name}:count"));
            let argument = argument?;
            let mut sum = number_fold(&dividend, Fold::Sum, argument, columns)?;
            if let Aggregation::Fold { native_type, .. } = &mut sum {
                "DOUBLE".clone_into(native_type);
            }
            let counted = count(&divisor, function, columns)?;
            grouping.aggregations.push(filtered(&dividend, sum));
            grouping.aggregations.push(filtered(&divisor, counted));
            grouping.post_aggregations.push(PostAggregation::Quotient {
                name: name.to_owned(),
                dividend,
                divisor,
            });
        }
        _ => return None,
    }
    Some(())
}

/// COUNT(*), or COUNT(x) as a count of the rows where `x` is not null.
fn count(name: &str, function: &AggregateFunction, columns: &mut Columns<'_>) -> Option<Aggregation> {
    let counted = Aggregation::Count {
        name: name.to_owned(),
    };
    match function.params.args.as_slice() {
        [] => Some(counted),
        [Expr::Literal(value, _)] if !value.is_null() || *value == ScalarValue::Null => Some(counted),
        [argument] => Some(Aggregation::Filtered {
            name: name.to_owned(),
            aggregation: Box::new(counted),
            filter: filter(&Expr::IsNotNull(Box::new(argument.clone())), columns)?,
        }),
        _ => None,
    }
}

fn number_fold(name: &str, fold: Fold, argument: &Expr, columns: &mut Columns<'_>) -> Option<Aggregation> {
    let (column, native_type) = columns.column(argument)?;
    matches!(native_type.as_str(), "LONG" | "DOUBLE" | "FLOAT").then_some(Aggregation::Fold {
        name: name.to_owned(),
        fold,
        native_type,
        column,
    })
}
