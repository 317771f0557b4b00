//! The routes of Druid's API.

mod broker;
mod cluster;
pub(crate) mod coordinator;
mod indexer;
mod security;
mod sql;
mod statements;
mod task;
mod tasks;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};

use crate::error::html_page;
use crate::service::App;

/// All of them.
pub fn router() -> Router<App> {
    Router::new()
        .route("/druid/v2/sql/task", post(task::submit).fallback(only_post))
        .route("/druid/v2/sql/task/", post(task::submit).fallback(only_post))
        .route("/druid/v2/sql/task/enabled", get(task::enabled))
        .route(
            "/druid/v2/sql/statements",
            post(statements::submit).fallback(only_post),
        )
        .route(
            "/druid/v2/sql/statements/",
            post(statements::submit).fallback(only_post),
        )
        .route("/druid/v2/sql/statements/enabled", get(task::enabled))
        .route(
            "/druid/v2/sql/statements/{statement_id}",
            get(statements::status).delete(statements::cancel),
        )
        .route(
            "/druid/v2/sql/statements/{statement_id}/results",
            get(statements::results),
        )
        .route("/druid/v2/sql/task/{task_id}/shutdown", post(tasks::shutdown))
        .route("/druid/v2/sql/engines", get(broker::engines))
        .route("/druid/v2/sql", post(sql::query).fallback(only_post))
        .route("/druid/v2/sql/", post(sql::query).fallback(only_post))
        .route("/druid/v2/sql/{query_id}", delete(sql::cancel))
        .merge(broker::router())
        .merge(management())
        .nest("/proxy/coordinator", management())
        .nest("/proxy/overlord", management())
        .merge(authentication())
        .merge(authorization())
        .route(
            "/druid-ext/sarsen/tokens",
            get(security::tokens).post(security::create_token),
        )
        .route("/druid-ext/sarsen/tokens/{id}", delete(security::delete_token))
        .fallback(any(not_found))
}

/// What a Coordinator or an Overlord answers: by itself, and through Druid's Router.
fn management() -> Router<App> {
    Router::new()
        .route("/status", get(cluster::status))
        .route("/status/health", get(cluster::health))
        .route("/status/properties", get(cluster::properties))
        .route("/status/selfDiscovered", get(cluster::discovered))
        .route("/status/selfDiscovered/status", get(cluster::self_discovered))
        .route("/druid/indexer/v1/task/{task_id}", get(tasks::payload))
        .route("/druid/indexer/v1/task/{task_id}/status", get(tasks::status))
        .route("/druid/indexer/v1/task/{task_id}/reports", get(tasks::reports))
        .route("/druid/indexer/v1/task/{task_id}/log", get(tasks::log))
        .route("/druid/indexer/v1/task/{task_id}/shutdown", post(tasks::shutdown))
        .route("/druid/indexer/v1/tasks", get(tasks::list))
        .route("/druid/indexer/v1/pendingTasks", get(tasks::pending))
        .route("/druid/indexer/v1/runningTasks", get(tasks::running))
        .route("/druid/indexer/v1/waitingTasks", get(tasks::waiting))
        .route("/druid/indexer/v1/completeTasks", get(tasks::complete))
        .merge(indexer::router())
        .merge(coordinator::router())
}

fn authentication() -> Router<App> {
    let at = |path: &str| format!("/druid-ext/basic-security/authentication{path}");
    Router::new()
        .route(&at("/loadStatus"), get(security::authentication_status))
        .route(&at("/refreshAll"), get(security::refresh_all))
        .route(
            &at("/db/{authenticator}/users"),
            get(security::authenticator_users),
        )
        .route(
            &at("/db/{authenticator}/users/{name}"),
            get(security::authenticator_user)
                .post(security::create_authenticator_user)
                .delete(security::delete_authenticator_user),
        )
        .route(
            &at("/db/{authenticator}/users/{name}/credentials"),
            post(security::set_credentials),
        )
}

fn authorization() -> Router<App> {
    let at = |path: &str| format!("/druid-ext/basic-security/authorization{path}");
    Router::new()
        .route(&at("/loadStatus"), get(security::authorization_status))
        .route(&at("/refreshAll"), get(security::refresh_all))
        .route(&at("/db/{authorizer}/users"), get(security::users))
        .route(
            &at("/db/{authorizer}/users/{name}"),
            get(security::user)
                .post(security::create_user)
                .delete(security::delete_user),
        )
        .route(
            &at("/db/{authorizer}/users/{name}/roles/{role}"),
            post(security::assign_user_role).delete(security::unassign_user_role),
        )
        .route(
            &at("/db/{authorizer}/groupMappings"),
            get(security::group_mappings),
        )
        .route(
            &at("/db/{authorizer}/groupMappings/{name}"),
            get(security::group_mapping)
                .post(security::create_group_mapping)
                .delete(security::delete_group_mapping),
        )
        .route(
            &at("/db/{authorizer}/groupMappings/{name}/roles/{role}"),
            post(security::assign_group_mapping_role).delete(security::unassign_group_mapping_role),
        )
        .route(&at("/db/{authorizer}/roles"), get(security::roles))
        .route(
            &at("/db/{authorizer}/roles/{name}"),
            get(security::role)
                .post(security::create_role)
                .delete(security::delete_role),
        )
        .route(
            &at("/db/{authorizer}/roles/{name}/permissions"),
            get(security::permissions).post(security::set_permissions),
        )
}

async fn only_post(method: Method) -> Response {
    if method == Method::OPTIONS {
        return (StatusCode::OK, [(header::ALLOW, "POST,OPTIONS")]).into_response();
    }
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST,OPTIONS")]).into_response()
}

async fn not_found(request: Request) -> Response {
    // Where Druid's resources are, they say nothing of a path that none has.
    let path = request.uri().path();
    if ["/druid/indexer/", "/druid/coordinator/"]
        .iter()
        .any(|of| path.starts_with(of))
    {
        return StatusCode::NOT_FOUND.into_response();
    }
    html_page(StatusCode::NOT_FOUND, request.uri().path(), "")
}
