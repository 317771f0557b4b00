//! What EXTERN may read in a cluster.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::cluster::{Api, Process, free_port};
use crate::http_source;

/// Every role as a process, each with these rules.
struct Cluster {
    folder: tempfile::TempDir,
    api: Api,
    _processes: Vec<Process>,
}

impl Cluster {
    fn start(folder: tempfile::TempDir, allow: &[String]) -> Cluster {
        let (overlord_port, http_port) = (free_port(), free_port());
        let start = |role: &str, flag: &str, port: u16| {
            let at = |path: &str| folder.path().join(path).to_string_lossy().into_owned();
            let mut arguments = vec![role.to_owned(), flag.to_owned(), format!("127.0.0.1:{port}")];
            arguments.extend([
                "--data-dir".to_owned(),
                at(role),
                "--deep-storage".to_owned(),
                at("deep"),
            ]);
            if role != "overlord" {
                arguments.extend([
                    "--overlord".to_owned(),
                    format!("http://127.0.0.1:{overlord_port}"),
                ]);
            }
            arguments.extend(
                allow
                    .iter()
                    .flat_map(|rule| ["--extern-allow".to_owned(), rule.clone()]),
            );
            Process::start(role, folder.path(), &arguments)
        };
        let processes = vec![
            start("overlord", "--grpc-addr", overlord_port),
            start("controller", "--grpc-addr", free_port()),
            start("worker", "--grpc-addr", free_port()),
            start("gateway", "--http-addr", http_port),
        ];
        let api = Api::new(format!("http://127.0.0.1:{http_port}"));
        api.wait_for_health();
        Cluster {
            folder,
            api,
            _processes: processes,
        }
    }

    /// The words of the task's failure; empty when it read the rows.
    fn read(&self, source: &Value) -> String {
        let query =
            format!(r#"SELECT l FROM TABLE(EXTERN('{source}', '{{"type":"json"}}')) EXTEND (l BIGINT)"#);
        let task = self.api.submit(&query, &json!({}));
        let status = self.api.wait(&task);
        status["errorMsg"].as_str().unwrap_or_default().to_owned()
    }
}

fn local(path: &std::path::Path) -> Value {
    json!({ "type": "local", "files": [path.to_string_lossy()] })
}

fn http(url: &str) -> Value {
    json!({ "type": "http", "uris": [url] })
}

#[test]
fn a_cluster_reads_nothing_from_outside_that_is_not_listed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.json"), "{\"l\":1}\n").unwrap();
    let url = http_source::serve(HashMap::from([("/a.json".to_owned(), b"{\"l\":1}\n".to_vec())]));
    let cluster = Cluster::start(folder, &[]);
    let file = cluster.folder.path().join("a.json");
    for source in [
        local(&file),
        local("/etc/passwd".as_ref()),
        json!({ "type": "local", "baseDir": cluster.folder.path().to_string_lossy(), "filter": "*.json" }),
        http(&format!("{url}/a.json")),
        http("http://localhost/a.json"),
        http("http://169.254.169.254/latest/meta-data"),
        http("http://example.com/a.json"),
    ] {
        let words = cluster.read(&source);
        assert!(words.contains("--extern-allow"), "{source}: {words}");
    }
    assert_eq!(
        cluster.read(&json!({ "type": "inline", "data": "{\"l\":1}" })),
        ""
    );
}

#[test]
fn a_listed_prefix_opens_itself_and_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["data", "database"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join("a.json"), "{\"l\":1}\n").unwrap();
    }
    let data = folder.path().join("data");
    std::os::unix::fs::symlink(folder.path().join("database"), data.join("link")).unwrap();
    let body = b"{\"l\":1}\n".to_vec();
    let paths = ["/pub/a.json", "/public/a.json", "/a.json"].map(|path| (path.to_owned(), body.clone()));
    let url = http_source::serve(HashMap::from(paths));
    let port = url.rsplit_once(':').unwrap().1.to_owned();
    let allow = [format!("local:{}", data.display()), format!("{url}/pub/")];
    let cluster = Cluster::start(folder, &allow);

    assert_eq!(cluster.read(&local(&data.join("a.json"))), "");
    assert_eq!(cluster.read(&http(&format!("{url}/pub/a.json"))), "");
    assert_eq!(
        cluster.read(&http(&format!("http://2130706433:{port}/pub/a.json"))),
        ""
    );
    for path in ["database/a.json", "data/../database/a.json", "data/link/a.json"] {
        let words = cluster.read(&local(&cluster.folder.path().join(path)));
        assert!(words.contains("--extern-allow"), "{path}: {words}");
    }
    for denied in [
        format!("{url}/a.json"),
        format!("{url}/public/a.json"),
        format!("{url}/pub/../a.json"),
        format!("{url}/pub/%2e%2e/a.json"),
        format!("http://localhost:{port}/pub/a.json"),
        format!("http://127.0.0.1:{port}@localhost:{port}/pub/a.json"),
        format!("http://[::1]:{port}/pub/a.json"),
        format!("http://[::ffff:127.0.0.1]:{port}/pub/a.json"),
    ] {
        let words = cluster.read(&http(&denied));
        assert!(words.contains("--extern-allow"), "{denied}: {words}");
    }
}
