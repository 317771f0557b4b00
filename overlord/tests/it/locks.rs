use sarsen_overlord::ids::TaskId;
use sarsen_overlord::locks::{LockMode, LockTable};
use sarsen_overlord::time::Interval;

fn task(name: &str) -> TaskId {
    TaskId::from(name)
}

fn days(from: i64, to: i64) -> LockMode {
    const DAY: i64 = 86_400_000;
    LockMode::Exclusive(vec![Interval {
        start_ms: from * DAY,
        end_ms: to * DAY,
    }])
}

#[test]
fn inserts_share_a_datasource() {
    let mut locks = LockTable::default();
    assert!(locks.request(task("a"), "wiki", LockMode::Shared));
    assert!(locks.request(task("b"), "wiki", LockMode::Shared));
}

#[test]
fn replaces_of_other_intervals_or_datasources_do_not_wait() {
    let mut locks = LockTable::default();
    assert!(locks.request(task("a"), "wiki", days(0, 1)));
    assert!(locks.request(task("b"), "wiki", days(1, 2)));
    assert!(locks.request(task("c"), "other", LockMode::Exclusive(vec![Interval::ETERNITY])));
    assert!(!locks.request(task("d"), "wiki", LockMode::Exclusive(vec![Interval::ETERNITY])));
}

#[test]
fn waiting_tasks_are_granted_in_order_and_not_overtaken() {
    let mut locks = LockTable::default();
    assert!(locks.request(task("insert"), "wiki", LockMode::Shared));
    assert!(!locks.request(task("replace"), "wiki", days(0, 1)));
    assert!(!locks.request(task("late insert"), "wiki", LockMode::Shared));
    assert_eq!(locks.release(&task("insert"), "wiki"), vec![task("replace")]);
    assert_eq!(locks.release(&task("replace"), "wiki"), vec![task("late insert")]);
    assert!(locks.release(&task("late insert"), "wiki").is_empty());
    assert!(locks.is_empty());
}

#[test]
fn one_that_gives_up_waiting_lets_the_next_ones_go() {
    let mut locks = LockTable::default();
    assert!(locks.request(task("a"), "wiki", LockMode::Shared));
    assert!(!locks.request(task("b"), "wiki", days(0, 1)));
    assert!(!locks.request(task("c"), "wiki", LockMode::Shared));
    assert_eq!(locks.release(&task("b"), "wiki"), vec![task("c")]);
}
