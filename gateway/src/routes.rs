//! The routes of Druid's API.

mod cluster;
mod sql;
mod task;
mod tasks;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};

use crate::service::App;

/// All of them.
pub fn router() -> Router<App> {
    Router::new()
        .route("/druid/v2/sql/task", post(task::submit).fallback(only_post))
        .route("/druid/v2/sql/task/", post(task::submit).fallback(only_post))
        .route("/druid/v2/sql/task/enabled", get(task::enabled))
        .route("/druid/v2/sql", post(sql::query).fallback(only_post))
        .route("/druid/v2/sql/", post(sql::query).fallback(only_post))
        .route("/druid/v2/sql/{query_id}", delete(sql::cancel))
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
        .route("/druid/v2/datasources", get(cluster::datasources))
        .route("/status", get(cluster::status))
        .route("/status/health", get(cluster::health))
        .route("/status/selfDiscovered/status", get(cluster::self_discovered))
        .fallback(any(not_found))
}

async fn only_post(method: Method) -> Response {
    if method == Method::OPTIONS {
        return (StatusCode::OK, [(header::ALLOW, "POST,OPTIONS")]).into_response();
    }
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST,OPTIONS")]).into_response()
}

async fn not_found(request: Request) -> Response {
    let uri = request.uri().path().replace('&', "&amp;").replace('<', "&lt;");
    let page = format!(
        "<html>\n<head><title>Error 404 Not Found</title></head>\n<body><h2>HTTP ERROR 404 Not Found</h2>\n\
         <table>\n<tr><th>URI:</th><td>{uri}</td></tr>\n<tr><th>STATUS:</th><td>404</td></tr>\n</table>\n</body>\n</html>\n"
    );
    (
        StatusCode::NOT_FOUND,
        [(header::CONTENT_TYPE, "text/html;charset=iso-8859-1")],
        page,
    )
        .into_response()
}
