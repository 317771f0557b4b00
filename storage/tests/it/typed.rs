//! Formats with typed columns: ORC and Avro files of other writers (`data/make.py`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use crate::reading::Reading;

const ORC: &str = r#"{"type":"orc"}"#;
const AVRO: &str = r#"{"type":"avro_ocf"}"#;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// What a column of each type reads.
fn check(file: &str, format: &str, table: &[(&str, &[&str])]) {
    for (column, expected) in table {
        let rows = Reading::file(&data(file), format, column).rows();
        assert_eq!(rows, *expected, "{column} of {file} as {format}");
    }
}

#[test]
fn orc_has_druids_types() {
    let table: &[(&str, &[&str])] = &[
        ("b:string", &["true", "false", "~"]),
        ("b:long", &["1", "0", "~"]),
        ("t:long", &["1", "-128", "~"]),
        ("s:long", &["-2", "32767", "~"]),
        ("i:double", &["3.0", "-2147483648.0", "~"]),
        ("l:long", &["4611686018427387904", "-9223372036854775808", "~"]),
        ("f:float", &["0.5", "-0.0", "~"]),
        ("d:double", &["-1.25", "1e20", "~"]),
        ("d:string", &["-1.25", "1.0E20", "~"]),
        ("str:string", &["text", "", "~"]),
        ("v:string", &["vc", "ñ🙂", "~"]),
        ("bin:string", &["aGk=", "", "~"]),
        ("day:long", &["1451606400000", "-86400000", "~"]),
        (
            "day:string",
            &["2016-01-01T00:00:00.000Z", "1969-12-31T00:00:00.000Z", "~"],
        ),
        ("ts:long", &["1442018818771", "-2000", "~"]),
        ("tsi:long", &["1442018818771", "32472144000000", "~"]),
        ("ts:string", &["1442018818771", "-2000", "~"]),
        ("dec:double", &["12.5", "0.0", "~"]),
        ("dec:string", &["12.5", "0.0", "~"]),
        ("big:string", &["-1.2345678901234567E19", "1.0", "~"]),
        ("ints:array<long>", &["[1, ~, 3]", "[]", "~"]),
        ("strs:array<string>", &["[a, b]", "[~]", "~"]),
        ("strs:string", &[r#"["a","b"]"#, "[null]", "~"]),
        ("m:complex<json>", &[r#"{"one":1}"#, "{}", "~"]),
        (
            "o:complex<json>",
            &[
                r#"{"x":7,"y":{"z":"deep","when":1442018818771}}"#,
                r#"{"x":null,"y":null}"#,
                "~",
            ],
        ),
        ("u:string", &["5", "of text", "~"]),
        ("u:long", &["5", "~", "~"]),
        (
            "objs:array<complex<json>>",
            &[r#"[{"k":"k1","v":1}, {"k":"k2","v":null}]"#, "[]", "~"],
        ),
        ("absent:string", &["~", "~", "~"]),
    ];
    check("types.orc", ORC, table);
    check("snappy.orc", ORC, table);
    let flattened = r#"{"type":"orc","binaryAsString":true,"flattenSpec":{"fields":[
        {"type":"path","name":"z","expr":"$.o.y.z"},{"type":"path","name":"when","expr":"$.o.y.when"},
        {"type":"path","name":"ks","expr":"$.objs[*].k"},{"type":"path","name":"day1","expr":"$.day"},
        {"type":"root","name":"renamed","expr":"i"}]}}"#;
    check(
        "types.orc",
        flattened,
        &[
            ("z:string", &["deep", "~", "~"]),
            ("when:long", &["1442018818771", "~", "~"]),
            ("ks:array<string>", &["[k1, k2]", "[]", "[]"]),
            (
                "day1:string",
                &["2016-01-01T00:00:00.000Z", "1969-12-31T00:00:00.000Z", "~"],
            ),
            ("renamed:long", &["3", "-2147483648", "~"]),
            ("bin:string", &["hi", "", "~"]),
        ],
    );
}

#[test]
fn avro_has_druids_types_of_every_codec() {
    let same = |value: &'static str| [value; 5];
    let table: &[(&str, &[&str])] = &[
        ("b:string", &same("true")),
        ("b:long", &same("1")),
        ("i:long", &same("3")),
        (
            "l:long",
            &[
                "4611686018427387904",
                "~",
                "4611686018427387904",
                "4611686018427387904",
                "4611686018427387904",
            ],
        ),
        ("f:float", &same("0.1")),
        ("d:double", &same("-1.25")),
        ("s:string", &same("ñ🙂")),
        ("bytes:string", &same("aGk=")),
        ("fixed:string", &same("YWJjZA==")),
        ("e:string", &same("RED")),
        // Logical types are what lies below them.
        ("day:long", &same("16801")),
        ("ms:long", &same("1442016000000")),
        ("us:long", &same("1442016000000000")),
        ("dec:string", &same("BNI=")),
        (
            "list:array<long>",
            &["[1, ~, 3]", "[]", "[1, ~, 3]", "[1, ~, 3]", "[1, ~, 3]"],
        ),
        (
            "texts:array<string>",
            &["[a, b]", "~", "[a, b]", "[a, b]", "[a, b]"],
        ),
        (
            "m:complex<json>",
            &[
                r#"{"one":1}"#,
                "{}",
                r#"{"one":1}"#,
                r#"{"one":1}"#,
                r#"{"one":1}"#,
            ],
        ),
        (
            "u:string",
            &["5", "text", r#"{"x":1,"u":"inside","e":"GREEN"}"#, "[1,2]", "~"],
        ),
        ("u:long", &["5", "~", "~", "~", "~"]),
        ("late:string", &["x", "~", "x", "x", "x"]),
        ("absent:string", &same("~")),
    ];
    for codec in ["null", "deflate", "snappy", "zstandard", "bzip2", "xz"] {
        check(&format!("{codec}.avro"), AVRO, table);
    }
}

#[test]
fn avro_is_flattened_and_its_unions_taken_apart() {
    let fields = r#""binaryAsString":true,"flattenSpec":{"fields":[
        {"type":"path","name":"x","expr":"$.o.x"},{"type":"path","name":"one","expr":"$.m.one"},
        {"type":"path","name":"inner","expr":"$.o.u"},{"type":"path","name":"union","expr":"$.u"},
        {"type":"path","name":"text","expr":"$.u.string"},{"type":"path","name":"number","expr":"$.u.long"},
        {"type":"path","name":"record","expr":"$.u.Inner.x"},{"type":"path","name":"array","expr":"$.u.array"}]}"#;
    let plain = format!(r#"{{"type":"avro_ocf",{fields}}}"#);
    check(
        "null.avro",
        &plain,
        &[
            ("x:long", &["1"; 5]),
            ("one:long", &["1", "~", "1", "1", "1"]),
            ("inner:string", &["inside", "~", "inside", "inside", "inside"]),
            ("bytes:string", &["hi"; 5]),
            ("fixed:string", &["abcd"; 5]),
        ],
    );
    let by_type = format!(r#"{{"type":"avro_ocf","extractUnionsByType":true,{fields}}}"#);
    check(
        "null.avro",
        &by_type,
        &[
            ("text:string", &["~", "text", "~", "~", "~"]),
            ("number:long", &["5", "~", "~", "~", "~"]),
            ("record:long", &["~", "~", "1", "~", "~"]),
            ("array:array<long>", &["~", "~", "~", "[1, 2]", "~"]),
            (
                "inner:string",
                &[
                    r#"{"string":"inside"}"#,
                    "~",
                    r#"{"string":"inside"}"#,
                    r#"{"string":"inside"}"#,
                    r#"{"string":"inside"}"#,
                ],
            ),
            // A column of the row itself is the value.
            (
                "u:string",
                &["5", "text", r#"{"x":1,"u":"inside","e":"GREEN"}"#, "[1,2]", "~"],
            ),
        ],
    );
}

#[test]
fn a_readers_schema_widens_renames_and_fills_in() {
    let format = r#"{"type":"avro_ocf","schema":{"type":"record","name":"Row","namespace":"org.example","fields":[
        {"name":"i","type":"double"},{"name":"new","type":"string","default":"none"},
        {"name":"text","aliases":["s"],"type":"string"}]}}"#;
    check(
        "null.avro",
        format,
        &[
            ("i:double", &["3.0"; 5]),
            ("new:string", &["none"; 5]),
            ("text:string", &["ñ🙂"; 5]),
            ("b:string", &["~"; 5]),
        ],
    );
    let unlike = r#"{"type":"avro_ocf","schema":{"type":"record","name":"Row","namespace":"org.example","fields":[
        {"name":"s","type":"int"}]}}"#;
    let error = Reading::file(&data("null.avro"), unlike, "s:long").error();
    assert!(error.contains("null.avro"), "{error}");
}

fn numbers(rows: i64) -> RecordBatch {
    let texts = (0..rows).map(|row| "x".repeat(usize::try_from(row % 50).unwrap()));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("n", Arc::new(Int64Array::from_iter_values(0..rows))),
        ("s", Arc::new(StringArray::from_iter_values(texts))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn avro_bytes() -> Vec<u8> {
    let batch = numbers(1_000);
    let mut writer =
        arrow_avro::writer::AvroWriter::new(Vec::new(), batch.schema().as_ref().clone()).unwrap();
    for start in (0..1_000).step_by(10) {
        writer.write(&batch.slice(start, 10)).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner()
}

fn orc_bytes() -> Vec<u8> {
    let batch = numbers(1_000);
    let mut bytes = Vec::new();
    let mut writer = orc_rust::ArrowWriterBuilder::new(&mut bytes, batch.schema())
        .with_batch_size(100)
        .with_stripe_byte_size(1_000)
        .try_build()
        .unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn every_row_of_a_split_file_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let expected: Vec<String> = (0..1_000).map(|row| row.to_string()).collect();
    for (name, bytes, format) in [("f.avro", avro_bytes(), AVRO), ("f.orc", orc_bytes(), ORC)] {
        let path = folder.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        for split_bytes in [100, 777, 5_000, 1_000_000] {
            let reading = Reading {
                split_bytes,
                ..Reading::file(&path, format, "n:long")
            };
            let read = reading.read().unwrap();
            assert_eq!(read.rows, expected, "{name} by {split_bytes} bytes");
            assert_eq!(read.counters.files(), 1);
        }
    }
}

/// Whatever is missing or overwritten, the file is named and not taken for complete.
#[test]
fn damaged_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, format) in [("f.avro", avro_bytes(), AVRO), ("f.orc", orc_bytes(), ORC)] {
        let path = folder.path().join(name);
        let check = |bytes: &[u8], what: &str| {
            std::fs::write(&path, bytes).unwrap();
            let error = Reading::file(&path, format, "n:long s:string").error();
            assert!(error.contains(name), "{what}: {error}");
        };
        for cut in [3, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
            check(&bytes[..cut], &format!("cut at {cut}"));
        }
        check(b"no such file", "text");
    }
    let mut bytes = avro_bytes();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 600].fill(0xff);
    std::fs::write(folder.path().join("f.avro"), bytes).unwrap();
    let error = Reading::file(&folder.path().join("f.avro"), AVRO, "n:long s:string").error();
    assert!(error.contains("f.avro] cannot be read"), "{error}");
}

/// A block is room that is taken before it is read.
#[test]
fn an_orc_file_of_huge_blocks_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.orc");
    let bytes = orc_bytes();
    let (length, rest) = bytes.split_last().unwrap();
    let (file, postscript) = rest.split_at(rest.len() - usize::from(*length));
    // The last value of a field counts: 2^60.
    let huge = [&[0x18][..], &[0x80; 8], &[0x10]].concat();
    let length = length + u8::try_from(huge.len()).unwrap();
    std::fs::write(&path, [file, postscript, &huge, &[length]].concat()).unwrap();
    let error = Reading::file(&path, ORC, "n:long s:string").error();
    assert!(
        error.contains("compressed blocks have 1152921504606846976 bytes"),
        "{error}"
    );
}

#[test]
fn compressed_as_a_whole_they_are_read_too() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, format) in [("f.avro.gz", avro_bytes(), AVRO), ("f.orc.gz", orc_bytes(), ORC)] {
        let path = folder.path().join(name);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&bytes).unwrap();
        std::fs::write(&path, gzip.finish().unwrap()).unwrap();
        assert_eq!(
            Reading::file(&path, format, "n:long").rows().len(),
            1_000,
            "{name}"
        );
    }
}
