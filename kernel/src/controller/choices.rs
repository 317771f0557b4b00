//! Choices between alternatives, decided while a query runs on the bytes of a stage that is done.

use super::kernel::ControllerKernel;
use super::stage::StageState;
use crate::ids::StageNumber;
use crate::query::StageDefinition;

impl ControllerKernel {
    /// A choice is decided when the stage that it measures is done.
    /// True when one was decided now.
    pub(super) fn decide_choices(&mut self) -> bool {
        let mut decided = false;
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
            decided = true;
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
        decided
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
}
