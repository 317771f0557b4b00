//! What can go wrong with files.

/// Every message names the file or URL.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("{0}")]
    Spec(String),
    #[error("{kind} [{place}] may not be read: it is under none of the allowed prefixes (--extern-allow)")]
    Denied { kind: &'static str, place: String },
    #[error("File [{path}] cannot be read: {reason}")]
    File { path: String, reason: String },
    #[error("HTTP source [{url}] answered {status}")]
    HttpStatus { url: String, status: u16 },
    #[error("HTTP source [{url}] cannot be read: {reason}")]
    Http { url: String, reason: String },
    #[error(
        "Unable to parse row [{text}] (Path: {}, Record: {record}, Line: {line})",
        uri(file)
    )]
    Row {
        /// Path or URL.
        file: String,
        record: u64,
        line: u64,
        text: String,
        reason: String,
    },
    #[error("Too many warnings of type CannotParseExternalData generated (max = {max})")]
    TooManyBadRows { max: u64, last: String },
    #[error("[{place}] cannot be read: {reason}")]
    Object { place: String, reason: String },
    #[error("{0}")]
    Export(String),
    #[error("cannot write segment [{path}]: {reason}")]
    Write { path: String, reason: String },
    #[error("deep storage [{url}] cannot be used: {reason}")]
    DeepStorage { url: String, reason: String },
}

/// A path as Druid names it in errors.
fn uri(location: &str) -> String {
    if location.starts_with('/') {
        format!("file:{location}")
    } else {
        location.to_owned()
    }
}

impl StorageError {
    pub(crate) fn file(path: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        StorageError::File {
            path: path.into(),
            reason: reason.to_string(),
        }
    }
}
