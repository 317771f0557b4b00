//! ANY_VALUE: one of the values, which may be NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::operands;
use crate::operand::Operand::{Any, Condition, Long};

pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    vec![Arc::new(AggregateUDF::from(AnyValue {
        signature: Signature::user_defined(Volatility::Immutable),
    }))]
}

/// `ANY_VALUE(x [, maxBytes [, aggregateMultipleValues]])`: the first value that is met.
#[derive(Debug, PartialEq, Eq, Hash)]
struct AnyValue {
    signature: Signature,
}

impl AggregateUDFImpl for AnyValue {
    fn name(&self) -> &str {
        "any_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        operands(self.name(), &[Any, Long, Condition], 1, types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let value = arguments.return_field.data_type().clone();
        Ok(vec![
            Arc::new(Field::new(format!("{}[value]", arguments.name), value, true)),
            Arc::new(Field::new(
                format!("{}[set]", arguments.name),
                DataType::Boolean,
                true,
            )),
        ])
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(First {
            value: ScalarValue::try_from(arguments.return_field.data_type())?,
            is_set: false,
        }))
    }
}

#[derive(Debug)]
struct First {
    value: ScalarValue,
    is_set: bool,
}

impl Accumulator for First {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if let Some(values) = values.first()
            && !self.is_set
            && !values.is_empty()
        {
            self.value = ScalarValue::try_from_array(values, 0)?.compacted();
            self.is_set = true;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, set] = states else {
            return exec_err!("ANY_VALUE has two states");
        };
        let set = set.as_boolean();
        let first = (0..set.len()).find(|row| set.is_valid(*row) && set.value(*row));
        if let Some(row) = first
            && !self.is_set
        {
            self.value = ScalarValue::try_from_array(values, row)?.compacted();
            self.is_set = true;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::Boolean(Some(self.is_set))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) - size_of_val(&self.value) + self.value.size()
    }
}
