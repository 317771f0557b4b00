//! Users and roles by Druid's REST paths, and the audit log of that.

use serde_json::{Value, json};

use super::{ADMIN, As, Secured, actions};

const AUTHENTICATION: &str = "/druid-ext/basic-security/authentication";
const AUTHORIZATION: &str = "/druid-ext/basic-security/authorization";

#[test]
fn users_roles_and_group_mappings_are_managed_as_in_druid() {
    let server = Secured::start();
    let get = |path: &str| server.get(&ADMIN, path).json();
    server.user("druid", "helloworld", &[("READ", "DATASOURCE", "wiki.*")]);
    assert_eq!(
        get(&format!("{AUTHENTICATION}/db/basic/users")),
        json!(["admin", "druid"])
    );
    assert_eq!(
        get(&format!("{AUTHENTICATION}/db/basic/users/druid"))["name"],
        "druid"
    );
    assert_eq!(
        get(&format!("{AUTHENTICATION}/loadStatus")),
        json!({ "basic": true })
    );
    assert_eq!(
        get(&format!("{AUTHORIZATION}/loadStatus")),
        json!({ "basic": true })
    );
    assert_eq!(
        get(&format!("{AUTHORIZATION}/db/basic/users")),
        json!(["admin", "druid"])
    );
    assert_eq!(
        get(&format!("{AUTHORIZATION}/db/basic/roles")),
        json!(["admin", "druidRole"])
    );

    let simple = json!({ "resource": { "name": "wiki.*", "type": "DATASOURCE" }, "action": "READ" });
    let full = json!({ "resourceAction": simple, "resourceNamePattern": "wiki.*" });
    let user = format!("{AUTHORIZATION}/db/basic/users/druid");
    assert_eq!(get(&user), json!({ "name": "druid", "roles": ["druidRole"] }));
    assert_eq!(
        get(&format!("{user}?full")),
        json!({ "name": "druid", "roles": [{ "name": "druidRole", "permissions": [full] }] })
    );
    assert_eq!(
        get(&format!("{user}?full&simplifyPermissions")),
        json!({ "name": "druid", "roles": [{ "name": "druidRole", "users": null, "permissions": [simple] }] })
    );
    let role = format!("{AUTHORIZATION}/db/basic/roles/druidRole");
    assert_eq!(get(&role), json!({ "name": "druidRole", "permissions": [full] }));
    assert_eq!(
        get(&format!("{role}?simplifyPermissions")),
        json!({ "name": "druidRole", "users": null, "permissions": [simple] })
    );
    assert_eq!(
        get(&format!("{role}?full")),
        json!({ "name": "druidRole", "users": ["druid"], "groups": [], "permissions": [full] })
    );
    assert_eq!(get(&format!("{role}/permissions")), json!([full]));

    let mapping = json!({ "name": "user", "groupPattern": "CN=aaa,DC=com", "roles": ["druidRole"] });
    server.change(
        "POST",
        "/authorization/db/basic/groupMappings/user",
        Some(&mapping),
    );
    assert_eq!(
        get(&format!("{AUTHORIZATION}/db/basic/groupMappings")),
        json!(["user"])
    );
    assert_eq!(
        get(&format!("{AUTHORIZATION}/db/basic/groupMappings/user")),
        mapping
    );
    server.change(
        "DELETE",
        "/authorization/db/basic/groupMappings/user/roles/druidRole",
        None,
    );
    server.change(
        "POST",
        "/authorization/db/basic/groupMappings/user/roles/druidRole",
        None,
    );
    server.change("DELETE", "/authorization/db/basic/roles/druidRole", None);
    assert_eq!(get(&user), json!({ "name": "druid", "roles": [] }));
    server.change("DELETE", "/authorization/db/basic/groupMappings/user", None);
    server.change("DELETE", "/authorization/db/basic/users/druid", None);
    server.change("DELETE", "/authentication/db/basic/users/druid", None);
    assert_eq!(get(&format!("{AUTHENTICATION}/db/basic/users")), json!(["admin"]));
}

#[test]
fn changes_that_make_no_sense_are_refused_in_druids_words() {
    let server = Secured::start();
    let refused = |method: &str, path: &str, body: Option<&Value>| {
        let answer = server.send(&ADMIN, method, path, body);
        assert_eq!(answer.status, 400, "{path}: {}", answer.text);
        answer.json()["error"].as_str().unwrap().to_owned()
    };
    let cases = [
        (
            "POST",
            format!("{AUTHENTICATION}/db/basic/users/admin"),
            None,
            "User [admin] already exists.",
        ),
        (
            "DELETE",
            format!("{AUTHENTICATION}/db/basic/users/x"),
            None,
            "User [x] does not exist.",
        ),
        (
            "GET",
            format!("{AUTHENTICATION}/db/basic/users/x"),
            None,
            "User [x] does not exist.",
        ),
        (
            "GET",
            format!("{AUTHENTICATION}/db/other/users"),
            None,
            "Basic authenticator with name [other] does not exist.",
        ),
        (
            "GET",
            format!("{AUTHORIZATION}/db/other/users"),
            None,
            "Basic authorizer with name [other] does not exist.",
        ),
        (
            "POST",
            format!("{AUTHORIZATION}/db/basic/users/admin/roles/x"),
            None,
            "Role [x] does not exist.",
        ),
        (
            "POST",
            format!("{AUTHORIZATION}/db/basic/users/admin/roles/admin"),
            None,
            "User [admin] already has role [admin].",
        ),
        (
            "GET",
            format!("{AUTHORIZATION}/db/basic/groupMappings/x"),
            None,
            "Group mapping [x] does not exist.",
        ),
        (
            "POST",
            format!("{AUTHORIZATION}/db/basic/roles/admin/permissions"),
            Some(actions(&[("READ", "DATASOURCE", "a)(b")])),
            "Invalid permission, resource name regex[a)(b] does not compile.",
        ),
        (
            "POST",
            format!("{AUTHENTICATION}/db/basic/users/admin/credentials"),
            Some(json!({ "password": "" })),
            "Cannot assign empty password.",
        ),
    ];
    for (method, path, body, words) in &cases {
        assert_eq!(refused(method, path, body.as_ref()), *words, "{path}");
    }
    let path = format!("{AUTHENTICATION}/db/basic/users/admin/credentials");
    let words = refused("POST", &path, Some(&json!({ "password": ["geheim"] })));
    assert!(!words.contains("geheim"), "{words}");
    assert_eq!(server.get(&ADMIN, "/status").status, 200);
}

#[test]
fn nobody_else_makes_users_or_takes_roles() {
    let server = Secured::start();
    server.user(
        "u",
        "pw",
        &[
            ("READ", "CONFIG", "security"),
            ("WRITE", "DATASOURCE", ".*"),
            ("WRITE", "STATE", "STATE"),
        ],
    );
    server.user("v", "pw", &[("WRITE", "CONFIG", "CONFIG")]);
    let who = As::User("u", "pw");
    assert_eq!(
        server
            .get(&who, &format!("{AUTHORIZATION}/db/basic/users"))
            .status,
        200
    );
    for (method, path) in [
        (
            "POST",
            "/druid-ext/basic-security/authentication/db/basic/users/evil",
        ),
        (
            "POST",
            "/druid-ext/basic-security/authentication/db/basic/users/admin/credentials",
        ),
        (
            "DELETE",
            "/druid-ext/basic-security/authentication/db/basic/users/admin",
        ),
        (
            "POST",
            "/druid-ext/basic-security/authorization/db/basic/users/u/roles/admin",
        ),
        (
            "POST",
            "/druid-ext/basic-security/authorization/db/basic/roles/uRole/permissions",
        ),
        ("POST", "/druid-ext/sarsen/tokens"),
    ] {
        for who in [&who, &As::User("v", "pw")] {
            let refused = server.send(
                who,
                method,
                path,
                Some(&json!({ "password": "x", "identity": "admin" })),
            );
            assert_eq!(
                (refused.status, refused.text.as_str()),
                (403, "Access-Check-Result: Unauthorized"),
                "{path}"
            );
        }
    }
    assert_eq!(
        server
            .get(&As::User("v", "pw"), &format!("{AUTHORIZATION}/db/basic/users"))
            .status,
        403
    );
}

#[test]
fn hashes_and_passwords_are_not_told() {
    let server = Secured::start();
    server.user("u", "u-geheim", &[]);
    for path in [
        format!("{AUTHENTICATION}/db/basic/users/u"),
        format!("{AUTHORIZATION}/db/basic/users/u?full"),
    ] {
        let text = server.get(&ADMIN, &path).text;
        assert!(
            !text.contains("salt") && !text.contains("hash") && !text.contains("geheim"),
            "{text}"
        );
    }
}

#[test]
fn refused_requests_are_in_the_audit_log_and_cannot_fill_it() {
    let server = Secured::start();
    server.user("reader", "reader-geheim", &[("READ", "DATASOURCE", "t")]);
    let reader = As::User("reader", "reader-geheim");
    for _ in 0..20 {
        assert_eq!(server.get(&As::Nobody, "/status?key=geheim").status, 401);
        assert_eq!(
            server
                .get(&As::User("reader", "wrong-geheim"), "/druid/v2/datasources")
                .status,
            401
        );
        assert_eq!(server.get(&reader, "/status").status, 403);
        assert_eq!(
            server
                .submit(
                    &reader,
                    "SELECT * FROM TABLE(INLINE(data => ARRAY['1'], format => 'csv')) (a VARCHAR)"
                )
                .status
                / 100,
            4
        );
    }
    for number in 0..500 {
        assert_eq!(server.get(&As::Nobody, &format!("/druid/{number}")).status, 401);
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    let lines = loop {
        let text = std::fs::read_to_string(&server.audit).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let refused: Vec<Value> = lines
            .into_iter()
            .filter(|line| line["action"] == "refuse")
            .collect();
        let counted: u64 = refused.iter().map(|line| line["count"].as_u64().unwrap()).sum();
        if counted >= 560 {
            assert!(!text.contains("geheim"), "{text}");
            break refused;
        }
        assert!(std::time::Instant::now() < deadline, "{counted}: {text}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    let found = |identity: &str, detail: &str, result: &str| -> u64 {
        let matching = lines.iter().filter(|line| {
            line["identity"] == identity
                && line["detail"] == detail
                && line["result"] == result
                && line["remote"] == "127.0.0.1"
        });
        matching.map(|line| line["count"].as_u64().unwrap()).sum()
    };
    assert_eq!(found("", "GET /status", "401"), 20);
    assert_eq!(found("", "GET /druid/v2/datasources", "401"), 20);
    assert_eq!(found("reader", "GET /status", "403"), 20);
    assert!(lines.len() < 260, "{}", lines.len());
    assert!(
        lines
            .iter()
            .any(|line| line.get("detail").is_none() && line["count"].as_u64().unwrap() > 100),
        "{lines:?}"
    );
}

#[test]
fn every_write_is_in_the_audit_log_with_who_did_it() {
    let server = Secured::start();
    server.user(
        "writer",
        "writer-geheim",
        &[("WRITE", "DATASOURCE", "t"), ("READ", "DATASOURCE", "t")],
    );
    let who = As::User("writer", "writer-geheim");
    let statement = |v: &str| {
        format!("INSERT INTO t SELECT TIME_PARSE('2024-01-01') AS __time, '{v}' AS v PARTITIONED BY ALL")
    };
    let task = server.run_as(&who, &statement("row-geheim"));
    server.send(
        &who,
        "POST",
        &format!("/druid/indexer/v1/task/{task}/shutdown"),
        None,
    );
    assert_eq!(
        server
            .submit(&who, &statement("x").replace("INTO t", "INTO other"))
            .status,
        403
    );
    server.run_as(&who, "SELECT 1");
    let refused = server.send(
        &ADMIN,
        "POST",
        &format!("{AUTHENTICATION}/db/basic/users/writer"),
        None,
    );
    assert_eq!(refused.status, 400);

    let text = std::fs::read_to_string(&server.audit).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let found = |wanted: Value| {
        let matches = |line: &&Value| {
            wanted
                .as_object()
                .unwrap()
                .iter()
                .all(|(name, value)| line.get(name) == Some(value))
        };
        lines.iter().filter(matches).count()
    };
    for (action, result) in [("submit", "accepted"), ("end", "SUCCESS")] {
        let wanted = json!({
            "action": action, "identity": "writer", "task": task, "statement": "INSERT", "datasource": "t", "result": result
        });
        assert_eq!(found(wanted), 1, "{action}: {text}");
    }
    assert_eq!(
        found(json!({ "action": "publish", "task": task, "identity": "writer" })),
        1,
        "{text}"
    );
    assert_eq!(
        found(json!({ "action": "setCredentials", "identity": "admin", "detail": "writer", "result": "ok" })),
        1
    );
    assert_eq!(
        found(json!({ "action": "setPermissions", "identity": "admin" })),
        1
    );
    let refused = json!({ "action": "createAuthenticatorUser", "result": "User [writer] already exists." });
    assert_eq!(found(refused), 1);
    assert!(lines.iter().all(|line| line["time"].is_string()));
    assert_eq!(found(json!({ "remote": "127.0.0.1", "action": "submit" })), 1);
    assert_eq!(found(json!({ "statement": "SELECT" })), 0, "reads are no writes");
    assert!(!text.contains("geheim"), "{text}");
}
