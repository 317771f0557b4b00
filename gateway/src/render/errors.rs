//! Error bodies.

use axum::http::StatusCode;
use sarsen_kernel::fault::{Fault, FaultReport, FaultValue};
use sarsen_planner::PlanError;
use serde_json::{Map, Value, json};

/// Druid's body for an exception of its own kind.
pub fn druid_exception(code: &str, persona: &str, category: &str, message: &str) -> Value {
    json!({
        "error": "druidException", "errorCode": code, "persona": persona, "category": category,
        "errorMessage": message, "context": {}
    })
}

/// A request that could not be read.
pub fn unreadable_body(message: &str) -> Value {
    json!({
        "error": "Unknown exception", "errorMessage": message,
        "errorClass": "org.apache.druid.server.initialization.jetty.HttpException", "host": null
    })
}

/// A statement that can't be planned.
pub fn plan_error(error: &PlanError) -> Value {
    let mut context: Map<String, Value> = error
        .context
        .iter()
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    let mut kind = "druidException";
    if error.error_code == "legacyQueryException" {
        kind = "Query context parse failed";
        context.insert("host".to_owned(), Value::Null);
    }
    let mut body = Map::new();
    body.insert("error".to_owned(), json!(kind));
    body.insert("errorCode".to_owned(), json!(error.error_code));
    body.insert("persona".to_owned(), json!(error.persona));
    body.insert("category".to_owned(), json!(error.category));
    body.insert("errorMessage".to_owned(), json!(error.message));
    if kind != "druidException" {
        body.insert(
            "errorClass".to_owned(),
            context.get("errorClass").cloned().unwrap_or(Value::Null),
        );
        body.insert("host".to_owned(), Value::Null);
    }
    body.insert("context".to_owned(), Value::Object(context));
    Value::Object(body)
}

/// The `error` object of a report: code, fields, message.
pub fn fault(fault: &Fault) -> Value {
    let mut error = Map::new();
    error.insert("errorCode".to_owned(), json!(fault.code()));
    for (name, value) in fault.fields() {
        error.insert(name.to_owned(), fault_value(value));
    }
    error.insert("errorMessage".to_owned(), json!(fault.message()));
    Value::Object(error)
}

fn fault_value(value: FaultValue) -> Value {
    match value {
        FaultValue::Text(text) => json!(text),
        FaultValue::Number(number) => json!(number),
        FaultValue::List(texts) => json!(texts),
        FaultValue::Null => Value::Null,
    }
}

/// An error or a warning of a report, with where it happened.
pub fn fault_report(report: &FaultReport) -> Value {
    let mut body = Map::new();
    let text = |text: &Option<String>| text.as_ref().map_or(Value::Null, |text| json!(text));
    body.insert("taskId".to_owned(), text(&report.task_id));
    body.insert("host".to_owned(), text(&report.host));
    if let Some(stage) = report.stage {
        body.insert("stageNumber".to_owned(), json!(stage));
    }
    body.insert("error".to_owned(), fault(&report.fault));
    body.insert(
        "exceptionStackTrace".to_owned(),
        json!(report.chain.join("\nCaused by: ")),
    );
    Value::Object(body)
}

/// The answer to a synchronous query that failed.
pub fn failed_query(report: &FaultReport) -> (StatusCode, Value) {
    let message = report.fault.message();
    match &report.fault {
        Fault::DruidException {
            druid_error_code,
            persona,
            category,
            ..
        } => (
            StatusCode::BAD_REQUEST,
            druid_exception(druid_error_code, persona, category, &message),
        ),
        Fault::Canceled {} => (
            StatusCode::INTERNAL_SERVER_ERROR,
            druid_exception("canceled", "USER", "CANCELED", &message),
        ),
        Fault::QueryTimeout { .. } => (
            StatusCode::GATEWAY_TIMEOUT,
            druid_exception("timeout", "USER", "TIMEOUT", &message),
        ),
        Fault::WorkerFailed { .. } | Fault::WorkerRpcFailed { .. } | Fault::TaskStartTimeout { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            druid_exception("unavailable", "OPERATOR", "CAPACITY_EXCEEDED", &message),
        ),
        fault => (
            StatusCode::BAD_REQUEST,
            druid_exception(fault.code(), "USER", "RUNTIME_FAILURE", &message),
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn a_fault_has_druids_fields_in_order() {
        let rendered = fault(&Fault::TooManyBuckets { max_buckets: 5000 });
        assert!(
            rendered
                .to_string()
                .starts_with(r#"{"errorCode":"TooManyBuckets","maxBuckets":5000,"errorMessage":"Too many"#)
        );
    }

    #[test]
    fn a_report_of_an_error_names_task_host_and_stage() {
        let report = FaultReport {
            task_id: Some("query-a-worker0_0".to_owned()),
            stage: Some(sarsen_kernel::ids::StageNumber(2)),
            ..FaultReport::from(Fault::InsertTimeNull {})
        };
        let rendered = fault_report(&report);
        assert_eq!(rendered["taskId"], "query-a-worker0_0");
        assert_eq!(rendered["stageNumber"], 2);
        assert_eq!(rendered["host"], Value::Null);
    }
}
