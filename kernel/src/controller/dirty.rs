//! Which stages have to be looked at again: an event costs what it changes, and not what the whole query is.

use std::collections::BTreeSet;

use crate::ids::StageNumber;

#[derive(Debug, Clone)]
pub(super) struct Dirty {
    stages: BTreeSet<usize>,
    /// Stages whose outputs may have become needless.
    cleanable: BTreeSet<usize>,
    /// Some attempt or output is no more.
    disturbed: bool,
    /// By stage: those that it reads, and those that read it.
    inputs: Vec<Vec<usize>>,
    readers: Vec<Vec<usize>>,
}

impl Dirty {
    /// `inputs` are the stages that each stage may read.
    pub fn new(inputs: &[BTreeSet<StageNumber>]) -> Self {
        let inputs: Vec<Vec<usize>> = inputs
            .iter()
            .map(|stages| stages.iter().map(|stage| stage.0 as usize).collect())
            .collect();
        let mut readers = vec![Vec::new(); inputs.len()];
        for (reader, inputs) in inputs.iter().enumerate() {
            for input in inputs {
                if let Some(of_input) = readers.get_mut(*input) {
                    of_input.push(reader);
                }
            }
        }
        Dirty {
            stages: BTreeSet::new(),
            cleanable: BTreeSet::new(),
            disturbed: false,
            inputs,
            readers,
        }
    }

    pub fn mark(&mut self, stage: StageNumber) {
        self.stages.insert(stage.0 as usize);
    }

    pub fn mark_all(&mut self) {
        self.stages.extend(0..self.inputs.len());
        self.cleanable.extend(0..self.inputs.len());
    }

    pub fn unmark(&mut self, position: usize) {
        self.stages.remove(&position);
    }

    /// The next stage to look at, lowest first.
    pub fn take_first(&mut self) -> Option<usize> {
        self.stages.pop_first()
    }

    /// A stage is done: its readers may begin, and what it read may be needless.
    pub fn done(&mut self, position: usize) {
        self.stages
            .extend(self.readers.get(position).into_iter().flatten());
        self.cleanable
            .extend(self.inputs.get(position).into_iter().flatten());
        self.cleanable.insert(position);
    }

    pub fn take_cleanable(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.cleanable)
    }

    pub fn disturb(&mut self) {
        self.disturbed = true;
    }

    pub fn take_disturbed(&mut self) -> bool {
        std::mem::take(&mut self.disturbed)
    }
}
