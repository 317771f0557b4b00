//! Connections are counted where they arrive: at a proxy before a server that answers calls and streams.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::v1;
use crate::v1::controller_client::ControllerClient;
use crate::v1::controller_server::{Controller, ControllerServer};
use crate::v1::worker_client::WorkerClient;
use crate::v1::worker_server::{Worker, WorkerServer};

/// Answers `ListRunning`, and each message of a stream with one of its own.
struct Answers;

#[tonic::async_trait]
impl Controller for Answers {
    async fn start_task(&self, _: Request<v1::StartTaskRequest>) -> Result<Response<v1::Empty>, Status> {
        std::future::pending().await
    }

    async fn cancel_task(&self, _: Request<v1::CancelTaskRequest>) -> Result<Response<v1::Empty>, Status> {
        Err(Status::not_found("no such task"))
    }

    async fn get_live_report(&self, _: Request<v1::TaskRequest>) -> Result<Response<v1::Report>, Status> {
        Err(Status::not_found("no such task"))
    }

    async fn get_live_log(&self, _: Request<v1::TaskRequest>) -> Result<Response<v1::TaskLog>, Status> {
        Err(Status::not_found("no such task"))
    }

    async fn list_running(&self, _: Request<v1::Empty>) -> Result<Response<v1::RunningTasks>, Status> {
        Ok(Response::new(v1::RunningTasks::default()))
    }
}

#[tonic::async_trait]
impl Worker for Answers {
    type RunTaskStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::WorkerEvent, Status>> + Send>>;

    async fn run_task(
        &self,
        request: Request<Streaming<v1::WorkerCommand>>,
    ) -> Result<Response<Self::RunTaskStream>, Status> {
        let mut commands = request.into_inner();
        let (events, answers) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok(Some(_)) = commands.message().await {
                if events.send(Ok(v1::WorkerEvent::default())).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

fn routes() -> tonic::service::Routes {
    let mut routes = tonic::service::RoutesBuilder::default();
    routes.add_service(ControllerServer::new(Answers));
    routes.add_service(WorkerServer::new(Answers));
    routes.routes()
}

/// What arrives at a server.
#[derive(Default)]
struct Arrivals {
    /// Connections ever.
    all: AtomicUsize,
    /// Those that are open.
    open: AtomicUsize,
}

/// A server, and a proxy before it which counts.
async fn counted() -> (String, Arc<Arrivals>) {
    let (behind, binding) = Network::default().bind("127.0.0.1:0").await.unwrap();
    tokio::spawn(serve(binding, routes(), CancellationToken::new()));
    let behind = behind.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let arrivals = Arc::new(Arrivals::default());
    let counted = Arc::clone(&arrivals);
    tokio::spawn(async move {
        loop {
            let (mut from, _) = listener.accept().await.unwrap();
            counted.all.fetch_add(1, Ordering::SeqCst);
            counted.open.fetch_add(1, Ordering::SeqCst);
            let (behind, counted) = (behind.clone(), Arc::clone(&counted));
            tokio::spawn(async move {
                let mut to = TcpStream::connect(behind).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                counted.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (address, arrivals)
}

async fn ask(network: &Network, address: &str) {
    let mut client = ControllerClient::new(network.channel(address).unwrap());
    client.list_running(v1::Empty {}).await.unwrap();
}

/// A stream that is open.
struct Talk {
    commands: mpsc::Sender<v1::WorkerCommand>,
    answers: Streaming<v1::WorkerEvent>,
}

impl Talk {
    async fn begin(network: &Network, address: &str) -> Talk {
        let mut client = WorkerClient::new(network.streaming_channel(address).unwrap());
        let (commands, sent) = mpsc::channel(1);
        let answers = client.run_task(ReceiverStream::new(sent)).await.unwrap();
        let mut talk = Talk {
            commands,
            answers: answers.into_inner(),
        };
        talk.go_on().await;
        talk
    }

    async fn go_on(&mut self) {
        self.commands.send(v1::WorkerCommand::default()).await.unwrap();
        assert!(self.answers.message().await.unwrap().is_some());
    }
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap();
}

#[tokio::test]
async fn all_calls_and_streams_to_a_process_share_one_connection() {
    let (address, arrivals) = counted().await;
    let network = Network::default();
    let of_other_version = network.announcing(Version::parse("9.9.9").unwrap());
    // Of Overlords that are listed, one is asked, and not by the layer that repeats.
    let listed = format!("{address},{address}");
    let mut talks = Vec::new();
    for _ in 0..20 {
        let (_, _, _, talk) = tokio::join!(
            ask(&network, &address),
            ask(&network, &listed),
            ask(&of_other_version, &address),
            Talk::begin(&network, &address)
        );
        talks.push(talk);
    }
    for talk in &mut talks {
        talk.go_on().await;
    }
    assert_eq!(arrivals.all.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn each_process_has_a_connection_of_its_own() {
    let ((first, to_first), (second, to_second)) = (counted().await, counted().await);
    let network = Network::default();
    for address in [&first, &second, &first, &second] {
        ask(&network, address).await;
    }
    assert_eq!(to_first.all.load(Ordering::SeqCst), 1);
    assert_eq!(to_second.all.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_forgotten_connection_serves_what_is_under_way_and_nothing_else() {
    let (address, arrivals) = counted().await;
    let network = Network::default();
    let held = network.channel(&address).unwrap();
    let mut talk = Talk::begin(&network, &address).await;
    network.forget(&address);
    ask(&network, &address).await;
    talk.go_on().await;
    // A channel that was made before goes on too, over the new connection.
    let mut client = ControllerClient::new(held);
    client.list_running(v1::Empty {}).await.unwrap();
    assert_eq!(arrivals.all.load(Ordering::SeqCst), 2);
    assert_eq!(arrivals.open.load(Ordering::SeqCst), 2);
    drop(talk);
    until(|| arrivals.open.load(Ordering::SeqCst) == 1).await;
    ask(&network, &address).await;
    assert_eq!(arrivals.all.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_call_under_way_outlives_its_connections_place() {
    let (address, _) = counted().await;
    let network = Network::default();
    let mut client = ControllerClient::new(network.channel(&address).unwrap());
    let waiting = tokio::spawn(async move { client.start_task(v1::StartTaskRequest::default()).await });
    ask(&network, &address).await;
    network.forget(&address);
    ask(&network, &address).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished(), "{:?}", waiting.await);
}

#[tokio::test]
async fn within_a_process_whoever_listens_now_is_reached() {
    let network = Network::default();
    assert!(matches!(
        network.channel("inproc://a"),
        Err(ConnectError::NoListener { .. })
    ));
    for _ in 0..2 {
        let (address, binding) = network.bind("inproc://a").await.unwrap();
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(binding, routes(), shutdown.clone()));
        let mut talk = Talk::begin(&network, &address).await;
        ask(&network, &address).await;
        talk.go_on().await;
        drop(talk);
        shutdown.cancel();
        server.await.unwrap().unwrap();
    }
}

/// Rows are read where all threads may be busy; connections are not served there.
#[test]
fn connections_are_served_where_the_process_listens() {
    let serving = tokio::runtime::Runtime::new().unwrap();
    let network = Network::default();
    let (address, arrivals) = serving.block_on(counted());
    serving.block_on(network.bind("127.0.0.1:0")).unwrap();
    let asking = tokio::runtime::Runtime::new().unwrap();
    asking.block_on(ask(&network, &address));
    drop(asking);
    serving.block_on(ask(&network, &address));
    assert_eq!(arrivals.all.load(Ordering::SeqCst), 1);
}
