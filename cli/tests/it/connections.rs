//! How many connections the processes of a cluster have to each other while queries shuffle.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use serde_json::json;

use crate::cluster::{Cluster, events};

/// Established connections of this machine to each of `ports`: the client's socket and the port.
fn established(ports: &BTreeMap<u16, String>) -> Vec<(String, u16)> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |place: &str| u16::from_str_radix(place.split_once(':').unwrap().1, 16).unwrap();
    let rows = table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    // 01: established.
    rows.filter(|row| row[3] == "01" && ports.contains_key(&port(row[2])))
        .map(|row| (row[9].to_owned(), port(row[2])))
        .collect()
}

/// Sockets that a process has open.
fn sockets(pid: u32) -> HashSet<String> {
    let folder = format!("/proc/{pid}/fd");
    let entries = std::fs::read_dir(Path::new(&folder))
        .into_iter()
        .flatten()
        .flatten();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links
        .filter_map(|link| {
            let name = link.to_string_lossy().into_owned();
            Some(name.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect()
}

#[test]
fn a_process_has_one_connection_to_another_however_many_queries_shuffle() {
    let cluster = Cluster::start(1, 3);
    let source = events(cluster.folder.path(), 20_000, 4);
    let insert =
        format!("INSERT INTO e SELECT TIME_PARSE(t) AS __time, k, n FROM {source} PARTITIONED BY DAY");
    cluster.api.run(&insert, &json!({ "maxNumTasks": 4 }));
    let ports = cluster.grpc_ports();
    let query = "SELECT n, COUNT(DISTINCT k) AS c FROM e GROUP BY n ORDER BY c, n LIMIT 7";
    let tasks: Vec<String> = (0..6)
        .map(|_| {
            cluster
                .api
                .submit(query, &json!({ "maxNumTasks": 4, "shufflePartitions": 7 }))
        })
        .collect();
    let mut most: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut look = || {
        let established = established(&ports);
        for (client, pid) in cluster.processes() {
            let own = sockets(pid);
            let mut count: HashMap<u16, usize> = HashMap::new();
            for (_, port) in established.iter().filter(|(socket, _)| own.contains(socket)) {
                *count.entry(*port).or_default() += 1;
            }
            for (port, count) in count {
                let most = most.entry((client.clone(), ports[&port].clone())).or_default();
                *most = count.max(*most);
            }
        }
    };
    for task in tasks {
        while cluster.api.status(&task)["status"] == "RUNNING" {
            look();
        }
        assert_eq!(cluster.api.wait(&task)["status"], "SUCCESS");
    }
    look();
    assert!(most.values().all(|count| *count == 1), "{most:?}");
    // Tasks were given, and rows have gone from worker to worker.
    let pair = |client: &str, server: &str| most.contains_key(&(client.to_owned(), server.to_owned()));
    assert!(
        pair("controller0", "worker0") && pair("overlord", "controller0"),
        "{most:?}"
    );
    let workers = ["worker0", "worker1", "worker2"];
    let peers = workers.map(|client| workers.iter().filter(|server| pair(client, server)).count());
    assert_eq!(peers, [2, 2, 2], "{most:?}");
}
