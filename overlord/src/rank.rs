//! Whose turn comes first: by priority, yet nobody waits for ever.

/// So many milliseconds earlier a task counts as having come for each point of its priority. A task of priority 60 goes
/// before one of priority 50 that has waited for less than 100 seconds, and after one that has waited for longer: age
/// wins in the end, whatever the priorities.
const MS_PER_POINT: i64 = 10_000;

/// A place in every line of the Overlord's: for locks, for controllers, for worker slots. Lower is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    virtual_ms: i64,
    seq: u64,
}

impl Rank {
    /// Of a task that came at `created_ms` as the `seq`-th.
    pub fn new(priority: i32, created_ms: i64, seq: u64) -> Self {
        let earlier = i64::from(priority).saturating_mul(MS_PER_POINT);
        Rank {
            virtual_ms: created_ms.saturating_sub(earlier),
            seq,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_goes_first_until_age_wins() {
        let (low, high) = (Rank::new(50, 0, 1), |after| Rank::new(60, after, 2));
        assert!(high(0) < low);
        assert!(high(99_999) < low);
        assert!(high(100_001) > low);
        assert!(Rank::new(0, 5, 1) < Rank::new(0, 5, 2));
    }
}
