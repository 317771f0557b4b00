//! Plans as text, and fragments that survive the wire.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod grammar;
mod inferred;
mod mistakes;
mod native;
mod own;
mod queries;
mod sharding;

use std::sync::Arc;

use datafusion::physical_plan::displayable;
use sarsen_engine::fragment;
use sarsen_engine::runtime::reading_context;
use sarsen_kernel::query::{QueryDefinition, StageInput};
use sarsen_planner::{PlanRequest, Planned, TableSchema, plan};
use serde_json::Map;

fn table(name: &str, columns: &[(&str, &str)]) -> TableSchema {
    let columns = columns
        .iter()
        .map(|(name, native)| ((*name).to_owned(), (*native).to_owned()));
    TableSchema {
        name: name.to_owned(),
        columns: columns.collect(),
        rows: 1_000_000,
        bytes: 100_000_000,
    }
}

fn request(sql: &str) -> PlanRequest {
    PlanRequest {
        query_id: "q".to_owned(),
        sql: sql.to_owned(),
        context: Map::from_iter([("maxNumTasks".to_owned(), 4.into())]),
        parameters: Vec::new(),
        lookups: Default::default(),
        statement_time_ms: 1_700_000_000_000,
        tables: vec![
            table(
                "events",
                &[
                    ("__time", "LONG"),
                    ("country", "STRING"),
                    ("city", "STRING"),
                    ("n", "LONG"),
                    ("x", "DOUBLE"),
                ],
            ),
            table(
                "users",
                &[
                    ("__time", "LONG"),
                    ("id", "LONG"),
                    ("country", "STRING"),
                    ("name", "STRING"),
                ],
            ),
            table(
                "posts",
                &[
                    ("__time", "LONG"),
                    ("author", "STRING"),
                    ("tags", "STRING_MV"),
                    ("langs", "STRING_MV"),
                ],
            ),
        ],
        extern_allow: vec!["/".to_owned()],
        inferred: Vec::new(),
        synchronous: false,
    }
}

fn text(definition: &QueryDefinition) -> String {
    let mut lines = Vec::new();
    for (number, choice) in definition.choices.iter().enumerate() {
        let alternatives: Vec<String> = choice
            .alternatives
            .iter()
            .map(|alternative| match alternative.max_bytes {
                Some(bytes) => format!("{} up to {bytes} bytes", alternative.name),
                None => alternative.name.clone(),
            })
            .collect();
        let measured = choice.measured_stage;
        lines.push(format!(
            "choice {number} by stage {measured}: {}",
            alternatives.join(", ")
        ));
    }
    for stage in &definition.stages {
        let inputs: Vec<String> = stage
            .inputs
            .iter()
            .map(|input| match input {
                StageInput::Splits { .. } => "outside".to_owned(),
                StageInput::Stage { candidates, delivery } => {
                    let stages: Vec<String> = candidates.iter().map(ToString::to_string).collect();
                    format!("stage {} ({delivery:?})", stages.join("|"))
                }
            })
            .collect();
        let shuffle = stage.shuffle.as_ref().map_or("segments".to_owned(), |shuffle| {
            let key: Vec<String> = shuffle
                .key
                .iter()
                .map(|key| format!("{} {:?}", key.name, key.order))
                .collect();
            format!("{:?} [{}]", shuffle.kind, key.join(", "))
        });
        lines.push(format!(
            "stage {}{} {:?} from [{}] to {shuffle}, at most {} workers{}",
            stage.number,
            stage.alternative.as_ref().map_or(String::new(), |of| {
                format!(" (choice {}, alternatives {:?})", of.choice, of.alternatives)
            }),
            stage.processor.kind,
            inputs.join(", "),
            stage.max_worker_count,
            if stage.deterministic { "" } else { ", unstable" }
        ));
        lines.extend(stage.processor.plan.lines().map(|line| format!("    {line}")));
    }
    lines.join("\n")
}

async fn planned(sql: &str) -> Planned {
    plan(&request(sql))
        .await
        .unwrap_or_else(|error| panic!("{sql}\n{error}"))
}

#[tokio::test]
async fn plans_are_as_they_were() {
    for (name, sql) in queries::QUERIES.iter().chain(own::QUERIES) {
        let planned = planned(sql).await;
        insta::with_settings!({ description => *sql, omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(*name, text(&planned.definition));
        });
    }
}

#[tokio::test]
async fn fragments_survive_encoding_and_decoding() {
    let context = reading_context(Arc::new(object_store::memory::InMemory::new())).unwrap();
    for (_, sql) in queries::QUERIES.iter().chain(own::QUERIES) {
        for stage in planned(sql).await.definition.stages {
            let decoded =
                fragment::decode(&stage.fragment, &context).unwrap_or_else(|error| panic!("{sql}\n{error}"));
            assert_eq!(
                displayable(decoded.as_ref()).indent(false).to_string(),
                stage.processor.plan,
                "{sql}"
            );
            assert_eq!(fragment::encode(&decoded).unwrap(), stage.fragment, "{sql}");
        }
    }
}
