//! Scans of published segments.
//!
//! They are DataFusion's own Parquet scans, so that its pruning and push-down apply. The planner scans a placeholder
//! file whose name is the stage's input number; binding puts the work order's segment files in its place.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, Statistics, exec_err};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfig, FileScanConfigBuilder, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;

use crate::input::{FragmentInput, SegmentFile};
use crate::segment_queue::SegmentScanExec;

/// URL under which a worker registers deep storage with DataFusion.
pub const DEEP_STORAGE_URL: &str = "sarsen://deep-storage/";

const PLACEHOLDER: &str = "sarsen-input-";

/// A scan of a datasource with `schema`, as a plan's leaf that is not yet a stage's input. `input` may be any number
/// that is unique in its plan; [`renumber`] replaces it.
///
/// # Errors
/// For a projection outside the schema.
pub fn scan(
    input: usize,
    schema: &SchemaRef,
    statistics: Statistics,
    partitions: usize,
    projection: Option<Vec<usize>>,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut source = ParquetSource::new(Arc::clone(schema)).with_table_parquet_options(parquet_options());
    if let Some(predicate) = predicate {
        source = source.with_predicate(predicate);
    }
    let config = FileScanConfigBuilder::new(deep_storage_url()?, Arc::new(source))
        .with_file_groups(placeholder_groups(input, partitions))
        .with_statistics(statistics)
        .with_projection_indices(projection)?
        .with_limit(limit)
        .build();
    Ok(DataSourceExec::from_data_source(config))
}

/// URL of deep storage in DataFusion's words.
///
/// # Errors
/// Never in practice: the constant is a valid URL.
pub fn deep_storage_url() -> Result<ObjectStoreUrl> {
    ObjectStoreUrl::parse(DEEP_STORAGE_URL)
}

fn parquet_options() -> TableParquetOptions {
    let mut options = TableParquetOptions::default();
    options.global.pushdown_filters = true;
    options.global.reorder_filters = true;
    options
}

fn placeholder_groups(input: usize, partitions: usize) -> Vec<FileGroup> {
    (0..partitions.max(1))
        .map(|_| FileGroup::new(vec![PartitionedFile::new(format!("{PLACEHOLDER}{input}"), 1)]))
        .collect()
}

fn scan_config(node: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    node.downcast_ref::<DataSourceExec>()?
        .data_source()
        .downcast_ref::<FileScanConfig>()
}

/// The input number that a scan's placeholder names; `None` for every other node.
pub fn placeholder_input(node: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    let file = scan_config(node)?.file_groups.first()?.files().first()?;
    file.object_meta
        .location
        .filename()?
        .strip_prefix(PLACEHOLDER)?
        .parse()
        .ok()
}

/// The same scan as another input.
///
/// # Errors
/// When `node` is no segment scan.
pub fn renumber(node: &Arc<dyn ExecutionPlan>, input: usize) -> Result<Arc<dyn ExecutionPlan>> {
    with_groups(node, placeholder_groups(input, 1))
}

/// The scan over a work order's segments.
///
/// # Errors
/// When that input is not segments.
pub fn bind(node: &Arc<dyn ExecutionPlan>, input: &FragmentInput) -> Result<Arc<dyn ExecutionPlan>> {
    let FragmentInput::Splits(splits) = input else {
        return exec_err!("the work order has no segments for a segment scan");
    };
    Ok(Arc::new(SegmentScanExec::try_new(node, Arc::clone(splits))?))
}

/// The scan `scan` over those segments, as one partition.
///
/// # Errors
/// When `scan` is not a segment scan.
pub(crate) fn over(scan: &Arc<dyn ExecutionPlan>, files: &[SegmentFile]) -> Result<Arc<dyn ExecutionPlan>> {
    with_groups(
        scan,
        vec![FileGroup::new(files.iter().map(partitioned_file).collect())],
    )
}

/// Rows after which a partition of the scan may end.
pub(crate) fn limit(scan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    scan_config(scan)?.limit
}

fn partitioned_file(file: &SegmentFile) -> PartitionedFile {
    let whole = PartitionedFile::new(file.path.clone(), file.bytes);
    match file.range {
        Some((start, end)) => whole.with_range(start, end),
        None => whole,
    }
}

fn with_groups(node: &Arc<dyn ExecutionPlan>, groups: Vec<FileGroup>) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(config) = scan_config(node) else {
        return exec_err!("{} is not a segment scan", node.name());
    };
    let unknown = Statistics::new_unknown(config.file_schema());
    let config = FileScanConfigBuilder::from(config.clone())
        .with_file_groups(groups)
        .with_statistics(unknown)
        .build();
    Ok(DataSourceExec::from_data_source(config))
}
