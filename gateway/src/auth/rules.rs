//! What a route needs. A route that is not named here needs the rights of an operator: whoever adds one decides here.

use axum::http::Method;

use super::Resource;

/// What is asked of whoever calls a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Anybody may.
    Nothing,
    /// Anybody who is known; the route itself asks for more, by what the request is about.
    Identity,
    /// The right to read it for GET and HEAD, to write it for all else.
    Right(Resource),
    /// The same of the datasource that the path names.
    Datasource,
}

/// The need of a route, by the path that it was matched by; `None` for a path that no route has.
pub fn need(path: Option<&str>, method: &Method) -> Need {
    let Some(path) = path else {
        return Need::Identity;
    };
    let proxied = ["/proxy/coordinator", "/proxy/overlord"];
    let path = proxied
        .iter()
        .find_map(|prefix| path.strip_prefix(prefix))
        .unwrap_or(path);
    let reads = method == Method::GET || method == Method::HEAD;
    match path {
        // Load balancers ask for the leader.
        "/druid/indexer/v1/isLeader" | "/druid/coordinator/v1/isLeader" | "/druid/broker/v1/readiness"
            if reads =>
        {
            Need::Nothing
        }
        "/status/health" | "/status/ready" if reads => Need::Nothing,
        // By the tables that the statement names.
        "/druid/v2/sql"
        | "/druid/v2/sql/"
        | "/druid/v2/sql/task"
        | "/druid/v2/sql/task/"
        | "/druid/v2/sql/task/enabled"
        | "/druid/v2/sql/{query_id}" => Need::Identity,
        // By who submitted the statement.
        _ if path.starts_with("/druid/v2/sql/statements") => Need::Identity,
        // By the task's datasource.
        "/druid/indexer/v1/tasks"
        | "/druid/indexer/v1/pendingTasks"
        | "/druid/indexer/v1/runningTasks"
        | "/druid/indexer/v1/waitingTasks"
        | "/druid/indexer/v1/completeTasks" => Need::Identity,
        _ if path.starts_with("/druid/indexer/v1/task/{task_id}") => Need::Identity,
        "/druid/v2/sql/task/{task_id}/shutdown" => Need::Identity,
        // The same for everybody.
        "/druid/v2/sql/engines" | "/proxy/enabled" => Need::Identity,
        // Only what one may read of it.
        "/druid/v2/datasources"
        | "/druid/coordinator/v1/datasources"
        | "/druid/coordinator/v1/metadata/datasources"
        | "/druid/coordinator/v1/metadata/segments"
        | "/druid/coordinator/v1/intervals"
        | "/druid/coordinator/v1/intervals/{interval}" => Need::Identity,
        "/druid/indexer/v1/worker"
        | "/druid/indexer/v1/worker/history"
        | "/druid/indexer/v1/totalWorkerCapacity" => Need::Right(Resource::Config("CONFIG")),
        _ if [
            "/druid/coordinator/v1/config",
            "/druid/coordinator/v1/lookups",
            "/druid/listen/v1/lookups",
            "/druid/v1/lookups",
            "/druid/indexer/v1/compaction/config",
        ]
        .iter()
        .any(|prefix| path.starts_with(prefix)) =>
        {
            Need::Right(Resource::Config("CONFIG"))
        }
        _ if path.contains("/{datasource}") => Need::Datasource,
        _ if path.starts_with("/druid-ext/") => Need::Right(Resource::Config("security")),
        _ => Need::Right(Resource::State),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_health_is_open_and_an_unknown_route_is_an_operators() {
        assert_eq!(need(Some("/status/health"), &Method::GET), Need::Nothing);
        assert_eq!(
            need(Some("/status/health"), &Method::POST),
            Need::Right(Resource::State)
        );
        assert_eq!(need(Some("/status"), &Method::GET), Need::Right(Resource::State));
        assert_eq!(
            need(Some("/druid/new"), &Method::GET),
            Need::Right(Resource::State)
        );
        assert_eq!(need(None, &Method::GET), Need::Identity);
        for path in ["", "/enabled", "/{statement_id}", "/{statement_id}/results"] {
            let path = format!("/druid/v2/sql/statements{path}");
            assert_eq!(need(Some(&path), &Method::GET), Need::Identity);
        }
    }

    #[test]
    fn routes_of_a_datasource_need_a_right_to_it_through_the_proxy_too() {
        for path in [
            "/druid/coordinator/v1/datasources/{datasource}",
            "/proxy/coordinator/druid/coordinator/v1/datasources/{datasource}/markUsed",
            "/druid/coordinator/v1/rules/{datasource}",
            "/druid/indexer/v1/datasources/{datasource}/shutdownAllTasks",
            "/druid/v2/datasources/{datasource}",
        ] {
            assert_eq!(need(Some(path), &Method::POST), Need::Datasource, "{path}");
        }
        let config = Need::Right(Resource::Config("CONFIG"));
        let path = "/druid/coordinator/v1/config/compaction/{datasource}";
        assert_eq!(need(Some(path), &Method::GET), config);
        let path = "/proxy/overlord/druid/indexer/v1/workers";
        assert_eq!(need(Some(path), &Method::GET), Need::Right(Resource::State));
    }
}
