//! Ways in which statements break.

use super::generate::Generator;

const WORDS: [&str; 24] = [
    "(",
    ")",
    ",",
    "SELECT",
    "FROM",
    "WHERE",
    "'",
    "\"",
    ";",
    "--",
    "/*",
    "PARTITIONED BY",
    "OVER",
    "NULL",
    "CASE",
    "END",
    "[",
    "]",
    "?",
    "=>",
    "EXTEND",
    "U&'\\d800'",
    "\u{0}",
    "\u{1f600}",
];

/// A broken statement.
pub fn mutate(generator: &mut Generator, text: String) -> String {
    let mut text = text;
    for _ in 0..=generator.below(3) {
        text = match generator.below(8) {
            0..=4 => tokens(generator, &text),
            5 => bytes(generator, text.into_bytes()),
            6 => nesting(generator),
            _ => {
                let end = generator.below(text.len() as u64 + 1) as usize;
                text.chars().take(end).collect()
            }
        };
    }
    text
}

/// Words that are left out, doubled, exchanged or put in.
fn tokens(generator: &mut Generator, text: &str) -> String {
    let mut words: Vec<&str> = text.split_inclusive([' ', '(', ',', ')']).collect();
    if words.is_empty() {
        return generator.of(&WORDS).to_owned();
    }
    let at = generator.below(words.len() as u64) as usize;
    let other = generator.below(words.len() as u64) as usize;
    match generator.below(4) {
        0 => {
            words.remove(at);
        }
        1 => words.insert(at, words[other]),
        2 => words.swap(at, other),
        _ => words.insert(at, generator.of(&WORDS)),
    }
    words.concat()
}

/// Bytes that became others; what is no text is replaced as it would be on its way in.
fn bytes(generator: &mut Generator, mut bytes: Vec<u8>) -> String {
    for _ in 0..=generator.below(4) {
        if !bytes.is_empty() {
            let at = generator.below(bytes.len() as u64) as usize;
            bytes[at] = generator.below(256) as u8;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What nests so deeply that nobody wrote it.
fn nesting(generator: &mut Generator) -> String {
    // The deeper, the longer it takes to say no.
    let levels = match generator.below(1_000) {
        0 => 20_000,
        1..=20 => 1_000,
        21..=200 => 100,
        _ => 10,
    };
    match generator.below(8) {
        0 => format!("SELECT {}1{}", "(".repeat(levels), ")".repeat(levels)),
        1 => format!("SELECT {}1", "(".repeat(levels)),
        2 => format!("SELECT {}TRUE", "NOT ".repeat(levels)),
        3 => format!("SELECT {}1", "- ".repeat(levels)),
        4 => format!("SELECT 1{}", " + 1".repeat(levels)),
        5 => format!("SELECT {}1{}", "ABS(".repeat(levels), ")".repeat(levels)),
        6 => format!(
            "SELECT {}1{}",
            "CASE WHEN TRUE THEN ".repeat(levels),
            " END".repeat(levels)
        ),
        _ => format!(
            "{}SELECT 1{}",
            "SELECT * FROM (".repeat(levels),
            ")".repeat(levels)
        ),
    }
}
