//! A real S3 server as a process, and a proxy before it that fails one request in so many, by a seed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a request needs that is not signed: the server does not check signatures.
pub const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=test/20200101/us-east-1/s3/aws4_request, \
                                 SignedHeaders=host, Signature=0";

/// moto's server (tools/setup.sh installs it), ended with the test.
pub struct S3Server {
    child: Child,
    address: SocketAddr,
}

impl S3Server {
    pub fn start() -> Self {
        let moto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/moto_server");
        assert!(moto.exists(), "there is no moto: run tools/setup.sh");
        let port = crate::ports::free_port();
        let child = Command::new(moto)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "the S3 server does not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
        S3Server { child, address }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn create_bucket(&self, bucket: &str) {
        assert_eq!(self.send("PUT", &format!("/{bucket}"), b"").0, 200);
    }

    pub fn put(&self, bucket: &str, key: &str, body: &[u8]) {
        assert_eq!(self.send("PUT", &format!("/{bucket}/{key}"), body).0, 200);
    }

    pub fn get(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        let (status, body) = self.send("GET", &format!("/{bucket}/{key}"), b"");
        (status == 200).then_some(body)
    }

    /// Keys that begin with `prefix`, in order.
    pub fn keys(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let mut keys = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/{bucket}?list-type=2&prefix={prefix}&start-after={after}");
            let (status, body) = self.send("GET", &path, b"");
            assert_eq!(status, 200);
            let page = texts(&String::from_utf8(body).unwrap(), "Key");
            let Some(last) = page.last() else { return keys };
            after.clone_from(last);
            keys.extend(page);
        }
    }

    /// Keys of multipart uploads that were begun and not ended.
    pub fn uploads(&self, bucket: &str) -> Vec<String> {
        let (status, body) = self.send("GET", &format!("/{bucket}?uploads"), b"");
        assert_eq!(status, 200);
        texts(&String::from_utf8(body).unwrap(), "Key")
    }

    fn send(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {AUTHORIZATION}\r\nContent-Length: {}\r\n\
             Content-Type: application/octet-stream\r\nConnection: close\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer[end + 4..].to_vec())
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The texts of all elements of that name.
fn texts(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open)
        .skip(1)
        .map(|rest| rest.split(&close).next().unwrap().to_owned())
        .collect()
}

/// Ways in which a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// 503 with S3's error body.
    SlowDown,
    InternalError,
    /// The connection is closed before the request went anywhere.
    Reset,
    /// The server has done what it was asked for; its answer is lost.
    AnswerLost,
    /// The answer breaks off half way.
    BodyCut,
    /// No answer comes.
    Hang,
}

const TROUBLES: [Trouble; 5] = [
    Trouble::SlowDown,
    Trouble::InternalError,
    Trouble::Reset,
    Trouble::AnswerLost,
    Trouble::BodyCut,
];

/// Passes requests on to a server, but for one in so many.
pub struct FaultyProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    one_in: u64,
    /// So many requests at first are never answered.
    hanging: usize,
    state: AtomicU64,
    requests: AtomicUsize,
    troubles: Mutex<BTreeMap<Trouble, usize>>,
}

impl FaultyProxy {
    pub fn start(server: SocketAddr, seed: u64, one_in: u64) -> Self {
        Self::new(server, seed, one_in, 0)
    }

    /// One that answers none of the first requests.
    pub fn hanging(server: SocketAddr, requests: usize) -> Self {
        Self::new(server, 0, 0, requests)
    }

    fn new(server: SocketAddr, seed: u64, one_in: u64, hanging: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server,
            one_in,
            hanging,
            state: AtomicU64::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            requests: AtomicUsize::new(0),
            troubles: Mutex::default(),
        });
        let all = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&all);
                std::thread::spawn(move || {
                    let _ = shared.pass_on(client);
                });
            }
        });
        FaultyProxy { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests, and those of them that failed, by the way in which they did.
    pub fn counts(&self) -> (usize, BTreeMap<Trouble, usize>) {
        let troubles = self.shared.troubles.lock().unwrap().clone();
        (self.shared.requests.load(Ordering::SeqCst), troubles)
    }
}

impl Shared {
    /// xorshift
    fn random(&self) -> u64 {
        let step = |state: u64| {
            let state = state ^ (state << 13);
            let state = state ^ (state >> 7);
            state ^ (state << 17)
        };
        let before = self
            .state
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |state| Some(step(state)))
            .unwrap();
        step(before)
    }

    fn trouble(&self) -> Option<Trouble> {
        if self.requests.fetch_add(1, Ordering::SeqCst) < self.hanging {
            return Some(Trouble::Hang);
        }
        if self.one_in == 0 || !(self.random() >> 11).is_multiple_of(self.one_in) {
            return None;
        }
        // All of them come, in turn.
        let mut troubles = self.troubles.lock().unwrap();
        let count: usize = troubles.values().sum();
        let trouble = TROUBLES[count % TROUBLES.len()];
        *troubles.entry(trouble).or_default() += 1;
        Some(trouble)
    }

    /// One request of a connection.
    fn pass_on(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        let mut head = Vec::new();
        let mut length = 0_usize;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if lower.trim().is_empty() {
                break;
            }
            if !lower.starts_with("connection:") {
                head.extend_from_slice(line.as_bytes());
            }
        }
        head.extend_from_slice(b"Connection: close\r\n\r\n");
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let trouble = self.trouble();
        let refused = match trouble {
            Some(Trouble::SlowDown) => Some(("503 Slow Down", "SlowDown")),
            Some(Trouble::InternalError) => Some(("500 Internal Server Error", "InternalError")),
            _ => None,
        };
        if let Some((status, code)) = refused {
            let xml = format!(
                "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>try again</Message></Error>"
            );
            return write!(
                client,
                "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{xml}",
                xml.len()
            );
        }
        match trouble {
            Some(Trouble::Reset) => return Ok(()),
            Some(Trouble::Hang) => {
                // Until the client goes away.
                let _ = reader.read(&mut [0]);
                return Ok(());
            }
            _ => {}
        }
        let mut server = TcpStream::connect(self.server)?;
        server.write_all(&head)?;
        server.write_all(&body)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        match trouble {
            Some(Trouble::AnswerLost) => Ok(()),
            Some(Trouble::BodyCut) => client.write_all(&answer[..answer.len() * 3 / 4]),
            _ => client.write_all(&answer),
        }
    }
}
