//! Wire form of the function that evaluates an expression for each value of multi-value strings: it holds that
//! expression.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::ScalarUDF;
use datafusion_proto::physical_plan::from_proto::parse_physical_expr;
use datafusion_proto::physical_plan::to_proto::serialize_physical_expr;
use datafusion_proto::protobuf::PhysicalExprNode;
use prost::Message;
use sarsen_functions::multivalue::{MapValues, Sees};

use super::{FragmentCodec, decode_schema, encode_schema, malformed};

#[derive(Clone, PartialEq, Message)]
struct MapValuesNode {
    #[prost(message, optional, tag = "1")]
    body: Option<PhysicalExprNode>,
    /// Arrow IPC schema of what the body sees.
    #[prost(bytes = "vec", tag = "2")]
    inputs: Vec<u8>,
    /// For each input whether the body sees its values one by one.
    #[prost(bool, repeated, tag = "3")]
    each_value: Vec<bool>,
    #[prost(string, tag = "4")]
    shown: String,
}

pub(super) fn encode(function: &MapValues, buffer: &mut Vec<u8>) -> Result<()> {
    let node = MapValuesNode {
        body: Some(serialize_physical_expr(function.body(), &FragmentCodec)?),
        inputs: encode_schema(function.inputs()),
        each_value: function
            .sees()
            .iter()
            .map(|sees| *sees == Sees::EachValue)
            .collect(),
        shown: function.shown().to_owned(),
    };
    node.encode(buffer)
        .map_err(|error| malformed("mapped expression", &error))
}

pub(super) fn decode(buffer: &[u8]) -> Result<Arc<ScalarUDF>> {
    let node = MapValuesNode::decode(buffer).map_err(|error| malformed("mapped expression", &error))?;
    let inputs = decode_schema(&node.inputs)?;
    let body = node
        .body
        .ok_or_else(|| malformed("mapped expression", &"there is none"))?;
    // Its functions are those of the registry, which the codec asks by itself.
    let body = parse_physical_expr(&body, &TaskContext::default(), &inputs, &FragmentCodec)?;
    let sees = node.each_value.iter().map(|each_value| match each_value {
        true => Sees::EachValue,
        false => Sees::Whole,
    });
    let function = MapValues::try_new(body, inputs, sees.collect(), node.shown)?;
    Ok(Arc::new(ScalarUDF::from(function)))
}
