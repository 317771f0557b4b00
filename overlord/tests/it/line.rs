//! The line for worker slots: its rules, and a day of it on virtual time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sarsen_overlord::ids::TaskId;
use sarsen_overlord::line::{Line, Room, Turn, Waiting};
use sarsen_overlord::pool::Pool;
use sarsen_overlord::rank::Rank;
use sarsen_overlord::slots::Completeness;

fn task(number: u64) -> TaskId {
    TaskId::from(format!("t{number}").as_str())
}

fn waiting(number: u64, workers: u32, completeness: Completeness) -> Waiting {
    Waiting {
        task: task(number),
        user: String::new(),
        rank: Rank::new(50, i64::try_from(number).unwrap(), number),
        workers: (0..workers).collect(),
        completeness,
        pool: Pool::default(),
    }
}

fn partial(number: u64, workers: u32) -> Waiting {
    waiting(number, workers, Completeness::AtLeastOne)
}

fn room(total: u32, held: &[(u64, u32)]) -> Room {
    Room {
        total,
        held: held
            .iter()
            .map(|(number, slots)| (task(*number), *slots))
            .collect(),
        ..Room::default()
    }
}

/// Whose turn it is when no one holds any of the numbers that are asked for.
fn turn(line: &mut Line, room: &Room) -> Option<(TaskId, u32)> {
    let Turn { ticket, fresh } = line.next(room, |_| 0)?;
    Some((line.leave(ticket)?.task, fresh))
}

#[test]
fn alone_a_query_gets_all_that_it_asks_for() {
    let mut line = Line::default();
    line.join(partial(1, 7));
    assert_eq!(turn(&mut line, &room(8, &[])), Some((task(1), 7)));
    line.join(partial(2, 7));
    assert_eq!(turn(&mut line, &room(8, &[(1, 7)])), Some((task(2), 1)));
}

#[test]
fn those_who_wait_together_share() {
    let mut line = Line::default();
    for number in 1..=3 {
        line.join(partial(number, 8));
    }
    assert_eq!(turn(&mut line, &room(8, &[(0, 1)])), Some((task(1), 2)));
    assert_eq!(turn(&mut line, &room(8, &[(0, 1), (1, 2)])), Some((task(2), 2)));
    assert_eq!(
        turn(&mut line, &room(8, &[(0, 1), (1, 2), (2, 2)])),
        Some((task(3), 3))
    );
    assert!(line.is_empty());
}

#[test]
fn a_query_that_lost_a_worker_goes_before_new_ones() {
    let mut line = Line::default();
    line.join(partial(1, 1));
    line.join(waiting(2, 1, Completeness::All));
    assert_eq!(turn(&mut line, &room(4, &[(2, 3)])), Some((task(2), 1)));
}

#[test]
fn a_big_one_is_passed_by_small_ones_but_not_for_ever() {
    let mut line = Line::default();
    let big = line.join(waiting(1, 8, Completeness::All));
    let mut passes = 0;
    for number in 2..100 {
        line.join(partial(number, 1));
        match turn(&mut line, &room(8, &[(1_000, 4)])) {
            Some((small, 1)) => assert_eq!(small, task(number)),
            None => break,
            other => panic!("{other:?}"),
        }
        passes += 1;
    }
    assert_eq!(passes, 16);
    assert_eq!(
        line.next(&room(8, &[]), |_| 0),
        Some(Turn {
            ticket: big,
            fresh: 8
        })
    );
}

#[test]
fn one_that_no_cluster_of_this_size_could_serve_holds_nobody_up() {
    let mut line = Line::default();
    line.join(waiting(1, 9, Completeness::All));
    for number in 2..50 {
        line.join(partial(number, 1));
        assert_eq!(turn(&mut line, &room(8, &[])), Some((task(number), 1)));
    }
}

#[test]
fn a_user_at_the_quota_waits_and_others_do_not() {
    let mut line = Line::default();
    let of = |number, user: &str| Waiting {
        user: user.to_owned(),
        ..partial(number, 4)
    };
    line.join(of(1, "alice"));
    line.join(of(2, "bob"));
    let room = Room {
        by_user: HashMap::from([("alice".to_owned(), 3)]),
        per_user: 3,
        ..room(8, &[(9, 3)])
    };
    assert_eq!(turn(&mut line, &room), Some((task(2), 2)));
    assert_eq!(turn(&mut line, &room), None);
}

#[test]
fn who_holds_what_it_asks_for_needs_no_free_slot() {
    let mut line = Line::default();
    let ticket = line.join(partial(1, 4));
    let held = room(4, &[(1, 2), (2, 2)]);
    assert_eq!(line.next(&held, |_| 2), Some(Turn { ticket, fresh: 0 }));
}

/// A pseudorandom number, the same for the same seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// A query: when it comes, what it asks for, and how long one worker would take for it.
#[derive(Debug, Clone)]
struct Query {
    arrives: u64,
    workers: u32,
    work: u64,
    priority: i32,
}

/// Waiting time and work of each query, on `total` slots.
fn simulate(total: u32, queries: &[Query]) -> Vec<(u64, u64)> {
    let mut line = Line::default();
    let mut tickets = HashMap::new();
    let mut held: BTreeMap<usize, u32> = BTreeMap::new();
    let mut ends: BTreeSet<(u64, usize)> = BTreeSet::new();
    let mut waited = vec![None; queries.len()];
    let mut arrivals: Vec<usize> = (0..queries.len()).collect();
    arrivals.sort_by_key(|number| queries[*number].arrives);
    let mut arrivals = arrivals.into_iter().peekable();
    loop {
        let arrival = arrivals.peek().map(|number| queries[*number].arrives);
        let end = ends.first().map(|(at, _)| *at);
        let Some(now) = arrival.into_iter().chain(end).min() else {
            break;
        };
        while let Some(number) = arrivals.next_if(|number| queries[*number].arrives == now) {
            let query = &queries[number];
            let seq = u64::try_from(number).unwrap();
            let waiting = Waiting {
                rank: Rank::new(query.priority, i64::try_from(now).unwrap(), seq),
                ..partial(seq, query.workers)
            };
            tickets.insert(line.join(waiting), number);
        }
        while let Some((at, number)) = ends.first().copied().filter(|(at, _)| *at == now) {
            ends.remove(&(at, number));
            held.remove(&number);
        }
        loop {
            let slots: Vec<(u64, u32)> = held
                .iter()
                .map(|(number, slots)| (u64::try_from(*number).unwrap(), *slots))
                .collect();
            let Some(Turn { ticket, fresh }) = line.next(&room(total, &slots), |_| 0) else {
                break;
            };
            line.leave(ticket);
            let number = tickets[&ticket];
            assert!(fresh >= 1 && fresh <= queries[number].workers);
            held.insert(number, fresh);
            assert!(held.values().sum::<u32>() <= total, "no slot is given twice");
            waited[number] = Some(now - queries[number].arrives);
            ends.insert((now + queries[number].work.div_ceil(u64::from(fresh)), number));
        }
        assert!(
            held.values().sum::<u32>() == total || line.is_empty(),
            "nobody waits while a slot is free"
        );
    }
    let waited = waited.into_iter().map(|waited| waited.expect("every query runs"));
    waited.zip(queries.iter().map(|query| query.work)).collect()
}

fn percentile(mut numbers: Vec<u64>, percent: usize) -> u64 {
    numbers.sort_unstable();
    numbers[(numbers.len() - 1) * percent / 100]
}

#[test]
fn fifty_queries_on_eight_slots_wait_no_longer_than_the_work_before_them_takes() {
    for seed in 0..500 {
        let mut random = Random(seed);
        let queries: Vec<Query> = (0..50)
            .map(|_| Query {
                arrives: random.below(1_000),
                workers: [1, 1, 2, 4, 8, 16][usize::try_from(random.below(6)).unwrap()],
                work: 100 + random.below(4_000) * random.below(4),
                priority: 50,
            })
            .collect();
        let work: u64 = queries.iter().map(|query| query.work).sum();
        let longest = queries.iter().map(|query| query.work).max().unwrap();
        let waits: Vec<u64> = simulate(8, &queries)
            .into_iter()
            .map(|(waited, _)| waited)
            .collect();
        // All slots are busy while anyone waits: nobody waits for longer than all others' work, spread over the slots, and
        // the longest one that has begun.
        assert!(*waits.iter().max().unwrap() <= work / 8 + longest, "seed {seed}");
        assert!(percentile(waits, 95) <= work / 8 + longest / 2, "seed {seed}");
    }
}

#[test]
fn nobody_starves_beside_a_stream_of_small_and_important_queries() {
    // One small query of high priority every 100 ms keeps eight slots more than busy; one of low priority comes first.
    let mut queries = vec![Query {
        arrives: 3_000,
        workers: 8,
        work: 5_000,
        priority: 0,
    }];
    queries.extend((0..7_000).map(|number| Query {
        arrives: number * 100,
        workers: 1,
        work: 850,
        priority: 50,
    }));
    let waits = simulate(8, &queries);
    // 50 points of priority are worth 500 seconds, by when the queue is 32 seconds long.
    assert!(waits[0].0 <= 540_000, "{}", waits[0].0);
    assert!(waits[0].0 >= 100_000, "priority counts: {}", waits[0].0);
}
