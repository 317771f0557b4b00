//! The cluster as a whole.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use sarsen_proto::v1;
use sarsen_proto::version::VERSION;
use serde_json::json;

use crate::error::{ApiError, empty_json, json_response};
use crate::service::App;

/// Druid's `/status`: version and memory of this process.
pub async fn status() -> Response {
    let memory = resident_bytes();
    let body = json!({
        "version": VERSION,
        "modules": [{ "name": "sarsen-gateway", "artifact": "sarsen", "version": VERSION }],
        "memory": { "maxMemory": memory, "totalMemory": memory, "freeMemory": 0, "usedMemory": memory, "directMemory": 0 },
    });
    json_response(StatusCode::OK, &body)
}

/// Bytes of memory that this process holds; 0 where the system does not tell.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|number| number.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// 200 when a query could run.
pub async fn health(State(app): State<App>) -> Result<Response, ApiError> {
    let nodes = app.nodes().await?;
    for (role, name) in [(v1::Role::Controller, "controller"), (v1::Role::Worker, "worker")] {
        if !nodes.iter().any(|node| node.role() == role) {
            return Err(ApiError::Unavailable {
                message: format!("No {name} has joined the cluster yet"),
            });
        }
    }
    Ok(json_response(StatusCode::OK, &json!(true)))
}

/// Settings of this gateway; nothing that is secret is among them.
pub async fn properties(State(app): State<App>) -> Response {
    json_response(StatusCode::OK, &json!(*app.properties))
}

/// A gateway that answers has been discovered.
pub async fn discovered() -> Response {
    empty_json(StatusCode::OK)
}

pub async fn self_discovered() -> Response {
    json_response(StatusCode::OK, &json!({ "selfDiscovered": true }))
}
