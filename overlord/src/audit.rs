//! The audit log: who wrote what, one line of JSON each, in a file of its own and in the process' log. It holds neither
//! statements nor rows nor anything secret.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use chrono::{SecondsFormat, Utc};
use sarsen_proto::v1;
use serde::Serialize;

use crate::ids::TaskId;

/// Where the lines go.
#[derive(Debug, Default)]
pub(crate) struct AuditLog {
    file: Option<Mutex<File>>,
}

/// One line.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry<'a> {
    /// What was done: `submit`, `publish`, `end`, `shutdown`, `refuse` or a change of users and roles.
    pub(crate) action: &'a str,
    /// Who did it; the user of a task for what the task does.
    pub(crate) identity: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) remote: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) task: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) statement: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) datasource: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) detail: &'a str,
    /// `ok`, `accepted`, `SUCCESS`, `FAILED`, or what refused it.
    pub(crate) result: &'a str,
    /// How often, where several are told at once.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) count: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(flatten)]
    entry: &'a Entry<'a>,
}

impl AuditLog {
    /// Appends to a file that only its owner may read.
    pub(crate) fn open(path: Option<&Path>) -> std::io::Result<AuditLog> {
        let open = |path: &Path| {
            OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(path)
        };
        Ok(AuditLog {
            file: path.map(open).transpose()?.map(Mutex::new),
        })
    }

    pub(crate) fn record(&self, entry: &Entry<'_>) {
        let line = Line {
            time: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
            entry,
        };
        let Ok(mut line) = serde_json::to_string(&line) else {
            return;
        };
        tracing::info!(target: "sarsen::audit", "{line}");
        let Some(file) = &self.file else { return };
        line.push('\n');
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::error!(%error, "the audit log cannot be written");
        }
    }

    /// What happened to a task that writes; nothing for one that only reads.
    pub(crate) fn task(&self, action: &str, spec: &v1::TaskSpec, caller: Option<&v1::Caller>, result: &str) {
        let statement = match spec.kind() {
            v1::StatementKind::Insert => "INSERT",
            v1::StatementKind::Replace => "REPLACE",
            v1::StatementKind::Select | v1::StatementKind::Unspecified => return,
        };
        self.record(&Entry {
            action,
            identity: caller.map_or(&spec.identity, |caller| &caller.identity),
            remote: caller.map_or("", |caller| &caller.remote),
            task: TaskId::of_query(&spec.query_id).as_str(),
            statement,
            datasource: &spec.datasource,
            detail: "",
            result,
            count: 0,
        });
    }
}

/// The code of a task's error: its message may quote rows, and goes to the report alone.
pub(crate) fn code(error: &str) -> &str {
    let code = error.split(':').next().unwrap_or_default();
    if code.len() <= 60 && code.chars().all(char::is_alphanumeric) {
        code
    } else {
        "UnknownError"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lines_are_json_in_a_file_that_only_the_owner_reads() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let spec = v1::TaskSpec {
            query_id: "q".to_owned(),
            sql: "REPLACE geheim".to_owned(),
            identity: "a\"b\nc".to_owned(),
            kind: v1::StatementKind::Replace.into(),
            datasource: "d".to_owned(),
            ..Default::default()
        };
        for _ in 0..2 {
            let log = AuditLog::open(Some(&path)).unwrap();
            log.task("submit", &spec, None, "accepted");
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["identity"], "a\"b\nc");
            assert_eq!(
                (&line["task"], &line["statement"]),
                (&"query-q".into(), &"REPLACE".into())
            );
        }
        assert!(!text.contains("geheim"));
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn only_the_code_of_an_error_is_told() {
        assert_eq!(
            code("CannotParseExternalData: Unable to parse row [geheim]"),
            "CannotParseExternalData"
        );
        assert_eq!(code("no such geheim: x"), "UnknownError");
    }
}
