//! Compressed files, known by name or by content, whole and cut off.

use std::io::Write;

use crate::reading::Reading;

const JSON: &str = r#"{"type":"json"}"#;

fn text() -> String {
    (0..500).map(|number| format!("{{\"l\":{number}}}\n")).collect()
}

/// Name ending and bytes of each compression.
fn compressed(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = text.as_bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(bytes).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    bzip2.write_all(bytes).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
    xz.write_all(bytes).unwrap();
    let mut snappy = snap::write::FrameEncoder::new(Vec::new());
    snappy.write_all(bytes).unwrap();
    vec![
        ("gz", gzip.finish().unwrap()),
        ("bz2", bzip2.finish().unwrap()),
        ("xz", xz.finish().unwrap()),
        ("zst", zstd::encode_all(bytes, 3).unwrap()),
        ("sz", snappy.into_inner().unwrap()),
    ]
}

#[test]
fn every_compression_is_read_by_name_and_by_content() {
    let folder = tempfile::tempdir().unwrap();
    let expected: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    for (ending, bytes) in compressed(&text()) {
        for name in [format!("f.json.{ending}"), format!("{ending}-unnamed.json")] {
            let path = folder.path().join(&name);
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(Reading::file(&path, JSON, "l:long").rows(), expected, "{name}");
        }
    }
}

#[test]
fn gzip_members_follow_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.json.gz");
    let (_, gzip) = compressed(&text()).remove(0);
    std::fs::write(&path, [gzip.clone(), gzip].concat()).unwrap();
    assert_eq!(Reading::file(&path, JSON, "l:long").rows().len(), 1_000);
}

/// Whatever is missing, the file is named and not taken for complete.
#[test]
fn a_file_that_is_cut_off_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for (ending, bytes) in compressed(&text()) {
        let path = folder.path().join(format!("cut.json.{ending}"));
        for missing in [1, bytes.len() / 2] {
            std::fs::write(&path, &bytes[..bytes.len() - missing]).unwrap();
            let error = Reading::file(&path, JSON, "l:long").error();
            assert!(error.contains(&format!("cut.json.{ending}")), "{error}");
        }
    }
}

/// A large file is split only where that helps: not when its name hides that it is compressed.
#[test]
fn a_compressed_file_without_the_name_is_not_torn() {
    let folder = tempfile::tempdir().unwrap();
    for (ending, bytes) in compressed(&text()) {
        let path = folder.path().join(format!("{ending}.json"));
        std::fs::write(&path, &bytes).unwrap();
        let reading = Reading {
            split_bytes: 100,
            ..Reading::file(&path, JSON, "l:long")
        };
        assert_eq!(reading.rows().len(), 500, "{ending}");
    }
}
