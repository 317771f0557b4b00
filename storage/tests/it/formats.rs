//! Formats as tables of text and rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMillisecondArray};
use parquet::arrow::ArrowWriter;

use crate::reading::Reading;

const JSON: &str = r#"{"type":"json"}"#;

fn check(format: &str, columns: &str, table: &[(&str, &[&str])]) {
    for (text, expected) in table {
        assert_eq!(Reading::inline(text, format, columns).rows(), *expected, "{text}");
    }
}

#[test]
fn json_is_read() {
    check(
        JSON,
        "s:string l:long d:double",
        &[
            ("", &[]),
            ("\n\n", &[]),
            (r#"{"s":"a","l":1,"d":1.5}"#, &["a|1|1.5"]),
            ("{\"d\":2,\"s\":\"b\"}\n{\"l\":3}\n", &["b|~|2.0", "~|3|~"]),
            ("{\"s\":\"a\"}\r\n{\"s\":\"b\"}\r\n", &["a|~|~", "b|~|~"]),
            ("{\"s\":null,\"l\":null}", &["~|~|~"]),
            (r#"{"s":"","other":{"x":[1]}}"#, &["|~|~"]),
            (
                r#"{"s":"ñ\u00e9\ud83d\ude42","l":-9223372036854775808}"#,
                &["ñé🙂|-9223372036854775808|~"],
            ),
            (r#"{"s":7,"l":"8","d":"9.5"}"#, &["7|8|9.5"]),
            (r#"{"l":"x","d":"y"}"#, &["~|~|~"]),
            (r#"{"s":true,"l":2.9}"#, &["true|2|~"]),
            (r#"{"s":1.0}"#, &["1.0|~|~"]),
            (r#"{"s":"a","s":"b"}"#, &["b|~|~"]),
            ("{\n\"l\":1\n}{\n\"l\":2\n}", &["~|1|~", "~|2|~"]),
            ("{\"l\":1} {\"l\":\n2}", &["~|1|~", "~|2|~"]),
            (
                "\n{\"s\":\"}\\\"\",\n\"l\":1}\n{\"l\":2} {\"l\":3}\n",
                &["}\"|1|~", "~|2|~", "~|3|~"],
            ),
        ],
    );
}

#[test]
fn csv_is_read() {
    let columns = "a:string b:long";
    check(
        r#"{"type":"csv","columns":["a","b"]}"#,
        columns,
        &[
            ("", &[]),
            ("x,1\ny,2\n", &["x|1", "y|2"]),
            ("x,1\r\ny,2", &["x|1", "y|2"]),
            ("\"x,\"\"1\"\"\",2\n", &["x,\"1\"|2"]),
            ("\"two\nlines\",3\n", &["two\nlines|3"]),
            ("x\n", &["x|~"]),
            ("x,1,more\n", &["x|1"]),
            ("ñ🙂,-5\n", &["ñ🙂|-5"]),
        ],
    );
    check(
        r#"{"type":"csv","findColumnsFromHeader":true}"#,
        columns,
        &[
            ("b,other,a\n1,z,x\n", &["x|1"]),
            ("\u{feff}a,b\nx,1\n", &["x|1"]),
            ("b\n1\n", &["~|1"]),
        ],
    );
    check(
        r#"{"type":"csv","findColumnsFromHeader":true}"#,
        "a:string column_1:long column_3:string",
        &[(",a,\"\"\n7,x,y\n", &["x|7|y"])],
    );
    check(
        r#"{"type":"csv","columns":["a","b"],"skipHeaderRows":2}"#,
        columns,
        &[("h\nh\nx,1\n", &["x|1"])],
    );
    check(
        r#"{"type":"tsv","columns":["a","b"]}"#,
        columns,
        &[("x y\t1\nz\t2\n", &["x y|1", "z|2"])],
    );
    check(
        r#"{"type":"tsv","delimiter":"|","columns":["a","b"]}"#,
        columns,
        &[("x|1\n", &["x|1"])],
    );
}

/// Nothing between delimiters is null; an empty text in quotes is one.
#[test]
fn empty_fields_in_quotes_are_texts() {
    check(
        r#"{"type":"csv","columns":["a","b","c"]}"#,
        "a:string b:string c:string",
        &[
            (",\"\",x\n\"\",,\"\"\n", &["~||x", "|~|"]),
            (
                "\"\"\"\",\"q\"\",\"\"\",\r\n\"\",\"\",\n",
                &["\"|q\",\"|~", "||~"],
            ),
            ("\"a\nb\",\"\",\n", &["a\nb||~"]),
            ("\"\"\n", &["|~|~"]),
        ],
    );
    check(
        r#"{"type":"csv","findColumnsFromHeader":true}"#,
        "a:string b:long",
        &[("a,b\r\n\"\",\"\"\r\n,1\r\n", &["|~", "~|1"])],
    );
}

#[test]
fn system_fields_say_where_rows_are_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.json");
    std::fs::write(&path, "{\"a\":1,\"__file_path\":\"own\"}\n{\"a\":2}\n").unwrap();
    let shown = path.display();
    let source = |fields: &str| format!(r#"{{"type":"local","files":["{shown}"],"systemFields":{fields}}}"#);
    let columns = "a:long __file_uri:string __file_path:string __file_bucket:string";
    assert_eq!(
        Reading::new(
            &source(r#"["__file_uri","__file_path","__file_bucket"]"#),
            JSON,
            columns
        )
        .rows(),
        [
            format!("1|file:{shown}|{shown}|~"),
            format!("2|file:{shown}|{shown}|~")
        ]
    );
    assert_eq!(
        Reading::new(&source("[]"), JSON, columns).rows(),
        ["1|~|own|~", "2|~|~|~"]
    );
}

#[test]
fn json_with_features_is_read() {
    check(
        r#"{"type":"json","featureSpec":{"ALLOW_SINGLE_QUOTES":true,"ALLOW_UNQUOTED_FIELD_NAMES":true,
            "ALLOW_COMMENTS":true,"ALLOW_NON_NUMERIC_NUMBERS":true,"ALLOW_TRAILING_COMMA":true}}"#,
        "s:string d:double t:array<long>",
        &[(
            "{s:'it',d:NaN,t:[1,2,],} // one\n// none\n{\"s\":\"x\",\"d\":-Infinity}\n",
            &["it|NaN|[1, 2]", "x|-inf|~"],
        )],
    );
    let plain = Reading::inline("{'s':1}\n", JSON, "s:string");
    assert!(plain.error().contains("(max = 1)"));
}

#[test]
fn delimited_files_have_lists_numbers_and_any_delimiter() {
    check(
        r#"{"type":"tsv","delimiter":"||","listDelimiter":";","columns":["a","l"]}"#,
        "a:string l:array<string>",
        &[("x||1;2\n\"q||z\n||;\n", &["x|[1, 2]", "\"q|[z]", "~|[, ]"])],
    );
    check(
        r#"{"type":"csv","columns":["n","l"],"listDelimiter":";","tryParseNumbers":true}"#,
        "n:string l:array<long>",
        &[("007,1;2.9\n1.50,3\n08,x\n", &["7|[1, 2]", "1.5|[3]", "08|[~]"])],
    );
}

#[test]
fn lines_and_regular_expressions() {
    check(
        r#"{"type":"lines"}"#,
        "line:string other:long",
        &[("a b\r\n\n,c", &["a b|~", "|~", ",c|~"])],
    );
    let regex = r#"{"type":"regex","pattern":"(\\d+) (\\w+)(?: (.*))?","columns":["n","w","l"]}"#;
    check(
        regex,
        "w:string n:long l:array<string>",
        &[("1 a\n22 b x\u{1}y\n", &["a|1|~", "b|22|[x, y]"])],
    );
    let unnamed = r#"{"type":"regex","pattern":"(.)(.)"}"#;
    check(unnamed, "column_2:string column_1:string", &[("ab\n", &["b|a"])]);
    let bad = Reading {
        max_parse_exceptions: 1,
        ..Reading::inline("1 a\nnone\n", regex, "n:long")
    };
    let read = bad.read().unwrap();
    assert_eq!(read.rows, ["1"]);
    let texts = read.parse_errors.texts();
    assert!(
        texts[0].starts_with("Unable to parse row [none] (Path: inline data, Record: 2, Line: 2)"),
        "{texts:?}"
    );
}

#[test]
fn json_is_flattened() {
    let format = r#"{"type":"json","flattenSpec":{"useFieldDiscovery":true,"fields":[
        "plain",
        {"type":"root","name":"renamed","expr":"was"},
        {"type":"path","name":"deep","expr":"$.a.b[1]"},
        {"type":"path","name":"all","expr":"$.list[*].n"},
        {"type":"tree","name":"t","nodes":["a","c"]}]}}"#;
    check(
        format,
        "plain:long renamed:string deep:double all:array<long> t:string own:string",
        &[(
            r#"{"plain":1,"was":"w","a":{"b":[1,2.5],"c":{"d":true}},"list":[{"n":1},{"m":0},{"n":3}],"own":"o"}
               {"was":null,"a":{"b":[1]}}"#,
            &[r#"1|w|2.5|[1, 3]|{"d":true}|o"#, "~|~|~|[]|~|~"],
        )],
    );
}

#[test]
fn nested_columns_of_parquet_are_json_or_flattened() {
    use arrow::array::{BinaryArray, Int64Builder, ListBuilder, StructArray};
    use arrow::datatypes::{DataType, Field};
    let mut list = ListBuilder::new(Int64Builder::new());
    list.append_value([Some(1), Some(2)]);
    list.append_value([None]);
    let list: ArrayRef = Arc::new(list.finish());
    let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let nested = StructArray::from(vec![
        (
            Arc::new(Field::new("l", list.data_type().clone(), true)),
            list.clone(),
        ),
        (Arc::new(Field::new("s", DataType::Utf8, true)), names),
    ]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("o", Arc::new(nested)),
        ("l", list),
        (
            "b",
            Arc::new(BinaryArray::from(vec![Some(b"hi".as_slice()), None])),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nested.parquet");
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let read = |format: &str, columns: &str| Reading::file(&path, format, columns).rows();
    assert_eq!(
        read(
            r#"{"type":"parquet"}"#,
            "o:complex<json> l:array<string> b:string"
        ),
        [
            r#"{"l":[1,2],"s":"a"}|[1, 2]|aGk="#,
            r#"{"l":[null],"s":null}|[~]|~"#
        ]
    );
    let flattened = r#"{"type":"parquet","binaryAsString":true,"flattenSpec":{"fields":[
        {"type":"path","name":"second","expr":"$.o.l[1]"},{"type":"path","name":"s","expr":"$.o.s"}]}}"#;
    assert_eq!(
        read(flattened, "second:long s:string b:string l:string"),
        ["2|a|hi|[1,2]", "~|~|~|[null]"]
    );
}

#[test]
fn parquet_is_read_by_name_and_converted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.parquet");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", Arc::new(Int32Array::from(vec![Some(1), None, Some(-3)]))),
        ("s", Arc::new(StringArray::from(vec![Some("a"), Some(""), None]))),
        (
            "x",
            Arc::new(Float64Array::from(vec![Some(0.5), None, Some(-1.0)])),
        ),
        (
            "t",
            Arc::new(TimestampMillisecondArray::from(vec![Some(1_000), None, Some(-1)])),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let parquet = r#"{"type":"parquet"}"#;
    let read = |columns: &str| Reading::file(&path, parquet, columns).rows();
    assert_eq!(read("x:double i:long s:string"), ["0.5|1|a", "~|~|", "-1.0|-3|~"]);
    assert_eq!(read("absent:string t:long"), ["~|1000", "~|~", "~|-1"]);
    assert_eq!(read("i:string"), ["1", "~", "-3"]);
    std::fs::write(&path, "no parquet").unwrap();
    assert!(
        Reading::file(&path, parquet, "i:long")
            .error()
            .contains("f.parquet")
    );
}

/// However a file is split, each row is read once.
#[test]
fn splits_meet_at_line_borders() {
    let folder = tempfile::tempdir().unwrap();
    let row = |number: usize| format!("{}{number}", "x".repeat(number * 7 % 40));
    let json: String = (0..300)
        .map(|number| format!("{{\"s\":\"{}\"}}\n", row(number)))
        .collect();
    let csv: String = std::iter::once("s\n".to_owned())
        .chain((0..300).map(|number| row(number) + "\r\n"))
        .collect();
    let expected: Vec<String> = (0..300).map(row).collect();
    for (name, text, format) in [
        ("f.json", &json, JSON),
        ("unended.json", &json.trim_end().to_owned(), JSON),
        ("f.csv", &csv, r#"{"type":"csv","findColumnsFromHeader":true}"#),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        for split_bytes in [1, 7, 64, 1_000, 1_000_000] {
            let reading = Reading {
                split_bytes,
                ..Reading::file(&path, format, "s:string")
            };
            let read = reading.read().unwrap();
            assert_eq!(read.rows, expected, "{name} by {split_bytes} bytes");
            assert_eq!(
                (read.counters.rows(), read.counters.files()),
                (300, 1),
                "{name} by {split_bytes} bytes"
            );
        }
    }
}

/// A file whose first object is not on one line is read in one piece, and each of its lines once.
#[test]
fn objects_over_lines_are_not_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.json");
    let text: String = (0..300)
        .map(|number| format!("{{\n  \"s\":\n\"{number}\"}}\n"))
        .collect();
    std::fs::write(&path, format!("\n{text}")).unwrap();
    let expected: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    for split_bytes in [7, 64, 1_000, 1_000_000] {
        let reading = Reading {
            split_bytes,
            ..Reading::file(&path, JSON, "s:string")
        };
        let read = reading.read().unwrap();
        assert_eq!(read.rows, expected, "by {split_bytes} bytes");
        assert_eq!((read.counters.rows(), read.counters.files()), (300, 1));
    }
}

#[test]
fn an_object_over_many_lines_is_parsed_once_and_only_so_large() {
    let reading = |text: &str| Reading {
        max_parse_exceptions: -1,
        ..Reading::inline(text, JSON, "l:long")
    };
    let lines =
        |count: usize, line: &str| format!("{{\"x\":[\n{}1],\n\"l\":7}}\n{{\"l\":\n8}}", line.repeat(count));
    let started = std::time::Instant::now();
    assert_eq!(reading(&lines(200_000, "1,\n")).rows(), ["7", "8"]);
    let took = started.elapsed();
    assert!(took < std::time::Duration::from_secs(20), "{took:?}");
    let read = reading(&lines(17_000, &format!("1,{}\n", " ".repeat(1_000))))
        .read()
        .unwrap();
    assert!(read.parse_errors.count() > 0);
    assert_eq!(read.rows.last().map(String::as_str), Some("8"));
    // What can be told to be wrong does not wait for an end.
    let read = reading("{\n\"l\":[1}\n{\n\"l\":2}\n").read().unwrap();
    assert_eq!((read.rows, read.parse_errors.count()), (vec!["2".to_owned()], 1));
    let read = reading("{\"l\":1\n{\"l\":2}\n{\"l\":3}\n").read().unwrap();
    assert_eq!((read.rows, read.parse_errors.count()), (vec!["3".to_owned()], 1));
}

#[test]
fn batches_are_no_longer_than_asked_for() {
    let text: String = (0..25).map(|number| format!("{{\"l\":{number}}}\n")).collect();
    for batch_rows in [1, 10, 25, 26] {
        let reading = Reading {
            batch_rows,
            ..Reading::inline(&text, JSON, "l:long")
        };
        assert_eq!(reading.rows().len(), 25);
    }
}

#[test]
fn rows_that_do_not_parse_are_named_and_counted() {
    let text = "{\"l\":1}\n{\"l\":\nnope\n{\"l\":4}\n[5]\n";
    let read = |max| Reading {
        max_parse_exceptions: max,
        ..Reading::inline(text, JSON, "l:long")
    };
    assert!(read(0).error().contains("(max = 1)"));
    assert!(read(1).error().contains("(max = 1)"));
    for max in [2, -1] {
        let read = read(max).read().unwrap();
        // An array is a row without fields.
        assert_eq!(read.rows, ["1", "4", "~"]);
        assert_eq!(read.parse_errors.count(), 2);
        let texts = read.parse_errors.texts();
        assert!(
            texts[0].starts_with("Unable to parse row [{\"l\":] (Path: inline data, Record: 2, Line: 2)"),
            "{texts:?}"
        );
        assert!(
            texts[1].starts_with("Unable to parse row [nope] (Path: inline data, Record: 2, Line: 3)"),
            "{texts:?}"
        );
    }
}
