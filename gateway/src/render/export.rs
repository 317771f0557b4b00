//! Exports in Druid's words.

use sarsen_kernel::query::{ColumnDescriptor, ExportCompression, ExportTarget};
use serde_json::{Map, Value, json};

/// The destination in a task's payload.
pub fn destination(target: &ExportTarget) -> Value {
    json!({
        "type": "export",
        "exportStorageProvider": storage_provider(target),
        "resultFormat": target.format.name(),
    })
}

fn storage_provider(target: &ExportTarget) -> Value {
    let mut provider = Map::new();
    provider.insert("type".to_owned(), json!(target.storage));
    for (name, value) in &target.arguments {
        provider.insert(name.clone(), json!(value));
    }
    Value::Object(provider)
}

/// The processor of the stage that writes files; what Druid's has not is there only where it is used.
pub fn processor(task_id: &str, columns: &[ColumnDescriptor], target: &ExportTarget) -> Value {
    let mappings: Value = columns
        .iter()
        .map(|column| json!({ "queryColumn": column.name, "outputColumn": column.name }))
        .collect();
    let types: Vec<&str> = columns.iter().map(|column| column.sql_type.as_str()).collect();
    let mut processor = Map::from_iter([
        ("type".to_owned(), json!("exportResults")),
        ("queryId".to_owned(), json!(task_id)),
        ("exportStorageProvider".to_owned(), storage_provider(target)),
        ("exportFormat".to_owned(), json!(target.format.name())),
        ("columnMappings".to_owned(), mappings),
        (
            "resultsContext".to_owned(),
            json!({
                "sqlTypeNames": types,
                "sqlResultsContext": { "timeZone": "UTC", "stringifyArrays": true },
            }),
        ),
    ]);
    if !target.partition_columns.is_empty() {
        processor.insert("partitionedBy".to_owned(), json!(target.partition_columns));
    }
    let compression = match target.compression {
        ExportCompression::None => None,
        ExportCompression::Gzip => Some("gzip"),
        ExportCompression::Zstd => Some("zstd"),
        ExportCompression::Snappy => Some("snappy"),
    };
    if let Some(compression) = compression {
        processor.insert("compression".to_owned(), json!(compression));
    }
    Value::Object(processor)
}
