//! DS_HLL, DS_THETA and DS_QUANTILES_SKETCH, and the estimates that are made of such sketches at once.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{DataFusionError, Result, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;
use datafusion::scalar::ScalarValue;
use datasketches::common::SearchCriteria;
use datasketches::hll::{HllSketch, HllType, HllUnion};
use datasketches::kll::{KllFloat, KllSketch};
use datasketches::theta::{
    CompactThetaSketch, ThetaSketch, ThetaSketchBuilder, ThetaUnion, ThetaUnionBuilder,
};

use crate::cast::to_text;

/// What is made of the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Makes {
    Hll,
    Theta,
    ThetaCount,
    Quantiles,
    Quantile,
}

const FUNCTIONS: [(&str, Makes); 5] = [
    ("ds_hll", Makes::Hll),
    ("ds_theta", Makes::Theta),
    ("approx_count_distinct_ds_theta", Makes::ThetaCount),
    ("ds_quantiles_sketch", Makes::Quantiles),
    ("approx_quantile_ds", Makes::Quantile),
];

pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    FUNCTIONS
        .into_iter()
        .map(|(name, makes)| {
            Arc::new(AggregateUDF::from(Sketch {
                name,
                makes,
                signature: Signature::user_defined(Volatility::Immutable),
            }))
        })
        .collect()
}

/// Druid's defaults: buckets of an HLL sketch and entries of a theta sketch as powers of two, and the accuracy of a
/// quantiles sketch.
const HLL_LG_K: u8 = 12;
const THETA_LG_K: u8 = 14;
const QUANTILES_K: u16 = 200;

pub(super) type Quantiles = KllSketch<KllFloat<f64>>;

pub(super) fn refused(error: impl fmt::Display) -> DataFusionError {
    DataFusionError::Execution(format!("sketch: {error}"))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sketch {
    name: &'static str,
    makes: Makes,
    signature: Signature,
}

impl AggregateUDFImpl for Sketch {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let most = if self.makes == Makes::Theta { 2 } else { 3 };
        let least = if self.makes == Makes::Quantile { 2 } else { 1 };
        let Some(first) = types.first().filter(|_| (least..=most).contains(&types.len())) else {
            let name = self.name.to_uppercase();
            return plan_err!(
                "Invalid number of arguments to function '{name}'. Was expecting {least} to {most} arguments"
            );
        };
        let of_numbers = matches!(self.makes, Makes::Quantiles | Makes::Quantile);
        let first = match first {
            sketch if sketch.is_binary() => DataType::Binary,
            _ if of_numbers => DataType::Float64,
            other => other.clone(),
        };
        Ok(std::iter::once(first)
            .chain(types.iter().skip(1).cloned())
            .collect())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.makes {
            Makes::ThetaCount => DataType::Int64,
            Makes::Quantile => DataType::Float64,
            _ => DataType::Binary,
        })
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(
            format!("{}[sketch]", arguments.name),
            DataType::Binary,
            true,
        ))])
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let number = |position: usize| {
            let value = arguments.exprs.get(position)?.downcast_ref::<Literal>()?.value();
            match value.cast_to(&DataType::Float64) {
                Ok(ScalarValue::Float64(number)) => number,
                _ => None,
            }
        };
        let state = match self.makes {
            Makes::Hll => {
                let lg_k = number(1).map_or(HLL_LG_K, |lg_k| lg_k as u8);
                State::Hll(HllSketch::new(lg_k, HllType::Hll4).map_err(refused)?, lg_k)
            }
            Makes::Theta | Makes::ThetaCount => {
                let lg_k = number(1).map_or(THETA_LG_K, |entries| {
                    u8::try_from((entries.max(16.0) as u64).next_power_of_two().trailing_zeros())
                        .unwrap_or(26)
                });
                State::Theta {
                    own: ThetaSketchBuilder::default()
                        .lg_k(lg_k)
                        .build()
                        .map_err(refused)?,
                    others: ThetaUnionBuilder::default().lg_k(lg_k).build().map_err(refused)?,
                }
            }
            Makes::Quantiles | Makes::Quantile => {
                let k = number(if self.makes == Makes::Quantile { 2 } else { 1 });
                let k = k.map_or(QUANTILES_K, |k| (k as u16).max(QUANTILES_K));
                State::Quantiles(Quantiles::new(k).map_err(refused)?)
            }
        };
        Ok(Box::new(Sketching {
            makes: self.makes,
            fraction: number(1).unwrap_or(0.5),
            state,
        }))
    }
}

/// A sketch under construction.
enum State {
    Hll(HllSketch, u8),
    Theta { own: ThetaSketch, others: ThetaUnion },
    Quantiles(Quantiles),
}

struct Sketching {
    makes: Makes,
    fraction: f64,
    state: State,
}

impl fmt::Debug for Sketching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sketching")
            .field("makes", &self.makes)
            .finish_non_exhaustive()
    }
}

/// Bytes as they are, as Java's sketches are fed, and not with Rust's framing of them.
struct Raw<'a>(&'a [u8]);

impl Hash for Raw<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0);
    }
}

impl State {
    fn add_bytes(&mut self, bytes: &[u8]) {
        match self {
            State::Hll(sketch, _) => sketch.update(Raw(bytes)),
            State::Theta { own, .. } => own.update(Raw(bytes)),
            State::Quantiles(_) => {}
        }
    }

    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        if let State::Quantiles(sketch) = self {
            let doubles = cast(values, &DataType::Float64)?;
            for value in doubles.as_primitive::<Float64Type>().iter().flatten() {
                if let Ok(value) = KllFloat::<f64>::new(value) {
                    sketch.update(value);
                }
            }
            return Ok(());
        }
        match values.data_type() {
            DataType::Int64 | DataType::Timestamp(..) => {
                let longs = cast(values, &DataType::Int64)?;
                for value in longs.as_primitive::<Int64Type>().iter().flatten() {
                    self.add_bytes(&value.to_le_bytes());
                }
            }
            DataType::Float64 | DataType::Float32 => {
                let doubles = cast(values, &DataType::Float64)?;
                for value in doubles.as_primitive::<Float64Type>().iter().flatten() {
                    let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
                    self.add_bytes(&value.to_le_bytes());
                }
            }
            _ => {
                let texts = to_text(values)?;
                for text in texts
                    .as_string_view()
                    .iter()
                    .flatten()
                    .filter(|text| !text.is_empty())
                {
                    self.add_bytes(text.as_bytes());
                }
            }
        }
        Ok(())
    }

    fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            State::Hll(sketch, lg_k) => {
                let mut union = HllUnion::new(*lg_k).map_err(refused)?;
                union.update(sketch);
                union.update(&HllSketch::deserialize(bytes).map_err(refused)?);
                *sketch = union.to_sketch(HllType::Hll4);
            }
            State::Theta { others, .. } => {
                let other = CompactThetaSketch::deserialize(bytes).map_err(refused)?;
                others.update(&other).map_err(refused)?;
            }
            State::Quantiles(sketch) => {
                let other = Quantiles::deserialize(bytes).map_err(refused)?;
                sketch.merge(&other).map_err(refused)?;
            }
        }
        Ok(())
    }

    fn theta(own: &ThetaSketch, others: &mut ThetaUnion) -> Result<CompactThetaSketch> {
        others.update(own).map_err(refused)?;
        Ok(others.to_sketch(true))
    }

    fn bytes(&mut self) -> Result<Vec<u8>> {
        Ok(match self {
            State::Hll(sketch, _) => sketch.serialize(),
            State::Theta { own, others } => Self::theta(own, others)?.serialize(),
            State::Quantiles(sketch) => sketch.serialize(),
        })
    }
}

impl Accumulator for Sketching {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else {
            return exec_err!("a value is missing");
        };
        match values.as_binary_opt::<i32>() {
            Some(sketches) => sketches
                .iter()
                .flatten()
                .try_for_each(|bytes| self.state.merge(bytes)),
            None => self.state.add(values),
        }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(Some(self.state.bytes()?))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(match (self.makes, &mut self.state) {
            (Makes::ThetaCount, State::Theta { own, others }) => {
                let count = State::theta(own, others)?.estimate().round();
                ScalarValue::Int64(Some(count as i64))
            }
            (Makes::Quantile, State::Quantiles(sketch)) => {
                let value = sketch
                    .quantile(self.fraction, SearchCriteria::Inclusive)
                    .map_err(refused)?;
                ScalarValue::Float64(Some(value.map_or(f64::NAN, KllFloat::into_inner)))
            }
            (_, state) => ScalarValue::Binary(Some(state.bytes()?)),
        })
    }

    fn size(&self) -> usize {
        size_of_val(self)
            + match &self.state {
                State::Hll(sketch, _) => sketch.estimated_size(),
                State::Theta { own, others } => own.estimated_size() + others.estimated_size(),
                State::Quantiles(sketch) => sketch.num_retained() * size_of::<f64>(),
            }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use arrow::array::{Float64Array, Int64Array};

    use super::*;

    fn merged(makes: Makes, state: impl Fn() -> State, parts: [ArrayRef; 2]) -> ScalarValue {
        let mut sketches = parts.map(|part| {
            let mut sketch = Sketching {
                makes,
                fraction: 0.5,
                state: state(),
            };
            sketch.update_batch(&[part]).unwrap();
            sketch
        });
        let states: Vec<ArrayRef> = sketches[1]
            .state()
            .unwrap()
            .iter()
            .map(|state| state.to_array().unwrap())
            .collect();
        sketches[0].merge_batch(&states).unwrap();
        sketches[0].evaluate().unwrap()
    }

    #[test]
    fn merged_theta_sketches_count_what_both_have_seen() {
        let state = || State::Theta {
            own: ThetaSketchBuilder::default().lg_k(THETA_LG_K).build().unwrap(),
            others: ThetaUnionBuilder::default().lg_k(THETA_LG_K).build().unwrap(),
        };
        let parts: [ArrayRef; 2] = [
            Arc::new(Int64Array::from_iter_values(0..60_000)),
            Arc::new(Int64Array::from_iter_values(40_000..100_000)),
        ];
        let ScalarValue::Int64(Some(count)) = merged(Makes::ThetaCount, state, parts) else {
            panic!("no count")
        };
        assert!((97_000..103_000).contains(&count), "{count}");
    }

    #[test]
    fn merged_quantiles_know_the_median() {
        let state = || State::Quantiles(Quantiles::new(QUANTILES_K).unwrap());
        let parts: [ArrayRef; 2] = [
            Arc::new(Float64Array::from_iter_values((0..5_000).map(f64::from))),
            Arc::new(Float64Array::from_iter_values((5_000..10_000).map(f64::from))),
        ];
        let ScalarValue::Float64(Some(median)) = merged(Makes::Quantile, state, parts) else {
            panic!("no median")
        };
        assert!((4_800.0..5_200.0).contains(&median), "{median}");
    }
}
