//! Where test stores are: a fresh SQLite file, or a fresh database of a PostgreSQL server that lives as long as the test
//! process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sarsen_overlord::metadata::MetadataUrl;
use tokio::sync::OnceCell;

/// An empty place for a store.
pub struct Place {
    pub url: MetadataUrl,
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    /// Runs SQL behind the store's back.
    pub async fn execute(&self, sql: &str) {
        use sqlx::{Connection, Executor};
        let url = match &self.url {
            MetadataUrl::Sqlite(path) => format!("sqlite://{}", path.display()),
            MetadataUrl::Postgres(url) => url.expose().to_owned(),
        };
        let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
        connection.execute(sqlx::raw_sql(sql)).await.unwrap();
        connection.close().await.unwrap();
    }

    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Place {
            url: MetadataUrl::Sqlite(folder.path().join("metadata.db")),
            _folder: Some(folder),
        }
    }

    /// A database of its own, named after the test.
    pub async fn postgres(name: &str) -> Self {
        static SERVER: OnceCell<Postgres> = OnceCell::const_new();
        let server = SERVER
            .get_or_init(|| async { tokio::task::spawn_blocking(Postgres::start).await.unwrap() })
            .await;
        let database: String = name.chars().take(60).collect();
        server.psql("postgres", &format!("CREATE DATABASE {database}"));
        Place {
            url: MetadataUrl::Postgres(
                format!("postgres://postgres@127.0.0.1:{}/{database}", server.port).into(),
            ),
            _folder: None,
        }
    }
}

/// A server on loopback.
pub struct Postgres {
    programs: PathBuf,
    port: u16,
}

impl Postgres {
    /// Starts a server that ends with this process.
    fn start() -> Self {
        let programs = programs();
        let folder = tempfile::Builder::new()
            .prefix("sarsen-postgres-")
            .tempdir()
            .unwrap()
            .keep();
        let port = crate::ports::free_port();
        let user = unprivileged_user();
        if let Some(user) = &user {
            assert!(
                Command::new("chown")
                    .arg(user)
                    .arg(&folder)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let as_user = |program: &Path| match &user {
            // PostgreSQL refuses to run as root.
            Some(user) => {
                let mut command = Command::new("setpriv");
                command
                    .args(["--reuid", user, "--regid", user, "--clear-groups"])
                    .arg(program);
                command
            }
            None => Command::new(program),
        };
        let data = folder.join("data");
        let made = as_user(&programs.join("initdb"))
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "-D"])
            .arg(&data)
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // A shell between us that waits on our end of a pipe ends the server when this process is gone.
        let script = r#""$@" & server=$!; cat >/dev/null; kill -INT $server; wait $server; rm -rf "$PGDATA""#;
        let server = as_user(Path::new("sh"))
            .args(["-c", script, "sh"])
            .arg(programs.join("postgres"))
            .args([
                "-p",
                &port.to_string(),
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
                "-c",
                "fsync=off",
            ])
            .env("PGDATA", &data)
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The pipe's other end stays open until the process ends.
        std::mem::forget(server);
        let postgres = Postgres { programs, port };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !postgres.answers() {
            assert!(Instant::now() < deadline, "PostgreSQL did not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        postgres
    }

    fn client(&self, database: &str, sql: &str) -> std::process::Output {
        Command::new(self.programs.join("psql"))
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-U",
                "postgres",
                "-d",
                database,
                "-Atc",
                sql,
            ])
            .output()
            .unwrap()
    }

    fn answers(&self) -> bool {
        self.client("postgres", "SELECT 1").status.success()
    }

    fn psql(&self, database: &str, sql: &str) {
        let done = self.client(database, sql);
        assert!(
            done.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
}

/// Where Debian puts the server's programs, or the path.
fn programs() -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    versions.sort();
    versions
        .pop()
        .expect("PostgreSQL's server is not installed: run `make setup` (Debian's package `postgresql`)")
}

fn unprivileged_user() -> Option<String> {
    let id = Command::new("id").arg("-u").output().unwrap();
    (String::from_utf8_lossy(&id.stdout).trim() == "0").then(|| "postgres".to_owned())
}
