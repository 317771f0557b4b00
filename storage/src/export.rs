//! Exports: files that are written where nobody sees them, and put in place together, a manifest last
//! (Druid: multi-stage-query/reference.md#extern-to-export-to-a-destination).
//!
//! In a bucket an unfinished file is a multipart upload that the controller completes; in a folder it lies below a hidden
//! folder of the destination until it is renamed.

mod commit;
mod compress;
mod destination;
mod file;

use std::sync::Arc;

use sarsen_kernel::query::{ExportCompression, ExportFormat, ExportTarget};
use sarsen_object::{Staged, Stores};
use serde::{Deserialize, Serialize};

use crate::StorageError;
use crate::segment::DeepStorage;

pub use compress::Compressor;
pub use destination::Destination;
pub use file::ExportFile;

/// Where a process's exports may write.
#[derive(Debug, Clone)]
pub struct Exports {
    allow: Arc<[String]>,
    stores: Stores,
    /// Where durable results go.
    deep_storage: Option<DeepStorage>,
}

impl Exports {
    /// Allows what lies below one of `allow`: absolute paths and URLs.
    pub fn new(allow: &[String], stores: Stores) -> Self {
        Exports {
            allow: allow.into(),
            stores,
            deep_storage: None,
        }
    }

    /// The same, which may also write durable results to deep storage.
    #[must_use]
    pub fn with_results(self, deep_storage: DeepStorage) -> Self {
        Exports {
            deep_storage: Some(deep_storage),
            ..self
        }
    }

    /// Opens a destination; nothing is asked of it yet.
    ///
    /// # Errors
    /// When it is not allowed, or its settings are incomplete.
    pub fn open(&self, target: &ExportTarget) -> Result<Destination, StorageError> {
        match &self.deep_storage {
            Some(deep_storage) if target.is_results() => Ok(Destination::results(target, deep_storage)),
            _ => Destination::open(target, &self.allow, &self.stores),
        }
    }
}

/// A file whose bytes are complete and that is not in place yet. It holds all that putting it there or taking it back
/// needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFile {
    pub target: ExportTarget,
    /// Below the destination.
    pub name: String,
    pub partition: u32,
    pub rows: u64,
    pub bytes: u64,
    pub place: StagedPlace,
}

/// Where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StagedPlace {
    /// Absolute path.
    File(String),
    Upload(Staged),
}

/// Who writes a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writing {
    pub query_id: String,
    pub worker: u32,
    /// Differs between attempts of one work order.
    pub attempt: String,
}

/// The name of a file below its destination: `column=value/query-<id>-worker<n>-partition<n>.csv`; `sequence` counts the
/// files of one partition.
pub fn file_name(
    writing: &Writing,
    folder: &str,
    partition: u32,
    sequence: u32,
    target: &ExportTarget,
) -> String {
    let sequence = match sequence {
        0 => String::new(),
        sequence => format!("_{sequence}"),
    };
    format!(
        "{folder}query-{}-worker{}-partition{partition}{sequence}.{}",
        writing.query_id,
        writing.worker,
        extension(target)
    )
}

fn extension(target: &ExportTarget) -> String {
    let format = target.format.name();
    match (target.format, target.compression) {
        (ExportFormat::Parquet, _) | (_, ExportCompression::None | ExportCompression::Snappy) => {
            format.to_owned()
        }
        (_, ExportCompression::Gzip) => format!("{format}.gz"),
        (_, ExportCompression::Zstd) => format!("{format}.zst"),
    }
}

/// Folder name of NULL and of the empty text, as Hive has it.
const NO_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

/// `column=value/`, with what a path or a reader of it would take for something else escaped.
pub fn partition_folder(column: &str, value: Option<&str>) -> String {
    let value = value.filter(|value| !value.is_empty());
    let value = value.map_or_else(|| NO_VALUE.to_owned(), escaped);
    format!("{}={value}/", escaped(column))
}

fn escaped(text: &str) -> String {
    const ESCAPED: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS
        .add(b'"')
        .add(b'#')
        .add(b'%')
        .add(b'\'')
        .add(b'*')
        .add(b'/')
        .add(b':')
        .add(b'=')
        .add(b'?')
        .add(b'\\')
        .add(b'{')
        .add(b'}')
        .add(b'[')
        .add(b']')
        .add(b'^');
    let escaped = percent_encoding::utf8_percent_encode(text, ESCAPED).to_string();
    // Relative parts of a path.
    match escaped.as_str() {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => escaped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_as_hive_names_them() {
        for (value, folder) in [
            (Some("DE"), "c=DE/"),
            (Some("a/b c=%"), "c=a%2Fb c%3D%25/"),
            (Some(".."), "c=%2E%2E/"),
            (Some(""), "c=__HIVE_DEFAULT_PARTITION__/"),
            (None, "c=__HIVE_DEFAULT_PARTITION__/"),
        ] {
            assert_eq!(partition_folder("c", value), folder);
        }
    }
}
