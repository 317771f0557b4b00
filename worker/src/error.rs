//! Errors of running fragments, as faults for the user.

use datafusion::common::DataFusionError;
use sarsen_functions::ingest::NullTime;
use sarsen_kernel::fault::Fault;

use crate::pull::OutputUnavailable;

/// A fault on its way through DataFusion's errors.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.message())]
pub struct FaultError(pub Fault);

/// What went wrong with a work order.
#[derive(Debug)]
pub enum RunError {
    Fault(Fault),
    /// An input was not where the order said; the controller makes it anew.
    Unavailable(OutputUnavailable),
}

/// What an error of a fragment means.
pub fn classify(error: &DataFusionError) -> RunError {
    let root = error.find_root();
    if let DataFusionError::External(inner) = root {
        if let Some(unavailable) = inner.downcast_ref::<OutputUnavailable>() {
            return RunError::Unavailable(unavailable.clone());
        }
        if let Some(FaultError(fault)) = inner.downcast_ref::<FaultError>() {
            return RunError::Fault(fault.clone());
        }
        if inner.downcast_ref::<NullTime>().is_some() {
            return RunError::Fault(Fault::InsertTimeNull {});
        }
        if let Some(error) = inner.downcast_ref::<sarsen_storage::StorageError>() {
            return RunError::Fault(crate::storage_fault::fault_of(error));
        }
    }
    RunError::Fault(Fault::UnknownError {
        message: root.strip_backtrace(),
    })
}
