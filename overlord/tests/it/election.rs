//! Several Overlords, one of which leads, over a real etcd and one metadata store.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sarsen_overlord::{Options, Started, start};
use sarsen_proto::directory::Directory;
use sarsen_proto::membership::{Departure, overlord};
use sarsen_proto::transport::{Network, VersionedChannel};
use sarsen_proto::v1;
use sarsen_proto::v1::overlord_client::OverlordClient;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::ports::free_port;

/// Leadership moves within five seconds, since etcd notices a death after at most its lease of three; more is allowed for
/// on a machine that runs other tests.
const MOVES_WITHIN: Duration = Duration::from_secs(10);

/// An etcd of one or several servers on loopback.
struct Etcd {
    folder: tempfile::TempDir,
    nodes: Vec<EtcdNode>,
}

struct EtcdNode {
    port: u16,
    peer_port: u16,
    server: Option<Child>,
}

impl Etcd {
    fn start() -> Etcd {
        Etcd::of(1)
    }

    fn of(nodes: usize) -> Etcd {
        let node = |_| EtcdNode {
            port: free_port(),
            peer_port: free_port(),
            server: None,
        };
        let mut etcd = Etcd {
            folder: tempfile::tempdir().unwrap(),
            nodes: (0..nodes).map(node).collect(),
        };
        for node in 0..nodes {
            etcd.launch(node);
        }
        for node in 0..nodes {
            etcd.wait(node);
        }
        etcd
    }

    fn launch(&mut self, node: usize) {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let peers = self.nodes.iter().enumerate();
        let peers: Vec<String> = peers
            .map(|(number, node)| format!("n{number}={}", url(node.peer_port)))
            .collect();
        let (client, peer) = (url(self.nodes[node].port), url(self.nodes[node].peer_port));
        let server = Command::new("etcd")
            .args(["--log-level", "error", "--unsafe-no-fsync"])
            .args([
                "--name",
                &format!("n{node}"),
                "--initial-cluster",
                &peers.join(","),
            ])
            .arg("--data-dir")
            .arg(self.folder.path().join(format!("n{node}")))
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
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is not installed: run `make setup` (Debian's package `etcd-server`)");
        self.nodes[node].server = Some(server);
    }

    fn wait(&self, node: usize) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(("127.0.0.1", self.nodes[node].port)).is_err() {
            assert!(Instant::now() < deadline, "etcd did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts a server again with what it held.
    fn resume(&mut self, node: usize) {
        self.launch(node);
        self.wait(node);
    }

    fn kill(&mut self, node: usize) {
        let mut server = self.nodes[node].server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// `STOP` or `CONT`: a process that is there and does nothing, as in a long pause.
    fn signal(&self, node: usize, signal: &str) {
        let pid = self.nodes[node].server.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    fn address(&self) -> String {
        let nodes: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port))
            .collect();
        format!("etcd://{}", nodes.join(","))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].server.is_some() {
                self.kill(node);
            }
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
            export_allow: Vec::new(),
            objects: Default::default(),
            etcd: Some(etcd.address()),
            advertise: None,
            quotas: Default::default(),
            retention: Default::default(),
            metadata_connections: 8,
            tls: Default::default(),
            security: Default::default(),
            labels: Default::default(),
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
        let call = self.overlord.submit_task(v1::SubmitTaskRequest {
            spec: Some(spec),
            caller: None,
        });
        Ok(self.runtime.block_on(call)?.into_inner().task_id)
    }

    /// Submits a task each 200 ms; each must be taken.
    fn submit_for(&mut self, time: Duration, submitted: &mut Vec<String>) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            submitted.push(self.submit(&format!("while-{}", submitted.len())).unwrap());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn tasks(&mut self) -> Vec<String> {
        let call = self.overlord.list_tasks(v1::ListTasksRequest::default());
        let tasks = self.runtime.block_on(call).unwrap().into_inner().tasks;
        let mut ids: Vec<String> = tasks.into_iter().map(|task| task.task_id).collect();
        ids.sort();
        ids
    }
}

/// Exactly one leads, or does soon: one that was superseded sees it by the term, which it looks at twice a second.
fn one_leads(candidates: [&Candidate; 2], client: &tokio::runtime::Runtime) {
    let deadline = Instant::now() + MOVES_WITHIN;
    loop {
        let leaders = candidates.map(|candidate| candidate.leads(client));
        if leaders.iter().filter(|leads| **leads).count() == 1 {
            return;
        }
        assert!(Instant::now() < deadline, "{leaders:?}");
        std::thread::sleep(Duration::from_millis(50));
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

    etcd.kill(0);
    // Longer than the lease.
    let mut submitted = vec!["query-one".to_owned()];
    client.submit_for(Duration::from_secs(6), &mut submitted);
    etcd.resume(0);
    client.submit_for(Duration::from_secs(4), &mut submitted);
    submitted.sort();
    assert_eq!(client.tasks(), submitted);
    one_leads([&first, &second], &client.runtime);
    second.close();
    first.close();
}

#[test]
fn with_three_etcd_servers_any_one_may_be_away() {
    let folder = tempfile::tempdir().unwrap();
    let mut etcd = Etcd::of(3);
    let first = Candidate::start(folder.path(), &etcd);
    let mut client = Client::of(&etcd);
    let mut submitted = vec![client.submit("one").unwrap()];
    let second = Candidate::start(folder.path(), &etcd);
    for node in 0..3 {
        etcd.kill(node);
        // Longer than the lease: it is kept alive at another server.
        client.submit_for(Duration::from_secs(4), &mut submitted);
        etcd.resume(node);
    }
    submitted.sort();
    assert_eq!(client.tasks(), submitted);
    one_leads([&first, &second], &client.runtime);
    second.close();
    first.close();
}

#[test]
fn a_leader_is_followed_while_an_etcd_server_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let mut etcd = Etcd::of(3);
    let first = Candidate::start(folder.path(), &etcd);
    let mut client = Client::of(&etcd);
    client.submit("one").unwrap();
    let second = Candidate::start(folder.path(), &etcd);
    etcd.kill(1);
    // The two servers that are left have agreed on a leader of theirs.
    client.submit("two").unwrap();
    std::thread::sleep(Duration::from_secs(2));
    first.kill();
    let killed = Instant::now();
    client.submit("three").unwrap();
    assert!(killed.elapsed() < MOVES_WITHIN, "took {:?}", killed.elapsed());
    assert!(second.leads(&client.runtime));
    second.close();
}

#[test]
fn a_pause_of_most_etcd_servers_moves_no_leadership() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = Etcd::of(3);
    let first = Candidate::start(folder.path(), &etcd);
    let mut client = Client::of(&etcd);
    let mut submitted = vec![client.submit("one").unwrap()];
    let second = Candidate::start(folder.path(), &etcd);
    for node in [0, 1] {
        etcd.signal(node, "STOP");
    }
    client.submit_for(Duration::from_secs(6), &mut submitted);
    for node in [0, 1] {
        etcd.signal(node, "CONT");
    }
    client.submit_for(Duration::from_secs(5), &mut submitted);
    submitted.sort();
    assert_eq!(client.tasks(), submitted);
    one_leads([&first, &second], &client.runtime);
    second.close();
    first.close();
}

/// A node's entry, once it says what is wanted.
async fn entry(directory: &Directory, wanted: impl Fn(Option<&Value>) -> bool) {
    let mut etcd = directory.client().await.unwrap();
    let deadline = Instant::now() + MOVES_WITHIN;
    loop {
        let found = etcd.get("/sarsen/nodes/worker/w1", None).await.unwrap();
        let entry: Option<Value> = found
            .kvs()
            .first()
            .map(|kv| serde_json::from_slice(kv.value()).unwrap());
        if wanted(entry.as_ref()) {
            return;
        }
        assert!(Instant::now() < deadline, "{entry:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_nodes_entry_says_that_it_drains_until_it_is_gone() {
    let etcd = Etcd::start();
    let directory = Directory::parse(&etcd.address()).unwrap();
    let node = v1::Node {
        node_id: "w1".to_owned(),
        role: v1::Role::Worker.into(),
        address: "http://127.0.0.1:1".to_owned(),
        ..Default::default()
    };
    let departure = Arc::new(Departure {
        draining: CancellationToken::new(),
        gone: CancellationToken::new(),
    });
    let (told, place) = (Arc::clone(&departure), directory.clone());
    let registered = tokio::spawn(async move { place.register(&node, &told).await });
    let drains = |entry: Option<&Value>| Some(entry?["draining"].as_bool().unwrap());
    entry(&directory, |entry| drains(entry) == Some(false)).await;
    departure.draining.cancel();
    entry(&directory, |entry| drains(entry) == Some(true)).await;
    departure.gone.cancel();
    registered.await.unwrap();
    entry(&directory, |entry| entry.is_none()).await;
}
