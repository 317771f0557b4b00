//! Who one says one is: passwords, tokens, and what only looks like them.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use super::{ADMIN, As, Secured, answer, signed};

const ROUTES: [(&str, &str); 12] = [
    ("POST", "/druid/v2/sql"),
    ("POST", "/druid/v2/sql/task"),
    ("GET", "/druid/v2/sql/task/enabled"),
    ("DELETE", "/druid/v2/sql/x"),
    ("GET", "/druid/indexer/v1/tasks"),
    ("GET", "/druid/indexer/v1/task/x"),
    ("GET", "/druid/indexer/v1/task/x/reports"),
    ("POST", "/druid/indexer/v1/task/x/shutdown"),
    ("GET", "/druid/v2/datasources"),
    ("GET", "/status"),
    ("GET", "/druid-ext/basic-security/authentication/db/basic/users"),
    ("GET", "/nothing/here"),
];

#[test]
fn nobody_sees_more_than_whether_the_server_is_healthy() {
    let server = Secured::start();
    assert_eq!(server.get(&As::Nobody, "/status/health").text, "true");
    for (method, path) in ROUTES {
        let refused = server.send(&As::Nobody, method, path, None);
        assert_eq!(refused.status, 401, "{method} {path}: {}", refused.text);
        let schemes: Vec<_> = refused.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(schemes, ["Basic", "Bearer"]);
        assert_eq!(
            refused.json(),
            json!({ "error": "Unauthorized request", "errorMessage": null, "errorClass": null, "host": null })
        );
    }
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_alike() {
    let server = Secured::start();
    let mut seen = Vec::new();
    for who in [
        As::User("admin", "wrong"),
        As::User("nobody", "wrong"),
        As::User("", ""),
        As::Token("sarsen_x_y"),
    ] {
        let refused = server.get(&who, "/status");
        assert_eq!(refused.status, 401);
        assert!(refused.headers.contains_key("www-authenticate"));
        seen.push(refused.text);
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].contains("User authentication failed."));
}

#[test]
fn headers_that_name_somebody_are_no_proof() {
    let server = Secured::start();
    for name in [
        "Druid-Authentication-Result",
        "Druid-Authorization-Checked",
        "Druid-Allow-Unsecured-Path",
        "X-Druid-Author",
        "X-Forwarded-User",
        "X-Remote-User",
        "Remote-User",
        "Proxy-Authorization",
    ] {
        let request = server.http.get(server.url("/status")).header(name, "admin");
        assert_eq!(answer(request).status, 401, "{name}");
    }
    // Two Authorization headers: a proxy may have looked at the other one.
    let request =
        signed(server.http.get(server.url("/status")), &ADMIN).header("authorization", "Basic eDp5");
    assert_eq!(answer(request).status, 401);
    let request = server.http.get(server.url("/status"));
    for given in [
        "Basic",
        "Basic !!!",
        "Basic YWRtaW4=",
        "Bearer",
        "Bearer ",
        "Negotiate x",
        "Basic\tx",
    ] {
        let request = request.try_clone().unwrap().header("authorization", given);
        assert_eq!(answer(request).status, 401, "{given}");
    }
    // The path of an open route does not open another one.
    for path in [
        "/status/health/../",
        "/status/health%2f..",
        "//status",
        "/status/health;/x",
        "/status/health/x",
    ] {
        let mut stream = TcpStream::connect(server.server.api.url.trim_start_matches("http://")).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 401"), "{path}: {text}");
    }
}

#[test]
fn oversized_headers_are_refused() {
    let server = Secured::start();
    let long = "a".repeat(1 << 20);
    let request = server
        .http
        .get(server.url("/status/health"))
        .header("x-long", long);
    assert_eq!(answer(request).status, 431);
    let mut request = server.http.get(server.url("/status/health"));
    for number in 0..200 {
        request = request.header(format!("x-{number}"), "a");
    }
    assert_eq!(answer(request).status, 431);
    assert_eq!(server.get(&As::Nobody, "/status/health").status, 200);
}

#[test]
fn a_token_stands_for_its_user_until_it_is_deleted_or_expires() {
    let server = Secured::start();
    server.user("reader", "pw", &[("READ", "STATE", "STATE")]);
    let make = |body: &serde_json::Value| {
        let made = server.send(&ADMIN, "POST", "/druid-ext/sarsen/tokens", Some(body));
        assert_eq!(made.status, 200, "{}", made.text);
        made.json()
    };
    let made = make(&json!({ "identity": "reader" }));
    let token = made["token"].as_str().unwrap();
    assert_eq!(server.get(&As::Token(token), "/status").status, 200);
    assert_eq!(
        server.get(&As::Token(token), "/druid-ext/sarsen/tokens").status,
        403
    );
    let mut forged = token.to_owned();
    let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
    forged.push(last);
    assert_eq!(server.get(&As::Token(&forged), "/status").status, 401);

    let listed = server.get(&ADMIN, "/druid-ext/sarsen/tokens");
    assert_eq!(listed.json()[0]["identity"], "reader");
    assert!(!listed.text.contains(token), "a token is told once");
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        server
            .send(&ADMIN, "DELETE", &format!("/druid-ext/sarsen/tokens/{id}"), None)
            .status,
        200
    );
    assert_eq!(server.get(&As::Token(token), "/status").status, 401);

    let short = make(&json!({ "identity": "reader", "expiresInSeconds": 1 }));
    let short = As::Token(short["token"].as_str().unwrap());
    assert_eq!(server.get(&short, "/status").status, 200);
    let deadline = std::time::Instant::now() + crate::cluster::PATIENCE;
    while server.get(&short, "/status").status != 401 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn groups_of_a_token_give_roles_by_the_group_mappings() {
    let server = Secured::start();
    server.change("POST", "/authorization/db/basic/roles/operators", None);
    let permissions = super::actions(&[("READ", "STATE", "STATE")]);
    server.change(
        "POST",
        "/authorization/db/basic/roles/operators/permissions",
        Some(&permissions),
    );
    let mapping = json!({ "groupPattern": "*,OU=ops,DC=x", "roles": ["operators"] });
    server.change(
        "POST",
        "/authorization/db/basic/groupMappings/ops",
        Some(&mapping),
    );
    let status = |groups: serde_json::Value| {
        let body = json!({ "identity": "anyone", "groups": groups });
        let made = server
            .send(&ADMIN, "POST", "/druid-ext/sarsen/tokens", Some(&body))
            .json();
        server
            .get(&As::Token(made["token"].as_str().unwrap()), "/status")
            .status
    };
    assert_eq!(status(json!(["CN=a,OU=ops,DC=x"])), 200);
    assert_eq!(status(json!(["CN=a,OU=dev,DC=x"])), 403);
    assert_eq!(status(json!([])), 403);
}

#[test]
fn a_changed_password_and_a_deleted_user_count_at_once() {
    let server = Secured::start();
    server.user("u", "first", &[("READ", "STATE", "STATE")]);
    assert_eq!(server.get(&As::User("u", "first"), "/status").status, 200);
    let credentials = "/authentication/db/basic/users/u/credentials";
    server.change(
        "POST",
        credentials,
        Some(&json!({ "password": "second", "iterations": 1000 })),
    );
    assert_eq!(server.get(&As::User("u", "first"), "/status").status, 401);
    assert_eq!(server.get(&As::User("u", "second"), "/status").status, 200);
    server.change("DELETE", "/authorization/db/basic/users/u/roles/uRole", None);
    assert_eq!(server.get(&As::User("u", "second"), "/status").status, 403);
    server.change("DELETE", "/authentication/db/basic/users/u", None);
    assert_eq!(server.get(&As::User("u", "second"), "/status").status, 401);
}
