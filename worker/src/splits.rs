//! Outside data that a work order was given, and the questions for more.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::common::Result;
use futures::FutureExt;
use futures::future::BoxFuture;
use sarsen_engine::input::{Split, SplitFeed, SplitPayload};
use sarsen_kernel::ids::WorkOrderId;
use sarsen_kernel::query::InputSplit;
use sarsen_kernel::work_order::{InputSlice, WorkOrder};
use sarsen_storage::reader::ReadCounters;
use tokio::sync::{Notify, mpsc};

use crate::cores::off_core;

/// Splits that a partition takes at once at the most: enough that the next one is opened while one is read.
const TAKEN_AT_ONCE: usize = 8;

/// A work order has begun all that it has of an input, and could begin `wanted` splits more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitsBegun {
    pub order: WorkOrderId,
    pub input: u32,
    pub wanted: u32,
}

/// The splits of one input of a work order.
#[derive(Debug)]
pub struct Feed {
    order: WorkOrderId,
    input: u32,
    /// Partitions that read from it at once.
    pub partitions: usize,
    pub counters: Arc<ReadCounters>,
    state: Mutex<State>,
    arrived: Notify,
    questions: mpsc::UnboundedSender<SplitsBegun>,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<InputSplit>,
    /// Splits that no worker has yet.
    unassigned: u32,
    is_asked: bool,
    waiting: u32,
}

/// A feed for each input of an order that is outside data, at its place among the inputs.
pub fn feeds(
    order: &WorkOrder,
    cores: usize,
    questions: &mpsc::UnboundedSender<SplitsBegun>,
) -> Vec<Option<Arc<Feed>>> {
    let feed = |(input, slice): (u32, &InputSlice)| match slice {
        InputSlice::Splits { splits, unassigned } => {
            let known: usize = splits.iter().map(|split| split.files.max(1) as usize).sum();
            let feed = Feed {
                order: order.id,
                input,
                partitions: cores.clamp(1, (known + *unassigned as usize).max(1)),
                counters: Arc::default(),
                state: Mutex::default(),
                arrived: Notify::new(),
                questions: questions.clone(),
            };
            feed.add(splits.clone(), *unassigned);
            Some(Arc::new(feed))
        }
        InputSlice::Partitions { .. } => None,
    };
    (0..).zip(&order.inputs).map(feed).collect()
}

impl Feed {
    /// More to read; `unassigned` splits are still left for whoever asks.
    pub fn add(&self, splits: Vec<InputSplit>, unassigned: u32) {
        let files = splits.iter().map(|split| u64::from(split.files)).sum();
        self.counters.add_total_files(files);
        let mut state = self.state();
        state.ready.extend(splits);
        state.unassigned = unassigned;
        state.is_asked = false;
        drop(state);
        self.arrived.notify_waiters();
    }

    /// The next splits for one partition, none at the end; `None` while it is not known whether there will be more.
    fn find(&self) -> Option<Vec<InputSplit>> {
        let mut state = self.state();
        let fair = state.ready.len() / (2 * self.partitions);
        let count = fair.clamp(1, TAKEN_AT_ONCE).min(state.ready.len());
        let taken: Vec<InputSplit> = state.ready.drain(..count).collect();
        if state.ready.is_empty() && state.unassigned > 0 && !state.is_asked {
            state.is_asked = true;
            let begun = SplitsBegun {
                order: self.order,
                input: self.input,
                wanted: state.waiting.max(1),
            };
            // A task that is gone has stopped this order too.
            let _ = self.questions.send(begun);
        }
        let is_settled = !taken.is_empty() || !state.is_asked;
        is_settled.then_some(taken)
    }

    async fn take(&self) -> Vec<InputSplit> {
        if let Some(found) = self.find() {
            return found;
        }
        let _waiting = Waiting::new(self);
        loop {
            let mut arrived = std::pin::pin!(self.arrived.notified());
            arrived.as_mut().enable();
            // They may have come before anybody listened.
            if let Some(found) = self.find() {
                return found;
            }
            off_core(arrived).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SplitFeed for Feed {
    fn next(&self) -> BoxFuture<'_, Result<Vec<Split>>> {
        let decode = |split: InputSplit| {
            Ok(Split {
                payload: SplitPayload::decode(&split.payload)?,
                files: split.files,
            })
        };
        async move { self.take().await.into_iter().map(decode).collect() }.boxed()
    }
}

/// A partition that has nothing to read.
struct Waiting<'a>(&'a Feed);

impl<'a> Waiting<'a> {
    fn new(feed: &'a Feed) -> Self {
        feed.state().waiting += 1;
        Waiting(feed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use sarsen_kernel::ids::{Attempt, Epoch, QueryId, StageNumber, WorkerNumber};
    use sarsen_kernel::work_order::OutputMode;

    use super::*;

    fn split(number: u8) -> InputSplit {
        InputSplit {
            payload: vec![number],
            bytes: 10,
            files: 1,
        }
    }

    fn feed(splits: Vec<InputSplit>, unassigned: u32) -> (Arc<Feed>, mpsc::UnboundedReceiver<SplitsBegun>) {
        let (questions, asked) = mpsc::unbounded_channel();
        let order = WorkOrder {
            query_id: QueryId("q".into()),
            id: WorkOrderId {
                stage: StageNumber(0),
                worker: WorkerNumber(0),
                attempt: Attempt(0),
            },
            epoch: Epoch(1),
            inputs: vec![InputSlice::Splits { splits, unassigned }],
            fragment: Vec::new(),
            shuffle: None,
            boundaries: None,
            output: OutputMode::Memory,
        };
        let feed = feeds(&order, 4, &questions).remove(0).unwrap();
        (feed, asked)
    }

    #[tokio::test]
    async fn all_that_was_given_at_once_ends_without_a_question() {
        let (feed, mut asked) = feed(vec![split(0), split(1)], 0);
        assert_eq!(feed.partitions, 2);
        assert_eq!(feed.take().await, vec![split(0)]);
        assert_eq!(feed.take().await, vec![split(1)]);
        assert_eq!(feed.take().await, Vec::new());
        asked.try_recv().unwrap_err();
        assert_eq!(feed.counters.total_files(), 2);
    }

    #[tokio::test]
    async fn who_begins_the_last_split_asks_for_more_and_the_others_wait() {
        let (feed, mut asked) = feed(vec![split(0)], 9);
        assert_eq!(feed.take().await, vec![split(0)]);
        let begun = asked.try_recv().unwrap();
        assert_eq!((begun.input, begun.wanted), (0, 1));
        let takers: Vec<_> = (0..3)
            .map(|_| {
                let feed = Arc::clone(&feed);
                tokio::spawn(async move { feed.take().await })
            })
            .collect();
        tokio::task::yield_now().await;
        asked.try_recv().expect_err("one question at a time");
        feed.add(vec![split(1)], 8);
        let begun = asked.recv().await.unwrap();
        assert!(begun.wanted >= 2, "two still wait: {begun:?}");
        feed.add(vec![split(2)], 0);
        let mut taken = Vec::new();
        for taker in takers {
            taken.extend(taker.await.unwrap());
        }
        taken.sort_by_key(|split| split.payload[0]);
        assert_eq!(taken, vec![split(1), split(2)], "the third was told of the end");
        assert_eq!(feed.counters.total_files(), 3);
    }
}
