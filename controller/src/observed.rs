//! What a controller tells of itself.

use futures::future::BoxFuture;
use sarsen_observe::Observed;
use serde_json::{Value, json};

use crate::service::ControllerService;

impl Observed for ControllerService {
    fn role(&self) -> &'static str {
        "controller"
    }

    fn measure(&self) {
        let running = u32::try_from(self.running().len()).unwrap_or(u32::MAX);
        metrics::gauge!("sarsen_controller_queries").set(running);
    }

    fn ready(&self) -> Result<(), String> {
        self.joined.check()
    }

    fn queries(&self) -> Vec<String> {
        self.running().into_values().map(|task| task.query_id).collect()
    }

    fn dump(&self, query_id: &str) -> BoxFuture<'static, Option<Value>> {
        let found = self
            .running()
            .into_values()
            .find(|task| task.query_id == query_id);
        Box::pin(async move {
            let task = found?;
            // Still planning, or just ended, when there is none.
            let report = task.report().await.ok();
            let report = report.and_then(|report| serde_json::to_value(report).ok());
            Some(json!({"epoch": task.epoch, "slots": task.slots.nodes(), "report": report}))
        })
    }
}
