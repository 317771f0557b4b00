//! Errors of running fragments, as faults for the user.

use datafusion::common::DataFusionError;
use sarsen_engine::guard::{FieldError, WindowRowsError};
use sarsen_functions::ingest::NullTime;
use sarsen_functions::multivalue::explicit::SeveralValues;
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

/// What a worker task may use, for errors that say that it was not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub memory_bytes: u64,
    pub spill_bytes: u64,
}

/// How DataFusion says that spill files grew too large; its error has no kind of its own.
const SPILL_LIMIT: &str = "The used disk space during the spilling process";

/// What an error of a fragment means.
pub fn classify(error: &DataFusionError, budget: Budget) -> RunError {
    let root = error.find_root();
    if let Some(fault) = exhausted(root, budget) {
        return RunError::Fault(fault);
    }
    if let DataFusionError::External(inner) = root {
        if let Some(unavailable) = inner.downcast_ref::<OutputUnavailable>() {
            return RunError::Unavailable(unavailable.clone());
        }
        if let Some(FaultError(fault)) = inner.downcast_ref::<FaultError>() {
            return RunError::Fault(fault.clone());
        }
        if let Some(SeveralValues(message)) = inner.downcast_ref() {
            return RunError::Fault(Fault::DruidException {
                druid_error_code: "general".to_owned(),
                persona: "USER".to_owned(),
                category: "RUNTIME_FAILURE".to_owned(),
                message: message.clone(),
            });
        }
        if inner.downcast_ref::<NullTime>().is_some() {
            return RunError::Fault(Fault::InsertTimeNull {});
        }
        if let Some(error) = inner.downcast_ref::<FieldError>() {
            let source = error.source_name.clone();
            let fault = Fault::invalid_field(source, &error.column, error.row, &error.message);
            return RunError::Fault(fault);
        }
        if let Some(WindowRowsError { rows, max_rows }) = inner.downcast_ref() {
            return RunError::Fault(Fault::TooManyRowsInAWindow {
                num_rows: *rows,
                max_rows: *max_rows,
            });
        }
        if let Some(error) = inner.downcast_ref::<sarsen_storage::StorageError>() {
            return RunError::Fault(crate::storage_fault::fault_of(error));
        }
    }
    RunError::Fault(Fault::UnknownError {
        message: root.strip_backtrace(),
    })
}

/// The fault where memory or disk were not enough.
fn exhausted(root: &DataFusionError, budget: Budget) -> Option<Fault> {
    let no_storage = || Fault::NotEnoughTemporaryStorage {
        configured_temporary_storage: budget.spill_bytes,
    };
    match root {
        DataFusionError::ResourcesExhausted(text) if text.starts_with(SPILL_LIMIT) => Some(no_storage()),
        DataFusionError::ResourcesExhausted(text) => Some(Fault::NotEnoughMemory {
            server_memory: budget.memory_bytes,
            message: text.clone(),
        }),
        DataFusionError::IoError(error) if is_disk_full(error) => Some(no_storage()),
        DataFusionError::External(inner) => {
            let error = inner.downcast_ref::<std::io::Error>()?;
            is_disk_full(error).then(no_storage)
        }
        _ => None,
    }
}

/// Whether a file could not grow: the device is full, or the user's quota of it.
pub fn is_disk_full(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]

    use super::*;

    fn fault(error: DataFusionError) -> Fault {
        let budget = Budget {
            memory_bytes: 100,
            spill_bytes: 200,
        };
        match classify(&error.context("while it sorted"), budget) {
            RunError::Fault(fault) => fault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_runs_out_is_named() {
        let memory = fault(DataFusionError::ResourcesExhausted("no room".to_owned()));
        assert!(
            matches!(
                memory,
                Fault::NotEnoughMemory {
                    server_memory: 100,
                    ..
                }
            ),
            "{memory:?}"
        );
        let disk = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let limit = format!("{SPILL_LIMIT} has exceeded the allowable limit");
        for error in [
            DataFusionError::IoError(disk),
            DataFusionError::ResourcesExhausted(limit),
        ] {
            assert_eq!(
                fault(error),
                Fault::NotEnoughTemporaryStorage {
                    configured_temporary_storage: 200
                }
            );
        }
    }

    #[test]
    fn a_field_that_fails_is_told_with_its_row() {
        let found = fault(DataFusionError::External(Box::new(FieldError {
            source_name: Some("external[x]".to_owned()),
            column: "c".to_owned(),
            row: 3,
            message: "/ by zero".to_owned(),
        })));
        assert_eq!(found.code(), "InvalidField");
        assert_eq!(
            found.message(),
            "Error[/ by zero] while writing a field for source[external[x]], rowNumber[3], column[c]."
        );
    }
}
