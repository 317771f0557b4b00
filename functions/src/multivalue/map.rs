//! Scalar expressions over multi-value strings: the expression is evaluated for each value, and its results are the
//! values of one.
//!
//! Druid: querying/sql-data-types.md#multi-value-strings-behavior

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeListArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;

use crate::types::multi_value_of;

/// What an expression sees of one of its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sees {
    /// Each value of a multi-value string in turn.
    EachValue,
    /// A row's value as it is.
    Whole,
}

/// `body` over each combination of the values of its inputs; a string without a value is NULL to it.
#[derive(Debug)]
pub struct MapValues {
    body: Arc<dyn PhysicalExpr>,
    /// The inputs as `body` sees them.
    inputs: SchemaRef,
    sees: Vec<Sees>,
    result: DataType,
    /// `body` for people to read.
    shown: String,
    name: String,
    signature: Signature,
}

/// What the function's names begin with; what is mapped follows.
pub const MAP_VALUES: &str = "__map_values";

impl MapValues {
    /// # Errors
    /// When `body` does not fit `inputs`.
    pub fn try_new(
        body: Arc<dyn PhysicalExpr>,
        inputs: SchemaRef,
        sees: Vec<Sees>,
        shown: String,
    ) -> Result<Self> {
        Ok(MapValues {
            result: multi_value_of(body.data_type(&inputs)?),
            signature: Signature::any(sees.len(), Volatility::Immutable),
            name: format!("{MAP_VALUES}[{shown}]"),
            body,
            inputs,
            sees,
            shown,
        })
    }

    pub fn body(&self) -> &Arc<dyn PhysicalExpr> {
        &self.body
    }

    pub fn inputs(&self) -> &SchemaRef {
        &self.inputs
    }

    pub fn sees(&self) -> &[Sees] {
        &self.sees
    }

    pub fn shown(&self) -> &str {
        &self.shown
    }

    pub fn call(self, arguments: Vec<Expr>) -> Expr {
        ScalarUDF::from(self).call(arguments)
    }
}

impl PartialEq for MapValues {
    fn eq(&self, other: &Self) -> bool {
        self.body.as_ref() == other.body.as_ref() && self.inputs == other.inputs && self.sees == other.sees
    }
}

impl Eq for MapValues {}

impl Hash for MapValues {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.body.hash(state);
        self.sees.hash(state);
    }
}

impl ScalarUDFImpl for MapValues {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let arrays = arguments
            .args
            .iter()
            .map(|argument| argument.to_array(rows))
            .collect::<Result<Vec<_>>>()?;
        let spread = Spread::new(&arrays, &self.sees, rows)?;
        let columns = arrays
            .iter()
            .zip(&self.sees)
            .zip(&spread.picks)
            .map(|((array, sees), picks)| {
                let values = match sees {
                    Sees::EachValue => array.as_list::<i64>().values(),
                    Sees::Whole => array,
                };
                Ok(arrow::compute::take(values, picks, None)?)
            })
            .collect::<Result<Vec<_>>>()?;
        let count = spread.lengths.iter().sum();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.inputs), columns, &options)?;
        let values = self.body.evaluate(&batch)?.into_array(count)?;
        let element = element(&self.result)?;
        let values = if values.data_type() == element.data_type() {
            values
        } else {
            arrow::compute::cast(&values, element.data_type())?
        };
        let lists = LargeListArray::try_new(
            Arc::clone(element),
            OffsetBuffer::from_lengths(spread.lengths),
            values,
            None,
        )?;
        Ok(ColumnarValue::Array(Arc::new(lists)))
    }
}

fn element(result: &DataType) -> Result<&FieldRef> {
    match result {
        DataType::LargeList(element) => Ok(element),
        other => exec_err!("expected the type of a multi-value string, found {other}"),
    }
}

/// Which value of each input stands in which combination.
struct Spread {
    /// Combinations of each row.
    lengths: Vec<usize>,
    /// For each input the positions of its values, or of its rows; NULL for a string without a value.
    picks: Vec<UInt64Array>,
}

impl Spread {
    fn new(arrays: &[ArrayRef], sees: &[Sees], rows: usize) -> Result<Self> {
        let mut lengths = Vec::with_capacity(rows);
        let mut picks: Vec<Vec<Option<u64>>> = vec![Vec::with_capacity(rows); arrays.len()];
        for row in 0..rows {
            let spans = arrays
                .iter()
                .zip(sees)
                .map(|(array, sees)| span(array, *sees, row))
                .collect::<Result<Vec<_>>>()?;
            let length = spans.iter().map(|span| span.count()).product();
            lengths.push(length);
            // The last input varies fastest.
            let mut each = 1;
            for (span, picks) in spans.iter().zip(&mut picks).rev() {
                picks.extend((0..length).map(|position| span.pick(position / each % span.count())));
                each *= span.count();
            }
        }
        Ok(Spread {
            lengths,
            picks: picks.into_iter().map(UInt64Array::from).collect(),
        })
    }
}

/// Positions of a row's values.
enum Span {
    Values { first: usize, count: usize },
    Nothing,
}

impl Span {
    fn count(&self) -> usize {
        match self {
            Span::Values { count, .. } => *count,
            Span::Nothing => 1,
        }
    }

    fn pick(&self, position: usize) -> Option<u64> {
        match self {
            Span::Values { first, .. } => Some((first + position) as u64),
            Span::Nothing => None,
        }
    }
}

fn span(array: &ArrayRef, sees: Sees, row: usize) -> Result<Span> {
    if sees == Sees::Whole {
        return Ok(Span::Values { first: row, count: 1 });
    }
    let Some(lists) = array.as_list_opt::<i64>() else {
        return exec_err!("expected a multi-value string, found {}", array.data_type());
    };
    let offset = |row: usize| {
        let offset = lists.offsets().get(row).copied().unwrap_or_default();
        usize::try_from(offset).unwrap_or_default()
    };
    let (first, end) = (offset(row), offset(row + 1));
    Ok(if lists.is_null(row) || first == end {
        Span::Nothing
    } else {
        Span::Values {
            first,
            count: end - first,
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::{ListBuilder, StringViewBuilder};
    use arrow::datatypes::{Field, Schema};
    use datafusion::config::ConfigOptions;
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{BinaryExpr, Column};

    use super::*;
    use crate::types::multi_value_type;

    fn strings(rows: &[Option<&[&str]>]) -> ArrayRef {
        let mut builder = ListBuilder::new(StringViewBuilder::new());
        for row in rows {
            match row {
                Some(values) => builder.append_value(values.iter().map(Some)),
                None => builder.append_null(),
            }
        }
        arrow::compute::cast(&(Arc::new(builder.finish()) as ArrayRef), &multi_value_type()).unwrap()
    }

    #[test]
    fn each_combination_of_values_gives_one() {
        let field = |name: &str| Field::new(name, DataType::Utf8View, true);
        let inputs: SchemaRef = Arc::new(Schema::new(vec![field("a"), field("b")]));
        let body = Arc::new(BinaryExpr::new(
            Arc::new(Column::new("a", 0)),
            Operator::StringConcat,
            Arc::new(Column::new("b", 1)),
        ));
        let sees = vec![Sees::EachValue, Sees::EachValue];
        let map = MapValues::try_new(body, inputs, sees, "a || b".to_owned()).unwrap();
        let left = strings(&[Some(&["x", "y"]), Some(&["z"]), None]);
        let right = strings(&[Some(&["1", "2"]), Some(&[]), Some(&["3"])]);
        let result = map
            .invoke_with_args(ScalarFunctionArgs {
                args: vec![ColumnarValue::Array(left), ColumnarValue::Array(right)],
                arg_fields: Vec::new(),
                number_rows: 3,
                return_field: Arc::new(Field::new("", multi_value_type(), true)),
                config_options: Arc::new(ConfigOptions::default()),
            })
            .unwrap()
            .into_array(3)
            .unwrap();
        let row = |row: usize| -> Vec<Option<String>> {
            let values = result.as_list::<i64>().value(row);
            values
                .as_string_view()
                .iter()
                .map(|text| text.map(str::to_owned))
                .collect()
        };
        let some = |texts: &[&str]| -> Vec<Option<String>> {
            texts.iter().map(|text| Some((*text).to_owned())).collect()
        };
        assert_eq!(row(0), some(&["x1", "x2", "y1", "y2"]));
        assert_eq!(row(1), [None]);
        assert_eq!(row(2), [None]);
    }
}
