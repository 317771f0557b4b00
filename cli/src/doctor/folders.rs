//! Folders: there or to be made, writable, with room.

use std::path::{Path, PathBuf};

use super::check::{Checks, Found};
use super::subject::Subject;

/// Below this a process soon fails.
const TOO_LITTLE: u64 = 100 << 20;

/// Below this a query of some size may fail.
const LITTLE: u64 = 1 << 30;

/// `statfs`'s mark of a file system in memory.
const TMPFS: u64 = 0x0102_1994;

pub fn add(subject: &Subject, checks: &mut Checks) {
    if let Some(folder) = subject.data_dir.clone() {
        checks.add_blocking("data folder", move || folder_of("--data-dir", &folder));
    }
    if let Some(folder) = subject.spill_dir.clone() {
        checks.add_blocking("spill folder", move || {
            let found = folder_of("--spill-dir", &folder);
            in_memory(&folder).unwrap_or(found)
        });
    }
    if let Some(file) = subject.audit_log.clone() {
        checks.add_blocking("audit log", move || audit_log(&file));
    }
}

/// A folder that a role makes at its start if it is missing.
pub fn folder_of(flag: &str, folder: &Path) -> Found {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let shown = folder.display();
    let (place, is_there) = existing(&folder);
    let user = "the user that the process runs as";
    if let Err(error) = std::fs::read_dir(&place) {
        let advice = match place.is_dir() {
            true => format!("let {user} read {}", place.display()),
            false => format!("{} is no folder: name another one with {flag}", place.display()),
        };
        return Found::fail(format!("{shown}: {error}"), advice);
    }
    if let Err(error) = tempfile::NamedTempFile::new_in(&place) {
        let advice = format!(
            "let {user} write in {} (chown or chmod; a mount must not be read-only), or name another folder with {flag}",
            place.display()
        );
        return Found::fail(format!("{shown}: {}", error), advice);
    }
    let free = match rustix::fs::statvfs(&place) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => return Found::warn(format!("{shown}: {error}"), "its free space is not known"),
    };
    let made = if is_there {
        ""
    } else {
        " (made at the first start)"
    };
    let found = format!("{shown}{made} is writable, {} free", size(free));
    let advice = format!("free some space, or name a folder on a larger disk with {flag}");
    match free {
        free if free < TOO_LITTLE => Found::fail(found, advice),
        free if free < LITTLE => Found::warn(found, advice),
        _ => Found::ok(found),
    }
}

/// The folder, or the nearest above it that is there; whether it is the folder itself.
fn existing(folder: &Path) -> (PathBuf, bool) {
    let mut above = folder;
    while let (Ok(false), Some(parent)) = (above.try_exists(), above.parent()) {
        above = parent;
    }
    (above.to_owned(), above == folder)
}

/// A spill folder that is no disk at all.
fn in_memory(folder: &Path) -> Option<Found> {
    let (place, _) = existing(&std::path::absolute(folder).ok()?);
    let kind = u64::try_from(rustix::fs::statfs(&place).ok()?.f_type).ok()?;
    (kind == TMPFS).then(|| {
        Found::warn(
            format!(
                "{} is on a tmpfs: what is spilled there stays in memory",
                folder.display()
            ),
            "name a folder on a disk with --spill-dir",
        )
    })
}

fn audit_log(file: &Path) -> Found {
    let shown = file.display();
    let is_there = file.exists();
    let opened = match is_there {
        true => std::fs::OpenOptions::new().append(true).open(file).map(drop),
        false => {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map(drop)
        }
    };
    match opened {
        Ok(()) => Found::ok(format!("{shown} is writable")),
        Err(error) => Found::fail(
            format!("{shown}: {error}"),
            "make its folder and let the user that the process runs as write it, or change --audit-log",
        ),
    }
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = UNITS.iter().find(|(shift, _)| bytes >> shift > 0);
    match unit {
        Some((shift, unit)) => format!("{:.1} {unit}", (bytes >> (shift - 10)) as f64 / 1024.0),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size(12), "12 B");
        assert_eq!(size(3 << 29), "1.5 GiB");
        assert_eq!(size(1 << 20), "1.0 MiB");
    }
}
