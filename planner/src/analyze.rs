//! Druid's meaning of what DataFusion has planned: rules between its SQL planner and its optimiser.

mod casts;
mod comparisons;
mod ties;
mod unnest;

use std::sync::Arc;

use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::Analyzer;

/// DataFusion's rules with Druid's around them.
pub fn rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![
        Arc::new(unnest::FlattenUnnest),
        Arc::new(comparisons::DruidComparisons),
        Arc::new(ties::OrderTies),
    ];
    rules.extend(Analyzer::new().rules);
    rules.push(Arc::new(casts::DruidCasts));
    rules
}
