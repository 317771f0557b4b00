//! Globs over whole object keys, as Java's `FileSystem.getPathMatcher` reads them: `*` and `?` stop at slashes, `**` does
//! not.

use crate::StorageError;

/// A glob that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyGlob {
    text: String,
    /// One for each choice of `{a,b}`.
    patterns: Patterns,
}

type Patterns = Vec<Vec<Piece>>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(char),
    /// `?`
    One,
    /// `*`
    Name,
    /// `**`
    Any,
    /// `[a-c]`, `[!a]`
    Set {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
}

impl KeyGlob {
    /// # Errors
    /// For brackets and braces that are not closed.
    pub fn parse(text: &str) -> Result<Self, StorageError> {
        let malformed =
            |what: &str| StorageError::Spec(format!("objectGlob [{text}] is no glob: {what} is not closed"));
        let mut patterns: Patterns = vec![Vec::new()];
        // Patterns before the open brace, and those of the choices that are complete.
        let mut choice: Option<(Patterns, Patterns)> = None;
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            let piece = match character {
                '\\' => Piece::Literal(characters.next().unwrap_or('\\')),
                '?' => Piece::One,
                '*' if characters.next_if_eq(&'*').is_some() => Piece::Any,
                '*' => Piece::Name,
                '[' => set(&mut characters).ok_or_else(|| malformed("["))?,
                '{' if choice.is_none() => {
                    choice = Some((patterns.clone(), Vec::new()));
                    continue;
                }
                ',' if choice.is_some() => {
                    if let Some((before, done)) = &mut choice {
                        done.append(&mut patterns);
                        patterns.clone_from(before);
                    }
                    continue;
                }
                '}' if choice.is_some() => {
                    if let Some((_, done)) = choice.take() {
                        patterns.extend(done);
                    }
                    continue;
                }
                other => Piece::Literal(other),
            };
            patterns
                .iter_mut()
                .for_each(|pattern| pattern.push(piece.clone()));
        }
        if choice.is_some() {
            return Err(malformed("{"));
        }
        Ok(KeyGlob {
            text: text.to_owned(),
            patterns,
        })
    }

    /// As the user wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the whole key matches.
    pub fn matches(&self, key: &str) -> bool {
        let key: Vec<char> = key.chars().collect();
        self.patterns.iter().any(|pattern| matches(pattern, &key))
    }
}

fn set(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Piece> {
    let negated = characters.next_if(|next| *next == '!' || *next == '^').is_some();
    let mut ranges: Vec<(char, char)> = Vec::new();
    loop {
        match characters.next()? {
            ']' if !ranges.is_empty() => return Some(Piece::Set { ranges, negated }),
            first => {
                let mut ahead = characters.clone();
                let range_end = (ahead.next() == Some('-')).then(|| ahead.next()).flatten();
                match range_end.filter(|end| *end != ']') {
                    Some(end) => {
                        *characters = ahead;
                        ranges.push((first, end));
                    }
                    None => ranges.push((first, first)),
                }
            }
        }
    }
}

/// By the positions of the pattern that are reachable after each character: linear in the key, whatever the pattern.
fn matches(pattern: &[Piece], key: &[char]) -> bool {
    let mut reachable = vec![false; pattern.len() + 1];
    if let Some(first) = reachable.first_mut() {
        *first = true;
    }
    skip_empty(pattern, &mut reachable);
    for character in key {
        let mut next = vec![false; pattern.len() + 1];
        for (position, piece) in pattern.iter().enumerate() {
            if !reachable.get(position).copied().unwrap_or(false) {
                continue;
            }
            let (stays, advances) = match piece {
                Piece::Any => (true, false),
                Piece::Name => (*character != '/', false),
                Piece::One => (false, *character != '/'),
                Piece::Literal(literal) => (false, literal == character),
                Piece::Set { ranges, negated } => {
                    let inside = ranges
                        .iter()
                        .any(|(start, end)| (start..=end).contains(&character));
                    (false, *character != '/' && inside != *negated)
                }
            };
            for (goes, target) in [(stays, position), (advances, position + 1)] {
                if let Some(slot) = next.get_mut(target).filter(|_| goes) {
                    *slot = true;
                }
            }
        }
        reachable = next;
        skip_empty(pattern, &mut reachable);
    }
    reachable.last().copied().unwrap_or(false)
}

/// `*` and `**` match nothing too.
fn skip_empty(pattern: &[Piece], reachable: &mut [bool]) {
    for (position, piece) in pattern.iter().enumerate() {
        if matches!(piece, Piece::Any | Piece::Name)
            && reachable.get(position).copied().unwrap_or(false)
            && let Some(next) = reachable.get_mut(position + 1)
        {
            *next = true;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn globs_match_as_in_java() {
        for (glob, key, matched) in [
            ("*.json", "a.json", true),
            ("*.json", "bar/a.json", false),
            ("**.json", "bar/a.json", true),
            ("**.json", "a.json", true),
            ("**/part-?.csv", "a/b/part-1.csv", true),
            ("**/part-?.csv", "a/b/part-12.csv", false),
            ("a/*/c", "a/b/c", true),
            ("a/*/c", "a/b/b/c", false),
            ("**.{json,csv}", "x/y.csv", true),
            ("**.{json,csv}.gz", "x/y.json.gz", true),
            ("**.{json,csv}", "x/y.tsv", false),
            ("f[0-3].[!j]*", "f2.csv", true),
            ("f[0-3].[!j]*", "f2.json", false),
            ("f[0-3]*", "f4", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("", "", true),
        ] {
            assert_eq!(
                KeyGlob::parse(glob).unwrap().matches(key),
                matched,
                "{glob} {key}"
            );
        }
        assert!(KeyGlob::parse("{a,b").is_err());
        assert!(KeyGlob::parse("[a").is_err());
    }

    #[test]
    fn many_stars_take_no_time() {
        let glob = KeyGlob::parse(&"**a".repeat(50)).unwrap();
        assert!(!glob.matches(&"a".repeat(49).repeat(40).replace('a', "b")));
    }
}
