//! Joins of a native query (Druid: querying/datasource.md#join).

use arrow::datatypes::Schema;
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::logical_expr::{Expr, Join, Operator};

use super::build::{Partial, is_bare, nested, read};
use super::columns::plain;
use super::expression::text;
use super::{Native, NativeJoin, NativeJoinType, NativeSource};

/// Both sides as one source, whose right columns have a prefix. The right side is a query; so is the left one of a
/// sort-merge join, and one that is more than a table.
pub fn joined(join: &Join, options: Native) -> Option<Partial> {
    let kind = match join.join_type {
        JoinType::Inner => NativeJoinType::Inner,
        JoinType::Left => NativeJoinType::Left,
        JoinType::Right => NativeJoinType::Right,
        JoinType::Full => NativeJoinType::Full,
        _ => return None,
    };
    let left = read(&join.left, options)?;
    let left = if is_bare(&left) && !options.sort_merge_join {
        left
    } else {
        nested(left)?
    };
    let right = nested(read(&join.right, options)?)?;
    let prefix = unused_prefix(&left.base);
    let right_column = |name: &str| Column::new_unqualified(format!("{prefix}{name}"));

    let mut outputs = left.outputs.clone();
    for output in &right.outputs {
        outputs.push(Expr::Column(right_column(plain(output)?)));
    }
    let fields = left.base.fields().iter().map(|field| field.as_ref().clone());
    let right_fields = right.base.fields().iter().map(|field| {
        let name = format!("{prefix}{}", field.name());
        field.as_ref().clone().with_name(name)
    });
    let base = DFSchema::try_from(Schema::new(fields.chain(right_fields).collect::<Vec<_>>())).ok()?;

    let mut both = Partial::over(left.source.clone(), None, &base);
    both.outputs = outputs;
    let mut conditions = Vec::new();
    for (left_key, right_key) in &join.on {
        let key = |side: &Expr| text(&both.bound(side, &join.schema)?, &both.base);
        conditions.push(format!("({} == {})", key(left_key)?, key(right_key)?));
    }
    if let Some(filter) = &join.filter {
        for condition in super::filter::conjuncts(&both.bound(filter, &join.schema)?) {
            conditions.push(condition_text(&condition, &both.base)?);
        }
    }
    let condition = match conditions.as_slice() {
        [] => "1".to_owned(),
        [only] => only.clone(),
        several => format!("({})", several.join(" && ")),
    };
    both.source = NativeSource::Join(Box::new(NativeJoin {
        left: left.source,
        right: right.source,
        prefix,
        condition,
        kind,
        sort_merge: options.sort_merge_join,
    }));
    Some(both)
}

/// A condition; the left side's column comes first in an equality.
fn condition_text(condition: &Expr, schema: &DFSchema) -> Option<String> {
    if let Expr::BinaryExpr(binary) = condition
        && binary.op == Operator::Eq
        && let (Some(left), Some(right)) = (plain(&binary.left), plain(&binary.right))
    {
        let position = |name: &str| schema.fields().iter().position(|field| field.name() == name);
        let (first, second) = if position(left) <= position(right) {
            (&binary.left, &binary.right)
        } else {
            (&binary.right, &binary.left)
        };
        return Some(format!("({} == {})", text(first, schema)?, text(second, schema)?));
    }
    text(condition, schema)
}

/// `j0.`, with underscores before it until no column begins with it.
fn unused_prefix(schema: &DFSchema) -> String {
    let mut prefix = "j0.".to_owned();
    while schema
        .fields()
        .iter()
        .any(|field| field.name().starts_with(&prefix))
    {
        prefix.insert(0, '_');
    }
    prefix
}
