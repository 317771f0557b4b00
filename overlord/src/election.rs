//! Which of several Overlords leads: an election in etcd, whose winner raises the term in the metadata store. The term
//! alone decides: a leader that etcd has lost goes on leading until another one has raised it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::{Client, Error};
use sarsen_proto::directory::{Directory, LEASE_SECONDS, in_time, keep_alive};
use sarsen_proto::membership::Departure;
use sarsen_proto::v1;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::coordination::{Leader, Leadership};
use crate::metadata::StoreError;
use crate::overlord::Overlord;
use crate::security;
use crate::time::now_ms;

const PAUSE: Duration = Duration::from_millis(300);

/// How often a leader looks whether the term is still its own.
const TERM_CHECK: Duration = Duration::from_millis(500);

/// An Overlord's part in the election.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) overlord: Arc<Overlord>,
    pub(crate) directory: Directory,
    pub(crate) leadership: Leadership,
    /// Where others reach this Overlord.
    pub(crate) address: String,
    /// What its operator says of it.
    pub(crate) labels: HashMap<String, String>,
    /// Told when another Overlord has raised the term.
    pub(crate) superseded: Notify,
}

impl Candidate {
    /// Takes part until the shutdown; leadership is given up then.
    pub(crate) async fn run(self) {
        let shutdown = self.overlord.shutdown.clone();
        let node = v1::Node {
            node_id: self.overlord.id.clone(),
            role: v1::Role::Overlord.into(),
            address: self.address.clone(),
            version: self.overlord.network.version().to_string(),
            labels: self.labels.clone(),
            ..Default::default()
        };
        let leader = self.directory.watch_leader();
        // Another Overlord is to lead as soon as this one begins to end.
        let at_once = Departure {
            draining: shutdown.clone(),
            gone: shutdown.clone(),
        };
        tokio::join!(
            self.directory.register(&node, &at_once),
            self.follow(leader.clone(), &shutdown),
            self.check_term(leader, &shutdown),
            self.campaign_again(&shutdown)
        );
    }

    /// Keeps in mind who leads, while it is another one.
    async fn follow(&self, mut leader: watch::Receiver<Option<String>>, shutdown: &CancellationToken) {
        loop {
            tokio::select! {
                changed = leader.changed() => if changed.is_err() { return },
                () = shutdown.cancelled() => return,
            }
            let seen = self.seen(&leader.borrow_and_update());
            if seen != Leader::Nobody && self.leadership.get() != Leader::Ours {
                tracing::info!(leader = ?seen, "follows another Overlord");
                self.leadership.set(seen);
            }
        }
    }

    /// Who leads besides this Overlord, by the directory.
    fn seen(&self, leader: &Option<String>) -> Leader {
        match leader {
            Some(address) if *address != self.address => Leader::Other(address.clone()),
            _ => Leader::Nobody,
        }
    }

    async fn campaign_again(&self, shutdown: &CancellationToken) {
        while !shutdown.is_cancelled() {
            tokio::select! {
                error = self.campaign() => {
                    tracing::warn!(directory = %self.directory, %error, "is out of the election, will take part again");
                }
                () = shutdown.cancelled() => return,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits for its turn to lead, leads, and holds its lease until that is lost.
    async fn campaign(&self) -> CampaignError {
        let outcome: Result<CampaignError, CampaignError> = async {
            let mut client = self.directory.client().await?;
            let lease = in_time(client.lease_grant(LEASE_SECONDS, None)).await?.id();
            let _given_up = GiveUp {
                client: client.clone(),
                lease,
            };
            let mut keeper = client.clone();
            let held = keep_alive(&mut keeper, lease);
            tokio::pin!(held);
            tokio::select! {
                won = client.campaign(self.directory.election(), self.address.clone(), lease) => { won?; }
                error = &mut held => return Err(error.into()),
            }
            if self.leadership.get() != Leader::Ours || !self.overlord.store.leads().await? {
                self.lead().await?;
            }
            let error = tokio::select! {
                error = held => error,
                () = self.superseded.notified() => Error::ElectError("another Overlord leads".to_owned()),
            };
            Ok(error.into())
        }
        .await;
        outcome.unwrap_or_else(|error| error)
    }

    async fn lead(&self) -> Result<(), StoreError> {
        self.overlord.take_over().await?;
        self.leadership.set(Leader::Ours);
        Ok(())
    }

    /// Steps down once another Overlord has raised the term.
    async fn check_term(&self, leader: watch::Receiver<Option<String>>, shutdown: &CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(TERM_CHECK) => {}
                () = shutdown.cancelled() => return,
            }
            if self.leadership.get() != Leader::Ours {
                continue;
            }
            match self.overlord.store.leads().await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::warn!("another Overlord leads: steps down");
                    self.leadership.set(self.seen(&leader.borrow()));
                    self.overlord.step_down();
                    self.superseded.notify_one();
                }
                Err(error) => tracing::warn!(%error, "cannot see whose term it is"),
            }
        }
    }
}

/// Why a campaign has ended.
#[derive(Debug, thiserror::Error)]
enum CampaignError {
    #[error("{0}")]
    Etcd(#[from] Error),
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Gives a lease back when a campaign ends, so that others need not wait until it runs out.
struct GiveUp {
    client: Client,
    lease: i64,
}

impl Drop for GiveUp {
    fn drop(&mut self) {
        let mut client = self.client.clone();
        let lease = self.lease;
        tokio::spawn(async move {
            let _ = in_time(client.lease_revoke(lease)).await;
        });
    }
}

impl Overlord {
    /// Begins to lead with what the store holds.
    pub(crate) async fn take_over(&self) -> Result<(), StoreError> {
        let term = self.store.lead().await?;
        let next_seq = self.store.next_seq().await?;
        let open = self.store.open_tasks().await?;
        tracing::info!(term, tasks = open.len(), "leads");
        self.state().restart(next_seq, open, Instant::now(), now_ms());
        if let Some(password) = &self.initial_admin_password {
            let mut made = false;
            let ensure = |state: &mut _| {
                made = security::ensure_admin(state, password)?;
                Ok(())
            };
            self.store.change_security(ensure).await?;
            if made {
                tracing::info!("made the user admin");
            }
        }
        Ok(())
    }

    /// Forgets everything that only a leader knows; who waits for a task here is told to ask again.
    fn step_down(&self) {
        self.state().restart(0, Vec::new(), Instant::now(), now_ms());
        self.grant();
    }
}
