//! Wire form of the plan nodes that datafusion-proto does not know.

mod map_values;

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::convert::{IpcSchemaEncoder, fb_to_schema};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::{FunctionRegistry, TaskContext};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use prost::Message;
use sarsen_functions::multivalue::{MAP_VALUES, MapValues};

use crate::extern_scan::ExternSpec;
use crate::{ExportSinkExec, ExternScanExec, SegmentSinkExec, ShuffleReadExec};

/// Encodes and decodes the nodes of this crate; functions travel by name and come from the registry of the decoding
/// context.
#[derive(Debug, Default, Clone, Copy)]
pub struct FragmentCodec;

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(oneof = "NodeKind", tags = "1, 2, 3, 4")]
    kind: Option<NodeKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum NodeKind {
    #[prost(message, tag = "1")]
    ShuffleRead(ShuffleReadNode),
    #[prost(message, tag = "2")]
    ExternScan(ExternScanNode),
    #[prost(message, tag = "3")]
    SegmentSink(SegmentSinkNode),
    #[prost(message, tag = "4")]
    ExportSink(SegmentSinkNode),
}

#[derive(Clone, PartialEq, Message)]
struct ShuffleReadNode {
    #[prost(uint64, tag = "1")]
    input: u64,
    /// Arrow IPC schema.
    #[prost(bytes = "vec", tag = "2")]
    schema: Vec<u8>,
    /// JSON of the kernel's key columns.
    #[prost(bytes = "vec", tag = "3")]
    merge_key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ExternScanNode {
    #[prost(uint64, tag = "1")]
    input: u64,
    #[prost(string, tag = "2")]
    source_json: String,
    #[prost(string, tag = "3")]
    format_json: String,
    #[prost(string, tag = "4")]
    signature_json: String,
    #[prost(uint64, repeated, tag = "5")]
    projection: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct SegmentSinkNode {
    /// JSON of the sink's options.
    #[prost(bytes = "vec", tag = "1")]
    options: Vec<u8>,
}

impl PhysicalExtensionCodec for FragmentCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &TaskContext,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let node = Node::decode(buf).map_err(|error| malformed("node", &error))?;
        match node.kind {
            Some(NodeKind::ShuffleRead(node)) => {
                let merge_key = serde_json::from_slice(&node.merge_key)
                    .map_err(|error| malformed("merge key", &error))?;
                let schema = decode_schema(&node.schema)?;
                Ok(Arc::new(ShuffleReadExec::new(
                    to_usize(node.input)?,
                    schema,
                    merge_key,
                    1,
                )))
            }
            Some(NodeKind::ExternScan(node)) => {
                let spec = ExternSpec {
                    source: node
                        .source_json
                        .parse()
                        .map_err(|error| malformed("input source", &error))?,
                    format: node
                        .format_json
                        .parse()
                        .map_err(|error| malformed("input format", &error))?,
                    signature: node
                        .signature_json
                        .parse()
                        .map_err(|error| malformed("signature", &error))?,
                };
                let projection = node.projection.into_iter().map(to_usize).collect::<Result<_>>()?;
                Ok(Arc::new(ExternScanExec::try_new(
                    to_usize(node.input)?,
                    Arc::new(spec),
                    projection,
                    1,
                )?))
            }
            Some(NodeKind::SegmentSink(node)) => {
                let options = serde_json::from_slice(&node.options)
                    .map_err(|error| malformed("segment sink", &error))?;
                match inputs {
                    [input] => Ok(Arc::new(SegmentSinkExec::new(Arc::clone(input), options))),
                    _ => internal_err!("a segment sink has one input, found {}", inputs.len()),
                }
            }
            Some(NodeKind::ExportSink(node)) => {
                let options = serde_json::from_slice(&node.options)
                    .map_err(|error| malformed("export sink", &error))?;
                match inputs {
                    [input] => Ok(Arc::new(ExportSinkExec::new(Arc::clone(input), options))),
                    _ => internal_err!("an export sink has one input, found {}", inputs.len()),
                }
            }
            None => internal_err!("a plan node of no known kind"),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let kind = if let Some(read) = node.downcast_ref::<ShuffleReadExec>() {
            NodeKind::ShuffleRead(ShuffleReadNode {
                input: read.input() as u64,
                schema: encode_schema(&node.schema()),
                merge_key: serde_json::to_vec(read.merge_key())
                    .map_err(|error| malformed("merge key", &error))?,
            })
        } else if let Some(scan) = node.downcast_ref::<ExternScanExec>() {
            NodeKind::ExternScan(ExternScanNode {
                input: scan.input() as u64,
                source_json: scan.spec().source.to_json(),
                format_json: scan.spec().format.to_json(),
                signature_json: scan.spec().signature.to_json(),
                projection: scan.projection().iter().map(|index| *index as u64).collect(),
            })
        } else if let Some(sink) = node.downcast_ref::<SegmentSinkExec>() {
            let options =
                serde_json::to_vec(sink.options()).map_err(|error| malformed("segment sink", &error))?;
            NodeKind::SegmentSink(SegmentSinkNode { options })
        } else if let Some(sink) = node.downcast_ref::<ExportSinkExec>() {
            let options =
                serde_json::to_vec(sink.options()).map_err(|error| malformed("export sink", &error))?;
            NodeKind::ExportSink(SegmentSinkNode { options })
        } else {
            return internal_err!("the plan node {} cannot travel to a worker", node.name());
        };
        Node { kind: Some(kind) }
            .encode(buf)
            .map_err(|error| malformed("node", &error))
    }

    fn try_encode_udf(&self, function: &ScalarUDF, buf: &mut Vec<u8>) -> Result<()> {
        match function.inner().downcast_ref::<MapValues>() {
            Some(function) => map_values::encode(function, buf),
            None => Ok(()),
        }
    }

    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
        if name.starts_with(MAP_VALUES) {
            map_values::decode(buf)
        } else {
            registry().udf(name)
        }
    }

    fn try_decode_udaf(&self, name: &str, _: &[u8]) -> Result<Arc<AggregateUDF>> {
        registry().udaf(name)
    }

    fn try_decode_udwf(&self, name: &str, _: &[u8]) -> Result<Arc<WindowUDF>> {
        registry().udwf(name)
    }
}

fn registry() -> &'static dyn FunctionRegistry {
    sarsen_functions::registry()
}

fn malformed(what: &str, error: &dyn std::fmt::Display) -> DataFusionError {
    DataFusionError::Internal(format!("malformed {what} in a fragment: {error}"))
}

fn to_usize(value: u64) -> Result<usize> {
    usize::try_from(value).map_err(|error| malformed("number", &error))
}

/// A schema as an Arrow IPC flatbuffer.
pub fn encode_schema(schema: &SchemaRef) -> Vec<u8> {
    IpcSchemaEncoder::new()
        .schema_to_fb(schema)
        .finished_data()
        .to_vec()
}

/// The schema of [`encode_schema`].
///
/// # Errors
/// For bytes that are not a schema.
pub fn decode_schema(bytes: &[u8]) -> Result<SchemaRef> {
    let schema = arrow::ipc::root_as_schema(bytes).map_err(|error| malformed("schema", &error))?;
    let schema: Schema = fb_to_schema(schema);
    Ok(Arc::new(schema))
}
