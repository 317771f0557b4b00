//! ARRAY_AGG, ARRAY_CONCAT_AGG and STRING_AGG: all values in one, up to a number of bytes.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{OwnedRow, RowConverter, RowParser, SortField};
use datafusion::common::{Result, exec_err, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;
use datafusion::scalar::ScalarValue;

use super::operands;
use crate::array::list_array;
use crate::cast::to_text;
use crate::function::list_of;
use crate::operand::Operand::{Any, Array as AnArray, Long, Text};

pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    [Kind::Values, Kind::Elements, Kind::Text]
        .into_iter()
        .map(|kind| {
            Arc::new(AggregateUDF::from(Collect {
                kind,
                aliases: match kind {
                    Kind::Text => vec!["listagg".to_owned()],
                    _ => Vec::new(),
                },
                signature: Signature::user_defined(Volatility::Immutable),
            }))
        })
        .collect()
}

/// The types with the first one as a number where it is a time.
fn without_times(types: &[DataType]) -> Vec<DataType> {
    let mut types = types.to_vec();
    if let Some(first @ DataType::Timestamp(..)) = types.first_mut() {
        *first = DataType::Int64;
    }
    types
}

/// Bytes of a result unless said otherwise.
const DEFAULT_BYTES: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// ARRAY_AGG: values into an array.
    Values,
    /// ARRAY_CONCAT_AGG: the elements of arrays into one.
    Elements,
    /// STRING_AGG: texts into one, without NULLs.
    Text,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Collect {
    kind: Kind,
    aliases: Vec<String>,
    signature: Signature,
}

impl AggregateUDFImpl for Collect {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Values => "array_agg",
            Kind::Elements => "array_concat_agg",
            Kind::Text => "string_agg",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match self.kind {
            // An array of times is one of numbers.
            Kind::Values => operands(self.name(), &[Any, Long], 1, &without_times(types)),
            Kind::Elements => operands(self.name(), &[AnArray, Long], 1, types),
            Kind::Text => {
                let types = without_times(types);
                let known = [Any, Text, Long];
                operands(self.name(), &[Text, Text, Long], 1, &types)?;
                operands(self.name(), &known, 1, &types)
            }
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let first = match types.first() {
            None | Some(DataType::Null) => DataType::Utf8View,
            Some(first) => first.clone(),
        };
        Ok(match self.kind {
            Kind::Values => list_of(first),
            Kind::Elements => first,
            Kind::Text => DataType::Utf8View,
        })
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(
            format!("{}[values]", arguments.name),
            list_of(DataType::Binary),
            true,
        ))])
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let literal = |position: usize| {
            let expr = arguments.exprs.get(position)?;
            Some(expr.downcast_ref::<Literal>()?.value().clone())
        };
        let sizes = if self.kind == Kind::Text { 2 } else { 1 };
        let most_bytes = match literal(sizes)
            .map(|size| size.cast_to(&DataType::Int64))
            .transpose()?
        {
            Some(ScalarValue::Int64(Some(bytes))) => usize::try_from(bytes).unwrap_or(0),
            _ => DEFAULT_BYTES,
        };
        let separator = match (self.kind, literal(1)) {
            (Kind::Text, Some(separator)) => separator.try_as_str().flatten().unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        let given = match arguments.expr_fields.first() {
            Some(field) if !field.data_type().is_null() => field.data_type().clone(),
            _ => DataType::Utf8View,
        };
        let element = match (self.kind, &given) {
            (Kind::Elements, DataType::List(element)) => element.data_type().clone(),
            _ => given,
        };
        let converter = RowConverter::new(vec![SortField::new(element.clone())])?;
        Ok(Box::new(Values {
            kind: self.kind,
            parser: converter.parser(),
            converter,
            element,
            separator,
            most_bytes,
            bytes: 0,
            is_empty: true,
            rows: if arguments.is_distinct {
                Rows::Distinct(BTreeSet::new())
            } else {
                Rows::All(Vec::new())
            },
        }))
    }
}

/// Values as comparable bytes; different ones are kept in order.
enum Rows {
    All(Vec<OwnedRow>),
    Distinct(BTreeSet<OwnedRow>),
}

impl Rows {
    /// Whether the row was not there yet.
    fn add(&mut self, row: OwnedRow) -> bool {
        match self {
            Rows::All(rows) => {
                rows.push(row);
                true
            }
            Rows::Distinct(rows) => rows.insert(row),
        }
    }

    fn iter(&self) -> Box<dyn Iterator<Item = &OwnedRow> + '_> {
        match self {
            Rows::All(rows) => Box::new(rows.iter()),
            Rows::Distinct(rows) => Box::new(rows.iter()),
        }
    }
}

struct Values {
    kind: Kind,
    converter: RowConverter,
    parser: RowParser,
    element: DataType,
    separator: String,
    most_bytes: usize,
    bytes: usize,
    /// Whether no row has come at all.
    is_empty: bool,
    rows: Rows,
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values")
            .field("kind", &self.kind)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Values {
    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        let values = if values.data_type() == &self.element {
            Arc::clone(values)
        } else {
            arrow::compute::cast(values, &self.element)?
        };
        let rows = self.converter.convert_columns(&[Arc::clone(&values)])?;
        for (position, row) in rows.iter().enumerate() {
            self.is_empty = false;
            if self.kind == Kind::Text && values.is_null(position) {
                continue;
            }
            self.take(row.owned())?;
        }
        Ok(())
    }

    fn take(&mut self, row: OwnedRow) -> Result<()> {
        let bytes = row.as_ref().len() + self.separator.len();
        if self.rows.add(row) {
            self.bytes += bytes;
        }
        if self.bytes > self.most_bytes {
            return exec_err!(
                "Exceeded memory usage when aggregating type [{}], size [{}] is larger than max [{}]",
                match self.kind {
                    Kind::Text => "STRING".to_owned(),
                    _ => format!("ARRAY<{}>", crate::operand::sql_name(&self.element)),
                },
                self.bytes,
                self.most_bytes
            );
        }
        Ok(())
    }

    fn array(&self) -> Result<ArrayRef> {
        let rows = self.rows.iter().map(OwnedRow::row);
        match self.converter.convert_rows(rows)?.pop() {
            Some(array) => Ok(array),
            None => internal_err!("rows of one column gave none"),
        }
    }
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else {
            return exec_err!("a value is missing");
        };
        match (self.kind, values.as_list_opt::<i32>()) {
            (Kind::Elements, Some(lists)) => {
                for list in lists.iter().flatten() {
                    self.is_empty = false;
                    self.add(&list)?;
                }
                Ok(())
            }
            _ => self.add(values),
        }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(lists) = states.first().and_then(|states| states.as_list_opt::<i32>()) else {
            return exec_err!("the state is no list");
        };
        for list in lists.iter().flatten() {
            self.is_empty = false;
            let rows: &BinaryArray = list.as_binary();
            for bytes in rows.iter().flatten() {
                let row = self.parser.parse(bytes).owned();
                self.take(row)?;
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let rows = self.rows.iter().map(|row| Some(row.as_ref().to_vec()));
        let rows: BinaryArray = rows.collect();
        let length = rows.len();
        let lists = list_array(Arc::new(rows), &[length], vec![!self.is_empty]);
        Ok(vec![ScalarValue::try_from_array(&lists, 0)?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let array = self.array()?;
        if self.kind == Kind::Text {
            if array.is_empty() {
                return Ok(ScalarValue::Utf8View(None));
            }
            let texts = to_text(&array)?;
            let texts: Vec<&str> = texts.as_string_view().iter().flatten().collect();
            return Ok(ScalarValue::Utf8View(Some(texts.join(&self.separator))));
        }
        let length = array.len();
        let lists = list_array(array, &[length], vec![!self.is_empty]);
        ScalarValue::try_from_array(&lists, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.bytes + self.rows.iter().count() * size_of::<OwnedRow>()
    }
}
