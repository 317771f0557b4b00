//! What can go wrong with the process, and with one request.

use sarsen_proto::leader::LEADER_HEADER;
use tonic::{Code, Status};

use crate::coordination::Refusal;
use crate::ids::TaskId;
use crate::metadata::StoreError;

/// Why an Overlord could not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum OverlordError {
    #[error("cannot listen at {address}: {error}")]
    Bind { address: String, error: std::io::Error },
    #[error("{setting}: {reason}")]
    Setting { setting: &'static str, reason: String },
    #[error("cannot open the metadata store {place}: {error}")]
    OpenStore { place: String, error: StoreError },
    #[error("cannot use deep storage at {path}: {reason}")]
    DeepStorage { path: String, reason: String },
    #[error("cannot open the audit log {path}: {error}")]
    AuditLog { path: String, error: std::io::Error },
    #[error("the gRPC server failed: {0}")]
    Serve(#[from] tonic::transport::Error),
}

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("there is no task [{0}]")]
    UnknownTask(TaskId),
    #[error("task [{0}] exists already with another statement, context, parameters or identity")]
    TaskExists(TaskId),
    #[error("task [{0}] has ended")]
    TaskEnded(TaskId),
    #[error("epoch {given} of task [{task_id}] has been superseded by epoch {current}")]
    StaleEpoch {
        task_id: TaskId,
        given: u64,
        current: u64,
    },
    #[error(
        "no free worker slots for task [{task_id}]: {wanted} wanted, {free} of {total} free; \
         start more workers, raise their --slots, or lower maxNumTasks"
    )]
    NoSlots {
        task_id: TaskId,
        wanted: usize,
        free: u32,
        total: u32,
    },
    #[error("task [{task_id}] waits: {reason}")]
    NoSuchWorkers { task_id: TaskId, reason: String },
    #[error("task [{task_id}] goes to another controller: {reason}")]
    HandedOver { task_id: TaskId, reason: String },
    #[error(
        "user [{user}] has {most} queries that wait already; --max-queued-queries-per-user of the Overlord allows no more"
    )]
    TooManyQueued { user: String, most: u32 },
    #[error("Insert lock preempted by a higher-priority ingestion job")]
    LockPreempted,
    /// Something else was published where the segments belong: other versions and numbers may do.
    #[error("{0}")]
    Superseded(String),
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the caller's certificate does not say that it is a {}", sarsen_proto::tls::role_name(*.role))]
    NotCertified { role: sarsen_proto::v1::Role },
    #[error("this Overlord does not lead; {leader} does")]
    NotLeader { leader: String },
    #[error("no Overlord leads yet")]
    NoLeader,
    #[error("the metadata store failed: {0}")]
    Store(StoreError),
    #[error("deep storage failed: {0}")]
    Reports(#[from] crate::reports::ReportError),
    #[error("the Overlord is shutting down")]
    ShuttingDown,
    #[error("a handler ended early: {0}")]
    Internal(String),
}

impl From<StoreError> for RequestError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(reason) => RequestError::Conflict(reason),
            StoreError::Superseded(reason) => RequestError::Superseded(reason),
            error => RequestError::Store(error),
        }
    }
}

impl From<RequestError> for Status {
    fn from(error: RequestError) -> Self {
        let code = match &error {
            RequestError::UnknownTask(_) => Code::NotFound,
            RequestError::TaskExists(_) | RequestError::Superseded(_) => Code::AlreadyExists,
            RequestError::LockPreempted => Code::Aborted,
            RequestError::TaskEnded(_)
            | RequestError::StaleEpoch { .. }
            | RequestError::HandedOver { .. }
            | RequestError::Conflict(_) => Code::FailedPrecondition,
            RequestError::Refused(_) | RequestError::NotCertified { .. } => Code::PermissionDenied,
            RequestError::NoSlots { .. }
            | RequestError::NoSuchWorkers { .. }
            | RequestError::TooManyQueued { .. } => Code::ResourceExhausted,
            RequestError::Invalid(_) => Code::InvalidArgument,
            RequestError::Store(_)
            | RequestError::Reports(_)
            | RequestError::ShuttingDown
            | RequestError::NotLeader { .. }
            | RequestError::NoLeader => Code::Unavailable,
            RequestError::Internal(_) => Code::Internal,
        };
        let mut status = Status::new(code, error.to_string());
        if let RequestError::NotLeader { leader } = &error
            && let Ok(leader) = leader.parse()
        {
            status.metadata_mut().insert(LEADER_HEADER, leader);
        }
        status
    }
}
