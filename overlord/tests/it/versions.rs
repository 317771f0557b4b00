//! Nodes of neighbouring versions at one Overlord.

use std::time::Duration;

use sarsen_overlord::ids::TaskId;
use sarsen_proto::membership::overlord;
use sarsen_proto::transport::VersionedChannel;
use sarsen_proto::v1;
use sarsen_proto::v1::overlord_client::OverlordClient;
use sarsen_proto::version::{VERSION, Version};
use tonic::{Code, Status};

use crate::service::{Cluster, Notes, spec};

/// This version with another minor number.
fn minor(ahead: u32) -> Version {
    let mut numbers = VERSION
        .split('.')
        .map(|number| number.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap(), numbers.next().unwrap());
    Version::parse(&format!("{major}.{}.0", minor + ahead)).unwrap()
}

fn client(cluster: &Cluster, version: &Version) -> OverlordClient<VersionedChannel> {
    overlord(&cluster.network.announcing(version.clone()), "inproc://overlord").unwrap()
}

async fn beat(
    client: &mut OverlordClient<VersionedChannel>,
    name: &str,
    role: v1::Role,
    version: &Version,
    zone: &str,
) -> Result<(), Status> {
    let node = v1::Node {
        node_id: name.to_owned(),
        address: format!("inproc://{name}"),
        role: role.into(),
        version: version.to_string(),
        slots: 4,
        labels: [("zone".to_owned(), zone.to_owned())].into(),
        ..Default::default()
    };
    client
        .heartbeat(v1::HeartbeatRequest { node: Some(node) })
        .await
        .map(|_| ())
}

fn acquire(task: &TaskId, epoch: u64) -> v1::AcquireWorkersRequest {
    v1::AcquireWorkersRequest {
        task_id: task.as_str().to_owned(),
        epoch,
        workers: vec![0, 1],
        partial: true,
        ..Default::default()
    }
}

#[tokio::test]
async fn neighbours_are_let_in_and_others_told_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::open(folder.path()).await;
    let (next, later) = (minor(1), minor(2));
    let mut neighbour = client(&cluster, &next);
    beat(&mut neighbour, "w", v1::Role::Worker, &next, "a")
        .await
        .unwrap();
    let mut stranger = client(&cluster, &later);
    let refusal = beat(&mut stranger, "x", v1::Role::Worker, &later, "a")
        .await
        .unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    let words = refusal.message();
    assert!(
        words.contains(VERSION) && words.contains(later.as_str()),
        "{words}"
    );
    cluster.close().await;
}

#[tokio::test]
async fn a_query_has_workers_of_its_controllers_version_and_its_labels_only() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::open(folder.path()).await;
    let (ours, next) = (Version::parse(VERSION).unwrap(), minor(1));
    let notes = Notes::default();
    cluster.controller("controller", &notes).await;
    let (mut old, mut new) = (client(&cluster, &ours), client(&cluster, &next));
    beat(&mut new, "next", v1::Role::Worker, &next, "a")
        .await
        .unwrap();
    beat(&mut old, "elsewhere", v1::Role::Worker, &ours, "b")
        .await
        .unwrap();
    let asked = v1::TaskSpec {
        worker_labels: [("zone".to_owned(), "a".to_owned())].into(),
        ..spec("q", v1::StatementKind::Select)
    };
    cluster.submit(asked).await.unwrap();
    let task = TaskId::of_query("q");
    let epoch = cluster.until_started(&notes, task.as_str()).await.epoch;
    let mut controller = old.clone();
    let request = acquire(&task, epoch);
    let waiting = tokio::spawn(async move { controller.acquire_workers(request).await });
    let mut why = String::new();
    for _ in 0..1000 {
        why = cluster.get(task.as_str()).await.waiting_for;
        if !why.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(why.contains(VERSION) && why.contains("zone=a"), "{why}");
    beat(&mut old, "here", v1::Role::Worker, &ours, "a")
        .await
        .unwrap();
    let given = waiting.await.unwrap().unwrap().into_inner().assignments;
    assert!(!given.is_empty());
    for assignment in given {
        assert_eq!(assignment.node.unwrap().node_id, "here");
    }
    assert_eq!(cluster.get(task.as_str()).await.waiting_for, "");
    cluster.close().await;
}

#[tokio::test]
async fn a_goodbye_removes_a_controller_at_once_and_its_task_goes_on_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::open(folder.path()).await;
    let (first, second) = (Notes::default(), Notes::default());
    cluster.controller("first", &first).await;
    cluster
        .submit(spec("q", v1::StatementKind::Select))
        .await
        .unwrap();
    let task = TaskId::of_query("q");
    let epoch = cluster.until_started(&first, task.as_str()).await.epoch;
    cluster.controller("second", &second).await;
    let node = v1::Node {
        node_id: "first".to_owned(),
        ..Default::default()
    };
    let goodbye = v1::HeartbeatRequest { node: Some(node) };
    cluster.client.goodbye(goodbye).await.unwrap();
    let again = cluster.until_started(&second, task.as_str()).await;
    assert!(again.epoch > epoch && again.resumed);
    let nodes = cluster
        .client
        .list_nodes(v1::Empty {})
        .await
        .unwrap()
        .into_inner()
        .nodes;
    assert!(nodes.iter().all(|node| node.node_id != "first"));
    cluster.close().await;
}
