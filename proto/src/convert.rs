//! Kernel values inside messages.

use sarsen_kernel::ids::{Attempt, StageNumber, WorkOrderId, WorkerNumber};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::v1;

/// A message that does not hold what its type promises.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("a {message} message lacks its field `{field}`")]
    Missing {
        message: &'static str,
        field: &'static str,
    },
    #[error("cannot read a {kind} out of a message: {reason}")]
    Malformed { kind: &'static str, reason: String },
}

impl From<DecodeError> for tonic::Status {
    fn from(error: DecodeError) -> Self {
        tonic::Status::invalid_argument(error.to_string())
    }
}

/// Wraps a kernel value for the wire.
pub fn to_kernel<T: Serialize>(value: &T) -> Result<v1::KernelValue, DecodeError> {
    let json = serde_json::to_vec(value).map_err(|error| DecodeError::Malformed {
        kind: std::any::type_name::<T>(),
        reason: error.to_string(),
    })?;
    Ok(v1::KernelValue { json: json.into() })
}

/// Reads the kernel value that a field of type `KernelValue` holds.
pub fn from_kernel<T: DeserializeOwned>(
    value: Option<&v1::KernelValue>,
    message: &'static str,
    field: &'static str,
) -> Result<T, DecodeError> {
    let value = value.ok_or(DecodeError::Missing { message, field })?;
    serde_json::from_slice(&value.json).map_err(|error| DecodeError::Malformed {
        kind: std::any::type_name::<T>(),
        reason: error.to_string(),
    })
}

impl From<WorkOrderId> for v1::WorkOrderRef {
    fn from(id: WorkOrderId) -> Self {
        v1::WorkOrderRef {
            stage: id.stage.0,
            worker: id.worker.0,
            attempt: id.attempt.0,
        }
    }
}

impl From<&v1::WorkOrderRef> for WorkOrderId {
    fn from(order: &v1::WorkOrderRef) -> Self {
        WorkOrderId {
            stage: StageNumber(order.stage),
            worker: WorkerNumber(order.worker),
            attempt: Attempt(order.attempt),
        }
    }
}
