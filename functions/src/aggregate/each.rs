//! Aggregations of the values of multi-value strings: each value counts as a row's value would.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

/// Aggregations that take values one by one, each by a name of its own and with DISTINCT by another: the optimiser
/// would else group by whole strings to find what is distinct.
const NAMES: [(&str, &str, &str); 19] = [
    ("approx_count_distinct", "__each_approx_count_distinct", ""),
    (
        "approx_count_distinct_ds_hll",
        "__each_approx_count_distinct_ds_hll",
        "",
    ),
    (
        "approx_count_distinct_ds_hll_utf8",
        "__each_approx_count_distinct_ds_hll_utf8",
        "",
    ),
    (
        "approx_count_distinct_ds_theta",
        "__each_approx_count_distinct_ds_theta",
        "",
    ),
    ("approx_quantile_ds", "__each_approx_quantile_ds", ""),
    ("array_agg", "__each_array_agg", "__each_distinct_array_agg"),
    ("avg", "__each_avg", ""),
    ("bit_and", "__each_bit_and", ""),
    ("bit_or", "__each_bit_or", ""),
    ("bit_xor", "__each_bit_xor", ""),
    ("bloom_filter", "__each_bloom_filter", ""),
    ("count", "__each_count", "__each_distinct_count"),
    ("ds_hll", "__each_ds_hll", ""),
    ("ds_theta", "__each_ds_theta", ""),
    ("ds_tuple_doubles", "__each_ds_tuple_doubles", ""),
    ("max", "__each_max", "__each_max"),
    ("min", "__each_min", "__each_min"),
    ("string_agg", "__each_string_agg", "__each_distinct_string_agg"),
    ("sum", "__each_sum", ""),
];

/// The name under which an aggregation takes multi-value strings value by value; `None` for one that does not.
pub(crate) fn each_name(name: &str, is_distinct: bool) -> Option<&'static str> {
    let mut names = NAMES.iter();
    let (_, all, distinct) = names.find(|(inner, ..)| *inner == name)?;
    let found = if is_distinct { distinct } else { all };
    (!found.is_empty()).then_some(found)
}

/// Whether an aggregation has one of those names.
pub(crate) fn is_each_name(name: &str) -> bool {
    NAMES
        .iter()
        .any(|(_, all, distinct)| *all == name || *distinct == name)
}

/// The aggregations of values, over those of `known`.
pub(crate) fn functions(known: &[Arc<AggregateUDF>]) -> Vec<Arc<AggregateUDF>> {
    let mut functions = Vec::new();
    for (inner, all, distinct) in NAMES {
        let Some(inner) = known.iter().rev().find(|function| function.name() == inner) else {
            continue;
        };
        let mut add = |name, is_distinct| {
            functions.push(Arc::new(AggregateUDF::from(Each {
                name,
                is_distinct,
                inner: Arc::clone(inner),
                signature: Signature::user_defined(Volatility::Immutable),
            })));
        };
        add(all, Taken::All);
        if !distinct.is_empty() && distinct != all {
            add(distinct, Taken::Distinct);
        }
    }
    functions
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Taken {
    All,
    Distinct,
}

#[derive(Debug)]
struct Each {
    name: &'static str,
    is_distinct: Taken,
    inner: Arc<AggregateUDF>,
    signature: Signature,
}

impl PartialEq for Each {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Each {}

impl Hash for Each {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

fn value_type(found: &DataType) -> DataType {
    match found {
        DataType::LargeList(value) => value.data_type().clone(),
        other => other.clone(),
    }
}

fn value_field(field: &FieldRef) -> FieldRef {
    let found = value_type(field.data_type());
    Arc::new(field.as_ref().clone().with_data_type(found).with_nullable(true))
}

impl AggregateUDFImpl for Each {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Values keep their type; they are brought to what the aggregation takes as they come.
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let values = self.taken(types)?;
        self.inner.return_type(&values)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(&self.taken_fields(fields)?)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let fields = self.taken_fields(arguments.input_fields)?;
        self.inner.state_fields(StateFieldsArgs {
            input_fields: &fields,
            is_distinct: self.is_distinct == Taken::Distinct,
            return_field: Arc::clone(&arguments.return_field),
            ..arguments
        })
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let fields = self.taken_fields(arguments.expr_fields)?;
        let types = fields.iter().map(|field| field.data_type().clone()).collect();
        let inner = self.inner.accumulator(AccumulatorArgs {
            expr_fields: &fields,
            is_distinct: self.is_distinct == Taken::Distinct,
            ..arguments
        })?;
        Ok(Box::new(Values { inner, types }))
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }
}

impl Each {
    /// The types in which the inner aggregation takes its arguments.
    fn taken(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let values: Vec<DataType> = types.iter().map(value_type).collect();
        let fields: Vec<FieldRef> = values
            .iter()
            .map(|found| Arc::new(arrow::datatypes::Field::new("", found.clone(), true)))
            .collect();
        let taken = datafusion::logical_expr::type_coercion::functions::fields_with_udf(
            &fields,
            self.inner.as_ref(),
        )?;
        Ok(taken.iter().map(|field| field.data_type().clone()).collect())
    }

    fn taken_fields(&self, fields: &[FieldRef]) -> Result<Vec<FieldRef>> {
        let types: Vec<DataType> = fields.iter().map(|field| field.data_type().clone()).collect();
        let taken = self.taken(&types)?;
        Ok(fields
            .iter()
            .zip(taken)
            .map(|(field, taken)| {
                Arc::new(value_field(field).as_ref().clone().with_data_type(taken)) as FieldRef
            })
            .collect())
    }
}

#[derive(Debug)]
struct Values {
    inner: Box<dyn Accumulator>,
    types: Vec<DataType>,
}

impl Accumulator for Values {
    fn update_batch(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        let mut spread = spread(arguments)?;
        for (array, wanted) in spread.iter_mut().zip(&self.types) {
            if array.data_type() != wanted {
                *array = crate::cast::to_type(array, wanted)?;
            }
        }
        self.inner.update_batch(&spread)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}

/// The values of the first argument one by one, with the others beside each; a string without a value is NULL.
fn spread(arguments: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let Some((first, others)) = arguments.split_first() else {
        return exec_err!("a value is missing");
    };
    let Some(lists) = first.as_list_opt::<i64>() else {
        return Ok(arguments.to_vec());
    };
    let mut values = Vec::with_capacity(lists.values().len());
    let mut rows = Vec::with_capacity(lists.values().len());
    for (row, offsets) in lists.offsets().windows(2).enumerate() {
        let [first, end] = offsets else { continue };
        if lists.is_null(row) || first == end {
            values.push(None);
            rows.push(row as u64);
            continue;
        }
        for position in *first..*end {
            values.push(u64::try_from(position).ok());
            rows.push(row as u64);
        }
    }
    let (values, rows) = (UInt64Array::from(values), UInt64Array::from(rows));
    let mut spread = vec![arrow::compute::take(lists.values(), &values, None)?];
    for other in others {
        spread.push(arrow::compute::take(other, &rows, None)?);
    }
    Ok(spread)
}
