//! The HTTP API as the command line uses it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use reqwest::blocking::{Client as HttpClient, RequestBuilder, Response};
use reqwest::{Certificate, Method};
use sarsen_kernel::secret::Secret;
use serde_json::{Value, json};

use crate::Outcome;

/// A client of a gateway.
pub struct Client {
    http: HttpClient,
    url: String,
    credentials: Option<Credentials>,
}

/// Who asks. Passwords and tokens come from the environment or a file: arguments are for everybody to see.
#[derive(Debug, Clone, Default, Args)]
pub struct Access {
    /// User of the gateway; the password is in SARSEN_PASSWORD.
    #[arg(long, env = "SARSEN_USER", global = true)]
    user: Option<String>,
    /// File with the user's password, rather than SARSEN_PASSWORD.
    #[arg(long, env = "SARSEN_PASSWORD_FILE", global = true)]
    password_file: Option<PathBuf>,
    /// File with a bearer token, rather than SARSEN_TOKEN.
    #[arg(long, env = "SARSEN_TOKEN_FILE", global = true)]
    token_file: Option<PathBuf>,
    /// CA of the gateway's certificate (PEM), where it is not one of the web's.
    #[arg(long, env = "SARSEN_HTTP_CA", global = true)]
    http_ca: Option<PathBuf>,
}

#[derive(Debug, Clone)]
enum Credentials {
    Password { user: String, password: Secret },
    Token(Secret),
}

impl Access {
    fn credentials(&self) -> Outcome<Option<Credentials>> {
        if let Some(token) = secret("SARSEN_TOKEN", self.token_file.as_deref())? {
            return Ok(Some(Credentials::Token(token)));
        }
        let Some(user) = &self.user else {
            return Ok(None);
        };
        let password = secret("SARSEN_PASSWORD", self.password_file.as_deref())?
            .ok_or("a user needs a password: give it in SARSEN_PASSWORD or --password-file")?;
        Ok(Some(Credentials::Password {
            user: user.clone(),
            password,
        }))
    }
}

fn secret(variable: &str, file: Option<&Path>) -> Outcome<Option<Secret>> {
    let Some(file) = file else {
        return Ok(std::env::var(variable).ok().map(Secret::from));
    };
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(Some(text.trim_end_matches(['\n', '\r']).into()))
}

/// Time for one answer.
const TIMEOUT: Duration = Duration::from_secs(60);

impl Client {
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: &str, access: &Access) -> Outcome<Self> {
        let mut http = HttpClient::builder().timeout(TIMEOUT);
        if let Some(ca) = &access.http_ca {
            let pem = std::fs::read(ca).map_err(|error| format!("{}: {error}", ca.display()))?;
            http = http.add_root_certificate(Certificate::from_pem(&pem)?);
        }
        Ok(Client {
            http: http.build()?,
            url: url.trim_end_matches('/').to_owned(),
            credentials: access.credentials()?,
        })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.credentials {
            None => request,
            Some(Credentials::Password { user, password }) => {
                request.basic_auth(user, Some(password.expose()))
            }
            Some(Credentials::Token(token)) => request.bearer_auth(token.expose()),
        }
    }

    /// Submits a statement; answers the task's id, or the rows of an EXPLAIN.
    ///
    /// # Errors
    /// The server's words when it refuses.
    pub fn submit(&self, query: &str, context: &Value) -> Outcome<Submitted> {
        let body = json!({ "query": query, "context": context });
        let answer = self.read(
            self.request(Method::POST, "/druid/v2/sql/task")
                .json(&body)
                .send(),
        )?;
        match answer.get("taskId").and_then(Value::as_str) {
            Some(task_id) => Ok(Submitted::Task(task_id.to_owned())),
            None => Ok(Submitted::Rows(answer)),
        }
    }

    /// # Errors
    /// The server's words when it refuses.
    pub fn get(&self, path: &str) -> Outcome<Value> {
        self.read(self.request(Method::GET, path).send())
    }

    /// # Errors
    /// The server's words when it refuses.
    pub fn post(&self, path: &str) -> Outcome<Value> {
        self.read(self.request(Method::POST, path).send())
    }

    /// The `status` object of a task.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn status(&self, task_id: &str) -> Outcome<Value> {
        let answer = self.get(&format!("/druid/indexer/v1/task/{task_id}/status"))?;
        Ok(answer.get("status").cloned().unwrap_or_default())
    }

    /// The `multiStageQuery.payload` of a task's report.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn report(&self, task_id: &str) -> Outcome<Value> {
        let answer = self.get(&format!("/druid/indexer/v1/task/{task_id}/reports"))?;
        Ok(answer
            .pointer("/multiStageQuery/payload")
            .cloned()
            .unwrap_or_default())
    }

    /// Waits until a query could run.
    ///
    /// # Errors
    /// When that takes longer than `patience`.
    pub fn wait_for_health(&self, patience: Duration) -> Outcome {
        let deadline = Instant::now() + patience;
        loop {
            match self.get("/status/health") {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn read(&self, sent: reqwest::Result<Response>) -> Outcome<Value> {
        let response = sent.map_err(|error| format!("{} cannot be reached: {error}", self.url))?;
        let status = response.status();
        let text = response.text()?;
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if status.is_success() {
            return Ok(body);
        }
        let words = ["/error/errorMessage", "/errorMessage", "/Access-Check-Result"]
            .iter()
            .find_map(|place| body.pointer(place)?.as_str());
        Err(words
            .map_or_else(|| format!("{status}: {body}"), str::to_owned)
            .into())
    }
}

/// What a submission came to.
pub enum Submitted {
    Task(String),
    Rows(Value),
}
