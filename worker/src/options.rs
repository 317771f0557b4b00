//! How a worker process is set up.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use sarsen_object::ObjectSettings;
use sarsen_proto::labels::LabelOptions;
use sarsen_proto::tls::TlsOptions;

/// Flags of `sarsen worker`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Folder for everything this process keeps.
    #[arg(long, env = "SARSEN_DATA_DIR", default_value = "./sarsen-data")]
    pub data_dir: PathBuf,
    /// Address of the Overlord.
    #[arg(
        long,
        env = "SARSEN_OVERLORD",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8081"
    )]
    pub overlord: String,
    /// Where gRPC and Flight listen; others reach this process here unless it is told otherwise.
    #[arg(long, env = "SARSEN_GRPC_ADDR", default_value = "127.0.0.1:8091")]
    pub grpc_addr: String,
    /// Where others reach this process, HOST:PORT [default: where it listens].
    #[arg(long, env = "SARSEN_ADVERTISE")]
    pub advertise: Option<String>,
    /// Worker tasks that run at once.
    #[arg(long, env = "SARSEN_SLOTS", default_value_t = 4)]
    pub slots: u32,
    /// Memory of this process (512M, 4G, 80%); by default three quarters of what the machine or container allows.
    #[arg(long, env = "SARSEN_MEMORY_LIMIT")]
    pub memory_limit: Option<MemorySize>,
    /// Where segments and reports are kept: a folder, s3://BUCKET/PREFIX, gs://… or azure://… [default: DATA_DIR/deep-storage].
    #[arg(long, env = "SARSEN_DEEP_STORAGE")]
    pub deep_storage: Option<String>,
    /// Where rows go that do not fit into memory [default: DATA_DIR/spill].
    #[arg(long, env = "SARSEN_SPILL_DIR")]
    pub spill_dir: Option<PathBuf>,
    /// Bytes that one worker task may spill.
    #[arg(long, env = "SARSEN_SPILL_QUOTA", default_value = "256G")]
    pub spill_quota: MemorySize,
    /// Prefix of paths or URLs that EXTERN may read; may be given several times.
    #[arg(long, env = "SARSEN_EXTERN_ALLOW", value_delimiter = ',')]
    pub extern_allow: Vec<String>,
    /// Prefix of paths or URLs that exports may write below; may be given several times.
    #[arg(long, env = "SARSEN_EXPORT_ALLOW", value_delimiter = ',')]
    pub export_allow: Vec<String>,
    #[command(flatten)]
    pub objects: ObjectSettings,
    /// Seconds that running tasks have to end after SIGTERM.
    #[arg(long, env = "SARSEN_DRAIN_SECONDS", default_value_t = 30)]
    pub drain_seconds: u64,
    #[command(flatten)]
    pub labels: LabelOptions,
    #[command(flatten)]
    pub tls: TlsOptions,
}

impl Options {
    /// Deep storage as set or by default.
    pub fn deep_storage(&self) -> String {
        self.deep_storage
            .clone()
            .unwrap_or_else(|| self.data_dir.join("deep-storage").to_string_lossy().into_owned())
    }

    /// Spill folder as set or by default.
    pub fn spill_dir(&self) -> PathBuf {
        self.spill_dir
            .clone()
            .unwrap_or_else(|| self.data_dir.join("spill"))
    }

    /// Bytes that this process may use.
    pub fn memory_bytes(&self) -> u64 {
        let available = available_memory();
        self.memory_limit.unwrap_or(MemorySize::Percent(75)).of(available)
    }
}

/// A size in bytes or a share of what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemorySize {
    Bytes(u64),
    Percent(u64),
}

impl MemorySize {
    /// Bytes, of `available` ones.
    pub fn of(self, available: u64) -> u64 {
        match self {
            MemorySize::Bytes(bytes) => bytes,
            MemorySize::Percent(percent) => available / 100 * percent.min(100),
        }
    }
}

impl FromStr for MemorySize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let refuse = || format!("`{text}` is not a size: expected a number with K, M, G, T or %, such as 4G");
        let number: u64 = number.parse().map_err(|_| refuse())?;
        let shift = match unit.trim().trim_end_matches("iB").trim_end_matches(['B', 'b']) {
            "" => 0,
            "K" | "k" => 10,
            "M" | "m" => 20,
            "G" | "g" => 30,
            "T" | "t" => 40,
            "%" => return Ok(MemorySize::Percent(number)),
            _ => return Err(refuse()),
        };
        number
            .checked_mul(1 << shift)
            .map(MemorySize::Bytes)
            .ok_or_else(refuse)
    }
}

/// Bytes that the container or the machine allows.
pub fn available_memory() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let limits = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let cgroup = limits
        .iter()
        .filter_map(|path| read(path)?.trim().parse::<u64>().ok())
        .min();
    let machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace()
            .nth(1)?
            .parse::<u64>()
            .ok()
            .map(|kilobytes| kilobytes << 10)
    });
    let machine = machine.unwrap_or(4 << 30);
    cgroup.map_or(machine, |cgroup| cgroup.min(machine))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!("512M".parse(), Ok(MemorySize::Bytes(512 << 20)));
        assert_eq!("2GiB".parse(), Ok(MemorySize::Bytes(2 << 30)));
        assert_eq!("50%".parse::<MemorySize>().unwrap().of(200), 100);
        assert!("many".parse::<MemorySize>().is_err());
    }
}
