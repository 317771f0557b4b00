//! BIT_AND, BIT_OR and BIT_XOR.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::operands;
use crate::operand::Operand::Long;

pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    [Operation::And, Operation::Or, Operation::Xor]
        .into_iter()
        .map(|operation| {
            Arc::new(AggregateUDF::from(Bits {
                operation,
                signature: Signature::user_defined(Volatility::Immutable),
            }))
        })
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    And,
    Or,
    Xor,
}

impl Operation {
    fn of(self, left: i64, right: i64) -> i64 {
        match self {
            Operation::And => left & right,
            Operation::Or => left | right,
            Operation::Xor => left ^ right,
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bits {
    operation: Operation,
    signature: Signature,
}

impl AggregateUDFImpl for Bits {
    fn name(&self) -> &str {
        match self.operation {
            Operation::And => "bit_and",
            Operation::Or => "bit_or",
            Operation::Xor => "bit_xor",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        operands(self.name(), &[Long], 1, types)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(
            format!("{}[bits]", arguments.name),
            DataType::Int64,
            true,
        ))])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Fold {
            operation: self.operation,
            bits: None,
        }))
    }
}

#[derive(Debug)]
struct Fold {
    operation: Operation,
    bits: Option<i64>,
}

impl Accumulator for Fold {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values] = values else {
            return exec_err!("expected one column, found {}", values.len());
        };
        for value in values.as_primitive::<Int64Type>().iter().flatten() {
            self.bits = Some(self.bits.map_or(value, |bits| self.operation.of(bits, value)));
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Int64(self.bits)])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(self.bits))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
