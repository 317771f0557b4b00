//! Addresses that a role binds: free, or held by a Sarsen that runs already.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use sarsen_proto::membership::advertised;
use sarsen_proto::tls::TlsOptions;
use sarsen_proto::transport::Network;
use sarsen_proto::v1;
use sarsen_proto::v1::overlord_client::OverlordClient;
use tonic::Code;

use super::check::{Checks, Found};
use super::subject::Subject;

/// Time to find out who holds a port.
const QUESTION: Duration = Duration::from_secs(2);

pub fn add(subject: &Subject, checks: &mut Checks) {
    for (flag, address) in subject.listens.clone() {
        let bound = address.clone();
        let tls = subject.tls.clone();
        let https = flag == "--http-addr"
            && subject
                .http
                .as_ref()
                .is_some_and(|http| http.http_tls_cert.is_some());
        checks.add(format!("port {flag}"), async move {
            match free(&address) {
                Ok(()) => Found::ok(format!("{address} is free")),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    held(flag, &address, &tls, https).await
                }
                Err(error) => Found::fail(format!("{address}: {error}"), advice(flag, &error)),
            }
        });
        if flag == "--grpc-addr" {
            let scheme = if subject.tls.tls_cert.is_some() {
                "https"
            } else {
                "http"
            };
            let bound = format!("{scheme}://{}", bound.trim());
            let advertise = subject.advertise.clone();
            checks.add_blocking("advertised address", move || {
                called_by_others(advertise.as_deref(), &bound)
            });
        }
    }
}

/// Binds an address and gives it up at once.
fn free(address: &str) -> std::io::Result<()> {
    std::net::TcpListener::bind(address).map(drop)
}

fn advice(flag: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            format!(
                "give {flag} a port above 1023, or let the process bind lower ones (CAP_NET_BIND_SERVICE)"
            )
        }
        std::io::ErrorKind::AddrNotAvailable => {
            format!(
                "this machine has no such address: give {flag} one of its own, and the outer one to --advertise"
            )
        }
        _ => format!("give {flag} a HOST:PORT of this machine"),
    }
}

/// Who holds a port that is not free.
async fn held(flag: &str, address: &str, tls: &TlsOptions, https: bool) -> Found {
    let asked = async {
        match flag {
            "--grpc-addr" => grpc_holder(address, tls).await,
            "--http-addr" => http_holder(address, https).await,
            _ => admin_holder(address).await,
        }
    };
    match tokio::time::timeout(QUESTION, asked).await.ok().flatten() {
        Some(holder) => Found::ok(format!("{address} is held by {holder}, which runs already")),
        None => Found::fail(
            format!("{address} is held by another program"),
            format!("end what listens there (`ss -ltnp`), or give {flag} another port"),
        ),
    }
}

/// A Sarsen says what it runs to whoever is of another version, and which role may call what to whoever shows a
/// certificate.
async fn grpc_holder(address: &str, tls: &TlsOptions) -> Option<String> {
    let network = Network::with_tls(tls.load().ok()?);
    let scheme = if tls.tls_cert.is_some() { "https" } else { "http" };
    let address = format!("{scheme}://{}", reachable(address));
    let mut client = OverlordClient::new(network.channel(&address).ok()?);
    let answer = client.introduce(v1::Empty {}).await;
    match answer {
        Ok(answer) => Some(format!("an Overlord of Sarsen {}", answer.into_inner().version)),
        Err(status) if status.message().starts_with("this node runs Sarsen") => {
            Some("a Sarsen of another version".to_owned())
        }
        Err(status) if status.message().contains("Overlord") => Some("an Overlord".to_owned()),
        Err(status) if status.message().contains("certificate for the roles") => Some("a Sarsen".to_owned()),
        // A controller or a worker has no such method, and says so as gRPC does.
        Err(status) if status.message().contains("grpc-status header missing") => None,
        Err(status) if status.code() == Code::Unimplemented => {
            Some("a gRPC server of another role".to_owned())
        }
        Err(_) => None,
    }
}

async fn http_holder(address: &str, https: bool) -> Option<String> {
    let scheme = if https { "https" } else { "http" };
    let client = reqwest::Client::builder()
        .danger_accept_invalid_certs(true)
        .build()
        .ok()?;
    let url = format!("{scheme}://{}/status", reachable(address));
    let answer = client.get(url).send().await.ok()?;
    let needs_login = answer.status() == reqwest::StatusCode::UNAUTHORIZED;
    let challenge = answer.headers().get(reqwest::header::WWW_AUTHENTICATE);
    if needs_login && challenge.is_some() {
        return Some(
            "an HTTP server that asks for credentials, as a Sarsen with --auth basic does".to_owned(),
        );
    }
    let status: serde_json::Value = answer.json().await.ok()?;
    let artifact = status
        .pointer("/modules/0/artifact")
        .and_then(serde_json::Value::as_str);
    let version = status
        .get("version")
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default();
    (artifact == Some("sarsen")).then(|| format!("a Sarsen {version}"))
}

async fn admin_holder(address: &str) -> Option<String> {
    let url = format!("http://{}/metrics", reachable(address));
    let page = reqwest::get(url).await.ok()?.text().await.ok()?;
    page.contains("sarsen_").then(|| "a Sarsen".to_owned())
}

/// Where a bound address is reached from this machine.
fn reachable(address: &str) -> String {
    match address.parse::<SocketAddr>() {
        Ok(bound) if bound.ip().is_unspecified() && bound.is_ipv4() => format!("127.0.0.1:{}", bound.port()),
        Ok(bound) if bound.ip().is_unspecified() => format!("[::1]:{}", bound.port()),
        _ => address.to_owned(),
    }
}

/// Whether others can call a node where it says that it is.
fn called_by_others(advertise: Option<&str>, bound: &str) -> Found {
    let url = match advertised(advertise, bound) {
        Ok(url) => url,
        Err(error) => {
            return Found::fail(
                format!("{bound}: {error}"),
                "give --advertise the HOST:PORT at which others reach this process",
            );
        }
    };
    let place = url.split_once("://").map_or(url.as_str(), |(_, place)| place);
    match place.to_socket_addrs().map(|mut found| found.next()) {
        Ok(Some(_)) => Found::ok(format!("others reach it at {url}")),
        Ok(None) => Found::fail(
            format!("{url}: its host has no address"),
            "give --advertise a name that resolves",
        ),
        Err(error) => Found::fail(
            format!("{url}: {error}"),
            "give --advertise a HOST:PORT whose name resolves, here and on all other machines",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_all_is_reached_at_this_machines_own() {
        assert_eq!(reachable("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reachable("[::]:80"), "[::1]:80");
        assert_eq!(reachable("host:80"), "host:80");
    }
}
