//! Inputs that are handed out while a stage runs: work stealing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use sarsen_kernel::controller::{ControllerAction, ControllerEvent};
use sarsen_kernel::ids::WorkOrderId;
use sarsen_kernel::query::{InputSplit, StageDefinition, StageInput};
use sarsen_kernel::shuffle::{OutputSizes, ShuffleKind};
use sarsen_kernel::work_order::{InputSlice, WorkOrder};

use crate::builders::{select, split, splits_of, stage};
use crate::tester::{Tester, sent};

/// Splits of unknown sizes, told apart by their payloads.
fn unknown(count: u32) -> StageInput {
    sized(count, 0)
}

fn sized(count: u32, bytes: u64) -> StageInput {
    splits_of(
        (0..count)
            .map(|number| split(number.to_le_bytes().to_vec(), bytes))
            .collect(),
    )
}

fn scan(input: StageInput, workers: u32) -> Tester {
    let scan = StageDefinition {
        max_worker_count: workers,
        ..stage(vec![input], ShuffleKind::Mix)
    };
    Tester::new(select(vec![scan]), workers)
}

fn number(split: &InputSplit) -> u32 {
    u32::from_le_bytes(split.payload.as_slice().try_into().unwrap())
}

fn numbers(splits: &[InputSplit]) -> Vec<u32> {
    splits.iter().map(number).collect()
}

fn first(order: &WorkOrder) -> (Vec<u32>, u32) {
    let [InputSlice::Splits { splits, unassigned }] = order.inputs.as_slice() else {
        panic!("{:?}", order.inputs);
    };
    (numbers(splits), *unassigned)
}

/// Asks, and gives what was answered: numbers, and how many splits nobody has.
fn ask(
    tester: &mut Tester,
    (stage, worker): (u32, u32),
    portion: u32,
    wanted: u32,
) -> Option<(Vec<u32>, u32)> {
    let order = tester.order(stage, worker);
    ask_of(tester, order, portion, wanted)
}

fn ask_of(tester: &mut Tester, order: WorkOrderId, portion: u32, wanted: u32) -> Option<(Vec<u32>, u32)> {
    let asked = ControllerEvent::SplitsWanted {
        order,
        input: 0,
        portion,
        wanted,
    };
    match tester.event(asked).as_slice() {
        [] => None,
        [
            ControllerAction::SendSplits {
                order: of,
                input: 0,
                portion: answered,
                splits,
                unassigned,
            },
        ] => {
            assert_eq!((*of, *answered), (order, portion));
            Some((numbers(splits), *unassigned))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn small_inputs_and_those_of_one_worker_are_placed_at_once() {
    for (input, workers) in [
        (sized(9, 10), 3),
        (unknown(9), 1),
        (unknown(3), 3),
        (sized(30, 100_000), 3),
    ] {
        let tester = scan(input, workers);
        let mut placed = Vec::new();
        for worker in tester.workers_of(0) {
            let (numbers, unassigned) = first(&tester.sent[&(0, worker)]);
            assert_eq!(unassigned, 0);
            placed.extend(numbers);
        }
        placed.sort_unstable();
        let all: Vec<u32> = (0..u32::try_from(placed.len()).unwrap()).collect();
        assert_eq!(placed, all);
    }
}

#[test]
fn portions_shrink_and_every_split_is_given_once() {
    let mut tester = scan(unknown(100), 4);
    let mut given: BTreeMap<u32, u32> = BTreeMap::new();
    let mut sizes = Vec::new();
    let mut give = |numbers: &[u32]| {
        sizes.push(numbers.len());
        for number in numbers {
            assert_eq!(given.insert(*number, 1), None, "split {number} was given twice");
        }
    };
    for worker in 0..4 {
        let (numbers, unassigned) = first(&tester.sent[&(0, worker)]);
        assert!(unassigned > 0);
        give(&numbers);
    }
    let (mut portion, mut left) = (0, 100);
    while left > 0 {
        portion += 1;
        let (numbers, unassigned) = ask(&mut tester, (0, 2), portion, 1).unwrap();
        give(&numbers);
        left = unassigned;
    }
    assert_eq!(given.len(), 100);
    assert!(sizes.is_sorted_by(|left, right| left >= right), "{sizes:?}");
    assert_eq!((sizes[0], sizes[sizes.len() - 1]), (3, 1));
    // The others learn that nothing is left.
    assert_eq!(ask(&mut tester, (0, 0), 1, 5), Some((Vec::new(), 0)));
}

#[test]
fn the_largest_splits_are_given_first() {
    let sizes = [1, 9, 3, 7, 5, 2, 8].map(|size| size << 20);
    let splits = (0_u32..)
        .zip(sizes)
        .map(|(number, bytes)| split(number.to_le_bytes().to_vec(), bytes));
    let mut tester = scan(splits_of(splits.collect()), 2);
    assert_eq!(first(&tester.sent[&(0, 0)]), (vec![1], 6));
    assert_eq!(first(&tester.sent[&(0, 1)]), (vec![6], 5));
    assert_eq!(ask(&mut tester, (0, 1), 1, 1), Some((vec![3], 4)));
}

#[test]
fn a_repeated_question_is_answered_once() {
    let mut tester = scan(unknown(40), 2);
    let order = tester.order(0, 0);
    let answer = ask_of(&mut tester, order, 1, 1);
    assert!(answer.is_some());
    assert_eq!(ask_of(&mut tester, order, 1, 1), None);
    assert_eq!(
        ask_of(&mut tester, order, 3, 1),
        None,
        "a question was never asked"
    );
    assert!(ask_of(&mut tester, order, 2, 1).is_some());
}

#[test]
fn a_lost_workers_splits_stay_its_own_and_the_rest_goes_to_whoever_asks() {
    let mut tester = scan(unknown(40), 2);
    let order = tester.order(0, 1);
    let mut had = first(&tester.sent[&(0, 1)]).0;
    had.extend(ask_of(&mut tester, order, 1, 1).unwrap().0);
    had.sort_unstable();
    tester.replace(1);
    let again = tester.order(0, 1);
    assert_ne!(again, order);
    let (mut runs_again, unassigned) = first(&tester.sent[&(0, 1)]);
    runs_again.sort_unstable();
    assert_eq!(runs_again, had);
    assert!(unassigned > 0);
    assert_eq!(
        ask_of(&mut tester, order, 2, 1),
        None,
        "the older attempt is nobody"
    );
    assert!(
        ask_of(&mut tester, again, 1, 1).is_some(),
        "a new attempt counts anew"
    );
}

#[test]
fn an_order_that_has_ended_is_made_again_of_just_its_splits() {
    let mut tester = scan(unknown(40), 2);
    let had = first(&tester.sent[&(0, 0)]).0;
    tester.output(0, 0, OutputSizes::new());
    let actions = tester.replace(0);
    assert_eq!(sent(&actions), vec![tester.order(0, 0)]);
    assert_eq!(first(&tester.sent[&(0, 0)]), (had, 0));
}

/// Virtual time until all of `splits` equal splits are done by workers that take so long for one, and the questions.
fn makespan(splits: u32, per_split: &[u64]) -> (u64, u64) {
    let workers = u32::try_from(per_split.len()).unwrap();
    let mut tester = scan(unknown(splits), workers);
    let mut busy: BinaryHeap<Reverse<(u64, u32, u32)>> = BinaryHeap::new();
    for worker in 0..workers {
        let (numbers, _) = first(&tester.sent[&(0, worker)]);
        busy.push(Reverse((
            numbers.len() as u64 * per_split[worker as usize],
            worker,
            0,
        )));
    }
    let (mut end, mut questions) = (0, 0);
    while let Some(Reverse((now, worker, portion))) = busy.pop() {
        end = end.max(now);
        questions += 1;
        let (numbers, unassigned) = ask(&mut tester, (0, worker), portion + 1, 1).unwrap();
        let ends = now + numbers.len() as u64 * per_split[worker as usize];
        match unassigned {
            0 => end = end.max(ends),
            _ => busy.push(Reverse((ends, worker, portion + 1))),
        }
    }
    (end, questions)
}

#[test]
fn a_slow_worker_does_not_hold_a_stage() {
    let (even, _) = makespan(400, &[10; 4]);
    assert!(even <= 1_010, "{even}");
    // Placed up front, the slow one's hundred splits would take 10,000; spread without a rest, 1,290.
    let (uneven, _) = makespan(400, &[10, 10, 10, 100]);
    assert!(uneven <= 1_400, "{uneven}");
}

#[test]
fn questions_are_few_however_many_splits_there_are() {
    let (_, questions) = makespan(100_000, &[10; 1_000]);
    assert!(questions <= 40_000, "{questions}");
}
