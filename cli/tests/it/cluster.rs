//! Processes on loopback, ended with the test.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub use crate::ports::free_port;

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The binary under test: `SARSEN_BIN`, where a release build is to be measured, or the one that was built with the tests.
fn binary() -> PathBuf {
    std::env::var_os("SARSEN_BIN").map_or_else(|| env!("CARGO_BIN_EXE_sarsen").into(), PathBuf::from)
}

/// A process that is killed when it is dropped.
pub struct Process {
    child: Child,
    pub log: PathBuf,
}

impl Process {
    pub fn start(name: &str, folder: &Path, arguments: &[String]) -> Self {
        Process::start_with(name, folder, arguments, &[])
    }

    /// With more environment variables.
    pub fn start_with(name: &str, folder: &Path, arguments: &[String], variables: &[(&str, &str)]) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let child = Command::new(binary())
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Process { child, log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A signal by its name, such as `STOP` and `CONT` for a process that is there and does nothing.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// SIGTERM; answers the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        self.signal("TERM");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(
                Instant::now() < deadline,
                "the process did not end:\n{}",
                self.log_text()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Numbers that follow `field` in the log.
    pub fn numbers_logged(&self, field: &str) -> Vec<u64> {
        let log = self.log_text();
        let digits = |rest: &str| {
            rest.chars()
                .take_while(char::is_ascii_digit)
                .collect::<String>()
                .parse()
        };
        log.split(field)
            .skip(1)
            .filter_map(|rest| digits(rest).ok())
            .collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The HTTP API.
#[derive(Clone)]
pub struct Api {
    http: reqwest::blocking::Client,
    pub url: String,
}

impl Api {
    pub fn new(url: String) -> Self {
        let http = reqwest::blocking::Client::builder()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Api::with(http, url)
    }

    pub fn with(http: reqwest::blocking::Client, url: String) -> Self {
        Api { http, url }
    }

    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answer(request)
    }

    pub fn send_text(&self, method: &str, path: &str, content_type: &str, body: &str) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http.request(method, format!("{}{path}", self.url));
        self.answer(request.header("Content-Type", content_type).body(body.to_owned()))
    }

    fn answer(&self, request: reqwest::blocking::RequestBuilder) -> (u16, Value) {
        let response = request.send().unwrap();
        let status = response.status().as_u16();
        let text = response.text().unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub fn wait_for_health(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(response) = self.http.get(format!("{}/status/health", self.url)).send()
                && response.status().is_success()
            {
                return;
            }
            assert!(Instant::now() < deadline, "{} did not become healthy", self.url);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn submit(&self, query: &str, context: &Value) -> String {
        let (status, body) = self.send(
            "POST",
            "/druid/v2/sql/task",
            Some(&json!({ "query": query, "context": context })),
        );
        assert_eq!(status, 202, "{body}");
        body["taskId"].as_str().unwrap().to_owned()
    }

    pub fn status(&self, task_id: &str) -> Value {
        let (status, body) = self.send("GET", &format!("/druid/indexer/v1/task/{task_id}/status"), None);
        assert_eq!(status, 200, "{body}");
        body["status"].clone()
    }

    pub fn report(&self, task_id: &str) -> Value {
        let (status, body) = self.send("GET", &format!("/druid/indexer/v1/task/{task_id}/reports"), None);
        assert_eq!(status, 200, "{body}");
        body["multiStageQuery"]["payload"].clone()
    }

    pub fn wait(&self, task_id: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status(task_id);
            if status["status"] != "RUNNING" {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "task {task_id} did not end: {}",
                self.report(task_id)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs a task that must succeed; answers its report.
    pub fn run(&self, query: &str, context: &Value) -> Value {
        let task_id = self.submit(query, context);
        let status = self.wait(&task_id);
        assert_eq!(status["status"], "SUCCESS", "{query}\n{status}");
        self.report(&task_id)
    }

    /// Rows of a synchronous SELECT.
    pub fn rows(&self, query: &str) -> Value {
        let body = json!({ "query": query, "resultFormat": "array" });
        let (status, rows) = self.send("POST", "/druid/v2/sql", Some(&body));
        assert_eq!(status, 200, "{query}\n{rows}");
        rows
    }
}

/// Every role as a process of its own.
pub struct Cluster {
    pub folder: tempfile::TempDir,
    pub api: Api,
    pub overlord: Process,
    pub controllers: Vec<Process>,
    pub workers: Vec<Process>,
    pub gateway: Process,
    commands: Vec<(String, Vec<String>)>,
}

impl Cluster {
    /// The gateway first and the Overlord last: roles wait for each other.
    pub fn start(controllers: usize, workers: usize) -> Self {
        Self::with(controllers, workers, |_| Vec::new())
    }

    /// With more flags for each process, by its name.
    pub fn with(controllers: usize, workers: usize, more: impl Fn(&str) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (overlord_port, http_port) = (free_port(), free_port());
        let mut cluster_commands: Vec<(String, Vec<String>)> = Vec::new();
        let mut command = |name: String, own: Vec<String>| {
            let at = |path: &str| folder.path().join(path).to_string_lossy().into_owned();
            let mut arguments = own;
            arguments.extend(["--data-dir".to_owned(), at(&name)]);
            arguments.extend(["--deep-storage".to_owned(), at("deep-storage")]);
            arguments.extend(["--spill-dir".to_owned(), at(&format!("{name}/spill"))]);
            arguments.extend(["--extern-allow", "/", "--extern-allow", "http://"].map(str::to_owned));
            arguments.extend(more(&name));
            let process = Process::start(&name, folder.path(), &arguments);
            cluster_commands.push((name, arguments));
            process
        };
        let overlord = format!("http://127.0.0.1:{overlord_port}");
        let role = |role: &str, address_flag: &str, port: u16| {
            let mut arguments = vec![
                role.to_owned(),
                address_flag.to_owned(),
                format!("127.0.0.1:{port}"),
            ];
            if role != "overlord" {
                arguments.extend(["--overlord".to_owned(), overlord.clone()]);
            }
            arguments
        };
        let gateway = command("gateway".to_owned(), role("gateway", "--http-addr", http_port));
        let workers = (0..workers)
            .map(|number| {
                let mut arguments = role("worker", "--grpc-addr", free_port());
                arguments.extend(["--slots", "8", "--memory-limit", "1G"].map(str::to_owned));
                command(format!("worker{number}"), arguments)
            })
            .collect();
        let controllers = (0..controllers)
            .map(|number| {
                command(
                    format!("controller{number}"),
                    role("controller", "--grpc-addr", free_port()),
                )
            })
            .collect();
        let overlord = command(
            "overlord".to_owned(),
            role("overlord", "--grpc-addr", overlord_port),
        );
        let api = Api::new(format!("http://127.0.0.1:{http_port}"));
        api.wait_for_health();
        Cluster {
            api,
            overlord,
            controllers,
            workers,
            gateway,
            commands: cluster_commands,
            folder,
        }
    }

    /// What other roles are given as `--overlord`.
    pub fn overlord_address(&self) -> String {
        let arguments = self.commands.iter().flat_map(|(_, arguments)| arguments);
        let mut arguments = arguments.skip_while(|argument| *argument != "--overlord");
        arguments.nth(1).unwrap().clone()
    }

    /// Starts a process again that was killed, with the same arguments.
    pub fn restart(&self, name: &str) -> Process {
        self.restart_with(name, &[])
    }

    /// The same, as a process that says it is of another version.
    pub fn restart_as(&self, name: &str, version: &str) -> Process {
        self.restart_with(name, &[(sarsen_proto::version::ANNOUNCED_VARIABLE, version)])
    }

    fn restart_with(&self, name: &str, variables: &[(&str, &str)]) -> Process {
        let (_, arguments) = self.commands.iter().find(|(known, _)| known == name).unwrap();
        Process::start_with(name, self.folder.path(), arguments, variables)
    }

    /// Names of the processes that take gRPC calls, by their ports.
    pub fn grpc_ports(&self) -> BTreeMap<u16, String> {
        let port = |arguments: &[String]| {
            let flag = arguments.iter().position(|argument| argument == "--grpc-addr")?;
            arguments[flag + 1].rsplit_once(':')?.1.parse().ok()
        };
        self.commands
            .iter()
            .filter_map(|(name, arguments)| Some((port(arguments)?, name.clone())))
            .collect()
    }

    /// Names and process ids.
    pub fn processes(&self) -> Vec<(String, u32)> {
        let numbered = |role: &'static str, processes: &[Process]| {
            let named = processes.iter().enumerate();
            named
                .map(|(number, process)| (format!("{role}{number}"), process.id()))
                .collect::<Vec<_>>()
        };
        let mut all = numbered("worker", &self.workers);
        all.extend(numbered("controller", &self.controllers));
        all.push(("overlord".to_owned(), self.overlord.id()));
        all.push(("gateway".to_owned(), self.gateway.id()));
        all
    }

    /// Files below any spill folder.
    pub fn spilled_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for (name, _) in &self.commands {
            walk(&self.folder.path().join(name).join("spill"), &mut files);
        }
        files
    }

    /// Segment files on disk that no published segment names.
    pub fn unpublished_files(&self, datasource: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        walk(
            &self.folder.path().join("deep-storage").join(datasource),
            &mut files,
        );
        let published = self.published_paths();
        files.retain(|file| !published.iter().any(|path| file.ends_with(path)));
        files
    }

    fn published_paths(&self) -> Vec<String> {
        let metadata = self.folder.path().join("overlord/metadata.db");
        let script = "import sqlite3,sys,json\n\
            for (p,) in sqlite3.connect(sys.argv[1]).execute('select payload from druid_segments'):\n\
            \x20 print(json.loads(p)['loadSpec']['path'])";
        let output = Command::new("python3")
            .args(["-c", script])
            .arg(metadata)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

/// Adds all files below a folder.
pub fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            walk(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}

/// Every role in one process.
pub struct Standalone {
    pub api: Api,
    pub process: Process,
    folder: tempfile::TempDir,
}

impl Standalone {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With more flags.
    pub fn with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data").to_string_lossy().into_owned();
        let mut own = vec!["--data-dir", data.as_str()];
        own.extend(flags);
        let own: Vec<String> = own.iter().map(|flag| (*flag).to_owned()).collect();
        Self::in_folder(folder, own)
    }

    /// With flags that say where its data are.
    pub fn with_own_data(flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self::in_folder(tempfile::tempdir().unwrap(), flags)
    }

    fn in_folder(folder: tempfile::TempDir, flags: Vec<String>) -> Self {
        let port = free_port();
        let mut arguments = vec![
            "standalone".to_owned(),
            "--http-addr".to_owned(),
            format!("127.0.0.1:{port}"),
            "--slots".to_owned(),
            "8".to_owned(),
        ];
        arguments.extend(flags);
        let process = Process::start("standalone", folder.path(), &arguments);
        let api = Api::new(format!("http://127.0.0.1:{port}"));
        api.wait_for_health();
        Standalone { api, process, folder }
    }

    /// What it keeps is below `data` here.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Writes `rows` events over `days` days to a JSON file; answers SQL that reads them.
pub fn events(folder: &Path, rows: u32, days: u32) -> String {
    use std::io::Write;
    let path = folder.join("events.json");
    let mut file = std::io::BufWriter::new(File::create(&path).unwrap());
    for row in 0..rows {
        let day = row % days + 1;
        writeln!(
            file,
            r#"{{"t":"2024-01-{day:02}T{:02}:00:00Z","k":"key{}","n":{row},"x":{}.5}}"#,
            row % 24,
            row % 997,
            row % 10
        )
        .unwrap();
    }
    file.flush().unwrap();
    format!(
        "TABLE(EXTERN('{}', '{{\"type\":\"json\"}}')) EXTEND (t VARCHAR, k VARCHAR, n BIGINT, x DOUBLE)",
        json!({ "type": "local", "files": [path.to_string_lossy()] })
    )
}
