//! DataFusion set up for one statement.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider,
};
use datafusion::common::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SessionStateBuilder, SessionStateDefaults};
use datafusion::logical_expr::planner::ExprPlanner;
use sarsen_engine::runtime::session_config;

use crate::analyze;
use crate::derived::DerivedPlanner;
use crate::external::ExternPlanner;
use crate::lookups;
use crate::operators::DruidOperators;
use crate::request::PlanRequest;
use crate::settings::Settings;
use crate::tables::{DatasourceTable, Scans};
use crate::types::DruidTypes;

/// Catalogue and schema of datasources; `SELECT … FROM druid.t` and `FROM t` mean the same.
pub const CATALOG: &str = "sarsen";
const SCHEMA: &str = "druid";

/// A session that knows the request's tables and nothing else; scans are recorded in `scans`.
///
/// # Errors
/// Never in practice: registering in memory does not fail.
pub fn session(
    request: &PlanRequest,
    settings: &Settings,
    scans: &Scans,
    target_partitions: usize,
) -> Result<SessionState> {
    let schema = MemorySchemaProvider::new();
    for table in &request.tables {
        schema.register_table(
            table.name.clone(),
            Arc::new(DatasourceTable::new(table, scans.clone())),
        )?;
    }
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, Arc::new(schema))?;
    catalog.register_schema(lookups::SCHEMA, Arc::new(lookups::schema(&request.lookups)?))?;
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));

    let mut config = session_config()
        .with_target_partitions(target_partitions)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, SCHEMA);
    config.options_mut().sql_parser.recursion_limit = datafusion::config::ConfigNonZeroUsize::try_new(10_000)
        .unwrap_or(config.options().sql_parser.recursion_limit);
    config.options_mut().optimizer.prefer_hash_join = !settings.sort_merge_join;
    // NULL is less than any value, as in Druid: first in ascending and last in descending order.
    config.options_mut().sql_parser.default_null_ordering = "nulls_min".to_owned();
    let mut properties = datafusion::logical_expr::execution_props::ExecutionProps::new();
    properties.query_execution_start_time = DateTime::<Utc>::from_timestamp_millis(request.statement_time_ms);
    let mut operators: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(DruidOperators)];
    operators.extend(SessionStateDefaults::default_expr_planners());
    Ok(SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_catalog_list(Arc::new(catalogs))
        .with_scalar_functions(sarsen_functions::scalar_functions())
        .with_aggregate_functions(sarsen_functions::aggregate_functions())
        .with_window_functions(sarsen_functions::window_functions())
        .with_expr_planners(operators)
        .with_analyzer_rules(analyze::rules(&settings.meaning))
        .with_table_functions(HashMap::new())
        .with_type_planner(Arc::new(DruidTypes))
        .with_relation_planners(vec![
            Arc::new(ExternPlanner {
                scans: scans.clone(),
                inferred: request.inferred.clone(),
            }),
            Arc::new(DerivedPlanner),
        ])
        .with_execution_props(properties)
        .build())
}
