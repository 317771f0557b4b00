//! Signatures from samples.

use std::path::Path;
use std::sync::Arc;

use sarsen_storage::StorageError;
use sarsen_storage::infer::infer;
use sarsen_storage::source::SourceContext;

fn inferred(source: &serde_json::Value, format: &str) -> Result<String, StorageError> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let context = Arc::new(SourceContext::new(&["/".to_owned()])?);
    let signature = runtime.block_on(infer(&source.to_string().parse()?, &format.parse()?, &context))?;
    let columns = signature
        .0
        .iter()
        .map(|(name, of_type)| format!("{name} {}", of_type.name()));
    Ok(columns.collect::<Vec<_>>().join(", "))
}

fn inline(text: &str, format: &str) -> String {
    let source = serde_json::json!({ "type": "inline", "data": text });
    inferred(&source, format).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn text_formats() {
    let json = "{\"a\":1,\"t\":[\"x\"]}\n{\"b\":2.5,\"a\":null,\"o\":{\"x\":1}}\nnope\n";
    assert_eq!(
        inline(json, r#"{"type":"json"}"#),
        "a LONG, t ARRAY<STRING>, b DOUBLE, o COMPLEX<json>"
    );
    let flattened = r#"{"type":"json","flattenSpec":{"useFieldDiscovery":false,"fields":[
        {"type":"path","name":"x","expr":"$.o.x"},"a"]}}"#;
    assert_eq!(inline(json, flattened), "x LONG, a LONG");
    let csv = "z,n,when,none,l\n007,1,2015-09-12,,a\u{1}b\n12,2.5,x,,c\n";
    assert_eq!(
        inline(csv, r#"{"type":"csv","findColumnsFromHeader":true}"#),
        "z STRING, n DOUBLE, when STRING, none STRING, l ARRAY<STRING>"
    );
    assert_eq!(
        inline(
            "1;x\n2;y\n",
            r#"{"type":"tsv","delimiter":";","columns":["n","s"]}"#
        ),
        "n LONG, s STRING"
    );
    assert_eq!(
        inline("1 x\n", r#"{"type":"regex","pattern":"(\\d+) (.*)"}"#),
        "column_1 LONG, column_2 STRING"
    );
    assert_eq!(inline("x\n", r#"{"type":"lines"}"#), "line STRING");
}

#[test]
fn typed_formats() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let source = |file: &str| serde_json::json!({ "type": "local", "files": [data.join(file)] });
    let orc = inferred(&source("types.orc"), r#"{"type":"orc"}"#).unwrap();
    for column in [
        "b LONG",
        "d DOUBLE",
        "str STRING",
        "ts LONG",
        "dec DOUBLE",
        "ints ARRAY<LONG>",
        "o COMPLEX<json>",
    ] {
        assert!(orc.split(", ").any(|found| found == column), "{column} in {orc}");
    }
    let avro = inferred(&source("null.avro"), r#"{"type":"avro_ocf"}"#).unwrap();
    for column in [
        "i LONG",
        "f DOUBLE",
        "e STRING",
        "list ARRAY<LONG>",
        "m COMPLEX<json>",
        "u COMPLEX<json>",
    ] {
        assert!(
            avro.split(", ").any(|found| found == column),
            "{column} in {avro}"
        );
    }
}

#[test]
fn all_over_many_files_and_out_of_archives() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..30 {
        let text = match number {
            15 => "{\"a\":\"text\",\"late\":1}".to_owned(),
            number => format!("{{\"a\":{number}}}"),
        };
        std::fs::write(folder.path().join(format!("{number:02}.json")), text).unwrap();
    }
    let source = serde_json::json!({ "type": "local", "baseDir": folder.path(), "filter": "*.json" });
    assert_eq!(
        inferred(&source, r#"{"type":"json"}"#).unwrap(),
        "a STRING, late LONG"
    );
    let none = serde_json::json!({ "type": "local", "baseDir": folder.path(), "filter": "*.none" });
    let error = inferred(&none, r#"{"type":"json"}"#).unwrap_err().to_string();
    assert!(error.contains("cannot be inferred: it has no files"), "{error}");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(folder.path().join("f.zip")).unwrap());
    for (name, text) in [("a.csv", "n\n1\n"), ("b.csv", "n,s\n1.5,x\n")] {
        zip.start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        std::io::Write::write_all(&mut zip, text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    let source = serde_json::json!({ "type": "local", "files": [folder.path().join("f.zip")] });
    assert_eq!(
        inferred(&source, r#"{"type":"csv","findColumnsFromHeader":true}"#).unwrap(),
        "n DOUBLE, s STRING"
    );
}

/// What is read for a sample has an end, whatever a file holds.
#[test]
fn large_files_are_not_read_whole() {
    let json = r#"{"type":"json"}"#;
    let bad = format!("{{\"a\":1}}\n{}{{\"late\":1}}\n", "nope\n".repeat(1_001));
    let error = inferred(&serde_json::json!({ "type": "inline", "data": bad }), json).unwrap_err();
    assert!(error.to_string().contains("no row was found"), "{error}");
    let good = format!("{}{bad}", "{\"a\":1}\n".repeat(150));
    assert_eq!(inline(&good, json), "a LONG");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.json");
    let blank = format!("{}\n", " ".repeat(1_023)).repeat(17 << 10);
    std::fs::write(&path, format!("{{\"a\":1}}\n{blank}{{\"late\":1}}\n")).unwrap();
    let source = serde_json::json!({ "type": "local", "files": [path] });
    assert_eq!(inferred(&source, json).unwrap(), "a LONG");
    let many: Vec<String> = (0..10_001).map(|number| format!("c{number}")).collect();
    let header = format!("{}\n", many.join(","));
    let csv = r#"{"type":"csv","findColumnsFromHeader":true}"#;
    let error = inferred(&serde_json::json!({ "type": "inline", "data": header }), csv).unwrap_err();
    assert!(error.to_string().contains("more than 10000"), "{error}");
}
