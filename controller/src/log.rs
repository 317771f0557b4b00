//! Lines of a task's log: what the kernel had done.

use sarsen_kernel::controller::ControllerAction;

/// One line for what changes how the query stands; the rest is too much of the same.
pub fn action(action: &ControllerAction) {
    match action {
        ControllerAction::LaunchWorker { worker, incarnation } => {
            tracing::debug!(%worker, %incarnation, "a worker task is launched");
        }
        ControllerAction::SendWorkOrder { order, .. } => {
            tracing::debug!(order = %order.id, "a work order is sent");
        }
        ControllerAction::SendBoundaries { order, .. } => {
            tracing::debug!(%order, "boundaries of partitions are sent");
        }
        ControllerAction::StopWorkOrder { order } => tracing::debug!(%order, "a work order is stopped"),
        ControllerAction::CleanUpOutput { order } => tracing::debug!(%order, "an output is cleaned up"),
        ControllerAction::ReadResults { partitions, .. } => {
            tracing::debug!(partitions, "results are read");
        }
        ControllerAction::Publish { orders } => {
            tracing::debug!(outputs = orders.len(), "segments or files are published");
        }
        ControllerAction::Warn { stage, message } => tracing::warn!(%stage, message, "a warning"),
        ControllerAction::FinishWorker { worker, incarnation } => {
            tracing::debug!(%worker, %incarnation, "a worker task is told to end");
        }
        ControllerAction::SendSplits { .. } | ControllerAction::QueryFinished { .. } => {}
    }
}
