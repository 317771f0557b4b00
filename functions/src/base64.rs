//! Base64 with `+` and `/`, as Java's basic decoder takes it.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const BASIC: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes of a text; `None` for a text that is none. Padding may be left out.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    BASIC.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_may_be_left_out() {
        assert_eq!(decode("aGVsbG8=").as_deref(), Some(b"hello".as_slice()));
        assert_eq!(decode("aGVsbG8").as_deref(), Some(b"hello".as_slice()));
        assert_eq!(decode("").as_deref(), Some(b"".as_slice()));
        assert_eq!(decode("a*b="), None);
        assert_eq!(decode("a"), None);
    }
}
