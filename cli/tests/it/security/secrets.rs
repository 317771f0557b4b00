//! Rows and secrets stay where they belong.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{ADMIN, ADMIN_PASSWORD, Secured};
use crate::cluster::{PATIENCE, Process, Standalone, walk};
use crate::http_source;

#[test]
fn rows_and_secrets_are_in_no_log_and_no_report() {
    let server = Secured::start();
    let body = b"{\"l\":\"row-geheim-1\"}\nnot json row-geheim-2\n".to_vec();
    let url = http_source::serve(std::collections::HashMap::from([("/a".to_owned(), body)]));
    let with_user = url.replace("http://", "http://u:url-geheim@");
    for (number, uri) in [
        format!("{url}/a"),
        format!("{with_user}/a"),
        format!("{with_user}/absent"),
    ]
    .iter()
    .enumerate()
    {
        let source = json!({
            "type": "http", "uris": [uri], "httpAuthenticationUsername": "u",
            "httpAuthenticationPassword": "source-geheim", "requestHeaders": { "X-Key": "header-geheim" }
        });
        let query = format!(
            "INSERT INTO t{number} SELECT TIME_PARSE('2024-01-01') AS __time, l FROM \
             TABLE(EXTERN('{source}', '{{\"type\":\"json\"}}')) EXTEND (l VARCHAR) PARTITIONED BY ALL"
        );
        let submitted = server.submit(&ADMIN, &query);
        assert_eq!(submitted.status, 202, "{}", submitted.text);
        let task = submitted.json()["taskId"].as_str().unwrap().to_owned();
        server.wait(&task);
        for path in ["", "/status", "/reports", "/log"] {
            let text = server
                .get(&ADMIN, &format!("/druid/indexer/v1/task/{task}{path}"))
                .text;
            for secret in ["source-geheim", "header-geheim", "url-geheim"] {
                assert!(!text.contains(secret), "{secret} in {path}: {text}");
            }
        }
        let explained = server.submit(&ADMIN, &format!("EXPLAIN PLAN FOR {query}")).text;
        assert!(!explained.contains("geheim"), "{explained}");
    }
    let log = server.server.process.log_text();
    assert!(log.contains("task failed") || log.contains("task ended"), "{log}");
    let audit = std::fs::read_to_string(&server.audit).unwrap();
    for text in [&log, &audit] {
        for secret in ["geheim", ADMIN_PASSWORD] {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} is in a log");
        }
    }
}

#[test]
fn even_the_finest_logs_hold_neither_rows_nor_passwords() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, ADMIN_PASSWORD).unwrap();
    let log = folder.path().join("log");
    let port = crate::cluster::free_port();
    let address = format!("127.0.0.1:{port}");
    let mut child = Command::new(env!("CARGO_BIN_EXE_sarsen"))
        .args([
            "standalone",
            "--http-addr",
            &address,
            "--auth",
            "basic",
            "--data-dir",
        ])
        .arg(folder.path().join("data"))
        .env("SARSEN_INITIAL_ADMIN_PASSWORD", ADMIN_PASSWORD)
        .env("SARSEN_LOG", "trace")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let api = crate::cluster::Api::new(format!("http://{address}"));
    api.wait_for_health();
    let http = super::client();
    let query = "SELECT a FROM TABLE(EXTERN('{\"type\":\"inline\",\"data\":\"row-geheim\\n\\\"broken-geheim\"}', \
                 '{\"type\":\"csv\",\"columns\":[\"a\"]}')) EXTEND (a VARCHAR)";
    let request = http
        .post(format!("http://{address}/druid/v2/sql"))
        .json(&json!({ "query": query }));
    let answered = super::answer(super::signed(request, &ADMIN));
    let token = http
        .post(format!("http://{address}/druid-ext/sarsen/tokens"))
        .json(&json!({ "identity": "admin" }));
    let token = super::answer(super::signed(token, &ADMIN)).json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let with_token = http.get(format!("http://{address}/status"));
    assert_eq!(
        super::answer(super::signed(with_token, &super::As::Token(&token))).status,
        200
    );
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        answered.status == 200 || answered.status == 400,
        "{}",
        answered.text
    );
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(
        text.contains("TRACE") || text.contains("DEBUG"),
        "the log is not fine"
    );
    for secret in ["row-geheim", "broken-geheim", ADMIN_PASSWORD, &token, "YWRtaW46"] {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in the log");
    }
}

#[test]
fn ps_shows_no_password() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "overlord",
        "--grpc-addr",
        "127.0.0.1:0",
        "--metadata",
        "postgres://u:pg-geheim@127.0.0.1:1/d",
        "--initial-admin-password",
        "admin-geheim",
    ]
    .map(str::to_owned);
    let process = Process::start("overlord", folder.path(), &arguments);
    let deadline = Instant::now() + PATIENCE;
    let mut seen = String::new();
    while !seen.contains("overlord") || seen.contains("geheim") {
        assert!(Instant::now() < deadline, "{seen}");
        std::thread::sleep(Duration::from_millis(10));
        let Some(line) = command_line(process.id()) else {
            break;
        };
        seen = line;
    }
    assert!(seen.contains("overlord") && !seen.contains("geheim"), "{seen}");
    while !process.log_text().contains("127.0.0.1:1") {
        assert!(Instant::now() < deadline, "{}", process.log_text());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!process.log_text().contains("geheim"), "{}", process.log_text());
}

fn command_line(pid: u32) -> Option<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&line).replace('\0', " "))
}

#[test]
fn stored_passwords_and_tokens_are_hashes() {
    let server = Secured::start();
    server.user("u", "stored-geheim", &[]);
    let made = server
        .send(
            &ADMIN,
            "POST",
            "/druid-ext/sarsen/tokens",
            Some(&json!({ "identity": "u" })),
        )
        .json();
    let token = made["token"].as_str().unwrap().as_bytes().to_vec();
    let mut files = Vec::new();
    walk(server.server.path(), &mut files);
    assert!(files.iter().any(|file| file.ends_with("metadata.db")));
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        for secret in [b"stored-geheim".as_slice(), ADMIN_PASSWORD.as_bytes(), &token] {
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "a secret is in {}", file.display());
        }
    }
}

#[test]
fn standalone_stays_open_unless_it_is_told_otherwise() {
    let server = Standalone::start();
    assert_eq!(server.api.rows("SELECT 1 AS one"), json!([[1]]));
    assert_eq!(server.api.send("GET", "/status", None).0, 200);
    let (status, users) = server.api.send(
        "GET",
        "/druid-ext/basic-security/authorization/db/basic/users",
        None,
    );
    assert_eq!((status, users), (200, json!([])));
}
