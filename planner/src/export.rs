//! `INSERT INTO EXTERN(destination) AS format …`: rows become files (Druid:
//! multi-stage-query/reference.md#extern-to-export-to-a-destination).

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::Result;
use sarsen_engine::ExportSinkExec;
use sarsen_engine::export_sink::ExportSinkOptions;
use sarsen_kernel::query::{ColumnDescriptor, Delivery, ExportCompression, ExportFormat, ExportTarget};
use sarsen_kernel::shuffle::{KeyColumn, NullOrder, Release, ShuffleKind, ShuffleSpec, SortOrder};
use sqlparser::ast::{Expr, Query};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::error::PlanError;
use crate::granularity;
use crate::settings::Settings;
use crate::stages::{Open, StageBuilder, mix};
use crate::statement::{Cursor, Export, parse_all};

/// Storages with the arguments that they must have and those that they may have.
const STORAGES: [(&str, &[&str], &[&str]); 4] = [
    ("azure", &["container", "prefix"], &[]),
    ("google", &["bucket", "prefix"], &[]),
    ("local", &["exportPath"], &[]),
    (
        "s3",
        &["bucket", "prefix"],
        &["assumeRoleArn", "assumeRoleExternalId"],
    ),
];

/// Takes `(storage(name => 'value', …))` behind the word EXTERN.
///
/// # Errors
/// For anything else.
pub(crate) fn destination(cursor: &mut Cursor) -> Result<(String, Vec<(String, String)>), PlanError> {
    expect(cursor, &Token::LParen)?;
    let storage = match cursor.peek().map(|token| token.token.clone()) {
        Some(Token::Word(word)) => word.value,
        _ => return Err(cursor.unexpected(&["LOCAL", "<IDENTIFIER>"])),
    };
    cursor.next();
    let mut arguments = Vec::new();
    if eat(cursor, &Token::LParen) && !eat(cursor, &Token::RParen) {
        loop {
            arguments.push(argument(cursor)?);
            if !eat(cursor, &Token::Comma) {
                break;
            }
        }
        expect(cursor, &Token::RParen)?;
    }
    expect(cursor, &Token::RParen)?;
    Ok((storage, arguments))
}

fn argument(cursor: &mut Cursor) -> Result<(String, String), PlanError> {
    let name = match cursor.peek().map(|token| token.token.clone()) {
        Some(Token::Word(word)) => word.value,
        _ => return Err(cursor.unexpected(&["<IDENTIFIER>", ")"])),
    };
    cursor.next();
    expect(cursor, &Token::RArrow)?;
    match cursor.peek().map(|token| token.token.clone()) {
        Some(Token::SingleQuotedString(text) | Token::UnicodeStringLiteral(text)) => {
            cursor.next();
            Ok((name, text))
        }
        _ => Err(cursor.unexpected(&["<QUOTED_STRING>"])),
    }
}

fn eat(cursor: &mut Cursor, token: &Token) -> bool {
    let found = cursor.peek().is_some_and(|next| next.token == *token);
    if found {
        cursor.next();
    }
    found
}

fn expect(cursor: &mut Cursor, token: &Token) -> Result<(), PlanError> {
    if eat(cursor, token) {
        Ok(())
    } else {
        Err(cursor.unexpected(&[&token.to_string()]))
    }
}

/// Druid's error for clauses that exports have not.
pub(crate) fn no_clauses() -> PlanError {
    PlanError::unsupported("Export statements do not support a PARTITIONED BY or CLUSTERED BY clause.")
}

/// Names of the columns that follow PARTITIONED BY.
///
/// # Errors
/// For a granularity, which Druid refuses, and for anything but columns.
pub(crate) fn partition_columns(tokens: Vec<TokenWithSpan>, end: Location) -> Result<Vec<String>, PlanError> {
    if granularity::parse(tokens.clone(), end).is_ok() {
        return Err(no_clauses());
    }
    let columns: Vec<Expr> = parse_all(tokens, end, |parser| {
        parser.parse_comma_separated(Parser::parse_expr)
    })?;
    columns
        .into_iter()
        .map(|column| match column {
            Expr::Identifier(name) => Ok(name.value),
            other => Err(PlanError::invalid(format!(
                "PARTITIONED BY of an export takes names of columns, found [{other}]"
            ))),
        })
        .collect()
}

/// Checks the clauses that exports have others for.
///
/// # Errors
/// For an ORDER BY, as Druid words it.
pub fn check(query: &Query) -> Result<(), PlanError> {
    if query.order_by.is_none() {
        return Ok(());
    }
    Err(PlanError::invalid(
        "Cannot use an ORDER BY clause on a Query of type [INSERT], use CLUSTERED BY instead",
    ))
}

/// Where and how the rows are written.
///
/// # Errors
/// For an unknown storage, format or compression, for arguments that are missing or unknown, and for partition columns
/// that are not the query's.
pub fn target(
    export: &Export,
    columns: &[ColumnDescriptor],
    settings: &Settings,
) -> Result<ExportTarget, PlanError> {
    let target = uninferred_target(export, settings)?;
    check_columns(export, target.format, columns)?;
    Ok(target)
}

/// As [`target`], while the columns are not known.
///
/// # Errors
/// As [`target`], but for columns.
pub fn uninferred_target(export: &Export, settings: &Settings) -> Result<ExportTarget, PlanError> {
    let storage = export.storage.to_lowercase();
    let arguments = arguments(&storage, export)?;
    let format = format(&export.format)?;
    Ok(ExportTarget {
        storage,
        arguments,
        format,
        compression: compression(format, settings.export.compression.as_deref())?,
        rows_per_file: settings.export.rows_per_file,
        bytes_per_file: settings.export.bytes_per_file,
        partition_columns: export.partitioned_by.clone(),
    })
}

fn arguments(storage: &str, export: &Export) -> Result<BTreeMap<String, String>, PlanError> {
    let Some((_, required, optional)) = STORAGES.iter().find(|(name, _, _)| *name == storage) else {
        let known: Vec<&str> = STORAGES.iter().map(|(name, _, _)| *name).collect();
        return Err(PlanError::invalid(format!(
            "Could not resolve type id '{}' as a subtype of `org.apache.druid.storage.ExportStorageProvider` known type \
             ids = [{}]",
            export.storage,
            known.join(", ")
        )));
    };
    let mut arguments = BTreeMap::new();
    for (name, value) in &export.arguments {
        if !required.iter().chain(*optional).any(|known| known == name) {
            let known: Vec<&str> = required.iter().chain(*optional).copied().collect();
            return Err(PlanError::invalid(format!(
                "Unrecognized argument '{name}' of {storage}(), known arguments: [{}]",
                known.join(", ")
            )));
        }
        arguments.insert(name.clone(), value.clone());
    }
    if let Some(missing) = required.iter().find(|name| !arguments.contains_key(**name)) {
        return Err(PlanError::invalid(format!(
            "Missing required creator property '{missing}'"
        )));
    }
    if let Some(empty) = required
        .iter()
        .find(|name| **name != "prefix" && arguments.get(**name).is_some_and(|value| value.trim().is_empty()))
    {
        return Err(PlanError::invalid(format!(
            "Argument '{empty}' of {storage}() must not be empty"
        )));
    }
    // Druid knows a container by the name of a bucket.
    if let Some(container) = arguments.remove("container") {
        arguments.insert("bucket".to_owned(), container);
    }
    Ok(arguments)
}

fn format(written: &str) -> Result<ExportFormat, PlanError> {
    match written.to_lowercase().as_str() {
        "csv" => Ok(ExportFormat::Csv),
        "json" => Ok(ExportFormat::Json),
        "parquet" => Ok(ExportFormat::Parquet),
        _ => Err(PlanError::invalid(format!(
            "Export format [{written}] is not supported, expected one of [csv, json, parquet]"
        ))),
    }
}

fn compression(format: ExportFormat, written: Option<&str>) -> Result<ExportCompression, PlanError> {
    let known = |compression| Ok::<_, PlanError>(compression);
    match (written.map(str::to_lowercase).as_deref(), format) {
        (None, ExportFormat::Parquet) => known(ExportCompression::Zstd),
        (None, _) | (Some("none"), _) => known(ExportCompression::None),
        (Some("gzip" | "gz"), _) => known(ExportCompression::Gzip),
        (Some("zstd" | "zst"), _) => known(ExportCompression::Zstd),
        (Some("snappy"), ExportFormat::Parquet) => known(ExportCompression::Snappy),
        (Some(_), _) => Err(PlanError::bad_context(format!(
            "Expected key [exportCompression] to be one of [none, gzip, zstd{}], but got [{}]",
            if format == ExportFormat::Parquet {
                ", snappy"
            } else {
                ""
            },
            written.unwrap_or_default()
        ))),
    }
}

fn check_columns(
    export: &Export,
    format: ExportFormat,
    columns: &[ColumnDescriptor],
) -> Result<(), PlanError> {
    let mut seen: Vec<&str> = Vec::new();
    for name in &export.partitioned_by {
        if !columns.iter().any(|column| column.name == *name) {
            return Err(PlanError::invalid(format!(
                "PARTITIONED BY names [{name}], which is none of the query's columns [{}]",
                columns
                    .iter()
                    .map(|column| column.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            )));
        }
        if seen.contains(&name.as_str()) {
            return Err(PlanError::invalid(format!(
                "Duplicate column in PARTITIONED BY: [{name}]"
            )));
        }
        seen.push(name);
    }
    if let Some(column) = columns
        .iter()
        .filter(|column| seen.contains(&column.name.as_str()))
        .find(|column| column.native_type.starts_with("ARRAY") || column.native_type.starts_with("COMPLEX"))
    {
        return Err(PlanError::invalid(format!(
            "PARTITIONED BY column [{}] of type [{}] cannot name a folder",
            column.name, column.native_type
        )));
    }
    if seen.len() == columns.len() {
        return Err(PlanError::invalid(
            "An export needs a column that is not in PARTITIONED BY: those stand in the names of folders only",
        ));
    }
    let names = columns.iter().map(|column| column.name.as_str());
    let doubled = names
        .clone()
        .enumerate()
        .find(|(position, name)| names.clone().skip(position + 1).any(|other| other == *name));
    match doubled {
        // A line of CSV has places, all else has names.
        Some((_, name)) if format != ExportFormat::Csv => {
            Err(PlanError::invalid(format!("Duplicate field in SELECT: [{name}]")))
        }
        _ => Ok(()),
    }
}

/// Closes a SELECT's last fragment, and adds the stage that writes its rows as pages; in order, where `order` is the
/// shuffle that sorts them.
///
/// # Errors
/// When a fragment cannot travel.
pub fn close_pages(
    builder: &mut StageBuilder<'_>,
    open: Open,
    order: Option<ShuffleSpec>,
    target: &ExportTarget,
    columns: &[ColumnDescriptor],
) -> Result<()> {
    let rows = target.rows_per_file;
    let merge = order.is_some();
    let (shuffle, most) = match order {
        // Ranges have about so many rows: a page is not split for a few of them.
        Some(order) => (order, rows.saturating_add(rows / 8)),
        // Rows that are in one place may be in order.
        None if open.single => (mix(), rows),
        None => {
            let bucket = ShuffleSpec {
                kind: ShuffleKind::Bucket { target_rows: rows },
                key: Vec::new(),
                bucket_prefix_bytes: 0,
                release: Release::default(),
            };
            (bucket, rows)
        }
    };
    let mut read = builder.close_and_read_sorted(open, shuffle, Delivery::Partitioned, merge)?;
    read.single = false;
    let options = ExportSinkOptions {
        target: target.clone(),
        columns: positions(columns),
        folder_columns: Vec::new(),
        rows_per_file: Some(most),
    };
    let sink = read.map(|plan| Ok(Arc::new(ExportSinkExec::new(plan, options.clone()))))?;
    builder.close(sink, None).map(|_| ())
}

/// Columns under names that differ from each other, as those of a SELECT need not.
fn positions(columns: &[ColumnDescriptor]) -> Vec<ColumnDescriptor> {
    let numbered = columns.iter().enumerate();
    numbered
        .map(|(position, column)| ColumnDescriptor {
            name: format!("c{position}"),
            ..column.clone()
        })
        .collect()
}

/// Closes the query's last fragment with a shuffle into files, and adds the stage that writes them.
///
/// # Errors
/// When a fragment cannot travel.
pub fn close(
    builder: &mut StageBuilder<'_>,
    open: Open,
    target: &ExportTarget,
    columns: &[ColumnDescriptor],
) -> Result<()> {
    let position = |name: &String| columns.iter().position(|column| column.name == *name);
    let folder_columns: Vec<usize> = target.partition_columns.iter().filter_map(position).collect();
    let key = folder_columns.iter().zip(&target.partition_columns);
    let shuffle = ShuffleSpec {
        kind: ShuffleKind::Bucket {
            target_rows: target.rows_per_file,
        },
        key: key
            .map(|(index, name)| KeyColumn {
                index: u32::try_from(*index).unwrap_or(u32::MAX),
                name: name.clone(),
                order: SortOrder::Ascending,
                nulls: NullOrder::First,
            })
            .collect(),
        bucket_prefix_bytes: 0,
        release: Release::default(),
    };
    let mut read = builder.close_and_read_sorted(open, shuffle, Delivery::Partitioned, false)?;
    read.single = false;
    let options = ExportSinkOptions {
        target: target.clone(),
        columns: columns.to_vec(),
        folder_columns,
        rows_per_file: None,
    };
    let sink = read.map(|plan| Ok(Arc::new(ExportSinkExec::new(plan, options.clone()))))?;
    builder.close(sink, None).map(|_| ())
}
