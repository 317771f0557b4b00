//! Druid's meaning of what DataFusion has planned: rules between its SQL planner and its optimiser.

mod casts;
mod comparisons;
pub mod multivalue;
mod subqueries;
mod ties;
mod unnest;

use std::sync::Arc;

use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::Analyzer;

use self::multivalue::{Grouping, MultiValueStrings};

type Rules = Vec<Arc<dyn AnalyzerRule + Send + Sync>>;

/// DataFusion's rules with Druid's around them; `grouping` says what GROUP BY makes of multi-value strings.
pub fn rules(grouping: Grouping) -> Rules {
    let mut rules: Rules = vec![
        Arc::new(MultiValueStrings { grouping }),
        Arc::new(unnest::FlattenUnnest),
        Arc::new(subqueries::DistinctSubqueries),
        Arc::new(ties::OrderTies),
    ];
    rules.extend(rules_of_scalars());
    rules
}

/// The rules that give expressions their meaning.
fn rules_of_scalars() -> Rules {
    let mut rules: Rules = vec![Arc::new(comparisons::DruidComparisons)];
    rules.extend(Analyzer::new().rules);
    rules.push(Arc::new(casts::DruidCasts));
    rules
}
