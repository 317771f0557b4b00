//! What a statement's context says about its locks and its turn.

use std::collections::HashMap;

use sarsen_planner::{PlanError, StatementKind, context_integer};
use sarsen_proto::labels::is_word;
use sarsen_proto::v1;
use serde_json::{Map, Value};

use crate::submission::Endpoint;

/// Priority of a task that names none (Druid: ingestion/tasks.md#lock-priority, batch tasks).
const TASK_PRIORITY: i64 = 50;

/// Priority of a statement. A synchronous one stands beside tasks as its own priority, by default 0, stands to that of
/// other queries.
///
/// # Errors
/// When it is no integer.
pub fn priority(context: &Map<String, Value>, endpoint: Endpoint) -> Result<i32, PlanError> {
    let given = context_integer(context, "priority")?;
    let priority = match endpoint {
        Endpoint::Task | Endpoint::Statement => given.unwrap_or(TASK_PRIORITY),
        Endpoint::Sql => TASK_PRIORITY.saturating_add(given.unwrap_or(0)),
    };
    Ok(i32::try_from(priority).unwrap_or(if priority < 0 { i32::MIN } else { i32::MAX }))
}

/// Labels that a query's workers must have: `workerLabels`, an object such as `{"zone": "a"}`, or its text.
///
/// # Errors
/// When it is no such object, or its keys and values are not those of labels.
pub fn worker_labels(context: &Map<String, Value>) -> Result<HashMap<String, String>, PlanError> {
    let refuse = |what: String| {
        PlanError::bad_context(format!(
            "Expected key [workerLabels] to be an object of labels such as {{\"zone\": \"a\"}}, but got {what}"
        ))
    };
    let given = match context.get("workerLabels") {
        None | Some(Value::Null) => return Ok(HashMap::new()),
        Some(Value::String(text)) => serde_json::from_str(text).map_err(|_| refuse(format!("[{text}]")))?,
        Some(given) => given.clone(),
    };
    let Value::Object(labels) = given else {
        return Err(refuse(format!("[{given}]")));
    };
    let label = |(key, value): (String, Value)| match value {
        Value::String(value) if is_word(&key) && is_word(&value) => Ok((key, value)),
        value => Err(refuse(format!("the label [{key}] with the value [{value}]"))),
    };
    labels.into_iter().map(label).collect()
}

/// Lock type of an ingestion: `useConcurrentLocks` chooses the one for concurrent append and replace, else
/// `taskLockType` names it (Druid: ingestion/concurrent-append-replace.md).
///
/// # Errors
/// When the named one is none, or not one for the statement.
pub fn lock_type(context: &Map<String, Value>, kind: StatementKind) -> Result<v1::TaskLockType, PlanError> {
    use v1::TaskLockType::{Append, Exclusive, Replace, Shared, Unspecified};
    let (alone, beside, name) = match kind {
        StatementKind::Replace => (Exclusive, Replace, "a REPLACE"),
        StatementKind::Insert => (Shared, Append, "an INSERT"),
        StatementKind::Select | StatementKind::Export | StatementKind::Explain => return Ok(Unspecified),
    };
    let concurrent = match context.get("useConcurrentLocks") {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    };
    if concurrent {
        return Ok(beside);
    }
    let Some(given) = context.get("taskLockType").filter(|given| !given.is_null()) else {
        return Ok(alone);
    };
    let text = given.as_str().unwrap_or_default().to_uppercase();
    let found = match text.as_str() {
        "EXCLUSIVE" => Exclusive,
        "SHARED" => Shared,
        "APPEND" => Append,
        "REPLACE" => Replace,
        _ => {
            return Err(PlanError::bad_context(format!(
                "Expected key [taskLockType] to be referring to one of the values [EXCLUSIVE,SHARED,REPLACE,APPEND] of \
                 enum [TaskLockType], but got [{}]",
                given.as_str().map_or_else(|| given.to_string(), str::to_owned)
            )));
        }
    };
    if found == alone || found == beside {
        return Ok(found);
    }
    let word = |lock: v1::TaskLockType| lock.as_str_name().trim_start_matches("TASK_LOCK_TYPE_");
    Err(PlanError::invalid_without_source(format!(
        "TaskLock must be of type [{}] or [{}] for {name} query. Found invalid type [{}] set. Please use [taskLockType] key \
         in the context parameter and use one of the TaskLock types as mentioned earlier or remove this key for automatic \
         lock type selection",
        word(alone),
        word(beside),
        word(found)
    )))
}

/// Time that a synchronous statement may wait for its turn; 0 for no limit. A task's `timeout` begins when it does.
pub fn queue_timeout_ms(context: &Map<String, Value>, endpoint: Endpoint) -> Result<i64, PlanError> {
    let timeout = context_integer(context, "timeout")?;
    Ok(match endpoint {
        Endpoint::Sql => timeout.unwrap_or(0).max(0),
        Endpoint::Task | Endpoint::Statement => 0,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn lock(context: Value, kind: StatementKind) -> Result<v1::TaskLockType, String> {
        lock_type(context.as_object().unwrap(), kind).map_err(|error| error.message)
    }

    #[test]
    fn concurrent_locks_win_over_a_named_type() {
        use v1::TaskLockType::{Append, Exclusive, Replace, Shared, Unspecified};
        let concurrent = json!({ "useConcurrentLocks": "true", "taskLockType": "EXCLUSIVE" });
        for (context, kind, expected) in [
            (json!({}), StatementKind::Insert, Shared),
            (json!({}), StatementKind::Replace, Exclusive),
            (concurrent.clone(), StatementKind::Insert, Append),
            (concurrent.clone(), StatementKind::Replace, Replace),
            (concurrent, StatementKind::Select, Unspecified),
            (json!({ "taskLockType": "append" }), StatementKind::Insert, Append),
            (json!({ "taskLockType": null }), StatementKind::Insert, Shared),
        ] {
            assert_eq!(lock(context.clone(), kind), Ok(expected), "{context} {kind:?}");
        }
    }

    #[test]
    fn a_type_of_the_other_statement_is_refused() {
        let refused = lock(json!({ "taskLockType": "APPEND" }), StatementKind::Replace).unwrap_err();
        assert!(refused.starts_with(
            "TaskLock must be of type [EXCLUSIVE] or [REPLACE] for a REPLACE query. Found invalid type [APPEND] set."
        ));
        assert!(lock(json!({ "taskLockType": "NONE" }), StatementKind::Insert).is_err());
        assert!(lock(json!({ "taskLockType": 7 }), StatementKind::Insert).is_err());
    }

    #[test]
    fn synchronous_statements_stand_beside_tasks() {
        let priority = |context: Value, endpoint| priority(context.as_object().unwrap(), endpoint).unwrap();
        assert_eq!(priority(json!({}), Endpoint::Task), 50);
        assert_eq!(priority(json!({}), Endpoint::Sql), 50);
        assert_eq!(priority(json!({ "priority": "75" }), Endpoint::Task), 75);
        assert_eq!(priority(json!({ "priority": -1 }), Endpoint::Sql), 49);
    }

    #[test]
    fn labels_of_workers_are_an_object_of_words() {
        let labels = |context: Value| worker_labels(context.as_object().unwrap());
        let zone = HashMap::from([("zone".to_owned(), "a".to_owned())]);
        assert_eq!(labels(json!({})).unwrap(), HashMap::new());
        assert_eq!(labels(json!({ "workerLabels": { "zone": "a" } })).unwrap(), zone);
        assert_eq!(
            labels(json!({ "workerLabels": "{\"zone\": \"a\"}" })).unwrap(),
            zone
        );
        for malformed in [
            json!("zone=a"),
            json!(["zone"]),
            json!({ "zone": 1 }),
            json!({ "a b": "c" }),
        ] {
            let refused = labels(json!({ "workerLabels": malformed })).unwrap_err();
            assert!(refused.to_string().contains("workerLabels"), "{refused}");
        }
    }
}
