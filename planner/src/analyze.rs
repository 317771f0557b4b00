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

/// What of a query's context changes what expressions mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meaning {
    pub grouping: Grouping,
    /// The zone of times that name none, `sqlTimeZone`; UTC without one.
    pub zone: Option<String>,
}

/// DataFusion's rules with Druid's around them.
pub fn rules(meaning: &Meaning) -> Rules {
    let mut rules: Rules = vec![
        Arc::new(MultiValueStrings {
            meaning: meaning.clone(),
        }),
        Arc::new(unnest::FlattenUnnest),
        Arc::new(subqueries::DistinctSubqueries),
        Arc::new(ties::OrderTies),
    ];
    rules.extend(rules_of_scalars(meaning.zone.clone()));
    rules
}

/// The rules that give expressions their meaning.
fn rules_of_scalars(zone: Option<String>) -> Rules {
    let mut rules: Rules = vec![Arc::new(comparisons::DruidComparisons)];
    rules.extend(Analyzer::new().rules);
    rules.push(Arc::new(casts::DruidCasts { zone }));
    rules
}
