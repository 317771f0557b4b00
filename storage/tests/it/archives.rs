//! Zip archives: whose entries are read one by one.

use std::io::{Cursor, Write};
use std::path::Path;

use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use crate::reading::Reading;

const CSV: &str = r#"{"type":"csv","findColumnsFromHeader":true}"#;

fn archive(entries: &[(&str, &[u8], CompressionMethod)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer
        .add_directory("folder/", SimpleFileOptions::default())
        .unwrap();
    for (name, bytes, method) in entries {
        let options = SimpleFileOptions::default().compression_method(*method);
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn every_entry_is_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"n\n5\n").unwrap();
    let bytes = archive(&[
        ("a.csv", b"n,s\n1,x\n2,y\n", CompressionMethod::Deflated),
        ("folder/b.csv", b"s,n\nz,3\n", CompressionMethod::Stored),
        ("empty.csv", b"", CompressionMethod::Stored),
        ("__MACOSX/._a.csv", b"n\n9\n", CompressionMethod::Stored),
        ("c.csv.gz", &gzip.finish().unwrap(), CompressionMethod::Stored),
    ]);
    for name in ["some.zip", "unnamed.csv"] {
        let path = write(folder.path(), name, &bytes);
        for split_bytes in [u64::MAX, 50] {
            let reading = Reading {
                split_bytes,
                ..Reading::file(&path, CSV, "n:long s:string")
            };
            let read = reading.read().unwrap();
            assert_eq!(read.rows, ["1|x", "2|y", "3|z", "5|~"], "{name}");
            assert_eq!(read.counters.files(), 1);
        }
    }
    let none = write(folder.path(), "none.zip", &archive(&[]));
    assert!(Reading::file(&none, CSV, "n:long").rows().is_empty());
}

#[test]
fn bad_rows_and_damaged_entries_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let json = r#"{"type":"json"}"#;
    let bytes = archive(&[("in/a.json", b"{\"n\":1}\nnope\n", CompressionMethod::Deflated)]);
    let path = write(folder.path(), "bad.zip", &bytes);
    let reading = Reading {
        max_parse_exceptions: 1,
        ..Reading::file(&path, json, "n:long")
    };
    let texts = reading.read().unwrap().parse_errors.texts();
    assert!(
        texts[0].contains("bad.zip!/in/a.json, Record: 2, Line: 2)"),
        "{texts:?}"
    );
    let mut damaged = archive(&[("a.json", b"{\"n\":1}\n{\"n\":2}\n", CompressionMethod::Stored)]);
    let place = damaged.windows(5).position(|bytes| bytes == b"{\"n\":").unwrap();
    damaged[place + 5] = b'7';
    let path = write(folder.path(), "damaged.zip", &damaged);
    let error = Reading::file(&path, json, "n:long").error();
    assert!(error.contains("damaged.zip!/a.json"), "{error}");
    for cut in [10, bytes.len() / 2, bytes.len() - 3] {
        let path = write(folder.path(), "cut.zip", &bytes[..cut]);
        let error = Reading::file(&path, json, "n:long").error();
        assert!(error.contains("cut.zip"), "{error}");
    }
}

#[test]
fn typed_files_are_read_out_of_an_archive() {
    let folder = tempfile::tempdir().unwrap();
    for (name, format, column) in [
        ("types.orc", "orc", "str:string"),
        ("null.avro", "avro_ocf", "s:string"),
    ] {
        let file = std::fs::read(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/data")
                .join(name),
        )
        .unwrap();
        let bytes = archive(&[
            ("one", &file, CompressionMethod::Deflated),
            ("two", &file, CompressionMethod::Stored),
        ]);
        let path = write(folder.path(), &format!("{format}.zip"), &bytes);
        let rows = Reading::file(&path, &format!(r#"{{"type":"{format}"}}"#), column).rows();
        assert_eq!(rows.len() % 2, 0);
        assert_eq!(rows[0], rows[rows.len() / 2]);
    }
}
