//! Lookups: their configuration is stored and given back, and read when a statement names them (Druid: api-reference/lookups-api.md).

use axum::Extension;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::configs::{author, put, stored};
use crate::auth::Identity;
use crate::error::{ApiError, empty_json, json_response};
use crate::lookups::{self, KIND};
use crate::service::App;

pub fn router() -> Router<App> {
    let at = |path: &str| format!("/druid/coordinator/v1/lookups{path}");
    Router::new()
        .route(&at("/config"), get(tiers).post(update))
        .route(&at("/config/all"), get(all))
        .route(
            &at("/config/{tier}"),
            get(tier).post(update_tier).delete(delete_tier),
        )
        .route(&at("/config/{tier}/{lookup}"), get(one).post(set).delete(delete))
        .route(&at("/status"), get(status))
        .route(&at("/status/{tier}"), get(status_of_tier))
        .route(&at("/status/{tier}/{lookup}"), get(status_of))
        .route(&at("/nodeStatus"), get(nodes))
        .route(&at("/nodeStatus/{tier}"), get(nodes))
        .route("/druid/listen/v1/lookups", get(active))
        .route("/druid/listen/v1/lookups/{lookup}", get(active_one))
        .route("/druid/v1/lookups/introspect/{lookup}", shows(Shown::Map))
        .route("/druid/v1/lookups/introspect/{lookup}/keys", shows(Shown::Keys))
        .route(
            "/druid/v1/lookups/introspect/{lookup}/values",
            shows(Shown::Values),
        )
}

fn shows(shown: Shown) -> MethodRouter<App> {
    get(async move |State(app): State<App>, Path(lookup): Path<String>| contents(&app, lookup, shown).await)
}

type Lookups = Map<String, Value>;

async fn of_tier(app: &App, tier: &str) -> Result<Option<Lookups>, ApiError> {
    Ok(match stored(app, KIND).await?.remove(tier) {
        Some(Value::Object(lookups)) => Some(lookups),
        _ => None,
    })
}

fn not_found(message: &str) -> Response {
    json_response(StatusCode::NOT_FOUND, &json!({ "error": message }))
}

#[derive(Debug, Deserialize)]
struct Discover {
    discover: Option<String>,
}

/// No process announces a tier.
async fn tiers(State(app): State<App>, Query(given): Query<Discover>) -> Result<Response, ApiError> {
    if given
        .discover
        .is_some_and(|given| given.eq_ignore_ascii_case("true"))
    {
        return Ok(json_response(StatusCode::OK, &json!([])));
    }
    let tiers: Vec<Value> = stored(&app, KIND)
        .await?
        .into_iter()
        .map(|(tier, _)| json!(tier))
        .collect();
    Ok(json_response(StatusCode::OK, &Value::Array(tiers)))
}

async fn all(State(app): State<App>) -> Result<Response, ApiError> {
    Ok(json_response(
        StatusCode::OK,
        &Value::Object(stored(&app, KIND).await?),
    ))
}

#[derive(Debug, Deserialize)]
struct Detailed {
    detailed: Option<String>,
}

async fn tier(
    State(app): State<App>,
    Path(tier): Path<String>,
    Query(given): Query<Detailed>,
) -> Result<Response, ApiError> {
    let Some(lookups) = of_tier(&app, &tier).await? else {
        return Ok(not_found(&format!("Tier [{tier}] not found")));
    };
    let body = if given
        .detailed
        .is_some_and(|given| given.eq_ignore_ascii_case("true"))
    {
        Value::Object(lookups)
    } else {
        lookups.into_iter().map(|(name, _)| json!(name)).collect()
    };
    Ok(json_response(StatusCode::OK, &body))
}

async fn one(
    State(app): State<App>,
    Path((tier, lookup)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let found = of_tier(&app, &tier)
        .await?
        .and_then(|mut lookups| lookups.remove(&lookup));
    Ok(match found {
        Some(found) => json_response(StatusCode::OK, &found),
        None => not_found(&format!("lookup [{lookup}] not found")),
    })
}

fn object(body: &[u8]) -> Result<Lookups, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::body(format!("Cannot read the lookups: {error}")))
}

fn check(name: &str, lookup: &Value) -> Result<(), ApiError> {
    let factory = lookup.get("lookupExtractorFactory");
    if factory.is_some_and(|factory| factory.get("type").is_some_and(Value::is_string)) {
        return Ok(());
    }
    Err(ApiError::Invalid {
        message: format!("Lookup [{name}] has no lookupExtractorFactory with a type"),
    })
}

/// A version is newer than that which it replaces.
fn check_version(name: &str, new: &Value, known: Option<&Value>) -> Result<(), ApiError> {
    let version = |lookup: &Value| {
        lookup
            .get("version")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    match known {
        Some(known) if version(new) <= version(known) => Err(ApiError::Invalid {
            message: format!(
                "given update for lookup [{name}] can't replace existing spec: its version [{}] is not newer than [{}]",
                version(new),
                version(known)
            ),
        }),
        _ => Ok(()),
    }
}

/// Merges lookups into their tiers.
async fn merge(
    app: &App,
    identity: &Identity,
    headers: &HeaderMap,
    given: Vec<(String, Lookups)>,
) -> Result<(), ApiError> {
    let mut known = stored(app, KIND).await?;
    let mut changes = Vec::new();
    for (tier, lookups) in given {
        let mut merged = match known.remove(&tier) {
            Some(Value::Object(merged)) => merged,
            _ => Lookups::new(),
        };
        for (name, lookup) in lookups {
            check(&name, &lookup)?;
            check_version(&name, &lookup, merged.get(&name))?;
            merged.insert(name, lookup);
        }
        changes.push((tier, Some(Value::Object(merged))));
    }
    if changes.is_empty() {
        return Ok(());
    }
    put(app, identity, author(headers), KIND, changes).await
}

/// `{tier: {name: lookup}}`; empty, it only says that there are lookups to be.
async fn update(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let given = object(&body)?;
    let mut tiers = Vec::new();
    for (tier, lookups) in &given {
        let lookups = lookups.as_object().ok_or_else(|| ApiError::Invalid {
            message: format!("Lookups of the tier [{tier}] are no object"),
        })?;
        tiers.push((tier.clone(), lookups.clone()));
    }
    merge(&app, &identity, &headers, tiers).await?;
    Ok(json_response(StatusCode::ACCEPTED, &Value::Object(given)))
}

async fn update_tier(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(tier): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let given = object(&body)?;
    merge(&app, &identity, &headers, vec![(tier, given.clone())]).await?;
    Ok(json_response(StatusCode::ACCEPTED, &Value::Object(given)))
}

async fn set(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path((tier, lookup)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let given = Lookups::from_iter([(lookup, Value::Object(object(&body)?))]);
    merge(&app, &identity, &headers, vec![(tier, given)]).await?;
    Ok(empty_json(StatusCode::ACCEPTED))
}

async fn delete_tier(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(tier): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if of_tier(&app, &tier).await?.is_none() {
        return Ok(empty_json(StatusCode::NOT_FOUND));
    }
    put(&app, &identity, author(&headers), KIND, vec![(tier, None)]).await?;
    Ok(empty_json(StatusCode::ACCEPTED))
}

async fn delete(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path((tier, lookup)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut lookups = of_tier(&app, &tier).await?.unwrap_or_default();
    if lookups.remove(&lookup).is_none() {
        return Ok(empty_json(StatusCode::NOT_FOUND));
    }
    let change = (tier, (!lookups.is_empty()).then_some(Value::Object(lookups)));
    put(&app, &identity, author(&headers), KIND, vec![change]).await?;
    Ok(empty_json(StatusCode::ACCEPTED))
}

/// A lookup is there once it is stored, if it can be read.
fn state(lookup: &Value) -> Value {
    json!({ "loaded": lookups::values(lookup).is_ok() })
}

fn states(lookups: &Lookups) -> Value {
    let all = lookups.iter().map(|(name, lookup)| (name.clone(), state(lookup)));
    Value::Object(all.collect())
}

async fn status(State(app): State<App>) -> Result<Response, ApiError> {
    let tiers = stored(&app, KIND).await?;
    let of_tier = |lookups: &Value| lookups.as_object().map(states).unwrap_or_default();
    let body: Lookups = tiers
        .iter()
        .map(|(tier, lookups)| (tier.clone(), of_tier(lookups)))
        .collect();
    Ok(json_response(StatusCode::OK, &Value::Object(body)))
}

async fn status_of_tier(State(app): State<App>, Path(tier): Path<String>) -> Result<Response, ApiError> {
    Ok(match of_tier(&app, &tier).await? {
        Some(lookups) => json_response(StatusCode::OK, &states(&lookups)),
        None => not_found(&format!("No lookups found for tier [{tier}].")),
    })
}

async fn status_of(
    State(app): State<App>,
    Path((tier, lookup)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    Ok(match of_tier(&app, &tier).await? {
        Some(lookups) => match lookups.get(&lookup) {
            Some(found) => json_response(StatusCode::OK, &state(found)),
            None => not_found(&format!("Lookup [{lookup}] not found for tier [{tier}].")),
        },
        None => not_found(&format!("No lookups found for tier [{tier}].")),
    })
}

async fn nodes() -> Response {
    json_response(StatusCode::OK, &json!({}))
}

/// What is in the lookups: `{name: spec}`.
async fn active(State(app): State<App>) -> Result<Response, ApiError> {
    let lookups = lookups::all(&app).await?;
    Ok(json_response(StatusCode::OK, &Value::Object(lookups)))
}

async fn active_one(State(app): State<App>, Path(lookup): Path<String>) -> Result<Response, ApiError> {
    Ok(match lookups::all(&app).await?.remove(&lookup) {
        Some(found) => json_response(StatusCode::OK, &found),
        None => not_found(&format!("lookup [{lookup}] not found")),
    })
}

/// The values by key, or only one of the two.
#[derive(Debug, Clone, Copy)]
enum Shown {
    Map,
    Keys,
    Values,
}

async fn contents(app: &App, lookup: String, shown: Shown) -> Result<Response, ApiError> {
    let Some(spec) = lookups::all(app).await?.remove(&lookup) else {
        return Ok(not_found(&format!("lookup [{lookup}] not found")));
    };
    let values = lookups::values(&spec).map_err(|reason| ApiError::Invalid {
        message: format!("Lookup [{lookup}] cannot be read: {reason}"),
    })?;
    let body = match shown {
        Shown::Map => json!(values),
        Shown::Keys => json!(values.keys().collect::<Vec<_>>()),
        Shown::Values => json!(values.values().collect::<Vec<_>>()),
    };
    Ok(json_response(StatusCode::OK, &body))
}
