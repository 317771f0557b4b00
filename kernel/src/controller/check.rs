//! What is checked before anything is launched.

use super::limits::Limits;
use crate::fault::Fault;
use crate::query::{QueryDefinition, StageInput};

/// Refuses a definition that cannot run or passes a limit.
pub(super) fn check(query: &QueryDefinition, limits: &Limits, workers: u32) -> Result<(), Fault> {
    let malformed = |message: String| Err(Fault::UnknownError { message });
    if query.stages.is_empty() {
        return malformed("a query has at least one stage".to_owned());
    }
    if workers == 0 || workers > limits.max_workers {
        return Err(Fault::TooManyWorkers {
            workers: u64::from(workers),
            max_workers: u64::from(limits.max_workers),
        });
    }
    for (position, stage) in query.stages.iter().enumerate() {
        if stage.number.0 as usize != position {
            return malformed(format!("stage {} stands at position {position}", stage.number));
        }
        if let Some(input) = stage
            .input_stages()
            .into_iter()
            .find(|input| input.0 >= stage.number.0)
        {
            return malformed(format!(
                "stage {} reads stage {input}, which does not come before it",
                stage.number
            ));
        }
        if stage
            .inputs
            .iter()
            .any(|input| matches!(input, StageInput::Stage { candidates, .. } if candidates.is_empty()))
        {
            return malformed(format!("an input of stage {} names no stage", stage.number));
        }
        if let Some(of) = &stage.alternative {
            let known = query
                .choices
                .get(of.choice as usize)
                .map_or(0, |choice| choice.alternatives.len());
            if of.alternatives.is_empty() || of.alternatives.iter().any(|index| *index as usize >= known) {
                return malformed(format!(
                    "stage {} belongs to an unknown alternative",
                    stage.number
                ));
            }
        }
        let columns = stage.signature.len() as u64;
        if columns > limits.max_columns {
            return Err(Fault::TooManyColumns {
                num_columns: columns,
                max_columns: limits.max_columns,
            });
        }
        let keys = stage
            .shuffle
            .as_ref()
            .map_or(0, |shuffle| shuffle.key.len() as u64);
        if keys > limits.max_clustered_by_columns {
            return Err(Fault::TooManyClusteredByColumns {
                num_columns: keys,
                max_columns: limits.max_clustered_by_columns,
                stage: u64::from(stage.number.0),
            });
        }
        let files: u64 = stage.inputs.iter().map(files).sum();
        let readers = u64::from(stage.max_worker_count.clamp(1, workers));
        if files > readers * limits.max_input_files_per_worker {
            return Err(Fault::TooManyInputFiles {
                num_input_files: files,
                max_input_files: limits.max_input_files_per_worker,
                min_num_workers: files.div_ceil(limits.max_input_files_per_worker),
            });
        }
    }
    for choice in &query.choices {
        if query.stage(choice.measured_stage).is_none() {
            return malformed(format!(
                "a choice measures stage {}, which does not exist",
                choice.measured_stage
            ));
        }
        let last_is_open = choice
            .alternatives
            .last()
            .is_some_and(|last| last.max_bytes.is_none());
        if !last_is_open {
            return malformed("the last alternative of a choice must take any size".to_owned());
        }
    }
    Ok(())
}

fn files(input: &StageInput) -> u64 {
    match input {
        StageInput::Splits { splits, .. } => splits.iter().map(|split| u64::from(split.files)).sum(),
        StageInput::Stage { .. } => 0,
    }
}
