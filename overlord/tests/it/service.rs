//! A whole Overlord over in-process transport, with controllers that only take notes.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sarsen_overlord::{Options, Quotas, Started, start};
use sarsen_proto::membership::overlord;
use sarsen_proto::transport::{Network, VersionedChannel, serve};
use sarsen_proto::v1;
use sarsen_proto::v1::controller_server::{Controller, ControllerServer};
use sarsen_proto::v1::overlord_client::OverlordClient;
use sarsen_proto::version::VERSION;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

/// What a controller was told.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    pub started: Arc<Mutex<Vec<v1::StartTaskRequest>>>,
    pub canceled: Arc<Mutex<Vec<String>>>,
    pub preempted: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl Controller for Notes {
    async fn start_task(
        &self,
        request: Request<v1::StartTaskRequest>,
    ) -> Result<Response<v1::Empty>, Status> {
        self.started.lock().unwrap().push(request.into_inner());
        Ok(Response::new(v1::Empty {}))
    }

    async fn cancel_task(
        &self,
        request: Request<v1::CancelTaskRequest>,
    ) -> Result<Response<v1::Empty>, Status> {
        let request = request.into_inner();
        let list = match request.cause() {
            v1::CancelCause::Unspecified => &self.canceled,
            v1::CancelCause::LockPreempted => &self.preempted,
        };
        list.lock().unwrap().push(request.task_id);
        Ok(Response::new(v1::Empty {}))
    }

    async fn get_live_report(&self, _: Request<v1::TaskRequest>) -> Result<Response<v1::Report>, Status> {
        Ok(Response::new(v1::Report {
            results: b"live".to_vec().into(),
            ..Default::default()
        }))
    }

    async fn get_live_log(&self, _: Request<v1::TaskRequest>) -> Result<Response<v1::TaskLog>, Status> {
        Ok(Response::new(v1::TaskLog {
            found: true,
            text: "a live line\n".to_owned(),
        }))
    }

    async fn list_running(&self, _: Request<v1::Empty>) -> Result<Response<v1::RunningTasks>, Status> {
        let started = self.started.lock().unwrap();
        let running = |request: &v1::StartTaskRequest| v1::RunningTask {
            task_id: request.task_id.clone(),
            epoch: request.epoch,
            workers: Default::default(),
        };
        Ok(Response::new(v1::RunningTasks {
            tasks: started.iter().map(running).collect(),
        }))
    }
}

pub struct Cluster {
    pub network: Network,
    pub client: OverlordClient<VersionedChannel>,
    stop: CancellationToken,
    done: Option<Started>,
}

impl Cluster {
    pub async fn open(folder: &Path) -> Cluster {
        Cluster::open_with(folder, &[], None).await
    }

    async fn open_with(folder: &Path, members: &[&str], leader: Option<&str>) -> Cluster {
        Cluster::open_as(folder, members, leader, Quotas::default()).await
    }

    pub async fn open_as(folder: &Path, members: &[&str], leader: Option<&str>, quotas: Quotas) -> Cluster {
        let (network, stop) = (Network::default(), CancellationToken::new());
        let options = Options {
            data_dir: folder.to_owned(),
            grpc_addr: "inproc://overlord".to_owned(),
            metadata: None,
            deep_storage: None,
            export_allow: Vec::new(),
            objects: Default::default(),
            memory_limit: None,
            extern_allow: Vec::new(),
            spill_dir: None,
            members: members.iter().map(|member| (*member).to_owned()).collect(),
            leader: leader.map(str::to_owned),
            etcd: None,
            advertise: None,
            quotas,
            retention: Default::default(),
            metadata_connections: 8,
            tls: Default::default(),
            security: Default::default(),
            labels: Default::default(),
        };
        let started = start(options, network.clone(), stop.clone()).await.unwrap();
        let client = overlord(&network, &started.address).unwrap();
        Cluster {
            network,
            client,
            stop,
            done: Some(started),
        }
    }

    pub async fn close(mut self) {
        self.stop.cancel();
        self.done.take().unwrap().done.await.unwrap().unwrap();
    }

    pub async fn controller(&mut self, name: &str, notes: &Notes) {
        let (address, binding) = self.network.bind(&format!("inproc://{name}")).await.unwrap();
        let mut routes = tonic::service::RoutesBuilder::default();
        routes.add_service(ControllerServer::new(notes.clone()));
        tokio::spawn(serve(binding, routes.routes(), self.stop.clone()));
        self.join(name, &address, v1::Role::Controller, 64).await;
    }

    pub async fn join(&mut self, name: &str, address: &str, role: v1::Role, slots: u32) {
        assert!(self.beat(name, address, role, slots).await.unwrap().ready);
    }

    async fn beat(
        &mut self,
        name: &str,
        address: &str,
        role: v1::Role,
        slots: u32,
    ) -> Result<v1::HeartbeatReply, Status> {
        let node = v1::Node {
            node_id: name.to_owned(),
            role: role.into(),
            address: address.to_owned(),
            version: VERSION.to_owned(),
            slots,
            ..Default::default()
        };
        let request = v1::HeartbeatRequest { node: Some(node) };
        Ok(self.client.heartbeat(request).await?.into_inner())
    }

    pub async fn submit(&mut self, spec: v1::TaskSpec) -> Result<v1::SubmitTaskReply, Status> {
        Ok(self
            .client
            .submit_task(v1::SubmitTaskRequest {
                spec: Some(spec),
                caller: None,
            })
            .await?
            .into_inner())
    }

    pub async fn get(&mut self, task: &str) -> v1::Task {
        self.client
            .get_task(v1::TaskRequest {
                task_id: task.to_owned(),
            })
            .await
            .unwrap()
            .into_inner()
    }

    pub async fn until_started(&mut self, notes: &Notes, task: &str) -> v1::StartTaskRequest {
        for _ in 0..1000 {
            let found = notes
                .started
                .lock()
                .unwrap()
                .iter()
                .find(|request| request.task_id == task)
                .cloned();
            if let Some(request) = found {
                return request;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{task} was not started");
    }

    pub async fn complete(&mut self, task: &str, epoch: u64) -> Result<(), Status> {
        let request = v1::CompleteTaskRequest {
            task_id: task.to_owned(),
            epoch,
            success: true,
            error_message: String::new(),
            duration_ms: 5,
            report: Some(v1::Report {
                results: b"final".to_vec().into(),
                ..Default::default()
            }),
            log: "a line of its log\n".to_owned(),
        };
        self.client.complete_task(request).await.map(|_| ())
    }
}

pub fn spec(name: &str, kind: v1::StatementKind) -> v1::TaskSpec {
    v1::TaskSpec {
        query_id: name.to_owned(),
        sql: format!("statement {name}"),
        kind: kind.into(),
        datasource: "wiki".to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_task_runs_from_its_submission_to_its_stored_report() {
    let folder = tempfile::tempdir().unwrap();
    let (mut cluster, notes) = (Cluster::open(folder.path()).await, Notes::default());
    let submitted = cluster
        .submit(spec("q", v1::StatementKind::Select))
        .await
        .unwrap();
    assert_eq!(
        (submitted.task_id.as_str(), submitted.state()),
        ("query-q", v1::TaskState::Pending)
    );
    assert_eq!(cluster.get("query-q").await.queue_position, 1);
    cluster.controller("controller", &notes).await;
    let request = cluster.until_started(&notes, "query-q").await;
    assert_eq!((request.epoch, request.resumed), (1, false));

    let again = v1::TaskSpec {
        statement_time_ms: 7,
        ..spec("q", v1::StatementKind::Select)
    };
    assert_eq!(cluster.submit(again).await.unwrap().task_id, "query-q");
    let other = v1::TaskSpec {
        sql: "another".to_owned(),
        ..spec("q", v1::StatementKind::Select)
    };
    assert_eq!(
        cluster.submit(other).await.unwrap_err().code(),
        Code::AlreadyExists
    );

    assert_eq!(
        cluster.complete("query-q", 2).await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    cluster.complete("query-q", 1).await.unwrap();
    cluster.complete("query-q", 1).await.unwrap();
    let wait = v1::WaitTaskRequest {
        task_id: "query-q".to_owned(),
        timeout_ms: 1000,
    };
    let task = cluster.client.wait_task(wait).await.unwrap().into_inner();
    assert_eq!((task.state(), task.duration_ms), (v1::TaskState::Success, 5));
    let report = v1::TaskRequest {
        task_id: "query-q".to_owned(),
    };
    assert_eq!(
        cluster
            .client
            .get_report(report)
            .await
            .unwrap()
            .into_inner()
            .results,
        "final"
    );
    cluster.close().await;
}

#[tokio::test]
async fn a_pending_task_is_canceled_at_once_and_lets_the_next_one_go() {
    let folder = tempfile::tempdir().unwrap();
    let (mut cluster, notes) = (Cluster::open(folder.path()).await, Notes::default());
    cluster
        .submit(spec("a", v1::StatementKind::Replace))
        .await
        .unwrap();
    cluster
        .submit(spec("b", v1::StatementKind::Replace))
        .await
        .unwrap();
    let shutdown = |task: &str| v1::ShutdownTaskRequest {
        task_id: task.to_owned(),
        caller: None,
    };
    cluster.client.shutdown_task(shutdown("query-a")).await.unwrap();
    let task = cluster.get("query-a").await;
    assert_eq!(task.state(), v1::TaskState::Failed);
    assert!(
        task.error_message.starts_with("Canceled: "),
        "{}",
        task.error_message
    );
    cluster.controller("controller", &notes).await;
    cluster.until_started(&notes, "query-b").await;
    cluster.client.shutdown_task(shutdown("query-b")).await.unwrap();
    assert_eq!(*notes.canceled.lock().unwrap(), ["query-b"]);
    let unknown = cluster
        .client
        .shutdown_task(shutdown("query-c"))
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    cluster.close().await;
}

#[tokio::test]
async fn a_restarted_overlord_adopts_what_its_controllers_run() {
    let folder = tempfile::tempdir().unwrap();
    let (mut cluster, notes) = (Cluster::open(folder.path()).await, Notes::default());
    cluster.controller("controller", &notes).await;
    cluster
        .submit(spec("q", v1::StatementKind::Insert))
        .await
        .unwrap();
    cluster.until_started(&notes, "query-q").await;
    cluster.close().await;

    let mut cluster = Cluster::open(folder.path()).await;
    assert_eq!(cluster.get("query-q").await.state(), v1::TaskState::Running);
    cluster.controller("controller", &notes).await;
    cluster.complete("query-q", 1).await.unwrap();
    assert_eq!(cluster.get("query-q").await.state(), v1::TaskState::Success);
    assert_eq!(notes.started.lock().unwrap().len(), 1);
    cluster.close().await;
}

#[tokio::test]
async fn a_task_that_its_restarted_controller_does_not_know_is_given_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut cluster, notes) = (Cluster::open(folder.path()).await, Notes::default());
    cluster.controller("controller", &notes).await;
    cluster
        .submit(spec("q", v1::StatementKind::Insert))
        .await
        .unwrap();
    cluster.until_started(&notes, "query-q").await;
    cluster.close().await;

    let (mut cluster, notes) = (Cluster::open(folder.path()).await, Notes::default());
    cluster.controller("controller", &notes).await;
    let request = cluster.until_started(&notes, "query-q").await;
    assert_eq!((request.epoch, request.resumed), (2, true));
    cluster.close().await;
}

#[tokio::test]
async fn slots_are_waited_for_and_come_back_with_the_end_of_a_task() {
    let folder = tempfile::tempdir().unwrap();
    let (mut cluster, notes) = (Cluster::open(folder.path()).await, Notes::default());
    cluster.controller("controller", &notes).await;
    cluster
        .join("worker", "inproc://worker", v1::Role::Worker, 2)
        .await;
    for name in ["a", "b"] {
        cluster
            .submit(spec(name, v1::StatementKind::Select))
            .await
            .unwrap();
        cluster.until_started(&notes, &format!("query-{name}")).await;
    }
    let acquire = |task: &str| v1::AcquireWorkersRequest {
        task_id: task.to_owned(),
        epoch: 1,
        workers: vec![0, 1],
        avoid: Vec::new(),
        partial: false,
    };
    let taken = cluster
        .client
        .acquire_workers(acquire("query-a"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(taken.assignments.len(), 2);
    let mut other = cluster.client.clone();
    let request = acquire("query-b");
    let waiting = tokio::spawn(async move { other.acquire_workers(request).await });
    cluster.complete("query-a", 1).await.unwrap();
    let taken = waiting.await.unwrap().unwrap().into_inner();
    assert_eq!(taken.assignments.len(), 2);
    cluster.close().await;
}

#[tokio::test]
async fn a_fixed_membership_takes_in_only_its_members() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::open_with(folder.path(), &["inproc://known"], None).await;
    cluster.join("known", "inproc://known", v1::Role::Worker, 2).await;
    let stranger = cluster
        .beat("stranger", "inproc://stranger", v1::Role::Worker, 2)
        .await
        .unwrap_err();
    assert_eq!(stranger.code(), Code::PermissionDenied);
    assert!(stranger.message().contains("inproc://stranger"), "{stranger}");
    cluster.close().await;
}

#[tokio::test]
async fn an_overlord_that_does_not_lead_names_who_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::open_with(folder.path(), &[], Some("10.0.0.1:8081")).await;
    let refused = cluster
        .submit(spec("q", v1::StatementKind::Select))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("http://10.0.0.1:8081"), "{refused}");
    cluster.close().await;
}
