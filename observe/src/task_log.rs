//! What a process logs of one task, kept as text for whoever asks for the task's log.
//!
//! Lines are those that are logged inside of the span `task` with the field `query`, if somebody has opened a log for that
//! query before. Whatever `--log` says, they are those of INFO and above, and those of the controller down to DEBUG.

use std::collections::{HashMap, VecDeque};
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Bytes of the first lines, which stay, and of the last ones.
const FIRST: usize = 256 << 10;
const LAST: usize = 768 << 10;

type Logs = Mutex<Option<HashMap<String, Arc<Mutex<Lines>>>>>;

/// Open logs, by query id.
static LOGS: Logs = Mutex::new(None);

fn logs() -> MutexGuard<'static, Option<HashMap<String, Arc<Mutex<Lines>>>>> {
    LOGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lines of one task: the first ones, and of the others the last.
#[derive(Debug, Default)]
struct Lines {
    first: String,
    last: VecDeque<String>,
    last_bytes: usize,
    left_out: u64,
}

impl Lines {
    fn push(&mut self, line: String) {
        if self.last.is_empty() && self.first.len() + line.len() <= FIRST {
            self.first.push_str(&line);
            return;
        }
        self.last_bytes += line.len();
        self.last.push_back(line);
        while self.last_bytes > LAST {
            let Some(oldest) = self.last.pop_front() else {
                break;
            };
            self.last_bytes -= oldest.len();
            self.left_out += 1;
        }
    }

    fn text(&self) -> String {
        let mut text = self.first.clone();
        if self.left_out > 0 {
            let _ = writeln!(text, "... {} lines are left out here ...", self.left_out);
        }
        text.extend(self.last.iter().map(String::as_str));
        text
    }
}

/// A task's log, which is kept as long as this is.
#[derive(Debug, Clone)]
pub struct TaskLog(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    query: String,
    lines: Arc<Mutex<Lines>>,
}

impl TaskLog {
    /// Keeps what is logged of a query in spans that begin after this.
    pub fn open(query: &str) -> TaskLog {
        let lines = Arc::default();
        logs()
            .get_or_insert_default()
            .insert(query.to_owned(), Arc::clone(&lines));
        TaskLog(Arc::new(Opened {
            query: query.to_owned(),
            lines,
        }))
    }

    /// The lines so far.
    pub fn text(&self) -> String {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).text()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut logs = logs();
        let Some(open) = logs.as_mut() else { return };
        // Another run of the same query may have its own by now.
        if open
            .get(&self.query)
            .is_some_and(|lines| Arc::ptr_eq(lines, &self.lines))
        {
            open.remove(&self.query);
        }
    }
}

/// What the layer is asked about.
pub fn is_kept(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let least = if target.starts_with("sarsen_controller") {
        Level::DEBUG
    } else {
        Level::INFO
    };
    target.starts_with("sarsen") && *metadata.level() <= least
}

/// Writes lines into the logs that are open.
#[derive(Debug, Clone, Copy)]
pub struct KeepTaskLogs;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for KeepTaskLogs {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != "task" {
            return;
        }
        let mut query = Query(None);
        attributes.record(&mut query);
        let lines = query.0.and_then(|query| logs().as_ref()?.get(&query).cloned());
        if let (Some(lines), Some(span)) = (lines, context.span(id)) {
            span.extensions_mut().insert(lines);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut scope = context.event_scope(event).into_iter().flatten();
        let lines = scope.find_map(|span| span.extensions().get::<Arc<Mutex<Lines>>>().cloned());
        let Some(lines) = lines else { return };
        let mut line = String::new();
        let _ = SystemTime.format_time(&mut Writer::new(&mut line));
        let metadata = event.metadata();
        let _ = write!(line, " {} [{}]", metadata.level(), metadata.target());
        event.record(&mut Fields(&mut line));
        // A line is a line, whatever a message holds.
        let mut line = line.replace('\n', "\\n");
        line.push('\n');
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

struct Query(Option<String>);

impl Visit for Query {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "query" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

/// The message first, as it comes; then the fields.
struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value}"),
            name => write!(self.0, " {name}={value}"),
        };
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_log_has_the_lines_of_its_task_alone() {
        let log = TaskLog::open("q1");
        let subscriber = tracing_subscriber::registry().with(KeepTaskLogs);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("outside");
            let own = tracing::info_span!("task", query = "q1");
            own.in_scope(|| tracing::info!(stage = 1, "inside\nof it"));
            tracing::info_span!("task", query = "q2").in_scope(|| tracing::info!("of another"));
        });
        let text = log.text();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.contains("INFO") && text.contains("inside\\nof it stage=1"),
            "{text}"
        );
        drop(log);
        assert!(logs().as_ref().is_none_or(|open| !open.contains_key("q1")));
    }

    #[test]
    fn a_long_log_keeps_its_beginning_and_its_end() {
        let mut lines = Lines::default();
        for number in 0..50_000 {
            lines.push(format!("line {number:06} {}\n", "x".repeat(80)));
        }
        let text = lines.text();
        assert!(text.len() < FIRST + LAST + 200, "{}", text.len());
        assert!(text.starts_with("line 000000") && text.contains("lines are left out"));
        assert!(
            text.trim_end()
                .lines()
                .last()
                .is_some_and(|line| line.starts_with("line 049999"))
        );
    }
}
