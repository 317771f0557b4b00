//! DECODE_BASE64_COMPLEX: states that are kept as texts.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray};
use datafusion::common::{Result, exec_err, plan_err};

use crate::function::{Call, Definition, Gives};
use crate::operand::Operand::{Name, ProperText};

pub(super) const FUNCTIONS: [Definition; 1] = [Definition::new(
    "decode_base64_complex",
    &[Name, ProperText],
    Gives::Named(known),
    decode,
)
.also(&["complex_decode_base64"])];

/// COMPLEX types whose bytes Druid reads.
const TYPES: [&str; 15] = [
    "approximateHistogram",
    "arrayOfDoublesSketch",
    "bloom",
    "fixedBucketsHistogram",
    "HLLSketch",
    "HLLSketchBuild",
    "hyperUnique",
    "KllDoublesSketch",
    "KllFloatsSketch",
    "quantilesDoublesSketch",
    "serializablePairLongString",
    "tDigestSketch",
    "thetaSketch",
    "thetaSketchBuild",
    "variance",
];

/// The type of that name.
///
/// # Errors
/// For a name of no type.
fn known(name: Option<&str>) -> Result<&'static str> {
    let Some(name) = name else {
        return plan_err!(
            "Function[complex_decode_base64] first argument must be constant STRING expression containing a valid complex type name but got NULL instead"
        );
    };
    match TYPES.iter().find(|known| **known == name) {
        Some(known) => Ok(known),
        None => plan_err!(
            "Function[complex_decode_base64] first argument must be a valid COMPLEX type name, got unknown COMPLEX type [COMPLEX<{name}>]"
        ),
    }
}

fn decode(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.texts(1)?;
    let decoded = texts.iter().map(|text| match text.map(crate::base64::decode) {
        None => Ok(None),
        Some(Some(bytes)) => Ok(Some(bytes)),
        Some(None) => exec_err!("Function[complex_decode_base64] second argument is no base64"),
    });
    Ok(Arc::new(decoded.collect::<Result<BinaryArray>>()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use datafusion::scalar::ScalarValue;

    use super::*;
    use crate::sketches::read::tests::called;

    #[test]
    fn texts_become_bytes() {
        let decode = |text: Option<&str>| {
            let text = ScalarValue::Utf8View(text.map(str::to_owned));
            called(&FUNCTIONS, "decode_base64_complex", &["thetaSketch".into(), text])
        };
        assert_eq!(
            decode(Some("AQID")).unwrap(),
            ScalarValue::Binary(Some(vec![1, 2, 3]))
        );
        assert_eq!(decode(None).unwrap(), ScalarValue::Binary(None));
        assert!(decode(Some("*")).unwrap_err().to_string().contains("no base64"));
    }

    #[test]
    fn types_are_known_by_name() {
        assert_eq!(known(Some("HLLSketch")).unwrap(), "HLLSketch");
        assert!(known(Some("x")).unwrap_err().to_string().contains("COMPLEX<x>"));
        assert!(known(None).is_err());
    }
}
