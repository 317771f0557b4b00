//! `sarsen doctor`: what it says of roles that could run and of those that could not, and that it leaves no trace.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Cluster, PATIENCE, Process, Standalone, free_port, walk};

fn sarsen(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sarsen"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SARSEN_")) {
        command.env_remove(name);
    }
    command.args(arguments).output().unwrap()
}

fn doctor(arguments: &[&str]) -> Output {
    sarsen(&[&["doctor"], arguments].concat())
}

/// The findings of `--json`, and the exit code.
fn findings(arguments: &[&str]) -> (Vec<Value>, i32) {
    let output = doctor(&[&["--json"], arguments].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (found.as_array().unwrap().clone(), output.status.code().unwrap())
}

/// Status, what was found and the advice of one check.
fn of<'a>(findings: &'a [Value], check: &str) -> (&'a str, &'a str, &'a str) {
    let finding = findings.iter().find(|finding| finding["check"] == check);
    let finding = finding.unwrap_or_else(|| panic!("no check `{check}` in {findings:#?}"));
    let text = |key: &str| finding[key].as_str().unwrap_or_default();
    (text("status"), text("found"), text("advice"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(folder, &mut found);
    found.sort();
    found
}

#[test]
fn a_standalone_that_runs_and_one_that_may_are_healthy_and_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").to_string_lossy().into_owned();
    let address = format!("127.0.0.1:{}", free_port());
    let flags = ["standalone", "--data-dir", &data, "--http-addr", &address];
    let (found, code) = findings(&flags);
    assert_eq!(code, 0, "{found:#?}");
    assert!(of(&found, "metadata store").1.contains("has no tables yet"));
    assert!(of(&found, "data folder").1.contains("made at the first start"));
    assert!(files(folder.path()).is_empty());

    let mut server = Standalone::with(&[]);
    let data = server.path().join("data").to_string_lossy().into_owned();
    let address = server.api.url.trim_start_matches("http://").to_owned();
    let flags = ["standalone", "--data-dir", &data, "--http-addr", &address];
    server.api.rows("SELECT 1");
    let before = files(Path::new(&data));
    let (found, code) = findings(&flags);
    assert_eq!(code, 0, "{found:#?}");
    assert!(of(&found, "port --http-addr").1.contains("is held by a Sarsen"));
    assert!(of(&found, "metadata store").1.contains("has schema "));
    assert!(
        of(&found, "deep storage")
            .1
            .contains("written, read, listed and removed")
    );
    for finding in &found {
        let keys: Vec<&String> = finding.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["check", "status", "found", "advice"]);
        assert!(
            ["ok", "warn"].contains(&finding["status"].as_str().unwrap()),
            "{finding}"
        );
        assert_eq!(finding["status"] == "ok", finding["advice"] == Value::Null);
    }
    assert_eq!(files(Path::new(&data)), before);
    assert_eq!(server.process.terminate(), Some(0));
    // Nobody has the store open now.
    let before = files(Path::new(&data));
    assert_eq!(findings(&flags).1, 0);
    assert_eq!(files(Path::new(&data)), before);
}

#[test]
fn lines_for_people_have_a_status_a_name_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_string_lossy().into_owned();
    let address = format!("127.0.0.1:{}", free_port());
    let output = doctor(&[
        "worker",
        "--data-dir",
        &data,
        "--grpc-addr",
        &address,
        "--overlord",
        "http://127.0.0.1:1",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.starts_with("fail  Overlord"))
        .unwrap();
    assert!(lines[at].contains("Connection refused"), "{text}");
    assert!(lines[at + 1].starts_with("      start the Overlord"), "{text}");
    assert!(
        lines.iter().any(|line| line.starts_with("ok    data folder")),
        "{text}"
    );
    assert!(text.contains("nothing is allowed"), "{text}");
}

#[test]
fn what_is_broken_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    std::fs::write(at("file"), "no folder").unwrap();
    std::fs::write(
        at("text.db"),
        "this is no database, but a text of some length. ".repeat(40),
    )
    .unwrap();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let held = held.local_addr().unwrap().to_string();
    let (below_a_file, store) = (at("file/data"), format!("sqlite:{}", at("text.db")));
    let (found, code) = findings(&[
        "overlord",
        "--data-dir",
        &below_a_file,
        "--deep-storage",
        &at("deep"),
        "--metadata",
        &store,
        "--grpc-addr",
        &held,
    ]);
    assert_eq!(code, 1);
    assert_eq!(of(&found, "data folder").0, "fail");
    let (status, told, advice) = of(&found, "metadata store");
    assert_eq!(status, "fail");
    assert!(
        told.contains("not a database") && advice.contains("text.db"),
        "{told} {advice}"
    );
    assert_eq!(std::fs::read(at("text.db")).unwrap().len(), 40 * 48);

    let nowhere = "postgres://u:geheim@127.0.0.1:1/druid";
    let (found, code) = findings(&["overlord", "--data-dir", &at("data"), "--metadata", nowhere]);
    assert_eq!(code, 1);
    let (status, told, advice) = of(&found, "metadata store");
    assert_eq!(status, "fail");
    assert!(told.contains("127.0.0.1:1") && !told.contains("geheim"), "{told}");
    assert!(advice.contains("PostgreSQL"), "{advice}");

    let (found, code) = findings(&["overlord", "--data-dir", &at("data"), "--metadata", "mysql://x"]);
    assert_eq!((code, of(&found, "metadata store").0), (1, "fail"));
    let (found, _) = findings(&["worker", "--data-dir", &at("data"), "--grpc-addr", "0.0.0.0:0"]);
    assert!(of(&found, "advertised address").2.contains("--advertise"));
    let (found, _) = findings(&[
        "worker",
        "--data-dir",
        &at("data"),
        "--slots",
        "64",
        "--memory-limit",
        "1G",
    ]);
    assert_eq!(of(&found, "memory").0, "warn");
    let (found, _) = findings(&[
        "overlord",
        "--data-dir",
        &at("data"),
        "--etcd",
        "etcd://127.0.0.1:1",
    ]);
    assert_eq!(of(&found, "etcd").0, "fail");
    let (found, _) = findings(&[
        "controller",
        "--data-dir",
        &at("data"),
        "--deep-storage",
        "s3://nowhere/x",
        "--s3-endpoint",
        "http://127.0.0.1:1",
    ]);
    let (status, _, advice) = of(&found, "deep storage");
    assert!(status == "fail" && !advice.is_empty());
}

#[test]
fn a_port_of_another_program_is_no_sarsens() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_string_lossy().into_owned();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for (role, flag) in [("worker", "--grpc-addr"), ("standalone", "--http-addr")] {
        let (found, code) = findings(&[role, "--data-dir", &data, flag, &address]);
        assert_eq!(code, 1);
        let (status, told, advice) = of(&found, &format!("port {flag}"));
        assert_eq!(status, "fail");
        assert!(
            told.contains("another program") && advice.contains(flag),
            "{told} {advice}"
        );
    }
}

#[test]
fn mistakes_in_settings_are_a_failed_check() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sarsen.toml").to_string_lossy().into_owned();
    for (lines, expected) in [
        (
            "slotz = 3",
            "`slotz` is not a setting of any role; did you mean `slots`?",
        ),
        ("slots = ", "TOML parse error"),
        ("slots = \"many\"", "invalid value 'many' for '--slots"),
    ] {
        std::fs::write(&file, lines).unwrap();
        for arguments in [["--config", &file, "worker"], ["worker", "--config", &file]] {
            let (found, code) = findings(&arguments);
            assert_eq!(code, 1);
            let (status, told, advice) = of(&found, "configuration");
            assert_eq!(status, "fail");
            assert!(told.contains(expected), "{lines}: {told}");
            assert!(!advice.is_empty());
        }
    }
    std::fs::write(&file, "slots = 3\nmemory-limit = \"3G\"").unwrap();
    let data = folder.path().join("data").to_string_lossy().into_owned();
    let (found, _) = findings(&["worker", "--config", &file, "--data-dir", &data]);
    assert!(of(&found, "memory").1.contains("for 3 slots: 1.0 GiB each"));
    let (found, code) = findings(&["worker", "--slott", "3"]);
    assert_eq!((code, of(&found, "configuration").0), (1, "fail"));
}

#[test]
fn certificates_are_judged_by_key_ca_role_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    for (place, days) in [("ca", "365"), ("other", "365"), ("short", "3")] {
        assert!(
            sarsen(&["ca", "init", &at(place), "--days", days])
                .status
                .success()
        );
    }
    let expired = [
        "ca",
        "issue",
        "old",
        "--dir",
        &at("ca"),
        "--role",
        "worker",
        "--days",
        "0",
    ];
    assert!(sarsen(&expired).status.success());
    let judged = |cert: &str, key: &str, ca: &str| {
        let (found, _) = findings(&[
            "worker",
            "--data-dir",
            &at("data"),
            "--tls-cert",
            &at(cert),
            "--tls-key",
            &at(key),
            "--tls-ca",
            &at(ca),
            "--overlord",
            "https://127.0.0.1:1",
        ]);
        found
    };
    let certificate = |cert: &str, key: &str, ca: &str| {
        let found = judged(cert, key, ca);
        let (status, told, advice) = of(&found, "node certificate");
        assert_eq!(status == "ok", advice.is_empty());
        format!("{status} {told}")
    };
    let good = certificate("ca/worker.pem", "ca/worker.key", "ca/ca.pem");
    assert!(good.starts_with("ok ") && good.contains("good for 36"), "{good}");
    for (cert, key, ca, expected) in [
        (
            "ca/worker.pem",
            "ca/gateway.key",
            "ca/ca.pem",
            "do not belong together",
        ),
        (
            "ca/worker.pem",
            "ca/worker.key",
            "other/ca.pem",
            "is not by the CA",
        ),
        (
            "ca/gateway.pem",
            "ca/gateway.key",
            "ca/ca.pem",
            "is for the roles [\"gateway\"]",
        ),
        ("ca/old.pem", "ca/old.key", "ca/ca.pem", "has expired on"),
        ("ca/none.pem", "ca/worker.key", "ca/ca.pem", "No such file"),
        (
            "ca/worker.key",
            "ca/worker.key",
            "ca/ca.pem",
            "holds no certificate",
        ),
    ] {
        let told = certificate(cert, key, ca);
        assert!(told.starts_with("fail ") && told.contains(expected), "{told}");
    }
    let soon = certificate("short/worker.pem", "short/worker.key", "short/ca.pem");
    assert!(soon.starts_with("warn ") && soon.contains("expires in"), "{soon}");
    let open = judged("ca/worker.pem", "ca/worker.key", "ca/ca.pem");
    assert_eq!(of(&open, "node key").0, "ok");
    let key = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(at("ca/worker.key"), key).unwrap();
    let open = judged("ca/worker.pem", "ca/worker.key", "ca/ca.pem");
    assert_eq!(of(&open, "node key").0, "warn");
    assert!(of(&open, "node key").2.contains("chmod 600"));
}

#[test]
fn the_overlord_of_a_cluster_tells_its_version_and_time() {
    let cluster = Cluster::start(1, 1);
    let overlord = cluster.overlord_address();
    let data = cluster.folder.path().join("new").to_string_lossy().into_owned();
    for role in ["controller", "worker", "gateway"] {
        let (found, _) = findings(&[role, "--data-dir", &data, "--overlord", &overlord]);
        let (status, told, _) = of(&found, "Overlord");
        assert_eq!(status, "ok", "{told}");
        assert!(
            told.contains("1 controllers and 1 workers") && told.contains("clocks agree"),
            "{told}"
        );
    }
    // It is no member for having asked.
    let (found, _) = findings(&["worker", "--data-dir", &data, "--overlord", &overlord]);
    assert!(of(&found, "Overlord").1.contains("1 workers"));
    let refused = Command::new(env!("CARGO_BIN_EXE_sarsen"))
        .args([
            "doctor",
            "--json",
            "worker",
            "--data-dir",
            &data,
            "--overlord",
            &overlord,
        ])
        .env("SARSEN_TEST_ANNOUNCED_VERSION", "9.0.0")
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&refused.stdout).unwrap();
    let (status, told, advice) = of(found.as_array().unwrap(), "Overlord");
    assert_eq!(status, "fail");
    assert!(
        told.contains("9.0.0") && advice.contains("upgrade"),
        "{told} {advice}"
    );
}

#[test]
fn an_overlord_that_talks_tls_is_asked_with_the_nodes_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    for place in ["ca", "other"] {
        assert!(sarsen(&["ca", "init", &at(place)]).status.success());
    }
    let address = format!("127.0.0.1:{}", free_port());
    let tls = |place: &str, role: &str| {
        let file = |name: String| at(&format!("{place}/{name}"));
        let files = [
            file(format!("{role}.pem")),
            file(format!("{role}.key")),
            file("ca.pem".to_owned()),
        ];
        ["--tls-cert", "--tls-key", "--tls-ca"]
            .into_iter()
            .zip(files)
            .flat_map(|(flag, file)| [flag.to_owned(), file])
            .collect::<Vec<String>>()
    };
    let mut arguments = ["overlord", "--data-dir", &at("overlord"), "--grpc-addr", &address]
        .map(str::to_owned)
        .to_vec();
    arguments.extend(tls("ca", "overlord"));
    let _overlord = Process::start("overlord", folder.path(), &arguments);
    let asked = |scheme: &str, certificate: &[String]| {
        let overlord = format!("{scheme}://{address}");
        let (data, certificate): (String, Vec<&str>) =
            (at("worker"), certificate.iter().map(String::as_str).collect());
        let flags = [
            &["worker", "--data-dir", &data, "--overlord", &overlord],
            certificate.as_slice(),
        ]
        .concat();
        let (found, _) = findings(&flags);
        let (status, told, _) = of(&found, "Overlord");
        format!("{status} {told}")
    };
    let good = tls("ca", "worker");
    let deadline = Instant::now() + PATIENCE;
    while !asked("https", &good).starts_with("ok ") {
        assert!(Instant::now() < deadline, "{}", asked("https", &good));
    }
    let stranger = asked("https", &tls("other", "worker"));
    assert!(
        stranger.starts_with("fail ") && stranger.to_lowercase().contains("certificate"),
        "{stranger}"
    );
    for plain in [asked("http", &good), asked("https", &[]), asked("http", &[])] {
        assert!(plain.starts_with("fail "), "{plain}");
    }
}

#[test]
fn a_host_that_says_nothing_holds_nobody_up() {
    // It takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = silent.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_string_lossy().into_owned();
    let (overlord, etcd) = (format!("http://{place}"), format!("etcd://{place}"));
    let store = format!("postgres://u:p@{place}/d");
    let begun = Instant::now();
    for flags in [
        vec!["worker", "--data-dir", &data, "--overlord", &overlord],
        vec![
            "overlord",
            "--data-dir",
            &data,
            "--etcd",
            &etcd,
            "--metadata",
            &store,
        ],
    ] {
        let (found, code) = findings(&flags);
        assert_eq!(code, 1, "{found:#?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
