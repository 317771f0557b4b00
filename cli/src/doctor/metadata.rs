//! The metadata store: there, usable by this version, and writable.

use sarsen_kernel::secret::Secret;
use sarsen_overlord::metadata::{Inspection, MetadataUrl, StoreError, inspect};

use super::check::{Checks, Found, chain};
use super::clock;
use super::subject::Subject;

pub fn add(subject: &Subject, checks: &mut Checks) {
    let Some(given) = subject.metadata.clone() else {
        return;
    };
    let by_default = subject.data_dir.clone().unwrap_or_default().join("metadata.db");
    let shared = subject.etcd.is_some();
    checks.add("metadata store", async move {
        let Some(url) = url(given.as_ref(), by_default) else {
            return Found::fail(
                "--metadata is no address of a metadata store",
                "give sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE",
            );
        };
        if shared && matches!(url, MetadataUrl::Sqlite(_)) {
            return Found::warn(
                format!("{url} is a file, and --etcd is set"),
                "Overlords that elect one of them share a store: give all of them the same PostgreSQL with --metadata",
            );
        }
        let before = clock::now_ms();
        let inspected = inspect(&url).await;
        match inspected {
            Ok(inspection) => judge(&url, &inspection, before),
            Err(error) => Found::fail(
                format!("{url}: {}", without_secret(&chain(&error), given.as_ref())),
                advice(&url, &error),
            ),
        }
    });
}

fn url(given: Option<&Secret>, by_default: std::path::PathBuf) -> Option<MetadataUrl> {
    match given {
        Some(url) => MetadataUrl::parse(url.expose()),
        None => Some(MetadataUrl::Sqlite(by_default)),
    }
}

fn judge(url: &MetadataUrl, inspection: &Inspection, before: i64) -> Found {
    let known = inspection.known;
    let found = match inspection.schema {
        None => format!("{url} has no tables yet: they are made at the first start"),
        Some(schema) if schema < known => {
            format!("{url} has schema {schema}, which the next start brings up to {known}")
        }
        Some(schema) if schema > known => {
            format!("{url} has schema {schema} of a later version, which this one (schema {known}) can use")
        }
        Some(schema) => format!("{url} has schema {schema}"),
    };
    if let Some(reason) = &inspection.not_writable {
        return Found::fail(
            format!("{found}, and cannot be written: {reason}"),
            "let the user of --metadata write it: the Overlord creates tables, inserts and updates",
        );
    }
    match inspection.clock_ms {
        None => Found::ok(found),
        Some(theirs) => {
            let (ahead, uncertain) = clock::ahead(theirs, before, clock::now_ms());
            clock::judge(&found, "its", ahead, uncertain)
        }
    }
}

fn advice(url: &MetadataUrl, error: &StoreError) -> String {
    let words = chain(error).to_ascii_lowercase();
    let says = |part: &str| words.contains(part);
    match url {
        _ if matches!(error, StoreError::TooNew { .. }) => {
            "run the version of Sarsen that this store needs, or a later one".to_owned()
        }
        MetadataUrl::Sqlite(path) => format!(
            "{} must be a SQLite file of Sarsen's that the user can read and write, or not be there; correct --metadata or --data-dir",
            path.display()
        ),
        MetadataUrl::Postgres(_) if says("password") || says("authentication") || says("role") => {
            "correct the user and password of --metadata, and see that pg_hba.conf lets them in from here"
                .to_owned()
        }
        MetadataUrl::Postgres(_) if says("database") && says("exist") => {
            "create the database (createdb): only its tables are made by the Overlord".to_owned()
        }
        MetadataUrl::Postgres(_) if says("tls") || says("ssl") || says("certificate") => {
            "see sslmode and sslrootcert of --metadata, and whether the server offers TLS".to_owned()
        }
        MetadataUrl::Postgres(_) => {
            "see whether PostgreSQL is up there and can be reached from here, and correct --metadata"
                .to_owned()
        }
    }
}

/// An error's words without the URL that was given, should they repeat it.
fn without_secret(words: &str, given: Option<&Secret>) -> String {
    match given.map(Secret::expose).filter(|url| !url.is_empty()) {
        Some(url) => words.replace(url, "******"),
        None => words.to_owned(),
    }
}
