//! What INSERT and REPLACE add to a query: checks of its columns, time chunks, cluster keys, the segment stage.

mod group_order;
pub mod strings;

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, SecondsFormat, Utc};
use datafusion::common::{DFSchema, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::scalar::ScalarValue;
use sarsen_engine::SegmentSinkExec;
use sarsen_engine::segment_sink::SegmentSinkOptions;
use sarsen_functions::time::{Period, timestamp_type};
use sarsen_kernel::query::{Delivery, IngestTarget, QueryKind, SegmentGranularity};
use sarsen_kernel::shuffle::{
    KeyColumn, NullOrder, RangeTarget, Release, ShuffleKind, ShuffleSpec, SortOrder,
};
use sqlparser::ast::{Expr as SqlExpr, Query, SelectItem, Value};
use sqlparser::tokenizer::TokenWithSpan;

use crate::check::{place_of, select_of};
use crate::error::{Place, PlanError, in_druids_words};
use crate::granularity::Granularity;
use crate::intervals::{self, ETERNITY};
use crate::rewrite::{Clock, rewrite_expr};
use crate::settings::ArrayIngestMode;
use crate::sharding::{self, Sharding};
use crate::stages::{Open, StageBuilder};
use crate::statement::{Ingest, Overwrite, back_quoted};
use crate::types::sql_type;

const TIME: &str = "__time";

/// Names of the columns that are only sorted by, where the query has no columns of these names.
const BUCKET: &str = "__bucket";
const CLUSTER: &str = "__cluster";

/// Bytes of one timestamp in arrow's row format: a byte for NULL, eight for the value.
const BUCKET_PREFIX_BYTES: u32 = 9;

/// Name of the datasource that is written to.
///
/// # Errors
/// For names that Druid refuses and for tables that are no datasources.
pub fn target_name(ingest: &Ingest) -> Result<String, PlanError> {
    let parts: Vec<String> = ingest
        .target
        .0
        .iter()
        .filter_map(|part| part.as_ident())
        .map(|ident| ident.value.clone())
        .collect();
    let name = match parts.as_slice() {
        [name] => name,
        [schema, name] if schema == "druid" => name,
        _ => {
            return Err(PlanError::invalid(format!(
                "Table [{}] does not support operation [{}] because it is not a Druid datasource",
                parts.join("."),
                ingest.operation()
            )));
        }
    };
    let refuse = |reason: &str| {
        Err(PlanError::invalid_without_source(format!(
            "Invalid value for field [table]: Value [{name}] {reason}."
        )))
    };
    if name.trim().is_empty() {
        return refuse("must not be empty");
    }
    if name.contains('/') {
        return refuse("cannot contain '/'");
    }
    if name.starts_with('.') {
        return refuse("cannot start with '.'");
    }
    if name
        .chars()
        .any(|character| character.is_whitespace() && character != ' ')
    {
        return refuse("contains illegal whitespace characters");
    }
    Ok(name.clone())
}

/// Checks the clauses that ingestion has others for.
///
/// # Errors
/// For an ORDER BY, and for a LIMIT or OFFSET unless there is one time chunk for all rows.
pub fn check_order(ingest: &Ingest) -> Result<(), PlanError> {
    let query = &ingest.query;
    if query.order_by.is_some() {
        return Err(PlanError::invalid(format!(
            "Cannot use an ORDER BY clause on a Query of type [{}], use CLUSTERED BY instead",
            ingest.operation()
        )));
    }
    let limited = query.limit_clause.is_some() || query.fetch.is_some();
    if limited && ingest.partitioned_by != Granularity::All {
        return Err(PlanError::invalid(
            "INSERT and REPLACE queries cannot have a LIMIT unless PARTITIONED BY is \"ALL\".",
        ));
    }
    Ok(())
}

/// Whether the query gives `__time`; without one, every row gets the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeColumn {
    Given,
    Epoch,
}

/// Checks names and types of the columns that would be stored.
///
/// # Errors
/// In Druid's words.
pub fn check_columns(
    plan: &LogicalPlan,
    ingest: &Ingest,
    tokens: &[TokenWithSpan],
) -> Result<TimeColumn, PlanError> {
    let schema = plan.schema();
    let names = output_names(plan, ingest);
    if names.len() != schema.fields().len() {
        return Err(PlanError::invalid(format!(
            "{} names {} target columns [{}], but its query gives {}",
            ingest.operation(),
            names.len(),
            names.join(", "),
            schema.fields().len()
        )));
    }
    for (index, name) in names.iter().enumerate() {
        if name.starts_with("EXPR$") {
            let error = PlanError::invalid(
                "Insertion requires columns to be named, but at least one of the columns was unnamed.  This is usually \
                 the result of applying a function without having an AS clause, please ensure that all function calls\
                 are named with an AS clause as in \"func(X) as myColumn\".",
            );
            return Err(match unnamed_place(&ingest.query, tokens) {
                Some(place) => error.at(place),
                None => error,
            });
        }
        if names.iter().skip(index + 1).any(|other| other == name) {
            return Err(PlanError::invalid(format!("Duplicate field in SELECT: [{name}]")));
        }
    }
    let Some(position) = names.iter().position(|name| name == TIME) else {
        return match &ingest.partitioned_by {
            Granularity::All => Ok(TimeColumn::Epoch),
            granularity => Err(PlanError::invalid_without_source(format!(
                "The granularity [{}] specified in the PARTITIONED BY clause of the {} query is different from ALL. \
                 Therefore, the query must specify a time column (named __time).",
                granularity.describe(),
                ingest.operation()
            ))),
        };
    };
    let field = schema.field(position);
    match field.data_type() {
        DataType::Timestamp(..) => Ok(TimeColumn::Given),
        _ => Err(PlanError::invalid(format!(
            "Field[{TIME}] was the wrong type[{}], expected TIMESTAMP",
            sql_type(field)
        ))),
    }
}

/// Where the first select item without a name is.
fn unnamed_place(query: &Query, tokens: &[TokenWithSpan]) -> Option<Place> {
    select_of(query)?.projection.iter().find_map(|item| match item {
        SelectItem::UnnamedExpr(SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_)) => None,
        SelectItem::UnnamedExpr(expr) => place_of(expr, tokens),
        _ => None,
    })
}

/// Checks what a statement says of its columns before anything is planned.
///
/// # Errors
/// For two columns of one name.
pub fn check_names(ingest: &Ingest) -> Result<(), PlanError> {
    if !ingest.columns.is_empty() {
        let mut columns = ingest.columns.iter();
        return match columns.find(|name| ingest.columns.iter().filter(|other| other == name).count() > 1) {
            Some(name) => Err(PlanError::invalid(format!(
                "Duplicate column in the target column list: [{name}]"
            ))),
            None => Ok(()),
        };
    }
    let Some(select) = select_of(&ingest.query) else {
        return Ok(());
    };
    let mut seen: Vec<&str> = Vec::new();
    for item in &select.projection {
        let name = match item {
            SelectItem::ExprWithAlias { alias, .. } => alias.value.as_str(),
            SelectItem::UnnamedExpr(SqlExpr::Identifier(name)) => name.value.as_str(),
            _ => continue,
        };
        if seen.contains(&name) {
            return Err(PlanError::invalid(format!("Duplicate field in SELECT: [{name}]")));
        }
        seen.push(name);
    }
    Ok(())
}

fn output_names(plan: &LogicalPlan, ingest: &Ingest) -> Vec<String> {
    if ingest.columns.is_empty() {
        plan.schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect()
    } else {
        ingest.columns.clone()
    }
}

/// What OVERWRITE names, `None` for an INSERT.
///
/// # Errors
/// For a condition that is not about `__time`, or that cuts a time chunk.
pub fn replace_intervals(
    session: &SessionState,
    ingest: &Ingest,
) -> Result<Option<Vec<(i64, i64)>>, PlanError> {
    let condition = match &ingest.overwrite {
        Overwrite::Nothing => return Ok(None),
        Overwrite::All => return Ok(Some(vec![ETERNITY])),
        Overwrite::Where(condition) => condition,
    };
    let refuse = |reason: &dyn std::fmt::Display| {
        PlanError::invalid(format!(
            "Invalid OVERWRITE WHERE clause [{}]: {reason}",
            back_quoted(condition)
        ))
    };
    if let SqlExpr::BinaryOp { left, op, .. } = condition.as_ref()
        && !op.to_string().chars().all(char::is_alphabetic)
        && matches!(left.as_ref(), SqlExpr::Identifier(name) if name.value != TIME)
    {
        return Err(refuse(&format!(
            "Unsupported operation [{op}] in OVERWRITE WHERE clause."
        )));
    }
    let mut condition_expr = condition.as_ref().clone();
    rewrite_expr(&mut condition_expr, clock(session));
    let schema =
        arrow::datatypes::Schema::new(vec![arrow::datatypes::Field::new(TIME, timestamp_type(), true)]);
    let schema = DFSchema::try_from(schema).map_err(|error| refuse(&error))?;
    let expr = session
        .create_logical_expr_from_sql_expr(
            datafusion::sql::sqlparser::ast::ExprWithAlias {
                expr: condition_expr,
                alias: None,
            },
            &schema,
        )
        .map_err(|error| refuse(&in_druids_words(&error.strip_backtrace())))?;
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(schema.clone()))
        .build();
    let simplifier = ExprSimplifier::new(context);
    let expr = simplifier
        .coerce(expr, &schema)
        .and_then(|expr| simplifier.simplify(expr))
        .map_err(|error| refuse(&in_druids_words(&error.strip_backtrace())))?;
    let found = intervals::of_condition(&expr).map_err(|error| refuse(&error))?;
    for interval in &found {
        check_alignment(*interval, &ingest.partitioned_by)?;
    }
    Ok(Some(found))
}

/// Time chunks and their bounds are in UTC.
fn clock(session: &SessionState) -> Clock {
    let start = session.execution_props().query_execution_start_time;
    Clock {
        statement_time_ms: start.map_or(0, |start| start.timestamp_millis()),
        zone: None,
    }
}

fn check_alignment((start, end): (i64, i64), granularity: &Granularity) -> Result<(), PlanError> {
    let aligned = match granularity {
        Granularity::All => (start, end) == ETERNITY,
        Granularity::Period(text) => {
            let period = Period::parse(text).map_err(|error| PlanError::invalid(error.to_string()))?;
            let at_border = |millis: i64| period.floor(millis) == millis;
            start != ETERNITY.0 && end != ETERNITY.1 && at_border(start) && at_border(end)
        }
    };
    if aligned {
        return Ok(());
    }
    Err(PlanError::invalid(format!(
        "OVERWRITE WHERE clause identified interval [{}] which is not aligned with PARTITIONED BY granularity [{}]",
        sarsen_storage::segment::Interval {
            start_ms: start,
            end_ms: end
        },
        granularity.describe()
    )))
}

/// The query with the columns that its shuffle and its segments need.
#[derive(Debug)]
pub struct Prepared {
    /// Output: the stored columns, then the time chunk where there are chunks, then cluster expressions.
    pub plan: LogicalPlan,
    pub stored_columns: usize,
    /// Whether the chunk column stands behind the stored ones.
    pub has_bucket: bool,
    /// Position of `__time`.
    pub time: usize,
    /// Positions and names of the cluster-by columns.
    pub cluster: Vec<(usize, String)>,
    /// Name of the chunk column.
    bucket: String,
    /// How segments of one time chunk are told apart.
    pub sharding: Sharding,
}

/// Adds the hidden columns, and casts stored ones to the types that segments hold.
///
/// # Errors
/// For a CLUSTERED BY that names no column.
pub fn prepare(
    session: &SessionState,
    plan: LogicalPlan,
    ingest: &Ingest,
    time_column: TimeColumn,
    arrays: ArrayIngestMode,
) -> Result<Prepared> {
    let names = output_names(&plan, ingest);
    let schema = Arc::clone(plan.schema());
    let given = Arc::clone(plan.schema());
    let grouped = group_order::group_order(&plan);
    let added = usize::from(time_column == TimeColumn::Epoch);
    let mut stored: Vec<Expr> = Vec::new();
    for ((qualifier, field), name) in schema.iter().zip(&names) {
        let column = Expr::Column(datafusion::common::Column::from((qualifier, field)));
        let expr = if name == TIME {
            sarsen_functions::ingest::require_time(cast(column, timestamp_type()))
        } else {
            match stored_type(field.data_type()) {
                Some(data_type) => column.cast_to(&data_type, schema.as_ref())?,
                None => strings::stored(column, field.data_type(), arrays)?,
            }
        };
        stored.push(expr.alias(name));
    }
    if time_column == TimeColumn::Epoch {
        stored.insert(
            0,
            lit(ScalarValue::TimestampMillisecond(Some(0), Some("UTC".into()))).alias(TIME),
        );
    }
    let stored_columns = stored.len();
    let plan = LogicalPlanBuilder::from(plan).project(stored)?.build()?;

    let schema = Arc::clone(plan.schema());
    let mut all: Vec<Expr> = schema
        .iter()
        .map(|(qualifier, field)| Expr::Column(datafusion::common::Column::from((qualifier, field))))
        .collect();
    let position = |name: &str| {
        let of_query = || given.fields().iter().position(|field| field.name() == name);
        schema
            .fields()
            .iter()
            .position(|field| field.name() == name)
            .or_else(|| of_query().map(|position| position + added))
    };
    let time = position(TIME).unwrap_or(0);
    let bucket_name = unused(BUCKET, &schema);
    let bucket = match &ingest.partitioned_by {
        Granularity::All => None,
        Granularity::Period(period) => {
            let time_floor = session.scalar_functions().get("time_floor").cloned();
            time_floor.map(|time_floor| {
                let time = all.get(time).cloned().unwrap_or_else(|| lit(ScalarValue::Null));
                time_floor
                    .call(vec![time, lit(period.as_str())])
                    .alias(bucket_name.as_str())
            })
        }
    };
    let has_bucket = bucket.is_some();
    all.extend(bucket);
    let mut cluster = Vec::new();
    for (index, expr) in ingest.clustered_by.iter().enumerate() {
        match cluster_column(expr, &names, added, position)? {
            Some(column) => cluster.push((column, schema.field(column).name().clone())),
            None => {
                let mut expr = expr.clone();
                rewrite_expr(&mut expr, clock(session));
                let name = unused(&format!("{CLUSTER}{index}"), &schema);
                let expr = session.create_logical_expr_from_sql_expr(
                    datafusion::sql::sqlparser::ast::ExprWithAlias { expr, alias: None },
                    &schema,
                )?;
                cluster.push((all.len(), name.clone()));
                all.push(expr.alias(name));
            }
        }
    }
    let plan = LogicalPlanBuilder::from(plan).project(all)?.build()?;
    let sharding = if ingest.overwrite == Overwrite::Nothing {
        sharding::of_insert()
    } else if ingest.clustered_by.is_empty() {
        // Rows that are grouped come out in the order of their keys, which tells segments apart as CLUSTERED BY does.
        let found = sharding::of_replace(&grouped.cluster_columns());
        if !found.columns.is_empty() {
            let stored = grouped.positions().map(|position| position + added);
            cluster = stored
                .map(|position| (position, schema.field(position).name().clone()))
                .collect();
        }
        renamed(found, &cluster)
    } else {
        let positions = cluster.iter().map(|(position, _)| *position);
        sharding::of_replace(&sharding::cluster_columns(
            plan.schema(),
            positions,
            stored_columns,
        ))
    };
    Ok(Prepared {
        plan,
        stored_columns,
        has_bucket,
        time,
        cluster,
        bucket: bucket_name,
        sharding,
    })
}

/// The group's columns by the names under which they are stored.
fn renamed(sharding: Sharding, cluster: &[(usize, String)]) -> Sharding {
    let columns = sharding.columns.iter().zip(cluster);
    Sharding {
        columns: columns.map(|(_, (_, stored))| stored.clone()).collect(),
        ..sharding
    }
}

/// A name that none of the columns has.
fn unused(name: &str, schema: &DFSchema) -> String {
    let mut name = name.to_owned();
    while schema.fields().iter().any(|field| *field.name() == name) {
        name.push('_');
    }
    name
}

/// Position of the stored column that a CLUSTERED BY item names, by name or by ordinal; `None` for an expression.
fn cluster_column(
    expr: &SqlExpr,
    names: &[String],
    added: usize,
    position: impl Fn(&str) -> Option<usize>,
) -> Result<Option<usize>, PlanError> {
    match expr {
        SqlExpr::Identifier(ident) => Ok(position(&ident.value)),
        SqlExpr::Value(value) => match &value.value {
            Value::Number(number, _) => {
                let ordinal: usize = number.parse().unwrap_or(0);
                if ordinal == 0 || ordinal > names.len() {
                    return Err(PlanError::invalid(format!(
                        "CLUSTERED BY ordinal {number} is not one of the {} columns of the query",
                        names.len()
                    )));
                }
                Ok(Some(ordinal - 1 + added))
            }
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

/// What segments hold a type as; `None` when they hold it as it is.
fn stored_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64 => Some(DataType::Int64),
        DataType::Timestamp(TimeUnit::Millisecond, Some(_)) => Some(DataType::Int64),
        DataType::Decimal128(..) | DataType::Decimal256(..) | DataType::Float16 => Some(DataType::Float64),
        DataType::Utf8 | DataType::Null => Some(DataType::Utf8View),
        _ => None,
    }
}

/// Where and how the rows are stored.
#[derive(Debug)]
pub struct Target {
    pub datasource: String,
    pub statement_time_ms: i64,
    pub rows_per_segment: u64,
    pub replace_intervals: Option<Vec<(i64, i64)>>,
}

/// Closes the query's last fragment with the ingestion's shuffle and adds the stage that writes segments.
///
/// # Errors
/// When a fragment cannot travel.
pub fn close(
    builder: &mut StageBuilder<'_>,
    open: Open,
    ingest: &Ingest,
    prepared: &Prepared,
    target: &Target,
) -> Result<QueryKind> {
    let shuffle = ingest_shuffle(prepared, target.rows_per_segment);
    let sorted_by_time = prepared
        .cluster
        .first()
        .is_some_and(|(column, _)| *column == prepared.time);
    let merge = shuffle.kind.is_sorted() && sorted_by_time;
    let read = builder.read_ingest(open, shuffle, merge)?;
    let read = if merge {
        read
    } else {
        read.map(|plan| Ok(sorted_for_segment(plan, prepared)))?
    };
    let granularity = match &ingest.partitioned_by {
        Granularity::All => None,
        Granularity::Period(period) => Some(period.clone()),
    };
    let options = SegmentSinkOptions {
        datasource: target.datasource.clone(),
        version: version(target.statement_time_ms),
        stored_columns: prepared.stored_columns,
        chunk_column: prepared.has_bucket.then_some(prepared.stored_columns),
        granularity: granularity.clone(),
    };
    let sink = read.map(|plan| Ok(Arc::new(SegmentSinkExec::new(plan, options.clone()))))?;
    builder.close(sink, None)?;
    Ok(QueryKind::Ingest(IngestTarget {
        datasource: target.datasource.clone(),
        replace_intervals: target.replace_intervals.clone(),
        segment_granularity: granularity.map_or(SegmentGranularity::All, SegmentGranularity::Period),
        rows_per_segment: target.rows_per_segment,
        shard_columns: prepared.sharding.columns.clone(),
        shard_reason: prepared.sharding.reason.clone(),
    }))
}

fn version(statement_time_ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(statement_time_ms)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn ingest_shuffle(prepared: &Prepared, rows_per_segment: u64) -> ShuffleSpec {
    let mut key = Vec::new();
    if prepared.has_bucket {
        key.push((prepared.stored_columns, prepared.bucket.clone()));
    }
    key.extend(prepared.cluster.iter().cloned());
    let kind = if prepared.cluster.is_empty() {
        ShuffleKind::Bucket {
            target_rows: rows_per_segment,
        }
    } else {
        ShuffleKind::GlobalSort(RangeTarget::TargetRows(rows_per_segment))
    };
    let bucket_prefix_bytes = if prepared.has_bucket {
        BUCKET_PREFIX_BYTES
    } else {
        0
    };
    let key = key
        .into_iter()
        .map(|(index, name)| KeyColumn {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            name,
            order: SortOrder::Ascending,
            nulls: NullOrder::First,
        })
        .collect();
    ShuffleSpec {
        kind,
        key,
        bucket_prefix_bytes,
        release: Release::default(),
    }
}

/// Rows of each partition sorted as segments are: by time, then by the cluster-by columns.
fn sorted_for_segment(rows: Arc<dyn ExecutionPlan>, prepared: &Prepared) -> Arc<dyn ExecutionPlan> {
    let columns = std::iter::once((prepared.time, TIME.to_owned())).chain(prepared.cluster.iter().cloned());
    let order = LexOrdering::new(columns.map(|(index, name)| PhysicalSortExpr {
        expr: Arc::new(Column::new(&name, index)),
        options: SortOptions {
            descending: false,
            nulls_first: true,
        },
    }));
    match order {
        Some(order) => Arc::new(SortExec::new(order, rows).with_preserve_partitioning(true)),
        None => rows,
    }
}

impl StageBuilder<'_> {
    /// Closes the rows to be stored, and reads them back one time chunk's partition at a time.
    fn read_ingest(&mut self, open: Open, shuffle: ShuffleSpec, merge: bool) -> Result<Open> {
        let mut read = self.close_and_read_sorted(open, shuffle, Delivery::Partitioned, merge)?;
        read.single = false;
        Ok(read)
    }
}
