//! An attacker's tests: for each rule of SECURITY.md, what it is there to keep out.

mod access;
mod nodes;
mod places;
mod secrets;
mod sql;
mod statements;
mod users;

use std::path::PathBuf;
use std::time::Duration;

use reqwest::blocking::{Client, RequestBuilder};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::cluster::{PATIENCE, Standalone};

pub const ADMIN_PASSWORD: &str = "admin-geheim";

/// An answer with everything that may be looked at.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// How a request says who sends it.
#[derive(Clone)]
pub enum As<'a> {
    Nobody,
    User(&'a str, &'a str),
    Token(&'a str),
}

pub const ADMIN: As<'static> = As::User("admin", ADMIN_PASSWORD);

/// A standalone whose HTTP API knows its users.
pub struct Secured {
    pub server: Standalone,
    pub http: Client,
    pub audit: PathBuf,
    _folder: tempfile::TempDir,
}

impl Secured {
    pub fn start() -> Secured {
        Secured::with(&[])
    }

    pub fn with(flags: &[&str]) -> Secured {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        std::fs::write(&password, format!("{ADMIN_PASSWORD}\n")).unwrap();
        let password = format!("@{}", password.display());
        let audit = folder.path().join("audit.log");
        let audit_flag = audit.to_string_lossy().into_owned();
        let mut all = vec![
            "--auth",
            "basic",
            "--initial-admin-password",
            &password,
            "--audit-log",
            &audit_flag,
        ];
        all.extend(flags);
        let server = Standalone::with(&all);
        Secured {
            http: client(),
            server,
            audit,
            _folder: folder,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.api.url)
    }

    pub fn send(&self, who: &As<'_>, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = signed(self.http.request(method, self.url(path)), who);
        if let Some(body) = body {
            request = request.json(body);
        }
        answer(request)
    }

    pub fn get(&self, who: &As<'_>, path: &str) -> Answer {
        self.send(who, "GET", path, None)
    }

    /// A change of users and roles by the administrator.
    pub fn change(&self, method: &str, path: &str, body: Option<&Value>) {
        let changed = self.send(&ADMIN, method, &format!("/druid-ext/basic-security{path}"), body);
        assert_eq!(changed.status, 200, "{method} {path}: {}", changed.text);
    }

    /// A user with a password and one role, who may do what `permissions` say: action, type, name.
    pub fn user(&self, name: &str, password: &str, permissions: &[(&str, &str, &str)]) {
        let authentication = format!("/authentication/db/basic/users/{name}");
        self.change("POST", &authentication, None);
        self.change(
            "POST",
            &format!("{authentication}/credentials"),
            Some(&json!({ "password": password })),
        );
        self.change("POST", &format!("/authorization/db/basic/users/{name}"), None);
        let role = format!("/authorization/db/basic/roles/{name}Role");
        self.change("POST", &role, None);
        self.change(
            "POST",
            &format!("/authorization/db/basic/users/{name}/roles/{name}Role"),
            None,
        );
        self.change(
            "POST",
            &format!("{role}/permissions"),
            Some(&actions(permissions)),
        );
    }

    /// A task; answers the refusal, or its id.
    pub fn submit(&self, who: &As<'_>, query: &str) -> Answer {
        self.send(
            who,
            "POST",
            "/druid/v2/sql/task",
            Some(&json!({ "query": query })),
        )
    }

    /// Runs a task as the administrator; answers its id.
    pub fn run(&self, query: &str) -> String {
        self.run_as(&ADMIN, query)
    }

    pub fn run_as(&self, who: &As<'_>, query: &str) -> String {
        let submitted = self.submit(who, query);
        assert_eq!(submitted.status, 202, "{query}: {}", submitted.text);
        let task = submitted.json()["taskId"].as_str().unwrap().to_owned();
        let status = self.wait(&task);
        assert_eq!(status["status"], "SUCCESS", "{query}: {status}");
        task
    }

    /// Waits for the end of a task; answers its status.
    pub fn wait(&self, task: &str) -> Value {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let status = self
                .get(&ADMIN, &format!("/druid/indexer/v1/task/{task}/status"))
                .json();
            if status["status"]["status"] != "RUNNING" {
                return status["status"].clone();
            }
            assert!(std::time::Instant::now() < deadline, "{task} did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Two tables, `open` and `secret`, of one row each.
    pub fn two_tables(&self) {
        for table in ["open", "secret"] {
            self.run(&format!(
                "REPLACE INTO {table} OVERWRITE ALL SELECT TIME_PARSE('2024-01-01') AS __time, '{table}-row' AS v \
                 PARTITIONED BY ALL"
            ));
        }
    }
}

pub fn client() -> Client {
    Client::builder().timeout(PATIENCE).build().unwrap()
}

pub fn signed(request: RequestBuilder, who: &As<'_>) -> RequestBuilder {
    match who {
        As::Nobody => request,
        As::User(user, password) => request.basic_auth(user, Some(password)),
        As::Token(token) => request.bearer_auth(token),
    }
}

pub fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.text().unwrap(),
    }
}

/// Druid's JSON of permissions.
pub fn actions(permissions: &[(&str, &str, &str)]) -> Value {
    permissions
        .iter()
        .map(|(action, kind, name)| json!({ "resource": { "name": name, "type": kind }, "action": action }))
        .collect()
}
