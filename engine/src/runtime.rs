//! What a fragment runs in: functions, memory, spill files, deep storage.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::cache::cache_manager::{CacheManagerConfig, FileMetadataCache};
use datafusion::execution::cache::default_cache::DefaultCache;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;
use object_store::ObjectStore;

use crate::segment_scan::DEEP_STORAGE_URL;

/// What one worker task may use.
#[derive(Debug, Clone)]
pub struct TaskResources {
    /// Bytes that its operators and buffers may hold before they spill.
    pub memory_bytes: usize,
    /// Folder for spill files; it is removed with the task.
    pub spill_dir: PathBuf,
    /// Bytes that it may spill.
    pub spill_quota_bytes: u64,
    /// Rows per batch.
    pub batch_rows: usize,
    /// Shared by all tasks of the process.
    pub footers: SegmentFooters,
}

/// Footers of the segments that a process has read: most queries read segments that one before them read. They stay
/// true, since a segment's file is never written over.
#[derive(Clone)]
pub struct SegmentFooters(Arc<FileMetadataCache>);

/// Bytes of footers that a process keeps.
const FOOTER_BYTES: usize = 64 << 20;

impl Default for SegmentFooters {
    fn default() -> Self {
        SegmentFooters(Arc::new(
            DefaultCache::new(FOOTER_BYTES).with_name("SegmentFooters"),
        ))
    }
}

impl fmt::Debug for SegmentFooters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SegmentFooters").finish_non_exhaustive()
    }
}

/// Bytes that a sort keeps free for merging what it spilled; a sixteenth of a small task's memory, or it could not
/// even begin.
const SORT_RESERVATION_BYTES: usize = 10 << 20;

/// Consumers that an out-of-memory error names.
const NAMED_CONSUMERS: usize = 5;

/// The context in which all fragments of one worker task run.
///
/// # Errors
/// When the spill folder cannot be used.
pub fn task_context(
    resources: &TaskResources,
    deep_storage: Arc<dyn ObjectStore>,
) -> Result<Arc<TaskContext>> {
    let named = std::num::NonZeroUsize::new(NAMED_CONSUMERS).unwrap_or(std::num::NonZeroUsize::MIN);
    let pool: Arc<dyn MemoryPool> = Arc::new(TrackConsumersPool::new(
        FairSpillPool::new(resources.memory_bytes),
        named,
    ));
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![resources.spill_dir.clone()]))
        .with_max_temp_directory_size(resources.spill_quota_bytes);
    let caches = CacheManagerConfig::default()
        .with_file_metadata_cache(Some(Arc::clone(&resources.footers.0)))
        .with_metadata_cache_limit(FOOTER_BYTES);
    let environment = RuntimeEnvBuilder::new()
        .with_memory_pool(pool)
        .with_cache_manager(caches)
        .with_disk_manager_builder(disk);
    let config = session_config()
        .with_batch_size(resources.batch_rows)
        .with_sort_spill_reservation_bytes((resources.memory_bytes / 16).min(SORT_RESERVATION_BYTES));
    context("worker", environment, config, deep_storage)
}

/// A context that fragments can be decoded and results merged in, without limits of its own.
///
/// # Errors
/// When the name of deep storage is no URL.
pub fn reading_context(deep_storage: Arc<dyn ObjectStore>) -> Result<Arc<TaskContext>> {
    context("reader", RuntimeEnvBuilder::new(), session_config(), deep_storage)
}

fn context(
    session: &str,
    environment: RuntimeEnvBuilder,
    config: SessionConfig,
    deep_storage: Arc<dyn ObjectStore>,
) -> Result<Arc<TaskContext>> {
    let environment = Arc::new(environment.build()?);
    let url = url::Url::parse(DEEP_STORAGE_URL)
        .map_err(|error| datafusion::common::DataFusionError::Internal(error.to_string()))?;
    environment.register_object_store(&url, deep_storage);
    Ok(Arc::new(TaskContext::new(
        None,
        session.to_owned(),
        config,
        Default::default(),
        Default::default(),
        Default::default(),
        Default::default(),
        environment,
    )))
}

/// Settings under which fragments are planned and run.
///
/// Dynamic filters would tie fragments to each other, and the scalar-subquery container would keep state outside of
/// them; both stay off. The general switch goes first: setting it overwrites the three others.
pub fn session_config() -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_information_schema(false)
        .set_bool("datafusion.optimizer.enable_dynamic_filter_pushdown", false)
        .set_bool("datafusion.optimizer.enable_topk_dynamic_filter_pushdown", false)
        .set_bool("datafusion.optimizer.enable_join_dynamic_filter_pushdown", false)
        .set_bool(
            "datafusion.optimizer.enable_aggregate_dynamic_filter_pushdown",
            false,
        )
        .set_bool(
            "datafusion.optimizer.enable_physical_uncorrelated_scalar_subquery",
            false,
        )
        .set_bool("datafusion.optimizer.enable_piecewise_merge_join", false)
        .set_bool("datafusion.execution.enable_recursive_ctes", false)
        .set_bool("datafusion.optimizer.repartition_file_scans", false)
        .set_bool("datafusion.optimizer.enable_sort_pushdown", false)
        .set_bool("datafusion.optimizer.prefer_existing_union", true)
        .set_bool("datafusion.sql_parser.enable_ident_normalization", false)
        .set_bool("datafusion.execution.skip_physical_aggregate_schema_check", true);
    config.options_mut().execution.time_zone = Some("UTC".to_owned());
    config
}
