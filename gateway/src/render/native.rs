//! Druid's native query as JSON.

use sarsen_planner::native::{
    Aggregation, Dimension, Fold, NativeFilter, NativeJoin, NativeJoinType, NativeKind, NativeOrder,
    NativePlan, NativeQuery, NativeSource, PostAggregation, VirtualColumn,
};
use serde_json::{Map, Value, json};

use super::stages::{data_source, intervals_json, period_granularity};

/// Version of the row frames that Druid's workers exchange; clients see it in the context of the query.
const ROW_FRAME_TYPE: u64 = 19;

/// The query with the context that Druid would give it.
pub fn query(plan: &NativePlan, context: &Map<String, Value>) -> Value {
    let mut context = context.clone();
    context.insert("rowBasedFrameType".to_owned(), json!(ROW_FRAME_TYPE));
    if let NativeKind::GroupBy(grouping) = &plan.query.kind
        && let Some(time) = &grouping.time
    {
        context.insert("timestampResultField".to_owned(), json!(time.output));
        context.insert(
            "timestampResultFieldGranularity".to_owned(),
            json!(period_granularity(&time.period, &time.zone).to_string()),
        );
        context.insert(
            "timestampResultFieldInOriginalDimensions".to_owned(),
            json!(time.position),
        );
    }
    native_query(&plan.query, &context)
}

/// Keys in Druid's order: EXPLAIN shows them as text.
fn native_query(query: &NativeQuery, context: &Map<String, Value>) -> Value {
    let mut rendered = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            rendered.insert(name.to_owned(), value);
        }
    };
    let kind = match query.kind {
        NativeKind::Scan { .. } => "scan",
        NativeKind::GroupBy(_) => "groupBy",
    };
    put("queryType", Some(json!(kind)));
    put("dataSource", Some(source(&query.source, context)));
    put(
        "intervals",
        Some(json!({ "type": "intervals", "intervals": intervals_json(&query.intervals) })),
    );
    put("virtualColumns", virtual_columns(&query.virtual_columns));
    let filter = query.filter.as_ref().map(self::filter);
    let all = Some(json!({ "type": "all" }));
    match &query.kind {
        NativeKind::Scan { columns } => {
            put("resultFormat", Some(json!("compactedList")));
            put("limit", query.limit.map(|limit| json!(limit)));
            put("offset", query.offset.map(|offset| json!(offset)));
            put("orderBy", order_by(&query.order));
            put("filter", filter);
            put(
                "columns",
                Some(columns.iter().map(|(name, _)| json!(name)).collect()),
            );
            put("context", Some(json!(context)));
            put(
                "columnTypes",
                Some(columns.iter().map(|(_, kind)| json!(kind)).collect()),
            );
            put("granularity", all);
            put("legacy", Some(json!(false)));
        }
        NativeKind::GroupBy(grouping) => {
            put("filter", filter);
            put("granularity", all);
            put(
                "dimensions",
                Some(grouping.dimensions.iter().map(dimension).collect()),
            );
            let some = |values: Vec<Value>| (!values.is_empty()).then_some(Value::Array(values));
            put(
                "aggregations",
                some(grouping.aggregations.iter().map(aggregation).collect()),
            );
            put(
                "postAggregations",
                some(grouping.post_aggregations.iter().map(post_aggregation).collect()),
            );
            let having = grouping
                .having
                .as_ref()
                .map(|having| json!({ "type": "filter", "filter": self::filter(having), "finalize": true }));
            put("having", having);
            put("limitSpec", Some(limit_spec(query)));
            put("context", Some(json!(context)));
        }
    }
    Value::Object(rendered)
}

/// Druid keeps virtual columns by name.
fn virtual_columns(columns: &[VirtualColumn]) -> Option<Value> {
    let mut columns: Vec<&VirtualColumn> = columns.iter().collect();
    columns.sort_by(|left, right| left.name.cmp(&right.name));
    (!columns.is_empty()).then(|| columns.into_iter().map(virtual_column).collect())
}

fn order_by(order: &[NativeOrder]) -> Option<Value> {
    let items = order.iter().map(|item| {
        let direction = if item.descending {
            "descending"
        } else {
            "ascending"
        };
        json!({ "columnName": item.column, "order": direction })
    });
    (!order.is_empty()).then(|| items.collect())
}

fn source(source: &NativeSource, context: &Map<String, Value>) -> Value {
    match source {
        NativeSource::Table(name) => json!({ "type": "table", "name": name }),
        NativeSource::Union(names) => {
            let tables = names.iter().map(|name| json!({ "type": "table", "name": name }));
            json!({ "type": "union", "dataSources": tables.collect::<Vec<_>>() })
        }
        NativeSource::External(descriptor) => data_source(descriptor),
        NativeSource::Inline { columns, rows } => json!({
            "type": "inline",
            "columnNames": columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            "columnTypes": columns.iter().map(|(_, kind)| kind.as_str()).collect::<Vec<_>>(),
            "rows": rows,
        }),
        NativeSource::Join(join) => self::join(join, context),
        NativeSource::Query(query) => {
            let mut context = context.clone();
            context.retain(|key, _| key != "rowBasedFrameType" && !key.starts_with("timestampResultField"));
            json!({ "type": "query", "query": native_query(query, &context) })
        }
    }
}

fn join(join: &NativeJoin, context: &Map<String, Value>) -> Value {
    let kind = match join.kind {
        NativeJoinType::Inner => "INNER",
        NativeJoinType::Left => "LEFT",
        NativeJoinType::Right => "RIGHT",
        NativeJoinType::Full => "FULL",
    };
    let mut rendered = Map::from_iter([
        ("type".to_owned(), json!("join")),
        ("left".to_owned(), source(&join.left, context)),
        ("right".to_owned(), source(&join.right, context)),
        ("rightPrefix".to_owned(), json!(join.prefix)),
        ("condition".to_owned(), json!(join.condition)),
        ("joinType".to_owned(), json!(kind)),
    ]);
    if join.sort_merge {
        rendered.insert("joinAlgorithm".to_owned(), json!("sortMerge"));
    }
    Value::Object(rendered)
}

fn virtual_column(column: &VirtualColumn) -> Value {
    json!({
        "type": "expression", "name": column.name, "expression": column.expression, "outputType": column.native_type
    })
}

fn dimension(dimension: &Dimension) -> Value {
    json!({
        "type": "default", "dimension": dimension.column, "outputName": dimension.output,
        "outputType": dimension.native_type
    })
}

fn aggregation(aggregation: &Aggregation) -> Value {
    match aggregation {
        Aggregation::Count { name } => json!({ "type": "count", "name": name }),
        Aggregation::Fold {
            name,
            fold,
            native_type,
            column,
        } => {
            let fold = match fold {
                Fold::Sum => "Sum",
                Fold::Min => "Min",
                Fold::Max => "Max",
            };
            json!({ "type": format!("{}{fold}", native_type.to_lowercase()), "name": name, "fieldName": column })
        }
        Aggregation::ApproximateDistinct {
            name,
            column,
            native_type,
        } => json!({
            "type": "cardinality", "name": name,
            "fields": [{ "type": "default", "dimension": column, "outputName": column, "outputType": native_type }],
            "byRow": false, "round": true
        }),
        Aggregation::Filtered {
            name,
            aggregation,
            filter,
        } => json!({
            "type": "filtered", "aggregator": self::aggregation(aggregation), "filter": self::filter(filter),
            "name": name
        }),
    }
}

fn post_aggregation(post: &PostAggregation) -> Value {
    match post {
        PostAggregation::Expression(column) => virtual_column(column),
        PostAggregation::Quotient {
            name,
            dividend,
            divisor,
        } => json!({
            "type": "arithmetic", "name": name, "fn": "quotient",
            "fields": [
                { "type": "fieldAccess", "fieldName": dividend }, { "type": "fieldAccess", "fieldName": divisor }
            ]
        }),
    }
}

fn limit_spec(query: &NativeQuery) -> Value {
    if query.order.is_empty() && query.limit.is_none() && query.offset.is_none() {
        return json!({ "type": "NoopLimitSpec" });
    }
    let column = |item: &NativeOrder| {
        json!({
            "dimension": item.column,
            "direction": if item.descending { "descending" } else { "ascending" },
            "dimensionOrder": { "type": if item.numeric { "numeric" } else { "lexicographic" } },
        })
    };
    let mut spec = Map::from_iter([
        ("type".to_owned(), json!("default")),
        ("columns".to_owned(), query.order.iter().map(column).collect()),
    ]);
    if let Some(offset) = query.offset {
        spec.insert("offset".to_owned(), json!(offset));
    }
    if let Some(limit) = query.limit {
        spec.insert("limit".to_owned(), json!(limit));
    }
    Value::Object(spec)
}

fn filter(filter: &NativeFilter) -> Value {
    let fields = |filters: &[NativeFilter]| filters.iter().map(self::filter).collect::<Vec<_>>();
    match filter {
        NativeFilter::And(filters) => json!({ "type": "and", "fields": fields(filters) }),
        NativeFilter::Or(filters) => json!({ "type": "or", "fields": fields(filters) }),
        NativeFilter::Not(inner) => json!({ "type": "not", "field": self::filter(inner) }),
        NativeFilter::Null { column } => json!({ "type": "null", "column": column }),
        NativeFilter::Equals { column, value } => json!({
            "type": "equals", "column": column, "matchValueType": value.native_type, "matchValue": value.value
        }),
        NativeFilter::Range {
            column,
            native_type,
            lower,
            upper,
        } => {
            let mut rendered = Map::from_iter([
                ("type".to_owned(), json!("range")),
                ("column".to_owned(), json!(column)),
                ("matchValueType".to_owned(), json!(native_type)),
            ]);
            for (name, open_name, bound) in [("lower", "lowerOpen", lower), ("upper", "upperOpen", upper)] {
                if let Some((value, open)) = bound {
                    rendered.insert(name.to_owned(), value.clone());
                    if *open {
                        rendered.insert(open_name.to_owned(), json!(true));
                    }
                }
            }
            Value::Object(rendered)
        }
        NativeFilter::Like {
            column,
            pattern,
            escape,
        } => json!({
            "type": "like", "dimension": column, "pattern": pattern, "escape": escape, "extractionFn": null
        }),
        NativeFilter::Expression(expression) => json!({ "type": "expression", "expression": expression }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_bound_is_marked_and_a_closed_one_is_not() {
        let range = NativeFilter::Range {
            column: "added".to_owned(),
            native_type: "LONG".to_owned(),
            lower: Some((json!(100), true)),
            upper: Some((json!(200), false)),
        };
        assert_eq!(
            filter(&range),
            json!({
                "type": "range", "column": "added", "matchValueType": "LONG",
                "lower": 100, "lowerOpen": true, "upper": 200
            })
        );
    }
}
