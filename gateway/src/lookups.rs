//! What stored lookups hold: the maps of their factories (Druid: querying/lookups.md, querying/lookups-cached-global.md).

use std::collections::BTreeMap;

use sarsen_planner::Lookups;
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::routes::coordinator::configs::stored;
use crate::service::App;

/// One object of lookups by name for each tier.
pub const KIND: &str = "lookups";

/// The tier that is asked first.
pub const DEFAULT_TIER: &str = "__default";

/// Those lookups that there are, of some names.
///
/// # Errors
/// When the Overlord is away, and for a lookup that cannot be read.
pub async fn named(app: &App, names: &[String]) -> Result<Lookups, ApiError> {
    if names.is_empty() {
        return Ok(Lookups::new());
    }
    let known = all(app).await?;
    let mut lookups = Lookups::new();
    for name in names {
        if let Some(spec) = known.get(name) {
            let values = values(spec).map_err(|reason| ApiError::Invalid {
                message: format!("Lookup [{name}] cannot be read: {reason}"),
            })?;
            lookups.insert(name.clone(), values);
        }
    }
    Ok(lookups)
}

/// All lookups by name, those of the default tier first.
///
/// # Errors
/// When the Overlord is away.
pub async fn all(app: &App) -> Result<Map<String, Value>, ApiError> {
    let mut tiers = stored(app, KIND).await?;
    let mut lookups = Map::new();
    let first = tiers.remove(DEFAULT_TIER);
    for tier in first.into_iter().chain(tiers.into_iter().map(|(_, tier)| tier)) {
        if let Value::Object(tier) = tier {
            for (name, spec) in tier {
                lookups.entry(name).or_insert(spec);
            }
        }
    }
    Ok(lookups)
}

/// The values of a lookup by key.
///
/// # Errors
/// What is wrong with it, or of a kind that is not read here.
pub fn values(spec: &Value) -> Result<BTreeMap<String, String>, String> {
    let factory = spec.get("lookupExtractorFactory").unwrap_or(spec);
    match factory.get("type").and_then(Value::as_str) {
        Some("map") => of_map(factory.get("map")),
        Some("cachedNamespace") => {
            let namespace = factory.get("extractionNamespace").unwrap_or(&Value::Null);
            match namespace.get("type").and_then(Value::as_str) {
                Some("staticMap") => of_map(namespace.get("map")),
                Some(other) => Err(format!("an extractionNamespace of type [{other}] is not read")),
                None => Err("the extractionNamespace has no type".to_owned()),
            }
        }
        Some(other) => Err(format!("a lookupExtractorFactory of type [{other}] is not read")),
        None => Err("the lookupExtractorFactory has no type".to_owned()),
    }
}

fn of_map(map: Option<&Value>) -> Result<BTreeMap<String, String>, String> {
    let Some(Value::Object(map)) = map else {
        return Err("[map] is no object".to_owned());
    };
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        // A key without a value is not there.
        _ => None,
    };
    Ok(map
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), text(value)?)))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn factories_hold_maps() {
        let map = json!({"a": "1", "b": 2, "c": null});
        let factories = [
            json!({"type": "map", "map": map}),
            json!({"type": "cachedNamespace", "extractionNamespace": {"type": "staticMap", "map": map}}),
        ];
        for factory in factories {
            let values = values(&json!({"version": "v0", "lookupExtractorFactory": factory})).unwrap();
            let expected = [("a", "1"), ("b", "2")].map(|(key, value)| (key.to_owned(), value.to_owned()));
            assert_eq!(values, expected.into());
        }
    }

    #[test]
    fn what_is_not_read_is_named() {
        let table = [
            (json!({"lookupExtractorFactory": {"type": "kafka"}}), "[kafka]"),
            (
                json!({"lookupExtractorFactory":
                    {"type": "cachedNamespace", "extractionNamespace": {"type": "jdbc"}}}),
                "[jdbc]",
            ),
            (json!({"lookupExtractorFactory": {"type": "map"}}), "no object"),
        ];
        for (spec, reason) in table {
            assert!(values(&spec).unwrap_err().contains(reason), "{spec}");
        }
    }
}
