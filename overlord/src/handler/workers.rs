//! Worker slots for tasks.

use std::time::Duration;

use sarsen_proto::v1;

use crate::error::RequestError;
use crate::ids::TaskId;
use crate::overlord::Overlord;
use crate::slots::Completeness;

/// A call waits so long for slots; the caller asks again.
const PATIENCE: Duration = Duration::from_secs(10);

/// A place in the line for slots, given up when the call ends in whatever way.
struct Place<'a> {
    overlord: &'a Overlord,
    place: (u64, u64, u32),
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.overlord.state().acquiring.remove(&self.place);
        // Who stood behind it may go now.
        self.overlord.slots_changed.send_replace(());
    }
}

impl Overlord {
    pub(crate) async fn acquire_workers(
        &self,
        request: v1::AcquireWorkersRequest,
    ) -> Result<v1::AcquireWorkersReply, RequestError> {
        let id = TaskId::from(request.task_id.as_str());
        let fewest = if request.partial {
            request.workers.len().min(1)
        } else {
            request.workers.len()
        };
        let fewest = u32::try_from(fewest).unwrap_or(u32::MAX);
        let mut changed = self.slots_changed.subscribe();
        let place = {
            let mut state = self.state();
            let seq = Overlord::fence(&mut state, &id, request.epoch)?.seq;
            let needed = fewest.saturating_add(state.slots.held_beside(&id, &request.workers));
            let place = (seq, state.take_ticket(), needed);
            state.acquiring.insert(place);
            place
        };
        let place = Place {
            overlord: self,
            place,
        };
        let patience = tokio::time::sleep(PATIENCE);
        tokio::pin!(patience);
        loop {
            changed.borrow_and_update();
            if let Some(reply) = self.try_acquire(&id, &request, place.place)? {
                return Ok(reply);
            }
            tokio::select! {
                _ = changed.changed() => {}
                () = &mut patience => break,
                () = self.shutdown.cancelled() => return Err(RequestError::ShuttingDown),
            }
        }
        let state = self.state();
        let (free, total) = state.slots.capacity(&state.members.workers());
        Err(RequestError::NoSlots {
            task_id: id,
            wanted: request.workers.len(),
            free,
            total,
        })
    }

    /// Takes all or nothing in one step, the oldest task first; a request that no cluster of this size could ever
    /// answer holds nobody up.
    fn try_acquire(
        &self,
        id: &TaskId,
        request: &v1::AcquireWorkersRequest,
        place: (u64, u64, u32),
    ) -> Result<Option<v1::AcquireWorkersReply>, RequestError> {
        let mut guard = self.state();
        let state = &mut *guard;
        Overlord::fence(state, id, request.epoch)?;
        let nodes = state.members.workers();
        let (_, total) = state.slots.capacity(&nodes);
        if state
            .acquiring
            .range(..place)
            .any(|(_, _, needed)| *needed <= total)
        {
            return Ok(None);
        }
        let completeness = if request.partial {
            Completeness::AtLeastOne
        } else {
            Completeness::All
        };
        let taken = state
            .slots
            .acquire(id, &request.workers, &request.avoid, completeness, &nodes);
        let Some(taken) = taken else { return Ok(None) };
        let assignment = |(worker, node)| v1::WorkerAssignment {
            worker,
            node: state.members.get(&node).cloned(),
        };
        Ok(Some(v1::AcquireWorkersReply {
            assignments: taken.into_iter().map(assignment).collect(),
        }))
    }

    pub(crate) fn release_workers(
        &self,
        request: v1::ReleaseWorkersRequest,
    ) -> Result<v1::Empty, RequestError> {
        let id = TaskId::from(request.task_id.as_str());
        {
            let mut state = self.state();
            Overlord::fence(&mut state, &id, request.epoch)?;
            state.slots.release(&id, &request.workers);
        }
        self.slots_changed.send_replace(());
        Ok(v1::Empty {})
    }
}
