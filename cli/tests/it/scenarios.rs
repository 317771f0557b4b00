//! Scenarios in YAML: requests with what must be answered. They name nothing of ours but the base URL, so that they can
//! be run against a real Druid as well (`SARSEN_SCENARIOS_URL`).

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::cluster::{Api, Standalone};
use crate::http_source::serve;

#[derive(Debug, Deserialize)]
struct Scenario {
    name: String,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
struct Step {
    /// `METHOD /path`; `{task}` is the id that the last submission answered.
    request: String,
    json: Option<Value>,
    text: Option<String>,
    #[serde(rename = "contentType")]
    content_type: Option<String>,
    status: u16,
    /// What the answer must hold: objects may hold more, texts that begin with `~` are to be contained.
    expect: Option<Value>,
    /// Waits for the end of the task, and compares its status object with this.
    end: Option<Value>,
    /// Compares the task's report payload with this.
    report: Option<Value>,
}

#[test]
fn scenarios_are_answered_as_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let generated = tempfile::tempdir().unwrap();
    let words = placeholders(&folder, generated.path());
    let outside = std::env::var("SARSEN_SCENARIOS_URL").ok();
    let server = outside.is_none().then(Standalone::start);
    let api = match (&server, outside) {
        (Some(server), _) => server.api.clone(),
        (None, url) => Api::new(url.unwrap()),
    };
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(!files.is_empty());
    let mut failures = Vec::new();
    for file in files {
        let mut text = std::fs::read_to_string(&file).unwrap();
        for (word, meaning) in &words {
            text = text.replace(word, meaning);
        }
        let scenarios: Vec<Scenario> =
            serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for scenario in scenarios {
            if let Err(failure) = run(&api, &scenario).and_then(|()| next_works(&api)) {
                failures.push(format!("{}: {}: {failure}", file.display(), scenario.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// What scenarios say in short: folders, a server, lists that are too long to be written down.
fn placeholders(folder: &Path, generated: &Path) -> [(&'static str, String); 5] {
    let hours: String = (0..5_001_i64)
        .map(|hour| format!("{{\"t\":{}}}\n", hour * 3_600_000))
        .collect();
    std::fs::write(generated.join("hours.json"), hours).unwrap();
    let columns: Vec<String> = (0..2_001)
        .map(|number| format!("{number} AS c{number}"))
        .collect();
    [
        ("@DATA@", folder.join("data").to_string_lossy().into_owned()),
        ("@GENERATED@", generated.to_string_lossy().into_owned()),
        ("@HTTP@", serve(HashMap::new())),
        (
            "@NOBODY@",
            format!("http://127.0.0.1:{}", crate::cluster::free_port()),
        ),
        ("@2001_COLUMNS@", columns.join(", ")),
    ]
}

/// Whatever was asked, the server goes on.
fn next_works(api: &Api) -> Result<(), String> {
    match api.rows("SELECT 1 AS x") {
        rows if rows == json!([[1]]) => Ok(()),
        rows => Err(format!("afterwards SELECT 1 is {rows}")),
    }
}

fn run(api: &Api, scenario: &Scenario) -> Result<(), String> {
    let mut task = String::new();
    for (number, step) in scenario.steps.iter().enumerate() {
        let (method, path) = step
            .request
            .split_once(' ')
            .ok_or("a request is `METHOD /path`")?;
        let path = path.replace("{task}", &task);
        let (status, body) = match &step.text {
            Some(text) => {
                let kind = step.content_type.as_deref().unwrap_or("application/json");
                api.send_text(method, &path, kind, text)
            }
            None => api.send(method, &path, step.json.as_ref()),
        };
        let place = format!("step {number} ({})", step.request);
        if status != step.status {
            return Err(format!(
                "{place}: status {status} instead of {}: {body}",
                step.status
            ));
        }
        if let Some(id) = body.get("taskId").and_then(Value::as_str) {
            task = id.to_owned();
        }
        if let Some(expected) = &step.expect {
            contains(&body, expected, "")
                .map_err(|difference| format!("{place}: {difference}\nin {body}"))?;
        }
        if let Some(expected) = &step.end {
            let ended = api.wait(&task);
            contains(&ended, expected, "")
                .map_err(|difference| format!("{place}: {difference}\nin {ended}"))?;
        }
        if let Some(expected) = &step.report {
            let report = api.report(&task);
            contains(&report, expected, "")
                .map_err(|difference| format!("{place}: {difference}\nin {report}"))?;
        }
    }
    Ok(())
}

fn contains(found: &Value, expected: &Value, place: &str) -> Result<(), String> {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            for (key, value) in expected {
                let inside = found
                    .get(key)
                    .ok_or_else(|| format!("{place}/{key} is missing"))?;
                contains(inside, value, &format!("{place}/{key}"))?;
            }
            Ok(())
        }
        (Value::Array(found), Value::Array(expected)) => {
            if found.len() != expected.len() {
                return Err(format!(
                    "{place} has {} elements instead of {}",
                    found.len(),
                    expected.len()
                ));
            }
            let mut pairs = found.iter().zip(expected).enumerate();
            pairs.try_for_each(|(index, (found, expected))| {
                contains(found, expected, &format!("{place}/{index}"))
            })
        }
        (Value::String(found), Value::String(expected)) if expected.starts_with('~') => {
            if found.contains(expected.trim_start_matches('~')) {
                Ok(())
            } else {
                Err(format!(
                    "{place} is {found:?}, which does not contain {:?}",
                    expected.trim_start_matches('~')
                ))
            }
        }
        (found, expected) if found == expected => Ok(()),
        (found, expected) => Err(format!("{place} is {found} instead of {expected}")),
    }
}
