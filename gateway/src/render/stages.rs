//! Stages of a report.

use sarsen_kernel::query::{
    ColumnDescriptor, Delivery, IngestTarget, InputDescriptor, ProcessorDescriptor, ProcessorKind, QueryKind,
    SegmentGranularity, StageInput, period_name,
};
use sarsen_kernel::report::{QueryReport, ReportStatus, StagePhaseName, StageReport};
use sarsen_kernel::shuffle::{PartitionCount, RangeTarget, ShuffleKind, ShuffleSpec, SortOrder};
use sarsen_kernel::work_order::OutputMode;
use serde_json::{Map, Value, json};

use super::{export, iso};

/// All of time, as Druid writes it.
pub const ETERNITY: &str = "-146136543-09-08T08:23:32.096Z/146140482-04-24T15:36:27.903Z";

/// One stage.
pub fn stage(report: &StageReport, query: &QueryReport) -> Value {
    let mut rendered = Map::new();
    let mut put = |name: &str, value: Value| rendered.insert(name.to_owned(), value);
    put("stageNumber", json!(report.definition.number));
    put("definition", definition(report, query));
    // Druid's report of a failed query tells no phases: its kernel is gone by then.
    if let Some(phase) = report.phase
        && query.status != ReportStatus::Failed
    {
        put("phase", json!(phase_name(phase)));
    }
    if let Some(workers) = report.worker_count {
        put("workerCount", json!(workers));
    }
    if let Some(partitions) = report.partition_count {
        put("partitionCount", json!(partitions));
    }
    if let Some(shuffle) = &report.definition.shuffle {
        put("shuffle", json!(shuffle_name(&shuffle.kind)));
        if report.phase.is_some() {
            put("output", json!(output_name(report.output)));
        }
    } else if report.definition.processor.kind == ProcessorKind::QueryResults && report.phase.is_some() {
        put("output", json!("durableStorageQueryResults"));
    }
    if let Some(start) = report.start_ms {
        put("startTime", json!(iso(start)));
    }
    if let Some(duration) = report.duration_ms {
        put("duration", json!(duration));
    }
    if report
        .definition
        .shuffle
        .as_ref()
        .is_some_and(|shuffle| shuffle.kind.is_sorted())
    {
        put("sort", json!(true));
    }
    if report.skipped {
        put("skipped", json!(true));
    }
    Value::Object(rendered)
}

/// Druid's output channel modes.
fn output_name(output: OutputMode) -> &'static str {
    match output {
        OutputMode::Durable => "durableStorageIntermediate",
        OutputMode::Memory | OutputMode::Disk => "localStorage",
    }
}

fn definition(report: &StageReport, query: &QueryReport) -> Value {
    let stage = &report.definition;
    let mut rendered = Map::new();
    let mut put = |name: &str, value: Value| rendered.insert(name.to_owned(), value);
    put(
        "id",
        json!(format!(
            "{}_{}",
            query.query_id.controller_task_id(),
            stage.number
        )),
    );
    put("input", stage.inputs.iter().map(input).collect());
    let broadcast: Vec<usize> = stage
        .inputs
        .iter()
        .enumerate()
        .filter(|(_, input)| {
            matches!(
                input,
                StageInput::Stage {
                    delivery: Delivery::Broadcast,
                    ..
                }
            )
        })
        .map(|(position, _)| position)
        .collect();
    if !broadcast.is_empty() {
        put("broadcast", json!(broadcast));
    }
    let processor = match (&query.kind, stage.processor.kind) {
        (Some(QueryKind::Ingest(target)), ProcessorKind::SegmentGenerator) => {
            segment_generator(&query.result_signature, target)
        }
        (Some(QueryKind::Export(target)), ProcessorKind::ExportResults) => export::processor(
            &query.query_id.controller_task_id(),
            &query.result_signature,
            target,
        ),
        (Some(QueryKind::DurableSelect(_)), ProcessorKind::QueryResults) => {
            json!({ "type": "selectResults" })
        }
        _ => processor(&stage.processor, &stage.inputs),
    };
    put("processor", processor);
    put("signature", signature(&stage.signature));
    if let Some(shuffle) = &stage.shuffle {
        put("shuffleSpec", shuffle_spec(shuffle));
    }
    put("maxWorkerCount", json!(stage.max_worker_count));
    if stage
        .shuffle
        .as_ref()
        .is_some_and(|shuffle| matches!(shuffle.kind, ShuffleKind::GlobalSort(_)))
    {
        put("shuffleCheckHasMultipleValues", json!(true));
    }
    Value::Object(rendered)
}

/// Name and native type of each column.
pub fn signature(columns: &[ColumnDescriptor]) -> Value {
    columns
        .iter()
        .map(|column| json!({ "name": column.name, "type": column.native_type }))
        .collect()
}

fn input(input: &StageInput) -> Value {
    match input {
        StageInput::Splits { descriptor, .. } => data_source(descriptor),
        StageInput::Stage { candidates, .. } => {
            json!({ "type": "stage", "stage": candidates.first() })
        }
    }
}

/// An outside input as Druid's input spec.
pub fn data_source(descriptor: &InputDescriptor) -> Value {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|_| json!(text));
    match descriptor {
        InputDescriptor::External {
            source_json,
            format_json,
            signature: columns,
        } => json!({
            "type": "external",
            "inputSource": parsed(source_json),
            "inputFormat": parsed(format_json),
            "signature": signature(columns),
        }),
        InputDescriptor::Table {
            datasource,
            intervals,
            filter,
        } => {
            let mut rendered = Map::from_iter([
                ("type".to_owned(), json!("table")),
                ("dataSource".to_owned(), json!(datasource)),
                ("intervals".to_owned(), intervals_json(intervals)),
            ]);
            if let Some(filter) = filter {
                rendered.insert(
                    "filter".to_owned(),
                    json!({ "type": "expression", "expression": filter }),
                );
            }
            Value::Object(rendered)
        }
    }
}

/// Intervals as text; none means all of time.
pub fn intervals_json(intervals: &[(i64, i64)]) -> Value {
    if intervals.is_empty() {
        return json!([ETERNITY]);
    }
    intervals
        .iter()
        .map(|(start, end)| json!(interval(*start, *end)))
        .collect()
}

/// `start/end`
pub fn interval(start: i64, end: i64) -> String {
    let (first, last) = sarsen_planner::intervals::ETERNITY;
    // No calendar of ours reaches the ends of time.
    let (first_text, last_text) = ETERNITY.split_once('/').unwrap_or_default();
    let text = |ms: i64| match ms {
        ms if ms == first => first_text.to_owned(),
        ms if ms == last => last_text.to_owned(),
        ms => iso(ms),
    };
    format!("{}/{}", text(start), text(end))
}

fn processor(processor: &ProcessorDescriptor, inputs: &[StageInput]) -> Value {
    let source = match inputs.first() {
        Some(StageInput::Splits { descriptor, .. }) => data_source(descriptor),
        Some(StageInput::Stage { .. }) => json!({ "type": "inputNumber", "inputNumber": 0 }),
        None => json!({ "type": "inline" }),
    };
    let kind = processor_name(processor.kind);
    let mut query = Map::new();
    let mut put = |name: &str, value: Value| query.insert(name.to_owned(), value);
    put("queryType", json!(query_type(processor.kind)));
    put("dataSource", source);
    put(
        "intervals",
        json!({ "type": "intervals", "intervals": [ETERNITY] }),
    );
    if let Some(filter) = &processor.filter {
        put("filter", json!({ "type": "expression", "expression": filter }));
    }
    if !processor.keys.is_empty() {
        put(
            "dimensions",
            processor
                .keys
                .iter()
                .map(|key| json!({ "type": "default", "outputName": key }))
                .collect(),
        );
    }
    if !processor.expressions.is_empty() {
        let aggregations = processor.expressions.iter();
        put(
            "aggregations",
            aggregations
                .map(|name| json!({ "type": "expression", "name": name }))
                .collect(),
        );
    }
    if let Some(limit) = processor.limit {
        put("limit", json!(limit));
    }
    put("resultFormat", json!("compactedList"));
    put(
        "columns",
        processor
            .columns
            .iter()
            .map(|column| json!(column.name))
            .collect(),
    );
    put(
        "columnTypes",
        processor
            .columns
            .iter()
            .map(|column| json!(column.native_type))
            .collect(),
    );
    put("granularity", json!({ "type": "all" }));
    put("legacy", json!(false));
    json!({ "type": kind, "query": query, "plan": processor.plan })
}

fn processor_name(kind: ProcessorKind) -> &'static str {
    match kind {
        ProcessorKind::Scan => "scan",
        ProcessorKind::GroupByPreShuffle => "groupByPreShuffle",
        ProcessorKind::GroupByPostShuffle => "groupByPostShuffle",
        ProcessorKind::BroadcastJoin => "broadcastJoin",
        ProcessorKind::SortMergeJoin => "sortMergeJoin",
        ProcessorKind::Window => "window",
        ProcessorKind::SegmentGenerator => "segmentGenerator",
        ProcessorKind::ExportResults => "exportResults",
        ProcessorKind::OffsetLimit => "limit",
        ProcessorKind::QueryResults => "selectResults",
    }
}

fn query_type(kind: ProcessorKind) -> &'static str {
    match kind {
        ProcessorKind::GroupByPreShuffle | ProcessorKind::GroupByPostShuffle => "groupBy",
        ProcessorKind::Window => "windowOperator",
        _ => "scan",
    }
}

fn segment_generator(columns: &[ColumnDescriptor], target: &IngestTarget) -> Value {
    let stored: Vec<&ColumnDescriptor> = columns.iter().filter(|column| column.name != "__time").collect();
    let dimensions: Vec<Value> = stored
        .iter()
        .map(|column| {
            let kind = column.native_type.to_lowercase();
            json!({
                "type": kind, "name": column.name, "multiValueHandling": "SORTED_ARRAY",
                "createBitmapIndex": column.native_type == "STRING"
            })
        })
        .collect();
    let intervals = target.replace_intervals.as_deref().unwrap_or_default();
    let mappings: Vec<Value> = columns
        .iter()
        .map(|column| json!({ "queryColumn": column.name, "outputColumn": column.name }))
        .collect();
    json!({
        "type": "segmentGenerator",
        "dataSchema": {
            "dataSource": target.datasource,
            "timestampSpec": { "column": "__time", "format": "millis", "missingValue": null },
            "dimensionsSpec": {
                "dimensions": dimensions, "dimensionExclusions": ["__time"], "includeAllDimensions": false
            },
            "metricsSpec": [],
            "granularitySpec": {
                "type": "arbitrary", "queryGranularity": { "type": "none" }, "rollup": false,
                "intervals": intervals_json(intervals)
            },
            "transformSpec": { "filter": null, "transforms": [] },
        },
        "columnMappings": mappings,
        "tuningConfig": { "rowsPerSegment": target.rows_per_segment },
    })
}

/// Druid's name of a granularity.
pub fn granularity(granularity: &SegmentGranularity) -> Value {
    match granularity {
        SegmentGranularity::All => json!({ "type": "all" }),
        SegmentGranularity::Period(period) => period_granularity(period, "UTC"),
    }
}

/// Druid's name of a period; those with a name of their own are in UTC.
pub fn period_granularity(period: &str, zone: &str) -> Value {
    match period_name(period).filter(|_| zone == "UTC") {
        Some(name) => json!(name),
        None => json!({ "type": "period", "period": period, "timeZone": zone, "origin": null }),
    }
}

fn phase_name(phase: StagePhaseName) -> &'static str {
    match phase {
        StagePhaseName::New => "NEW",
        StagePhaseName::ReadingInput => "READING_INPUT",
        StagePhaseName::MergingStatistics => "MERGING_STATISTICS",
        StagePhaseName::PostReading => "POST_READING",
        StagePhaseName::ResultsReady => "RESULTS_READY",
        StagePhaseName::Finished => "FINISHED",
        StagePhaseName::Failed => "FAILED",
        StagePhaseName::Retrying => "RETRYING",
    }
}

fn shuffle_name(kind: &ShuffleKind) -> &'static str {
    match kind {
        ShuffleKind::Mix => "mix",
        ShuffleKind::Hash { .. } => "hash",
        ShuffleKind::HashLocalSort { .. } => "hashLocalSort",
        ShuffleKind::GlobalSort(_) => "globalSort",
        ShuffleKind::Bucket { .. } => "bucket",
        ShuffleKind::Broadcast => "broadcast",
    }
}

fn shuffle_spec(shuffle: &ShuffleSpec) -> Value {
    let columns: Vec<Value> = shuffle
        .key
        .iter()
        .map(|column| {
            let order = match (&shuffle.kind, column.order) {
                (ShuffleKind::Hash { .. }, _) => "NONE",
                (_, SortOrder::Ascending) => "ASCENDING",
                (_, SortOrder::Descending) => "DESCENDING",
            };
            json!({ "columnName": column.name, "order": order })
        })
        .collect();
    let mut cluster_by = Map::from_iter([("columns".to_owned(), json!(columns))]);
    if shuffle.bucket_prefix_bytes > 0 {
        cluster_by.insert("bucketByCount".to_owned(), json!(1));
    }
    let count = |partitions: &PartitionCount| match partitions {
        PartitionCount::Fixed(count) => json!(count),
        PartitionCount::Measured { max, .. } => json!(max),
    };
    let (kind, detail) = match &shuffle.kind {
        ShuffleKind::Mix => ("mix", None),
        ShuffleKind::Broadcast => ("broadcast", None),
        ShuffleKind::Hash { partitions } => ("hash", Some(("partitions", count(partitions)))),
        ShuffleKind::HashLocalSort { partitions } => {
            ("hashLocalSort", Some(("partitions", count(partitions))))
        }
        ShuffleKind::GlobalSort(RangeTarget::MaxCount(partitions)) => {
            ("maxCount", Some(("partitions", json!(partitions))))
        }
        ShuffleKind::GlobalSort(RangeTarget::TargetSize(bytes)) => {
            ("targetSize", Some(("targetSize", json!(bytes))))
        }
        ShuffleKind::GlobalSort(RangeTarget::TargetRows(rows)) => {
            ("targetSize", Some(("targetSize", json!(rows))))
        }
        ShuffleKind::Bucket { target_rows } => ("bucket", Some(("targetSize", json!(target_rows)))),
    };
    let mut rendered = Map::from_iter([("type".to_owned(), json!(kind))]);
    if !shuffle.key.is_empty() {
        rendered.insert("clusterBy".to_owned(), Value::Object(cluster_by));
    }
    if let Some((name, value)) = detail {
        rendered.insert(name.to_owned(), value);
    }
    Value::Object(rendered)
}

#[cfg(test)]
mod tests {
    use super::interval;

    #[test]
    fn an_interval_may_be_open_at_one_end() {
        let (first, last) = sarsen_planner::intervals::ETERNITY;
        assert_eq!(
            interval(first, 0),
            "-146136543-09-08T08:23:32.096Z/1970-01-01T00:00:00.000Z"
        );
        assert_eq!(
            interval(0, last),
            "1970-01-01T00:00:00.000Z/146140482-04-24T15:36:27.903Z"
        );
    }
}
