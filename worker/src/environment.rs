//! What the work orders of a process share, and what those of one worker task share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use datafusion::execution::TaskContext;
use sarsen_engine::guard::Guards;
use sarsen_engine::runtime::{SegmentFooters, TaskResources, task_context};
use sarsen_kernel::ids::{Incarnation, WorkOrderId, WorkerNumber};
use sarsen_proto::transport::Network;
use sarsen_storage::export::Exports;
use sarsen_storage::segment::DeepStorage;
use sarsen_storage::source::SourceContext;
use tokio::sync::Semaphore;

use crate::error::Budget;
use crate::pull::Puller;
use crate::row_checks::{NullBytes, RowLimits};
use crate::shuffle::output::StoreMemory;
use crate::shuffle::{BlockStore, ShuffleStore};
use crate::ticket::TicketKey;

/// One per process.
#[derive(Debug)]
pub struct ProcessEnvironment {
    /// Address under which other processes reach this one's Flight service.
    pub address: String,
    pub network: Network,
    pub store: ShuffleStore,
    pub deep_storage: DeepStorage,
    /// Where exports may write.
    pub exports: Exports,
    pub footers: SegmentFooters,
    /// Reads outside sources with this process's allow-list.
    pub sources: Arc<SourceContext>,
    /// Fragments run here, away from the network's threads.
    pub cpu: tokio::runtime::Handle,
    /// One permit per core: partitions that run at once.
    pub cores: Arc<Semaphore>,
    pub core_count: usize,
    /// Bytes that one worker task may use.
    pub task_memory: usize,
    pub spill_dir: PathBuf,
    /// Bytes that one worker task may spill.
    pub spill_quota_bytes: u64,
}

/// One per worker task.
#[derive(Debug)]
pub struct TaskEnvironment {
    pub process: Arc<ProcessEnvironment>,
    pub query_id: String,
    pub worker: WorkerNumber,
    pub incarnation: Incarnation,
    pub context: Arc<TaskContext>,
    pub store_memory: Arc<StoreMemory>,
    pub spill_dir: PathBuf,
    /// Bytes that it may use.
    memory_bytes: usize,
    pub settings: TaskSettings,
    /// The query's.
    pub ticket_key: TicketKey,
}

/// Share of a worker task's memory that finished outputs may hold; operators have the rest.
const STORE_SHARE: (usize, usize) = (1, 4);

/// Bytes of one run that a sorting writer gathers, at the most and at the least.
const RUN_BYTES: usize = 128 << 20;
const MIN_RUN_BYTES: usize = 64 << 10;

impl TaskEnvironment {
    /// # Errors
    /// When the spill folder cannot be made.
    pub fn new(
        process: Arc<ProcessEnvironment>,
        query_id: String,
        worker: WorkerNumber,
        incarnation: Incarnation,
        settings: TaskSettings,
        ticket_key: TicketKey,
    ) -> datafusion::common::Result<Arc<Self>> {
        let spill_dir = process
            .spill_dir
            .join(format!("query-{query_id}-worker{worker}_{incarnation}"));
        std::fs::create_dir_all(&spill_dir)?;
        let memory_bytes = settings.memory_bytes.unwrap_or(process.task_memory);
        let spill_quota_bytes = process.spill_quota_bytes;
        let store_bytes = memory_bytes / STORE_SHARE.1 * STORE_SHARE.0;
        let resources = TaskResources {
            memory_bytes: memory_bytes - store_bytes,
            spill_dir: spill_dir.clone(),
            spill_quota_bytes,
            batch_rows: settings.batch_rows,
            footers: process.footers.clone(),
        };
        let context = task_context(&resources, process.deep_storage.object_store())?;
        Ok(Arc::new(TaskEnvironment {
            process,
            query_id,
            worker,
            incarnation,
            context,
            store_memory: StoreMemory::new(store_bytes, spill_quota_bytes),
            spill_dir,
            memory_bytes,
            settings,
            ticket_key,
        }))
    }

    /// Where the blocks of one work order go; what of them finds no room in memory is counted in `spilled`.
    pub fn block_store(&self, order: WorkOrderId, spilled: Arc<AtomicU64>) -> BlockStore {
        let name = format!("stage{}-attempt{}.shuffle", order.stage, order.attempt);
        BlockStore::new(Arc::clone(&self.store_memory), self.spill_dir.join(name), spilled)
    }

    /// What it may use, for errors.
    pub fn budget(&self) -> Budget {
        Budget {
            memory_bytes: self.memory_bytes as u64,
            spill_bytes: self.process.spill_quota_bytes,
        }
    }

    /// Bytes that one writer gathers before it sorts a run.
    pub fn run_bytes(&self) -> usize {
        (self.memory_bytes / (8 * self.process.core_count.max(1))).clamp(MIN_RUN_BYTES, RUN_BYTES)
    }

    /// Reads shuffled pieces, those of this process by reference.
    pub fn puller(&self) -> Puller {
        let local = (self.process.address.clone(), self.process.store.clone());
        Puller::new(
            self.process.network.clone(),
            Some(local),
            self.ticket_key.clone(),
            self.process.deep_storage.object_store(),
        )
    }
}

impl Drop for TaskEnvironment {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.spill_dir) {
            tracing::warn!(query = self.query_id, path = %self.spill_dir.display(), %error, "a spill folder stays behind");
        }
    }
}

/// Context parameters that a worker heeds.
#[derive(Debug, Clone, Copy)]
pub struct TaskSettings {
    pub max_parse_exceptions: i64,
    pub batch_rows: usize,
    /// Less memory than the process would give, to force spilling.
    pub memory_bytes: Option<usize>,
    pub rows: RowLimits,
    pub guards: Guards,
    /// Rows that Druid would gather before it persists them: nothing here but a number that must be one.
    pub rows_in_memory: Option<i64>,
}

/// Bytes of a row at the most (Druid: multi-stage-query/reference.md#context-parameters, `maxFrameSize`).
const MAX_FRAME_SIZE: usize = 1_000_000;

impl TaskSettings {
    /// From the query context's JSON; what is not there has its default.
    pub fn parse(context_json: &str) -> Self {
        let context: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(context_json).unwrap_or_default();
        let integer = |key: &str| match context.get(key) {
            Some(serde_json::Value::Number(number)) => number.as_i64(),
            Some(serde_json::Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        let flag = |key: &str| match context.get(key) {
            Some(serde_json::Value::Bool(flag)) => *flag,
            Some(serde_json::Value::String(text)) => text.eq_ignore_ascii_case("true"),
            _ => false,
        };
        let max_window_rows =
            integer("maxRowsMaterializedInWindow").map(|rows| u64::try_from(rows).unwrap_or(0));
        let frame_size = integer("maxFrameSize").map(|bytes| usize::try_from(bytes).unwrap_or(0));
        let strict = context.get("mode").and_then(serde_json::Value::as_str) != Some("nonStrict");
        TaskSettings {
            max_parse_exceptions: integer("maxParseExceptions").unwrap_or(if strict { 0 } else { -1 }),
            batch_rows: 8192,
            memory_bytes: integer("taskMemoryBytes").and_then(|bytes| usize::try_from(bytes).ok()),
            rows: RowLimits {
                max_row_bytes: frame_size.unwrap_or(MAX_FRAME_SIZE),
                null_bytes: if flag("removeNullBytes") {
                    NullBytes::Remove
                } else {
                    NullBytes::Refuse
                },
            },
            guards: Guards { max_window_rows },
            rows_in_memory: integer("rowsInMemory"),
        }
    }
}
