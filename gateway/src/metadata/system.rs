//! `sys`: segments, servers and tasks.

use sarsen_proto::v1;
use serde_json::{Value, json};

use super::{Definition, text_or_null};
use crate::auth::{Access, Identity, Resource};
use crate::error::ApiError;
use crate::render::iso;
use crate::render::status::{self, place};
use crate::routes::coordinator::{Usage, data_segment, each_segment};
use crate::service::App;

const SCHEMA: &str = "sys";

pub(super) const TABLES: &[Definition] = &[
    Definition {
        schema: SCHEMA,
        name: "segments",
        columns: &[
            ("segment_id", "STRING"),
            ("datasource", "STRING"),
            ("start", "STRING"),
            ("end", "STRING"),
            ("size", "LONG"),
            ("version", "STRING"),
            ("partition_num", "LONG"),
            ("num_replicas", "LONG"),
            ("num_rows", "LONG"),
            ("is_active", "LONG"),
            ("is_published", "LONG"),
            ("is_available", "LONG"),
            ("is_realtime", "LONG"),
            ("is_overshadowed", "LONG"),
            ("shard_spec", "STRING"),
            ("dimensions", "STRING"),
            ("metrics", "STRING"),
            ("projections", "STRING"),
            ("last_compaction_state", "STRING"),
            ("replication_factor", "LONG"),
        ],
    },
    Definition {
        schema: SCHEMA,
        name: "servers",
        columns: &[
            ("server", "STRING"),
            ("host", "STRING"),
            ("plaintext_port", "LONG"),
            ("tls_port", "LONG"),
            ("server_type", "STRING"),
            ("tier", "STRING"),
            ("curr_size", "LONG"),
            ("max_size", "LONG"),
            ("storage_size", "LONG"),
            ("is_leader", "LONG"),
            ("start_time", "STRING"),
            ("version", "STRING"),
            ("build_revision", "STRING"),
            ("labels", "STRING"),
            ("available_processors", "LONG"),
            ("total_memory", "LONG"),
        ],
    },
    Definition {
        schema: SCHEMA,
        name: "server_segments",
        columns: &[("server", "STRING"), ("segment_id", "STRING")],
    },
    Definition {
        schema: SCHEMA,
        name: "tasks",
        columns: &[
            ("task_id", "STRING"),
            ("group_id", "STRING"),
            ("type", "STRING"),
            ("datasource", "STRING"),
            ("created_time", "STRING"),
            ("queue_insertion_time", "STRING"),
            ("status", "STRING"),
            ("runner_status", "STRING"),
            ("duration", "LONG"),
            ("location", "STRING"),
            ("host", "STRING"),
            ("plaintext_port", "LONG"),
            ("tls_port", "LONG"),
            ("error_msg", "STRING"),
        ],
    },
    Definition {
        schema: SCHEMA,
        name: "supervisors",
        columns: &[
            ("supervisor_id", "STRING"),
            ("datasource", "STRING"),
            ("state", "STRING"),
            ("detailed_state", "STRING"),
            ("healthy", "LONG"),
            ("type", "STRING"),
            ("source", "STRING"),
            ("suspended", "LONG"),
            ("spec", "STRING"),
        ],
    },
    Definition {
        schema: SCHEMA,
        name: "server_properties",
        columns: &[
            ("server", "STRING"),
            ("service_name", "STRING"),
            ("node_roles", "STRING"),
            ("property", "STRING"),
            ("value", "STRING"),
            ("error_message", "STRING"),
        ],
    },
];

/// Rows of one of [`TABLES`], as `identity` may see them; `catalog` are the datasources to show.
pub(super) async fn rows(
    app: &App,
    identity: &Identity,
    catalog: &[v1::Table],
    table: &str,
) -> Result<Vec<Vec<Value>>, ApiError> {
    if matches!(table, "servers" | "server_segments" | "server_properties") {
        identity.may(&Resource::State, Access::Read)?;
    }
    match table {
        "segments" => {
            let segments = segments(app, catalog).await?;
            Ok(segments.iter().map(segment).collect())
        }
        "servers" => Ok(app.nodes().await?.iter().map(server).collect()),
        "server_segments" => server_segments(app, catalog).await,
        "tasks" => tasks(app, identity).await,
        "server_properties" => Ok(app.nodes().await?.iter().flat_map(properties).collect()),
        // There are no supervisors here.
        _ => Ok(Vec::new()),
    }
}

/// Payloads of the published segments of these datasources.
async fn segments(app: &App, catalog: &[v1::Table]) -> Result<Vec<Value>, ApiError> {
    let mut payloads = Vec::new();
    for table in catalog {
        let mut segments = each_segment(app, &table.datasource, Usage::Used);
        while let Some(segment) = segments.next().await? {
            payloads.push(data_segment(&segment)?);
        }
    }
    Ok(payloads)
}

/// A member of an object, or NULL.
fn field(object: &Value, name: &str) -> Value {
    object.get(name).cloned().unwrap_or_default()
}

fn segment(payload: &Value) -> Vec<Value> {
    let interval = field(payload, "interval");
    let interval = interval.as_str().unwrap_or_default();
    let (start, end) = interval.split_once('/').unwrap_or((interval, ""));
    let names = |name: &str| {
        let names = field(payload, name);
        let names = names.as_str().unwrap_or_default().split(',');
        let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
        json!(json!(names).to_string())
    };
    vec![
        field(payload, "identifier"),
        field(payload, "dataSource"),
        json!(start),
        json!(end),
        field(payload, "size"),
        field(payload, "version"),
        json!(
            field(&field(payload, "shardSpec"), "partitionNum")
                .as_i64()
                .unwrap_or(0)
        ),
        json!(1),
        json!(field(payload, "totalRows").as_i64().unwrap_or(0)),
        json!(1),
        json!(1),
        json!(1),
        json!(0),
        json!(0),
        json!(field(payload, "shardSpec").to_string()),
        names("dimensions"),
        names("metrics"),
        Value::Null,
        Value::Null,
        json!(1),
    ]
}

/// Host and ports of an address: plaintext, TLS; -1 for none.
fn host_and_ports(address: &str) -> (String, i64, i64) {
    let place = place(address);
    let (host, port) = place.rsplit_once(':').unwrap_or((place, ""));
    let port = port.parse().unwrap_or(-1);
    match address.starts_with("https://") {
        true => (host.to_owned(), -1, port),
        false => (host.to_owned(), port, -1),
    }
}

/// What Druid would call a node of that role: whoever runs tasks is an indexer.
fn server_type(role: v1::Role) -> &'static str {
    match role {
        v1::Role::Overlord => "overlord",
        v1::Role::Gateway => "broker",
        _ => "indexer",
    }
}

fn server(node: &v1::Node) -> Vec<Value> {
    let (host, plaintext, tls) = host_and_ports(&node.address);
    let is_leader = (node.role() == v1::Role::Overlord).then_some(1);
    vec![
        json!(place(&node.address)),
        json!(host),
        json!(plaintext),
        json!(tls),
        json!(server_type(node.role())),
        Value::Null,
        json!(0),
        json!(0),
        json!(0),
        json!(is_leader),
        Value::Null,
        json!(node.version),
        Value::Null,
        match node.labels.is_empty() {
            true => Value::Null,
            false => json!(json!(node.labels).to_string()),
        },
        Value::Null,
        Value::Null,
    ]
}

/// Any worker reads any segment out of deep storage: the first one stands for all.
async fn server_segments(app: &App, catalog: &[v1::Table]) -> Result<Vec<Vec<Value>>, ApiError> {
    let nodes = app.nodes().await?;
    let workers = nodes.iter().filter(|node| node.role() == v1::Role::Worker);
    let Some(worker) = workers.map(|node| place(&node.address)).min() else {
        return Ok(Vec::new());
    };
    let segments = segments(app, catalog).await?;
    Ok(segments
        .iter()
        .map(|segment| vec![json!(worker), field(segment, "identifier")])
        .collect())
}

fn properties(node: &v1::Node) -> Vec<Vec<Value>> {
    let server_type = server_type(node.role());
    let mut properties = vec![
        ("sarsen.version".to_owned(), node.version.clone()),
        ("sarsen.slots".to_owned(), node.slots.to_string()),
    ];
    let labels = node.labels.iter();
    properties.extend(labels.map(|(key, value)| (format!("sarsen.label.{key}"), value.clone())));
    properties
        .into_iter()
        .map(|(property, value)| {
            vec![
                json!(place(&node.address)),
                json!(format!("sarsen/{server_type}")),
                json!(format!("[{server_type}]")),
                json!(property),
                json!(value),
                Value::Null,
            ]
        })
        .collect()
}

async fn tasks(app: &App, identity: &Identity) -> Result<Vec<Vec<Value>>, ApiError> {
    let listed = app
        .overlord()?
        .list_tasks(v1::ListTasksRequest::default())
        .await
        .map_err(|status| ApiError::of_status(&status, ""))?;
    let tasks = listed.into_inner().tasks.into_iter();
    let readable = tasks.filter(|task| identity.can_read_datasource(&task.datasource));
    Ok(readable.map(|found| task(&found)).collect())
}

fn task(task: &v1::Task) -> Vec<Value> {
    let shown = status::status(task);
    let (host, plaintext, tls) = match task.location.as_str() {
        "" => (Value::Null, -1, -1),
        address => {
            let (host, plaintext, tls) = host_and_ports(address);
            (json!(host), plaintext, tls)
        }
    };
    vec![
        field(&shown, "id"),
        field(&shown, "groupId"),
        field(&shown, "type"),
        field(&shown, "dataSource"),
        json!(iso(task.created_ms)),
        field(&shown, "queueInsertionTime"),
        field(&shown, "statusCode"),
        field(&shown, "runnerStatusCode"),
        field(&shown, "duration"),
        text_or_null(place(&task.location)),
        host,
        json!(plaintext),
        json!(tls),
        field(&shown, "errorMsg"),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn each_row_has_a_value_for_each_column() {
        let width = |name: &str| {
            let table = TABLES.iter().find(|table| table.name == name);
            table.map_or(0, |table| table.columns.len())
        };
        let payload = json!({
            "identifier": "t_a_b_v", "dataSource": "t", "interval": "a/b", "version": "v", "size": 9, "totalRows": 3,
            "dimensions": "k,n", "metrics": "", "shardSpec": { "type": "numbered", "partitionNum": 2, "partitions": 3 }
        });
        let shown = segment(&payload);
        assert_eq!(shown.len(), width("segments"));
        assert_eq!(
            (&shown[2], &shown[3], &shown[6], &shown[8]),
            (&json!("a"), &json!("b"), &json!(2), &json!(3))
        );
        assert_eq!((&shown[15], &shown[16]), (&json!(r#"["k","n"]"#), &json!("[]")));
        let node = v1::Node {
            role: v1::Role::Worker.into(),
            address: "https://h:1".to_owned(),
            ..v1::Node::default()
        };
        let shown = server(&node);
        assert_eq!(shown.len(), width("servers"));
        assert_eq!(
            shown[..5],
            [json!("h:1"), json!("h"), json!(-1), json!(1), json!("indexer")]
        );
        assert!(
            properties(&node)
                .iter()
                .all(|row| row.len() == width("server_properties"))
        );
        let waiting = task(&v1::Task::default());
        assert_eq!(waiting.len(), width("tasks"));
        assert_eq!((&waiting[9], &waiting[11]), (&Value::Null, &json!(-1)));
    }
}
