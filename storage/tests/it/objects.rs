//! One suite for deep storage, EXTERN and exports, over a local folder and over a real S3 server that fails one request
//! in ten.

use std::collections::HashSet;
use std::io::Read;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use sarsen_kernel::query::{ExportCompression, ExportFormat, ExportTarget};
use sarsen_object::{ObjectSettings, Stores};
use sarsen_storage::StorageError;
use sarsen_storage::export::{Exports, StagedFile, Writing, file_name};
use sarsen_storage::reader::{ParseErrors, ReadRequest, read_split};
use sarsen_storage::segment::{DeepStorage, Interval, SegmentLocation, SegmentWriter};
use sarsen_storage::source::{InputFile, InputSource, SourceContext, split_files};

use crate::s3::{FaultyProxy, S3Server};

/// A store under test.
struct Place {
    /// Of everything in it: a folder, or `s3://bucket`.
    url: String,
    stores: Stores,
    s3: Option<S3Server>,
    _proxy: Option<FaultyProxy>,
    _folder: tempfile::TempDir,
}

const BUCKET: &str = "bucket";

impl Place {
    fn local() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = folder
            .path()
            .canonicalize()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        Place {
            url,
            stores: Stores::new(ObjectSettings::default()),
            s3: None,
            _proxy: None,
            _folder: folder,
        }
    }

    fn faulty_s3(seed: u64) -> Self {
        let server = S3Server::start();
        server.create_bucket(BUCKET);
        let proxy = FaultyProxy::start(server.address(), seed, 10);
        Place {
            url: format!("s3://{BUCKET}"),
            stores: Stores::new(settings(&proxy.url())),
            s3: Some(server),
            _proxy: Some(proxy),
            _folder: tempfile::tempdir().unwrap(),
        }
    }

    fn all() -> Vec<Place> {
        keys_in_environment();
        vec![Place::local(), Place::faulty_s3(1)]
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }

    fn assert_no_uploads(&self) {
        if let Some(s3) = &self.s3 {
            assert!(s3.uploads(BUCKET).is_empty(), "{:?}", s3.uploads(BUCKET));
        }
    }
}

fn settings(endpoint: &str) -> ObjectSettings {
    ObjectSettings {
        s3_endpoint: Some(endpoint.to_owned()),
        ..ObjectSettings::default()
    }
}

/// Credentials as users give them. No test needs them to be others.
#[allow(unsafe_code)]
fn keys_in_environment() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    // SAFETY: no other thread of these tests reads or writes the environment at this time.
    ONCE.call_once(|| unsafe {
        std::env::set_var("AWS_ACCESS_KEY_ID", "test");
        std::env::set_var("AWS_SECRET_ACCESS_KEY", "test");
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
        .unwrap()
}

fn batch(rows: i64) -> RecordBatch {
    batch_from(0, rows)
}

/// Rows whose texts hardly compress.
fn batch_from(from: i64, to: i64) -> RecordBatch {
    let text: StringArray = (from..to)
        .map(|row| {
            Some(format!(
                "{:032x}",
                u128::from(row.unsigned_abs()).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
            ))
        })
        .collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("l", Arc::new(Int64Array::from_iter(from..to))),
        ("s", Arc::new(text)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn avro(rows: &RecordBatch) -> Vec<u8> {
    let mut writer = arrow_avro::writer::AvroWriter::new(Vec::new(), rows.schema().as_ref().clone()).unwrap();
    for start in (0..rows.num_rows()).step_by(1_000) {
        writer.write(&rows.slice(start, 1_000)).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner()
}

fn orc(rows: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = orc_rust::ArrowWriterBuilder::new(&mut bytes, rows.schema())
        .with_batch_size(1_000)
        .with_stripe_byte_size(200_000)
        .try_build()
        .unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    bytes
}

fn zipped(bytes: Vec<u8>) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("in/a.json", zip::write::SimpleFileOptions::default())
        .unwrap();
    std::io::Write::write_all(&mut zip, &bytes).unwrap();
    zip.finish().unwrap().into_inner()
}

fn on_all(test: impl AsyncFn(&Place)) {
    let runtime = runtime();
    let _inside = runtime.enter();
    for place in Place::all() {
        runtime.block_on(test(&place));
        place.assert_no_uploads();
    }
}

#[test]
fn deep_storage_keeps_and_sweeps() {
    on_all(async |place| {
        let storage = DeepStorage::open(&place.at("deep/cluster"), &place.stores).unwrap();
        let paths: Vec<String> = (0..30)
            .map(|number| format!("t/i/v/{number}/q-{number}-0/data.parquet"))
            .collect();
        for path in &paths {
            storage.put(path, path.clone().into_bytes()).await.unwrap();
        }
        storage
            .put("t/i/v/0/other-0-0/data.parquet", b"x".to_vec())
            .await
            .unwrap();
        assert_eq!(
            storage.get(&paths[7]).await.unwrap().unwrap(),
            paths[7].as_bytes()
        );
        assert!(storage.get("t/nothing").await.unwrap().is_none());
        storage.delete(&paths[7]).await.unwrap();
        storage.delete(&paths[7]).await.unwrap();
        let published: HashSet<String> = paths[..3].iter().cloned().collect();
        storage.delete_unpublished("t", "q", &published).await.unwrap();
        for (number, path) in paths.iter().enumerate() {
            assert_eq!(storage.get(path).await.unwrap().is_some(), number < 3, "{path}");
        }
        assert!(
            storage
                .get("t/i/v/0/other-0-0/data.parquet")
                .await
                .unwrap()
                .is_some()
        );
        assert_eq!(storage.names("t/i/v/0").await.unwrap().len(), 2);
        storage.delete_folder("t").await.unwrap();
        assert!(storage.get(&paths[0]).await.unwrap().is_none());
        assert!(storage.names("t").await.unwrap().is_empty());
    });
}

#[test]
fn large_segments_are_written_in_parts_and_read_back() {
    on_all(async |place| {
        let storage = DeepStorage::open(&place.at("deep"), &place.stores).unwrap();
        let location = SegmentLocation {
            datasource: "t".to_owned(),
            interval: Interval::ETERNITY,
            version: "v".to_owned(),
            partition: 0,
            unique: "q-0-0".to_owned(),
        };
        let rows = |number: i64| batch_from(number * 20_000, (number + 1) * 20_000);
        let schema = rows(0).schema();
        let mut writer = SegmentWriter::create(&storage, &location, Arc::clone(&schema))
            .await
            .unwrap();
        for number in 0..40 {
            writer.write(&rows(number)).await.unwrap();
        }
        let written = writer.finish().await.unwrap();
        assert!(written.bytes > 9 << 20, "{} bytes are one part", written.bytes);
        let bytes = storage.get(&written.path).await.unwrap().unwrap();
        assert_eq!(bytes.len() as u64, written.bytes);
        // One that is given up leaves nothing.
        let given_up = SegmentLocation {
            unique: "q-1-0".to_owned(),
            ..location
        };
        let mut writer = SegmentWriter::create(&storage, &given_up, schema).await.unwrap();
        for number in 0..40 {
            writer.write(&rows(number)).await.unwrap();
        }
        drop(writer);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let begun = |key: &String| key.ends_with("q-1-0/data.parquet");
        while place
            .s3
            .as_ref()
            .is_some_and(|s3| s3.uploads(BUCKET).iter().any(begun))
        {
            assert!(std::time::Instant::now() < deadline, "an upload stays behind");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            // The answer to its begin may have been lost; then only a listing knows of it.
            storage.abort_begun("t", "q").await.unwrap();
        }
        assert!(storage.get(given_up.path().as_ref()).await.unwrap().is_none());
    });
}

#[test]
fn uploads_of_killed_writers_are_swept() {
    let runtime = runtime();
    let _inside = runtime.enter();
    keys_in_environment();
    let place = Place::faulty_s3(5);
    let s3 = place.s3.as_ref().unwrap();
    runtime.block_on(async {
        let storage = DeepStorage::open(&place.at("deep"), &place.stores).unwrap();
        let store = storage.object_store();
        for name in ["t/i/v/0/q-0-0/data.parquet", "t/i/v/0/other-0-0/data.parquet"] {
            // Nobody ends it: as if its process had been killed.
            std::mem::forget(store.put_multipart(&name.into()).await.unwrap());
        }
        assert!(s3.uploads(BUCKET).len() >= 2);
        storage
            .delete_unpublished("t", "q", &HashSet::new())
            .await
            .unwrap();
        let left = s3.uploads(BUCKET);
        assert!(
            !left.is_empty() && left.iter().all(|key| key.contains("/other-0-0/")),
            "{left:?}"
        );
    });
}

struct Source {
    json: String,
    format: &'static str,
}

impl Source {
    fn prefix(place: &Place, name: &str, format: &'static str) -> Self {
        let json = match &place.s3 {
            Some(_) => format!(r#"{{"type":"s3","prefixes":["{}"]}}"#, place.at(name)),
            None => format!(
                r#"{{"type":"local","baseDir":"{}","filter":"*"}}"#,
                place.at(name)
            ),
        };
        Source { json, format }
    }

    async fn list(&self, place: &Place) -> Result<Vec<InputFile>, StorageError> {
        let source: InputSource = self.json.parse()?;
        source.list(&context(place)).try_collect().await
    }

    /// The sum of column `l` and the number of rows, read in splits of `split_bytes`.
    async fn sum(&self, place: &Place, split_bytes: u64) -> Result<(i64, usize), StorageError> {
        let source: InputSource = self.json.parse()?;
        let context = Arc::new(context(place));
        let files = self.list(place).await?;
        let (mut sum, mut rows) = (0, 0);
        for split in split_files(files, &self.format.parse()?, split_bytes) {
            let request = ReadRequest {
                split,
                source: source.clone(),
                format: self.format.parse()?,
                signature: r#"[{"name":"l","type":"long"}]"#.parse()?,
                projection: None,
                batch_rows: 1000,
                context: Arc::clone(&context),
                counters: Arc::default(),
                parse_errors: Arc::new(ParseErrors::new(0)),
                max_bytes: None,
                entry: None,
            };
            let mut batches = read_split(request);
            while let Some(batch) = batches.next().await {
                let batch = batch?;
                let column = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
                sum += column.iter().flatten().sum::<i64>();
                rows += batch.num_rows();
            }
        }
        Ok((sum, rows))
    }
}

fn context(place: &Place) -> SourceContext {
    SourceContext::new(std::slice::from_ref(&place.url))
        .unwrap()
        .with_stores(place.stores.clone())
}

async fn put(place: &Place, name: &str, bytes: Vec<u8>) {
    let storage = DeepStorage::open(&place.url, &place.stores).unwrap();
    storage.put(name, bytes).await.unwrap();
}

#[test]
fn files_of_all_formats_are_listed_and_read_in_splits() {
    on_all(async |place| {
        let lines = |from: i64, to: i64| {
            let lines = (from..to).map(|row| format!("{{\"l\":{row},\"s\":\"{row:0>100}\"}}\n"));
            lines.collect::<String>().into_bytes()
        };
        put(place, "in/json/a.json", lines(0, 50_000)).await;
        put(place, "in/json/b.json", lines(50_000, 50_010)).await;
        put(place, "in/json/empty.json", Vec::new()).await;
        let mut gzip = flate2::read::GzEncoder::new(
            std::io::Cursor::new(lines(50_010, 60_000)),
            flate2::Compression::fast(),
        );
        let mut packed = Vec::new();
        gzip.read_to_end(&mut packed).unwrap();
        put(place, "in/json/c.json.gz", packed).await;
        put(place, "in/jsonx/d.json", lines(0, 5)).await;
        let json = Source::prefix(place, "in/json/", r#"{"type":"json"}"#);
        assert_eq!(json.list(place).await.unwrap().len(), 3);
        let all = (59_999 * 60_000 / 2, 60_000);
        for split_bytes in [u64::MAX, 700_000] {
            assert_eq!(json.sum(place, split_bytes).await.unwrap(), all);
        }
        let mut parquet = Vec::new();
        let properties = parquet::file::properties::WriterProperties::builder()
            .set_max_row_group_row_count(Some(10_000))
            .build();
        let rows = batch(45_000);
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(&mut parquet, rows.schema(), Some(properties)).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        put(place, "in/parquet/a.parquet", parquet).await;
        let parquet = Source::prefix(place, "in/parquet/", r#"{"type":"parquet"}"#);
        for split_bytes in [u64::MAX, 300_000] {
            assert_eq!(
                parquet.sum(place, split_bytes).await.unwrap(),
                (44_999 * 45_000 / 2, 45_000)
            );
        }
        for (name, bytes, format) in [
            ("in/avro/a.avro", avro(&rows), r#"{"type":"avro_ocf"}"#),
            ("in/orc/a.orc", orc(&rows), r#"{"type":"orc"}"#),
            ("in/zip/a.zip", zipped(lines(0, 45_000)), r#"{"type":"json"}"#),
        ] {
            put(place, name, bytes).await;
            let folder = name.rsplit_once('/').unwrap().0;
            let source = Source::prefix(place, &format!("{folder}/"), format);
            for split_bytes in [u64::MAX, 300_000] {
                let sum = source.sum(place, split_bytes).await.unwrap();
                assert_eq!(
                    sum,
                    (44_999 * 45_000 / 2, 45_000),
                    "{name} by {split_bytes} bytes"
                );
            }
        }
    });
}

#[test]
fn objects_are_named_by_uris_prefixes_and_globs_within_what_is_allowed() {
    let runtime = runtime();
    let _inside = runtime.enter();
    keys_in_environment();
    let place = Place::faulty_s3(9);
    runtime.block_on(async {
        let s3 = place.s3.as_ref().unwrap();
        for name in [
            "in/a.json",
            "in/b.csv",
            "in/deep/c.json",
            "in/with%20space%25.json",
            "inner/d.json",
        ] {
            s3.put(BUCKET, name, b"{\"l\":1}\n");
        }
        let listed = async |json: &str, allow: &str| {
            let source: InputSource = json.parse().unwrap();
            let context = SourceContext::new(&[allow.to_owned()])
                .unwrap()
                .with_stores(place.stores.clone());
            let files: Result<Vec<InputFile>, StorageError> = source.list(&context).try_collect().await;
            files
                .map(|files| {
                    files
                        .iter()
                        .map(|file| file.location.replace("s3://bucket/", ""))
                        .collect::<Vec<_>>()
                })
                .map_err(|error| error.to_string())
        };
        let all = "s3://bucket";
        let prefixes = |rest: &str| format!(r#"{{"type":"s3","prefixes":["s3://bucket/in"]{rest}}}"#);
        assert_eq!(listed(&prefixes(""), all).await.unwrap().len(), 5);
        let json = listed(&prefixes(r#","objectGlob":"**.json""#), all)
            .await
            .unwrap();
        assert_eq!(
            json,
            [
                "in/a.json",
                "in/deep/c.json",
                "in/with%20space%25.json",
                "inner/d.json"
            ]
        );
        let flat = listed(&prefixes(r#","objectGlob":"in/*.json""#), all)
            .await
            .unwrap();
        assert_eq!(flat, ["in/a.json", "in/with%20space%25.json"]);
        let uris = r#"{"type":"s3","uris":["s3://bucket/in/b.csv","s3://bucket/in/a.json"]}"#;
        assert_eq!(listed(uris, all).await.unwrap(), ["in/b.csv", "in/a.json"]);
        let objects = r#"{"type":"s3","objects":[{"bucket":"bucket","path":"in/with space%.json"}]}"#;
        assert_eq!(listed(objects, all).await.unwrap(), ["in/with%20space%25.json"]);
        let missing = listed(r#"{"type":"s3","uris":["s3://bucket/in/no.json"]}"#, all)
            .await
            .unwrap_err();
        assert!(
            missing.contains("s3://bucket/in/no.json") && missing.contains("no such object"),
            "{missing}"
        );
        // What begins with the prefix is not all within the allowed folder.
        let denied = listed(&prefixes(""), "s3://bucket/in").await.unwrap_err();
        assert!(
            denied.contains("s3://bucket/inner/d.json") && denied.contains("--extern-allow"),
            "{denied}"
        );
        assert!(listed(uris, "s3://other").await.is_err());
        let spaced = Source {
            json: objects.to_owned(),
            format: r#"{"type":"json"}"#,
        };
        assert_eq!(spaced.sum(&place, u64::MAX).await.unwrap(), (1, 1));
    });
}

#[test]
fn a_role_is_assumed_with_the_source_s_own_keys() {
    let runtime = runtime();
    let _inside = runtime.enter();
    keys_in_environment();
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    server.put(BUCKET, "a.json", b"{\"l\":3}\n");
    let proxy = FaultyProxy::start(server.address(), 3, 10);
    let stores = Stores::new(ObjectSettings {
        // The source names its endpoint itself; the token service is the process's.
        sts_endpoint: Some(proxy.url()),
        ..ObjectSettings::default()
    });
    let json = format!(
        r#"{{"type":"s3","uris":["s3://bucket/a.json"],"endpointConfig":{{"url":"{}","signingRegion":"eu-west-1"}},
            "clientConfig":{{"enablePathStyleAccess":true,"protocol":"http"}},
            "properties":{{"accessKeyId":"k","secretAccessKey":{{"type":"default","password":"s"}},
                "assumeRoleArn":"arn:aws:iam::123456789012:role/reader","assumeRoleExternalId":"x"}}}}"#,
        proxy.url().replace("http://", "")
    );
    let source: InputSource = json.parse().unwrap();
    let allow = ["s3://bucket".to_owned(), proxy.url()];
    let context = SourceContext::new(&allow).unwrap().with_stores(stores);
    let files: Vec<InputFile> = runtime.block_on(source.list(&context).try_collect()).unwrap();
    assert_eq!(files.len(), 1);
    // One request for the role, one for the object, and repetitions.
    assert!(proxy.counts().0 >= 2);
}

fn target(place: &Place, name: &str, partition_columns: &[&str]) -> ExportTarget {
    let arguments = match &place.s3 {
        Some(_) => [("bucket", BUCKET.to_owned()), ("prefix", name.to_owned())].to_vec(),
        None => [("exportPath", place.at(name))].to_vec(),
    };
    ExportTarget {
        storage: if place.s3.is_some() { "s3" } else { "local" }.to_owned(),
        arguments: arguments
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        format: ExportFormat::Csv,
        compression: ExportCompression::None,
        rows_per_file: 10,
        bytes_per_file: None,
        partition_columns: partition_columns.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// Names of all files below an export, in order.
fn names(place: &Place, name: &str) -> Vec<String> {
    let Some(s3) = &place.s3 else {
        let mut found = Vec::new();
        let mut left = vec![std::path::PathBuf::from(place.at(name))];
        while let Some(folder) = left.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    left.push(entry.path());
                } else {
                    found.push(
                        entry
                            .path()
                            .strip_prefix(place.at(name))
                            .unwrap()
                            .to_string_lossy()
                            .into_owned(),
                    );
                }
            }
        }
        found.sort();
        return found;
    };
    let prefix = format!("{name}/");
    let keys = s3.keys(BUCKET, &prefix);
    keys.iter()
        .map(|key| key.strip_prefix(&prefix).unwrap().to_owned())
        .collect()
}

async fn staged(exports: &Exports, target: &ExportTarget, number: u32, bytes: usize) -> StagedFile {
    let writing = Writing {
        query_id: "q".to_owned(),
        worker: number,
        attempt: format!("q-{number}-0"),
    };
    let name = file_name(&writing, "", number, 0, target);
    let destination = exports.open(target).unwrap();
    let mut file = destination.create(name, number, &writing).await.unwrap();
    for _ in 0..bytes.div_ceil(1 << 20) {
        file.write(&vec![b'x'; bytes.min(1 << 20)]).await.unwrap();
    }
    file.finish(1).await.unwrap()
}

#[test]
fn exports_come_into_place_together_with_the_manifest_last() {
    on_all(async |place| {
        let exports = Exports::new(std::slice::from_ref(&place.url), place.stores.clone());
        let target = target(place, "out/a", &[]);
        let destination = exports.open(&target).unwrap();
        destination.prepare("q", false).await.unwrap();
        let mut files = Vec::new();
        for (number, bytes) in [(0, 10), (1, 20 << 20), (2, 0)] {
            files.push(staged(&exports, &target, number, bytes).await);
        }
        let visible: Vec<String> = names(place, "out/a")
            .into_iter()
            .filter(|name| !name.starts_with('.'))
            .collect();
        assert!(visible.is_empty(), "{visible:?}");
        destination.commit("q", &files).await.unwrap();
        let expected = [
            "_symlink_format_manifest/druid_export_meta",
            "_symlink_format_manifest/manifest",
            "query-q-worker0-partition0.csv",
            "query-q-worker1-partition1.csv",
            "query-q-worker2-partition2.csv",
        ];
        assert_eq!(names(place, "out/a"), expected);
        if let Some(s3) = &place.s3 {
            assert_eq!(
                s3.get(BUCKET, "out/a/query-q-worker1-partition1.csv")
                    .unwrap()
                    .len(),
                20 << 20
            );
            let manifest = s3.get(BUCKET, "out/a/_symlink_format_manifest/manifest").unwrap();
            let manifest = String::from_utf8(manifest).unwrap();
            assert_eq!(
                manifest.lines().next(),
                Some("s3://bucket/out/a/query-q-worker0-partition0.csv")
            );
        }
        let refused = destination.prepare("other", false).await.unwrap_err().to_string();
        assert!(
            refused.starts_with("Found files at provided export destination["),
            "{refused}"
        );
        // An earlier controller of the same query may have come as far as this.
        destination.prepare("q", true).await.unwrap();
        assert!(names(place, "out/a").is_empty());
    });
}

#[test]
fn a_failed_export_leaves_nothing() {
    on_all(async |place| {
        let exports = Exports::new(std::slice::from_ref(&place.url), place.stores.clone());
        let target = target(place, "out/b", &[]);
        let destination = exports.open(&target).unwrap();
        let mut files = vec![
            staged(&exports, &target, 0, 10).await,
            staged(&exports, &target, 1, 9 << 20).await,
        ];
        // The second file is taken away under the commit's hands.
        destination.abort(&files[1]).await;
        destination.commit("q", &files).await.unwrap_err();
        assert!(names(place, "out/b").is_empty(), "{:?}", names(place, "out/b"));
        // One that nobody told of.
        files.push(staged(&exports, &target, 2, 9 << 20).await);
        destination.sweep("q").await.unwrap();
        assert!(names(place, "out/b").is_empty());
    });
}

#[test]
fn exports_go_where_they_are_allowed_to() {
    on_all(async |place| {
        let allowed = |allow: &str| {
            let exports = Exports::new(&[allow.to_owned()], place.stores.clone());
            exports
                .open(&target(place, "out/a", &[]))
                .map_err(|error| error.to_string())
        };
        assert!(allowed(&place.at("out")).is_ok());
        assert!(allowed(&place.at("out/a")).is_ok());
        for outside in ["out/b", "ou", "out/a/b"] {
            let error = allowed(&place.at(outside)).unwrap_err();
            assert!(error.contains("--export-allow"), "{error}");
        }
    });
}
