//! Retention rules: stored and given back, and what they ask for is told (Druid: api-reference/retention-rules-api.md).
//! Nothing is loaded or dropped by them: queries read deep storage.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use sarsen_proto::v1;
use serde_json::{Map, Value, json};

use super::configs::{Part, author, history_json, put, stored};
use super::datasources::TIER;
use crate::auth::Identity;
use crate::error::{ApiError, empty_json, json_response};
use crate::interval::{self, Period};
use crate::service::App;

/// The kind under which they are kept, and Druid's name of it.
const KIND: (&str, &str) = ("rules", "rules");
/// Rules that stand behind those of every datasource.
const DEFAULT: &str = "_default";

/// All rules.
#[derive(Debug, Clone)]
pub struct Rules(Map<String, Value>);

impl Rules {
    /// # Errors
    /// When the Overlord cannot be asked.
    pub async fn of(app: &App) -> Result<Rules, ApiError> {
        let mut rules = stored(app, KIND.0).await?;
        let two = json!([{
            "tieredReplicants": { TIER: 2 }, "useDefaultTierForNull": true, "type": "loadForever",
        }]);
        rules.entry(DEFAULT).or_insert(two);
        Ok(Rules(rules))
    }

    fn own(&self, datasource: &str) -> &[Value] {
        let own = self.0.get(datasource).and_then(Value::as_array);
        own.map_or(&[], Vec::as_slice)
    }

    /// Replicas by tier that the first rule asks for that applies to an interval.
    fn tiers(&self, datasource: &str, of: v1::Interval, now_ms: i64) -> Map<String, Value> {
        let mut rules = self.own(datasource).iter().chain(self.own(DEFAULT));
        let rule = rules.find(|rule| applies(rule, of, now_ms));
        let replicants = rule.filter(|rule| rule_type(rule).starts_with("load"));
        let replicants = replicants.map(|rule| rule.get("tieredReplicants").cloned());
        match replicants {
            Some(Some(Value::Object(tiers))) => tiers,
            Some(_) => Map::from_iter([(TIER.to_owned(), json!(2))]),
            None => Map::new(),
        }
    }

    /// Replicas of a segment in all tiers together.
    pub fn replicas(&self, datasource: &str, of: Option<v1::Interval>, now_ms: i64) -> u64 {
        let tiers = self.tiers(datasource, of.unwrap_or_default(), now_ms);
        tiers.values().filter_map(Value::as_u64).sum()
    }

    /// Adds the replicas, beyond the one in deep storage, that rules ask for: `{tier: {datasource: count}}`.
    pub fn count_missing(
        &self,
        datasource: &str,
        sums: &v1::IntervalSums,
        now_ms: i64,
        missing: &mut Map<String, Value>,
    ) {
        let tiers = self.tiers(datasource, sums.interval.unwrap_or_default(), now_ms);
        for (tier, replicas) in tiers {
            let beyond = replicas.as_u64().unwrap_or(0).saturating_sub(1) * sums.segments;
            let of_tier = missing.entry(tier).or_insert_with(|| json!({}));
            let before = of_tier.get(datasource).and_then(Value::as_u64).unwrap_or(0);
            if let Value::Object(of_tier) = of_tier {
                of_tier.insert(datasource.to_owned(), json!(before + beyond));
            }
        }
    }
}

fn rule_type(rule: &Value) -> &str {
    rule.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn text_of<'a>(rule: &'a Value, name: &str) -> Option<&'a str> {
    rule.get(name).and_then(Value::as_str)
}

/// Whether a rule is about an interval (Druid: operations/rule-configuration.md).
fn applies(rule: &Value, of: v1::Interval, now_ms: i64) -> bool {
    let kind = rule_type(rule);
    let period = || Period::parse(text_of(rule, "period")?)?.before(now_ms);
    if kind.ends_with("Forever") {
        return true;
    }
    if kind.ends_with("ByInterval") {
        let given = text_of(rule, "interval").and_then(|text| interval::parse(text).ok());
        return given.is_some_and(|given| interval::overlaps(&given, &of) && interval::contains(&given, &of));
    }
    if kind == "dropBeforeByPeriod" {
        return period().is_some_and(|start| of.end_ms <= start);
    }
    let future = rule.get("includeFuture").and_then(Value::as_bool).unwrap_or(true);
    // A load or broadcast rule is about all that overlaps the period, a drop rule about what lies inside.
    let loads = !kind.starts_with("drop");
    period().is_some_and(|start| {
        let until_now = of.start_ms < now_ms;
        if loads {
            of.end_ms > start && (future || until_now)
        } else {
            of.start_ms >= start && (future || of.end_ms <= now_ms)
        }
    })
}

/// What is wrong with a rule, if anything.
fn check(rule: &Value) -> Result<(), String> {
    let kind = text_of(rule, "type").ok_or("a rule has a type")?;
    let needs = match kind {
        "loadForever" | "dropForever" | "broadcastForever" => None,
        "loadByInterval" | "dropByInterval" | "broadcastByInterval" => Some("interval"),
        "loadByPeriod" | "dropByPeriod" | "dropBeforeByPeriod" | "broadcastByPeriod" => Some("period"),
        kind => return Err(format!("Could not resolve type id '{kind}' as a rule")),
    };
    if let Some(name) = needs {
        let text =
            text_of(rule, name).ok_or_else(|| format!("a rule of type [{kind}] has a field [{name}]"))?;
        let fits = match name {
            "interval" => interval::parse(text).is_ok(),
            _ => Period::parse(text).is_some(),
        };
        if !fits {
            return Err(format!("Invalid {name}[{text}] of a rule of type [{kind}]"));
        }
    }
    match rule.get("tieredReplicants") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(tiers)) if tiers.values().all(Value::is_u64) => Ok(()),
        Some(given) => Err(format!(
            "Invalid tieredReplicants[{given}]: each tier has a number of replicas"
        )),
    }
}

pub async fn all(State(app): State<App>) -> Result<Response, ApiError> {
    let Rules(rules) = Rules::of(&app).await?;
    Ok(json_response(StatusCode::OK, &Value::Object(rules)))
}

pub async fn of(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(form): Query<super::datasources::Form>,
) -> Result<Response, ApiError> {
    let rules = Rules::of(&app).await?;
    let mut shown = rules.own(&name).to_vec();
    if form.full.is_some() && name != DEFAULT {
        shown.extend_from_slice(rules.own(DEFAULT));
    }
    Ok(json_response(StatusCode::OK, &Value::Array(shown)))
}

pub async fn set(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let rules: Vec<Value> = serde_json::from_slice(&body)
        .map_err(|error| ApiError::body(format!("The body is a list of rules: {error}")))?;
    let wrong = rules.iter().find_map(|rule| check(rule).err());
    if let Some(message) = wrong {
        return Ok(json_response(
            StatusCode::BAD_REQUEST,
            &json!({ "error": message }),
        ));
    }
    if rules.is_empty() && name == DEFAULT {
        let body = json!({ "error": "Cluster default rules cannot be empty." });
        return Ok(json_response(StatusCode::BAD_REQUEST, &body));
    }
    put(
        &app,
        &identity,
        author(&headers),
        KIND.0,
        vec![(name, Some(Value::Array(rules)))],
    )
    .await?;
    Ok(empty_json(StatusCode::OK))
}

pub async fn history(State(app): State<App>, Query(part): Query<Part>) -> Result<Response, ApiError> {
    history_json(&app, KIND, None, &part).await
}

pub async fn history_of(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(part): Query<Part>,
) -> Result<Response, ApiError> {
    history_json(&app, KIND, Some(&name), &part).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const DAY: i64 = 86_400_000;

    fn day(number: i64) -> v1::Interval {
        v1::Interval {
            start_ms: number * DAY,
            end_ms: (number + 1) * DAY,
        }
    }

    #[test]
    fn the_first_rule_that_applies_says_how_many_replicas() {
        let rules = json!({
            "wiki": [
                { "type": "loadByInterval", "interval": "1970-01-01/1970-01-03", "tieredReplicants": { "hot": 3 } },
                { "type": "dropByPeriod", "period": "P5D", "includeFuture": false },
                { "type": "loadByPeriod", "period": "P30D", "tieredReplicants": { "hot": 1, TIER: 1 } },
                { "type": "dropForever" },
            ],
            DEFAULT: [{ "type": "loadForever", "tieredReplicants": { TIER: 2 } }],
        });
        let Value::Object(rules) = rules else { panic!() };
        let (rules, now) = (Rules(rules), 100 * DAY);
        for (number, replicas) in [(0, 3), (50, 0), (75, 2), (97, 0), (101, 2)] {
            assert_eq!(
                rules.replicas("wiki", Some(day(number)), now),
                replicas,
                "{number}"
            );
        }
        assert_eq!(rules.replicas("other", Some(day(0)), now), 2);
        let mut missing = Map::new();
        let sums = v1::IntervalSums {
            interval: Some(day(0)),
            segments: 4,
            ..Default::default()
        };
        rules.count_missing("wiki", &sums, now, &mut missing);
        rules.count_missing("other", &sums, now, &mut missing);
        assert_eq!(
            json!(missing),
            json!({ "hot": { "wiki": 8 }, TIER: { "other": 4 } })
        );
    }

    #[test]
    fn rules_are_checked() {
        for rule in [
            json!({ "type": "loadForever" }),
            json!({ "type": "dropBeforeByPeriod", "period": "P1M" }),
            json!({ "type": "loadByInterval", "interval": "2015/2016", "tieredReplicants": { "a": 1 } }),
        ] {
            assert_eq!(check(&rule), Ok(()));
        }
        for rule in [
            json!({}),
            json!("loadForever"),
            json!({ "type": "nope" }),
            json!({ "type": "loadByPeriod" }),
            json!({ "type": "loadByPeriod", "period": "1 day" }),
            json!({ "type": "loadByInterval", "interval": "2016/2015" }),
            json!({ "type": "loadForever", "tieredReplicants": { "a": -1 } }),
            json!({ "type": "loadForever", "tieredReplicants": [] }),
        ] {
            assert!(check(&rule).is_err(), "{rule}");
        }
    }
}
