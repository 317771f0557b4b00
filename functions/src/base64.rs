//! Base64 with `+` and `/`, as Java's basic encoder writes it.

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes of a text; `None` for a text that is none. Padding may be left out.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut width) = (0_u32, 0_u32);
    for letter in digits.bytes() {
        let digit = LETTERS.iter().position(|known| *known == letter)?;
        bits = (bits << 6) | u32::try_from(digit).ok()?;
        width += 6;
        if width >= 8 {
            width -= 8;
            bytes.push(u8::try_from((bits >> width) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

/// A text of bytes, padded.
#[cfg(test)]
fn encode(bytes: &[u8]) -> String {
    let letter = |digit: u32| {
        LETTERS
            .get(digit as usize & 63)
            .map_or('=', |letter| char::from(*letter))
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().enumerate().fold(0_u32, |bits, (position, byte)| {
            bits | u32::from(*byte) << (16 - 8 * position)
        });
        for digit in 0..4 {
            text.push(if digit <= chunk.len() {
                letter(bits >> (18 - 6 * digit))
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_back() {
        for text in ["", "a", "ab", "abc", "aGVsbG8gd29ybGQ", "\u{0}\u{ff}é"] {
            assert_eq!(decode(&encode(text.as_bytes())).as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(encode(b"hello"), "aGVsbG8=");
        assert_eq!(decode("a*b="), None);
    }
}
