//! How many partitions a hash shuffle gets.

use super::kernel::ControllerKernel;
use crate::fault::{Fault, FaultReport};
use crate::query::{StageDefinition, StageInput};
use crate::shuffle::{PartitionCount, ShuffleKind, ShuffleSpec};

impl ControllerKernel {
    /// The shuffle of a stage that starts, its number of partitions decided.
    ///
    /// # Errors
    /// [`Fault::TooManyPartitions`].
    pub(super) fn decided_shuffle(&mut self, position: usize) -> Result<Option<ShuffleSpec>, FaultReport> {
        let Some(mut shuffle) = self
            .query
            .stages
            .get(position)
            .and_then(|stage| stage.shuffle.clone())
        else {
            return Ok(None);
        };
        let (ShuffleKind::Hash { partitions } | ShuffleKind::HashLocalSort { partitions }) =
            &mut shuffle.kind
        else {
            return Ok(Some(shuffle));
        };
        let count = match *partitions {
            PartitionCount::Fixed(count) => count,
            PartitionCount::Measured { group, .. } => match self.groups.get(&group) {
                Some(decided) => *decided,
                None => {
                    let wanted = self.wanted_partitions(group);
                    self.groups.insert(group, wanted);
                    wanted
                }
            },
        };
        if u64::from(count) > self.limits.max_partitions {
            return Err(Fault::TooManyPartitions {
                max_partitions: self.limits.max_partitions,
            }
            .into());
        }
        *partitions = PartitionCount::Fixed(count);
        Ok(Some(shuffle))
    }

    /// What the stage of a group with the most bytes needs: a small table that is read first must not leave a join with
    /// a large one a single partition.
    fn wanted_partitions(&self, of_group: u32) -> u32 {
        let mut wanted = 1;
        let mut at_most = u32::MAX;
        for (stage, bytes) in self.query.stages.iter().zip(self.input_bytes()) {
            let Some(PartitionCount::Measured {
                group,
                target_bytes,
                max,
            }) = hash_partitions(stage)
            else {
                continue;
            };
            if group == of_group {
                let needed = bytes.div_ceil(target_bytes.max(1));
                wanted = wanted.max(u32::try_from(needed).unwrap_or(u32::MAX));
                at_most = at_most.min(max);
            }
        }
        wanted.clamp(1, at_most.max(1))
    }

    /// Bytes that flow into each stage: measured from stages that are done; of others, all that they may read.
    fn input_bytes(&self) -> Vec<u64> {
        let mut read: Vec<u64> = Vec::with_capacity(self.query.stages.len());
        let mut written: Vec<u64> = Vec::with_capacity(self.query.stages.len());
        for (definition, state) in self.query.stages.iter().zip(&self.stages) {
            let of_input = |input: &StageInput| match input {
                StageInput::Splits { splits, .. } => splits.iter().map(|split| split.bytes).sum(),
                StageInput::Stage { candidates, .. } => candidates
                    .iter()
                    .filter_map(|candidate| written.get(candidate.0 as usize).copied())
                    .max()
                    .unwrap_or(0),
            };
            let bytes = definition
                .inputs
                .iter()
                .map(of_input)
                .fold(0, u64::saturating_add);
            written.push(if state.all_done() {
                state.output_bytes()
            } else if state.skipped {
                0
            } else {
                bytes
            });
            read.push(bytes);
        }
        read
    }
}

fn hash_partitions(stage: &StageDefinition) -> Option<PartitionCount> {
    match stage.shuffle.as_ref()?.kind {
        ShuffleKind::Hash { partitions } | ShuffleKind::HashLocalSort { partitions } => Some(partitions),
        _ => None,
    }
}
