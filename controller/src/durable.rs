//! Outputs of stages that outlive their workers: they lie in deep storage until the query has ended.

use crate::task::TaskEnvironment;

/// Where workers find the outputs of a controller's run, instead of the address of a process.
pub fn address(query_id: &str, epoch: u64) -> String {
    sarsen_worker::durable::address(query_id, epoch)
}

/// Removes all outputs of a query.
pub async fn clean_up(environment: &TaskEnvironment, query_id: &str) {
    let folder = sarsen_worker::durable::query_folder(query_id);
    if let Err(error) = environment.deep_storage.delete_folder(&folder).await {
        tracing::warn!(folder, %error, "durable outputs stay behind until the Overlord sweeps them");
    }
}
