//! What a row must be before it leaves a stage (Druid: multi-stage-query/reference.md#limits).

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use sarsen_kernel::fault::Fault;

use crate::error::FaultError;

/// Limits of one query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowLimits {
    /// Bytes of a row at the most: `maxFrameSize`.
    pub max_row_bytes: usize,
    pub null_bytes: NullBytes,
}

/// What becomes of a zero byte in a text that was read from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NullBytes {
    /// `InvalidNullByte`.
    Refuse,
    /// `removeNullBytes`.
    Remove,
}

/// Checks the batches of one partition in order.
#[derive(Debug, Clone)]
pub struct RowChecks {
    limits: RowLimits,
    /// The EXTERN that the rows come from; texts from elsewhere were looked at before.
    source: Option<String>,
    rows: u64,
}

/// Bytes that a value takes which is no text, and that a text takes beside its bytes.
const FIELD_BYTES: usize = 8;

impl RowChecks {
    pub fn new(limits: RowLimits, source: Option<String>) -> Self {
        RowChecks {
            limits,
            source,
            rows: 0,
        }
    }

    /// The batch, without zero bytes where they are to be removed.
    ///
    /// # Errors
    /// `RowTooLarge` and `InvalidNullByte`.
    pub fn check(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let batch = match &self.source {
            Some(source) => self.check_null_bytes(batch, source)?,
            None => batch,
        };
        self.check_size(&batch)?;
        self.rows += batch.num_rows() as u64;
        Ok(batch)
    }

    fn check_size(&self, batch: &RecordBatch) -> Result<()> {
        let max = self.limits.max_row_bytes;
        let texts: Vec<&ArrayRef> = batch.columns().iter().filter(|column| is_text(column)).collect();
        let fixed = FIELD_BYTES * batch.num_columns();
        let longest: usize = texts
            .iter()
            .map(|column| {
                (0..column.len())
                    .map(|row| text_bytes(column, row))
                    .max()
                    .unwrap_or(0)
            })
            .sum();
        if fixed + longest <= max {
            return Ok(());
        }
        let bytes = |row: usize| fixed + texts.iter().map(|column| text_bytes(column, row)).sum::<usize>();
        if (0..batch.num_rows()).any(|row| bytes(row) > max) {
            return Err(fault(Fault::RowTooLarge {
                max_frame_size: max as u64,
            }));
        }
        Ok(())
    }

    fn check_null_bytes(&self, batch: RecordBatch, source: &str) -> Result<RecordBatch> {
        let found: Vec<usize> = (0..batch.num_columns())
            .filter(|column| batch.columns().get(*column).is_some_and(may_hold_null_byte))
            .collect();
        if found.is_empty() {
            return Ok(batch);
        }
        let schema = batch.schema();
        let mut columns = batch.columns().to_vec();
        for index in found {
            let Some(column) = columns.get_mut(index) else {
                continue;
            };
            let place = (0..column.len()).find_map(|row| {
                let value = text(column, row)?;
                value
                    .bytes()
                    .position(|byte| byte == 0)
                    .map(|position| (row, position, value))
            });
            let Some((row, position, value)) = place else {
                continue;
            };
            match self.limits.null_bytes {
                NullBytes::Remove => {
                    let cleaned = without_null_bytes(column);
                    *column = cleaned;
                }
                NullBytes::Refuse => {
                    return Err(fault(Fault::InvalidNullByte {
                        source: Some(source.to_owned()),
                        row_number: self.rows + row as u64 + 1,
                        column: schema.field(index).name().clone(),
                        value: value.to_owned(),
                        position: position as u64,
                    }));
                }
            }
        }
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}

fn fault(fault: Fault) -> DataFusionError {
    DataFusionError::External(Box::new(FaultError(fault)))
}

fn is_text(column: &ArrayRef) -> bool {
    matches!(column.data_type(), DataType::Utf8 | DataType::Utf8View)
}

fn text_bytes(column: &ArrayRef, row: usize) -> usize {
    match column.data_type() {
        // The low half of a view is its length.
        DataType::Utf8View => {
            let view = column.as_string_view().views().get(row).copied().unwrap_or(0);
            usize::try_from(view & u128::from(u32::MAX)).unwrap_or(0)
        }
        DataType::Utf8 => usize::try_from(column.as_string::<i32>().value_length(row)).unwrap_or(0),
        _ => 0,
    }
}

fn text(column: &ArrayRef, row: usize) -> Option<&str> {
    if column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::Utf8View => Some(column.as_string_view().value(row)),
        DataType::Utf8 => Some(column.as_string::<i32>().value(row)),
        _ => None,
    }
}

/// Looks at whole buffers, which other values may share: a yes needs a second look at the values.
fn may_hold_null_byte(column: &ArrayRef) -> bool {
    match column.data_type() {
        DataType::Utf8View => {
            let array = column.as_string_view();
            array.data_buffers().iter().any(|buffer| buffer.contains(&0))
                || array.views().iter().any(|view| inline_null_byte(*view))
        }
        DataType::Utf8 => column.as_string::<i32>().value_data().contains(&0),
        _ => false,
    }
}

/// Texts up to this many bytes stand in their view, behind the four bytes of their length.
const INLINE_BYTES: u128 = 12;

fn inline_null_byte(view: u128) -> bool {
    let length = view & u128::from(u32::MAX);
    if length > INLINE_BYTES {
        return false;
    }
    // Bytes behind the text count as set.
    let bytes = (view >> 32) | (u128::MAX << (8 * length));
    const LOW: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;
    const HIGH: u128 = LOW << 7;
    bytes.wrapping_sub(LOW) & !bytes & HIGH != 0
}

fn without_null_bytes(column: &ArrayRef) -> ArrayRef {
    let clean = (0..column.len()).map(|row| {
        let value = text(column, row)?;
        Some(if value.contains('\0') {
            Cow::Owned(value.replace('\0', ""))
        } else {
            Cow::Borrowed(value)
        })
    });
    match column.data_type() {
        DataType::Utf8 => Arc::new(clean.collect::<StringArray>()),
        _ => Arc::new(clean.collect::<StringViewArray>()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

    use arrow::array::Int64Array;
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn rows(texts: &[Option<&str>]) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("k", DataType::Utf8View, true),
        ]);
        let numbers = Int64Array::from_iter(0..texts.len() as i64);
        let texts = StringViewArray::from_iter(texts.iter());
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(numbers), Arc::new(texts)]).unwrap()
    }

    fn checks(max_row_bytes: usize, null_bytes: NullBytes) -> RowChecks {
        let limits = RowLimits {
            max_row_bytes,
            null_bytes,
        };
        RowChecks::new(limits, Some("external[x]".to_owned()))
    }

    fn fault_of(error: &DataFusionError) -> Fault {
        match error {
            DataFusionError::External(inner) => inner.downcast_ref::<FaultError>().unwrap().0.clone(),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_row_may_be_as_large_as_the_limit() {
        let long = "x".repeat(100);
        let batch = rows(&[Some("a"), None, Some(&long)]);
        assert!(checks(116, NullBytes::Refuse).check(batch.clone()).is_ok());
        let error = checks(115, NullBytes::Refuse).check(batch).unwrap_err();
        assert_eq!(fault_of(&error), Fault::RowTooLarge { max_frame_size: 115 });
    }

    #[test]
    fn a_null_byte_is_found_wherever_it_is() {
        let long = format!("{}\0{}", "y".repeat(40), "z".repeat(20));
        for (text, position) in [
            ("a\0b", 1),
            ("\0", 0),
            ("twelve bytes", 99),
            ("twelve byte\0", 11),
            (&long, 40),
        ] {
            let mut checks = checks(1000, NullBytes::Refuse);
            checks.check(rows(&[Some("first"), Some("")])).unwrap();
            let checked = checks.check(rows(&[None, Some("ok"), Some(text)]));
            if position == 99 {
                assert!(checked.is_ok());
                continue;
            }
            match fault_of(&checked.unwrap_err()) {
                Fault::InvalidNullByte {
                    row_number,
                    column,
                    position: found,
                    ..
                } => assert_eq!((row_number, column.as_str(), found), (5, "k", position)),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn null_bytes_can_be_removed() {
        let batch = checks(1000, NullBytes::Remove)
            .check(rows(&[Some("a\0b\0"), None, Some("c")]))
            .unwrap();
        let texts: Vec<Option<&str>> = batch.column(1).as_string_view().iter().collect();
        assert_eq!(texts, [Some("ab"), None, Some("c")]);
    }
}
