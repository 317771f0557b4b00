//! What must hold at the end of every seed.

use std::collections::{BTreeMap, BTreeSet};

use sarsen_kernel::controller::{Limits, StagePhase};
use sarsen_kernel::ids::{StageNumber, WorkOrderId, WorkerNumber};
use sarsen_kernel::shuffle::{Boundaries, ShuffleKind};

use super::definition::identity;
use super::placing::sort_key;
use super::trouble::Kind;
use super::world::World;

/// Whether what happened to a query explains that it ended with a fault: it was cancelled, its publishing was refused,
/// an order failed for good, or a worker was lost more often, or its orders failed more often, than the limits allow.
fn explains(world: &World, code: &str) -> bool {
    let (trouble, limits) = (&world.trouble, Limits::default());
    let mut launches: BTreeMap<WorkerNumber, u32> = BTreeMap::new();
    for (worker, _) in world.lives.keys() {
        *launches.entry(*worker).or_default() += 1;
    }
    let most_launches = launches.into_values().max().unwrap_or(0);
    match code {
        "Canceled" => trouble.cancel_at.is_some(),
        "InsertLockPreempted" => trouble.fails_publish,
        "UnknownError" => trouble.poison > 0.0,
        "TooManyAttemptsForWorker" => {
            most_launches > limits.worker_relaunches || trouble.hiccups_seen + 1 >= limits.order_attempts
        }
        _ => false,
    }
}

/// How the query ended: a fault's code, or `finished`.
pub fn end(world: &World) -> &'static str {
    match world.end.as_ref().expect("the query ends") {
        Ok(()) => "finished",
        Err(report) => report.fault.code(),
    }
}

pub fn check(world: &World) {
    match world.end.as_ref().expect("the query ends") {
        Ok(()) => check_success(world),
        Err(report) => {
            let code = report.fault.code();
            assert_eq!(
                world.trouble.kind,
                Kind::Chaos,
                "{code}: {}",
                report.fault.message()
            );
            assert!(explains(world, code), "{code}: {}", report.fault.message());
        }
    }
    for process in &world.processes {
        let life = (process.worker, process.incarnation);
        assert!(!process.serves(), "{life:?} was never told to end");
        assert!(
            process.outputs.is_empty() && process.uncut.is_empty() && process.runs.is_empty(),
            "{life:?}"
        );
    }
}

fn check_success(world: &World) {
    let (partitions, orders) = world.results.as_ref().expect("a query that succeeds has results");
    let mut given: Vec<u64> = partitions.iter().flatten().copied().map(identity).collect();
    given.sort_unstable();
    assert_eq!(
        given,
        world.query.expected(&world.kernel),
        "rows were lost, doubled or changed"
    );
    check_order(world);
    check_lineage(world, orders);
    for stage in &world.query.definition.stages {
        let view = world.kernel.stage_view(stage.number).unwrap();
        let expected = if view.skipped {
            None
        } else {
            Some(StagePhase::Finished)
        };
        assert_eq!(view.phase, expected, "stage {}", stage.number);
    }
}

/// Partitions of a sorted result follow one another.
fn check_order(world: &World) {
    let Some(last) = world.query.definition.final_stage() else {
        return;
    };
    let Some(shuffle) = last
        .shuffle
        .as_ref()
        .filter(|shuffle| matches!(shuffle.kind, ShuffleKind::GlobalSort(_)))
    else {
        return;
    };
    let Some((partitions, _)) = &world.results else {
        return;
    };
    let mut before: Option<Vec<u8>> = None;
    for rows in partitions {
        let keys: Vec<Vec<u8>> = rows.iter().map(|row| sort_key(shuffle, *row)).collect();
        if let (Some(least), Some(before)) = (keys.iter().min(), &before) {
            assert!(before < least, "partitions overlap");
        }
        before = keys.into_iter().max().or(before);
    }
}

/// Of an output whose rows may change place from run to run, one attempt alone went into the result; and of every
/// stage, outputs that were cut alike.
fn check_lineage(world: &World, orders: &[WorkOrderId]) {
    let mut seen: BTreeSet<WorkOrderId> = BTreeSet::new();
    let mut open: Vec<WorkOrderId> = orders.to_vec();
    let mut boundaries: BTreeMap<StageNumber, BTreeSet<Option<Vec<u8>>>> = BTreeMap::new();
    while let Some(order) = open.pop() {
        if !seen.insert(order) {
            continue;
        }
        let record = world.records.get(&order).expect("what was read had run");
        boundaries
            .entry(order.stage)
            .or_default()
            .insert(record.boundaries.as_ref().map(fingerprint));
        open.extend(&record.reads);
    }
    for (stage, cuts) in boundaries {
        assert_eq!(cuts.len(), 1, "stage {stage} was cut in {} ways", cuts.len());
    }
    let mut previous: Option<WorkOrderId> = None;
    for order in seen {
        if let Some(previous) = previous
            && (previous.stage, previous.worker) == (order.stage, order.worker)
        {
            assert!(
                !world.query.is_unstable(order.stage),
                "{previous} and {order} are mixed"
            );
        }
        previous = Some(order);
    }
}

fn fingerprint(boundaries: &Boundaries) -> Vec<u8> {
    format!("{boundaries:?}").into_bytes()
}
