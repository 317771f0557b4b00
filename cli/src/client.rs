//! The HTTP API as the command line uses it.

use std::time::{Duration, Instant};

use reqwest::blocking::{Client as HttpClient, Response};
use serde_json::{Value, json};

use crate::Outcome;

/// A client of a gateway.
pub struct Client {
    http: HttpClient,
    url: String,
}

/// Time for one answer.
const TIMEOUT: Duration = Duration::from_secs(60);

impl Client {
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: &str) -> Outcome<Self> {
        let http = HttpClient::builder().timeout(TIMEOUT).build()?;
        Ok(Client {
            http,
            url: url.trim_end_matches('/').to_owned(),
        })
    }

    /// Submits a statement; answers the task's id, or the rows of an EXPLAIN.
    ///
    /// # Errors
    /// The server's words when it refuses.
    pub fn submit(&self, query: &str, context: &Value) -> Outcome<Submitted> {
        let body = json!({ "query": query, "context": context });
        let answer = self.read(
            self.http
                .post(format!("{}/druid/v2/sql/task", self.url))
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
        self.read(self.http.get(format!("{}{path}", self.url)).send())
    }

    /// # Errors
    /// The server's words when it refuses.
    pub fn post(&self, path: &str) -> Outcome<Value> {
        self.read(self.http.post(format!("{}{path}", self.url)).send())
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
        let words = ["/error/errorMessage", "/errorMessage"]
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
