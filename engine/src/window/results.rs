//! What a window function gives for rows that have not been handed on yet.

use arrow::array::{ArrayRef, UInt32Array, new_empty_array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};

/// Values in the order of the rows; runs of the same one are held once.
#[derive(Debug)]
pub struct Results {
    data_type: DataType,
    values: Vec<ScalarValue>,
    /// Which value each row has.
    rows: Vec<u32>,
}

impl Results {
    pub fn new(data_type: DataType) -> Self {
        Results {
            data_type,
            values: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// The next row's value.
    ///
    /// # Errors
    /// For more values than a batch has rows.
    pub fn push(&mut self, value: ScalarValue) -> Result<()> {
        self.values.push(value);
        self.repeat()
    }

    /// The next row's value is that of the one before, which there must be.
    ///
    /// # Errors
    /// As [`Results::push`].
    pub fn repeat(&mut self) -> Result<()> {
        let last = self.values.len().saturating_sub(1);
        let last = u32::try_from(last).map_err(|_| exec_datafusion_err!("a batch of too many rows"))?;
        self.rows.push(last);
        Ok(())
    }

    /// Whether there is a value to repeat.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All of them, as one array.
    ///
    /// # Errors
    /// For values of different types.
    pub fn take(&mut self) -> Result<ArrayRef> {
        let values = std::mem::take(&mut self.values);
        let rows = std::mem::take(&mut self.rows);
        if values.is_empty() {
            return Ok(new_empty_array(&self.data_type));
        }
        if let [value] = values.as_slice() {
            return value.to_array_of_size(rows.len());
        }
        let each = values.len() == rows.len();
        let array = ScalarValue::iter_to_array(values)?;
        if each {
            return Ok(array);
        }
        Ok(take(&array, &UInt32Array::from(rows), None)?)
    }
}
