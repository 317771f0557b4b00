//! Short words for query definitions.

use sarsen_kernel::fault::{Fault, FaultReport};
use sarsen_kernel::ids::{Attempt, PartitionNumber, QueryId, StageNumber, WorkOrderId, WorkerNumber};
use sarsen_kernel::query::{
    Alternative, AlternativeRef, ChoiceDefinition, ColumnDescriptor, Delivery, IngestTarget, InputDescriptor,
    InputSplit, ProcessorDescriptor, ProcessorKind, QueryDefinition, QueryKind, SegmentGranularity,
    StageDefinition, StageInput,
};
use sarsen_kernel::shuffle::{
    KeyColumn, NullOrder, OutputSizes, PartitionCount, PartitionSize, Release, ShuffleKind, ShuffleSpec,
    SortOrder,
};

pub fn split(payload: Vec<u8>, bytes: u64) -> InputSplit {
    InputSplit {
        payload,
        bytes,
        files: 1,
    }
}

pub fn splits_of(splits: Vec<InputSplit>) -> StageInput {
    let descriptor = InputDescriptor::Table {
        datasource: "t".into(),
        intervals: Vec::new(),
        filter: None,
    };
    StageInput::Splits { descriptor, splits }
}

/// So many splits of one file and ten bytes each.
pub fn splits(count: u8) -> StageInput {
    splits_of((0..count).map(|number| split(vec![number], 10)).collect())
}

/// The partitions of a stage, each to one worker.
pub fn from(stage: u32) -> StageInput {
    StageInput::Stage {
        candidates: vec![StageNumber(stage)],
        delivery: Delivery::Partitioned,
    }
}

/// All partitions of a stage to every worker.
pub fn broadcast_from(stage: u32) -> StageInput {
    StageInput::Stage {
        candidates: vec![StageNumber(stage)],
        delivery: Delivery::Broadcast,
    }
}

/// The partitions of whichever of these stages lives.
pub fn from_one_of(stages: &[u32]) -> StageInput {
    let candidates = stages.iter().copied().map(StageNumber).collect();
    StageInput::Stage {
        candidates,
        delivery: Delivery::Partitioned,
    }
}

pub fn hash(partitions: u32) -> ShuffleKind {
    ShuffleKind::Hash {
        partitions: PartitionCount::Fixed(partitions),
    }
}

pub fn shuffle(kind: ShuffleKind, bucket_prefix_bytes: u32) -> ShuffleSpec {
    let key = match kind {
        ShuffleKind::Mix | ShuffleKind::Broadcast => Vec::new(),
        _ => vec![KeyColumn {
            index: 0,
            name: "k".into(),
            order: SortOrder::Ascending,
            nulls: NullOrder::First,
        }],
    };
    ShuffleSpec {
        kind,
        key,
        bucket_prefix_bytes,
        release: Release::default(),
    }
}

/// A stage for up to eight workers; its number is given by [`query`].
pub fn stage(inputs: Vec<StageInput>, kind: ShuffleKind) -> StageDefinition {
    StageDefinition {
        shuffle: Some(shuffle(kind, 0)),
        ..segments(inputs)
    }
}

/// A stage that writes segments.
pub fn segments(inputs: Vec<StageInput>) -> StageDefinition {
    StageDefinition {
        number: StageNumber(0),
        inputs,
        fragment: Vec::new(),
        processor: ProcessorDescriptor {
            kind: ProcessorKind::Scan,
            columns: Vec::new(),
            keys: Vec::new(),
            expressions: Vec::new(),
            filter: None,
            limit: None,
            plan: String::new(),
        },
        signature: vec![column("k")],
        shuffle: None,
        max_worker_count: 8,
        deterministic: true,
        alternative: None,
    }
}

pub fn volatile(stage: StageDefinition) -> StageDefinition {
    StageDefinition {
        deterministic: false,
        ..stage
    }
}

/// Makes a stage one of an alternative of choice 0.
pub fn alternative(alternative: u32, stage: StageDefinition) -> StageDefinition {
    StageDefinition {
        alternative: Some(AlternativeRef {
            choice: 0,
            alternatives: vec![alternative],
        }),
        ..stage
    }
}

/// Two alternatives: the first up to `max_bytes` of the measured stage.
pub fn choice(measured: u32, max_bytes: u64) -> ChoiceDefinition {
    let alternative = |name: &str, max_bytes| Alternative {
        name: name.into(),
        max_bytes,
    };
    ChoiceDefinition {
        measured_stage: StageNumber(measured),
        alternatives: vec![
            alternative("broadcast join", Some(max_bytes)),
            alternative("partitioned join", None),
        ],
    }
}

pub fn column(name: &str) -> ColumnDescriptor {
    ColumnDescriptor {
        name: name.into(),
        native_type: "LONG".into(),
        sql_type: "BIGINT".into(),
    }
}

pub fn query(kind: QueryKind, stages: Vec<StageDefinition>) -> QueryDefinition {
    let number = |(number, stage): (u32, StageDefinition)| StageDefinition {
        number: StageNumber(number),
        ..stage
    };
    QueryDefinition {
        query_id: QueryId("q".into()),
        stages: (0..).zip(stages).map(number).collect(),
        choices: Vec::new(),
        kind,
        result_signature: vec![column("k")],
    }
}

pub fn select(stages: Vec<StageDefinition>) -> QueryDefinition {
    query(QueryKind::Select, stages)
}

pub fn ingest(stages: Vec<StageDefinition>) -> QueryDefinition {
    query(
        QueryKind::Ingest(IngestTarget {
            datasource: "t".into(),
            replace_intervals: None,
            segment_granularity: SegmentGranularity::All,
            rows_per_segment: 3_000_000,
            shard_columns: Vec::new(),
            shard_reason: String::new(),
        }),
        stages,
    )
}

pub fn order(stage: u32, worker: u32, attempt: u32) -> WorkOrderId {
    WorkOrderId {
        stage: StageNumber(stage),
        worker: WorkerNumber(worker),
        attempt: Attempt(attempt),
    }
}

/// Partitions with ten rows and `bytes` bytes each.
pub fn sizes(partitions: u32, bytes: u64) -> OutputSizes {
    (0..partitions)
        .map(|number| (PartitionNumber(number), PartitionSize { rows: 10, bytes }))
        .collect()
}

/// A fault after which running again may help.
pub fn worker_failed() -> FaultReport {
    Fault::WorkerFailed {
        worker_task_id: "query-q-worker0_0".into(),
        error_msg: Some("killed".into()),
    }
    .into()
}

pub fn unknown_error() -> FaultReport {
    Fault::UnknownError {
        message: "division by zero".into(),
    }
    .into()
}
