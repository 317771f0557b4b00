//! Variance and standard deviation.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::operands;
use crate::operand::Operand::Double;

pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    const FUNCTIONS: [(&str, &[&str], Measure, Of); 4] = [
        ("var_pop", &[], Measure::Variance, Of::Population),
        ("var_samp", &["variance"], Measure::Variance, Of::Sample),
        ("stddev_pop", &[], Measure::Deviation, Of::Population),
        ("stddev_samp", &["stddev"], Measure::Deviation, Of::Sample),
    ];
    FUNCTIONS
        .into_iter()
        .map(|(name, aliases, measure, of)| {
            Arc::new(AggregateUDF::from(Spread {
                name,
                aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
                measure,
                of,
                signature: Signature::user_defined(Volatility::Immutable),
            }))
        })
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Measure {
    Variance,
    Deviation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Of {
    Population,
    Sample,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Spread {
    name: &'static str,
    aliases: Vec<String>,
    measure: Measure,
    of: Of,
    signature: Signature,
}

impl AggregateUDFImpl for Spread {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        operands(self.name, &[Double], 1, types)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |part: &str, data_type| -> FieldRef {
            Arc::new(Field::new(format!("{}[{part}]", arguments.name), data_type, true))
        };
        Ok(vec![
            field("count", DataType::Int64),
            field("mean", DataType::Float64),
            field("squares", DataType::Float64),
        ])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Moments {
            measure: self.measure,
            of: self.of,
            count: 0,
            mean: 0.0,
            squares: 0.0,
        }))
    }
}

/// Count, mean, and the sum of the squared distances from the mean (Welford).
#[derive(Debug)]
struct Moments {
    measure: Measure,
    of: Of,
    count: i64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn merge(&mut self, count: i64, mean: f64, squares: f64) {
        if count == 0 {
            return;
        }
        let (own, other) = (self.count as f64, count as f64);
        let distance = mean - self.mean;
        self.count += count;
        let all = self.count as f64;
        self.mean += distance * other / all;
        self.squares += squares + distance * distance * own * other / all;
    }
}

impl Accumulator for Moments {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values] = values else {
            return exec_err!("expected one column, found {}", values.len());
        };
        for value in values.as_primitive::<Float64Type>().iter().flatten() {
            self.merge(1, value, 0.0);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [counts, means, squares] = states else {
            return exec_err!("expected three states, found {}", states.len());
        };
        let rows = counts
            .as_primitive::<Int64Type>()
            .iter()
            .zip(means.as_primitive::<Float64Type>())
            .zip(squares.as_primitive::<Float64Type>());
        for ((count, mean), squares) in rows {
            if let (Some(count), Some(mean), Some(squares)) = (count, mean, squares) {
                self.merge(count, mean, squares);
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![
            ScalarValue::Int64(Some(self.count)),
            ScalarValue::Float64(Some(self.mean)),
            ScalarValue::Float64(Some(self.squares)),
        ])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let variance = match (self.count, self.of) {
            (0, _) => None,
            // Druid has no NULL for the sample of one.
            (1, _) => Some(0.0),
            (count, Of::Population) => Some(self.squares / count as f64),
            (count, Of::Sample) => Some(self.squares / (count - 1) as f64),
        };
        Ok(ScalarValue::Float64(match self.measure {
            Measure::Variance => variance,
            Measure::Deviation => variance.map(f64::sqrt),
        }))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::Float64Array;

    use super::*;

    #[test]
    fn parts_merge_into_the_whole() {
        let mut parts: Vec<Moments> = (0..3)
            .map(|_| Moments {
                measure: Measure::Variance,
                of: Of::Sample,
                count: 0,
                mean: 0.0,
                squares: 0.0,
            })
            .collect();
        for (part, values) in parts
            .iter_mut()
            .zip([vec![2.0, 4.0, 4.0], vec![4.0, 5.0, 5.0], vec![7.0, 9.0]])
        {
            part.update_batch(&[Arc::new(Float64Array::from(values))])
                .unwrap();
        }
        let mut whole = parts.pop().unwrap();
        for mut part in parts {
            let states = part.state().unwrap();
            let states: Vec<ArrayRef> = states.iter().map(|state| state.to_array().unwrap()).collect();
            whole.merge_batch(&states).unwrap();
        }
        let ScalarValue::Float64(Some(variance)) = whole.evaluate().unwrap() else {
            panic!("no variance")
        };
        assert!((variance - 32.0 / 7.0).abs() < 1e-12);
    }
}
