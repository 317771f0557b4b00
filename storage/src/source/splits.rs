//! Units of reading, made while a source is listed: what is kept of a million files is small.

use std::io::Read;

use serde::{Deserialize, Serialize};

use crate::StorageError;
use crate::format::InputFormat;

/// One file of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    /// Path or URL; empty for inline data.
    pub location: String,
    /// Bytes, when known without reading it.
    pub size: Option<u64>,
}

/// A unit of reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSplit {
    pub location: String,
    /// Bytes `[start, end)` of the file; `None` for all of it.
    pub range: Option<(u64, u64)>,
    /// Bytes to read, 0 when unknown.
    pub bytes: u64,
}

impl InputSplit {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it is the first of its file.
    pub fn begins_file(&self) -> bool {
        self.range.is_none_or(|(start, _)| start == 0)
    }
}

/// Splits that one worker reads, packed: as many small files as it takes to keep their number low.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitGroup {
    packed: Vec<u8>,
    pub bytes: u64,
    /// Files that begin in it.
    pub files: u32,
}

impl SplitGroup {
    fn pack(splits: &[InputSplit]) -> Result<Self, StorageError> {
        let json = serde_json::to_vec(splits).map_err(|error| StorageError::Spec(error.to_string()))?;
        let packed =
            zstd::encode_all(json.as_slice(), 0).map_err(|error| StorageError::Spec(error.to_string()))?;
        Ok(SplitGroup {
            packed,
            bytes: splits.iter().map(InputSplit::bytes).sum(),
            files: u32::try_from(splits.iter().filter(|split| split.begins_file()).count())
                .unwrap_or(u32::MAX),
        })
    }

    /// The bytes that [`SplitGroup::unpack`] reads.
    pub fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// The splits of a group.
    ///
    /// # Errors
    /// For bytes that are none.
    pub fn unpack(packed: &[u8]) -> Result<Vec<InputSplit>, StorageError> {
        let malformed =
            |error: &dyn std::fmt::Display| StorageError::Spec(format!("unreadable input splits: {error}"));
        let mut json = Vec::new();
        zstd::stream::read::Decoder::new(packed)
            .and_then(|mut decoder| decoder.read_to_end(&mut json))
            .map_err(|error| malformed(&error))?;
        serde_json::from_slice(&json).map_err(|error| malformed(&error))
    }
}

/// Files up to this number are units of their own; from there on the units grow with the number of files, so that there
/// are never many more.
const SINGLE_FILES: usize = 2_048;

/// Bytes that a group of files holds at the most.
const GROUP_BYTES: u64 = 256 << 20;

/// Cuts files into units of at most about `target_bytes` where their format and compression allow it, and puts small
/// ones together once there are many.
#[derive(Debug)]
pub struct Splitter {
    format: InputFormat,
    target_bytes: u64,
    files: usize,
    group: Vec<InputSplit>,
    group_bytes: u64,
    done: Vec<SplitGroup>,
}

impl Splitter {
    pub fn new(format: InputFormat, target_bytes: u64) -> Self {
        Splitter {
            format,
            target_bytes,
            files: 0,
            group: Vec::new(),
            group_bytes: 0,
            done: Vec::new(),
        }
    }

    /// Takes the next file of the listing.
    ///
    /// # Errors
    /// Never in practice: splits can be packed.
    pub fn push(&mut self, file: InputFile) -> Result<(), StorageError> {
        self.files += 1;
        let splits = split_file(file, &self.format, self.target_bytes);
        if splits.len() > 1 {
            for split in &splits {
                self.done.push(SplitGroup::pack(std::slice::from_ref(split))?);
            }
            return Ok(());
        }
        for split in splits {
            self.group_bytes += split.bytes;
            self.group.push(split);
        }
        if self.group.len() >= self.files.div_ceil(SINGLE_FILES) || self.group_bytes >= GROUP_BYTES {
            self.close_group()?;
        }
        Ok(())
    }

    fn close_group(&mut self) -> Result<(), StorageError> {
        if !self.group.is_empty() {
            self.done.push(SplitGroup::pack(&self.group)?);
        }
        self.group.clear();
        self.group_bytes = 0;
        Ok(())
    }

    /// All units.
    ///
    /// # Errors
    /// As [`Splitter::push`].
    pub fn finish(mut self) -> Result<Vec<SplitGroup>, StorageError> {
        self.close_group()?;
        Ok(self.done)
    }
}

/// Cuts files into units of at most about `target_bytes` where their format and compression allow it.
pub fn split_files(files: Vec<InputFile>, format: &InputFormat, target_bytes: u64) -> Vec<InputSplit> {
    files
        .into_iter()
        .flat_map(|file| split_file(file, format, target_bytes))
        .collect()
}

fn split_file(file: InputFile, format: &InputFormat, target_bytes: u64) -> Vec<InputSplit> {
    let size = file.size.unwrap_or(0);
    // An HTTP server need not be able to begin in the middle.
    let has_ranges = !file.location.starts_with("http");
    let compressed = crate::decompress::Compression::of_name(&file.location).is_some();
    let splittable = has_ranges && !compressed && size > target_bytes && format.is_splittable();
    if !splittable {
        return vec![InputSplit {
            location: file.location,
            range: None,
            bytes: size,
        }];
    }
    let count = size.div_ceil(target_bytes.max(1)).max(1);
    let splits = (0..count).map(|index| {
        let range = (size * index / count, size * (index + 1) / count);
        InputSplit {
            location: file.location.clone(),
            range: Some(range),
            bytes: range.1 - range.0,
        }
    });
    splits.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn file(location: &str, size: u64) -> InputFile {
        InputFile {
            location: location.to_owned(),
            size: Some(size),
        }
    }

    #[test]
    fn only_large_uncompressed_files_are_split() {
        let format: InputFormat = r#"{"type":"json"}"#.parse().unwrap();
        let files = vec![
            file("/a.json", 250),
            file("/b.json.gz", 250),
            file("/c.json", 10),
            file("s3://b/d.json", 101),
            file("https://b/d.json", 101),
        ];
        let splits = split_files(files, &format, 100);
        let ranges: Vec<_> = splits.iter().map(|split| split.range).collect();
        assert_eq!(
            ranges,
            [
                Some((0, 83)),
                Some((83, 166)),
                Some((166, 250)),
                None,
                None,
                Some((0, 50)),
                Some((50, 101)),
                None
            ]
        );
    }

    #[test]
    fn few_files_are_units_of_their_own_and_a_million_are_held_in_little() {
        let format: InputFormat = r#"{"type":"json"}"#.parse().unwrap();
        let groups = |files: u32| {
            let mut splitter = Splitter::new(format.clone(), 64 << 20);
            for number in 0..files {
                let location = format!("s3://bucket/events/day={}/part-{number:07}.json", number / 10_000);
                splitter.push(file(&location, 1_000)).unwrap();
            }
            splitter.finish().unwrap()
        };
        assert_eq!(groups(2_048).len(), 2_048);
        let many = groups(1_000_000);
        let packed: usize = many.iter().map(|group| group.packed().len()).sum();
        assert!(many.len() < 20_000, "{} groups", many.len());
        assert!(packed < 24_000_000, "{packed} bytes");
        assert_eq!(many.iter().map(|group| group.files).sum::<u32>(), 1_000_000);
        let last = SplitGroup::unpack(many.last().unwrap().packed()).unwrap();
        assert_eq!(
            last.last().unwrap().location,
            "s3://bucket/events/day=99/part-0999999.json"
        );
        assert_eq!(
            last.iter().map(InputSplit::bytes).sum::<u64>(),
            many.last().unwrap().bytes
        );
    }
}
