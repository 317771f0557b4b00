//! What Druid's scalar functions have in common: a name, operands with their coercions, a result type and a body over
//! Arrow arrays.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, StringViewArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type, TimestampMillisecondType};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::operand::{Operand, check_count, coerce, sql_names};
use crate::time::timestamp_type;
use crate::types::{complex_field, is_json, is_multi_value, json_field, json_type, multi_value_type};

/// The type of a function's result.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Gives {
    Text,
    Long,
    Double,
    Condition,
    Time,
    Json,
    /// An array of texts.
    Texts,
    /// A multi-value string; the body makes an array of texts.
    Values,
    /// The type of the first argument.
    First,
    /// COMPLEX of this name.
    Complex(&'static str),
    /// COMPLEX of the name in the first argument, a literal.
    Named(fn(Option<&str>) -> Result<&'static str>),
    /// As the arguments' types, after coercion, have it.
    Of(fn(&[DataType]) -> Result<DataType>),
}

/// The rows of a function's result.
pub(crate) type Body = fn(&Call<'_>) -> Result<ArrayRef>;

/// A scalar function as a row of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Definition {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    /// Operands that must be there.
    pub required: &'static [Operand],
    /// Operands that may follow.
    pub optional: &'static [Operand],
    /// Operands of this kind may follow without end.
    pub rest: Option<Operand>,
    pub gives: Gives,
    pub body: Body,
}

impl Definition {
    pub(crate) const fn new(
        name: &'static str,
        required: &'static [Operand],
        gives: Gives,
        body: Body,
    ) -> Self {
        Definition {
            name,
            aliases: &[],
            required,
            optional: &[],
            rest: None,
            gives,
            body,
        }
    }

    pub(crate) const fn or(self, optional: &'static [Operand]) -> Self {
        Definition { optional, ..self }
    }

    pub(crate) const fn and_more(self, rest: Operand) -> Self {
        Definition {
            rest: Some(rest),
            ..self
        }
    }

    pub(crate) const fn also(self, aliases: &'static [&'static str]) -> Self {
        Definition { aliases, ..self }
    }
}

/// The functions of a table.
pub(crate) fn defined(definitions: impl IntoIterator<Item = Definition>) -> Vec<Arc<ScalarUDF>> {
    definitions
        .into_iter()
        .map(|definition| Arc::new(ScalarUDF::from(DruidFunction::new(definition))))
        .collect()
}

#[derive(Debug)]
struct DruidFunction {
    definition: Definition,
    aliases: Vec<String>,
    signature: Signature,
}

impl DruidFunction {
    fn new(definition: Definition) -> Self {
        DruidFunction {
            definition,
            aliases: definition
                .aliases
                .iter()
                .map(|alias| (*alias).to_owned())
                .collect(),
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    fn operand(&self, position: usize) -> Option<Operand> {
        let Definition {
            required,
            optional,
            rest,
            ..
        } = self.definition;
        required.iter().chain(optional).nth(position).copied().or(rest)
    }

    fn gives(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match self.definition.gives {
            Gives::Text => DataType::Utf8View,
            Gives::Json => json_type(),
            Gives::Values => multi_value_type(),
            Gives::Long => DataType::Int64,
            Gives::Double => DataType::Float64,
            Gives::Condition => DataType::Boolean,
            Gives::Time => timestamp_type(),
            Gives::Texts => list_of(DataType::Utf8View),
            Gives::First => match types.first() {
                None | Some(DataType::Null) => DataType::Utf8View,
                Some(first) => first.clone(),
            },
            Gives::Complex(_) | Gives::Named(_) => DataType::Binary,
            Gives::Of(of) => of(types)?,
        })
    }
}

/// The type of an array of such elements.
pub(crate) fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element, true)))
}

impl PartialEq for DruidFunction {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for DruidFunction {}

impl Hash for DruidFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl ScalarUDFImpl for DruidFunction {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.gives(types)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        crate::text::check_pattern(self.name(), arguments.scalar_arguments)?;
        let types: Vec<DataType> = arguments
            .arg_fields
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let complex = match self.definition.gives {
            Gives::Complex(name) => Some(name),
            Gives::Named(known) => {
                let first = arguments.scalar_arguments.first().copied().flatten();
                Some(known(first.and_then(|name| name.try_as_str().flatten()))?)
            }
            _ => None,
        };
        if let Some(complex) = complex {
            return Ok(Arc::new(complex_field(self.name(), complex)));
        }
        let data_type = self.gives(&types)?;
        Ok(Arc::new(if is_json(&data_type) {
            json_field(self.name())
        } else {
            Field::new(self.name(), data_type, true)
        }))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let definition = &self.definition;
        check_count(definition, types.len())?;
        let coerced = types
            .iter()
            .enumerate()
            .map(|(position, found)| coerce(self.operand(position)?, found));
        match coerced.collect::<Option<Vec<_>>>() {
            Some(coerced) => Ok(coerced),
            None => {
                let name = definition.name.to_uppercase();
                let form = (0..types.len()).filter_map(|position| self.operand(position));
                let form: Vec<String> = form.map(|operand| format!("<{}>", operand.family())).collect();
                plan_err!(
                    "Cannot apply '{name}' to arguments of type '{name}({})'. Supported form(s): '{name}({})'",
                    sql_names(types),
                    form.join(", ")
                )
            }
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = arguments
            .args
            .iter()
            .all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let gives = match arguments.return_field.data_type() {
            values if is_multi_value(values) => list_of(DataType::Utf8View),
            gives => gives.clone(),
        };
        let call = Call {
            name: self.definition.name,
            arguments: &arguments.args,
            gives: &gives,
            rows: if constant { 1 } else { arguments.number_rows },
        };
        let mut result = (self.definition.body)(&call)?;
        if is_multi_value(arguments.return_field.data_type()) && !is_multi_value(result.data_type()) {
            result = crate::cast::to_type(&result, &gives)?;
        }
        if result.data_type() != arguments.return_field.data_type() {
            result = arrow::compute::cast(&result, arguments.return_field.data_type())?;
        }
        if constant {
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?))
        } else {
            Ok(ColumnarValue::Array(result))
        }
    }
}

/// One call over a batch.
pub(crate) struct Call<'a> {
    pub name: &'static str,
    pub arguments: &'a [ColumnarValue],
    /// The type of the result.
    pub gives: &'a DataType,
    pub rows: usize,
}

impl Call<'_> {
    /// Whether there is such an argument.
    pub(crate) fn has(&self, position: usize) -> bool {
        position < self.arguments.len()
    }

    /// An argument as one value per row.
    pub(crate) fn array(&self, position: usize) -> Result<ArrayRef> {
        match self.arguments.get(position) {
            Some(argument) => argument.to_array(self.rows),
            None => exec_err!("{} has no argument {}", self.name.to_uppercase(), position + 1),
        }
    }

    pub(crate) fn texts(&self, position: usize) -> Result<StringViewArray> {
        let array = self.array(position)?;
        match array.as_string_view_opt() {
            Some(texts) => Ok(texts.clone()),
            None => Ok(arrow::compute::cast(&array, &DataType::Utf8View)?
                .as_string_view()
                .clone()),
        }
    }

    pub(crate) fn longs(&self, position: usize) -> Result<Int64Array> {
        let array = self.array(position)?;
        match array.as_primitive_opt::<Int64Type>() {
            Some(longs) => Ok(longs.clone()),
            None => Ok(arrow::compute::cast(&array, &DataType::Int64)?
                .as_primitive()
                .clone()),
        }
    }

    pub(crate) fn doubles(&self, position: usize) -> Result<Float64Array> {
        let array = self.array(position)?;
        match array.as_primitive_opt::<Float64Type>() {
            Some(doubles) => Ok(doubles.clone()),
            None => Ok(arrow::compute::cast(&array, &DataType::Float64)?
                .as_primitive()
                .clone()),
        }
    }

    pub(crate) fn times(&self, position: usize) -> Result<TimestampMillisecondArray> {
        let array = self.array(position)?;
        match array.as_primitive_opt::<TimestampMillisecondType>() {
            Some(times) => Ok(times.clone()),
            None => Ok(arrow::compute::cast(&array, &timestamp_type())?
                .as_primitive()
                .clone()),
        }
    }

    /// The value of an argument that is the same for all rows; `None` for one that is not, or is absent.
    pub(crate) fn constant(&self, position: usize) -> Option<&ScalarValue> {
        match self.arguments.get(position) {
            Some(ColumnarValue::Scalar(value)) => Some(value),
            _ => None,
        }
    }

    /// The text of an argument that must be a literal, `None` where it is absent or NULL.
    ///
    /// # Errors
    /// For an argument that differs from row to row.
    pub(crate) fn literal_text(&self, position: usize) -> Result<Option<&str>> {
        match self.arguments.get(position) {
            None => Ok(None),
            Some(ColumnarValue::Scalar(value)) if value.is_null() => Ok(None),
            Some(ColumnarValue::Scalar(value)) => match value.try_as_str() {
                Some(text) => Ok(text),
                None => exec_err!(
                    "argument {} of {} must be a string literal",
                    position + 1,
                    self.name.to_uppercase()
                ),
            },
            Some(ColumnarValue::Array(_)) => exec_err!(
                "argument {} of {} must be a literal",
                position + 1,
                self.name.to_uppercase()
            ),
        }
    }
}
