//! IP addresses.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, StringViewArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::ScalarUDF;

use crate::function::{Call, Definition, Gives, defined};
use crate::operand::Operand::{Any, Text};

const FUNCTIONS: [Definition; 4] = [
    Definition::new("ipv4_match", &[Any, Text], Gives::Condition, ipv4_match),
    Definition::new("ipv4_parse", &[Any], Gives::Long, |call| {
        let addresses: Int64Array = ipv4s(call)?
            .into_iter()
            .map(|address| address.map(|address| i64::from(address.to_bits())))
            .collect();
        Ok(Arc::new(addresses))
    }),
    Definition::new("ipv4_stringify", &[Any], Gives::Text, |call| {
        let texts: StringViewArray = ipv4s(call)?
            .into_iter()
            .map(|address| address.map(|address| address.to_string()))
            .collect();
        Ok(Arc::new(texts))
    }),
    Definition::new("ipv6_match", &[Text, Text], Gives::Condition, ipv6_match),
];

/// The functions of this family.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    defined(FUNCTIONS)
}

/// Addresses of the first argument, as text or as number; `None` for what is none.
fn ipv4s(call: &Call<'_>) -> Result<Vec<Option<Ipv4Addr>>> {
    let array = call.array(0)?;
    if array.data_type() == &DataType::Int64 {
        let longs = array.as_primitive::<Int64Type>().iter();
        return Ok(longs
            .map(|long| u32::try_from(long?).ok().map(Ipv4Addr::from_bits))
            .collect());
    }
    let texts = call.texts(0)?;
    Ok(texts.iter().map(|text| text?.parse().ok()).collect())
}

/// A subnet in CIDR notation as its bits and the number of those that count.
fn subnet<A: std::str::FromStr>(call: &Call<'_>, most: u32) -> Result<Option<(A, u32)>> {
    let Some(text) = call.literal_text(1)? else {
        return Ok(None);
    };
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, bits.parse().ok()),
        None => (text, Some(most)),
    };
    match (address.parse(), bits) {
        (Ok(address), Some(bits)) if bits <= most => Ok(Some((address, bits))),
        _ => exec_err!("Function[{}] subnet arg has an invalid format: {text}", call.name),
    }
}

fn ipv4_match(call: &Call<'_>) -> Result<ArrayRef> {
    let Some((network, bits)) = subnet::<Ipv4Addr>(call, 32)? else {
        return Ok(Arc::new(BooleanArray::new_null(call.rows)));
    };
    let same = |address: Ipv4Addr| {
        bits == 0 || (address.to_bits() ^ network.to_bits()).checked_shr(32 - bits) == Some(0)
    };
    let matches: BooleanArray = ipv4s(call)?
        .into_iter()
        .map(|address| Some(address.is_some_and(same)))
        .collect();
    Ok(Arc::new(matches))
}

fn ipv6_match(call: &Call<'_>) -> Result<ArrayRef> {
    let Some((network, bits)) = subnet::<Ipv6Addr>(call, 128)? else {
        return Ok(Arc::new(BooleanArray::new_null(call.rows)));
    };
    let same = |address: Ipv6Addr| {
        bits == 0 || (address.to_bits() ^ network.to_bits()).checked_shr(128 - bits) == Some(0)
    };
    let matches: BooleanArray = call
        .texts(0)?
        .iter()
        .map(|text| Some(text.and_then(|text| text.parse().ok()).is_some_and(same)))
        .collect();
    Ok(Arc::new(matches))
}
