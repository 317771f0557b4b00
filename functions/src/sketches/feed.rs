//! The bytes of values that sketches hash, as Druid feeds them.

use std::hash::{Hash, Hasher};

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::Result;

use crate::cast::{to_text, to_type};

/// Bytes as they are, as Java's sketches are fed, and not with Rust's framing of them.
pub(super) struct Raw<'a>(pub &'a [u8]);

impl Hash for Raw<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0);
    }
}

/// How texts become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    /// Java's characters, little-endian: what HLL sketches take by default.
    Utf16,
}

/// Hands over the bytes of each value; NULL and the empty text are none.
pub(super) fn feed(values: &ArrayRef, encoding: Encoding, mut to: impl FnMut(&[u8])) -> Result<()> {
    match values.data_type() {
        DataType::Null => {}
        // A condition is 1 or 0, as Druid stores it.
        found if found.is_integer() || matches!(found, DataType::Timestamp(..) | DataType::Boolean) => {
            let longs = to_type(values, &DataType::Int64)?;
            for value in longs.as_primitive::<Int64Type>().iter().flatten() {
                to(&value.to_le_bytes());
            }
        }
        found if found.is_floating() => {
            let doubles = arrow::compute::cast(values, &DataType::Float64)?;
            for value in doubles.as_primitive::<Float64Type>().iter().flatten() {
                to(&double_bytes(value));
            }
        }
        _ => {
            let texts = to_text(values)?;
            let mut units = Vec::new();
            for text in texts
                .as_string_view()
                .iter()
                .flatten()
                .filter(|text| !text.is_empty())
            {
                match encoding {
                    Encoding::Utf8 => to(text.as_bytes()),
                    Encoding::Utf16 => {
                        units.clear();
                        text.encode_utf16()
                            .for_each(|unit| units.extend(unit.to_le_bytes()));
                        to(&units);
                    }
                }
            }
        }
    }
    Ok(())
}

/// Java's sketches see doubles with one zero and one NaN.
fn double_bytes(value: f64) -> [u8; 8] {
    let one = if value.is_nan() { f64::NAN } else { value + 0.0 };
    one.to_le_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use arrow::array::{Float64Array, StringViewArray};

    use super::*;

    fn fed(values: ArrayRef, encoding: Encoding) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        feed(&values, encoding, |bytes| found.push(bytes.to_vec())).unwrap();
        found
    }

    #[test]
    fn null_and_the_empty_text_are_no_values() {
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![Some("é"), None, Some("")]));
        assert_eq!(fed(Arc::clone(&texts), Encoding::Utf8), ["é".as_bytes()]);
        assert_eq!(fed(texts, Encoding::Utf16), [[0xe9, 0]]);
    }

    #[test]
    fn there_is_one_zero_and_one_nan() {
        let doubles: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN]));
        let found = fed(doubles, Encoding::Utf8);
        assert_eq!(found[0], found[1]);
        assert_eq!(found[2], found[3]);
    }
}
