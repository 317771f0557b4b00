//! Where objects end that are spread over lines: a look at brackets alone, each byte once, so that a text is parsed only
//! when it is whole.

use crate::format::Features;

/// Brackets that may be open at once; the JSON reader refuses as many.
const MOST_OPEN: usize = 128;

/// A look at a text that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The brackets that close what is open.
    open: Vec<u8>,
    within: Within,
    /// The last byte outside of comments, white space aside.
    last: u8,
    /// Bytes of the text so far.
    length: usize,
    whole: usize,
    has_brackets: bool,
    is_malformed: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Within {
    #[default]
    Nothing,
    /// A text in such quotes.
    Text(u8),
    /// Behind the backslash of such a text.
    Escape(u8),
    /// Behind a slash that may begin a comment.
    Slash,
    LineComment,
    Comment,
    /// Behind the star that may end a comment.
    CommentStar,
}

impl Scan {
    /// Looks at the next bytes.
    pub(super) fn see(&mut self, bytes: &[u8], features: &Features) {
        for byte in bytes {
            self.length += 1;
            self.within = match self.within {
                Within::Nothing => self.outside(*byte, features),
                Within::Text(quote) => match byte {
                    b'\\' => Within::Escape(quote),
                    byte if *byte == quote => Within::Nothing,
                    b'\n' if !features.control_characters => {
                        self.is_malformed = true;
                        Within::Nothing
                    }
                    _ => self.within,
                },
                Within::Escape(quote) => Within::Text(quote),
                Within::Slash => match byte {
                    b'/' => Within::LineComment,
                    b'*' => Within::Comment,
                    _ => self.outside(*byte, features),
                },
                Within::LineComment if *byte == b'\n' => Within::Nothing,
                Within::Comment if *byte == b'*' => Within::CommentStar,
                Within::CommentStar => match byte {
                    b'/' => Within::Nothing,
                    b'*' => Within::CommentStar,
                    _ => Within::Comment,
                },
                within => within,
            };
        }
    }

    fn outside(&mut self, byte: u8, features: &Features) -> Within {
        let last = self.last;
        if !byte.is_ascii_whitespace() {
            self.last = byte;
        }
        match byte {
            b'"' => return Within::Text(byte),
            b'\'' if features.single_quotes => return Within::Text(byte),
            b'/' if features.comments => {
                self.last = last;
                return Within::Slash;
            }
            b'#' if features.yaml_comments => {
                self.last = last;
                return Within::LineComment;
            }
            b'{' | b'[' => {
                self.has_brackets = true;
                // An object that is cut off must not take what follows for its own.
                self.is_malformed |= match self.open.last() {
                    Some(b'}') => last != b':',
                    Some(_) => !matches!(last, b'[' | b','),
                    None => false,
                };
                self.open.push(if byte == b'{' { b'}' } else { b']' });
                self.is_malformed |= self.open.len() > MOST_OPEN;
            }
            b'}' | b']' => {
                self.has_brackets = true;
                self.is_malformed |= self.open.pop() != Some(byte);
                if self.open.is_empty() {
                    self.whole = self.length;
                }
            }
            _ => {}
        }
        Within::Nothing
    }

    /// Whether there was any bracket outside of texts.
    pub(super) fn has_brackets(&self) -> bool {
        self.has_brackets
    }

    /// Whether no bytes to come can make it JSON.
    pub(super) fn is_malformed(&self) -> bool {
        self.is_malformed
    }

    /// Whether something is yet to be closed.
    pub(super) fn is_open(&self) -> bool {
        let closes = matches!(self.within, Within::Nothing | Within::Slash | Within::LineComment);
        !(self.open.is_empty() && closes)
    }

    /// Bytes up to the end of the last object that is whole.
    pub(super) fn whole(&self) -> usize {
        self.whole
    }

    /// The whole objects have been taken away.
    pub(super) fn take_whole(&mut self) {
        self.length -= self.whole;
        self.whole = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole bytes, and whether the rest is open, of a text in pieces of any size.
    fn seen(text: &str, features: &Features) -> (usize, bool, bool) {
        let of_pieces = |size: usize| {
            let mut scan = Scan::default();
            for piece in text.as_bytes().chunks(size) {
                scan.see(piece, features);
            }
            (scan.whole(), scan.is_open(), scan.is_malformed())
        };
        assert_eq!(of_pieces(1), of_pieces(1_000), "{text}");
        of_pieces(3)
    }

    #[test]
    fn brackets_in_texts_and_comments_do_not_count() {
        let plain = Features::default();
        for (text, expected) in [
            ("", (0, false, false)),
            (r#"{"a":"}"}"#, (9, false, false)),
            (r#"{"a":"\"}"#, (0, true, false)),
            (r#"{"a":"\\"} {"b":["#, (10, true, false)),
            ("{\"a\":1}\n{", (7, true, false)),
            (r#"{"a":[1}"#, (0, true, true)),
            ("}", (1, false, true)),
            ("{\"a\":1\n{\"a\":2}", (0, true, true)),
            ("{\"a\":1,\n{\"a\":2}", (0, true, true)),
            ("[1\n[2]", (0, true, true)),
            ("[[{\"a\" : {\"b\":[ [1] , {}]}}]]", (29, false, false)),
            ("{\"a\":\"\n", (0, true, true)),
        ] {
            assert_eq!(seen(text, &plain), expected, "{text}");
        }
        let lenient = Features {
            comments: true,
            yaml_comments: true,
            single_quotes: true,
            control_characters: true,
            ..Features::default()
        };
        for (text, expected) in [
            ("{ // }\n # }\n /* } **/ }", (23, false, false)),
            ("{'a':'}'}", (9, false, false)),
            ("{\"a\":\"\n\"}", (9, false, false)),
            ("/* {", (0, true, false)),
        ] {
            assert_eq!(seen(text, &lenient), expected, "{text}");
        }
    }
}
