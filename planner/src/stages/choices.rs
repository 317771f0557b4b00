//! Fragments of which there are alternatives, one of which the kernel takes once it knows how large a stage's output is.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_plan::ExecutionPlan;
use sarsen_kernel::ids::StageNumber;
use sarsen_kernel::query::{Alternative, AlternativeRef, ChoiceDefinition};
use sarsen_kernel::shuffle::ShuffleSpec;

use super::{Open, StageBuilder};

/// The alternatives of an open fragment. The last one is the fragment's own plan.
#[derive(Debug, Clone)]
pub struct OpenChoice {
    /// The stage whose output bytes decide.
    pub(super) measured: StageNumber,
    /// In the order of the sizes up to which they are taken.
    pub(super) before_last: Vec<OpenAlternative>,
    pub(super) last_name: &'static str,
    /// Stages that only the alternatives that hash both sides read.
    pub(super) partitioned_stages: Vec<StageNumber>,
}

/// A plan that is taken when the measured output is small enough.
#[derive(Debug, Clone)]
pub struct OpenAlternative {
    pub name: &'static str,
    pub max_bytes: u64,
    pub plan: Arc<dyn ExecutionPlan>,
    /// Rows with equal keys are in one partition.
    pub partitioned: bool,
}

impl OpenChoice {
    pub(super) fn alternatives_mut(&mut self) -> impl Iterator<Item = &mut OpenAlternative> {
        self.before_last.iter_mut()
    }

    /// Which alternatives, by index, read [`OpenChoice::partitioned_stages`].
    fn partitioned(&self) -> Vec<u32> {
        let last = [true];
        let all = self.before_last.iter().map(|alternative| alternative.partitioned);
        let indexed = (0..).zip(all.chain(last));
        indexed
            .filter_map(|(index, partitioned)| partitioned.then_some(index))
            .collect()
    }

    fn definition(&self) -> ChoiceDefinition {
        let before = self.before_last.iter().map(|alternative| Alternative {
            name: alternative.name.to_owned(),
            max_bytes: Some(alternative.max_bytes),
        });
        let last = Alternative {
            name: self.last_name.to_owned(),
            max_bytes: None,
        };
        ChoiceDefinition {
            measured_stage: self.measured,
            alternatives: before.chain([last]).collect(),
        }
    }
}

impl Open {
    /// Without the alternatives that leave rows of one key in several partitions, for operators that need them in one.
    pub(super) fn co_partitioned(mut self) -> Self {
        if let Some(choice) = &mut self.choice {
            choice.before_last.retain(|alternative| alternative.partitioned);
            if choice.before_last.is_empty() {
                self.choice = None;
            }
        }
        self
    }

    /// Decided here and now, for a partitioned hash join where there is one.
    fn settled(mut self) -> Self {
        let partitioned = |choice: OpenChoice| {
            let mut all = choice.before_last.into_iter();
            all.find(|alternative| alternative.partitioned)
        };
        if let Some(alternative) = self.choice.take().and_then(partitioned) {
            self.plan = alternative.plan;
        }
        self
    }

    /// An operator over several fragments. At most one of them keeps its choice.
    ///
    /// # Errors
    /// Those of `operator`.
    pub(super) fn combine(
        children: Vec<Open>,
        operator: impl Fn(Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>>,
    ) -> Result<Open> {
        let single = children.iter().all(|child| child.single);
        let deterministic = children.iter().all(|child| child.deterministic);
        let chooses = children.iter().position(|child| child.choice.is_some());
        let mut plans = Vec::with_capacity(children.len());
        let mut chosen = None;
        for (position, child) in children.into_iter().enumerate() {
            if Some(position) == chooses {
                plans.push(Arc::clone(&child.plan));
                chosen = Some((position, child));
            } else {
                plans.push(child.settled().plan);
            }
        }
        let combined = match chosen {
            None => Open::leaf(operator(plans)?, single),
            Some((position, child)) => child.map(|plan| {
                let mut plans = plans.clone();
                if let Some(place) = plans.get_mut(position) {
                    *place = plan;
                }
                operator(plans)
            })?,
        };
        Ok(Open {
            single,
            deterministic,
            ..combined
        })
    }
}

impl StageBuilder<'_> {
    /// Closes an open fragment as the next stage, or as one for each alternative, of which one will live.
    ///
    /// # Errors
    /// When a fragment cannot travel.
    pub fn close(&mut self, mut open: Open, shuffle: Option<ShuffleSpec>) -> Result<Vec<StageNumber>> {
        let Some(choice) = open.choice.take() else {
            return Ok(vec![self.close_one(open, shuffle, None)?]);
        };
        let number = u32::try_from(self.choices.len()).unwrap_or(u32::MAX);
        self.choices.push(choice.definition());
        let partitioned = choice.partitioned();
        if partitioned.len() <= choice.before_last.len() {
            for stage in &choice.partitioned_stages {
                self.belongs_to(*stage, number, partitioned.clone());
            }
        }
        let plans = choice.before_last.into_iter().map(|alternative| alternative.plan);
        let plans: Vec<_> = plans.chain([Arc::clone(&open.plan)]).collect();
        let mut stages = Vec::with_capacity(plans.len());
        for (index, plan) in (0..).zip(plans) {
            let alternative = AlternativeRef {
                choice: number,
                alternatives: vec![index],
            };
            let open = Open { plan, ..open.clone() };
            stages.push(self.close_one(open, shuffle.clone(), Some(alternative))?);
        }
        Ok(stages)
    }

    fn belongs_to(&mut self, stage: StageNumber, choice: u32, alternatives: Vec<u32>) {
        if let Some(stage) = self.stages.get_mut(stage.0 as usize) {
            stage.alternative = Some(AlternativeRef { choice, alternatives });
        }
    }
}
