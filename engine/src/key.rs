//! Shuffle keys as memcomparable bytes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use sarsen_kernel::shuffle::KeyColumn;

use crate::shuffle_read::sort_options;

/// Encodes the key columns of record batches so that comparing bytes compares keys, on every worker alike.
///
/// −0.0 becomes 0.0 and every NaN the same NaN before encoding: values that SQL holds equal have equal bytes.
#[derive(Debug)]
pub struct KeyEncoder {
    converter: RowConverter,
    columns: Vec<usize>,
}

impl KeyEncoder {
    /// An encoder for `key` over batches of `schema`.
    ///
    /// # Errors
    /// For a column that `schema` lacks or of a type that has no order.
    pub fn new(key: &[KeyColumn], schema: &SchemaRef) -> Result<Self, ArrowError> {
        let mut fields = Vec::with_capacity(key.len());
        let mut columns = Vec::with_capacity(key.len());
        for column in key {
            let index = usize::try_from(column.index).unwrap_or(usize::MAX);
            let field = schema.fields().get(index).ok_or_else(|| {
                ArrowError::SchemaError(format!(
                    "shuffle key names column {index}, the rows have {}",
                    schema.fields().len()
                ))
            })?;
            fields.push(SortField::new_with_options(
                field.data_type().clone(),
                sort_options(column),
            ));
            columns.push(index);
        }
        Ok(KeyEncoder {
            converter: RowConverter::new(fields)?,
            columns,
        })
    }

    /// Keys of all rows of `batch`.
    ///
    /// # Errors
    /// When the batch is not of the encoder's schema.
    pub fn encode(&self, batch: &RecordBatch) -> Result<Rows, ArrowError> {
        let columns: Vec<ArrayRef> = self
            .columns
            .iter()
            .map(|index| normalise(batch.column(*index)))
            .collect();
        self.converter.convert_columns(&columns)
    }
}

fn normalise(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float64 => {
            let values: Float64Array = array
                .as_primitive::<Float64Type>()
                .unary(|value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 });
            Arc::new(values)
        }
        DataType::Float32 => {
            let values: Float32Array = array
                .as_primitive::<Float32Type>()
                .unary(|value: f32| if value.is_nan() { f32::NAN } else { value + 0.0 });
            Arc::new(values)
        }
        _ => Arc::clone(array),
    }
}

/// Bytes of a long text that arrow's row format keeps together, each block followed by its length or a mark that more
/// follow; the first of them are cut into four.
const BLOCK_BYTES: usize = 32;
const SMALL_BLOCK_BYTES: usize = BLOCK_BYTES / SMALL_BLOCKS;
const SMALL_BLOCKS: usize = 4;
const MORE_FOLLOW: u8 = 0xFF;

/// First bytes of a text in ascending order with nulls first.
const NULL: u8 = 0;
const EMPTY: u8 = 1;

/// The leading `count` texts of an encoded key that stand behind `prefix_bytes` other bytes, where all of them were
/// encoded ascending with nulls first. `None` for a key that ends before (the bare prefix of a time chunk).
pub fn leading_texts(key: &[u8], prefix_bytes: usize, count: usize) -> Option<Vec<Option<String>>> {
    let mut rest = key.get(prefix_bytes..)?;
    (0..count)
        .map(|_| {
            let (text, behind) = split_text(rest)?;
            rest = behind;
            Some(text)
        })
        .collect()
}

/// One encoded text and what follows it.
fn split_text(bytes: &[u8]) -> Option<(Option<String>, &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    match *first {
        NULL => return Some((None, rest)),
        EMPTY => return Some((Some(String::new()), rest)),
        _ => {}
    }
    let mut text = Vec::new();
    for block in 0.. {
        let size = if block < SMALL_BLOCKS {
            SMALL_BLOCK_BYTES
        } else {
            BLOCK_BYTES
        };
        let (held, behind) = rest.split_at_checked(size)?;
        let (mark, behind) = behind.split_first()?;
        rest = behind;
        if *mark != MORE_FOLLOW {
            text.extend_from_slice(held.get(..usize::from(*mark))?);
            break;
        }
        text.extend_from_slice(held);
    }
    Some((Some(String::from_utf8(text).ok()?), rest))
}

/// Hash partition of a key: xxh3-64 of its bytes, modulo `partitions`.
pub fn hash_partition(key: &[u8], partitions: u32) -> u32 {
    let hash = xxhash_rust::xxh3::xxh3_64(key) % u64::from(partitions.max(1));
    u32::try_from(hash).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use arrow::array::{Int64Array, StringViewArray};
    use arrow::datatypes::{Field, Schema};
    use sarsen_kernel::shuffle::{NullOrder, SortOrder};

    use super::*;

    fn ascending(index: u32, name: &str) -> KeyColumn {
        KeyColumn {
            index,
            name: name.into(),
            order: SortOrder::Ascending,
            nulls: NullOrder::First,
        }
    }

    /// Other releases and other machines must place rows alike within one query; a change here is a change of format.
    #[test]
    fn hash_partitions_are_the_specified_ones() {
        // Of the reference implementation of xxh3-64; its ways differ by length.
        let long: Vec<u8> = (0..1000_u32).map(|number| (number % 256) as u8).collect();
        for (key, hash) in [
            (b"".as_slice(), 0x2D06_8005_38D3_94C2_u64),
            (b"a", 0xE6C6_32B6_1E96_4E1F),
            (b"sarsen", 0x60C1_F107_0A9B_5100),
            (&[0, 1, 2, 3], 0x60DA_B036_A582_11F2),
            (&long[..200], 0xF42A_8864_FEAF_0703),
            (&long, 0xD33D_D80B_46F6_0E50),
        ] {
            assert_eq!(u64::from(hash_partition(key, 1000)), hash % 1000, "{key:?}");
        }
    }

    #[test]
    fn key_bytes_compare_like_keys() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("l", DataType::Int64, true),
            Field::new("s", DataType::Utf8View, true),
        ]));
        let batch = RecordBatch::try_new(
            Arc::clone(&schema),
            vec![
                Arc::new(Int64Array::from(vec![None, Some(-5), Some(3), Some(3)])),
                Arc::new(StringViewArray::from(vec![Some("z"), Some("y"), None, Some("a")])),
            ],
        )
        .unwrap();
        let keys = KeyEncoder::new(&[ascending(0, "l"), ascending(1, "s")], &schema)
            .unwrap()
            .encode(&batch)
            .unwrap();
        let bytes: Vec<&[u8]> = keys.iter().map(|row| row.data()).collect();
        assert!(bytes.is_sorted());
    }

    #[test]
    fn leading_texts_come_back_as_they_were() {
        let texts = [
            None,
            Some(String::new()),
            Some("a".to_owned()),
            Some("eight by".to_owned()),
            Some("ü".repeat(17)),
            Some("x".repeat(32)),
            Some("y".repeat(33)),
            Some("z".repeat(1000)),
        ];
        let schema = Arc::new(Schema::new(vec![
            Field::new("l", DataType::Int64, true),
            Field::new("s", DataType::Utf8View, true),
            Field::new("t", DataType::Utf8View, true),
            Field::new("d", DataType::Float64, true),
        ]));
        let rows = texts.len();
        let back: Vec<Option<String>> = texts.iter().rev().cloned().collect();
        let batch = RecordBatch::try_new(
            Arc::clone(&schema),
            vec![
                Arc::new(Int64Array::from(vec![7; rows])),
                Arc::new(StringViewArray::from_iter(texts.iter())),
                Arc::new(StringViewArray::from_iter(back.iter())),
                Arc::new(Float64Array::from(vec![1.0; rows])),
            ],
        )
        .unwrap();
        let key = [
            ascending(0, "l"),
            ascending(1, "s"),
            ascending(2, "t"),
            ascending(3, "d"),
        ];
        let keys = KeyEncoder::new(&key, &schema).unwrap().encode(&batch).unwrap();
        for (row, (text, back)) in texts.iter().zip(&back).enumerate() {
            let found = leading_texts(keys.row(row).data(), 9, 2).unwrap();
            assert_eq!(found, [text.clone(), back.clone()]);
        }
        assert_eq!(leading_texts(&[1; 9], 9, 1), None);
    }

    #[test]
    fn equal_floats_have_equal_bytes() {
        let schema = Arc::new(Schema::new(vec![Field::new("d", DataType::Float64, true)]));
        let odd_nan = f64::from_bits(f64::NAN.to_bits() | 1 << 63 | 7);
        let values = Float64Array::from(vec![0.0, -0.0, f64::NAN, odd_nan]);
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(values)]).unwrap();
        let keys = KeyEncoder::new(&[ascending(0, "d")], &schema)
            .unwrap()
            .encode(&batch)
            .unwrap();
        assert_eq!(keys.row(0), keys.row(1));
        assert_eq!(keys.row(2), keys.row(3));
    }
}
