//! EXPLAIN PLAN FOR.

use sarsen_kernel::query::{QueryDefinition, StageInput};
use serde_json::json;

use crate::request::{Action, Explain, ResourceAction, ResourceKind};
use crate::statement::{Body, Statement};

/// The three columns of an EXPLAIN: the stages, the resources they need, the statement's attributes.
pub fn explain(statement: &Statement, definition: &QueryDefinition, resources: &[ResourceAction]) -> Explain {
    let stages: Vec<_> = definition
        .stages
        .iter()
        .map(|stage| {
            let inputs: Vec<_> = stage
                .inputs
                .iter()
                .map(|input| match input {
                    StageInput::Splits { .. } => json!("splits"),
                    StageInput::Stage { candidates, .. } => json!({ "stages": candidates }),
                })
                .collect();
            json!({
                "stageNumber": stage.number,
                "processor": format!("{:?}", stage.processor.kind),
                "input": inputs,
                "shuffle": stage.shuffle.as_ref().map(|shuffle| format!("{:?}", shuffle.kind)),
                "signature": stage
                    .signature
                    .iter()
                    .map(|column| json!({ "name": column.name, "type": column.native_type }))
                    .collect::<Vec<_>>(),
                "plan": stage.processor.plan,
            })
        })
        .collect();
    let names: Vec<_> = resources
        .iter()
        .map(|resource| {
            let kind = match resource.kind {
                ResourceKind::Datasource => "DATASOURCE",
                ResourceKind::External => "EXTERNAL",
            };
            json!({ "name": resource.name, "type": kind })
        })
        .collect();
    let mut attributes = json!({ "statementType": "SELECT" });
    if let Body::Ingest(ingest) = &statement.body {
        let target = resources.iter().find(|resource| resource.action == Action::Write);
        attributes = json!({
            "statementType": ingest.operation(),
            "targetDataSource": target.map(|target| target.name.clone()),
            "partitionedBy": ingest.partitioned_by.describe(),
            "clusteredBy": ingest.clustered_by.iter().map(ToString::to_string).collect::<Vec<_>>(),
        });
    }
    Explain {
        plan_json: json!(stages).to_string(),
        resources_json: json!(names).to_string(),
        attributes_json: attributes.to_string(),
    }
}
