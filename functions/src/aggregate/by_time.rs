//! EARLIEST_BY and LATEST_BY: the value of the row with the first or last time.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, TimestampMillisecondType};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::operands;
use crate::operand::Operand::{Any, Long, Time};
use crate::time::timestamp_type;

pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    [End::Earliest, End::Latest]
        .into_iter()
        .map(|end| {
            Arc::new(AggregateUDF::from(ByTime {
                end,
                signature: Signature::user_defined(Volatility::Immutable),
            }))
        })
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum End {
    Earliest,
    Latest,
}

/// `(x, time [, maxBytes])`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ByTime {
    end: End,
    signature: Signature,
}

impl AggregateUDFImpl for ByTime {
    fn name(&self) -> &str {
        match self.end {
            End::Earliest => "earliest_by",
            End::Latest => "latest_by",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        operands(self.name(), &[Any, Time, Long], 2, types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let value = arguments.return_field.data_type().clone();
        Ok(vec![
            Arc::new(Field::new(format!("{}[value]", arguments.name), value, true)),
            Arc::new(Field::new(
                format!("{}[time]", arguments.name),
                timestamp_type(),
                true,
            )),
        ])
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(AtTime {
            end: self.end,
            time: None,
            value: ScalarValue::try_from(arguments.return_field.data_type())?,
        }))
    }
}

/// The value at the best time so far.
#[derive(Debug)]
struct AtTime {
    end: End,
    time: Option<i64>,
    value: ScalarValue,
}

impl AtTime {
    fn is_better(&self, time: i64) -> bool {
        match (self.time, self.end) {
            (None, _) => true,
            (Some(best), End::Earliest) => time < best,
            (Some(best), End::Latest) => time >= best,
        }
    }

    fn update(&mut self, values: &ArrayRef, times: &ArrayRef) -> Result<()> {
        let times = times.as_primitive::<TimestampMillisecondType>();
        let mut best = None;
        for (row, time) in times.iter().enumerate() {
            if let Some(time) = time
                && self.is_better(time)
            {
                self.time = Some(time);
                best = Some(row);
            }
        }
        if let Some(row) = best {
            self.value = ScalarValue::try_from_array(values, row)?;
            self.value.compact();
        }
        Ok(())
    }
}

impl Accumulator for AtTime {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match values {
            [values, times, ..] => self.update(values, times),
            _ => exec_err!("expected a value and a time"),
        }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let time = ScalarValue::TimestampMillisecond(self.time, Some("UTC".into()));
        Ok(vec![self.value.clone(), time])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) - size_of_val(&self.value) + self.value.size()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::{Int64Array, TimestampMillisecondArray};

    use super::*;

    #[test]
    fn rows_without_a_time_do_not_count() {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4)]));
        let times: ArrayRef = Arc::new(
            TimestampMillisecondArray::from(vec![Some(20), Some(10), Some(30), None]).with_timezone("UTC"),
        );
        let at = |end| {
            let mut state = AtTime {
                end,
                time: None,
                value: ScalarValue::Int64(None),
            };
            state
                .update_batch(&[Arc::clone(&values), Arc::clone(&times)])
                .unwrap();
            state.evaluate().unwrap()
        };
        assert_eq!(at(End::Earliest), ScalarValue::Int64(None));
        assert_eq!(at(End::Latest), ScalarValue::Int64(Some(3)));
    }
}
