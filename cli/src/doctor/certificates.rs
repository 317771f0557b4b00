//! Certificates: readable, with their keys, of the CA, for the role, and for how long yet.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore, ServerConfig};
use sarsen_proto::tls::{role_name, roles_of};
use sarsen_proto::v1;

use super::check::{Checks, Found};
use super::subject::Subject;

/// A certificate that ends sooner is to be renewed now.
const SOON_DAYS: i64 = 14;

/// Certificates that are good until then never end.
const FAR: u64 = 250_000_000_000;

pub fn add(subject: &Subject, checks: &mut Checks) {
    let tls = &subject.tls;
    if let (Some(cert), Some(key), Some(ca)) = (&tls.tls_cert, &tls.tls_key, &tls.tls_ca) {
        add_key("node key", key, checks);
        let (cert, key, ca, role) = (cert.clone(), key.clone(), ca.clone(), subject.role);
        let authority = ca.clone();
        checks.add_blocking("node certificate", move || {
            checked(&cert, &key, Some(&ca), role).unwrap_or_else(|found| found)
        });
        checks.add_blocking("node CA", move || {
            lasting(&authority).unwrap_or_else(|found| found)
        });
    }
    let http = subject.http.as_ref();
    if let Some((Some(cert), Some(key))) = http.map(|http| (&http.http_tls_cert, &http.http_tls_key)) {
        add_key("HTTP key", key, checks);
        let (cert, key) = (cert.clone(), key.clone());
        checks.add_blocking("HTTP certificate", move || {
            checked(&cert, &key, None, None).unwrap_or_else(|found| found)
        });
    }
}

fn add_key(name: &'static str, key: &Path, checks: &mut Checks) {
    let key: PathBuf = key.to_owned();
    checks.add_blocking(name, move || {
        let shown = key.display();
        let mode = match std::fs::metadata(&key) {
            Ok(metadata) => metadata.permissions().mode(),
            Err(error) => return unreadable(&key, &error),
        };
        if mode & 0o007 != 0 {
            return Found::warn(
                format!("{shown} can be read by everybody (mode {:04o})", mode & 0o7777),
                format!("chmod 600 {shown}"),
            );
        }
        Found::ok(format!("{shown} is not readable by everybody"))
    });
}

fn unreadable(path: &Path, error: &std::io::Error) -> Found {
    Found::fail(
        format!("{}: {error}", path.display()),
        "correct the flag, and let the user that the process runs as read the file",
    )
}

/// The certificates of a file, its own first.
fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, Found> {
    let pem = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(Found::fail(
            format!("{} holds no certificate", path.display()),
            "give a PEM file with -----BEGIN CERTIFICATE-----",
        )),
        Err(error) => Err(Found::fail(
            format!("{}: {error}", path.display()),
            "give a PEM file with -----BEGIN CERTIFICATE-----",
        )),
    }
}

/// A certificate with its key, and with its CA and role where nodes show it.
fn checked(cert: &Path, key: &Path, ca: Option<&Path>, role: Option<v1::Role>) -> Result<Found, Found> {
    let shown = cert.display();
    let chain = read(cert)?;
    let pem = std::fs::read(key).map_err(|error| unreadable(key, &error))?;
    let secret = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        Found::fail(
            format!("{}: {error}", key.display()),
            "give a PEM file with -----BEGIN PRIVATE KEY----- (PKCS#8)",
        )
    })?;
    let together = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| {
            config
                .with_no_client_auth()
                .with_single_cert(chain.clone(), secret)
        });
    if let Err(error) = together {
        return Err(Found::fail(
            format!("{shown} and {} do not belong together: {error}", key.display()),
            "give the certificate and the key that were made for each other",
        ));
    }
    let (own, rest) = chain.split_first().ok_or_else(|| Found::ok(""))?;
    let roots = match ca {
        Some(ca) => read(ca)?,
        // Only its time is asked for: whoever is trusted does not matter.
        None => vec![own.clone()],
    };
    let ends = ends(own, rest, &roots);
    if ca.is_some()
        && let Err(error) = verified(own, rest, &roots, UnixTime::now())
        && !is_about_time(&error)
    {
        let ca = ca.unwrap_or(cert).display();
        return Err(Found::fail(
            format!("{shown} is not by the CA {ca}: {error}"),
            "give --tls-ca the CA that issued it, and the intermediate certificates within --tls-cert",
        ));
    }
    if let Some(role) = role {
        let roles = roles_of(own);
        if !roles.contains(&role) {
            let names: Vec<&str> = roles.into_iter().map(role_name).collect();
            let role = role_name(role);
            return Err(Found::fail(
                format!("{shown} is for the roles {names:?}"),
                format!(
                    "give one with the DNS name {role}.nodes.sarsen.internal: `sarsen ca issue NAME --role {role}`"
                ),
            ));
        }
    }
    judged(&format!("{shown} belongs to its key"), &ends)
}

/// How long a CA is good for.
fn lasting(ca: &Path) -> Result<Found, Found> {
    let chain = read(ca)?;
    let shown = ca.display().to_string();
    let mut found = Ok(Found::ok(shown.clone()));
    for own in &chain {
        found = judged(&shown, &ends(own, &[], &chain));
        found.as_ref().map_err(Clone::clone)?;
    }
    found
}

/// When a certificate is good.
enum Ends {
    NotYet(u64),
    At(u64),
    Never,
    Unknown(String),
}

/// Found by asking whether it is good now, and far in the future: the answers say until when it is.
fn ends(own: &CertificateDer<'_>, rest: &[CertificateDer<'_>], roots: &[CertificateDer<'static>]) -> Ends {
    if let Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
        not_before, ..
    })) = verified(own, rest, roots, UnixTime::now())
    {
        return Ends::NotYet(not_before.as_secs());
    }
    let far = UnixTime::since_unix_epoch(Duration::from_secs(FAR));
    match verified(own, rest, roots, far) {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Ends::At(not_after.as_secs())
        }
        Err(error) if is_about_form(&error) => Ends::Unknown(error.to_string()),
        _ => Ends::Never,
    }
}

fn verified(
    own: &CertificateDer<'_>,
    rest: &[CertificateDer<'_>],
    roots: &[CertificateDer<'static>],
    at: UnixTime,
) -> Result<(), rustls::Error> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone())?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::new(default_provider())).build();
    let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
    verifier.verify_client_cert(own, rest, at).map(drop)
}

fn is_about_time(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
        )
    )
}

fn is_about_form(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InvalidCertificate(CertificateError::BadEncoding) | rustls::Error::General(_)
    )
}

fn judged(found: &str, ends: &Ends) -> Result<Found, Found> {
    let day = |seconds: u64| {
        let time = i64::try_from(seconds)
            .ok()
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        time.map_or_else(
            || "a far day".to_owned(),
            |time| time.format("%Y-%m-%d %H:%M UTC").to_string(),
        )
    };
    match ends {
        Ends::Never => Ok(Found::ok(format!("{found}, and does not expire"))),
        Ends::Unknown(reason) => Err(Found::fail(
            format!("{found}: {reason}"),
            "give a certificate as X.509 version 3 in PEM",
        )),
        Ends::NotYet(from) => Err(Found::fail(
            format!("{found}, and is good from {} only", day(*from)),
            "set this machine's clock, or wait until then",
        )),
        Ends::At(until) => {
            let now = UnixTime::now().as_secs();
            let left = i64::try_from(*until).unwrap_or(i64::MAX) - i64::try_from(now).unwrap_or(0);
            let days = left.div_euclid(86_400);
            let renew = "have it issued anew (`sarsen ca issue`, or by your CA) and restart the process";
            match days {
                _ if left <= 0 => Err(Found::fail(
                    format!("{found}, and has expired on {}", day(*until)),
                    renew,
                )),
                days if days < SOON_DAYS => Ok(Found::warn(
                    format!("{found}, and expires in {days} days, on {}", day(*until)),
                    renew,
                )),
                days => Ok(Found::ok(format!("{found}, and is good for {days} days"))),
            }
        }
    }
}
