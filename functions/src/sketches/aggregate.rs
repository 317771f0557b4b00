//! What aggregations that make sketches have in common: a state that is bytes, and settings that are literals.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;
use datafusion::scalar::ScalarValue;

use crate::operand::{Operand, coerce, sql_names};
use crate::types::complex_field;

/// A sketch under construction.
pub(super) trait State: Send + Sync {
    /// Takes the values of a batch; sketches among them are merged.
    fn update(&mut self, arguments: &[ArrayRef]) -> Result<()>;
    /// Takes another state's bytes.
    fn merge(&mut self, bytes: &[u8]) -> Result<()>;
    /// The state as bytes.
    fn bytes(&mut self) -> Result<Vec<u8>>;
    /// The result, when it is not the bytes.
    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(Some(self.bytes()?)))
    }
    /// Bytes of memory beside the state itself.
    fn size(&self) -> usize;
}

/// The values of a batch.
pub(super) enum Given {
    /// The bytes of other states.
    States(BinaryArray),
    Numbers(Float64Array),
}

/// The first argument of an aggregation over numbers.
///
/// # Errors
/// When there is none, or it is neither states nor numbers.
pub(super) fn given(arguments: &[ArrayRef]) -> Result<Given> {
    let Some(values) = arguments.first() else {
        return exec_err!("a value is missing");
    };
    if let Some(states) = values.as_binary_opt::<i32>() {
        return Ok(Given::States(states.clone()));
    }
    let numbers = arrow::compute::cast(values, &DataType::Float64)?;
    Ok(Given::Numbers(numbers.as_primitive::<Float64Type>().clone()))
}

/// The type of an aggregation's result.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gives {
    Long,
    Double,
    /// COMPLEX of this name.
    Complex(&'static str),
}

/// An aggregation as a row of a table.
#[derive(Clone, Copy)]
pub(super) struct Definition {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    /// The fewest and the most arguments.
    pub count: (usize, usize),
    /// The type that the argument at a position becomes; `None` for one that is refused.
    pub takes: fn(usize, &DataType) -> Option<DataType>,
    pub gives: Gives,
    /// An empty state.
    ///
    /// # Errors
    /// For settings that are out of range.
    pub empty: fn(&Settings) -> Result<Box<dyn State>>,
}

impl Definition {
    /// An aggregation over values of any type and at most so many arguments in all.
    pub(super) const fn of_any(
        name: &'static str,
        most: usize,
        gives: Gives,
        empty: fn(&Settings) -> Result<Box<dyn State>>,
    ) -> Definition {
        Definition {
            name,
            aliases: &[],
            count: (1, most),
            takes: |_, found| Some(coerce(Operand::Any, found).unwrap_or_else(|| found.clone())),
            gives,
            empty,
        }
    }
}

/// The aggregations of a table.
pub(super) fn defined<'a>(definitions: impl Iterator<Item = &'a Definition>) -> Vec<Arc<AggregateUDF>> {
    let function = |definition: &Definition| {
        Arc::new(AggregateUDF::from(Sketch {
            definition: *definition,
            aliases: definition
                .aliases
                .iter()
                .map(|alias| (*alias).to_owned())
                .collect(),
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    };
    definitions.map(function).collect()
}

/// The arguments of a call that are literals, by position; `None` for others.
pub(super) struct Settings {
    pub function: &'static str,
    values: Vec<Option<ScalarValue>>,
}

impl Settings {
    /// How many arguments there are.
    pub(super) fn count(&self) -> usize {
        self.values.len()
    }

    pub(super) fn is_number(&self, position: usize) -> bool {
        let value = self.values.get(position).and_then(Option::as_ref);
        value.is_some_and(|value| value.data_type().is_numeric())
    }

    fn get(&self, position: usize) -> Result<Option<&ScalarValue>> {
        match self.values.get(position) {
            None => Ok(None),
            Some(Some(value)) if !value.is_null() => Ok(Some(value)),
            Some(_) => plan_err!(
                "Argument {} of {} must be a literal",
                position + 1,
                self.function.to_uppercase()
            ),
        }
    }

    /// A number, `None` where it is left out.
    ///
    /// # Errors
    /// For what is there and is no literal number.
    pub(super) fn number(&self, position: usize) -> Result<Option<f64>> {
        let Some(value) = self.get(position)? else {
            return Ok(None);
        };
        match value.cast_to(&DataType::Float64) {
            Ok(ScalarValue::Float64(Some(number))) => Ok(Some(number)),
            _ => plan_err!(
                "Argument {} of {} must be a number, found [{value}]",
                position + 1,
                self.function.to_uppercase()
            ),
        }
    }

    /// A text, `None` where it is left out.
    ///
    /// # Errors
    /// For what is there and is no literal text.
    pub(super) fn text(&self, position: usize) -> Result<Option<&str>> {
        let Some(value) = self.get(position)? else {
            return Ok(None);
        };
        match value.try_as_str() {
            Some(Some(text)) => Ok(Some(text)),
            _ => plan_err!(
                "Argument {} of {} must be a string, found [{value}]",
                position + 1,
                self.function.to_uppercase()
            ),
        }
    }
}

struct Sketch {
    definition: Definition,
    aliases: Vec<String>,
    signature: Signature,
}

impl fmt::Debug for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sketch")
            .field("name", &self.definition.name)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Sketch {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for Sketch {}

impl Hash for Sketch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl AggregateUDFImpl for Sketch {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (least, most) = self.definition.count;
        let name = self.definition.name.to_uppercase();
        if !(least..=most).contains(&types.len()) {
            let expected = match (least, most) {
                (least, usize::MAX) => format!("at least {least}"),
                (least, most) if least == most => least.to_string(),
                (least, most) => format!("{least} to {most}"),
            };
            return plan_err!(
                "Invalid number of arguments to function '{name}'. Was expecting {expected} arguments"
            );
        }
        let taken = types.iter().enumerate();
        let taken = taken.map(|(position, found)| (self.definition.takes)(position, found));
        match taken.collect() {
            Some(taken) => Ok(taken),
            None => {
                let found = sql_names(types);
                plan_err!("Cannot apply '{name}' to arguments of type '{name}({found})'")
            }
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.definition.gives {
            Gives::Long => DataType::Int64,
            Gives::Double => DataType::Float64,
            Gives::Complex(_) => DataType::Binary,
        })
    }

    fn return_field(&self, _: &[FieldRef]) -> Result<FieldRef> {
        Ok(Arc::new(match self.definition.gives {
            Gives::Complex(name) => complex_field(self.definition.name, name),
            _ => Field::new(self.definition.name, self.return_type(&[])?, true),
        }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format!("{}[sketch]", arguments.name);
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }

    /// Settings that are out of range are refused when the query is planned.
    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        let definition = self.definition;
        Some(Box::new(move |call, _| {
            let values = call.params.args.iter().map(|argument| match argument {
                Expr::Literal(value, _) => Some(value.clone()),
                _ => None,
            });
            (definition.empty)(&Settings {
                function: definition.name,
                values: values.collect(),
            })?;
            Ok(Expr::AggregateFunction(call))
        }))
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let values = arguments
            .exprs
            .iter()
            .map(|argument| Some(argument.downcast_ref::<Literal>()?.value().clone()));
        let settings = Settings {
            function: self.definition.name,
            values: values.collect(),
        };
        Ok(Box::new(Sketching {
            name: self.definition.name,
            state: (self.definition.empty)(&settings)?,
        }))
    }
}

struct Sketching {
    name: &'static str,
    state: Box<dyn State>,
}

impl fmt::Debug for Sketching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sketching")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Accumulator for Sketching {
    fn update_batch(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        self.state.update(arguments)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        match states.first().and_then(|states| states.as_binary_opt::<i32>()) {
            Some(states) => states
                .iter()
                .flatten()
                .try_for_each(|bytes| self.state.merge(bytes)),
            None => exec_err!("the states of {} are no bytes", self.name.to_uppercase()),
        }
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(Some(self.state.bytes()?))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.state.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.state.size()
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn made(definition: &Definition, arguments: &[ArrayRef], literals: &[ScalarValue]) -> Box<dyn State> {
        let columns = arguments.iter().map(|_| None);
        let values = columns.chain(literals.iter().cloned().map(Some)).collect();
        (definition.empty)(&Settings {
            function: definition.name,
            values,
        })
        .unwrap()
    }

    /// What an aggregation of two parts of a column gives, with literals behind the columns.
    pub(in crate::sketches) fn aggregated(
        definition: &Definition,
        parts: &[&[ArrayRef]],
        literals: &[ScalarValue],
    ) -> ScalarValue {
        let mut whole = made(definition, parts[0], literals);
        for part in parts {
            let mut state = made(definition, part, literals);
            state.update(part).unwrap();
            whole.merge(&state.bytes().unwrap()).unwrap();
        }
        whole.evaluate().unwrap()
    }

    impl Settings {
        pub(in crate::sketches) fn of(function: &'static str, values: Vec<Option<ScalarValue>>) -> Self {
            Settings { function, values }
        }
    }

    /// What is wrong with settings.
    pub(in crate::sketches) fn complaint(definition: &Definition, literals: &[ScalarValue]) -> String {
        let values = std::iter::once(None)
            .chain(literals.iter().cloned().map(Some))
            .collect();
        match (definition.empty)(&Settings {
            function: definition.name,
            values,
        }) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }
}
