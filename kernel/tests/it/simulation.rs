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

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use world::World;

const SEEDS: u64 = 10_000;

pub fn draw_query(seed: u64) -> sarsen_kernel::query::QueryDefinition {
    use rand::SeedableRng;
    definition::draw(&mut rand::rngs::SmallRng::seed_from_u64(seed)).definition
}

fn simulate(seed: u64) {
    let mut world = World::new(seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        world.run();
        check::check(&world);
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
        return simulate(seed.parse().unwrap());
    }
    let seeds = std::env::var("SARSEN_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    simulate(seed);
                }
            });
        }
    });
}
