//! Several Overlords, one of which leads, over a real etcd and one metadata store.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sarsen_overlord::{Options, Started, start};
use sarsen_proto::membership::overlord;
use sarsen_proto::transport::{Network, VersionedChannel};
use sarsen_proto::v1;
use sarsen_proto::v1::overlord_client::OverlordClient;
use tokio_util::sync::CancellationToken;

/// Leadership moves within this; etcd notices a death after at most its lease of three seconds.
const MOVES_WITHIN: Duration = Duration::from_secs(5);

/// One etcd server on loopback.
struct Etcd {
    folder: tempfile::TempDir,
    port: u16,
    peer_port: u16,
    server: Option<Child>,
}

impl Etcd {
    fn start() -> Etcd {
        let free_port = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let mut etcd = Etcd {
            folder: tempfile::tempdir().unwrap(),
            port: free_port(),
            peer_port: free_port(),
            server: None,
        };
        etcd.resume();
        etcd
    }

    /// Starts the server again with what it held.
    fn resume(&mut self) {
        let client = format!("http://127.0.0.1:{}", self.port);
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let server = Command::new("etcd")
            .args([
                "--log-level",
                "error",
                "--name",
                "only",
                "--unsafe-no-fsync",
                "--data-dir",
            ])
            .arg(self.folder.path())
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &format!("only={peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is not installed: run `make setup` (Debian's package `etcd-server`)");
        self.server = Some(server);
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "etcd did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    fn address(&self) -> String {
        format!("etcd://127.0.0.1:{}", self.port)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.kill();
        }
    }
}

/// An Overlord in a runtime of its own, so that it can be lost at once as a process is.
struct Candidate {
    runtime: tokio::runtime::Runtime,
    stop: CancellationToken,
    started: Started,
}

impl Candidate {
    fn start(folder: &Path, etcd: &Etcd) -> Candidate {
        let options = Options {
            data_dir: folder.to_owned(),
            grpc_addr: "127.0.0.1:0".to_owned(),
            metadata: None,
            deep_storage: None,
            memory_limit: None,
            extern_allow: Vec::new(),
            spill_dir: None,
            members: Vec::new(),
            leader: None,
            etcd: Some(etcd.address()),
            advertise: None,
            quotas: Default::default(),
            metadata_connections: 8,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let stop = CancellationToken::new();
        let started = runtime
            .block_on(start(options, Network::default(), stop.clone()))
            .unwrap();
        Candidate {
            runtime,
            stop,
            started,
        }
    }

    fn leads(&self, client: &tokio::runtime::Runtime) -> bool {
        let network = Network::default();
        client.block_on(async {
            let mut direct = overlord(&network, &self.started.address).unwrap();
            direct.list_nodes(v1::Empty {}).await.is_ok()
        })
    }

    /// Nothing of it runs any more, and it told nobody.
    fn kill(self) {
        self.runtime.shutdown_timeout(Duration::ZERO);
    }

    fn close(self) {
        self.stop.cancel();
        self.runtime.block_on(self.started.done).unwrap().unwrap();
    }
}

struct Client {
    runtime: tokio::runtime::Runtime,
    overlord: OverlordClient<VersionedChannel>,
    _network: Network,
}

impl Client {
    fn of(etcd: &Etcd) -> Client {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let network = Network::default();
        let overlord = runtime.block_on(async { overlord(&network, &etcd.address()).unwrap() });
        Client {
            runtime,
            overlord,
            _network: network,
        }
    }

    fn submit(&mut self, id: &str) -> Result<String, tonic::Status> {
        let spec = v1::TaskSpec {
            query_id: id.to_owned(),
            sql: "SELECT 1".to_owned(),
            ..Default::default()
        };
        let call = self
            .overlord
            .submit_task(v1::SubmitTaskRequest { spec: Some(spec) });
        Ok(self.runtime.block_on(call)?.into_inner().task_id)
    }

    fn tasks(&mut self) -> Vec<String> {
        let call = self.overlord.list_tasks(v1::ListTasksRequest::default());
        let tasks = self.runtime.block_on(call).unwrap().into_inner().tasks;
        let mut ids: Vec<String> = tasks.into_iter().map(|task| task.task_id).collect();
        ids.sort();
        ids
    }
}

#[test]
fn a_lost_leader_is_followed_by_another_that_knows_its_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = Etcd::start();
    let first = Candidate::start(folder.path(), &etcd);
    let mut client = Client::of(&etcd);
    assert_eq!(client.submit("one").unwrap(), "query-one");
    let second = Candidate::start(folder.path(), &etcd);
    assert!(first.leads(&client.runtime));
    assert!(!second.leads(&client.runtime));

    first.kill();
    let killed = Instant::now();
    assert_eq!(client.submit("two").unwrap(), "query-two");
    assert!(killed.elapsed() < MOVES_WITHIN, "took {:?}", killed.elapsed());
    assert!(second.leads(&client.runtime));
    assert_eq!(client.tasks(), ["query-one", "query-two"]);
    second.close();
}

#[test]
fn a_leader_that_ends_gives_up_its_place_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = Etcd::start();
    let first = Candidate::start(folder.path(), &etcd);
    let mut client = Client::of(&etcd);
    client.submit("one").unwrap();
    let second = Candidate::start(folder.path(), &etcd);
    first.close();
    let closed = Instant::now();
    client.submit("two").unwrap();
    assert!(
        closed.elapsed() < Duration::from_secs(2),
        "took {:?}",
        closed.elapsed()
    );
    second.close();
}

#[test]
fn the_loss_of_etcd_moves_no_leadership() {
    let folder = tempfile::tempdir().unwrap();
    let mut etcd = Etcd::start();
    let first = Candidate::start(folder.path(), &etcd);
    let mut client = Client::of(&etcd);
    client.submit("one").unwrap();
    let second = Candidate::start(folder.path(), &etcd);

    etcd.kill();
    // Longer than the lease.
    let away = Instant::now();
    let mut submitted = vec!["query-one".to_owned()];
    while away.elapsed() < Duration::from_secs(6) {
        submitted.push(client.submit(&format!("while-{}", submitted.len())).unwrap());
        std::thread::sleep(Duration::from_millis(200));
    }
    etcd.resume();
    let back = Instant::now();
    while back.elapsed() < Duration::from_secs(4) {
        submitted.push(client.submit(&format!("while-{}", submitted.len())).unwrap());
        std::thread::sleep(Duration::from_millis(200));
    }
    submitted.sort();
    assert_eq!(client.tasks(), submitted);
    let leaders = [&first, &second].map(|candidate| candidate.leads(&client.runtime));
    assert_eq!(leaders.iter().filter(|leads| **leads).count(), 1, "{leaders:?}");
    second.close();
    first.close();
}
