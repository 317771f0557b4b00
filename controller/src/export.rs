//! An export's part that is the controller's: nothing may be there before, and all files come into place together. Pages of
//! durable results are such files too.

use std::sync::Arc;

use sarsen_engine::export_sink::{ExportSinkOptions, empty_file};
use sarsen_engine::runtime::reading_context;
use sarsen_engine::{ExportSinkExec, fragment};
use sarsen_kernel::fault::Fault;
use sarsen_kernel::query::{ExportTarget, QueryDefinition, QueryKind, StageDefinition};
use sarsen_kernel::report::ResultPage;
use sarsen_planner::Planned;
use sarsen_storage::StorageError;
use sarsen_storage::export::{StagedFile, Writing, file_name};

use crate::results::{REPORT_ROWS, Results, first_rows};
use crate::task::TaskEnvironment;

/// Makes sure that an export's destination may be written to and is empty; other queries have none.
///
/// # Errors
/// In Druid's words.
pub async fn prepare(
    environment: &TaskEnvironment,
    planned: &Planned,
    query_id: &str,
    resumed: bool,
) -> Result<(), Fault> {
    let (QueryKind::Export(target) | QueryKind::DurableSelect(target)) = &planned.definition.kind else {
        return Ok(());
    };
    let destination = environment
        .exports
        .open(target)
        .map_err(|error| not_allowed(&error))?;
    destination
        .prepare(&target.file_id(query_id), resumed)
        .await
        .map_err(|error| failed(&error))
}

/// Files that were put in place.
#[derive(Debug, Clone)]
pub struct Exported {
    pub files: Vec<StagedFile>,
    /// The first rows, where the files are pages of results.
    pub results: Results,
}

impl Exported {
    /// The files as pages of results; none of an export's.
    pub fn pages(&self) -> Vec<ResultPage> {
        let pages = self.files.iter().filter(|file| file.target.is_results());
        pages
            .map(|file| ResultPage {
                path: page_path(file),
                rows: file.rows,
                bytes: file.bytes,
            })
            .collect()
    }
}

/// Below deep storage.
fn page_path(file: &StagedFile) -> String {
    format!("{}/{}", folder(&file.target), file.name)
}

fn folder(target: &ExportTarget) -> &str {
    target
        .arguments
        .get("folder")
        .map(String::as_str)
        .unwrap_or_default()
}

/// Puts the files in place. An export without rows has one file all the same, unless columns name its folders.
///
/// # Errors
/// When the destination fails; then none of them is there.
pub async fn publish(
    environment: &TaskEnvironment,
    target: &ExportTarget,
    query: &QueryDefinition,
    mut files: Vec<StagedFile>,
) -> Result<Exported, Fault> {
    let query_id = &target.file_id(&query.query_id.0);
    let destination = environment
        .exports
        .open(target)
        .map_err(|error| not_allowed(&error))?;
    if files.is_empty()
        && target.partition_columns.is_empty()
        && !target.is_results()
        && let Some(stage) = query.final_stage()
    {
        files.push(empty(environment, target, stage, query_id).await?);
    }
    // As they are numbered, not as workers came.
    let place = |file: &StagedFile| (file.partition, file.name.len(), file.name.clone());
    files.sort_by_cached_key(place);
    destination
        .commit(query_id, &files)
        .await
        .map_err(|error| failed(&error))?;
    tracing::info!(
        files = files.len(),
        destination = destination.base_path(),
        "exported"
    );
    let mut exported = Exported {
        files,
        results: Results::default(),
    };
    if target.is_results() {
        let pages = exported.pages();
        let first = first_rows(
            &environment.deep_storage,
            &pages,
            &query.result_signature,
            REPORT_ROWS,
        )
        .await;
        exported.results = first.map_err(|message| Fault::UnknownError { message })?;
    }
    Ok(exported)
}

async fn empty(
    environment: &TaskEnvironment,
    target: &ExportTarget,
    stage: &StageDefinition,
    query_id: &str,
) -> Result<StagedFile, Fault> {
    let unknown = |error: &dyn std::fmt::Display| Fault::UnknownError {
        message: error.to_string(),
    };
    let context =
        reading_context(environment.deep_storage.object_store()).map_err(|error| unknown(&error))?;
    let plan = fragment::decode(&stage.fragment, &context).map_err(|error| unknown(&error))?;
    let Some(sink) = plan.downcast_ref::<ExportSinkExec>() else {
        return Err(unknown(&"the last stage of an export writes no files"));
    };
    let options: &ExportSinkOptions = sink.options();
    let children = datafusion::physical_plan::ExecutionPlan::children(sink);
    let schema = match children.first() {
        Some(child) => options
            .file_schema(&child.schema())
            .map_err(|error| unknown(&error))?,
        None => return Err(unknown(&"the last stage of an export reads nothing")),
    };
    let writing = Writing {
        query_id: query_id.to_owned(),
        worker: 0,
        attempt: "empty".to_owned(),
    };
    let name = file_name(&writing, "", 0, 0, target);
    let destination = environment
        .exports
        .open(target)
        .map_err(|error| not_allowed(&error))?;
    let file = destination
        .create(name, 0, &writing)
        .await
        .map_err(|error| failed(&error))?;
    empty_file(file, target, Arc::clone(&schema))
        .await
        .map_err(|error| unknown(&error))
}

/// What an export that failed left: files that workers told of, and with `may_hide` others too.
pub async fn clean_up(
    environment: &TaskEnvironment,
    target: &ExportTarget,
    query_id: &str,
    told: &[StagedFile],
    placed: Option<&Exported>,
) {
    if target.is_results() && placed.is_none() {
        if let Err(error) = environment.deep_storage.delete_folder(folder(target)).await {
            tracing::warn!(%error, "results of a query that failed stay until the Overlord's next look");
        }
        return;
    }
    let query_id = &target.file_id(query_id);
    let destination = match environment.exports.open(target) {
        Ok(destination) => destination,
        // Then nothing was begun there.
        Err(_) => return,
    };
    let is_placed = |file: &&StagedFile| placed.is_some_and(|exported| exported.files.contains(file));
    for file in told.iter().filter(|file| !is_placed(file)) {
        destination.abort(file).await;
    }
    if let Err(error) = destination.sweep(query_id).await {
        tracing::warn!(%error, "what an export has begun may stay behind");
    }
}

fn not_allowed(error: &StorageError) -> Fault {
    fault("INVALID_INPUT", error)
}

fn failed(error: &StorageError) -> Fault {
    fault("RUNTIME_FAILURE", error)
}

fn fault(category: &str, error: &StorageError) -> Fault {
    Fault::DruidException {
        druid_error_code: "general".to_owned(),
        persona: "USER".to_owned(),
        category: category.to_owned(),
        message: error.to_string(),
    }
}
