//! The process: its gRPC service, its start and its end. RPC methods only forward.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sarsen_object::Stores;
use sarsen_observe::Observed;
use sarsen_proto::access::CallerRoles;
use sarsen_proto::membership::{MAX_MESSAGE_BYTES, advertised};
use sarsen_proto::transport::{Network, serve};
use sarsen_proto::v1;
use sarsen_proto::v1::overlord_server::{Overlord as OverlordRpc, OverlordServer};
use sarsen_proto::version::{Accepts, CallerVersion, CheckVersion};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::audit::AuditLog;
use crate::coordination::{Elected, Leader, Leadership};
use crate::election::Candidate;
use crate::error::{OverlordError, RequestError};
use crate::membership::Members;
use crate::metadata::Store;
use crate::options::Options;
use crate::overlord::{Overlord, Security};
use crate::reports::Reports;
use crate::state::State;

/// How long calls and started work may take to end at a shutdown.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// An Overlord that takes calls.
#[derive(Debug)]
pub struct Started {
    /// Where others reach it.
    pub address: String,
    /// Ends after the shutdown.
    pub done: JoinHandle<Result<(), OverlordError>>,
}

/// Starts an Overlord: once this answers, it takes calls.
///
/// # Errors
/// When its address, its metadata store or deep storage cannot be used.
pub async fn start(
    options: Options,
    network: Network,
    shutdown: CancellationToken,
) -> Result<Started, OverlordError> {
    let metadata = options.metadata_url()?;
    let opening = |error| OverlordError::OpenStore {
        place: metadata.to_string(),
        error,
    };
    let store = Store::open_pooled(&metadata, options.metadata_connections)
        .await
        .map_err(opening)?;
    let deep_storage = options.deep_storage();
    let stores = Stores::new(options.objects.clone());
    let reports = Reports::open(&deep_storage, &stores).map_err(|error| OverlordError::DeepStorage {
        path: deep_storage.clone(),
        reason: error.to_string(),
    })?;
    let leadership = Leadership::default();
    let directory = options.directory()?;
    let version = network.version().clone();
    let members = Members::new(match &directory {
        Some(_) => Box::new(Elected::new(leadership.clone())),
        None => options.coordination(),
    });
    let (address, binding) = network
        .bind(&options.grpc_addr)
        .await
        .map_err(|error| OverlordError::Bind {
            address: options.grpc_addr.clone(),
            error,
        })?;
    tracing::info!(address, metadata = %metadata, "overlord is up");
    let leads = members.leader() == Leader::Ours;
    let audit_log = options.security.audit_log.as_deref();
    let security = Security {
        audit: AuditLog::open(audit_log).map_err(|error| OverlordError::AuditLog {
            path: audit_log.unwrap_or(Path::new("")).display().to_string(),
            error,
        })?,
        initial_admin_password: options.security.initial_admin_password.clone(),
    };
    let state = State::of(members, options.quotas);
    let reachable =
        advertised(options.advertise.as_deref(), &address).map_err(|error| OverlordError::Bind {
            address: options.grpc_addr.clone(),
            error,
        })?;
    let overlord = Overlord::new(
        state,
        store,
        reports,
        (network, reachable.clone()),
        security,
        shutdown.clone(),
    );
    if leads {
        overlord.take_over().await.map_err(opening)?;
    }
    let service = OverlordServer::new(Service(Arc::clone(&overlord)))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let mut routes = tonic::service::RoutesBuilder::default();
    let leads = LeadsOrRefuses(Arc::clone(&overlord));
    let service = tonic::service::interceptor::InterceptedService::new(service, leads);
    routes.add_service(tonic::service::interceptor::InterceptedService::new(
        service,
        CheckVersion::new(version, Accepts::Neighbours),
    ));
    let routes = routes.routes();
    overlord.tracker.spawn(Arc::clone(&overlord).sweep());
    overlord
        .tracker
        .spawn(Arc::clone(&overlord).sweep_deep_storage(options.retention));
    let observed: Arc<dyn Observed> = Arc::clone(&overlord) as Arc<dyn Observed>;
    sarsen_observe::observe(&observed);
    if let Some(directory) = directory {
        let candidate = Candidate {
            overlord: Arc::clone(&overlord),
            directory,
            leadership,
            labels: options.labels.by_key(),
            address: reachable,
            superseded: Notify::new(),
        };
        overlord.tracker.spawn(candidate.run());
    }
    let done = tokio::spawn(async move {
        let server = serve(binding, routes, shutdown.clone());
        tokio::pin!(server);
        let mut served = tokio::select! {
            served = &mut server => Some(served),
            () = shutdown.cancelled() => None,
        };
        if served.is_none() {
            // Callers that keep their connections open do not hold up the end.
            served = tokio::time::timeout(END_PATIENCE, server).await.ok();
        }
        // A server that failed by itself ends the rest too.
        overlord.shutdown.cancel();
        overlord.tracker.close();
        if tokio::time::timeout(END_PATIENCE, overlord.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!("some work did not end in time");
        }
        overlord.store.close().await;
        tracing::info!("overlord has ended");
        served.unwrap_or(Ok(())).map_err(OverlordError::from)
    });
    Ok(Started { address, done })
}

/// Runs an Overlord until `shutdown`.
///
/// # Errors
/// As [`start`], and when the server fails.
pub async fn run(
    options: Options,
    network: Network,
    shutdown: CancellationToken,
) -> Result<(), OverlordError> {
    let started = start(options, network, shutdown).await?;
    started.done.await.unwrap_or(Ok(()))
}

/// An Overlord that does not lead answers nothing but who does.
#[derive(Debug, Clone)]
struct LeadsOrRefuses(Arc<Overlord>);

impl tonic::service::Interceptor for LeadsOrRefuses {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        match self.0.state().members.leader() {
            Leader::Ours => Ok(request),
            Leader::Other(leader) => Err(RequestError::NotLeader { leader }.into()),
            Leader::Nobody => Err(RequestError::NoLeader.into()),
        }
    }
}

#[derive(Debug, Clone)]
struct Service(Arc<Overlord>);

impl Service {
    fn overlord(&self) -> Arc<Overlord> {
        Arc::clone(&self.0)
    }
}

/// What a node says of itself, if its certificate is for that role.
fn certified(request: Request<v1::HeartbeatRequest>) -> Result<v1::HeartbeatRequest, RequestError> {
    let certified = request.extensions().get::<CallerRoles>().cloned();
    let request = request.into_inner();
    let role = request.node.as_ref().map(v1::Node::role);
    match (certified, role) {
        (Some(CallerRoles(roles)), Some(role)) if !roles.contains(&role) => {
            Err(RequestError::NotCertified { role })
        }
        _ => Ok(request),
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl OverlordRpc for Service {
    async fn heartbeat(&self, request: Request<v1::HeartbeatRequest>) -> Answer<v1::HeartbeatReply> {
        Ok(Response::new(self.0.heartbeat(certified(request)?)?))
    }

    async fn goodbye(&self, request: Request<v1::HeartbeatRequest>) -> Answer<v1::Empty> {
        Ok(Response::new(self.0.goodbye(certified(request)?)?))
    }

    async fn list_nodes(&self, _: Request<v1::Empty>) -> Answer<v1::NodeList> {
        Ok(Response::new(self.0.list_nodes()))
    }

    async fn introduce(&self, _: Request<v1::Empty>) -> Answer<v1::Introduction> {
        Ok(Response::new(self.0.introduce()))
    }

    async fn submit_task(&self, request: Request<v1::SubmitTaskRequest>) -> Answer<v1::SubmitTaskReply> {
        Ok(Response::new(
            self.0
                .to_the_end(self.overlord().submit(request.into_inner()))
                .await?,
        ))
    }

    async fn get_task(&self, request: Request<v1::TaskRequest>) -> Answer<v1::Task> {
        Ok(Response::new(
            self.0.get_task(&request.into_inner().task_id).await?,
        ))
    }

    async fn wait_task(&self, request: Request<v1::WaitTaskRequest>) -> Answer<v1::Task> {
        Ok(Response::new(self.0.wait_task(request.into_inner()).await?))
    }

    async fn list_tasks(&self, request: Request<v1::ListTasksRequest>) -> Answer<v1::TaskList> {
        Ok(Response::new(self.0.list_tasks(request.into_inner()).await?))
    }

    async fn get_report(&self, request: Request<v1::TaskRequest>) -> Answer<v1::Report> {
        Ok(Response::new(
            self.0.get_report(&request.into_inner().task_id).await?,
        ))
    }

    async fn shutdown_task(&self, request: Request<v1::ShutdownTaskRequest>) -> Answer<v1::Empty> {
        let request = request.into_inner();
        Ok(Response::new(
            self.0.to_the_end(self.overlord().shutdown_task(request)).await?,
        ))
    }

    async fn get_catalog(&self, request: Request<v1::CatalogRequest>) -> Answer<v1::Catalog> {
        Ok(Response::new(self.0.get_catalog(request.into_inner()).await?))
    }

    async fn list_segments(&self, request: Request<v1::SegmentsRequest>) -> Answer<v1::SegmentList> {
        Ok(Response::new(self.0.list_segments(request.into_inner()).await?))
    }

    async fn acquire_workers(
        &self,
        request: Request<v1::AcquireWorkersRequest>,
    ) -> Answer<v1::AcquireWorkersReply> {
        let version = request.extensions().get::<CallerVersion>().cloned();
        let version = version.map(|CallerVersion(version)| version);
        let acquired = self.0.acquire_workers(request.into_inner(), version).await?;
        Ok(Response::new(acquired))
    }

    async fn release_workers(&self, request: Request<v1::ReleaseWorkersRequest>) -> Answer<v1::Empty> {
        Ok(Response::new(self.0.release_workers(request.into_inner())?))
    }

    async fn put_checkpoint(&self, request: Request<v1::Checkpoint>) -> Answer<v1::Empty> {
        Ok(Response::new(
            self.0
                .to_the_end(self.overlord().put_checkpoint(request.into_inner()))
                .await?,
        ))
    }

    async fn allocate_segments(
        &self,
        request: Request<v1::AllocateSegmentsRequest>,
    ) -> Answer<v1::AllocateSegmentsReply> {
        Ok(Response::new(
            self.0
                .to_the_end(self.overlord().allocate(request.into_inner()))
                .await?,
        ))
    }

    async fn publish(&self, request: Request<v1::PublishRequest>) -> Answer<v1::PublishReply> {
        Ok(Response::new(
            self.0
                .to_the_end(self.overlord().publish(request.into_inner()))
                .await?,
        ))
    }

    async fn get_security(&self, request: Request<v1::GetSecurityRequest>) -> Answer<v1::GetSecurityReply> {
        Ok(Response::new(self.0.get_security(request.into_inner()).await?))
    }

    async fn change_security(&self, request: Request<v1::ChangeSecurityRequest>) -> Answer<v1::Empty> {
        Ok(Response::new(
            self.0
                .to_the_end(self.overlord().change_security(request.into_inner()))
                .await?,
        ))
    }

    async fn record_refusals(&self, request: Request<v1::RecordRefusalsRequest>) -> Answer<v1::Empty> {
        Ok(Response::new(self.0.record_refusals(&request.into_inner())))
    }

    async fn get_cluster(&self, _: Request<v1::Empty>) -> Answer<v1::ClusterState> {
        Ok(Response::new(self.0.get_cluster()))
    }

    async fn list_locks(&self, _: Request<v1::Empty>) -> Answer<v1::TaskLockList> {
        Ok(Response::new(self.0.list_locks()))
    }

    async fn page_segments(&self, request: Request<v1::PageSegmentsRequest>) -> Answer<v1::SegmentPage> {
        let page = self.0.store.page_segments(request.get_ref()).await;
        let segments = page.map_err(RequestError::from)?;
        Ok(Response::new(v1::SegmentPage { segments }))
    }

    async fn find_segment(&self, request: Request<v1::SegmentRequest>) -> Answer<v1::FoundSegment> {
        let v1::SegmentRequest { datasource, id } = request.into_inner();
        let found = self.0.store.find_segment(&datasource, &id).await;
        let found = found.map_err(RequestError::from)?;
        let used = found.as_ref().is_some_and(|(_, used)| *used);
        Ok(Response::new(v1::FoundSegment {
            segment: found.map(|(segment, _)| segment),
            used,
        }))
    }

    async fn page_intervals(&self, request: Request<v1::PageIntervalsRequest>) -> Answer<v1::IntervalPage> {
        let page = self.0.store.page_intervals(request.get_ref()).await;
        let intervals = page.map_err(RequestError::from)?;
        Ok(Response::new(v1::IntervalPage { intervals }))
    }

    async fn list_datasources(&self, request: Request<v1::DatasourcesRequest>) -> Answer<v1::DatasourceList> {
        let found = self.0.store.datasources(request.get_ref()).await;
        let datasources = found.map_err(RequestError::from)?;
        Ok(Response::new(v1::DatasourceList { datasources }))
    }

    async fn mark_segments(
        &self,
        request: Request<v1::MarkSegmentsRequest>,
    ) -> Answer<v1::MarkSegmentsReply> {
        Ok(Response::new(
            self.0
                .to_the_end(self.overlord().mark_segments(request.into_inner()))
                .await?,
        ))
    }

    async fn get_configs(&self, request: Request<v1::ConfigsRequest>) -> Answer<v1::ConfigList> {
        let configs = self.0.store.configs(&request.get_ref().kind).await;
        let configs = configs.map_err(RequestError::from)?;
        Ok(Response::new(v1::ConfigList { configs }))
    }

    async fn put_configs(&self, request: Request<v1::PutConfigsRequest>) -> Answer<v1::Empty> {
        Ok(Response::new(
            self.0
                .to_the_end(self.overlord().put_configs(request.into_inner()))
                .await?,
        ))
    }

    async fn get_config_history(
        &self,
        request: Request<v1::ConfigHistoryRequest>,
    ) -> Answer<v1::ConfigHistoryReply> {
        let entries = self.0.store.config_history(request.get_ref()).await;
        let entries = entries.map_err(RequestError::from)?;
        Ok(Response::new(v1::ConfigHistoryReply { entries }))
    }

    async fn get_task_log(&self, request: Request<v1::TaskLogRequest>) -> Answer<v1::TaskLog> {
        Ok(Response::new(self.0.get_task_log(request.into_inner()).await?))
    }

    async fn complete_task(&self, request: Request<v1::CompleteTaskRequest>) -> Answer<v1::Empty> {
        Ok(Response::new(
            self.0
                .to_the_end(self.overlord().complete(request.into_inner()))
                .await?,
        ))
    }
}
