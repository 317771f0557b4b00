//! Random queries, and what they mean.
//!
//! A row is a `u64`: an identity in its upper 48 bits, which every stage maps alike in every run, and a salt in its
//! lower 16, which a volatile stage draws anew in every run. Results are compared by identity; keys are made of the whole
//! row, so that rows of a volatile stage change place when it runs again.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::SmallRng;
use sarsen_kernel::controller::ControllerKernel;
use sarsen_kernel::ids::StageNumber;
use sarsen_kernel::query::{
    Alternative, AlternativeRef, ChoiceDefinition, Delivery, QueryDefinition, QueryKind, StageDefinition,
    StageInput,
};
use sarsen_kernel::shuffle::{PartitionCount, RangeTarget, ShuffleKind, ShuffleSpec};

use crate::builders::{ingest, query, segments, shuffle, split, splits_of};

pub type Row = u64;

pub fn identity(row: Row) -> u64 {
    row >> 16
}

/// Spreads bits (splitmix64).
pub fn spread(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// What a stage makes of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// All rows, changed by what was broadcast.
    Forward,
    /// Rows of the first input, changed by the number of rows of the second that have the same key.
    Join,
}

/// Whether hash keys are the identity, as a join needs them, or the whole row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashedBy {
    Identity,
    Row,
}

#[derive(Debug)]
pub struct SimulatedQuery {
    pub definition: QueryDefinition,
    pub work: Vec<Work>,
    pub hashed_by: Vec<HashedBy>,
}

/// Join key of an identity.
fn join_key(identity: u64) -> u64 {
    identity % 5
}

pub fn hash_key(hashed_by: HashedBy, row: Row) -> u64 {
    match hashed_by {
        HashedBy::Identity => join_key(identity(row)),
        HashedBy::Row => row,
    }
}

/// Identities that a stage makes of identities. `main` are rows of splits and partitions, by input; `broadcast` those
/// of broadcasts, together.
pub fn transform(work: Work, stage: StageNumber, main: &[Vec<u64>], broadcast: Option<&[u64]>) -> Vec<u64> {
    const MASK: u64 = (1 << 48) - 1;
    let Some(broadcast) = broadcast else {
        return match work {
            Work::Forward => main.concat(),
            Work::Join => {
                let mut matches: BTreeMap<u64, u64> = BTreeMap::new();
                for row in main.get(1).into_iter().flatten() {
                    *matches.entry(join_key(*row)).or_default() += 1;
                }
                let joined =
                    |row: &u64| spread(row ^ (matches.get(&join_key(*row)).unwrap_or(&0) << 50)) & MASK;
                main[0].iter().map(joined).collect()
            }
        };
    };
    if main.is_empty() {
        return broadcast.to_vec();
    }
    let folded = broadcast
        .iter()
        .fold(u64::from(stage.0), |sum, row| sum.wrapping_add(spread(*row)));
    main.concat()
        .into_iter()
        .map(|row| spread(row ^ folded) & MASK)
        .collect()
}

impl SimulatedQuery {
    /// Sorted identities that the query must give, with the alternatives that `kernel` took.
    pub fn expected(&self, kernel: &ControllerKernel) -> Vec<u64> {
        let mut made: Vec<Vec<u64>> = Vec::new();
        for (stage, work) in self.definition.stages.iter().zip(&self.work) {
            let mut main = Vec::new();
            let mut broadcast: Option<Vec<u64>> = None;
            for input in &stage.inputs {
                match input {
                    StageInput::Splits { splits, .. } => {
                        let rows = splits
                            .iter()
                            .flat_map(|split| rows_of(&split.payload))
                            .map(identity);
                        main.push(rows.collect());
                    }
                    StageInput::Stage { candidates, delivery } => {
                        let living = candidates
                            .iter()
                            .find(|of| !kernel.stage_view(**of).is_some_and(|view| view.skipped));
                        let rows = living.map(|of| made[of.0 as usize].clone()).unwrap_or_default();
                        match delivery {
                            Delivery::Partitioned => main.push(rows),
                            Delivery::Broadcast => broadcast.get_or_insert_default().extend(rows),
                        }
                    }
                }
            }
            made.push(transform(*work, stage.number, &main, broadcast.as_deref()));
        }
        let mut expected = made.pop().unwrap_or_default();
        expected.sort_unstable();
        expected
    }

    pub fn stage(&self, number: StageNumber) -> &StageDefinition {
        &self.definition.stages[number.0 as usize]
    }

    /// Whether a second run of a stage may place its rows otherwise, told apart from the kernel's own answer.
    pub fn is_unstable(&self, number: StageNumber) -> bool {
        let stage = self.stage(number);
        let bucket = matches!(
            &stage.shuffle,
            Some(ShuffleSpec {
                kind: ShuffleKind::Bucket { .. },
                ..
            })
        );
        bucket
            || !stage.deterministic
            || stage
                .input_stages()
                .into_iter()
                .any(|input| self.is_unstable(input))
    }
}

pub fn rows_of(payload: &[u8]) -> Vec<Row> {
    payload
        .chunks_exact(8)
        .map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
        .collect()
}

/// Draws queries.
struct Drawer<'a> {
    random: &'a mut SmallRng,
    stages: Vec<StageDefinition>,
    work: Vec<Work>,
    hashed_by: Vec<HashedBy>,
    choices: Vec<ChoiceDefinition>,
    groups: u32,
    /// Outputs that nobody reads yet: one stage, or one of several.
    unread: Vec<Vec<StageNumber>>,
    /// Outputs that anybody may read.
    readable: Vec<Vec<StageNumber>>,
}

pub fn draw(random: &mut SmallRng) -> SimulatedQuery {
    let mut drawer = Drawer {
        random,
        stages: Vec::new(),
        work: Vec::new(),
        hashed_by: Vec::new(),
        choices: Vec::new(),
        groups: 0,
        unread: Vec::new(),
        readable: Vec::new(),
    };
    for _ in 0..drawer.random.random_range(1..=4) {
        match drawer.random.random_range(0..10) {
            0 => drawer.join(),
            1 if !drawer.readable.is_empty() => drawer.choose(),
            _ => drawer.forward(),
        }
    }
    drawer.last()
}

impl Drawer<'_> {
    fn add(
        &mut self,
        inputs: Vec<StageInput>,
        shuffle: ShuffleSpec,
        work: Work,
        hashed_by: HashedBy,
    ) -> StageNumber {
        let number = StageNumber(u32::try_from(self.stages.len()).unwrap());
        let max_worker_count = self.random.random_range(1..=8);
        let deterministic = self.random.random_bool(0.8);
        let shuffle = Some(shuffle);
        self.stages.push(StageDefinition {
            number,
            shuffle,
            max_worker_count,
            deterministic,
            ..segments(inputs)
        });
        self.work.push(work);
        self.hashed_by.push(hashed_by);
        number
    }

    fn splits(&mut self) -> StageInput {
        // Splits of unknown sizes are handed out while the stage runs.
        let known = self.random.random_bool(0.5);
        let most = if known { 5 } else { 20 };
        let splits = (0..self.random.random_range(0..=most)).map(|_| {
            let rows = self.random.random_range(0..=8);
            let payload: Vec<u8> = (0..rows)
                .flat_map(|_| (self.random.random_range(0..40_u64) << 16).to_le_bytes())
                .collect();
            let bytes = if known { payload.len() as u64 } else { 0 };
            split(payload, bytes)
        });
        splits_of(splits.collect())
    }

    fn read(&mut self, candidates: Vec<StageNumber>) -> StageInput {
        self.unread.retain(|unread| *unread != candidates);
        let broadcast = candidates.iter().all(|number| {
            matches!(
                &self.stages[number.0 as usize].shuffle,
                Some(ShuffleSpec {
                    kind: ShuffleKind::Broadcast,
                    ..
                })
            )
        });
        let broadcast = if broadcast {
            self.random.random_bool(0.9)
        } else {
            self.random.random_bool(0.1)
        };
        StageInput::Stage {
            candidates,
            delivery: if broadcast {
                Delivery::Broadcast
            } else {
                Delivery::Partitioned
            },
        }
    }

    fn any_readable(&mut self) -> Vec<StageNumber> {
        let chosen = self.random.random_range(0..self.readable.len());
        self.readable[chosen].clone()
    }

    fn give(&mut self, candidates: Vec<StageNumber>) {
        self.unread.push(candidates.clone());
        self.readable.push(candidates);
    }

    fn partitions(&mut self) -> PartitionCount {
        if self.random.random_bool(0.6) {
            return PartitionCount::Fixed(self.random.random_range(1..=6));
        }
        self.groups += 1;
        let target_bytes = self.random.random_range(8..=64);
        PartitionCount::Measured {
            group: self.groups,
            target_bytes,
            max: self.random.random_range(1..=6),
        }
    }

    fn any_shuffle(&mut self) -> ShuffleSpec {
        let kind = match self.random.random_range(0..8) {
            0 => ShuffleKind::Mix,
            1 => ShuffleKind::Hash {
                partitions: self.partitions(),
            },
            2 => ShuffleKind::HashLocalSort {
                partitions: self.partitions(),
            },
            3 => ShuffleKind::GlobalSort(RangeTarget::MaxCount(self.random.random_range(1..=6))),
            4 => ShuffleKind::GlobalSort(RangeTarget::TargetSize(self.random.random_range(8..=100))),
            5 => ShuffleKind::GlobalSort(RangeTarget::TargetRows(self.random.random_range(1..=12))),
            6 => ShuffleKind::Bucket {
                target_rows: self.random.random_range(1..=8),
            },
            _ => ShuffleKind::Broadcast,
        };
        shuffle(kind, self.random.random_range(0..=1))
    }

    fn forward(&mut self) {
        let mut inputs = Vec::new();
        if self.readable.is_empty() || self.random.random_bool(0.3) {
            inputs.push(self.splits());
        }
        for _ in 0..self.random.random_range(0..=2) {
            if !self.readable.is_empty() {
                let read = self.any_readable();
                inputs.push(self.read(read));
            }
        }
        if inputs.is_empty() {
            inputs.push(self.splits());
        }
        let shuffle = self.any_shuffle();
        let number = self.add(inputs, shuffle, Work::Forward, HashedBy::Row);
        self.give(vec![number]);
    }

    fn join(&mut self) {
        let partitions = self.partitions();
        let mut inputs = Vec::new();
        for _ in 0..2 {
            let kind = match self.random.random_bool(0.5) {
                true => ShuffleKind::Hash { partitions },
                false => ShuffleKind::HashLocalSort { partitions },
            };
            let input = match self.readable.is_empty() {
                true => self.splits(),
                false => {
                    let read = self.any_readable();
                    self.read(read)
                }
            };
            let number = self.add(vec![input], shuffle(kind, 0), Work::Forward, HashedBy::Identity);
            inputs.push(StageInput::Stage {
                candidates: vec![number],
                delivery: Delivery::Partitioned,
            });
        }
        let shuffle = self.any_shuffle();
        let number = self.add(inputs, shuffle, Work::Join, HashedBy::Row);
        self.give(vec![number]);
    }

    /// One alternative of one stage, another of two; both read the measured stage.
    fn choose(&mut self) {
        let Some(measured) = self
            .readable
            .iter()
            .find(|candidates| candidates.len() == 1)
            .cloned()
        else {
            return self.forward();
        };
        let choice = u32::try_from(self.choices.len()).unwrap();
        let max_bytes = self.random.random_range(0..200);
        let alternative = |name: &str, max_bytes| Alternative {
            name: name.into(),
            max_bytes,
        };
        self.choices.push(ChoiceDefinition {
            measured_stage: measured[0],
            alternatives: vec![alternative("small", Some(max_bytes)), alternative("large", None)],
        });
        let of = |alternative| {
            Some(AlternativeRef {
                choice,
                alternatives: vec![alternative],
            })
        };
        let mut small = vec![StageInput::Stage {
            candidates: measured.clone(),
            delivery: Delivery::Broadcast,
        }];
        if self.random.random_bool(0.5) {
            small.push(self.splits());
        }
        let kind = self.any_shuffle();
        let small = self.add(small, kind, Work::Forward, HashedBy::Row);
        self.stages[small.0 as usize].alternative = of(0);
        let read = self.read(measured);
        let kind = self.any_shuffle();
        let first = self.add(vec![read], kind, Work::Forward, HashedBy::Row);
        self.stages[first.0 as usize].alternative = of(1);
        let read = self.read(vec![first]);
        let kind = self.any_shuffle();
        let second = self.add(vec![read], kind, Work::Forward, HashedBy::Row);
        self.stages[second.0 as usize].alternative = of(1);
        self.give(vec![small, second]);
    }

    /// Reads whatever is unread, and ends the query.
    fn last(mut self) -> SimulatedQuery {
        let mut inputs: Vec<StageInput> = Vec::new();
        for candidates in self.unread.clone() {
            inputs.push(self.read(candidates));
        }
        let shuffle = self.any_shuffle();
        let number = self.add(inputs, shuffle, Work::Forward, HashedBy::Row);
        let choices = std::mem::take(&mut self.choices);
        let definition = if self.random.random_bool(0.5) {
            query(QueryKind::Select, self.stages)
        } else {
            self.stages[number.0 as usize].shuffle = None;
            ingest(self.stages)
        };
        let definition = QueryDefinition {
            choices,
            ..definition
        };
        SimulatedQuery {
            definition,
            work: self.work,
            hashed_by: self.hashed_by,
        }
    }
}
