//! The files of a source, one after another: a listing is never held as a whole.

use std::path::{Path, PathBuf};

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use globset::{Glob, GlobMatcher};
use object_store::ObjectStoreExt;
use sarsen_object::Location;

use super::{InputFile, InputSource, LocalSource, Named, ObjectSource, SourceContext};
use crate::StorageError;

/// Objects that are asked for their size at once.
const ASKED_AT_ONCE: usize = 16;

type Files<'a> = BoxStream<'a, Result<InputFile, StorageError>>;

impl InputSource {
    /// All files that hold anything, in an order that does not change. It fails for a named file or folder that does not
    /// exist or may not be read; a filter that matches nothing is no error.
    pub fn list<'a>(&'a self, context: &'a SourceContext) -> Files<'a> {
        match self {
            InputSource::Inline { data } => once(Ok(InputFile {
                location: String::new(),
                size: Some(data.len() as u64),
            })),
            InputSource::Http(http) => {
                let files = http.uris.iter().map(|uri| {
                    context.check_url(uri)?;
                    Ok(InputFile {
                        location: uri.clone(),
                        size: None,
                    })
                });
                futures::stream::iter(files).boxed()
            }
            InputSource::Local(LocalSource::Files(files), _) => {
                let files = files.iter().map(|file| local_file(&context.check_path(file)?));
                futures::stream::iter(files.filter(holds_bytes)).boxed()
            }
            InputSource::Local(LocalSource::Folder { base_dir, filter }, _) => {
                match folder(base_dir, filter, context) {
                    Ok(files) => files,
                    Err(error) => once(Err(error)),
                }
            }
            InputSource::Objects(objects) => match &objects.named {
                Named::Objects(locations) => named_objects(objects, locations, context),
                Named::Prefixes(prefixes) => futures::stream::iter(prefixes)
                    .flat_map(|prefix| listed_objects(objects, prefix, context))
                    .boxed(),
            },
        }
    }
}

fn once<'a>(file: Result<InputFile, StorageError>) -> Files<'a> {
    futures::stream::once(async move { file }).boxed()
}

/// Objects that are named one by one; each must be there.
fn named_objects<'a>(
    source: &'a ObjectSource,
    locations: &'a [Location],
    context: &'a SourceContext,
) -> Files<'a> {
    let wanted = locations.iter().filter(|location| source.wants(&location.key));
    let asked = wanted.map(move |location| async move {
        let failed = |reason: String| StorageError::Object {
            place: location.to_string(),
            reason,
        };
        let bucket = source.bucket(location, context)?;
        let path = location.path().map_err(|error| failed(error.to_string()))?;
        let found = bucket
            .store
            .head(&path)
            .await
            .map_err(|error| failed(reason(&error)))?;
        Ok(InputFile {
            location: location.to_string(),
            size: Some(found.size),
        })
    });
    futures::stream::iter(asked)
        .buffered(ASKED_AT_ONCE)
        .filter(|file| futures::future::ready(holds_bytes(file)))
        .boxed()
}

/// Objects that hold anything and whose keys begin with a prefix.
fn listed_objects<'a>(
    source: &'a ObjectSource,
    prefix: &'a Location,
    context: &'a SourceContext,
) -> Files<'a> {
    let bucket = match source.bucket(prefix, context) {
        Ok(bucket) => bucket,
        Err(error) => return once(Err(error)),
    };
    let listed = bucket.list(&prefix.key).map_err(|error| StorageError::Object {
        place: prefix.to_string(),
        reason: reason(&error),
    });
    listed
        .try_filter(|object| {
            let wanted = object.size > 0 && source.wants(object.location.as_ref());
            futures::future::ready(wanted)
        })
        .and_then(move |object| {
            let location = prefix.with_key(object.location.as_ref()).to_string();
            // A prefix need not end at a slash: what begins with it may be outside of what is allowed.
            let allowed = context.check_url(&location);
            futures::future::ready(allowed.map(|()| InputFile {
                location,
                size: Some(object.size),
            }))
        })
        .boxed()
}

/// The error of a store in few words.
pub(super) fn reason(error: &object_store::Error) -> String {
    match error {
        object_store::Error::NotFound { .. } => "there is no such object or bucket".to_owned(),
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            "the store denies access with these credentials".to_owned()
        }
        other => other.to_string(),
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

fn folder<'a>(base_dir: &str, filter: &str, context: &'a SourceContext) -> Result<Files<'a>, StorageError> {
    let glob = Glob::new(filter)
        .map_err(|error| StorageError::Spec(format!("filter [{filter}]: {error}")))?
        .compile_matcher();
    let Some(folder) = context.check_folder(base_dir)? else {
        return Ok(futures::stream::empty().boxed());
    };
    let walk = Walk {
        glob,
        left: vec![folder],
    };
    let files = walk.map(move |path| {
        let path = path?;
        local_file(&context.check_path(&path.to_string_lossy())?)
    });
    Ok(futures::stream::iter(files.filter(holds_bytes)).boxed())
}

/// Files below a folder by name, one folder at a time.
struct Walk {
    glob: GlobMatcher,
    /// Files and folders that are still to be looked at, the next one last.
    left: Vec<PathBuf>,
}

impl Walk {
    fn enter(&mut self, folder: &Path) -> Result<(), StorageError> {
        let failed = |error: std::io::Error| StorageError::file(folder.to_string_lossy(), error);
        // A folder that is not there holds no files, as one in which nothing matches; a file that is named must be there.
        let entries = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        let mut paths = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        paths.sort_unstable_by(|left, right| right.cmp(left));
        self.left.append(&mut paths);
        Ok(())
    }
}

impl Iterator for Walk {
    type Item = Result<PathBuf, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(path) = self.left.pop() {
            if path.is_dir() {
                if let Err(error) = self.enter(&path) {
                    return Some(Err(error));
                }
            } else if path.file_name().is_some_and(|name| self.glob.is_match(name)) {
                return Some(Ok(path));
            }
        }
        None
    }
}
