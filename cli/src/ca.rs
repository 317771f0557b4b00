//! `sarsen ca`: a certificate authority for development and tests, and certificates of nodes by it.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::{Datelike, Days, Utc};
use clap::{Args, Subcommand, ValueEnum};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use sarsen_proto::tls::role_dns_name;
use sarsen_proto::v1;

use crate::{Outcome, logging};

/// Flags of `sarsen ca`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Makes a CA, and a certificate for each role: ca.pem, overlord.pem, overlord.key, ….
    Init {
        /// Folder for all of it.
        #[arg(default_value = "./sarsen-ca")]
        dir: PathBuf,
        #[command(flatten)]
        names: Names,
    },
    /// Makes a certificate by a CA that `init` made: NAME.pem and NAME.key.
    Issue {
        name: String,
        /// Folder of the CA.
        #[arg(long, default_value = "./sarsen-ca")]
        dir: PathBuf,
        /// Role that the node plays; may be given several times. Without, the certificate is good for HTTP alone.
        #[arg(long = "role", value_enum)]
        roles: Vec<NodeRole>,
        #[command(flatten)]
        names: Names,
    },
}

#[derive(Debug, Clone, Args)]
struct Names {
    /// Name or IP address at which others reach the node; may be given several times.
    #[arg(long = "host", default_values = ["localhost", "127.0.0.1", "::1"])]
    hosts: Vec<String>,
    /// Days until the certificates expire; 0 makes ones that have.
    #[arg(long, default_value_t = 365)]
    days: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NodeRole {
    Overlord,
    Controller,
    Worker,
    Gateway,
}

impl NodeRole {
    fn role(self) -> v1::Role {
        match self {
            NodeRole::Overlord => v1::Role::Overlord,
            NodeRole::Controller => v1::Role::Controller,
            NodeRole::Worker => v1::Role::Worker,
            NodeRole::Gateway => v1::Role::Gateway,
        }
    }
}

/// The CA's own name: certificates name it as their issuer.
const CA_NAME: &str = "Sarsen development CA";

/// Runs the command.
///
/// # Errors
/// When files cannot be written, or names are no names.
pub fn run(options: &Options) -> Outcome {
    match &options.command {
        Command::Init { dir, names } => init(dir, names),
        Command::Issue {
            name,
            dir,
            roles,
            names,
        } => {
            if name.is_empty() || name == "ca" || name.contains(['/', '\\']) {
                return Err(format!("`{name}` is not a name for a certificate's files").into());
            }
            issue(dir, name, roles, names)
        }
    }
}

fn init(dir: &Path, names: &Names) -> Outcome {
    std::fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let key = KeyPair::generate()?;
    let mut params = ca_params()?;
    set_validity(&mut params, names.days.max(1))?;
    let certificate = params.self_signed(&key)?;
    write_secret(&dir.join("ca.key"), &key.serialize_pem())?;
    std::fs::write(dir.join("ca.pem"), certificate.pem())?;
    for (name, role) in [
        ("overlord", NodeRole::Overlord),
        ("controller", NodeRole::Controller),
        ("worker", NodeRole::Worker),
        ("gateway", NodeRole::Gateway),
    ] {
        issue(dir, name, &[role], names)?;
    }
    logging::say(&format!(
        "A development CA is in {}. Whoever has its ca.key can play any node: keep it off the nodes.",
        dir.display()
    ));
    Ok(())
}

fn ca_params() -> Outcome<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, CA_NAME);
    Ok(params)
}

fn issue(dir: &Path, name: &str, roles: &[NodeRole], names: &Names) -> Outcome {
    let ca_key = dir.join("ca.key");
    let ca_key = std::fs::read_to_string(&ca_key)
        .map_err(|error| format!("{}: {error}; make a CA with `sarsen ca init`", ca_key.display()))?;
    let ca_key = KeyPair::from_pem(&ca_key)?;
    let ca = ca_params()?;
    let issuer = Issuer::from_params(&ca, &ca_key);
    let mut subjects = names.hosts.clone();
    subjects.extend(roles.iter().map(|role| role_dns_name(role.role())));
    let mut params = CertificateParams::new(subjects)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, names.days)?;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    write_secret(&dir.join(format!("{name}.key")), &key.serialize_pem())?;
    std::fs::write(dir.join(format!("{name}.pem")), certificate.pem())?;
    Ok(())
}

/// From two days ago on, so that clocks need not agree.
fn set_validity(params: &mut CertificateParams, days: u32) -> Outcome {
    let today = Utc::now().date_naive();
    let begin = today.checked_sub_days(Days::new(2)).ok_or("no such day")?;
    let end = today
        .checked_add_days(Days::new(u64::from(days)))
        .ok_or("no such day")?;
    let at = |day: chrono::NaiveDate| -> Outcome<_> {
        Ok(date_time_ymd(
            day.year(),
            u8::try_from(day.month())?,
            u8::try_from(day.day())?,
        ))
    };
    params.not_before = at(begin)?;
    params.not_after = at(end)?;
    Ok(())
}

/// A file that only its owner may read, from its first moment on.
fn write_secret(path: &Path, text: &str) -> Outcome {
    if path.exists() {
        std::fs::remove_file(path)?;
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
