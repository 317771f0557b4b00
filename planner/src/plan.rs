//! The way of a statement through the planner.

mod blame;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, TableReference};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::resolve::resolve_table_references;
use sarsen_kernel::ids::QueryId;
use sarsen_kernel::query::{ColumnDescriptor, ExportTarget, QueryDefinition, QueryKind};
use sarsen_kernel::shuffle::RangeTarget;
use sarsen_storage::format::InputFormat;
use sarsen_storage::source::InputSource;
use serde_json::{Map, Value};
use sqlparser::ast::Query;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::analyze::multivalue::MultiValueStrings;
use crate::error::{Place, PlanError, from_datafusion, nearest};
use crate::extend::place;
use crate::external::{self, Call};
use crate::metadata::{MetadataAnswer, MetadataTable, SYSTEM_SCHEMAS};
use crate::request::{Action, Explain, PlanRequest, Planned, ResourceAction, ResourceKind, StatementKind};
use crate::settings::{SelectDestination, Settings};
use crate::stages::{Cut, CutOptions, StageBuilder, build_right_sides, mix};
use crate::statement::{Body, Export, Ingest, Overwrite, Statement};
use crate::tables::{ScanTarget, Scans};
use crate::types::{descriptor, stored_type};
use crate::{
    append, check, export, ingest, lookups, metadata, native, parameters, rewrite, session, sql_types,
    statement,
};

/// Partitions that the optimiser plans with: more than one, so that it places exchanges; how many there will be is
/// decided when the query runs.
const PLANNED_PARTITIONS: usize = 8;

/// Hash partitions per worker at most when the kernel decides.
const PARTITIONS_PER_WORKER: u32 = 16;

/// A worker task whose memory was set by hand holds this many build sides of joins.
const TASK_MEMORY_PER_BUILD: u64 = 16;

/// Bytes that one hash partition should hold.
const PARTITION_BYTES: u64 = 32 << 20;

/// Plans one statement.
///
/// # Errors
/// [`PlanError`], which names the place in the text where it is known.
pub async fn plan(request: &PlanRequest) -> Result<Planned, PlanError> {
    let statement = statement::parse(&request.sql)?;
    let (planner, query) = Planner::prepare(request, &statement, &[])?;
    planner.plan(query).await
}

/// What the EXTERNs of a statement read whose columns are to be inferred.
///
/// # Errors
/// When the statement does not parse, or an EXTERN's specs.
pub fn to_infer(request: &PlanRequest) -> Result<Vec<(InputSource, InputFormat)>, PlanError> {
    let statement = statement::parse(&request.sql)?;
    let (_, query) = Planner::prepare(request, &statement, &[])?;
    let mut found = Vec::new();
    for call in external::calls(&query)? {
        let specs = (call.source, call.format);
        if call.signature.is_none() && !found.contains(&specs) {
            found.push(specs);
        }
    }
    Ok(found)
}

/// Answers a SELECT from tables about the cluster; `tables` are those that it names, as far as they exist.
///
/// # Errors
/// As [`plan`], and when it names a datasource too.
pub async fn answer(request: &PlanRequest, tables: &[MetadataTable]) -> Result<MetadataAnswer, PlanError> {
    let statement = statement::parse(&request.sql)?;
    let (planner, query) = Planner::prepare(request, &statement, tables)?;
    planner.answer(&query).await
}

fn is_system_table(table: &TableReference) -> bool {
    table
        .schema()
        .is_some_and(|schema| SYSTEM_SCHEMAS.contains(&schema))
}

/// Tables that a statement names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct References {
    /// Datasources that it reads or writes.
    pub datasources: Vec<String>,
    /// Tables about the cluster, by schema and name.
    pub metadata: Vec<(String, String)>,
    /// Lookups, as tables and in calls.
    pub lookups: Vec<String>,
}

/// # Errors
/// When the statement does not parse.
pub fn references(sql: &str) -> Result<References, PlanError> {
    let statement = statement::parse(sql)?;
    let named = table_references(statement.query())?;
    let (system, tables): (Vec<_>, Vec<_>) = named.into_iter().partition(is_system_table);
    let (lookups, tables): (Vec<_>, Vec<_>) = tables.into_iter().partition(lookups::is_lookup);
    let mut datasources: BTreeSet<String> = tables.iter().map(|table| table.table().to_owned()).collect();
    datasources.extend(append::tables(statement.query())?);
    if let Body::Ingest(ingest) = &statement.body {
        datasources.insert(ingest::target_name(ingest)?);
    }
    let by_schema = |table: &TableReference| {
        let schema = table.schema().unwrap_or_default();
        (schema.to_owned(), table.table().to_owned())
    };
    Ok(References {
        datasources: datasources.into_iter().collect(),
        metadata: system.iter().map(by_schema).collect(),
        lookups: lookups::named(&statement, &lookups),
    })
}

/// What the SET clauses before a statement say.
///
/// # Errors
/// When the statement does not parse.
pub fn statement_settings(sql: &str) -> Result<Vec<(String, Value)>, PlanError> {
    Ok(statement::parse(sql)?.settings)
}

fn table_references(query: &Query) -> Result<Vec<TableReference>, PlanError> {
    let (tables, _) = resolve_table_references(&datafusion_statement(query), false)
        .map_err(|error| from_datafusion(&error, |_| None))?;
    Ok(tables
        .into_iter()
        .filter(|table| !is_table_function(table))
        .collect())
}

/// EXTERN is resolved by name too.
fn is_table_function(table: &TableReference) -> bool {
    table.table().eq_ignore_ascii_case("EXTERN")
}

fn datafusion_statement(query: &Query) -> DataFusionStatement {
    DataFusionStatement::Statement(Box::new(sqlparser::ast::Statement::Query(Box::new(
        query.clone(),
    ))))
}

/// What a query gives, with SQL's own type names.
fn outputs(plan: &LogicalPlan, schema: &SchemaRef) -> Vec<ColumnDescriptor> {
    let types = sql_types::output_types(plan);
    let fields = schema.fields().iter().map(|field| descriptor(field));
    fields
        .zip(types)
        .map(|(column, sql_type)| ColumnDescriptor { sql_type, ..column })
        .collect()
}

fn clustered_name(expr: &sqlparser::ast::Expr) -> String {
    match expr {
        sqlparser::ast::Expr::Identifier(name) => name.value.clone(),
        other => other.to_string(),
    }
}

fn clock(request: &PlanRequest, settings: &Settings) -> rewrite::Clock {
    rewrite::Clock {
        statement_time_ms: request.statement_time_ms,
        zone: settings.meaning.zone.clone(),
    }
}

pub(crate) struct Planner<'a> {
    pub(crate) request: &'a PlanRequest,
    pub(crate) statement: &'a Statement,
    /// Tables about the cluster that may be read; none for a query that stages run.
    metadata: &'a [MetadataTable],
    pub(crate) context: Map<String, Value>,
    pub(crate) settings: Settings,
    scans: Scans,
}

impl<'a> Planner<'a> {
    /// The planner of a statement, and its query with its parameters bound and rewritten.
    fn prepare(
        request: &'a PlanRequest,
        statement: &'a Statement,
        metadata: &'a [MetadataTable],
    ) -> Result<(Self, Query), PlanError> {
        let mut context = request.context.clone();
        context.extend(statement.settings.iter().cloned());
        let settings = Settings::parse(&context)?;

        let mut query = statement.query().clone();
        parameters::bind(&mut query, &request.parameters)?;
        append::write_out(&mut query, &request.tables)?;
        rewrite::finalize(&mut query, settings.aggregations);
        rewrite::rewrite(&mut query, clock(request, &settings));
        // The columns of a table have the names that were written, or there is an error.
        if !matches!(statement.body, Body::Ingest(_)) {
            rewrite::distinct_names(&mut query);
        }
        let planner = Planner {
            request,
            statement,
            metadata,
            context,
            settings,
            scans: Scans::default(),
        };
        Ok((planner, query))
    }

    async fn plan(&self, query: Query) -> Result<Planned, PlanError> {
        self.check_tables(&query)?;
        let session = session::session(self.request, &self.settings, &self.scans, PLANNED_PARTITIONS)
            .map_err(|error| self.refused(&error))?;
        check::check(self.statement.query(), &self.statement.tokens, &|name| {
            session.aggregate_functions().contains_key(name)
        })?;
        let calls = external::calls(&query)?;
        if self.lacks_columns(&calls) {
            let mut planned = self.uninferred(&session)?;
            planned.resources = self.resources(&query, planned.datasource.as_deref(), &calls)?;
            return Ok(planned);
        }
        let mut planned = match &self.statement.body {
            Body::Select(_) => self.plan_select(&session, &query).await?,
            Body::Ingest(ingest) => self.plan_ingest(&session, &query, ingest).await?,
            Body::Export(export) => self.plan_export(&session, &query, export).await?,
        };
        planned.resources = self.resources(&query, planned.datasource.as_deref(), &calls)?;
        if self.statement.explain {
            planned.explain = Some(match &self.statement.body {
                Body::Select(_) => Explain {
                    statement_type: "SELECT",
                    clustered_by: Vec::new(),
                },
                Body::Export(_) => Explain {
                    statement_type: "INSERT",
                    clustered_by: Vec::new(),
                },
                Body::Ingest(ingest) => Explain {
                    statement_type: ingest.operation(),
                    clustered_by: ingest.clustered_by.iter().map(clustered_name).collect(),
                },
            });
            planned.kind = StatementKind::Explain;
        }
        Ok(planned)
    }

    async fn answer(&self, query: &Query) -> Result<MetadataAnswer, PlanError> {
        if !matches!(self.statement.body, Body::Select(_)) || self.statement.explain {
            return Err(PlanError::invalid(
                "Tables of sys and INFORMATION_SCHEMA can only be selected from",
            ));
        }
        self.check_tables(query)?;
        let refused = |error: DataFusionError| self.refused(&error);
        let session = session::session(self.request, &self.settings, &self.scans, 1).map_err(refused)?;
        metadata::register(&session, session::CATALOG, self.metadata).map_err(refused)?;
        check::check(self.statement.query(), &self.statement.tokens, &|name| {
            session.aggregate_functions().contains_key(name)
        })?;
        let logical = self.logical_plan(&session, query).await?;
        let names: SchemaRef = Arc::new(logical.schema().as_arrow().clone());
        let physical = session.create_physical_plan(&logical).await.map_err(refused)?;
        if self.scans.get(0).is_some() {
            return Err(PlanError::not_planned(
                "Tables of sys and INFORMATION_SCHEMA cannot be queried together with other tables",
            ));
        }
        Ok(MetadataAnswer {
            rows: metadata::rows(&session, physical).await.map_err(refused)?,
            signature: outputs(&logical, &names),
        })
    }

    async fn plan_select(&self, session: &SessionState, query: &Query) -> Result<Planned, PlanError> {
        let logical = self.logical_plan(session, query).await?;
        let explicit = self.explicit(session, &logical)?;
        let names: SchemaRef = Arc::new(explicit.schema().as_arrow().clone());
        let physical = self.physical_plan(session, &explicit).await?;
        let mut builder = self.builder();
        let partitions = self
            .settings
            .shuffle_partitions
            .unwrap_or(self.settings.max_workers);
        let pages = self.pages();
        let ranges = match &pages {
            Some(target) => RangeTarget::TargetRows(target.rows_per_file),
            None => RangeTarget::MaxCount(partitions.max(1)),
        };
        let sorted = builder
            .open_sorted_root(&physical, ranges)
            .map_err(|error| self.refused(&error))?;
        let (open, order) = match sorted {
            Some((open, shuffle)) => (open, Some(shuffle)),
            None => (
                builder
                    .open_root(&physical)
                    .map_err(|error| self.refused(&error))?,
                None,
            ),
        };
        let result_signature = outputs(&logical, &names);
        let closed = match &pages {
            Some(target) => export::close_pages(&mut builder, open, order, target, &result_signature),
            None => builder.close(open, Some(order.unwrap_or_else(mix))).map(|_| ()),
        };
        closed.map_err(|error| self.refused(&error))?;
        let Cut {
            stages,
            choices,
            scans,
        } = builder.finish();
        Ok(Planned {
            context: self.context.clone(),
            max_workers: self.settings.max_workers,
            scans,
            definition: QueryDefinition {
                query_id: QueryId(self.request.query_id.clone()),
                stages,
                choices,
                kind: pages.map_or(QueryKind::Select, QueryKind::DurableSelect),
                result_signature: result_signature.clone(),
            },
            kind: StatementKind::Select,
            datasource: None,
            replace_intervals: None,
            resources: Vec::new(),
            explain: None,
            outputs: result_signature,
            native: native::native(&logical, &[], self.settings.native),
        })
    }

    async fn plan_ingest(
        &self,
        session: &SessionState,
        query: &Query,
        ingest: &Ingest,
    ) -> Result<Planned, PlanError> {
        let datasource = ingest::target_name(ingest)?;
        ingest::check_order(ingest)?;
        ingest::check_names(ingest)?;
        let logical = self.logical_plan(session, query).await?;
        let checked = ingest::check_columns(&logical, ingest, &self.statement.tokens)?;
        let replace_intervals = ingest::replace_intervals(session, ingest)?;
        let explicit = self.explicit(session, &logical)?;
        let names: SchemaRef = Arc::new(explicit.schema().as_arrow().clone());
        let mut given = outputs(&logical, &names);
        for (output, name) in given.iter_mut().zip(&ingest.columns) {
            output.name.clone_from(name);
        }
        ingest::strings::check(
            &explicit,
            &given,
            // What is replaced as a whole may have other types afterwards.
            self.request
                .tables
                .iter()
                .find(|table| table.name == datasource && ingest.overwrite != Overwrite::All),
            &self.context,
            self.settings.arrays,
        )?;
        let prepared = ingest::prepare(session, explicit, ingest, checked, self.settings.arrays)
            .map_err(|error| self.refused(&error))?;
        let physical = self.physical_plan(session, &prepared.plan).await?;
        let stored = prepared
            .plan
            .schema()
            .fields()
            .iter()
            .take(prepared.stored_columns);
        let mut stored: Vec<ColumnDescriptor> = stored
            .map(|field| ColumnDescriptor {
                native_type: stored_type(field),
                ..descriptor(field)
            })
            .collect();
        // A `__time` that the query does not give stands before its columns.
        let added = stored.len().saturating_sub(given.len());
        for (column, output) in stored.iter_mut().skip(added).zip(&given) {
            column.sql_type.clone_from(&output.sql_type);
        }
        let clustered: Vec<usize> = prepared
            .cluster
            .iter()
            .filter_map(|(column, _)| column.checked_sub(added))
            .filter(|column| *column < given.len() && !ingest.clustered_by.is_empty())
            .collect();
        let mut native = native::native(&logical, &clustered, self.settings.native);
        if let Some(native) = &mut native {
            for ((_, name), output) in native.mappings.iter_mut().zip(&given) {
                name.clone_from(&output.name);
            }
        }
        let mut builder = self.builder();
        let open = builder.open(&physical).map_err(|error| self.refused(&error))?;
        let target = ingest::Target {
            datasource: datasource.clone(),
            statement_time_ms: self.request.statement_time_ms,
            rows_per_segment: self.settings.rows_per_segment,
            replace_intervals: replace_intervals.clone(),
        };
        let kind = ingest::close(&mut builder, open, ingest, &prepared, &target)
            .map_err(|error| self.refused(&error))?;
        let Cut {
            stages,
            choices,
            scans,
        } = builder.finish();
        Ok(Planned {
            context: self.context.clone(),
            max_workers: self.settings.max_workers,
            scans,
            definition: QueryDefinition {
                query_id: QueryId(self.request.query_id.clone()),
                stages,
                choices,
                kind,
                result_signature: stored,
            },
            kind: if ingest.operation() == "INSERT" {
                StatementKind::Insert
            } else {
                StatementKind::Replace
            },
            datasource: Some(datasource),
            replace_intervals,
            resources: Vec::new(),
            explain: None,
            outputs: given,
            native,
        })
    }

    async fn plan_export(
        &self,
        session: &SessionState,
        query: &Query,
        export: &Export,
    ) -> Result<Planned, PlanError> {
        export::check(query)?;
        let logical = self.logical_plan(session, query).await?;
        let explicit = self.explicit(session, &logical)?;
        let names: SchemaRef = Arc::new(explicit.schema().as_arrow().clone());
        let columns = outputs(&logical, &names);
        let target = export::target(export, &columns, &self.settings)?;
        let physical = self.physical_plan(session, &explicit).await?;
        let mut builder = self.builder();
        let closed = builder
            .open(&physical)
            .and_then(|open| export::close(&mut builder, open, &target, &columns));
        closed.map_err(|error| self.refused(&error))?;
        let Cut {
            stages,
            choices,
            scans,
        } = builder.finish();
        Ok(Planned {
            context: self.context.clone(),
            max_workers: self.settings.max_workers,
            scans,
            definition: QueryDefinition {
                query_id: QueryId(self.request.query_id.clone()),
                stages,
                choices,
                kind: QueryKind::Export(target),
                result_signature: columns.clone(),
            },
            kind: StatementKind::Export,
            datasource: None,
            replace_intervals: None,
            resources: Vec::new(),
            explain: None,
            outputs: columns,
            native: native::native(&logical, &[], self.settings.native),
        })
    }

    /// Where the rows of a SELECT are stored, if they are.
    pub(crate) fn pages(&self) -> Option<ExportTarget> {
        let stored = self.settings.select_destination == SelectDestination::DurableStorage;
        (stored && !self.request.synchronous)
            .then(|| ExportTarget::results(&self.request.query_id, self.settings.export.rows_per_file))
    }

    fn clock(&self) -> rewrite::Clock {
        clock(self.request, &self.settings)
    }

    fn builder(&self) -> StageBuilder<'_> {
        let options = CutOptions {
            max_workers: self.settings.max_workers,
            partitions: self.settings.shuffle_partitions,
            max_partitions: self.settings.max_workers.saturating_mul(PARTITIONS_PER_WORKER),
            partition_bytes: PARTITION_BYTES,
            join_build_bytes: self.settings.task_memory_bytes.map_or(PARTITION_BYTES, |bytes| {
                (bytes / TASK_MEMORY_PER_BUILD).min(PARTITION_BYTES)
            }),
        };
        StageBuilder::new(options, &self.scans)
    }

    async fn logical_plan(&self, session: &SessionState, query: &Query) -> Result<LogicalPlan, PlanError> {
        match session.statement_to_plan(datafusion_statement(query)).await {
            Ok(plan) => Ok(plan),
            Err(error) => Err(self.without_time(self.blamed(session, self.refused(&error)).await)),
        }
    }

    /// The plan with its multi-value strings as such.
    fn explicit(&self, session: &SessionState, plan: &LogicalPlan) -> Result<LogicalPlan, PlanError> {
        let rule = MultiValueStrings {
            meaning: self.settings.meaning.clone(),
        };
        lookups::resolve(plan.clone(), &self.request.lookups)
            .and_then(|plan| rule.analyze(plan, session.config_options()))
            .map_err(|error| self.refused(&error))
    }

    /// EARLIEST and LATEST read a `__time` that the query may not have.
    fn without_time(&self, error: PlanError) -> PlanError {
        let is_word = |token: &TokenWithSpan| {
            matches!(statement::word_of(token).as_deref(), Some("EARLIEST" | "LATEST"))
        };
        if error.message.starts_with("Column '__time' not found") && self.statement.tokens.iter().any(is_word)
        {
            PlanError::not_planned(
                "LATEST and EARLIEST aggregators implicitly depend on the __time column, but the table queried doesn't \
                 contain a __time column.  Please use LATEST_BY or EARLIEST_BY and specify the column explicitly.",
            )
        } else {
            error
        }
    }

    async fn physical_plan(
        &self,
        session: &SessionState,
        logical: &LogicalPlan,
    ) -> Result<Arc<dyn ExecutionPlan>, PlanError> {
        let planned = session
            .create_physical_plan(logical)
            .await
            .and_then(build_right_sides);
        match planned {
            Ok(plan) => Ok(plan),
            Err(error) => Err(self.blamed(session, self.refused(&error)).await),
        }
    }

    /// Every table that is read must be known.
    fn check_tables(&self, query: &Query) -> Result<(), PlanError> {
        for table in table_references(query)? {
            if is_system_table(&table) && !self.metadata.is_empty() {
                self.check_metadata_table(&table)?;
                continue;
            }
            if is_system_table(&table) {
                return Err(PlanError::invalid(format!(
                    "Cannot query table(s) [{}.{}] with SQL engine [msq-task]",
                    table.schema().unwrap_or_default(),
                    table.table()
                )));
            }
            if lookups::is_lookup(&table) {
                if !self.request.lookups.contains_key(table.table()) {
                    return Err(self.not_within(&table));
                }
                continue;
            }
            let known = || self.request.tables.iter().map(|known| known.name.as_str());
            if !known().any(|known| known == table.table()) {
                let hint = nearest(table.table(), known()).map(|name| format!("; did you mean '{name}'?"));
                let error = PlanError::invalid(format!(
                    "Object '{}' not found{}",
                    table.table(),
                    hint.unwrap_or_default()
                ));
                return Err(match self.locate(table.table()) {
                    Some(place) => error.at(place),
                    None => error,
                });
            }
        }
        Ok(())
    }

    fn check_metadata_table(&self, table: &TableReference) -> Result<(), PlanError> {
        let schema = table.schema().unwrap_or_default();
        let is_known = |known: &MetadataTable| known.schema == schema && known.name == table.table();
        if self.metadata.iter().any(is_known) {
            return Ok(());
        }
        Err(self.not_within(table))
    }

    /// A table that its schema has not.
    fn not_within(&self, table: &TableReference) -> PlanError {
        let schema = table.schema().unwrap_or_default();
        let error = PlanError::invalid(format!("Object '{}' not found within '{schema}'", table.table()));
        match (self.locate(schema), self.locate(table.table())) {
            (Some(start), Some(end)) => error.at(Place {
                line: start.line,
                column: start.column,
                ..end
            }),
            _ => error,
        }
    }

    fn resources(
        &self,
        query: &Query,
        target: Option<&str>,
        calls: &[Call],
    ) -> Result<Vec<ResourceAction>, PlanError> {
        let mut resources: BTreeSet<ResourceAction> = table_references(query)?
            .into_iter()
            .filter(|table| !lookups::is_lookup(table))
            .map(|table| ResourceAction {
                kind: ResourceKind::Datasource,
                name: table.table().to_owned(),
                action: Action::Read,
            })
            .collect();
        resources.extend(calls.iter().map(|call| ResourceAction {
            kind: ResourceKind::External,
            name: call.source.type_name().to_owned(),
            action: Action::Read,
        }));
        // What is really scanned too: a name may be looked up in more ways than it is written.
        for scan in (0..).map_while(|scan| self.scans.get(scan)) {
            let (kind, name) = match scan {
                ScanTarget::Extern(spec) => (ResourceKind::External, spec.source.type_name().to_owned()),
                ScanTarget::Table { datasource, .. } => (ResourceKind::Datasource, datasource),
            };
            resources.insert(ResourceAction {
                kind,
                name,
                action: Action::Read,
            });
        }
        if let Body::Export(export) = &self.statement.body {
            resources.insert(ResourceAction {
                kind: ResourceKind::External,
                name: export.storage.to_lowercase(),
                action: Action::Write,
            });
        }
        if let Some(target) = target {
            resources.insert(ResourceAction {
                kind: ResourceKind::Datasource,
                name: target.to_owned(),
                action: Action::Write,
            });
        }
        Ok(resources.into_iter().collect())
    }

    fn refused(&self, error: &DataFusionError) -> PlanError {
        self.as_written(from_datafusion(error, |name| self.locate(name)))
    }

    /// An unknown function under the name that the user wrote: DataFusion knows it in small letters.
    fn as_written(&self, error: PlanError) -> PlanError {
        const UNKNOWN: &str = "No match found for function signature ";
        let Some(rest) = error.message.strip_prefix(UNKNOWN) else {
            return error;
        };
        let name = rest.split(';').next().unwrap_or_default();
        let written = self.statement.tokens.iter().find_map(|token| match &token.token {
            Token::Word(word) if word.value.eq_ignore_ascii_case(name) => Some(word.value.clone()),
            _ => None,
        });
        match written {
            Some(written) => PlanError {
                message: format!("{UNKNOWN}{}", rest.replacen(name, &written, 1)),
                ..error
            },
            None => error,
        }
    }

    /// First place of a name in the statement's text; of a function's, whose case does not matter, if there is no other.
    fn locate(&self, name: &str) -> Option<Place> {
        let word = |token: &TokenWithSpan, matches: &dyn Fn(&str) -> bool| match &token.token {
            Token::Word(word) => matches(&word.value),
            _ => false,
        };
        let find = |matches: &dyn Fn(&str) -> bool| {
            let mut tokens = self.statement.tokens.iter();
            tokens
                .find(|token| word(token, matches))
                .map(|token| place(token.span))
        };
        find(&|word| word == name).or_else(|| find(&|word| word.eq_ignore_ascii_case(name)))
    }
}
