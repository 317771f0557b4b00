//! What can go wrong with an object store.

/// Every message names the bucket or URL.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("[{url}] is not the URL of an object store: {reason}")]
    Url { url: String, reason: String },
    #[error("[{place}] cannot be opened: {reason}")]
    Open { place: String, reason: String },
}

/// An error and all that it came from, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
