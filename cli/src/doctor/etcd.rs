//! The directory in etcd: reachable, how fast, with which clock, and who leads.

use std::time::{Duration, Instant};

use chrono::DateTime;
use etcd_client::{GetOptions, SortOrder, SortTarget};
use sarsen_proto::directory::{Directory, is_directory};
use sarsen_proto::tls;

use super::check::{Checks, Found, chain, innermost};
use super::clock;
use super::subject::Subject;

/// Leases last three seconds and are renewed every second: an answer that takes longer than this endangers them.
const SLOW: Duration = Duration::from_millis(300);

pub fn add(subject: &Subject, checks: &mut Checks) {
    let directory = subject.overlord.as_ref().filter(|address| is_directory(address));
    let Some(address) = subject.etcd.clone().or_else(|| directory.cloned()) else {
        return;
    };
    let leads_itself = subject.etcd.is_some();
    checks.add("etcd", async move {
        match Directory::parse(&address) {
            Some(directory) => reached(&directory, leads_itself).await,
            None => Found::fail(
                "the address of the directory is malformed",
                "give etcd[s]://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…][/PREFIX][?ca=FILE][&cert=FILE&key=FILE]",
            ),
        }
    });
}

async fn reached(directory: &Directory, leads_itself: bool) -> Found {
    let asked = async {
        let mut client = directory.client().await?;
        let election = format!("{}/", directory.election());
        let first = GetOptions::new()
            .with_prefix()
            .with_sort(SortTarget::Create, SortOrder::Ascend)
            .with_limit(1);
        // The first call makes the connection.
        client.get(election.as_str(), Some(first.clone())).await?;
        let asked = Instant::now();
        let found = client.get(election.as_str(), Some(first)).await?;
        let leader = found
            .kvs()
            .first()
            .and_then(|kv| kv.value_str().ok())
            .map(str::to_owned);
        Ok::<_, etcd_client::Error>((leader, asked.elapsed()))
    };
    let (leader, latency) = match asked.await {
        Ok(answer) => answer,
        Err(error) => return Found::fail(format!("{directory}: {}", words(&error)), advice(&error)),
    };
    let leads = match &leader {
        Some(leader) => format!("{leader} leads"),
        None => "no Overlord leads".to_owned(),
    };
    let found = format!("{directory} answers in {} ms; {leads}", latency.as_millis());
    if latency > SLOW {
        return Found::warn(
            found,
            "put etcd nearer, or on a faster disk: Overlords lose their lead when it does not answer in time",
        );
    }
    if leader.is_none() && !leads_itself {
        return Found::warn(found, "start an Overlord with the same address as its --etcd");
    }
    match server_clock(directory).await {
        Some((ahead, uncertain)) => clock::judge(&found, "its", ahead, uncertain),
        None => Found::ok(found),
    }
}

/// What etcd's plain HTTP answers say of its clock, to the second.
async fn server_clock(directory: &Directory) -> Option<(i64, i64)> {
    let mut client = reqwest::Client::builder().timeout(Duration::from_secs(1));
    if let Some([ca, cert, key]) = directory.tls_files() {
        if let Some(ca) = ca {
            let pem = tls::read(ca.as_ref()).ok()?;
            client = client.add_root_certificate(reqwest::Certificate::from_pem(&pem).ok()?);
        }
        if let (Some(cert), Some(key)) = (cert, key) {
            let mut pem = tls::read(cert.as_ref()).ok()?;
            pem.extend(tls::read(key.as_ref()).ok()?);
            client = client.identity(reqwest::Identity::from_pem(&pem).ok()?);
        }
    }
    let url = format!("{}/version", directory.endpoints().first()?);
    let before = clock::now_ms();
    let answer = client.build().ok()?.get(url).send().await.ok()?;
    let after = clock::now_ms();
    let date = answer.headers().get(reqwest::header::DATE)?.to_str().ok()?;
    let date = DateTime::parse_from_rfc2822(date).ok()?.timestamp_millis();
    let (ahead, uncertain) = clock::ahead(date + 500, before, after);
    Some((ahead, uncertain + 500))
}

/// What etcd says, or why it says nothing.
fn words(error: &etcd_client::Error) -> String {
    match error {
        etcd_client::Error::GRpcStatus(status) => match innermost(status) {
            Some(cause) => format!("{} ({cause})", status.message()),
            None => status.message().to_owned(),
        },
        error => chain(error),
    }
}

fn advice(error: &etcd_client::Error) -> String {
    let words = words(error).to_ascii_lowercase();
    if words.contains("certificate") || words.contains("tls") {
        return "see that ca= names the CA of etcd's certificate, that the certificate is for this host, and that cert= and key= \
                belong together"
            .to_owned();
    }
    if words.contains("authentication") || words.contains("permission") || words.contains("user") {
        return "correct the user and password of the address, and let the user read and write below its prefix".to_owned();
    }
    "see whether etcd is up there and can be reached from here (its client port, 2379 by default)".to_owned()
}
