//! Statements whose EXTERNs have no columns yet: all that can be said of them before files are read.

use datafusion::execution::session_state::SessionState;
use sarsen_kernel::ids::QueryId;
use sarsen_kernel::query::{IngestTarget, QueryDefinition, QueryKind, SegmentGranularity};

use crate::error::PlanError;
use crate::external::Call;
use crate::granularity::Granularity;
use crate::plan::Planner;
use crate::request::{Planned, StatementKind};
use crate::statement::{Body, Ingest};
use crate::{export, ingest};

impl Planner<'_> {
    /// Whether an EXTERN has columns neither in the statement nor in the request.
    pub(crate) fn lacks_columns(&self, calls: &[Call]) -> bool {
        let is_inferred = |call: &Call| {
            let mut known = self.request.inferred.iter();
            known.any(|known| known.source == call.source && known.format == call.format)
        };
        calls
            .iter()
            .any(|call| call.signature.is_none() && !is_inferred(call))
    }

    /// The statement without stages and columns.
    ///
    /// # Errors
    /// For what is wrong in its clauses, and for EXPLAIN, which has nothing to show yet.
    pub(crate) fn uninferred(&self, session: &SessionState) -> Result<Planned, PlanError> {
        if self.statement.explain {
            return Err(PlanError::invalid(
                "EXPLAIN needs the columns of EXTERN: give it a signature, or EXTEND (name TYPE, …)",
            ));
        }
        let kind = match &self.statement.body {
            Body::Select(_) => self.pages().map_or(QueryKind::Select, QueryKind::DurableSelect),
            Body::Ingest(ingest) => QueryKind::Ingest(self.ingest_target(session, ingest)?),
            Body::Export(export) => QueryKind::Export(export::uninferred_target(export, &self.settings)?),
        };
        let target = match &kind {
            QueryKind::Ingest(target) => Some(target.clone()),
            _ => None,
        };
        Ok(Planned {
            context: self.context.clone(),
            max_workers: self.settings.max_workers,
            scans: Vec::new(),
            kind: match &self.statement.body {
                Body::Select(_) => StatementKind::Select,
                Body::Export(_) => StatementKind::Export,
                Body::Ingest(ingest) if ingest.operation() == "INSERT" => StatementKind::Insert,
                Body::Ingest(_) => StatementKind::Replace,
            },
            datasource: target.as_ref().map(|target| target.datasource.clone()),
            replace_intervals: target.and_then(|target| target.replace_intervals),
            definition: QueryDefinition {
                query_id: QueryId(self.request.query_id.clone()),
                stages: Vec::new(),
                choices: Vec::new(),
                kind,
                result_signature: Vec::new(),
            },
            resources: Vec::new(),
            explain: None,
            outputs: Vec::new(),
            native: None,
        })
    }

    fn ingest_target(&self, session: &SessionState, ingest: &Ingest) -> Result<IngestTarget, PlanError> {
        let datasource = ingest::target_name(ingest)?;
        ingest::check_order(ingest)?;
        ingest::check_names(ingest)?;
        Ok(IngestTarget {
            datasource,
            replace_intervals: ingest::replace_intervals(session, ingest)?,
            segment_granularity: match &ingest.partitioned_by {
                Granularity::All => SegmentGranularity::All,
                Granularity::Period(period) => SegmentGranularity::Period(period.clone()),
            },
            rows_per_segment: self.settings.rows_per_segment,
            shard_columns: Vec::new(),
            shard_reason: String::new(),
        })
    }
}
