//! APPROX_COUNT_DISTINCT.

use std::hash::{Hash, Hasher};
use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, FieldRef, Float32Type, Float64Type, Int64Type, TimestampMillisecondType,
};
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;
use datasketches::hll::{HllSketch, HllType, HllUnion};

/// Buckets are two to this power: Druid's default.
const LG_K: u8 = 12;

/// The functions of this family.
pub fn functions() -> Vec<Arc<AggregateUDF>> {
    vec![Arc::new(AggregateUDF::from(ApproxCountDistinct::new()))]
}

/// `APPROX_COUNT_DISTINCT(x)`: about how many different values there are, by an HLL sketch; NULL is none.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ApproxCountDistinct {
    signature: Signature,
    aliases: Vec<String>,
}

impl ApproxCountDistinct {
    fn new() -> Self {
        let aliases = ["approx_count_distinct_ds_hll", "approx_count_distinct_builtin"];
        ApproxCountDistinct {
            signature: Signature::one_of([1, 2, 3].map(TypeSignature::Any).to_vec(), Volatility::Immutable),
            aliases: aliases.map(str::to_owned).to_vec(),
        }
    }
}

impl AggregateUDFImpl for ApproxCountDistinct {
    fn name(&self) -> &str {
        "approx_count_distinct"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn default_value(&self, _: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(0)))
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(
            format!("{}[sketch]", arguments.name),
            DataType::Binary,
            true,
        ))])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let sketch = HllSketch::new(LG_K, HllType::Hll4).map_err(refused)?;
        Ok(Box::new(HllAccumulator { sketch }))
    }
}

fn refused(error: impl std::fmt::Display) -> DataFusionError {
    DataFusionError::Execution(format!("HLL sketch: {error}"))
}

/// Feeds a sketch with bytes as they are, as Java's sketches do, and not with Rust's framing of them.
struct Raw<'a>(&'a [u8]);

impl Hash for Raw<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0);
    }
}

#[derive(Debug)]
struct HllAccumulator {
    sketch: HllSketch,
}

impl HllAccumulator {
    fn add<'a>(&mut self, values: impl Iterator<Item = Option<&'a str>>) {
        // The empty text counts as no value, as in Java's sketches.
        for value in values.flatten().filter(|value| !value.is_empty()) {
            self.sketch.update(Raw(value.as_bytes()));
        }
    }

    fn add_numbers(&mut self, values: impl Iterator<Item = Option<[u8; 8]>>) {
        for value in values.flatten() {
            self.sketch.update(Raw(&value));
        }
    }
}

impl Accumulator for HllAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else {
            return exec_err!("APPROX_COUNT_DISTINCT takes an argument");
        };
        if values.data_type() == &DataType::Binary {
            return self.merge_batch(std::slice::from_ref(values));
        }
        // Java's sketches see doubles with one zero and one NaN.
        let double = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
        match values.data_type() {
            DataType::Null => {}
            DataType::Utf8View => self.add(values.as_string_view().iter()),
            DataType::Utf8 => self.add(values.as_string::<i32>().iter()),
            DataType::Int64 => {
                self.add_numbers(
                    values
                        .as_primitive::<Int64Type>()
                        .iter()
                        .map(|value| value.map(i64::to_le_bytes)),
                );
            }
            DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, _) => {
                let times = values.as_primitive::<TimestampMillisecondType>();
                self.add_numbers(times.iter().map(|value| value.map(i64::to_le_bytes)));
            }
            DataType::Float64 => {
                let doubles = values.as_primitive::<Float64Type>();
                self.add_numbers(
                    doubles
                        .iter()
                        .map(|value| value.map(|value| double(value).to_le_bytes())),
                );
            }
            DataType::Float32 => {
                let floats = values.as_primitive::<Float32Type>();
                self.add_numbers(
                    floats
                        .iter()
                        .map(|value| value.map(|value| double(value.into()).to_le_bytes())),
                );
            }
            _ => {
                let texts = cast(values, &DataType::Utf8)?;
                self.add(texts.as_string::<i32>().iter());
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [sketches] = states else {
            return exec_err!("an HLL sketch has one state");
        };
        let sketches: &BinaryArray = sketches.as_binary();
        let mut union = HllUnion::new(LG_K).map_err(refused)?;
        union.update(&self.sketch);
        for sketch in sketches.iter().flatten() {
            union.update(&HllSketch::deserialize(sketch).map_err(refused)?);
        }
        self.sketch = union.to_sketch(HllType::Hll4);
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(Some(self.sketch.serialize()))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(self.sketch.estimate().round() as i64)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sketch.estimated_size()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray};

    use super::*;

    fn accumulator() -> HllAccumulator {
        HllAccumulator {
            sketch: HllSketch::new(LG_K, HllType::Hll4).unwrap(),
        }
    }

    #[test]
    fn merged_sketches_count_what_both_have_seen() {
        let (mut one, mut two) = (accumulator(), accumulator());
        one.update_batch(&[Arc::new(Int64Array::from_iter_values(0..60_000))])
            .unwrap();
        two.update_batch(&[Arc::new(Int64Array::from_iter_values(40_000..100_000))])
            .unwrap();
        let state: Vec<ArrayRef> = two
            .state()
            .unwrap()
            .iter()
            .map(|state| state.to_array().unwrap())
            .collect();
        one.merge_batch(&state).unwrap();
        let ScalarValue::Int64(Some(count)) = one.evaluate().unwrap() else {
            panic!("no count")
        };
        assert!((97_000..103_000).contains(&count), "{count}");
    }

    #[test]
    fn nulls_and_doubles_of_a_value_count_nothing() {
        let mut sketch = accumulator();
        sketch
            .update_batch(&[Arc::new(StringViewArray::from(vec![
                Some("a"),
                None,
                Some("a"),
                Some("b"),
            ]))])
            .unwrap();
        assert_eq!(sketch.evaluate().unwrap(), ScalarValue::Int64(Some(2)));
    }
}
