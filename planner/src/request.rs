//! What planning is asked and what it answers.

use sarsen_functions::lookup::Lookups;
use sarsen_kernel::ids::StageNumber;
use sarsen_kernel::query::{ColumnDescriptor, InputDescriptor, QueryDefinition};
use sarsen_storage::format::InputFormat;
use sarsen_storage::signature::Signature;
use sarsen_storage::source::InputSource;
use serde_json::{Map, Value};

use crate::native::NativePlan;
use crate::tables::ScanTarget;
use crate::types::signature_descriptors;

/// A table as the catalogue knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSchema {
    pub name: String,
    /// Name and Druid's native type of each column; `__time` first where there is one.
    pub columns: Vec<(String, String)>,
    pub rows: u64,
    pub bytes: u64,
}

/// A value for a `?` of the statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// SQL type name: `VARCHAR`, `BIGINT`, `TIMESTAMP`, ….
    pub sql_type: String,
    pub value: Value,
}

/// An EXTERN without columns, and those that samples of its files have.
#[derive(Debug, Clone, PartialEq)]
pub struct InferredSignature {
    pub source: InputSource,
    pub format: InputFormat,
    pub signature: Signature,
}

impl InferredSignature {
    /// For the report.
    pub fn descriptor(&self) -> InputDescriptor {
        InputDescriptor::External {
            source_json: self.source.to_redacted_json(),
            format_json: self.format.to_json(),
            signature: signature_descriptors(&self.signature),
        }
    }
}

/// Everything that a plan depends on: the same request gives the same plan on any machine at any time.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    pub query_id: String,
    pub sql: String,
    pub context: Map<String, Value>,
    pub parameters: Vec<Parameter>,
    /// What CURRENT_TIMESTAMP means, in ms.
    pub statement_time_ms: i64,
    pub tables: Vec<TableSchema>,
    /// The lookups that it names, as far as there are any.
    pub lookups: Lookups,
    /// Prefixes of outside places that EXTERN may read.
    pub extern_allow: Vec<String>,
    /// Columns of the EXTERNs that give none. While they are not known, such a statement is checked, but has no stages.
    pub inferred: Vec<InferredSignature>,
    /// The rows of a SELECT go back with the answer, whatever `selectDestination` says.
    pub synchronous: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementKind {
    Select,
    Insert,
    Replace,
    /// INSERT INTO EXTERN.
    Export,
    /// EXPLAIN PLAN FOR any of the others.
    Explain,
}

/// Something that a user needs the right to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceAction {
    pub kind: ResourceKind,
    pub name: String,
    pub action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKind {
    Datasource,
    /// Named by the type of the input source.
    External,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    Read,
    Write,
}

/// What EXPLAIN PLAN FOR answers beside the plan itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explain {
    /// `SELECT`, `INSERT` or `REPLACE`.
    pub statement_type: &'static str,
    /// CLUSTERED BY, as written.
    pub clustered_by: Vec<String>,
}

/// An input of a stage that is outside data, with the user's own specs: secrets are in here.
#[derive(Debug, Clone)]
pub struct PlannedScan {
    pub stage: StageNumber,
    /// Position among the stage's inputs.
    pub input: usize,
    pub target: ScanTarget,
}

/// A planned statement.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Stages with encoded fragments; the splits of outside inputs are not listed yet. None while the columns of an EXTERN are
    /// to be inferred.
    pub definition: QueryDefinition,
    /// The request's context with what the statement's SET clauses changed.
    pub context: Map<String, Value>,
    /// Worker tasks that the query may use.
    pub max_workers: u32,
    /// What the stages read from outside.
    pub scans: Vec<PlannedScan>,
    pub kind: StatementKind,
    /// What an ingestion writes to.
    pub datasource: Option<String>,
    /// What REPLACE overwrites, `[start, end)` in ms.
    pub replace_intervals: Option<Vec<(i64, i64)>>,
    /// Sorted, without doubles.
    pub resources: Vec<ResourceAction>,
    pub explain: Option<Explain>,
    /// Columns that the query itself gives, as the statement names them.
    pub outputs: Vec<ColumnDescriptor>,
    /// Druid's native query for it, where there is one.
    pub native: Option<NativePlan>,
}
