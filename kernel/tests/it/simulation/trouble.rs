//! What goes wrong in a seed.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::SmallRng;
use sarsen_kernel::ids::{Millis, WorkerNumber};

/// How bad it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Messages are lost, doubled and delayed.
    Messages,
    /// Also every worker number dies up to twice.
    Deaths,
    /// Also fetches and orders fail now and then.
    Hiccups,
    /// Whatever there is, without bounds.
    Chaos,
}

#[derive(Debug)]
pub struct Trouble {
    pub kind: Kind,
    /// Chances of a message.
    loses: f64,
    /// Streams that may still drop: all commands are told again on the next, which has to last at some time.
    drops_left: u32,
    pub doubles: f64,
    longest_delay: Millis,
    deaths_left: BTreeMap<WorkerNumber, u32>,
    deaths_each: u32,
    /// Time in which workers die.
    horizon: Millis,
    hiccups_left: u32,
    pub hiccups_seen: u32,
    pub cancel_at: Option<Millis>,
    pub fails_publish: bool,
    /// Chance of an order to fail for good.
    pub poison: f64,
}

impl Trouble {
    pub fn draw(seed: u64, random: &mut SmallRng) -> Self {
        let kind = [Kind::Messages, Kind::Deaths, Kind::Hiccups, Kind::Chaos][(seed % 4) as usize];
        let chaos = kind == Kind::Chaos;
        let any = |random: &mut SmallRng, of: &[f64]| of[random.random_range(0..of.len())];
        Trouble {
            kind,
            loses: any(random, &[0.0, 0.01, 0.04]),
            drops_left: 200,
            doubles: any(random, &[0.0, 0.05, 0.3]),
            longest_delay: [2, 20, 20, 400][random.random_range(0..4)],
            deaths_left: BTreeMap::new(),
            deaths_each: match kind {
                Kind::Messages => 0,
                Kind::Deaths => 2,
                Kind::Hiccups => random.random_range(0..=2),
                Kind::Chaos => random.random_range(0..10),
            },
            horizon: [100, 600, 3_000][random.random_range(0..3)],
            hiccups_left: match kind {
                Kind::Messages | Kind::Deaths => 0,
                Kind::Hiccups => 3,
                Kind::Chaos => random.random_range(0..50),
            },
            hiccups_seen: 0,
            cancel_at: (chaos && random.random_bool(0.2)).then(|| random.random_range(0..2_000)),
            fails_publish: chaos && random.random_bool(0.2),
            poison: if chaos && random.random_bool(0.2) {
                0.02
            } else {
                0.0
            },
        }
    }

    pub fn delay(&self, random: &mut SmallRng) -> Millis {
        random.random_range(1..=self.longest_delay)
    }

    /// When a new process will die, and whether it lives on unseen.
    pub fn death_of(&mut self, worker: WorkerNumber, random: &mut SmallRng) -> Option<(Millis, bool)> {
        if !random.random_bool(0.6) || !self.may_die(worker) {
            return None;
        }
        Some((random.random_range(0..self.horizon), random.random_bool(0.3)))
    }

    /// Whether a process dies at the very moment at which it speaks.
    pub fn dies_speaking(&mut self, worker: WorkerNumber, random: &mut SmallRng) -> bool {
        random.random_bool(0.03) && self.may_die(worker)
    }

    fn may_die(&mut self, worker: WorkerNumber) -> bool {
        let left = self.deaths_left.entry(worker).or_insert(self.deaths_each);
        let dies = *left > 0;
        *left = left.saturating_sub(1);
        dies
    }

    /// Whether a message takes its stream with it.
    pub fn drops(&mut self, random: &mut SmallRng) -> bool {
        let drops = self.drops_left > 0 && random.random_bool(self.loses);
        self.drops_left -= u32::from(drops);
        drops
    }

    pub fn hiccup(&mut self, random: &mut SmallRng) -> bool {
        let hiccups = self.hiccups_left > 0 && random.random_bool(0.05);
        self.hiccups_left -= u32::from(hiccups);
        self.hiccups_seen += u32::from(hiccups);
        hiccups
    }
}
