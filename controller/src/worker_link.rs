//! The stream to one worker task: commands out, events in, opened again when it drops.

use std::sync::Arc;
use std::time::Duration;

use sarsen_kernel::ids::{Incarnation, WorkerNumber};
use sarsen_proto::transport::Network;
use sarsen_proto::v1;
use sarsen_proto::v1::worker_client::WorkerClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// What a link tells its query's loop.
#[derive(Debug)]
pub enum LinkEvent {
    /// The worker task answers.
    Ready,
    Worker(v1::worker_event::Event),
    /// It could not be reached for [`GIVE_UP`].
    Lost(String),
}

/// A link event with whom it is from.
#[derive(Debug)]
pub struct FromLink {
    pub worker: WorkerNumber,
    pub incarnation: Incarnation,
    pub event: LinkEvent,
}

/// How long a worker may be out of reach before it counts as lost.
const GIVE_UP: Duration = Duration::from_secs(10);

/// Time to open a stream.
const OPENING: Duration = Duration::from_secs(5);

/// Commands that may wait for a worker.
const WAITING_COMMANDS: usize = 1024;

/// Bytes of a message at the most.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// One worker task as its controller sees it.
#[derive(Debug)]
pub struct WorkerLink {
    commands: mpsc::Sender<v1::worker_command::Command>,
    cancel: CancellationToken,
}

impl WorkerLink {
    /// Starts to connect; what happens is told through `events`.
    pub fn open(
        network: Network,
        node: &v1::Node,
        attach: v1::Attach,
        events: mpsc::Sender<FromLink>,
        tasks: &mut tokio::task::JoinSet<()>,
    ) -> Self {
        let (commands, receiver) = mpsc::channel(WAITING_COMMANDS);
        let cancel = CancellationToken::new();
        let link = Link {
            network,
            address: node.address.clone(),
            worker: WorkerNumber(attach.worker),
            incarnation: Incarnation(attach.incarnation),
            attach,
            events,
            instance: None,
            sent: Vec::new(),
        };
        tasks.spawn(link.run(receiver, cancel.clone()));
        WorkerLink { commands, cancel }
    }

    /// Sends a command, now or once the worker can be reached again.
    pub async fn send(&self, command: v1::worker_command::Command) {
        // A link that is gone has said so by its own event.
        let _ = self.commands.send(command).await;
    }

    /// Stops trying.
    pub fn close(&self) {
        self.cancel.cancel();
    }
}

struct Link {
    network: Network,
    address: String,
    worker: WorkerNumber,
    incarnation: Incarnation,
    attach: v1::Attach,
    events: mpsc::Sender<FromLink>,
    /// The worker task that was reached first.
    instance: Option<String>,
    /// Commands that the worker may not have seen: repeated after a reconnection, where they do no harm.
    sent: Vec<Arc<v1::worker_command::Command>>,
}

enum StreamEnd {
    Closed,
    /// Another worker task answers, which knows nothing of what this one was told: its process took the other's place.
    Replaced,
    Dropped(String),
}

impl Link {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<v1::worker_command::Command>,
        cancel: CancellationToken,
    ) {
        let mut last_contact = tokio::time::Instant::now();
        let mut pause = Duration::from_millis(50);
        loop {
            let end = tokio::select! {
                end = self.stream(&mut commands, &mut last_contact, &cancel) => end,
                () = cancel.cancelled() => StreamEnd::Closed,
            };
            let reason = match end {
                StreamEnd::Closed => return,
                StreamEnd::Replaced => {
                    let reason = "its process was replaced by another one at the same address".to_owned();
                    return self.tell(LinkEvent::Lost(reason)).await;
                }
                StreamEnd::Dropped(reason) => reason,
            };
            tracing::debug!(worker = %self.worker, reason, "the stream to a worker dropped");
            if last_contact.elapsed() > GIVE_UP || is_final(&reason) {
                self.tell(LinkEvent::Lost(reason)).await;
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    async fn stream(
        &mut self,
        commands: &mut mpsc::Receiver<v1::worker_command::Command>,
        last_contact: &mut tokio::time::Instant,
        cancel: &CancellationToken,
    ) -> StreamEnd {
        let channel = match self.network.streaming_channel(&self.address) {
            Ok(channel) => channel,
            Err(error) => return StreamEnd::Dropped(error.to_string()),
        };
        let mut client = WorkerClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (sender, receiver) = mpsc::channel(WAITING_COMMANDS);
        let attach = v1::worker_command::Command::Attach(self.attach.clone());
        if sender.send(message(attach)).await.is_err() {
            return StreamEnd::Dropped("the stream closed before it opened".to_owned());
        }
        let opening = tokio::time::timeout(OPENING, client.run_task(ReceiverStream::new(receiver))).await;
        let mut incoming = match opening {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return StreamEnd::Dropped(status.to_string()),
            Err(_) => return self.unanswered(),
        };
        match tokio::time::timeout(OPENING, attached(&mut incoming)).await {
            Ok(Ok(instance)) if self.instance.as_ref().is_none_or(|known| *known == instance) => {
                self.instance = Some(instance);
            }
            Ok(Ok(_)) => {
                let finish = v1::worker_command::Command::Finish(v1::Empty {});
                let _ = sender.send(message(finish)).await;
                return StreamEnd::Replaced;
            }
            Ok(Err(reason)) => return StreamEnd::Dropped(reason),
            Err(_) => return self.unanswered(),
        }
        *last_contact = tokio::time::Instant::now();
        self.tell(LinkEvent::Ready).await;
        let repeated: Vec<_> = self
            .sent
            .iter()
            .map(|command| message(command.as_ref().clone()))
            .collect();
        for command in repeated {
            if sender.send(command).await.is_err() {
                return StreamEnd::Dropped("the stream closed while commands were repeated".to_owned());
            }
        }
        loop {
            tokio::select! {
                command = commands.recv() => {
                    let Some(command) = command else { return StreamEnd::Closed };
                    let finishes = matches!(command, v1::worker_command::Command::Finish(_));
                    self.sent.push(Arc::new(command.clone()));
                    if sender.send(message(command)).await.is_err() {
                        return StreamEnd::Dropped("the stream closed".to_owned());
                    }
                    if finishes {
                        // The worker closes the stream once it has cleaned up.
                        drop(sender);
                        while let Ok(Ok(Some(_))) = tokio::time::timeout(OPENING, incoming.message()).await {}
                        return StreamEnd::Closed;
                    }
                }
                event = incoming.message() => match event {
                    Ok(Some(v1::WorkerEvent { event: Some(event) })) => {
                        *last_contact = tokio::time::Instant::now();
                        self.tell(LinkEvent::Worker(event)).await;
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => return StreamEnd::Dropped("the worker closed the stream".to_owned()),
                    Err(status) => return StreamEnd::Dropped(status.to_string()),
                },
                () = cancel.cancelled() => return StreamEnd::Closed,
            }
        }
    }

    /// The connection may lead nowhere: the next stream has another one. One that has broken is opened again as it is.
    fn unanswered(&self) -> StreamEnd {
        self.network.forget(&self.address);
        StreamEnd::Dropped("no answer to Attach".to_owned())
    }

    async fn tell(&self, event: LinkEvent) {
        let _ = self
            .events
            .send(FromLink {
                worker: self.worker,
                incarnation: self.incarnation,
                event,
            })
            .await;
    }
}

/// The first event of a stream: which worker task it leads to.
async fn attached(incoming: &mut tonic::Streaming<v1::WorkerEvent>) -> Result<String, String> {
    match incoming.message().await {
        Ok(Some(v1::WorkerEvent {
            event: Some(v1::worker_event::Event::Attached(attached)),
        })) => Ok(attached.instance),
        Ok(Some(_)) => Err("the worker did not begin with Attached".to_owned()),
        Ok(None) => Err("the worker closed the stream".to_owned()),
        Err(status) => Err(status.to_string()),
    }
}

/// A refusal that waiting does not change; a process that is gone refuses its port at once.
fn is_final(reason: &str) -> bool {
    [
        "FailedPrecondition",
        "PermissionDenied",
        "Connection refused",
        "nothing listens",
    ]
    .iter()
    .any(|word| reason.contains(word))
}

fn message(command: v1::worker_command::Command) -> v1::WorkerCommand {
    v1::WorkerCommand {
        command: Some(command),
    }
}
