//! What the system and the settings leave a process: files, memory, and places that it may read and write.

use std::path::Path;

use sarsen_worker::available_memory;

use super::check::{Checks, Found};
use super::folders::size;
use super::subject::{Memory, Subject};

/// Every connection, spill file and open input is a file.
const FEW_FILES: u64 = 4_096;
const TOO_FEW_FILES: u64 = 256;

/// Below this a worker task spills at almost everything.
const LITTLE_MEMORY: u64 = 128 << 20;

pub fn add(subject: &Subject, checks: &mut Checks) {
    checks.add_blocking("open files", || match open_files() {
        Some(limit) => files(limit),
        None => Found::ok("this system does not tell its limit"),
    });
    if let Some(memory) = subject.memory {
        checks.add_blocking("memory", move || shared(memory, available_memory()));
    }
    for (flag, allowed) in subject.allowed.clone() {
        let name = match flag {
            "--extern-allow" => "EXTERN reads",
            _ => "export writes",
        };
        checks.add_blocking(name, move || places(flag, &allowed));
    }
}

/// The soft limit; this process hands on what it was given.
fn open_files() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn files(limit: u64) -> Found {
    let found = match limit {
        u64::MAX => "no limit".to_owned(),
        limit => format!("{limit} at the most"),
    };
    let advice = "raise it: `ulimit -n 65536`, LimitNOFILE=65536 of systemd, or the container's nofile";
    match limit {
        limit if limit < TOO_FEW_FILES => Found::fail(found, advice),
        limit if limit < FEW_FILES => Found::warn(found, advice),
        _ => Found::ok(found),
    }
}

fn shared(memory: Memory, available: u64) -> Found {
    let Memory { bytes, slots } = memory;
    let each = bytes / u64::from(slots.max(1));
    let found = format!(
        "{} of {} for {slots} slots: {} each",
        size(bytes),
        size(available),
        size(each)
    );
    if slots == 0 {
        return Found::fail(found, "give --slots 1 at the least: without any no query runs");
    }
    if bytes > available {
        return Found::fail(
            found,
            "lower --memory-limit below what the machine or container has, or the process is killed for it",
        );
    }
    if each < LITTLE_MEMORY {
        return Found::warn(
            found,
            format!(
                "lower --slots or raise --memory-limit: below {} a worker task spills at once",
                size(LITTLE_MEMORY)
            ),
        );
    }
    Found::ok(found)
}

fn places(flag: &str, allowed: &[String]) -> Found {
    if allowed.is_empty() {
        return Found::ok(format!("nothing is allowed: {flag} names no prefix"));
    }
    let found = allowed.join(", ");
    let missing = allowed
        .iter()
        .map(|prefix| prefix.strip_prefix("file://").unwrap_or(prefix))
        .find(|prefix| prefix.starts_with('/') && !Path::new(prefix).exists() && !beginning(prefix));
    match missing {
        Some(prefix) => Found::warn(
            format!("{found}: {prefix} is not there"),
            format!("make or mount it on this machine, or correct {flag}"),
        ),
        None => Found::ok(found),
    }
}

/// Whether something in the folder above begins so: a prefix need not be a whole name.
fn beginning(prefix: &str) -> bool {
    let path = Path::new(prefix);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return false;
    };
    let name = name.to_string_lossy();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .take(10_000)
        .any(|entry| entry.file_name().to_string_lossy().starts_with(&*name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    #[test]
    fn limits_are_judged() {
        let status = |found: Found| found.of("x").status;
        assert_eq!(status(files(100)), Status::Fail);
        assert_eq!(status(files(1_024)), Status::Warn);
        assert_eq!(status(files(65_536)), Status::Ok);
        let memory = |bytes: u64, slots: u32| status(shared(Memory { bytes, slots }, 8 << 30));
        assert_eq!(memory(4 << 30, 4), Status::Ok);
        assert_eq!(memory(256 << 20, 8), Status::Warn);
        assert_eq!(memory(9 << 30, 4), Status::Fail);
        assert_eq!(memory(1 << 30, 0), Status::Fail);
        assert_eq!(status(places("--extern-allow", &[])), Status::Ok);
        assert_eq!(
            status(places("--extern-allow", &["/no/such/place".to_owned()])),
            Status::Warn
        );
        assert_eq!(
            status(places(
                "--extern-allow",
                &["/et".to_owned(), "s3://b/".to_owned()]
            )),
            Status::Ok
        );
    }
}
