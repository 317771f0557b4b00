//! Statements belong to whoever submitted them.

use serde_json::json;

use super::{ADMIN, As, Secured};

#[test]
fn a_statement_is_its_submitters_and_those_who_see_the_clusters_state() {
    let server = Secured::start();
    for name in ["owner", "other", "watcher"] {
        let rights: &[(&str, &str, &str)] = match name {
            "watcher" => &[("READ", "STATE", "STATE")],
            _ => &[("READ", "DATASOURCE", ".*"), ("WRITE", "DATASOURCE", ".*")],
        };
        server.user(name, "p", rights);
    }
    let (owner, other, watcher) = (
        As::User("owner", "p"),
        As::User("other", "p"),
        As::User("watcher", "p"),
    );
    let body = json!({
        "query": "SELECT 1 AS x",
        "context": { "executionMode": "ASYNC", "selectDestination": "durableStorage" }
    });
    let submitted = server.send(&owner, "POST", "/druid/v2/sql/statements", Some(&body));
    assert_eq!(submitted.status, 200, "{}", submitted.text);
    let path = format!(
        "/druid/v2/sql/statements/{}",
        submitted.json()["queryId"].as_str().unwrap()
    );
    let deadline = std::time::Instant::now() + crate::cluster::PATIENCE;
    while server.get(&owner, &path).json()["state"] != "SUCCESS" {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let results = format!("{path}/results");
    for who in [&owner, &watcher, &ADMIN] {
        assert_eq!(server.get(who, &path).status, 200);
        assert_eq!(server.get(who, &results).text, "[{\"x\":1}]\n");
    }
    for (method, path) in [("GET", &path), ("GET", &results), ("DELETE", &path)] {
        let refused = server.send(&other, method, path, None);
        assert_eq!(refused.status, 403, "{}", refused.text);
        let body = refused.json();
        assert_eq!(
            (&body["errorCode"], &body["errorMessage"]),
            (&json!("forbidden"), &json!("Unauthorized"))
        );
        assert_eq!(server.send(&As::Nobody, method, path, None).status, 401);
    }
    assert_eq!(server.send(&watcher, "DELETE", &path, None).status, 403);
    assert_eq!(server.send(&owner, "DELETE", &path, None).status, 200);
    assert_eq!(server.get(&other, "/druid/v2/sql/statements/nope").status, 404);
    // A statement needs the rights that any statement needs.
    let table = json!({ "query": "SELECT * FROM TABLE(EXTERN('{\"type\":\"inline\",\"data\":\"1\"}', '{\"type\":\"csv\",\"columns\":[\"a\"]}')) EXTEND (a BIGINT)",
        "context": { "executionMode": "ASYNC" } });
    assert_eq!(
        server
            .send(&other, "POST", "/druid/v2/sql/statements", Some(&table))
            .status,
        403
    );
}
