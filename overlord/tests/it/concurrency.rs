//! Many queries at once through a whole Overlord.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sarsen_overlord::Quotas;
use sarsen_proto::v1;
use tonic::Code;

use crate::service::{Cluster, Notes, spec};

fn acquire(task: &str, workers: u32) -> v1::AcquireWorkersRequest {
    v1::AcquireWorkersRequest {
        task_id: task.to_owned(),
        epoch: 1,
        workers: (0..workers).collect(),
        avoid: Vec::new(),
        partial: true,
    }
}

/// Slots that are taken, by task, and the most there ever were.
#[derive(Default)]
struct Usage {
    taken: BTreeMap<String, usize>,
    most: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_controllers_at_once_share_eight_worker_slots() {
    let folder = tempfile::tempdir().unwrap();
    let (mut cluster, notes) = (Cluster::open(folder.path()).await, Notes::default());
    cluster.controller("controller", &notes).await;
    for worker in ["a", "b"] {
        let address = format!("inproc://{worker}");
        cluster.join(worker, &address, v1::Role::Worker, 4).await;
    }
    let usage = Arc::new(Mutex::new(Usage::default()));
    let mut running = tokio::task::JoinSet::new();
    for number in 0..50_u32 {
        let name = format!("{number}");
        cluster
            .submit(spec(&name, v1::StatementKind::Select))
            .await
            .unwrap();
        let task = format!("query-{name}");
        // All fifty controller tasks run at once: they take no worker slot.
        cluster.until_started(&notes, &task).await;
        let (mut client, usage) = (cluster.client.clone(), Arc::clone(&usage));
        running.spawn(async move {
            let wanted = 1 + number % 8;
            let given = client.acquire_workers(acquire(&task, wanted)).await.unwrap();
            let given = given.into_inner().assignments.len();
            assert!(given >= 1 && given <= wanted as usize, "{given} of {wanted}");
            {
                let mut usage = usage.lock().unwrap();
                usage.taken.insert(task.clone(), given);
                usage.most = usage.most.max(usage.taken.values().sum());
            }
            tokio::time::sleep(Duration::from_millis(u64::from(number % 5))).await;
            usage.lock().unwrap().taken.remove(&task);
            let end = v1::CompleteTaskRequest {
                task_id: task,
                epoch: 1,
                success: true,
                report: Some(v1::Report::default()),
                ..Default::default()
            };
            client.complete_task(end).await.unwrap();
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    let most = usage.lock().unwrap().most;
    assert!((4..=8).contains(&most), "{most}");
    for number in 0..50 {
        let task = cluster.get(&format!("query-{number}")).await;
        assert_eq!(task.state(), v1::TaskState::Success);
    }
    cluster.close().await;
}

#[tokio::test]
async fn a_task_that_waits_for_its_lock_holds_no_slot_of_any_kind() {
    let folder = tempfile::tempdir().unwrap();
    let (mut cluster, notes) = (Cluster::open(folder.path()).await, Notes::default());
    cluster.controller("controller", &notes).await;
    cluster.join("w", "inproc://w", v1::Role::Worker, 1).await;
    for name in ["first", "second"] {
        cluster
            .submit(spec(name, v1::StatementKind::Replace))
            .await
            .unwrap();
    }
    cluster
        .submit(spec("select", v1::StatementKind::Select))
        .await
        .unwrap();
    cluster.until_started(&notes, "query-first").await;
    cluster.until_started(&notes, "query-select").await;
    assert_eq!(notes.started.lock().unwrap().len(), 2);
    assert_eq!(cluster.get("query-second").await.state(), v1::TaskState::Pending);
    let refused = cluster.client.acquire_workers(acquire("query-second", 1)).await;
    assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition);
    let given = cluster.client.acquire_workers(acquire("query-select", 1)).await;
    assert_eq!(given.unwrap().into_inner().assignments.len(), 1);
    cluster.close().await;
}

#[tokio::test]
async fn a_users_queue_has_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let quotas = Quotas {
        running_per_user: 1,
        queued_per_user: 1,
        slots_per_user: 0,
    };
    let (mut cluster, notes) = (
        Cluster::open_as(folder.path(), &[], None, quotas).await,
        Notes::default(),
    );
    cluster.controller("controller", &notes).await;
    let of = |name: &str, user: &str| v1::TaskSpec {
        identity: user.to_owned(),
        ..spec(name, v1::StatementKind::Select)
    };
    cluster.submit(of("runs", "alice")).await.unwrap();
    cluster.submit(of("waits", "alice")).await.unwrap();
    let refused = cluster.submit(of("too many", "alice")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(
        refused.message().contains("--max-queued-queries-per-user"),
        "{refused}"
    );
    cluster.submit(of("other", "bob")).await.unwrap();
    cluster.until_started(&notes, "query-runs").await;
    cluster.complete("query-runs", 1).await.unwrap();
    cluster.until_started(&notes, "query-waits").await;
    cluster.submit(of("too many", "alice")).await.unwrap();
    cluster.close().await;
}

#[tokio::test]
async fn a_preempted_task_is_told_and_publishes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut cluster, notes) = (Cluster::open(folder.path()).await, Notes::default());
    cluster.controller("controller", &notes).await;
    let of = |name: &str, priority: i32| v1::TaskSpec {
        priority,
        ..spec(name, v1::StatementKind::Replace)
    };
    cluster.submit(of("low", 50)).await.unwrap();
    cluster.until_started(&notes, "query-low").await;
    cluster.submit(of("high", 51)).await.unwrap();
    cluster.until_started(&notes, "query-high").await;
    let publish = |task: &str| v1::PublishRequest {
        task_id: task.to_owned(),
        epoch: 1,
        segments: Vec::new(),
    };
    let refused = cluster.client.publish(publish("query-low")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    cluster.client.publish(publish("query-high")).await.unwrap();
    while notes.preempted.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(*notes.preempted.lock().unwrap(), ["query-low"]);
    assert!(notes.canceled.lock().unwrap().is_empty());
    // What has published keeps its locks until it ends, whoever asks for them.
    cluster.submit(of("higher", 99)).await.unwrap();
    assert_eq!(cluster.get("query-higher").await.state(), v1::TaskState::Pending);
    cluster.complete("query-high", 1).await.unwrap();
    cluster.until_started(&notes, "query-higher").await;
    cluster.close().await;
}
