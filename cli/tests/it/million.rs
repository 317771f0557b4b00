//! A bucket of any number of objects that are made up when they are asked for.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

/// Objects of a page, as in S3.
const PAGE: u32 = 1_000;

/// Serves `count` objects below `prefix`, each with its number; answers the endpoint.
pub fn serve(prefix: &'static str, count: u32) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || while answer(&stream, prefix, count).is_some() {});
        }
    });
    url
}

/// One request of a connection; `None` at its end.
fn answer(stream: &TcpStream, prefix: &str, count: u32) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    let mut header = String::new();
    let mut range: Option<(usize, usize)> = None;
    while reader.read_line(&mut header).is_ok_and(|bytes| bytes > 2) {
        if let Some(bytes) = header.to_lowercase().trim().strip_prefix("range: bytes=") {
            let (from, to) = bytes.split_once('-')?;
            range = Some((from.parse().ok()?, to.parse().ok()?));
        }
        header.clear();
    }
    let mut words = request.split_whitespace();
    let (method, path) = (words.next()?, words.next()?);
    let mut stream = stream;
    if path.contains("list-type=2") {
        let token = path
            .split('&')
            .chain(path.split('?'))
            .find_map(|pair| pair.strip_prefix("continuation-token="));
        let first: u32 = token
            .and_then(|token| token.split('&').next()?.parse().ok())
            .unwrap_or(0);
        let body = page(prefix, first, count);
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .ok()?;
        return Some(());
    }
    let number: u32 = path.rsplit('-').next()?.strip_suffix(".json")?.parse().ok()?;
    let body = object(number);
    let common = "ETag: \"e\"\r\nLast-Modified: Wed, 01 Jan 2020 00:00:00 GMT";
    match (method, range) {
        ("HEAD", _) => write!(stream, "HTTP/1.1 200 OK\r\n{common}\r\nContent-Length: {}\r\n\r\n", body.len()),
        (_, Some((from, to))) => {
            let to = to.min(body.len() - 1);
            let part = &body[from..=to];
            write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\n{common}\r\nContent-Range: bytes {from}-{to}/{}\r\nContent-Length: {}\r\n\r\n{part}",
                body.len(),
                part.len()
            )
        }
        _ => write!(stream, "HTTP/1.1 200 OK\r\n{common}\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
    }
    .ok()
}

fn object(number: u32) -> String {
    format!("{{\"n\":{number:>7}}}\n")
}

fn page(prefix: &str, first: u32, count: u32) -> String {
    let end = count.min(first + PAGE);
    let mut xml =
        String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><Name>bucket</Name>");
    for number in first..end {
        xml += &format!(
            "<Contents><Key>{prefix}part-{number:07}.json</Key><LastModified>2020-01-01T00:00:00.000Z</LastModified>\
             <ETag>&quot;e&quot;</ETag><Size>{}</Size></Contents>",
            object(number).len()
        );
    }
    if end < count {
        xml +=
            &format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{end}</NextContinuationToken>");
    } else {
        xml += "<IsTruncated>false</IsTruncated>";
    }
    xml + "</ListBucketResult>"
}
