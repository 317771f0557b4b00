//! Nodes show each other certificates; the HTTP API has one.

use std::path::Path;
use std::process::Command;

use sarsen_proto::membership::overlord;
use sarsen_proto::tls::TlsOptions;
use sarsen_proto::transport::Network;
use sarsen_proto::v1;
use sarsen_proto::v1::worker_client::WorkerClient;
use serde_json::json;
use tonic::{Code, Status};

use super::{answer, client};
use crate::cluster::{Api, Process, events, free_port};

fn ca(arguments: &[&str]) {
    let made = Command::new(env!("CARGO_BIN_EXE_sarsen"))
        .arg("ca")
        .args(arguments)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn tls(folder: &Path, name: &str) -> TlsOptions {
    TlsOptions {
        tls_cert: Some(folder.join(format!("{name}.pem"))),
        tls_key: Some(folder.join(format!("{name}.key"))),
        tls_ca: Some(folder.join("ca.pem")),
    }
}

/// A cluster whose nodes talk TLS, and whose HTTP API does.
struct TlsCluster {
    folder: tempfile::TempDir,
    overlord: String,
    worker: String,
    url: String,
    api: reqwest::blocking::Client,
    _processes: Vec<Process>,
}

impl TlsCluster {
    fn start() -> TlsCluster {
        let folder = tempfile::tempdir().unwrap();
        let certificates = folder.path().join("ca");
        ca(&["init", certificates.to_str().unwrap()]);
        let (overlord_port, worker_port, http_port) = (free_port(), free_port(), free_port());
        let overlord = format!("https://127.0.0.1:{overlord_port}");
        let start = |name: &str, role: &str, own: &[&str]| {
            let at = |path: &str| folder.path().join(path).to_string_lossy().into_owned();
            let certificate = |ending: &str| {
                certificates
                    .join(format!("{role}.{ending}"))
                    .to_string_lossy()
                    .into_owned()
            };
            let mut arguments = vec![role.to_owned()];
            for (flag, value) in [
                ("--data-dir", at(name)),
                ("--deep-storage", at("deep-storage")),
                ("--extern-allow", "/".to_owned()),
                ("--tls-cert", certificate("pem")),
                ("--tls-key", certificate("key")),
                (
                    "--tls-ca",
                    certificates.join("ca.pem").to_string_lossy().into_owned(),
                ),
            ] {
                arguments.extend([flag.to_owned(), value]);
            }
            if role != "overlord" {
                arguments.extend(["--overlord".to_owned(), overlord.clone()]);
            }
            if role == "gateway" {
                let files = [
                    ("--http-tls-cert", certificate("pem")),
                    ("--http-tls-key", certificate("key")),
                ];
                arguments.extend(
                    files
                        .into_iter()
                        .flat_map(|(flag, value)| [flag.to_owned(), value]),
                );
            }
            arguments.extend(own.iter().map(|argument| (*argument).to_owned()));
            Process::start(name, folder.path(), &arguments)
        };
        let address = |port: u16| format!("127.0.0.1:{port}");
        let processes = vec![
            start("overlord", "overlord", &["--grpc-addr", &address(overlord_port)]),
            start(
                "controller",
                "controller",
                &["--grpc-addr", &address(free_port())],
            ),
            start(
                "worker0",
                "worker",
                &["--grpc-addr", &address(worker_port), "--memory-limit", "1G"],
            ),
            start(
                "worker1",
                "worker",
                &["--grpc-addr", &address(free_port()), "--memory-limit", "1G"],
            ),
            start("gateway", "gateway", &["--http-addr", &address(http_port)]),
        ];
        let pem = std::fs::read(certificates.join("ca.pem")).unwrap();
        let api = reqwest::blocking::Client::builder()
            .add_root_certificate(reqwest::Certificate::from_pem(&pem).unwrap())
            .build()
            .unwrap();
        let cluster = TlsCluster {
            url: format!("https://127.0.0.1:{http_port}"),
            worker: format!("https://127.0.0.1:{worker_port}"),
            overlord,
            api,
            folder,
            _processes: processes,
        };
        Api::with(cluster.api.clone(), cluster.url.clone()).wait_for_health();
        cluster
    }

    fn certificates(&self) -> std::path::PathBuf {
        self.folder.path().join("ca")
    }
}

/// Calls with certificates; answers how the server took each.
struct Caller(tokio::runtime::Runtime, Network);

impl Caller {
    fn new(options: &TlsOptions) -> Caller {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let network = Network::with_tls(options.load().unwrap());
        Caller(runtime, network)
    }

    fn list_nodes(&self, address: &str) -> Result<(), Status> {
        self.0.block_on(async {
            let mut client =
                overlord(&self.1, address).map_err(|error| Status::invalid_argument(error.to_string()))?;
            let call = client.list_nodes(v1::Empty {});
            let called = tokio::time::timeout(std::time::Duration::from_secs(20), call).await;
            called
                .unwrap_or_else(|_| Err(Status::unavailable("no answer")))
                .map(|_| ())
        })
    }

    fn publish(&self, address: &str) -> Status {
        self.0.block_on(async {
            let mut client = overlord(&self.1, address).unwrap();
            client.publish(v1::PublishRequest::default()).await.unwrap_err()
        })
    }

    fn heartbeat(&self, address: &str, role: v1::Role) -> Result<(), Status> {
        self.0.block_on(async {
            let node = v1::Node {
                node_id: "evil".to_owned(),
                role: role.into(),
                address: "https://127.0.0.1:1".to_owned(),
                version: sarsen_proto::version::VERSION.to_owned(),
                slots: 1,
                ..Default::default()
            };
            let mut client = overlord(&self.1, address).unwrap();
            client
                .heartbeat(v1::HeartbeatRequest { node: Some(node) })
                .await
                .map(|_| ())
        })
    }

    fn run_task(&self, address: &str) -> Status {
        self.0.block_on(async {
            let mut client = WorkerClient::new(self.1.streaming_channel(address).unwrap());
            let nothing = tokio_stream::empty::<v1::WorkerCommand>();
            client.run_task(nothing).await.unwrap_err()
        })
    }
}

#[test]
fn a_cluster_of_certificates_works_and_keeps_others_out() {
    let cluster = TlsCluster::start();
    let certificates = cluster.certificates();
    let source = events(cluster.folder.path(), 5_000, 3);
    let api = Api::with(cluster.api.clone(), cluster.url.clone());
    let insert =
        format!("INSERT INTO e SELECT TIME_PARSE(t) AS __time, k, n FROM {source} PARTITIONED BY DAY");
    api.run(&insert, &json!({ "maxNumTasks": 3 }));
    let counted = api.run(
        "SELECT COUNT(*), SUM(n) FROM e GROUP BY n, k",
        &json!({ "maxNumTasks": 3 }),
    );
    assert_eq!(counted["status"]["status"], "SUCCESS");
    assert_eq!(
        api.rows("SELECT COUNT(*), SUM(n) FROM e"),
        json!([[5_000, 12_497_500]])
    );

    // The right CA and the right role.
    Caller::new(&tls(&certificates, "gateway"))
        .list_nodes(&cluster.overlord)
        .unwrap();
    // No certificate: neither in plain nor over TLS.
    let plain = Caller::new(&TlsOptions::default());
    let refused = plain.list_nodes(&cluster.overlord).unwrap_err();
    assert!(refused.message().contains("--tls-cert"), "{refused}");
    assert!(
        plain
            .list_nodes(&cluster.overlord.replace("https", "http"))
            .is_err()
    );
    // A certificate of another CA, of one's own making.
    let foreign = cluster.folder.path().join("foreign");
    ca(&["init", foreign.to_str().unwrap()]);
    assert!(
        Caller::new(&tls(&foreign, "gateway"))
            .list_nodes(&cluster.overlord)
            .is_err()
    );
    let trusting = TlsOptions {
        tls_ca: Some(certificates.join("ca.pem")),
        ..tls(&foreign, "gateway")
    };
    assert!(Caller::new(&trusting).list_nodes(&cluster.overlord).is_err());
    // One that has expired, and one for no role.
    let dir = certificates.to_str().unwrap();
    ca(&[
        "issue", "expired", "--dir", dir, "--role", "gateway", "--days", "0",
    ]);
    assert!(
        Caller::new(&tls(&certificates, "expired"))
            .list_nodes(&cluster.overlord)
            .is_err()
    );
    ca(&["issue", "web", "--dir", dir]);
    let refused = Caller::new(&tls(&certificates, "web"))
        .list_nodes(&cluster.overlord)
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    // A TLS node does not talk plain to anybody either.
    let gateway = Caller::new(&tls(&certificates, "gateway"));
    let refused = gateway.list_nodes("http://127.0.0.1:1").unwrap_err();
    assert!(refused.message().contains("expected https://"), "{refused}");

    // Each role has its own calls.
    let worker = Caller::new(&tls(&certificates, "worker"));
    let controller = Caller::new(&tls(&certificates, "controller"));
    assert_eq!(
        worker.list_nodes(&cluster.overlord).unwrap_err().code(),
        Code::PermissionDenied
    );
    assert_eq!(gateway.publish(&cluster.overlord).code(), Code::PermissionDenied);
    assert_ne!(
        controller.publish(&cluster.overlord).code(),
        Code::PermissionDenied
    );
    assert_eq!(gateway.run_task(&cluster.worker).code(), Code::PermissionDenied);
    assert_ne!(
        controller.run_task(&cluster.worker).code(),
        Code::PermissionDenied
    );
    for (caller, role) in [(&gateway, v1::Role::Worker), (&worker, v1::Role::Controller)] {
        let refused = caller.heartbeat(&cluster.overlord, role).unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }

    // HTTP: plain is no HTTP there, and an unknown CA is not trusted.
    let health = format!("{}/status/health", cluster.url);
    assert!(client().get(&health).send().is_err());
    let plain = client().get(health.replace("https", "http")).send();
    assert!(plain.is_err() || !plain.unwrap().status().is_success());
    assert_eq!(answer(cluster.api.get(&health)).status, 200);
    let sql = |arguments: &[&str]| {
        let ran = Command::new(env!("CARGO_BIN_EXE_sarsen"))
            .args(["sql", "-e", "SELECT 1 AS one", "--url", &cluster.url])
            .args(arguments)
            .output()
            .unwrap();
        ran.status.success()
    };
    assert!(!sql(&[]) && sql(&["--http-ca", certificates.join("ca.pem").to_str().unwrap()]));
}

#[test]
fn private_keys_are_for_their_owner_and_files_that_do_not_fit_are_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("ca");
    ca(&["init", dir.to_str().unwrap(), "--host", "h.test"]);
    for name in ["ca", "overlord", "controller", "worker", "gateway"] {
        let mode = std::fs::metadata(dir.join(format!("{name}.key")))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}.key");
    }
    let mixed = TlsOptions {
        tls_key: Some(dir.join("worker.key")),
        ..tls(&dir, "gateway")
    };
    let error = mixed.load().unwrap_err().to_string();
    assert!(error.contains("gateway.pem"), "{error}");
    let missing = tls(&dir, "absent").load().unwrap_err().to_string();
    assert!(missing.contains("absent.pem"), "{missing}");
    let half = Command::new(env!("CARGO_BIN_EXE_sarsen"))
        .args(["worker", "--tls-cert", "x"])
        .output()
        .unwrap();
    assert!(!half.status.success() && String::from_utf8_lossy(&half.stderr).contains("--tls-key"));
}

/// Any process that is killed when it is dropped.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_directory_that_asks_for_certificates_is_reached_by_its_url() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = folder.path().join("ca");
    ca(&["init", certificates.to_str().unwrap()]);
    let file = |name: &str| certificates.join(name).to_string_lossy().into_owned();
    let (client_port, peer_port, http_port) = (free_port(), free_port(), free_port());
    let (clients, peers) = (
        format!("https://127.0.0.1:{client_port}"),
        format!("http://127.0.0.1:{peer_port}"),
    );
    let etcd = Command::new("etcd")
        .args([
            "--name",
            "e",
            "--data-dir",
            &folder.path().join("etcd").to_string_lossy(),
        ])
        .args([
            "--listen-client-urls",
            &clients,
            "--advertise-client-urls",
            &clients,
        ])
        .args([
            "--listen-peer-urls",
            &peers,
            "--initial-advertise-peer-urls",
            &peers,
        ])
        .args(["--initial-cluster", &format!("e={peers}"), "--client-cert-auth"])
        .args([
            "--cert-file",
            &file("overlord.pem"),
            "--key-file",
            &file("overlord.key"),
        ])
        .args(["--trusted-ca-file", &file("ca.pem")])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let _etcd = Killed(etcd);
    let url = |cert: &str| {
        let (ca, cert, key) = (
            file("ca.pem"),
            file(&format!("{cert}.pem")),
            file(&format!("{cert}.key")),
        );
        format!("etcds://127.0.0.1:{client_port}/x?ca={ca}&cert={cert}&key={key}")
    };
    let start = |role: &str, flag: &str, port: u16| {
        let at = |path: &str| folder.path().join(path).to_string_lossy().into_owned();
        let mut arguments = vec![role.to_owned(), flag.to_owned(), format!("127.0.0.1:{port}")];
        arguments.extend([
            "--data-dir".to_owned(),
            at(role),
            "--deep-storage".to_owned(),
            at("deep"),
        ]);
        let directory = if role == "overlord" {
            "--etcd"
        } else {
            "--overlord"
        };
        arguments.extend([directory.to_owned(), url(role)]);
        Process::start(role, folder.path(), &arguments)
    };
    let _processes = [
        start("overlord", "--grpc-addr", free_port()),
        start("controller", "--grpc-addr", free_port()),
        start("worker", "--grpc-addr", free_port()),
        start("gateway", "--http-addr", http_port),
    ];
    let api = Api::new(format!("http://127.0.0.1:{http_port}"));
    api.wait_for_health();
    assert_eq!(api.rows("SELECT 1 AS one"), json!([[1]]));
    let foreign = folder.path().join("foreign");
    ca(&["init", foreign.to_str().unwrap()]);
    let refused = |ca: String, cert: String, key: String| {
        let address = format!("etcds://127.0.0.1:{client_port}/x?ca={ca}&cert={cert}&key={key}");
        let directory = sarsen_proto::directory::Directory::parse(&address).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            match directory.client().await {
                Ok(mut client) => client.get("/x/overlord", None).await.is_err(),
                Err(_) => true,
            }
        })
    };
    let at = |name: &str| foreign.join(name).to_string_lossy().into_owned();
    assert!(!refused(file("ca.pem"), file("worker.pem"), file("worker.key")));
    assert!(refused(file("ca.pem"), at("worker.pem"), at("worker.key")));
    assert!(refused(at("ca.pem"), file("worker.pem"), file("worker.key")));
}
