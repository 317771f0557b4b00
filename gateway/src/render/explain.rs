//! EXPLAIN PLAN FOR.

use sarsen_kernel::query::QueryKind;
use sarsen_planner::{Action, Explain, Planned, ResourceKind};
use serde_json::{Map, Value, json};

use super::payload;
use super::stages::granularity;

/// The row of an EXPLAIN: three columns of JSON text. `context` is the request's.
pub fn explain(planned: &Planned, explain: &Explain, context: &Map<String, Value>, query_id: &str) -> Value {
    let mut context = payload::sql_context(planned, context, query_id);
    context.sort_keys();
    let mut query = payload::query(planned, &context);
    if let Some(Value::Object(context)) = query.get_mut("context") {
        // EXPLAIN shows the query before it is prepared to run.
        context.retain(|key, _| key != "rowBasedFrameType");
    }
    let plan = json!([{
        "query": query,
        "signature": payload::signature(planned),
        "columnMappings": payload::column_mappings(planned),
    }]);
    json!([{
        "PLAN": plan.to_string(),
        "RESOURCES": resources(planned).to_string(),
        "ATTRIBUTES": attributes(planned, explain).to_string(),
    }])
}

/// What the statement reads and writes, by name.
fn resources(planned: &Planned) -> Value {
    let mut named: Vec<(&str, &str)> = planned
        .resources
        .iter()
        .map(|resource| match (resource.kind, resource.action) {
            (ResourceKind::Datasource, _) => (resource.name.as_str(), "DATASOURCE"),
            (ResourceKind::External, Action::Read) => ("EXTERNAL", "EXTERNAL"),
            (ResourceKind::External, Action::Write) => (resource.name.as_str(), "EXTERNAL"),
        })
        .collect();
    named.sort_unstable();
    named.dedup();
    named
        .into_iter()
        .map(|(name, kind)| json!({ "name": name, "type": kind }))
        .collect()
}

fn attributes(planned: &Planned, explain: &Explain) -> Value {
    let mut attributes = Map::from_iter([("statementType".to_owned(), json!(explain.statement_type))]);
    if let QueryKind::Ingest(target) = &planned.definition.kind {
        attributes.insert("targetDataSource".to_owned(), json!(target.datasource));
        attributes.insert(
            "partitionedBy".to_owned(),
            granularity(&target.segment_granularity),
        );
        if !explain.clustered_by.is_empty() {
            attributes.insert("clusteredBy".to_owned(), json!(explain.clustered_by));
        }
        if let Some(intervals) = &target.replace_intervals {
            attributes.insert(
                "replaceTimeChunks".to_owned(),
                json!(payload::replaced(intervals)),
            );
        }
    }
    if let QueryKind::Export(_) = &planned.definition.kind {
        attributes.insert("targetDataSource".to_owned(), json!("external"));
    }
    Value::Object(attributes)
}
