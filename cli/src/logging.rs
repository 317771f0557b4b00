//! Words for people.

use std::io::Write;

/// A line on stdout. A reader that has gone away, as `head` does, is no error.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line on stderr.
pub fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
