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
}

/// The need of a route, by the path that it was matched by; `None` for a path that no route has.
pub fn need(path: Option<&str>, method: &Method) -> Need {
    let Some(path) = path else {
        return Need::Identity;
    };
    match path {
        "/status/health" | "/status/ready" if method == Method::GET || method == Method::HEAD => {
            Need::Nothing
        }
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
        // Only the names that one may read.
        "/druid/v2/datasources" => Need::Identity,
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
}
