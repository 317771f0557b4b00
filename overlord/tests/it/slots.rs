use sarsen_overlord::ids::{NodeId, TaskId};
use sarsen_overlord::slots::{Completeness, SlotTable, WorkerNode};

fn nodes(slots: &[u32]) -> Vec<WorkerNode> {
    let node = |(number, slots): (usize, &u32)| WorkerNode {
        id: NodeId::from(format!("n{number}").as_str()),
        address: format!("http://n{number}"),
        slots: *slots,
        version: String::new(),
        labels: Default::default(),
    };
    slots.iter().enumerate().map(node).collect()
}

fn names(taken: Option<Vec<(u32, NodeId)>>) -> Vec<String> {
    taken
        .unwrap()
        .into_iter()
        .map(|(worker, node)| format!("{worker}@{node}"))
        .collect()
}

#[test]
fn workers_are_spread_over_the_nodes() {
    let mut slots = SlotTable::default();
    let taken = slots.acquire(
        &TaskId::from("a"),
        &[0, 1, 2],
        &[],
        Completeness::All,
        &nodes(&[2, 2, 2]),
    );
    assert_eq!(names(taken), ["0@n0", "1@n1", "2@n2"]);
}

#[test]
fn all_or_nothing_takes_nothing_when_there_are_too_few() {
    let (mut slots, nodes) = (SlotTable::default(), nodes(&[1, 1]));
    let task = TaskId::from("a");
    assert!(
        slots
            .acquire(&task, &[0, 1, 2], &[], Completeness::All, &nodes)
            .is_none()
    );
    assert_eq!(slots.capacity(&nodes), (2, 2));
    assert_eq!(
        slots
            .acquire(&task, &[0, 1, 2], &[], Completeness::AtLeastOne, &nodes)
            .unwrap()
            .len(),
        2
    );
    assert!(
        slots
            .acquire(&TaskId::from("b"), &[0], &[], Completeness::AtLeastOne, &nodes)
            .is_none()
    );
    slots.release_task(&task);
    assert_eq!(slots.capacity(&nodes), (2, 2));
}

#[test]
fn a_repeated_acquisition_answers_the_held_slot() {
    let (mut slots, nodes) = (SlotTable::default(), nodes(&[2, 2]));
    let task = TaskId::from("a");
    let first = names(slots.acquire(&task, &[0, 1], &[], Completeness::All, &nodes));
    assert_eq!(
        names(slots.acquire(&task, &[0, 1], &[], Completeness::All, &nodes)),
        first
    );
    assert_eq!(slots.capacity(&nodes), (2, 4));
}

#[test]
fn a_worker_moves_away_from_avoided_and_dead_nodes() {
    let (mut slots, two) = (SlotTable::default(), nodes(&[1, 1]));
    let task = TaskId::from("a");
    assert_eq!(
        names(slots.acquire(&task, &[0], &[], Completeness::All, &two)),
        ["0@n0"]
    );
    let avoid = ["http://n0".to_owned()];
    assert_eq!(
        names(slots.acquire(&task, &[0], &avoid, Completeness::All, &two)),
        ["0@n1"]
    );
    slots.drop_node(&NodeId::from("n1"));
    assert_eq!(
        names(slots.acquire(&task, &[0], &[], Completeness::All, &two[..1])),
        ["0@n0"]
    );
}

#[test]
fn an_avoided_node_is_better_than_none() {
    let (mut slots, one) = (SlotTable::default(), nodes(&[1]));
    let task = TaskId::from("a");
    slots.acquire(&task, &[0], &[], Completeness::All, &one).unwrap();
    let avoid = ["n0".to_owned()];
    assert_eq!(
        names(slots.acquire(&task, &[0], &avoid, Completeness::All, &one)),
        ["0@n0"]
    );
}
