//! What a query reads, as tables of DataFusion.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{Result, Statistics};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use sarsen_engine::extern_scan::ExternSpec;
use sarsen_engine::{ExternScanExec, segment_scan};
use sarsen_kernel::query::InputDescriptor;
use sarsen_storage::signature::DruidType;

use crate::intervals;
use crate::key_bounds::{self, KeyBounds};
use crate::request::TableSchema;
use crate::types::{signature_descriptors, table_field, written_field};

/// What one scan of a plan reads.
#[derive(Debug, Clone)]
pub enum ScanTarget {
    Extern(Arc<ExternSpec>),
    Table {
        datasource: String,
        intervals: Vec<(i64, i64)>,
        /// What the filter allows text columns to be.
        keys: Vec<KeyBounds>,
        filter: Option<String>,
    },
}

impl ScanTarget {
    /// For the report.
    pub fn descriptor(&self) -> InputDescriptor {
        match self {
            ScanTarget::Extern(spec) => InputDescriptor::External {
                source_json: spec.source.to_redacted_json(),
                format_json: spec.format.to_json(),
                signature: signature_descriptors(&spec.signature),
            },
            ScanTarget::Table {
                datasource,
                intervals,
                filter,
                ..
            } => InputDescriptor::Table {
                datasource: datasource.clone(),
                intervals: intervals.clone(),
                filter: filter.clone(),
            },
        }
    }
}

/// The scans of one plan in the order in which they were planned; a leaf names its scan by its position here until
/// the stages are cut.
#[derive(Debug, Clone, Default)]
pub struct Scans {
    targets: Arc<Mutex<Vec<ScanTarget>>>,
}

impl Scans {
    fn add(&self, target: ScanTarget) -> usize {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets.push(target);
        targets.len() - 1
    }

    pub fn get(&self, scan: usize) -> Option<ScanTarget> {
        self.targets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(scan)
            .cloned()
    }
}

/// EXTERN as a table.
#[derive(Debug)]
pub struct ExternTable {
    spec: Arc<ExternSpec>,
    schema: SchemaRef,
    scans: Scans,
}

impl ExternTable {
    pub fn new(spec: ExternSpec, scans: Scans) -> Self {
        let schema = spec.signature.arrow_schema();
        ExternTable {
            spec: Arc::new(spec),
            schema: Arc::new(schema),
            scans,
        }
    }

    /// The table with some of its STRINGs as multi-value strings; `None` without any.
    pub fn explicit(&self, several: &HashSet<String>) -> Option<Self> {
        let mut spec = self.spec.as_ref().clone();
        let strings = spec
            .signature
            .0
            .iter_mut()
            .filter(|(name, of_type)| *of_type == DruidType::String && several.contains(name));
        let mut changes = false;
        for (_, of_type) in strings {
            *of_type = DruidType::MultiValue;
            changes = true;
        }
        changes.then(|| ExternTable::new(spec, self.scans.clone()))
    }

    /// For reports.
    pub fn descriptor(&self) -> InputDescriptor {
        ScanTarget::Extern(Arc::clone(&self.spec)).descriptor()
    }
}

#[async_trait]
impl TableProvider for ExternTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let projection = projection
            .cloned()
            .unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let scan = self.scans.add(ScanTarget::Extern(Arc::clone(&self.spec)));
        let partitions = session.config().target_partitions();
        Ok(Arc::new(ExternScanExec::try_new(
            scan,
            Arc::clone(&self.spec),
            projection,
            partitions,
        )?))
    }
}

/// A published datasource as a table.
#[derive(Debug)]
pub struct DatasourceTable {
    datasource: String,
    /// The columns as statements see them, or as they are stored.
    schema: SchemaRef,
    stored: SchemaRef,
    rows: u64,
    bytes: u64,
    scans: Scans,
}

impl DatasourceTable {
    /// The table as statements see it: a multi-value string is a VARCHAR.
    pub fn new(table: &TableSchema, scans: Scans) -> Self {
        let stored: Vec<_> = table
            .columns
            .iter()
            .map(|(name, native)| table_field(name, native))
            .collect();
        let written: Vec<_> = stored.iter().cloned().map(written_field).collect();
        DatasourceTable {
            datasource: table.name.clone(),
            schema: Arc::new(Schema::new(written)),
            stored: Arc::new(Schema::new(stored)),
            rows: table.rows,
            bytes: table.bytes,
            scans,
        }
    }

    pub fn datasource(&self) -> &str {
        &self.datasource
    }

    /// The table with its multi-value strings as such; `None` when nothing would differ.
    pub fn explicit(&self) -> Option<Self> {
        (self.schema != self.stored).then(|| DatasourceTable {
            datasource: self.datasource.clone(),
            schema: Arc::clone(&self.stored),
            stored: Arc::clone(&self.stored),
            rows: self.rows,
            bytes: self.bytes,
            scans: self.scans.clone(),
        })
    }

    fn statistics(&self) -> Statistics {
        let inexact = |value: u64| Precision::Inexact(usize::try_from(value).unwrap_or(usize::MAX));
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = inexact(self.rows);
        statistics.total_byte_size = inexact(self.bytes);
        statistics
    }
}

#[async_trait]
impl TableProvider for DatasourceTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// The filters only choose segments; the scan's own push-down comes with the physical plan.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(self.statistics())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let filter = filters
            .iter()
            .map(|filter| filter.human_display().to_string())
            .reduce(|all, next| format!("{all} AND {next}"));
        let scan = self.scans.add(ScanTarget::Table {
            datasource: self.datasource.clone(),
            intervals: intervals::of_filters(filters),
            keys: key_bounds::of_filters(filters),
            filter,
        });
        let partitions = session.config().target_partitions();
        segment_scan::scan(
            scan,
            &self.schema,
            self.statistics(),
            partitions,
            projection.cloned(),
            None,
            limit,
        )
    }
}
