//! The Overlord that a role belongs to: reachable with this node's certificate, of a version that talks to this one, with
//! the same time.

use std::time::Duration;

use sarsen_kernel::secret::without_userinfo;
use sarsen_proto::directory::is_directory;
use sarsen_proto::membership::overlord;
use sarsen_proto::tls::role_name;
use sarsen_proto::transport::Network;
use sarsen_proto::v1;
use tonic::{Code, Status};

use super::check::{Checks, Found, LIMIT, innermost};
use super::clock;
use super::subject::Subject;

pub fn add(subject: &Subject, checks: &mut Checks) {
    let (Some(address), Some(role)) = (subject.overlord.clone(), subject.role) else {
        return;
    };
    let tls = subject.tls.clone();
    checks.add("Overlord", async move {
        match tls.load() {
            Ok(tls) => {
                let network = Network::with_tls(tls);
                let asked = tokio::time::timeout(PATIENCE, reached(&network, &address, role)).await;
                asked.unwrap_or_else(|_| silent(&address))
            }
            Err(error) => Found::fail(
                format!("{}: not asked, since {error}", without_userinfo(&address)),
                "correct --tls-cert, --tls-key and --tls-ca first",
            ),
        }
    });
}

/// A little less than a check may take, so that it tells more than that.
const PATIENCE: Duration = LIMIT.saturating_sub(Duration::from_millis(500));

/// Nobody has answered: callers of several Overlords wait for one that leads.
fn silent(address: &str) -> Found {
    let shown = without_userinfo(address);
    if is_directory(address) || address.contains(',') {
        return Found::fail(
            format!("{shown}: no Overlord that leads answers"),
            "start an Overlord there, or see in its log why it does not lead; see that its port can be reached from here",
        );
    }
    Found::fail(
        format!("{shown}: no answer"),
        "see whether the host is there, and whether a firewall drops what is sent to it",
    )
}

async fn reached(network: &Network, address: &str, role: v1::Role) -> Found {
    let shown = without_userinfo(address);
    let mut client = match overlord(network, address) {
        Ok(client) => client,
        Err(error) => return Found::fail(error.to_string(), "correct --overlord"),
    };
    // The first call makes the connection.
    let first = client.introduce(v1::Empty {}).await;
    if let Err(status) = first {
        return refused(&shown, &status, role);
    }
    let before = clock::now_ms();
    let answer = client.introduce(v1::Empty {}).await;
    let after = clock::now_ms();
    let answer = match answer {
        Ok(answer) => answer.into_inner(),
        Err(status) => return refused(&shown, &status, role),
    };
    let found = format!(
        "{shown} runs Sarsen {} and answers in {} ms; {} controllers and {} workers take part",
        answer.version,
        after - before,
        answer.controllers,
        answer.workers
    );
    let (ahead, uncertain) = clock::ahead(answer.time_ms, before, after);
    clock::judge(&found, "its", ahead, uncertain)
}

/// A call that an HTTP server answered which knows no gRPC.
const NO_GRPC: &str = "grpc-status header missing";

fn refused(shown: &str, status: &Status, role: v1::Role) -> Found {
    let found = match innermost(status) {
        Some(cause) if cause != status.message() => format!("{shown}: {} ({cause})", status.message()),
        _ => format!("{shown}: {}", status.message()),
    };
    let words = found.to_ascii_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    let role = role_name(role);
    match status.code() {
        _ if says(&[NO_GRPC]) => Found::fail(
            format!("{shown} answers, and is no Overlord"),
            "correct --overlord: it names the --grpc-addr of an Overlord",
        ),
        Code::Unimplemented => Found::warn(
            format!(
                "{shown} answers, and is of an earlier version that does not tell its time, or of another role"
            ),
            "see that --overlord names an Overlord; upgrade Overlords before other roles",
        ),
        Code::FailedPrecondition => Found::fail(
            found,
            "run neighbouring minor versions only: upgrade this process or the Overlord, Overlords first",
        ),
        Code::PermissionDenied => Found::fail(
            found,
            format!("give this node a certificate that names its role: `sarsen ca issue NAME --role {role}`"),
        ),
        _ if says(&["does not lead", "no overlord leads"]) => Found::warn(
            found,
            "give --overlord the addresses of all Overlords, or the etcd:// address that they have",
        ),
        _ if says(&["certificate", "tls", "handshake"]) => Found::fail(
            found,
            "see that all nodes have certificates of the CA of --tls-ca, that the Overlord's names the host of --overlord, and \
             that both sides talk TLS or neither does (https:// or http://)",
        ),
        _ => Found::fail(
            found,
            "start the Overlord, or correct --overlord; see that its port can be reached from here",
        ),
    }
}
