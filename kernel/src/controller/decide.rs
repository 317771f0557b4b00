//! What is decided while a query runs, on measured bytes: alternatives and numbers of partitions.

use super::kernel::ControllerKernel;
use super::stage::StageState;
use crate::fault::Fault;
use crate::ids::StageNumber;
use crate::query::{StageDefinition, StageInput};
use crate::shuffle::{PartitionCount, ShuffleKind, ShuffleSpec};

impl ControllerKernel {
    /// A choice is decided when the stage that it measures is done.
    pub(super) fn decide_choices(&mut self) {
        for (position, choice) in self.query.choices.iter().enumerate() {
            let measured = self.stages.get(choice.measured_stage.0 as usize);
            let Some(bytes) = measured
                .filter(|stage| stage.all_done())
                .map(StageState::output_bytes)
            else {
                continue;
            };
            let Some(slot) = self.choices.get_mut(position).filter(|slot| slot.is_none()) else {
                continue;
            };
            let fits = |max: Option<u64>| max.is_none_or(|max| bytes <= max);
            let taken = choice
                .alternatives
                .iter()
                .position(|alternative| fits(alternative.max_bytes))
                .unwrap_or(0);
            *slot = u32::try_from(taken).ok();
            for (definition, state) in self.query.stages.iter().zip(&mut self.stages) {
                if let Some(of) = &definition.alternative
                    && of.choice as usize == position
                    && !of
                        .alternatives
                        .iter()
                        .any(|alternative| *alternative as usize == taken)
                {
                    state.skipped = true;
                }
            }
        }
    }

    /// The stage that feeds an input, once it is certain.
    pub(super) fn living(&self, candidates: &[StageNumber]) -> Option<&StageState> {
        let mut living = candidates.iter().filter_map(|number| {
            let definition = self.query.stage(*number)?;
            self.stages
                .get(number.0 as usize)
                .filter(|state| self.is_decided(definition) && !state.skipped)
        });
        living.next()
    }

    /// Whether the choice that a stage belongs to, if any, has brought it to life.
    pub(super) fn is_decided(&self, stage: &StageDefinition) -> bool {
        stage.alternative.as_ref().is_none_or(|of| {
            let taken = self.choices.get(of.choice as usize).copied().flatten();
            taken.is_some_and(|taken| of.alternatives.contains(&taken))
        })
    }

    /// The shuffle of a stage that starts, its number of partitions decided.
    pub(super) fn decided_shuffle(&mut self, position: usize) -> Result<Option<ShuffleSpec>, Fault> {
        let mut shuffle = self
            .query
            .stages
            .get(position)
            .and_then(|stage| stage.shuffle.clone());
        let Some(partitions) = shuffle.as_mut().and_then(hash_partitions_mut) else {
            return Ok(shuffle);
        };
        if let PartitionCount::Measured {
            group,
            target_bytes,
            max,
        } = *partitions
        {
            let decided = match self.groups.get(&group) {
                Some(decided) => *decided,
                None => {
                    let wanted = self.group_bytes(group).div_ceil(target_bytes.max(1));
                    u32::try_from(wanted).unwrap_or(u32::MAX).clamp(1, max.max(1))
                }
            };
            self.groups.insert(group, decided);
            *partitions = PartitionCount::Fixed(decided);
        }
        match *partitions {
            PartitionCount::Fixed(count) if u64::from(count) > self.limits.max_partitions => {
                Err(Fault::TooManyPartitions {
                    max_partitions: self.limits.max_partitions,
                })
            }
            _ => Ok(shuffle),
        }
    }

    /// Bytes that go into the living stages of a partition group, as far as they are known.
    fn group_bytes(&self, group: u32) -> u64 {
        let of_group = |shuffle: &ShuffleSpec| match shuffle.kind {
            ShuffleKind::Hash { partitions } | ShuffleKind::HashLocalSort { partitions } => {
                matches!(partitions, PartitionCount::Measured { group: known, .. } if known == group)
            }
            _ => false,
        };
        let members = self.query.stages.iter().zip(&self.stages).enumerate();
        members
            .filter(|(_, (stage, state))| !state.skipped && stage.shuffle.as_ref().is_some_and(of_group))
            .map(|(position, _)| self.input_bytes(position))
            .sum()
    }

    fn input_bytes(&self, position: usize) -> u64 {
        let inputs = self
            .query
            .stages
            .get(position)
            .map(|stage| stage.inputs.as_slice())
            .unwrap_or_default();
        inputs
            .iter()
            .map(|input| match input {
                StageInput::Splits { splits, .. } => splits.iter().map(|split| split.bytes).sum(),
                StageInput::Stage { candidates, .. } => {
                    self.living(candidates).map_or(0, StageState::output_bytes)
                }
            })
            .sum()
    }
}

fn hash_partitions_mut(shuffle: &mut ShuffleSpec) -> Option<&mut PartitionCount> {
    match &mut shuffle.kind {
        ShuffleKind::Hash { partitions } | ShuffleKind::HashLocalSort { partitions } => Some(partitions),
        _ => None,
    }
}
