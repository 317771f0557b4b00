use sarsen_overlord::ids::TaskId;
use sarsen_overlord::locks::{LockMode, LockTable, Standing};
use sarsen_overlord::rank::Rank;
use sarsen_overlord::time::Interval;

fn task(name: &str) -> TaskId {
    TaskId::from(name)
}

fn interval(from: i64, to: i64) -> Interval {
    const DAY: i64 = 86_400_000;
    Interval {
        start_ms: from * DAY,
        end_ms: to * DAY,
    }
}

fn days(from: i64, to: i64) -> LockMode {
    LockMode::Exclusive(vec![interval(from, to)])
}

fn replace(from: i64, to: i64) -> LockMode {
    LockMode::Replace(vec![interval(from, to)])
}

/// Requests in the order in which they come, each with a priority, and what became of others' locks.
#[derive(Default)]
struct Requests {
    table: LockTable,
    count: u64,
}

impl Requests {
    /// Tasks that lose their locks; `None` when the task has to wait.
    fn with_priority(&mut self, name: &str, mode: LockMode, priority: i32) -> Option<Vec<String>> {
        self.count += 1;
        let rank = Rank::new(priority, i64::try_from(self.count).unwrap(), self.count);
        let outcome = self.table.request(task(name), "wiki", mode, priority, rank);
        let revoked = outcome
            .revoked
            .iter()
            .map(|task| task.as_str().to_owned())
            .collect();
        outcome.granted.contains(&task(name)).then_some(revoked)
    }

    /// Whether it is held at once.
    fn ask(&mut self, name: &str, mode: LockMode) -> bool {
        self.with_priority(name, mode, 50).is_some()
    }

    /// Tasks that hold theirs now.
    fn release(&mut self, name: &str) -> Vec<String> {
        let outcome = self.table.release(&task(name), "wiki");
        outcome
            .granted
            .iter()
            .map(|task| task.as_str().to_owned())
            .collect()
    }
}

#[test]
fn what_may_be_held_at_once() {
    let kinds = [LockMode::Shared, days(0, 2), LockMode::Append, replace(0, 2)];
    let beside = [
        // Shared, exclusive, append, replace.
        [true, false, false, false],
        [false, false, false, false],
        [false, false, true, true],
        [false, false, true, false],
    ];
    for (first, allowed) in kinds.iter().zip(beside) {
        for (second, allowed) in kinds.iter().zip(allowed) {
            let mut locks = Requests::default();
            assert!(locks.ask("a", first.clone()));
            assert_eq!(
                locks.ask("b", second.clone()),
                allowed,
                "{first:?} then {second:?}"
            );
        }
    }
}

#[test]
fn replaces_of_other_intervals_or_datasources_do_not_wait() {
    for kind in [days, replace] {
        let mut locks = Requests::default();
        assert!(locks.ask("a", kind(0, 1)));
        assert!(locks.ask("b", kind(1, 2)));
        assert!(!locks.ask("d", LockMode::Exclusive(vec![Interval::ETERNITY])));
        let elsewhere = locks
            .table
            .request(task("c"), "other", kind(0, 1), 0, Rank::new(0, 0, 9));
        assert_eq!(elsewhere.granted, [task("c")]);
    }
}

#[test]
fn waiting_tasks_are_granted_in_order_and_not_overtaken() {
    let mut locks = Requests::default();
    assert!(locks.ask("insert", LockMode::Shared));
    assert!(!locks.ask("replace", days(0, 1)));
    assert!(!locks.ask("late insert", LockMode::Shared));
    assert_eq!(locks.release("insert"), ["replace"]);
    assert_eq!(locks.release("replace"), ["late insert"]);
    assert!(locks.release("late insert").is_empty());
    assert!(locks.table.is_empty());
}

#[test]
fn one_that_gives_up_waiting_lets_the_next_ones_go() {
    let mut locks = Requests::default();
    assert!(locks.ask("a", LockMode::Shared));
    assert!(!locks.ask("b", days(0, 1)));
    assert!(!locks.ask("c", LockMode::Shared));
    assert_eq!(locks.release("b"), ["c"]);
}

#[test]
fn a_higher_priority_takes_locks_away_and_an_equal_one_waits() {
    let mut locks = Requests::default();
    assert!(locks.ask("a", LockMode::Shared));
    assert!(locks.ask("b", LockMode::Shared));
    assert!(!locks.ask("equal", days(0, 1)));
    let revoked = locks.with_priority("high", days(0, 1), 51);
    assert_eq!(revoked, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert!(!locks.table.begin_publish(&task("a"), "wiki"));
    assert!(locks.release("a").is_empty());
    assert_eq!(locks.release("high"), ["equal"]);
}

#[test]
fn of_several_in_the_way_all_must_be_lower() {
    let mut locks = Requests::default();
    assert!(locks.with_priority("low", days(0, 1), 10).is_some());
    assert!(locks.with_priority("high", days(1, 2), 90).is_some());
    assert_eq!(locks.with_priority("middle", days(0, 2), 50), None);
    assert_eq!(locks.release("high"), ["middle"]);
    let standing: Vec<Standing> = locks.table.of("wiki").iter().map(|lock| lock.standing).collect();
    assert!(standing.contains(&Standing::Revoked), "{standing:?}");
}

#[test]
fn a_publish_that_has_begun_is_not_preempted() {
    let mut locks = Requests::default();
    assert!(locks.ask("publishing", days(0, 1)));
    assert!(locks.table.begin_publish(&task("publishing"), "wiki"));
    assert_eq!(locks.with_priority("high", days(0, 1), 90), None);
    let refused = locks.table.end_publish(&task("publishing"), "wiki");
    assert_eq!(refused.granted, [task("high")]);
    assert_eq!(refused.revoked, [task("publishing")]);
}

#[test]
fn one_that_lost_its_lock_before_it_began_waits_again() {
    let mut locks = Requests::default();
    assert!(locks.ask("waits for a controller", LockMode::Shared));
    assert!(locks.with_priority("high", days(0, 1), 90).is_some());
    assert!(
        locks
            .table
            .wait_again(&task("waits for a controller"), "wiki")
            .granted
            .is_empty()
    );
    assert_eq!(locks.release("high"), ["waits for a controller"]);
}
