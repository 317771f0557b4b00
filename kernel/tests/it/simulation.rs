//! A whole query on virtual time: one controller's kernel, up to eight workers' kernels, streams that drop, messages that
//! come twice or late, and processes that die. Real rows go through real shuffles, so that what comes out can be compared
//! with what went in.
//!
//! One seed alone: `SARSEN_SEED=n cargo test -p sarsen-kernel --test it simulation`; more than usual: `SARSEN_SEEDS=n`.

mod check;
mod definition;
mod interpreters;
mod placing;
mod process;
mod streams;
mod trouble;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sarsen_kernel::query::StageDefinition;
use sarsen_kernel::shuffle::ShuffleKind;
use world::World;

const SEEDS: u64 = 10_000;

pub fn draw_query(seed: u64) -> sarsen_kernel::query::QueryDefinition {
    use rand::SeedableRng;
    definition::draw(&mut rand::rngs::SmallRng::seed_from_u64(seed)).definition
}

/// Seeds by what they held and how they ended: 10,000 seeds that never met something would prove nothing about it.
#[derive(Debug, Default)]
struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    fn add(&self, world: &World) {
        let mut met: BTreeSet<String> = world.query.definition.stages.iter().map(shuffle_name).collect();
        met.insert(format!("{:?} {}", world.trouble.kind, check::end(world)));
        let mut counts = self.0.lock().unwrap();
        for what in met {
            *counts.entry(what).or_default() += 1;
        }
    }

    /// Each way in which a query may be shuffled and may end was met many times.
    fn check(&self) {
        let counts = self.0.lock().unwrap();
        let expected = [
            "shuffle Mix",
            "shuffle Hash",
            "shuffle HashLocalSort",
            "shuffle GlobalSort MaxCount",
            "shuffle GlobalSort TargetSize",
            "shuffle GlobalSort TargetRows",
            "shuffle Bucket",
            "shuffle Broadcast",
            "no shuffle",
            "Messages finished",
            "Deaths finished",
            "Hiccups finished",
            "Chaos finished",
            "Chaos TooManyAttemptsForWorker",
            "Chaos Canceled",
            "Chaos InsertLockPreempted",
            "Chaos UnknownError",
        ];
        let met: Vec<&str> = counts.keys().map(String::as_str).collect();
        let mut known = expected.to_vec();
        known.sort_unstable();
        assert_eq!(met, known);
        assert!(counts.values().all(|seeds| *seeds >= 20), "{counts:?}");
        let finished: u64 = counts
            .iter()
            .filter(|(what, _)| what.ends_with(" finished"))
            .map(|(_, seeds)| seeds)
            .sum();
        assert!(finished > SEEDS * 8 / 10, "{counts:?}");
        eprintln!("{counts:?}");
    }
}

fn shuffle_name(stage: &StageDefinition) -> String {
    let Some(shuffle) = &stage.shuffle else {
        return "no shuffle".to_owned();
    };
    let word = |debug: String| {
        debug
            .split(|letter: char| !letter.is_alphanumeric())
            .next()
            .unwrap()
            .to_owned()
    };
    match &shuffle.kind {
        ShuffleKind::GlobalSort(target) => format!("shuffle GlobalSort {}", word(format!("{target:?}"))),
        kind => format!("shuffle {}", word(format!("{kind:?}"))),
    }
}

fn simulate(seed: u64, tally: &Tally) {
    let mut world = World::new(seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        world.run();
        check::check(&world);
        tally.add(&world);
    }));
    if let Err(reason) = outcome {
        let (trouble, now) = (world.trouble.kind, world.now);
        let kinds: Vec<_> = world
            .query
            .definition
            .stages
            .iter()
            .map(|stage| stage.shuffle.as_ref())
            .collect();
        eprintln!("SARSEN_SEED={seed} fails at {now} ms ({trouble:?}); shuffles: {kinds:?}");
        resume_unwind(reason);
    }
}

#[test]
fn every_seed_ends_with_the_right_rows_or_a_typed_fault() {
    if let Ok(seed) = std::env::var("SARSEN_SEED") {
        return simulate(seed.parse().unwrap(), &Tally::default());
    }
    let seeds = std::env::var("SARSEN_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let (next, tally) = (AtomicU64::new(0), Tally::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    simulate(seed, &tally);
                }
            });
        }
    });
    if seeds >= SEEDS {
        tally.check();
    }
}
