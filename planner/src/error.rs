//! Why a statement can't be planned, in the words of Druid's error body.

use datafusion::common::{DataFusionError, SchemaError};

/// Which step refused the statement; Druid answers the two differently on the task endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanPhase {
    Parsing,
    Validating,
}

/// A refused statement: becomes an HTTP 400 with Druid's error body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PlanError {
    pub phase: PlanPhase,
    /// `errorCode` of the body.
    pub error_code: &'static str,
    /// `category` of the body.
    pub category: &'static str,
    /// `persona` of the body.
    pub persona: &'static str,
    pub message: String,
    /// `context` of the body.
    pub context: Vec<(String, String)>,
}

/// A place in the statement's text, from 1; the end is inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: u64,
    pub column: u64,
    pub end_line: u64,
    pub end_column: u64,
}

/// What a place is called in an error's context.
const PLACE: [&str; 4] = ["line", "column", "endLine", "endColumn"];

impl PlanError {
    fn new(phase: PlanPhase, message: impl Into<String>) -> Self {
        PlanError {
            phase,
            error_code: "invalidInput",
            category: "INVALID_INPUT",
            persona: "USER",
            message: message.into(),
            context: vec![("sourceType".to_owned(), "sql".to_owned())],
        }
    }

    /// SQL that does not parse.
    pub fn parsing(message: impl Into<String>) -> Self {
        Self::new(PlanPhase::Parsing, message)
    }

    /// SQL that parses and means nothing valid.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(PlanPhase::Validating, message)
    }

    /// As [`PlanError::invalid`], for what Druid reports without a source type.
    pub fn invalid_without_source(message: impl Into<String>) -> Self {
        PlanError {
            context: Vec::new(),
            ..Self::invalid(message)
        }
    }

    /// SQL that is valid and that the engine has not.
    pub fn unsupported(message: impl Into<String>) -> Self {
        PlanError {
            error_code: "general",
            category: "UNSUPPORTED",
            ..Self::invalid_without_source(message)
        }
    }

    /// SQL that is valid and that Druid has no query for.
    pub fn not_planned(reason: impl std::fmt::Display) -> Self {
        PlanError {
            error_code: "general",
            persona: "ADMIN",
            ..Self::invalid_without_source(format!(
                "Query could not be planned. A possible reason is [{reason}]"
            ))
        }
    }

    /// A context parameter of the wrong type or value.
    pub fn bad_context(message: impl Into<String>) -> Self {
        PlanError {
            error_code: "legacyQueryException",
            persona: "OPERATOR",
            context: vec![
                (
                    "errorClass".to_owned(),
                    "org.apache.druid.query.BadQueryContextException".to_owned(),
                ),
                (
                    "legacyErrorCode".to_owned(),
                    "Query context parse failed".to_owned(),
                ),
            ],
            ..Self::invalid(message)
        }
    }

    /// Without what [`Self::at`] has added.
    #[must_use]
    pub fn without_place(mut self) -> Self {
        if let Some(end) = self.message.rfind(" (line [") {
            self.message.truncate(end);
        }
        self.context.retain(|(name, _)| !PLACE.contains(&name.as_str()));
        self
    }

    /// Adds where in the text, to the message and to the context.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.message = format!(
            "{} (line [{}], column [{}])",
            self.message, place.line, place.column
        );
        let values = [place.line, place.column, place.end_line, place.end_column];
        for (name, value) in PLACE.iter().zip(values) {
            self.context.push(((*name).to_owned(), value.to_string()));
        }
        self
    }
}

/// The nearest of `known` to a misspelt name, when one is near enough to be meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&name, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| {
            *distance <= 2.max(candidate.len() / 4) && *distance < candidate.len()
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What DataFusion found wrong, in Druid's words where there are some.
pub fn from_datafusion(error: &DataFusionError, locate: impl Fn(&str) -> Option<Place>) -> PlanError {
    let root = error.find_root();
    let located = |plan_error: PlanError, name: &str| match locate(name) {
        Some(place) => plan_error.at(place),
        None => plan_error,
    };
    match root {
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let known = valid_fields.iter().map(|field| field.name.as_str());
                let hint = nearest(&field.name, known).map(|name| format!("; did you mean '{name}'?"));
                let message = format!(
                    "Column '{}' not found in any table{}",
                    field.name,
                    hint.unwrap_or_default()
                );
                located(PlanError::invalid(message), &field.name)
            }
            SchemaError::AmbiguousReference { field } => located(
                PlanError::invalid(format!("Column '{}' is ambiguous", field.name)),
                &field.name,
            ),
            SchemaError::DuplicateUnqualifiedField { name }
            | SchemaError::DuplicateQualifiedField { name, .. } => {
                PlanError::invalid(format!("Duplicate field in SELECT: [{name}]"))
            }
        },
        DataFusionError::External(error) => match error.downcast_ref::<PlanError>() {
            Some(error) => error.clone(),
            None => PlanError::invalid(without_bug_report(&error.to_string())),
        },
        DataFusionError::SQL(error, _) => PlanError::parsing(error.to_string()),
        DataFusionError::NotImplemented(message) => PlanError {
            error_code: "unsupported",
            category: "UNSUPPORTED",
            ..PlanError::invalid(message.clone())
        },
        DataFusionError::Plan(message) => match (unknown_function(message), not_grouped(message)) {
            (Some((name, error)), _) => located(error, name),
            (None, Some(name)) => {
                let error = PlanError::invalid(format!("Expression '{name}' is not being grouped"));
                located(error, name)
            }
            (None, None) => PlanError::invalid(in_druids_words(message)),
        },
        other => PlanError::invalid(in_druids_words(&other.strip_backtrace())),
    }
}

/// The name of a function that does not exist, and the error that says so, from DataFusion's text.
fn unknown_function(message: &str) -> Option<(&str, PlanError)> {
    let (name, rest) = message.strip_prefix("Invalid function '")?.split_once('\'')?;
    let similar = rest.split('\'').nth(1);
    let hint = nearest(name, similar).map(|name| format!("; did you mean '{}'?", name.to_uppercase()));
    let message = format!(
        "No match found for function signature {}{}",
        name.to_uppercase(),
        hint.unwrap_or_default()
    );
    Some((name, PlanError::invalid(message)))
}

/// The name of a column that is selected beside groups without being one, from DataFusion's text.
fn not_grouped(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("must be in GROUP BY or an aggregate function: ")?;
    let name = rest.split('"').nth(1)?;
    name.rsplit('.').next()
}

/// Calcite's words for a CASE or COALESCE whose values have no type in common.
pub const MIXED_TYPES: &str = "Illegal mixing of types in CASE or COALESCE statement";

/// What a function of ours says of its operands, without DataFusion's words around it.
pub fn in_druids_words(message: &str) -> String {
    if message.contains("Function 'coalesce' user-defined coercion failed") {
        return MIXED_TYPES.to_owned();
    }
    let position = message
        .find("Cannot apply '")
        .or_else(|| message.find("Invalid number of arguments to function '"));
    if let Some(words) = position.and_then(|position| message.get(position..)) {
        let words = words.split(". No function matches").next().unwrap_or(words);
        return words.to_owned();
    }
    wrong_count(message).unwrap_or_else(|| without_bug_report(message))
}

/// Calcite's words for a function of DataFusion's that was called with another number of arguments than it takes.
fn wrong_count(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("Function '")?;
    let (name, rest) = rest.split_once("' failed to match any signature")?;
    let (_, rest) = rest.split_once("expects ")?;
    let (count, _) = rest.split_once(" arguments but received")?;
    let name = name.to_uppercase();
    Some(format!(
        "Invalid number of arguments to function '{name}'. Was expecting {count} arguments"
    ))
}

/// What DataFusion says, without its plea to report what it takes for its own mistake: the statement is refused all the same.
fn without_bug_report(message: &str) -> String {
    let said = message.split("\nThis issue was likely caused by").next();
    said.unwrap_or(message).replace("Internal error: ", "")
}

impl From<PlanError> for DataFusionError {
    fn from(error: PlanError) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::{in_druids_words, nearest, unknown_function};

    #[test]
    fn nobody_is_asked_to_report_a_mistake_of_his_own() {
        let message = "Internal error: Function 'sum' failed to match any signature, errors: Error during planning: \
                       Function 'sum' expects 1 arguments but received 2.\nThis issue was likely caused by a bug";
        assert_eq!(
            in_druids_words(message),
            "Invalid number of arguments to function 'SUM'. Was expecting 1 arguments"
        );
        let message =
            "Internal error: no such plan.\nThis issue was likely caused by a bug in DataFusion's code.";
        assert_eq!(in_druids_words(message), "no such plan.");
    }

    #[test]
    fn an_unknown_function_is_named_as_druid_names_it() {
        let (name, error) = unknown_function("Invalid function 'uper'.\nDid you mean 'upper'?").unwrap();
        assert_eq!(name, "uper");
        assert_eq!(
            error.message,
            "No match found for function signature UPER; did you mean 'UPPER'?"
        );
        assert!(unknown_function("Invalid date").is_none());
    }

    #[test]
    fn a_near_name_is_proposed_and_a_far_one_is_not() {
        let known = ["wikipedia", "kttm"];
        assert_eq!(nearest("wikipedai", known), Some("wikipedia"));
        assert_eq!(nearest("orders", known), None);
    }
}
