//! Secrets among the flags of a role.

use sarsen_kernel::secret::Secret;

/// Reads a secret flag: the text itself, or `@PATH` for a file that holds it. For clap's `value_parser`.
///
/// # Errors
/// When the file cannot be read.
pub fn parse(text: &str) -> Result<Secret, String> {
    let Some(path) = text.strip_prefix('@') else {
        return Ok(Secret::new(text));
    };
    std::fs::read_to_string(path)
        .map(|text| Secret::new(text.trim_end_matches(['\n', '\r'])))
        .map_err(|error| format!("cannot read {path}: {error}"))
}
