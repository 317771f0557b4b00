//! The files of a source.

use std::path::Path;

use globset::Glob;

use super::{InputFile, InputSource, LocalSource, SourceContext};
use crate::StorageError;

impl InputSource {
    /// All files that hold anything, in an order that does not change.
    ///
    /// # Errors
    /// For a named file or folder that does not exist or may not be read; a filter that matches nothing is no error.
    pub async fn list(&self, context: &SourceContext) -> Result<Vec<InputFile>, StorageError> {
        match self {
            InputSource::Inline { data } => Ok(vec![InputFile {
                location: String::new(),
                size: Some(data.len() as u64),
            }]),
            InputSource::Http(http) => http
                .uris
                .iter()
                .map(|uri| {
                    context.check_url(uri)?;
                    Ok(InputFile {
                        location: uri.clone(),
                        size: None,
                    })
                })
                .collect(),
            InputSource::Local(LocalSource::Files(files)) => files
                .iter()
                .map(|file| local_file(&context.check_path(file)?))
                .filter(holds_bytes)
                .collect(),
            InputSource::Local(LocalSource::Folder { base_dir, filter }) => {
                let glob = Glob::new(filter)
                    .map_err(|error| StorageError::Spec(format!("filter [{filter}]: {error}")))?
                    .compile_matcher();
                let Some(folder) = context.check_folder(base_dir)? else {
                    return Ok(Vec::new());
                };
                let mut found = Vec::new();
                walk(&folder, &mut |path| {
                    if path.file_name().is_some_and(|name| glob.is_match(name)) {
                        found.push(path.to_owned());
                    }
                })?;
                found.sort();
                found
                    .iter()
                    .map(|path| local_file(&context.check_path(&path.to_string_lossy())?))
                    .filter(holds_bytes)
                    .collect()
            }
        }
    }
}

/// An empty file holds no rows, whatever its format.
fn holds_bytes(file: &Result<InputFile, StorageError>) -> bool {
    !matches!(file, Ok(InputFile { size: Some(0), .. }))
}

fn local_file(path: &Path) -> Result<InputFile, StorageError> {
    let location = path.to_string_lossy().into_owned();
    let metadata = std::fs::metadata(path).map_err(|error| StorageError::file(&location, error))?;
    if metadata.is_dir() {
        return Err(StorageError::file(
            location,
            "it is a folder; use [baseDir] and [filter]",
        ));
    }
    Ok(InputFile {
        location,
        size: Some(metadata.len()),
    })
}

fn walk(folder: &Path, found: &mut impl FnMut(&Path)) -> Result<(), StorageError> {
    let failed = |error: std::io::Error| StorageError::file(folder.to_string_lossy(), error);
    // A folder that is not there holds no files, as one in which nothing matches; a file that is named must be there.
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            walk(&path, found)?;
        } else {
            found(&path);
        }
    }
    Ok(())
}
