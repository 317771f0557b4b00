//! Outputs that outlive their worker: what a work order left for its consumers, in deep storage.
//!
//! An output is two objects: its frames one after another, partition by partition, and an index that is written last, so
//! that an output is whole where there is one. Consumers read the ranges of their partitions.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use sarsen_kernel::ids::WorkOrderId;
use sarsen_object::Upload;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::pull::{Piece, PullCounters};
use crate::shuffle::Output;
use crate::shuffle::frames::{self, Frame};

/// Folder below deep storage.
const FOLDER: &str = "shuffle";

/// How an address begins that names no process but a folder of outputs.
const SCHEME: &str = "durable:";

/// Folder of all outputs of a query.
pub fn query_folder(query_id: &str) -> String {
    format!("{FOLDER}/query-{query_id}")
}

/// Stands for the address of a process: each run of a controller has outputs of its own.
pub fn address(query_id: &str, epoch: u64) -> String {
    format!("{SCHEME}{}/{epoch}", query_folder(query_id))
}

/// The folder that an address names; `None` for that of a process.
pub fn folder_of(address: &str) -> Option<&str> {
    address.strip_prefix(SCHEME)
}

fn paths(folder: &str, order: WorkOrderId) -> (Path, Path) {
    let name = format!(
        "{folder}/stage{}-worker{}-{}",
        order.stage, order.worker, order.attempt
    );
    (
        Path::from(format!("{name}.frames")),
        Path::from(format!("{name}.index")),
    )
}

/// Where the blocks of an output lie in its object of frames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Index {
    /// By partition number.
    partitions: Vec<PartitionIndex>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PartitionIndex {
    /// Of its first block.
    offset: u64,
    /// By run: bytes of the header and of the body of each block.
    runs: Vec<Vec<(u32, u32)>>,
}

/// Writes an output.
///
/// # Errors
/// When a block cannot be read or the store fails; then nothing of it stays.
pub async fn write(
    store: &Arc<dyn ObjectStore>,
    address: &str,
    order: WorkOrderId,
    output: &Output,
) -> Result<()> {
    let (frames, index) = paths(folder_of(address).unwrap_or(address), order);
    let mut upload = Upload::new(Arc::clone(store), frames);
    let mut partitions = Vec::with_capacity(output.partitions.len());
    for partition in &output.partitions {
        let offset = upload.bytes();
        let mut runs = Vec::with_capacity(partition.runs.len());
        for run in &partition.runs {
            let mut blocks = Vec::with_capacity(run.blocks.len());
            for block in &run.blocks {
                let frame = block.frame()?;
                blocks.push((small(frame.header.len())?, small(frame.body.len())?));
                upload.write(&frame.header).await.map_err(external)?;
                upload.write(&frame.body).await.map_err(external)?;
            }
            runs.push(blocks);
        }
        partitions.push(PartitionIndex { offset, runs });
    }
    upload.finish().await.map_err(external)?;
    let json = serde_json::to_vec(&Index { partitions })
        .map_err(|error| DataFusionError::External(Box::new(error)))?;
    store
        .put(&index, PutPayload::from(json))
        .await
        .map_err(external)?;
    Ok(())
}

/// Removes an output.
pub async fn remove(store: &Arc<dyn ObjectStore>, address: &str, order: WorkOrderId) {
    let (frames, index) = paths(folder_of(address).unwrap_or(address), order);
    // Without its index it is none.
    for path in [index, frames] {
        match store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => tracing::warn!(%path, %error, "a durable output stays until its query ends"),
        }
    }
}

fn small(bytes: usize) -> Result<u32> {
    u32::try_from(bytes).map_err(|error| DataFusionError::External(Box::new(error)))
}

fn external(error: object_store::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Reads durable outputs; the index of each is fetched once.
#[derive(Debug, Clone)]
pub struct DurableReader {
    store: Arc<dyn ObjectStore>,
    indices: Arc<Mutex<HashMap<Path, IndexCell>>>,
}

/// An index that the first who needs it fetches.
type IndexCell = Arc<OnceCell<Arc<Index>>>;

/// Bytes of one request: of a piece of several sorted runs, each of which has requests of its own, less.
const REQUEST_BYTES: u64 = 8 << 20;
const RUN_REQUEST_BYTES: u64 = 1 << 20;

/// Requests of one run on their way.
const REQUESTS_AHEAD: usize = 2;

impl DurableReader {
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        DurableReader {
            store,
            indices: Arc::default(),
        }
    }

    async fn index(&self, path: &Path) -> object_store::Result<Arc<Index>> {
        let cell = {
            let mut indices = self.indices.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(indices.entry(path.clone()).or_default())
        };
        let index = cell.get_or_try_init(|| async {
            let bytes = self.store.get(path).await?.bytes().await?;
            let index = serde_json::from_slice(&bytes).map_err(|error| object_store::Error::Generic {
                store: "durable shuffle",
                source: Box::new(error),
            })?;
            Ok(Arc::new(index))
        });
        index.await.map(Arc::clone)
    }

    /// One stream per run of the piece, whose address names `folder`.
    ///
    /// # Errors
    /// When there is no such output.
    pub async fn open(
        &self,
        folder: &str,
        piece: Piece,
        schema: SchemaRef,
        counters: Arc<PullCounters>,
    ) -> Result<Vec<SendableRecordBatchStream>> {
        let (frames_path, index_path) = paths(folder, piece.producer);
        let unavailable = |error: object_store::Error| crate::pull::unavailable(&piece, &error.to_string());
        let index = self.index(&index_path).await.map_err(unavailable)?;
        let Some(partition) = index.partitions.get(piece.partition.0 as usize) else {
            return Ok(Vec::new());
        };
        let request_bytes = if partition.runs.len() > 1 {
            RUN_REQUEST_BYTES
        } else {
            REQUEST_BYTES
        };
        let mut offset = partition.offset;
        let mut streams = Vec::with_capacity(partition.runs.len());
        for blocks in &partition.runs {
            let requests = requests(&mut offset, blocks, request_bytes);
            let (store, path) = (Arc::clone(&self.store), frames_path.clone());
            let (run_schema, piece, counters) = (Arc::clone(&schema), piece.clone(), Arc::clone(&counters));
            let batches = futures::stream::iter(requests)
                .map(move |request| {
                    let (store, path, piece) = (Arc::clone(&store), path.clone(), piece.clone());
                    async move {
                        let bytes = store.get_range(&path, request.range).await;
                        let bytes =
                            bytes.map_err(|error| crate::pull::unavailable(&piece, &error.to_string()))?;
                        Ok::<_, DataFusionError>((bytes, request.blocks))
                    }
                })
                .buffered(REQUESTS_AHEAD)
                .map_ok(move |(bytes, blocks)| {
                    let (schema, counters) = (Arc::clone(&run_schema), Arc::clone(&counters));
                    futures::stream::iter(decoded(bytes, blocks, schema).map(move |batch| {
                        let batch = batch?;
                        counters.count(&batch);
                        Ok(batch)
                    }))
                })
                .try_flatten();
            streams.push(
                Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), batches))
                    as SendableRecordBatchStream,
            );
        }
        Ok(streams)
    }
}

/// Blocks that are fetched together.
struct Request {
    range: Range<u64>,
    blocks: Vec<(u32, u32)>,
}

/// The blocks of a run in requests of about so many bytes; `offset` goes to its end.
fn requests(offset: &mut u64, blocks: &[(u32, u32)], request_bytes: u64) -> Vec<Request> {
    let mut requests: Vec<Request> = Vec::new();
    for (header, body) in blocks {
        let end = *offset + u64::from(*header) + u64::from(*body);
        match requests.last_mut() {
            Some(last) if end - last.range.start <= request_bytes => {
                last.range.end = end;
                last.blocks.push((*header, *body));
            }
            _ => requests.push(Request {
                range: *offset..end,
                blocks: vec![(*header, *body)],
            }),
        }
        *offset = end;
    }
    requests
}

fn decoded(
    bytes: Bytes,
    blocks: Vec<(u32, u32)>,
    schema: SchemaRef,
) -> impl Iterator<Item = Result<RecordBatch>> {
    let mut rest = bytes;
    blocks.into_iter().map(move |(header, body)| {
        let (header, body) = (header as usize, body as usize);
        if rest.len() < header + body {
            return Err(DataFusionError::Execution(
                "a durable output is cut off".to_owned(),
            ));
        }
        let frame = Frame {
            header: rest.split_to(header),
            body: rest.split_to(body),
        };
        Ok(frames::decode(&frame, Arc::clone(&schema))?)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use object_store::memory::InMemory;
    use sarsen_kernel::ids::{Attempt, PartitionNumber, StageNumber, WorkerNumber};

    use super::*;
    use crate::shuffle::output::StoreMemory;
    use crate::shuffle::tests::batch;
    use crate::shuffle::{BlockStore, PartitionData, Run};

    #[tokio::test]
    async fn every_partition_and_run_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let blocks = BlockStore::new(
            StoreMemory::new(100_000, u64::MAX),
            folder.path().join("f"),
            Arc::default(),
        );
        let run = |range: Range<i64>| Run {
            blocks: range
                .map(|block| blocks.put(batch(block * 500..(block + 1) * 500)).unwrap())
                .collect(),
        };
        let partitions = vec![
            PartitionData {
                runs: vec![run(0..30)],
            },
            PartitionData::default(),
            PartitionData {
                runs: vec![run(30..33), run(33..34)],
            },
        ];
        let output = Output {
            schema: batch(0..1).schema(),
            partitions,
        };
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let order = WorkOrderId {
            stage: StageNumber(1),
            worker: WorkerNumber(2),
            attempt: Attempt(0),
        };
        let address = address("q", 7);
        write(&store, &address, order, &output).await.unwrap();
        let reader = DurableReader::new(Arc::clone(&store));
        let piece = |partition| Piece {
            query_id: "q".to_owned(),
            producer: order,
            partition: PartitionNumber(partition),
            address: address.clone(),
        };
        let rows = |partition| {
            let (reader, piece, schema) = (reader.clone(), piece(partition), Arc::clone(&output.schema));
            let folder = folder_of(&address).unwrap().to_owned();
            async move {
                let streams = reader.open(&folder, piece, schema, Arc::default()).await.unwrap();
                let mut read = Vec::new();
                for stream in streams {
                    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
                    read.push(batches);
                }
                read
            }
        };
        let first = rows(0).await;
        assert_eq!(first.len(), 1);
        assert_eq!(first.first().unwrap().len(), 30);
        assert_eq!(first.first().unwrap().get(29).unwrap(), &batch(14_500..15_000));
        assert!(rows(1).await.is_empty());
        assert!(rows(9).await.is_empty());
        let two = rows(2).await;
        assert_eq!(two.iter().map(Vec::len).collect::<Vec<_>>(), [3, 1]);
        remove(&store, &address, order).await;
        let again = DurableReader::new(store);
        let gone = again.open(
            folder_of(&address).unwrap(),
            piece(0),
            Arc::clone(&output.schema),
            Arc::default(),
        );
        assert!(gone.await.is_err());
    }
}
