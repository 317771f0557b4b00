//! What an error of storage means to the user.

use sarsen_kernel::fault::Fault;
use sarsen_storage::StorageError;

/// The fault for a storage error; its message names the file or URL.
pub fn fault_of(error: &StorageError) -> Fault {
    match error {
        StorageError::TooManyBadRows { max, .. } if *max == 0 => Fault::TooManyWarnings {
            max_warnings: 1,
            root_error_code: "CannotParseExternalData".to_owned(),
        },
        StorageError::TooManyBadRows { max, .. } => Fault::TooManyWarnings {
            max_warnings: *max,
            root_error_code: "CannotParseExternalData".to_owned(),
        },
        StorageError::Row { .. } => Fault::CannotParseExternalData {
            error_message: error.to_string(),
        },
        // As Druid has them: nobody said what to do about a file that breaks off.
        StorageError::File { .. }
        | StorageError::Object { .. }
        | StorageError::Http { .. }
        | StorageError::HttpStatus { .. } => Fault::DruidException {
            druid_error_code: "general".to_owned(),
            persona: "DEVELOPER".to_owned(),
            category: "UNCATEGORIZED".to_owned(),
            message: error.to_string(),
        },
        other => Fault::UnknownError {
            message: other.to_string(),
        },
    }
}
