//! All functions of this engine, by name.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use datafusion::execution::SessionStateDefaults;
use datafusion::execution::registry::{FunctionRegistry, MemoryFunctionRegistry};
use datafusion::logical_expr::{AggregateUDF, Expr, ScalarUDF, WindowUDF};

use crate::{
    aggregate, array, cast, ingest, json, lookup, multivalue, network, number, sketches, text, time,
};

/// Scalar functions; a later one of the same name replaces an earlier one, so Druid's come last.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = SessionStateDefaults::default_scalar_functions();
    functions.extend(druid_scalar_functions());
    functions.extend(ingest::functions());
    functions
}

/// The scalar functions that are Druid's.
pub(crate) fn druid_scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let families = [
        array::functions,
        cast::functions,
        json::functions,
        lookup::functions,
        multivalue::functions,
        network::functions,
        number::functions,
        sketches::functions,
        text::functions,
        time::functions,
    ];
    let mut functions = SessionStateDefaults::default_scalar_functions();
    functions.retain(|function| SHARED_SCALAR.contains(&function.name()));
    functions.extend(families.iter().flat_map(|family| family()));
    functions
}

/// Aggregate functions.
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let mut functions = SessionStateDefaults::default_aggregate_functions();
    functions.extend(aggregate::functions());
    functions.extend(sketches::aggregates());
    functions.extend(aggregate::each::functions(&functions));
    functions
}

/// An aggregation that takes the values of multi-value strings one by one; `None` for one that takes them otherwise.
pub fn each_value(name: &str, is_distinct: bool) -> Option<Arc<AggregateUDF>> {
    registry()
        .udaf(aggregate::each::each_name(name, is_distinct)?)
        .ok()
}

/// Whether an aggregation takes the values of multi-value strings one by one.
pub fn takes_each_value(name: &str) -> bool {
    aggregate::each::is_each_name(name)
}

/// DataFusion's scalar functions that mean what Druid's of the same name mean.
const SHARED_SCALAR: [&str; 2] = ["coalesce", "nullif"];

/// DataFusion's aggregations that mean what Druid's of the same name mean.
const SHARED_AGGREGATE: [&str; 6] = ["avg", "count", "grouping", "max", "min", "sum"];

/// DataFusion's window functions that mean what Druid's of the same name mean.
const SHARED_WINDOW: [&str; 10] = [
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
];

/// The aggregations that Druid has.
pub(crate) fn druid_aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let mut functions = SessionStateDefaults::default_aggregate_functions();
    functions.retain(|function| SHARED_AGGREGATE.contains(&function.name()));
    functions.extend(aggregate::functions());
    functions.extend(sketches::aggregates());
    functions
}

/// The window functions that Druid has.
pub(crate) fn druid_window_functions() -> Vec<Arc<WindowUDF>> {
    let mut functions = SessionStateDefaults::default_window_functions();
    functions.retain(|function| SHARED_WINDOW.contains(&function.name()));
    functions
}

/// Names that users may write, in capitals and in order, by kind.
pub(crate) fn druid_names() -> [(&'static str, BTreeSet<String>); 3] {
    let shown = |names: Vec<String>| {
        let for_users = names.into_iter().filter(|name| !name.starts_with("__"));
        for_users.map(|name| name.to_uppercase()).collect()
    };
    let mut scalar = Vec::new();
    for function in druid_scalar_functions() {
        scalar.push(function.name().to_owned());
        scalar.extend(function.aliases().iter().cloned());
    }
    let mut aggregate = Vec::new();
    for function in druid_aggregate_functions() {
        aggregate.push(function.name().to_owned());
        aggregate.extend(function.aliases().iter().cloned());
    }
    let windows = druid_window_functions();
    let window = windows.iter().map(|function| function.name().to_owned());
    [
        ("Scalar functions", shown(scalar)),
        ("Aggregations", shown(aggregate)),
        ("Window functions", shown(window.collect())),
    ]
}

/// Window functions.
pub fn window_functions() -> Vec<Arc<WindowUDF>> {
    SessionStateDefaults::default_window_functions()
}

/// The registry from which workers resolve the functions of a fragment.
pub fn registry() -> &'static dyn FunctionRegistry {
    static REGISTRY: LazyLock<MemoryFunctionRegistry> = LazyLock::new(|| {
        let mut registry = MemoryFunctionRegistry::new();
        // Registering cannot fail in memory; a replaced function is what comes back.
        for function in scalar_functions() {
            let _ = registry.register_udf(function);
        }
        for function in aggregate_functions() {
            let _ = registry.register_udaf(function);
        }
        for function in window_functions() {
            let _ = registry.register_udwf(function);
        }
        registry
    });
    &*REGISTRY
}

/// A call of a scalar function of [`registry`]; `None` without one of that name.
pub fn call(name: &str, arguments: Vec<Expr>) -> Option<Expr> {
    let function = registry().udf(name).ok()?;
    Some(function.call(arguments))
}
