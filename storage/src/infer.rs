//! The signature of files whose statement gives none, from samples of several of them.
//!
//! Samples are read by the same readers as the files are later, every value as JSON: what a value means to a reader is
//! what its column's type is made of.

mod shape;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use futures::StreamExt;
use serde_json::{Map, Value, json};

use self::shape::Shape;
use crate::StorageError;
use crate::format::{FormatKind, InputFormat};
use crate::reader::{ParseErrors, ReadRequest, header_names, read_split};
use crate::signature::{DruidType, Signature};
use crate::source::{InputFile, InputSource, InputSplit, SourceContext};

/// Files that are read of a source.
const SAMPLED_FILES: usize = 8;

/// Files of a listing among which these are chosen.
const LISTED_FILES: usize = 10_000;

/// Rows that are read of a file.
const SAMPLED_ROWS: usize = 1_000;

/// Rows that come at once.
const BATCH_ROWS: usize = 100;

/// Bad rows of a file behind which it is not read on.
const BAD_ROWS: i64 = 1_000;

/// Bytes that are read of a text.
const SAMPLED_BYTES: u64 = 16 << 20;

/// Columns that are inferred at the most.
const MOST_COLUMNS: usize = 10_000;

/// The column of whole rows in a sample: no field has such a name.
const ROW: &str = "\u{1}row";

/// The columns of a source's files in the order in which they are met.
///
/// # Errors
/// When a file cannot be read, or no sampled one has a row.
pub async fn infer(
    source: &InputSource,
    format: &InputFormat,
    context: &Arc<SourceContext>,
) -> Result<Signature, StorageError> {
    let files = chosen(source, context).await?;
    let mut found = Found::default();
    for file in &files {
        let request = request(source, format, context, file);
        match &format.kind {
            FormatKind::Json(_) | FormatKind::Parquet(_) | FormatKind::Orc(_) | FormatKind::Avro(_) => {
                found.rows_of_objects(request).await?;
            }
            FormatKind::Delimited(delimited) => {
                let names = match delimited.find_columns_from_header {
                    true => header_names(request.clone()).await?,
                    false => delimited.columns.clone(),
                };
                found.rows_of_texts(request, &names).await?;
            }
            FormatKind::Regex(regex) => found.rows_of_texts(request, &regex.columns).await?,
            FormatKind::Lines => found.add("line", Shape::Text)?,
        }
    }
    if found.columns.is_empty() {
        let read = match files.is_empty() {
            true => "it has no files".to_owned(),
            false => format!("no row was found in {} of its files", files.len()),
        };
        return Err(StorageError::Spec(format!(
            "The columns of {} cannot be inferred: {read}. Give EXTERN a signature.",
            source.description()
        )));
    }
    for field in source.system_fields() {
        found.add(field.name(), Shape::Text)?;
    }
    let columns = found
        .columns
        .into_iter()
        .map(|(name, shape)| (name, shape.druid_type()));
    Ok(Signature(columns.collect()))
}

/// Files from all over the beginning of the listing.
async fn chosen(source: &InputSource, context: &SourceContext) -> Result<Vec<InputFile>, StorageError> {
    let listed: Vec<_> = source.list(context).take(LISTED_FILES).collect().await;
    let listed = listed.into_iter().collect::<Result<Vec<_>, _>>()?;
    let count = listed.len().min(SAMPLED_FILES);
    let places = (0..count).map(|number| number * listed.len() / count);
    Ok(places.filter_map(|place| listed.get(place).cloned()).collect())
}

fn request(
    source: &InputSource,
    format: &InputFormat,
    context: &Arc<SourceContext>,
    file: &InputFile,
) -> ReadRequest {
    ReadRequest {
        split: InputSplit {
            location: file.location.clone(),
            range: None,
            bytes: file.size.unwrap_or(0),
        },
        source: source.clone(),
        format: format.clone(),
        signature: Signature(Vec::new()),
        projection: None,
        batch_rows: BATCH_ROWS,
        context: Arc::clone(context),
        counters: Arc::default(),
        // Bad rows are for the reading itself to tell.
        parse_errors: Arc::new(ParseErrors::new(BAD_ROWS)),
        max_bytes: Some(SAMPLED_BYTES),
        entry: None,
    }
}

/// Columns so far with what their values are.
#[derive(Default)]
struct Found {
    columns: Vec<(String, Shape)>,
    /// Where each name is among them.
    places: HashMap<String, usize>,
}

impl Found {
    fn add(&mut self, name: &str, shape: Shape) -> Result<(), StorageError> {
        let place = self.places.get(name);
        if let Some((_, known)) = place.and_then(|place| self.columns.get_mut(*place)) {
            *known = std::mem::replace(known, Shape::Null).and(shape);
            return Ok(());
        }
        if self.columns.len() == MOST_COLUMNS {
            return Err(StorageError::Spec(format!(
                "The columns cannot be inferred: there are more than {MOST_COLUMNS}. Give EXTERN a signature."
            )));
        }
        self.places.insert(name.to_owned(), self.columns.len());
        self.columns.push((name.to_owned(), shape));
        Ok(())
    }

    /// Fields of the rows themselves, and those that a `flattenSpec` finds.
    async fn rows_of_objects(&mut self, mut request: ReadRequest) -> Result<(), StorageError> {
        let (format, flattened, discovers) = with_whole_rows(&request.format)?;
        request.format = format;
        let names = flattened.iter().map(String::as_str).chain([ROW]);
        for batch in sample(request, names).await? {
            let rows = batch.column_by_name(ROW).map(|column| column.as_string::<i64>());
            for row in rows.into_iter().flatten().flatten().filter(|_| discovers) {
                let fields = serde_json::from_str::<Map<String, Value>>(row).unwrap_or_default();
                for (name, value) in &fields {
                    self.add(name, Shape::of_value(value))?;
                }
            }
            self.columns_of(&batch, &flattened, Shape::of_value)?;
            // Whoever waits may be gone by now.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn rows_of_texts(&mut self, request: ReadRequest, names: &[String]) -> Result<(), StorageError> {
        for name in names {
            self.add(name, Shape::Null)?;
        }
        for batch in sample(request, names.iter().map(String::as_str)).await? {
            self.columns_of(&batch, names, Shape::of_text)?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn columns_of(
        &mut self,
        batch: &RecordBatch,
        names: &[String],
        shape: fn(&Value) -> Shape,
    ) -> Result<(), StorageError> {
        for (name, column) in names.iter().zip(batch.columns()) {
            let texts = column.as_string::<i64>().iter().flatten();
            let values = texts.filter_map(|text| serde_json::from_str::<Value>(text).ok());
            let shape = values.fold(Shape::Null, |known, value| known.and(shape(&value)));
            self.add(name, shape)?;
        }
        Ok(())
    }
}

/// The first rows of a file with these columns, as JSON.
async fn sample(
    mut request: ReadRequest,
    names: impl Iterator<Item = &str>,
) -> Result<Vec<RecordBatch>, StorageError> {
    let json = || DruidType::Complex("json".to_owned());
    request.signature = Signature(names.map(|name| (name.to_owned(), json())).collect());
    let mut batches = read_split(request);
    let (mut sampled, mut rows) = (Vec::new(), 0);
    while rows < SAMPLED_ROWS
        && let Some(batch) = batches.next().await
    {
        let batch = match batch {
            Ok(batch) => batch,
            // What was read before is what is known.
            Err(StorageError::TooManyBadRows { .. }) => break,
            Err(error) => return Err(error),
        };
        rows += batch.num_rows();
        sampled.push(batch);
    }
    Ok(sampled)
}

/// The format with a column of whole rows, the names that its `flattenSpec` gives, and whether the fields of a row are
/// columns beside these.
fn with_whole_rows(format: &InputFormat) -> Result<(InputFormat, Vec<String>, bool), StorageError> {
    let mut spec: Value =
        serde_json::from_str(&format.to_json()).map_err(|error| StorageError::Spec(error.to_string()))?;
    let flatten = spec.get("flattenSpec").cloned().unwrap_or(Value::Null);
    let discovers = flatten.get("useFieldDiscovery").and_then(Value::as_bool) != Some(false);
    let mut fields = flatten
        .get("fields")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let name = |field: &Value| match field {
        Value::String(name) => Some(name.clone()),
        field => field.get("name").and_then(Value::as_str).map(str::to_owned),
    };
    let names = fields.iter().filter_map(name).collect();
    fields.push(json!({ "type": "path", "name": ROW, "expr": "$" }));
    if let Some(members) = spec.as_object_mut() {
        members.insert("flattenSpec".to_owned(), json!({ "fields": fields }));
    }
    Ok((spec.to_string().parse()?, names, discovers))
}
