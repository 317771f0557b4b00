//! HTTP sources: what is asked again, and what is not.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::reading::Reading;

/// A server that answers its requests one after another with these, the last for all further ones. An empty answer
/// closes the connection.
fn serve(answers: Vec<String>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/f.json", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut header = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while reader.read_line(&mut header).is_ok_and(|bytes| bytes > 2) {
                header.clear();
            }
            let number = count.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(answers[number.min(answers.len() - 1)].as_bytes());
        }
    });
    (url, asked)
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn reading(url: &str) -> Reading {
    Reading::new(
        &format!(r#"{{"type":"http","uris":["{url}"]}}"#),
        r#"{"type":"json"}"#,
        "l:long",
    )
}

#[test]
fn a_file_that_is_not_there_is_asked_for_once() {
    let (url, asked) = serve(vec![answer("404 Not Found", "")]);
    let error = reading(&url).error();
    assert!(error.contains(&url) && error.contains("404"), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    let (url, asked) = serve(vec![
        answer("500 Internal Server Error", ""),
        answer("503 Service Unavailable", ""),
        String::new(),
        answer("200 OK", "{\"l\":1}\n"),
    ]);
    assert_eq!(reading(&url).rows(), ["1"]);
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[test]
fn a_server_that_stays_in_trouble_is_named() {
    let (url, asked) = serve(vec![answer("500 Internal Server Error", "")]);
    let error = reading(&url).error();
    assert!(error.contains(&url) && error.contains("500"), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 5);
}

#[test]
fn a_body_that_breaks_off_is_continued() {
    let rest = "{\"l\":2}\n";
    let (url, _) = serve(vec![
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{{\"l\":1}}\n",
            2 * rest.len()
        ),
        format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{rest}",
            rest.len()
        ),
    ]);
    assert_eq!(reading(&url).rows(), ["1", "2"]);
    let (url, _) = serve(vec![format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{rest}",
        2 * rest.len()
    )]);
    assert!(reading(&url).error().contains(&url));
}
