use std::time::Instant;

use sarsen_overlord::ids::{NodeId, TaskId};
use sarsen_overlord::pool::Pool;
use sarsen_overlord::queue::{self, MAX_REDISPATCHES};
use sarsen_overlord::slots::WorkerNode;
use sarsen_overlord::state::{Phase, State};
use sarsen_proto::v1;

fn join(state: &mut State, name: &str, slots: u32) {
    let node = v1::Node {
        slots,
        ..node(name, v1::Role::Controller)
    };
    join_as(state, node);
}

fn join_as(state: &mut State, node: v1::Node) {
    let id = NodeId::from(node.node_id.as_str());
    state.members.beat(node, Instant::now()).unwrap();
    state.members.listed(&id);
}

fn node(name: &str, role: v1::Role) -> v1::Node {
    v1::Node {
        node_id: name.into(),
        address: name.into(),
        role: role.into(),
        ..Default::default()
    }
}

fn submit(state: &mut State, name: &str, kind: v1::StatementKind, priority: i32) -> TaskId {
    let id = TaskId::of_query(name);
    let spec = v1::TaskSpec {
        kind: kind.into(),
        datasource: "wiki".into(),
        priority,
        ..Default::default()
    };
    state.submit(&id, spec, 1);
    state.tasks.get_mut(&id).unwrap().persisted = true;
    id
}

#[test]
fn tasks_go_to_the_emptiest_controller_by_priority_and_wait_for_room() {
    let mut state = State::default();
    join(&mut state, "a", 1);
    join(&mut state, "b", 1);
    let low = submit(&mut state, "low", v1::StatementKind::Select, 0);
    let high = submit(&mut state, "high", v1::StatementKind::Select, 5);
    let next = submit(&mut state, "next", v1::StatementKind::Select, 0);
    let orders = queue::dispatch(&mut state, 2);
    assert_eq!(
        orders.iter().map(|order| &order.task).collect::<Vec<_>>(),
        [&high, &low]
    );
    assert_ne!(orders[0].node, orders[1].node);
    assert_eq!(queue::position(&state, &next), 1);
    state.forget(&low, 3);
    assert_eq!(queue::dispatch(&mut state, 3)[0].task, next);
}

#[test]
fn a_task_that_waits_for_its_lock_is_not_dispatched() {
    let mut state = State::default();
    join(&mut state, "a", 4);
    let first = submit(&mut state, "first", v1::StatementKind::Replace, 0);
    let second = submit(&mut state, "second", v1::StatementKind::Replace, 0);
    assert_eq!(queue::dispatch(&mut state, 2).len(), 1);
    state.forget(&first, 3);
    assert_eq!(queue::dispatch(&mut state, 4)[0].task, second);
    assert_eq!(state.tasks[&second].locked_ms, Some(3));
}

#[test]
fn a_lost_controller_costs_an_epoch_and_four_cost_the_task() {
    let mut state = State::default();
    let task = submit(&mut state, "q", v1::StatementKind::Select, 0);
    for epoch in 1..=u64::from(MAX_REDISPATCHES) + 1 {
        let name = format!("controller {epoch}");
        join(&mut state, &name, 1);
        assert_eq!(queue::dispatch(&mut state, 2)[0].epoch, epoch);
        let failures = queue::lose_controller(&mut state, &NodeId::from(name.as_str()));
        assert_eq!(
            failures.len(),
            usize::from(epoch == u64::from(MAX_REDISPATCHES) + 1)
        );
        state.members = Default::default();
    }
    assert!(matches!(state.tasks[&task].phase, Phase::Ending));
}

#[test]
fn a_controller_that_was_thought_dead_takes_its_task_up_again() {
    let mut state = State::default();
    join(&mut state, "a", 1);
    let task = submit(&mut state, "q", v1::StatementKind::Select, 0);
    queue::dispatch(&mut state, 2);
    let node = NodeId::from("a");
    assert!(queue::lose_controller(&mut state, &node).is_empty());
    let running = [
        v1::RunningTask {
            task_id: task.as_str().into(),
            epoch: 1,
            workers: [(0, "w".to_owned()), (1, "w".to_owned())].into(),
        },
        v1::RunningTask {
            task_id: "query-unknown".into(),
            epoch: 1,
            workers: Default::default(),
        },
    ];
    let adoption = queue::adopt(&mut state, &node, "a", &running);
    assert_eq!(adoption.strangers, [TaskId::of_query("unknown")]);
    assert!(matches!(state.tasks[&task].phase, Phase::Running { .. }));
    assert!(queue::dispatch(&mut state, 3).is_empty());
    // What it was given by whoever led before counts as taken.
    let worker = WorkerNode {
        id: NodeId::from("w"),
        address: "w".to_owned(),
        slots: 3,
        version: String::new(),
        labels: Default::default(),
    };
    assert_eq!(state.slots.capacity(&[worker]), (1, 3));
}

#[test]
fn a_running_task_of_lower_priority_loses_its_locks_and_is_told() {
    let mut state = State::default();
    join(&mut state, "a", 4);
    let low = submit(&mut state, "low", v1::StatementKind::Insert, 10);
    queue::dispatch(&mut state, 2);
    let high = submit(&mut state, "high", v1::StatementKind::Replace, 20);
    assert_eq!(state.take_preempted(), [(low.clone(), "a".to_owned())]);
    assert!(state.take_preempted().is_empty());
    assert!(state.tasks[&low].preempted && state.tasks[&low].locked_ms.is_none());
    assert_eq!(queue::dispatch(&mut state, 3)[0].task, high);
    assert!(!state.begin_publish(&low));
    assert!(state.begin_publish(&high));
    // Should its controller be lost, it is not run again.
    let failure = queue::lose(&mut state, &low).unwrap();
    assert!(
        failure.message.starts_with("InsertLockPreempted: "),
        "{}",
        failure.message
    );
}

#[test]
fn a_task_that_has_not_begun_gives_its_locks_up_and_waits() {
    let mut state = State::default();
    let low = submit(&mut state, "low", v1::StatementKind::Replace, 10);
    let high = submit(&mut state, "high", v1::StatementKind::Replace, 20);
    assert!(state.take_preempted().is_empty());
    assert!(!state.tasks[&low].preempted);
    join(&mut state, "a", 4);
    assert_eq!(queue::dispatch(&mut state, 2)[0].task, high);
    assert!(queue::dispatch(&mut state, 2).is_empty());
    state.forget(&high, 3);
    assert_eq!(queue::dispatch(&mut state, 4)[0].task, low);
}

#[test]
fn a_user_runs_no_more_queries_than_the_quota_and_others_pass() {
    let mut state = State::default();
    state.quotas.running_per_user = 1;
    join(&mut state, "a", 4);
    for (name, user) in [
        ("a1", "alice"),
        ("a2", "alice"),
        ("b1", "bob"),
        ("n1", ""),
        ("n2", ""),
    ] {
        let id = submit(&mut state, name, v1::StatementKind::Select, 0);
        let entry = state.tasks.get_mut(&id).unwrap();
        let spec = v1::TaskSpec {
            identity: user.into(),
            ..entry.spec.as_ref().clone()
        };
        entry.spec = spec.into();
    }
    let given = |state: &mut State| -> Vec<String> {
        let orders = queue::dispatch(state, 2);
        orders
            .iter()
            .map(|order| order.task.as_str().to_owned())
            .collect()
    };
    assert_eq!(given(&mut state), ["query-a1", "query-b1", "query-n1"]);
    assert!(given(&mut state).is_empty());
    assert!(queue::dispatch_new(&mut state, &TaskId::of_query("a2"), 2).is_none());
    state.forget(&TaskId::of_query("a1"), 3);
    assert_eq!(given(&mut state), ["query-a2"]);
}

#[test]
fn low_priority_tasks_are_not_passed_for_ever() {
    let mut state = State::default();
    let mut submitted = |name: &str, priority: i32, created_ms: i64| {
        let id = submit(&mut state, name, v1::StatementKind::Select, priority);
        state.tasks.get_mut(&id).unwrap().created_ms = created_ms;
        state.tasks[&id].rank()
    };
    let old = submitted("old", 0, 0);
    assert!(submitted("soon", 50, 499_000) < old);
    assert!(submitted("late", 50, 501_000) > old);
}

#[test]
fn a_synchronous_statement_does_not_wait_for_longer_than_its_timeout() {
    let mut state = State::default();
    let id = submit(&mut state, "q", v1::StatementKind::Select, 0);
    let entry = state.tasks.get_mut(&id).unwrap();
    entry.created_ms = 1_000;
    let spec = v1::TaskSpec {
        queue_timeout_ms: 500,
        ..entry.spec.as_ref().clone()
    };
    entry.spec = spec.into();
    assert!(queue::expire_waiting(&mut state, 1_499).is_empty());
    assert_eq!(
        queue::expire_waiting(&mut state, 1_500)[0].message,
        "Canceled: Query timed out"
    );
    assert!(queue::expire_waiting(&mut state, 1_501).is_empty());
}

fn join_in(state: &mut State, name: &str, role: v1::Role, version: &str, zone: &str) {
    let node = v1::Node {
        slots: 8,
        version: version.into(),
        labels: [("zone".to_owned(), zone.to_owned())].into(),
        ..node(name, role)
    };
    join_as(state, node);
}

#[test]
fn a_task_goes_to_a_controller_whose_version_has_workers() {
    let mut state = State::default();
    join_in(&mut state, "old", v1::Role::Controller, "0.1.0", "a");
    join_in(&mut state, "new", v1::Role::Controller, "0.2.0", "a");
    join_in(&mut state, "worker", v1::Role::Worker, "0.2.0", "a");
    for number in 0..8 {
        submit(&mut state, &format!("q{number}"), v1::StatementKind::Select, 0);
    }
    let late = submit(&mut state, "late", v1::StatementKind::Select, 0);
    let orders = queue::dispatch(&mut state, 2);
    assert_eq!(orders.len(), 8);
    assert!(orders.iter().all(|order| order.node.as_str() == "new"));
    // It waits rather than go where nobody could work for it.
    assert!(matches!(state.tasks[&late].phase, Phase::Waiting));
    join_in(&mut state, "old worker", v1::Role::Worker, "0.1.0", "a");
    assert_eq!(queue::dispatch(&mut state, 3)[0].node.as_str(), "old");
}

#[test]
fn a_task_with_labels_goes_where_such_workers_are() {
    let mut state = State::default();
    join_in(&mut state, "old", v1::Role::Controller, "0.1.0", "a");
    join_in(&mut state, "new", v1::Role::Controller, "0.2.0", "a");
    join_in(&mut state, "old worker", v1::Role::Worker, "0.1.0", "a");
    join_in(&mut state, "new worker", v1::Role::Worker, "0.2.0", "b");
    let id = TaskId::of_query("q");
    let spec = v1::TaskSpec {
        kind: v1::StatementKind::Select.into(),
        worker_labels: [("zone".to_owned(), "b".to_owned())].into(),
        ..Default::default()
    };
    state.submit(&id, spec.clone(), 1);
    state.tasks.get_mut(&id).unwrap().persisted = true;
    assert_eq!(queue::dispatch(&mut state, 2)[0].node.as_str(), "new");
    let pool = Pool::of(Some("0.1.0".to_owned()), &spec.worker_labels);
    let reason = pool.missing(&state.members.workers()).unwrap();
    assert!(reason.contains("0.1.0") && reason.contains("zone=b"), "{reason}");
    assert!(queue::is_served(&state, &pool, &state.members.workers()));
}

#[test]
fn a_controller_that_drains_is_given_nothing_and_what_it_hands_back_counts_for_nothing() {
    let mut state = State::default();
    let task = submit(&mut state, "q", v1::StatementKind::Select, 0);
    let mut epoch = 0;
    for number in 0..2 * MAX_REDISPATCHES {
        let name = format!("controller {number}");
        join(&mut state, &name, 1);
        let order = queue::dispatch(&mut state, 2).pop().unwrap();
        assert!(order.epoch > epoch);
        epoch = order.epoch;
        let draining = v1::Node {
            draining: true,
            ..state.members.get(&order.node).unwrap().clone()
        };
        state.members.beat(draining, Instant::now()).unwrap();
        assert!(state.members.controllers().next().is_none());
        assert!(state.members.leave(&order.node).is_some());
        assert!(queue::leave_controller(&mut state, &order.node).is_empty());
    }
    assert_eq!(state.tasks[&task].redispatches, 0);
}
