//! EXTERN and the other table functions in FROM.

mod functions;

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::{Result, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use sarsen_engine::extern_scan::ExternSpec;
use sarsen_storage::format::InputFormat;
use sarsen_storage::signature::Signature;
use sarsen_storage::source::InputSource;
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, TableFactor, Value, Visit,
    Visitor,
};

use crate::error::PlanError;
use crate::request::InferredSignature;
use crate::tables::{ExternTable, Scans};

/// Plans `TABLE(EXTERN(…))`.
#[derive(Debug)]
pub struct ExternPlanner {
    pub scans: Scans,
    pub inferred: Vec<InferredSignature>,
}

impl ExternPlanner {
    /// What a call reads, with columns that were given or inferred.
    fn spec(&self, function: &Function) -> Result<ExternSpec, PlanError> {
        let Call {
            source,
            format,
            signature,
        } = call(function)?;
        let known = || {
            let mut known = self.inferred.iter();
            known.find(|known| known.source == source && known.format == format)
        };
        let signature = match signature {
            Some(signature) => signature,
            None => match known() {
                Some(known) => known.signature.clone(),
                None => {
                    return Err(PlanError::not_planned(
                        "The columns of EXTERN are not inferred yet",
                    ));
                }
            },
        };
        Ok(ExternSpec {
            source,
            format,
            signature,
        })
    }
}

/// A call of a table function.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub source: InputSource,
    pub format: InputFormat,
    /// `None` where it is to be inferred.
    pub signature: Option<Signature>,
}

impl RelationPlanner for ExternPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        _: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::TableFunction {
            expr: Expr::Function(function),
            alias,
        } = relation
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let name = function.name.to_string();
        if !is_table_function(&name) {
            let known = functions::NAMES.join(", ");
            return Err(PlanError::invalid(format!("No table function [{name}], only {known}")).into());
        }
        let table = ExternTable::new(self.spec(&function)?, self.scans.clone());
        let reference = TableReference::bare("EXTERN");
        let plan = LogicalPlanBuilder::scan(reference, provider_as_source(Arc::new(table)), None)?.build()?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan, alias,
        ))))
    }
}

/// Whether a function gives rows of outside data.
pub fn is_table_function(name: &str) -> bool {
    functions::NAMES
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

/// All calls of table functions in a query.
///
/// # Errors
/// For the first one that cannot be read.
pub fn calls(query: &Query) -> Result<Vec<Call>, PlanError> {
    let mut found = Calls::default();
    match query.visit(&mut found) {
        ControlFlow::Continue(()) => Ok(found.0),
        ControlFlow::Break(error) => Err(*error),
    }
}

#[derive(Default)]
struct Calls(Vec<Call>);

impl Visitor for Calls {
    type Break = Box<PlanError>;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::TableFunction {
            expr: Expr::Function(function),
            ..
        } = factor
            && is_table_function(&function.name.to_string())
        {
            match call(function) {
                Ok(call) => self.0.push(call),
                Err(error) => return ControlFlow::Break(Box::new(error)),
            }
        }
        ControlFlow::Continue(())
    }
}

fn call(function: &Function) -> Result<Call, PlanError> {
    if let Some(specs) = functions::specs(function) {
        let specs = specs?;
        return parsed(
            &specs.source.to_string(),
            &specs.format.to_string(),
            specs.signature.as_deref(),
        );
    }
    let arguments = string_arguments(function)?;
    match arguments.as_slice() {
        [source, format, signature] => parsed(source, format, Some(signature)),
        [source, format] => parsed(source, format, None),
        _ => Err(PlanError::invalid(format!(
            "EXTERN takes (inputSource, inputFormat, signature), found {} arguments",
            arguments.len()
        ))),
    }
}

fn parsed(source: &str, format: &str, signature: Option<&str>) -> Result<Call, PlanError> {
    Ok(Call {
        source: source
            .parse::<InputSource>()
            .map_err(|error| invalid_field("inputSource", &error))?,
        format: format
            .parse::<InputFormat>()
            .map_err(|error| invalid_field("inputFormat", &error))?,
        signature: signature
            .map(str::parse::<Signature>)
            .transpose()
            .map_err(|error| invalid_field("signature", &error))?,
    })
}

fn invalid_field(field: &str, reason: &dyn std::fmt::Display) -> PlanError {
    PlanError::invalid_without_source(format!(
        "Invalid value for the field [{field}]. Reason: [{reason}]"
    ))
}

fn string_arguments(function: &Function) -> Result<Vec<String>, PlanError> {
    let FunctionArguments::List(list) = &function.args else {
        return Ok(Vec::new());
    };
    let mut named: Vec<Option<String>> = vec![None, None, None];
    let mut positional = 0;
    for argument in &list.args {
        let (position, value) = match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => {
                positional += 1;
                (positional - 1, value)
            }
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(value),
                ..
            } => {
                let position = ["inputSource", "inputFormat", "signature"]
                    .iter()
                    .position(|known| known.eq_ignore_ascii_case(&name.value))
                    .ok_or_else(|| PlanError::invalid(format!("EXTERN has no parameter [{}]", name.value)))?;
                (position, value)
            }
            other => {
                return Err(PlanError::invalid(format!(
                    "EXTERN takes string literals, found [{other}]"
                )));
            }
        };
        let text = match value {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) | Value::UnicodeStringLiteral(text) => Some(text.clone()),
                _ => None,
            },
            _ => None,
        };
        let text =
            text.ok_or_else(|| PlanError::invalid(format!("EXTERN takes string literals, found [{value}]")))?;
        match named.get_mut(position) {
            Some(slot) => *slot = Some(text),
            None => named.push(Some(text)),
        }
    }
    Ok(named.into_iter().flatten().collect())
}
