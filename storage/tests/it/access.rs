//! What an attacker tries so as to have a server read what it may not: redirects, names that lead inside, passwords.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use sarsen_storage::StorageError;
use sarsen_storage::source::{InputSource, Lookup, Opened, SourceContext, open};

/// Answers every request alike, and keeps what was asked.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answer: impl Fn(&str) -> String + Send + 'static) -> Server {
        Server::at("127.0.0.1:0", answer)
    }

    fn at(address: &str, answer: impl Fn(&str) -> String + Send + 'static) -> Server {
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut request, mut line) = (String::new(), String::new());
                while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                    request += &std::mem::take(&mut line);
                }
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                kept.lock().unwrap().push(request);
                let _ = stream.write_all(answer(&path).as_bytes());
            }
        });
        Server { port, asked }
    }

    fn requests(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn rows() -> String {
    "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\n{\"l\":1}\n".to_owned()
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

/// Names as the attacker's server answers them: one address after the other, the last for ever.
#[derive(Debug)]
struct Names {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Names {
    fn new(answers: &[&[&str]]) -> Arc<Names> {
        let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Names {
            answers: answers.iter().map(parse).collect(),
            asked: AtomicUsize::new(0),
        })
    }
}

impl Lookup for Names {
    fn lookup(&self, _: &str) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers[number.min(self.answers.len() - 1)].clone();
        Box::pin(async move { Ok(answer) })
    }
}

fn read_with(context: &SourceContext, source: &str, url: &str) -> Result<String, StorageError> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let source: InputSource = source.parse()?;
    match open(&source, url, 0, context, runtime.handle())? {
        Opened::Stream(mut stream) => {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
            Ok(text)
        }
        Opened::Local(_) | Opened::Object(_) => panic!("a URL is no file"),
    }
}

fn context(allow: &[String], names: Arc<Names>) -> SourceContext {
    SourceContext::with_lookup(allow, names).unwrap()
}

fn read(allow: &[String], names: Arc<Names>, url: &str) -> Result<String, StorageError> {
    read_with(
        &context(allow, names),
        &format!(r#"{{"type":"http","uris":["{url}"]}}"#),
        url,
    )
}

fn nowhere() -> Arc<Names> {
    Names::new(&[&["192.0.2.1"]])
}

#[test]
fn a_redirect_leads_only_where_a_request_may_go() {
    let inside = Server::start(|_| rows());
    let to = format!("http://127.0.0.1:{}/secret", inside.port);
    let decimal = format!("http://2130706433:{}/secret", inside.port);
    let by_name = format!("http://inside.test:{}/secret", inside.port);
    for target in [to, decimal, by_name] {
        let outside = Server::start(move |_| redirect(&target));
        let url = format!("http://127.0.0.1:{}/pub/a", outside.port);
        let allow = [format!("http://127.0.0.1:{}/pub/", outside.port)];
        let error = read(&allow, Names::new(&[&["127.0.0.1"]]), &url)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("redirects to") && error.contains("--extern-allow"),
            "{error}"
        );
        assert_eq!(outside.requests().len(), 1, "a denied request is not repeated");
    }
    assert!(inside.requests().is_empty());
}

#[test]
fn an_allowed_redirect_is_followed() {
    let server = Server::start(|path| {
        if path == "/pub/a" {
            redirect("/pub/b")
        } else {
            rows()
        }
    });
    let allow = [format!("http://127.0.0.1:{}/pub/", server.port)];
    let url = format!("http://127.0.0.1:{}/pub/a", server.port);
    assert_eq!(read(&allow, nowhere(), &url).unwrap(), "{\"l\":1}\n");
    let out = Server::start(|path| {
        if path == "/pub/a" {
            redirect("/etc")
        } else {
            rows()
        }
    });
    let allow = [format!("http://127.0.0.1:{}/pub/", out.port)];
    assert!(read(&allow, nowhere(), &format!("http://127.0.0.1:{}/pub/a", out.port)).is_err());
}

#[test]
fn a_name_that_leads_inside_is_not_connected_to() {
    let inside = Server::start(|_| rows());
    let url = format!("http://allowed.test:{}/a", inside.port);
    let listed = [format!("http://allowed.test:{}/", inside.port)];
    for addresses in [
        &["127.0.0.1"][..],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["169.254.169.254"],
        &["10.0.0.1", "127.0.0.1"],
    ] {
        for allow in [&listed[..], &["http://*".to_owned()]] {
            let error = read(allow, Names::new(&[addresses]), &url)
                .unwrap_err()
                .to_string();
            assert!(error.contains("private address"), "{addresses:?}: {error}");
        }
    }
    assert!(inside.requests().is_empty());
    let opened = [listed[0].clone(), "net:127.0.0.0/8".to_owned()];
    assert!(read(&opened, Names::new(&[&["127.0.0.1"]]), &url).is_ok());
}

#[test]
fn a_name_that_changes_after_it_was_checked_changes_nothing() {
    let inside = Server::start(|_| rows());
    let trouble = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let outside = Server::at(&format!("127.0.0.2:{}", inside.port), |_| trouble.to_owned());
    // The name leads outside when it is looked up first, and inside ever after.
    let names = Names::new(&[&["127.0.0.2"], &["127.0.0.1"]]);
    let url = format!("http://rebind.test:{}/a", inside.port);
    let allow = ["http://*".to_owned(), "net:127.0.0.2".to_owned()];
    let error = read(&allow, names, &url).unwrap_err().to_string();
    assert!(error.contains("private address 127.0.0.1"), "{error}");
    assert_eq!((outside.requests().len(), inside.requests().len()), (1, 0));
}

#[test]
fn passwords_and_headers_do_not_follow_a_redirect_to_another_origin() {
    let other = Server::start(|_| rows());
    let to = format!("http://127.0.0.1:{}/b", other.port);
    let first = Server::start(move |_| redirect(&to));
    let url = format!("http://127.0.0.1:{}/a", first.port);
    let allow = [first.port, other.port].map(|port| format!("http://127.0.0.1:{port}/"));
    let plain = format!(r#"{{"type":"http","uris":["{url}"]}}"#);
    assert!(read_with(&context(&allow, nowhere()), &plain, &url).is_ok());
    for secret in [
        r#""httpAuthenticationUsername":"u","httpAuthenticationPassword":"geheim""#,
        r#""requestHeaders":{"X-Api-Key":"geheim"}"#,
    ] {
        let source = format!(r#"{{"type":"http","uris":["{url}"],{secret}}}"#);
        let error = read_with(&context(&allow, nowhere()), &source, &url)
            .unwrap_err()
            .to_string();
        assert!(!error.contains("geheim"), "{error}");
    }
    assert!(
        first
            .requests()
            .iter()
            .any(|request| request.contains("geheim") || request.contains("authorization"))
    );
    assert!(
        other
            .requests()
            .iter()
            .all(|request| !request.contains("geheim") && !request.contains("authorization"))
    );
}

#[test]
fn errors_do_not_show_the_password_of_a_url() {
    let server = Server::start(|_| "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned());
    let url = format!("http://u:geheim@127.0.0.1:{}/a", server.port);
    let allowed = [format!("http://127.0.0.1:{}/", server.port)];
    for allow in [&allowed[..], &[]] {
        let error = read(allow, nowhere(), &url).unwrap_err().to_string();
        assert!(
            !error.contains("geheim") && error.contains("127.0.0.1"),
            "{error}"
        );
    }
}
