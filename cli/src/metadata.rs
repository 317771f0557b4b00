//! `sarsen metadata`: the metadata store as a file.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sarsen_kernel::secret::Secret;
use sarsen_overlord::metadata::{Counts, MetadataUrl, backup, restore};

use crate::{Outcome, logging};

/// Flags of `sarsen metadata`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
    /// Metadata store: sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE [default: sqlite:DATA_DIR/metadata.db].
    /// Or @FILE that holds one of these.
    #[arg(
        long,
        env = "SARSEN_METADATA",
        hide_env_values = true,
        global = true,
        value_parser = sarsen_proto::secret::parse
    )]
    metadata: Option<Secret>,
    /// Folder of the Overlord or standalone.
    #[arg(long, env = "SARSEN_DATA_DIR", default_value = "./sarsen-data", global = true)]
    data_dir: PathBuf,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Writes one snapshot of the store, which may be in use, to a gzip file of JSON lines.
    Backup { file: PathBuf },
    /// Puts such a file into an empty store of either kind that no Overlord has used.
    Restore { file: PathBuf },
}

/// Runs the command.
///
/// # Errors
/// When the store or the file cannot be used.
pub fn run(options: &Options) -> Outcome {
    let url = match &options.metadata {
        None => MetadataUrl::Sqlite(options.data_dir.join("metadata.db")),
        Some(url) => MetadataUrl::parse(url.expose())
            .ok_or("--metadata: expected sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE")?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (what, counts) = match &options.command {
        Command::Backup { file } => ("backed up", runtime.block_on(write(&url, file))?),
        Command::Restore { file } => ("restored", runtime.block_on(read(&url, file))?),
    };
    let rows = |table: &str| counts.get(table).copied().unwrap_or(0);
    logging::say(&format!(
        "{url}: {what} {} segments and {} tasks",
        rows("druid_segments"),
        rows("tasks")
    ));
    Ok(())
}

/// The file appears once it is whole.
async fn write(url: &MetadataUrl, file: &Path) -> Outcome<Counts> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut part = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    let mut gzip = GzEncoder::new(BufWriter::new(&mut part), Compression::default());
    let counts = backup(url, &mut gzip).await?;
    gzip.finish()?.flush()?;
    part.as_file().sync_all()?;
    part.persist(file)?;
    Ok(counts)
}

async fn read(url: &MetadataUrl, file: &Path) -> Outcome<Counts> {
    let gzip = GzDecoder::new(BufReader::new(File::open(file)?));
    Ok(restore(url, BufReader::new(gzip)).await?)
}
