//! Phases of a stage.

use crate::report::StagePhaseName;

/// Where a stage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StagePhase {
    /// Not started: inputs are missing, or workers.
    New,
    /// Work orders are out and read their inputs.
    ReadingInput,
    /// All inputs are read; statistics are merged and boundaries cut.
    MergingStatistics,
    /// Boundaries are known, outputs are being cut; for other shuffles skipped.
    PostReading,
    /// All outputs are complete and can be read.
    ResultsReady,
    /// All outputs have been read and are cleaned.
    Finished,
    /// The query failed in this stage or before it ended.
    Failed,
    /// Outputs that are still needed were lost and are made again.
    Retrying,
}

impl StagePhase {
    /// Whether a stage may go from this phase to `next`.
    pub fn can_become(self, next: StagePhase) -> bool {
        use StagePhase::{
            Failed, Finished, MergingStatistics, New, PostReading, ReadingInput, ResultsReady, Retrying,
        };
        match (self, next) {
            (Finished, Retrying) => true,
            (Finished | Failed, _) => false,
            (_, Failed) => true,
            (New, ReadingInput) => true,
            (ReadingInput, MergingStatistics | ResultsReady | Retrying) => true,
            (MergingStatistics, PostReading | Retrying) => true,
            (PostReading, ResultsReady | Retrying) => true,
            (ResultsReady, Finished | Retrying) => true,
            (Retrying, ReadingInput | MergingStatistics | PostReading | ResultsReady) => true,
            _ => false,
        }
    }

    /// Name for reports.
    pub fn name(self) -> StagePhaseName {
        match self {
            StagePhase::New => StagePhaseName::New,
            StagePhase::ReadingInput => StagePhaseName::ReadingInput,
            StagePhase::MergingStatistics => StagePhaseName::MergingStatistics,
            StagePhase::PostReading => StagePhaseName::PostReading,
            StagePhase::ResultsReady => StagePhaseName::ResultsReady,
            StagePhase::Finished => StagePhaseName::Finished,
            StagePhase::Failed => StagePhaseName::Failed,
            StagePhase::Retrying => StagePhaseName::Retrying,
        }
    }
}
