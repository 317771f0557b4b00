//! DS_TUPLE_DOUBLES, and functions over its sketches.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Builder, ListBuilder};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, exec_err, plan_err};

use super::aggregate::{Definition as Aggregate, Gives as Made, Settings, State};
use super::read::{all_sketches, at, doubles, is_number, number, sketch, sketches};
use super::tuples::{MOST_VALUES, Tuples};
use crate::cast::to_text;
use crate::function::{Call, Definition, Gives, list_of};
use crate::operand::Operand::{self, Any};
use crate::operand::coerce;

/// Druid's default.
const NOMINAL: usize = 4096;

/// What DS_TUPLE_DOUBLES shows for a sketch: its estimate.
pub(super) const ESTIMATE: &str = "__tuple_estimate";

pub(super) const AGGREGATES: [Aggregate; 1] = [Aggregate {
    name: "ds_tuple_doubles",
    aliases: &[],
    count: (1, usize::MAX),
    takes: |position, found| match position {
        0 => Some(coerce(Any, found).unwrap_or_else(|| found.clone())),
        _ => coerce(Operand::Number, found),
    },
    gives: Made::Complex("arrayOfDoublesSketch"),
    empty: |settings| Ok(Box::new(Building::new(settings)?)),
}];

pub(super) const FUNCTIONS: [Definition; 5] = [
    Definition::new(
        "ds_tuple_doubles_union",
        &[Any, Any],
        sketch("arrayOfDoublesSketch"),
        |call| combined(call, |whole, next| whole.unite(next)),
    )
    .and_more(Any),
    Definition::new(
        "ds_tuple_doubles_intersect",
        &[Any, Any],
        sketch("arrayOfDoublesSketch"),
        |call| combined(call, |whole, next| whole.intersect(next)),
    )
    .and_more(Any),
    Definition::new(
        "ds_tuple_doubles_not",
        &[Any, Any],
        sketch("arrayOfDoublesSketch"),
        |call| combined(call, |whole, next| whole.subtract(next)),
    )
    .and_more(Any),
    Definition::new("ds_tuple_doubles_metrics_sum_estimate", &[Any], SUMS, sums),
    Definition::new(ESTIMATE, &[Any], Gives::Double, |call| {
        doubles(call, |bytes| Ok(read(bytes, NOMINAL)?.estimate()))
    }),
];

const SUMS: Gives = Gives::Of(|_| Ok(list_of(DataType::Float64)));

/// Nothing at all is an empty sketch; it takes the number of values of what it is combined with.
fn read(bytes: &[u8], nominal: usize) -> Result<Tuples> {
    if bytes.is_empty() {
        return Ok(Tuples::new(nominal, 1));
    }
    Tuples::deserialize(bytes, nominal)
}

fn nominal(entries: f64) -> Result<usize> {
    let entries = entries as usize;
    if (16..=1 << 26).contains(&entries) && entries.is_power_of_two() {
        Ok(entries)
    } else {
        plan_err!("nominalEntries must be a power of 2 from 16 to 67108864, found {entries}")
    }
}

struct Building {
    nominal: usize,
    /// Columns of values; none when sketches are merged.
    metrics: usize,
    /// Nothing before a sketch has said how many values it has.
    sketch: Option<Tuples>,
}

impl Building {
    fn new(settings: &Settings) -> Result<Self> {
        let last = settings.count().saturating_sub(1);
        let has_nominal = last > 0 && settings.is_number(last);
        let nominal = match settings.number(last) {
            Ok(Some(entries)) if has_nominal => nominal(entries)?,
            _ => NOMINAL,
        };
        let metrics = if has_nominal { last - 1 } else { last };
        if metrics > MOST_VALUES {
            return plan_err!("DS_TUPLE_DOUBLES takes {MOST_VALUES} values at most, found {metrics}");
        }
        let sketch = (metrics > 0).then(|| Tuples::new(nominal, metrics));
        Ok(Building {
            nominal,
            metrics,
            sketch,
        })
    }
}

impl State for Building {
    fn update(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        let Some((keys, metrics)) = arguments.split_first() else {
            return exec_err!("a key is missing");
        };
        if let Some(sketches) = keys.as_binary_opt::<i32>() {
            return sketches.iter().flatten().try_for_each(|bytes| self.merge(bytes));
        }
        let Some(sketch) = &mut self.sketch else {
            return exec_err!("DS_TUPLE_DOUBLES of one argument takes a column of sketches");
        };
        let keys = to_text(keys)?;
        let metrics = metrics.iter().take(self.metrics);
        let metrics = metrics.map(|metric| arrow::compute::cast(metric, &DataType::Float64));
        let metrics = metrics.collect::<std::result::Result<Vec<_>, _>>()?;
        let metrics: Vec<_> = metrics
            .iter()
            .map(|metric| metric.as_primitive::<Float64Type>())
            .collect();
        for (row, key) in keys.as_string_view().iter().enumerate() {
            let values = metrics
                .iter()
                .map(|metric| metric.is_valid(row).then(|| metric.value(row)));
            // A row without one of its values counts nothing.
            if let (Some(key), Some(values)) = (key, values.collect::<Option<Vec<f64>>>()) {
                sketch.update(key.as_bytes(), &values);
            }
        }
        Ok(())
    }

    fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let other = Tuples::deserialize(bytes, self.nominal)?;
        let sketch = self
            .sketch
            .get_or_insert_with(|| Tuples::new(self.nominal, other.width()));
        sketch.unite(&other)
    }

    /// Without a sketch there is nothing to say how many values it has.
    fn bytes(&mut self) -> Result<Vec<u8>> {
        Ok(self
            .sketch
            .clone()
            .map(|sketch| sketch.trimmed().serialize())
            .unwrap_or_default())
    }

    fn evaluate(&mut self) -> Result<datafusion::scalar::ScalarValue> {
        let sketch = self
            .sketch
            .clone()
            .unwrap_or_else(|| Tuples::new(self.nominal, 1));
        Ok(datafusion::scalar::ScalarValue::Binary(Some(
            sketch.trimmed().serialize(),
        )))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.sketch.as_ref().map_or(0, Tuples::size)
    }
}

/// The sketches of each row, before a number of entries that may stand behind them, one after the other.
fn combined(call: &Call<'_>, with: impl Fn(&mut Tuples, &Tuples) -> Result<()>) -> Result<ArrayRef> {
    let last = call.arguments.len() - 1;
    let (end, entries) = if is_number(call, last) {
        (last, nominal(number(call, last)?)?)
    } else {
        (last + 1, NOMINAL)
    };
    let columns = all_sketches(call, 0..end)?;
    let made = (0..call.rows).map(|row| {
        // NULL is an empty sketch.
        let found = columns.iter().map(|column| at(column, row).unwrap_or_default());
        let mut found = found.map(|bytes| read(bytes, entries));
        let Some(whole) = found.next() else {
            return Ok(None);
        };
        let mut whole = whole?;
        for other in found {
            with(&mut whole, &other?)?;
        }
        Ok(Some(whole.trimmed().serialize()))
    });
    Ok(Arc::new(made.collect::<Result<BinaryArray>>()?))
}

fn sums(call: &Call<'_>) -> Result<ArrayRef> {
    let mut lists = ListBuilder::new(Float64Builder::new());
    for bytes in &sketches(call, 0)? {
        if let Some(bytes) = bytes {
            lists.values().append_slice(&read(bytes, NOMINAL)?.sums());
        }
        lists.append(bytes.is_some());
    }
    Ok(Arc::new(lists.finish()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::{Float64Array, Int64Array, StringViewArray};
    use datafusion::scalar::ScalarValue;

    use super::*;
    use crate::sketches::aggregate::tests::{aggregated, complaint};
    use crate::sketches::read::tests::called;

    fn of(keys: &[&str], values: &[Option<f64>]) -> ScalarValue {
        let keys: ArrayRef = Arc::new(StringViewArray::from_iter_values(keys));
        let longs: ArrayRef = Arc::new(Int64Array::from_iter_values(1..=keys.len() as i64));
        aggregated(
            &AGGREGATES[0],
            &[&[keys, Arc::new(Float64Array::from(values.to_vec())), longs]],
            &[],
        )
    }

    fn sums_of(sketch: ScalarValue) -> String {
        called(&FUNCTIONS, "ds_tuple_doubles_metrics_sum_estimate", &[sketch])
            .unwrap()
            .to_string()
    }

    #[test]
    fn keys_hold_the_sums_of_their_values() {
        let one = of(&["a", "b", "a", "c"], &[Some(0.5), Some(2.0), Some(1.0), None]);
        let other = of(&["b", "d"], &[Some(10.0), Some(20.0)]);
        assert_eq!(sums_of(one.clone()), "[3.5, 6.0]");
        let table = [
            ("union", "[33.5, 9.0]"),
            ("intersect", "[12.0, 3.0]"),
            ("not", "[1.5, 4.0]"),
        ];
        for (operation, expected) in table {
            for more in [None, Some(ScalarValue::Int64(Some(64)))] {
                let mut arguments = vec![one.clone(), other.clone()];
                arguments.extend(more);
                let name = format!("ds_tuple_doubles_{operation}");
                assert_eq!(
                    sums_of(called(&FUNCTIONS, &name, &arguments).unwrap()),
                    expected,
                    "{operation}"
                );
            }
        }
        assert_eq!(called(&FUNCTIONS, ESTIMATE, &[one]).unwrap(), 2.0.into());
    }

    #[test]
    fn null_is_an_empty_sketch() {
        let one = || of(&["a", "b"], &[Some(0.5), Some(2.0)]);
        let null = || ScalarValue::Binary(None);
        let table = [
            ("not", [null(), one()], "[0.0, 0.0]"),
            ("not", [one(), null()], "[2.5, 3.0]"),
            ("intersect", [one(), null()], "[0.0, 0.0]"),
            ("intersect", [null(), one()], "[0.0, 0.0]"),
            ("union", [null(), one()], "[2.5, 3.0]"),
            ("union", [null(), null()], "[0.0]"),
        ];
        for (operation, arguments, expected) in table {
            let made = called(&FUNCTIONS, &format!("ds_tuple_doubles_{operation}"), &arguments).unwrap();
            assert_eq!(sums_of(made), expected, "{operation} {arguments:?}");
        }
    }

    #[test]
    fn an_empty_aggregation_goes_with_sketches_of_several_values() {
        let one = of(&["a", "b"], &[Some(0.5), Some(2.0)]);
        let nulls = ScalarValue::Binary(None).to_array().unwrap();
        let empty = aggregated(&AGGREGATES[0], &[&[nulls]], &[]);
        for (operation, expected) in [
            ("union", "[2.5, 3.0]"),
            ("not", "[2.5, 3.0]"),
            ("intersect", "[0.0, 0.0]"),
        ] {
            let name = format!("ds_tuple_doubles_{operation}");
            let made = called(&FUNCTIONS, &name, &[one.clone(), empty.clone()]).unwrap();
            assert_eq!(sums_of(made), expected, "{operation}");
        }
        for parts in [[empty.clone(), one.clone()], [one, empty]] {
            let column = ScalarValue::iter_to_array(parts).unwrap();
            assert_eq!(
                sums_of(aggregated(&AGGREGATES[0], &[&[column]], &[])),
                "[2.5, 3.0]"
            );
        }
    }

    #[test]
    fn too_many_values_are_refused() {
        let settings = Settings::of("ds_tuple_doubles", vec![None; 257]);
        let wrong = Building::new(&settings).err().unwrap().to_string();
        assert!(wrong.contains("255 values at most"), "{wrong}");
        assert!(Building::new(&Settings::of("ds_tuple_doubles", vec![None; 256])).is_ok());
    }

    #[test]
    fn sketches_of_a_column_are_united() {
        let parts = [of(&["a"], &[Some(1.0)]), of(&["a", "b"], &[Some(2.0), Some(3.0)])];
        let column = ScalarValue::iter_to_array(parts).unwrap();
        assert_eq!(
            sums_of(aggregated(&AGGREGATES[0], &[&[column]], &[])),
            "[6.0, 4.0]"
        );
    }

    #[test]
    fn a_last_number_is_the_number_of_entries() {
        assert!(complaint(&AGGREGATES[0], &[ScalarValue::Int64(Some(100))]).contains("power of 2"));
        assert_eq!(complaint(&AGGREGATES[0], &[ScalarValue::Int64(Some(64))]), "");
    }
}
