//! What a worker tells of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use metrics::{counter, gauge};
use sarsen_observe::Observed;
use serde_json::{Value, json};

use crate::service::WorkerService;

/// A worker's service, and what its Flight service has sent.
pub(crate) struct Watched {
    pub(crate) service: WorkerService,
    pub(crate) flight_sent: Arc<AtomicU64>,
}

impl Observed for Watched {
    fn role(&self) -> &'static str {
        "worker"
    }

    fn measure(&self) {
        let running = u32::try_from(self.service.running().len()).unwrap_or(u32::MAX);
        gauge!("druid_worker_task_running_count").set(running);
        gauge!("druid_worker_taskSlot_total_count").set(self.service.slots);
        let process = &self.service.process;
        let slots = usize::try_from(self.service.slots).unwrap_or(usize::MAX);
        let megabytes = process.task_memory.saturating_mul(slots) >> 20;
        let bytes = f64::from(u32::try_from(megabytes).unwrap_or(u32::MAX)) * f64::from(1 << 20);
        gauge!("sarsen_worker_memory_limit_bytes").set(bytes);
        let pulls = u32::try_from(process.network.open_pulls()).unwrap_or(u32::MAX);
        gauge!("sarsen_flight_open_pulls").set(pulls);
        counter!("sarsen_flight_sent_bytes").absolute(self.flight_sent.load(Ordering::Relaxed));
    }

    fn ready(&self) -> Result<(), String> {
        self.service.ready()
    }

    fn queries(&self) -> Vec<String> {
        let mut queries: Vec<String> = self
            .service
            .running()
            .into_keys()
            .map(|(query, ..)| query)
            .collect();
        queries.sort();
        queries.dedup();
        queries
    }

    fn dump(&self, query_id: &str) -> BoxFuture<'static, Option<Value>> {
        let mut running = self.service.running();
        running.retain(|(query, ..), _| query == query_id);
        Box::pin(async move {
            let mut tasks = Vec::new();
            for ((_, worker, incarnation), task) in running {
                tasks.push(json!({
                    "worker": worker,
                    "incarnation": incarnation,
                    "epoch": task.epoch,
                    "state": task.describe().await,
                }));
            }
            (!tasks.is_empty()).then_some(Value::Array(tasks))
        })
    }
}
