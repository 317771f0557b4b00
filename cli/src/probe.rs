//! `sarsen probe`: whether a URL answers with success, for probes in images that have no other tool.

use std::time::Duration;

use clap::Args;

use crate::Outcome;

/// Flags of `sarsen probe`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Such as http://127.0.0.1:9081/status/ready.
    url: String,
    /// Seconds to wait for an answer.
    #[arg(long, default_value_t = 3)]
    timeout: u64,
}

/// # Errors
/// When nothing answers in time, or not with success.
pub fn run(options: &Options) -> Outcome {
    let client = reqwest::blocking::Client::builder()
        .timeout(Duration::from_secs(options.timeout))
        .build()?;
    let answer = client.get(&options.url).send()?;
    let (status, text) = (answer.status(), answer.text().unwrap_or_default());
    if status.is_success() {
        return Ok(());
    }
    Err(format!("{} answers {status}: {}", options.url, text.trim()).into())
}
