//! A worker process as its controller meets it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use clap::Parser;
use sarsen_kernel::fault::FaultReport;
use sarsen_kernel::ids::{Attempt, Epoch, QueryId, StageNumber, WorkOrderId};
use sarsen_kernel::shuffle::{RELEASE, Release, ShuffleKind, ShuffleSpec};
use sarsen_kernel::work_order::{OutputMode, WorkOrder};
use sarsen_proto::v1::worker_client::WorkerClient;
use sarsen_proto::v1::worker_command::Command;
use sarsen_proto::v1::worker_event::Event;
use sarsen_proto::{from_kernel, to_kernel};

use super::*;

#[derive(Parser)]
struct Parsed {
    #[command(flatten)]
    options: Options,
}

/// A work order of a stage that mixes.
fn order() -> WorkOrder {
    WorkOrder {
        query_id: QueryId("q".to_owned()),
        id: WorkOrderId {
            stage: StageNumber(2),
            worker: WorkerNumber(0),
            attempt: Attempt(0),
        },
        epoch: Epoch(1),
        inputs: Vec::new(),
        fragment: Vec::new(),
        shuffle: Some(ShuffleSpec {
            kind: ShuffleKind::Mix,
            key: Vec::new(),
            bucket_prefix_bytes: 0,
            release: Release::default(),
        }),
        boundaries: None,
        output: OutputMode::Memory,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_order_of_another_release_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_string_lossy().into_owned();
    let flags = [
        "worker",
        "--grpc-addr",
        "inproc://worker",
        "--overlord",
        "http://127.0.0.1:1",
        "--memory-limit",
        "256M",
        "--data-dir",
        &data,
    ];
    let (network, shutdown) = (Network::default(), CancellationToken::new());
    let options = Parsed::parse_from(flags).options;
    let started = start(options, network.clone(), shutdown.clone()).await.unwrap();

    let attach = Command::Attach(v1::Attach {
        query_id: "q".to_owned(),
        epoch: 1,
        context_json: "{}".to_owned(),
        ticket_key: TicketKey::random().unwrap().to_bytes().into(),
        version: network.version().to_string(),
        ..Default::default()
    });
    let mut told = serde_json::to_value(order()).unwrap();
    told["shuffle"]["release"] = "0.0.7".into();
    let start = Command::Start(v1::StartWorkOrder {
        order: Some(to_kernel(&told).unwrap()),
        fragment: Default::default(),
    });
    let (commands, sent) = mpsc::channel(2);
    for command in [attach, start] {
        let command = Some(command);
        commands.send(v1::WorkerCommand { command }).await.unwrap();
    }
    let mut client = WorkerClient::new(network.streaming_channel(&started.address).unwrap());
    let mut events = client
        .run_task(ReceiverStream::new(sent))
        .await
        .unwrap()
        .into_inner();
    let failed = loop {
        match events.message().await.unwrap().unwrap().event {
            Some(Event::Failed(failed)) => break failed,
            Some(Event::OutputReady(ready)) => panic!("{ready:?}"),
            _ => {}
        }
    };
    let report: FaultReport = from_kernel(failed.fault.as_ref(), "FailedEvent", "fault").unwrap();
    let words = report.fault.message();
    assert!(
        words.contains("Sarsen 0.0.7") && words.contains(RELEASE),
        "{words}"
    );
    assert_eq!(report.stage, Some(StageNumber(2)));

    let command = Some(Command::Finish(v1::Empty {}));
    commands.send(v1::WorkerCommand { command }).await.unwrap();
    shutdown.cancel();
    started.done.await.unwrap().unwrap();
}
