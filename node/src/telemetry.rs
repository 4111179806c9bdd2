//! What a node tells of itself: log lines by `tracing`, text or JSON, on standard error; metrics for Prometheus with help texts.
//!
//! Request ids are fields of the spans that the API opens, so that every line of a request bears its id. Secrets are never fields.

use std::fmt;
use std::fs;
use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use skep_placement::ids::BootNumber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// One; its labels say which binary runs.
pub const BUILD_INFO: &str = "skep_build_info";
/// Boot number of the process.
pub const BOOT: &str = "skep_node_boot";
/// Seconds since the process started.
pub const UPTIME_SECONDS: &str = "skep_node_uptime_seconds";
/// Resident memory, bytes.
pub const RESIDENT_BYTES: &str = "skep_process_resident_bytes";
/// Open file descriptors.
pub const OPEN_FILES: &str = "skep_process_open_files";
/// Seconds until the node's certificate ends.
pub const CERTIFICATE_SECONDS: &str = "skep_node_certificate_remaining_seconds";

/// Upper bounds of the buckets of every histogram whose name ends in `_seconds`.
const SECONDS_BUCKETS: [f64; 14] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of the buckets of every histogram whose name ends in `_bytes`.
const BYTES_BUCKETS: [f64; 7] = [4096.0, 65_536.0, 131_072.0, 1_048_576.0, 4_194_304.0, 67_108_864.0, 1_073_741_824.0];
/// Histograms are drained so often, so that they do not grow while nobody scrapes.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Text or JSON.
    pub format: LogFormat,
    /// A level, or directives such as `info,skep_raft=debug`.
    pub filter: String,
}

/// A filter that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("`{filter}` is no log filter ({why}); say a level (error, warn, info, debug, trace) or directives like info,skep_raft=debug")]
pub struct InvalidFilter {
    /// What was said.
    pub filter: String,
    /// Why it is none.
    pub why: String,
}

/// Checks a filter without using it.
///
/// # Errors
/// [`InvalidFilter`] with the reason.
pub fn check_filter(filter: &str) -> Result<(), InvalidFilter> {
    EnvFilter::try_new(filter).map(|_filter| ()).map_err(|error| InvalidFilter { filter: filter.to_owned(), why: error.to_string() })
}

/// Begins to log to standard error. A second call in one process changes nothing.
///
/// # Errors
/// [`InvalidFilter`] if the filter cannot be read.
pub fn begin_logging(options: &LogOptions) -> Result<(), InvalidFilter> {
    let parsed = EnvFilter::try_new(quieted(&options.filter));
    let filter = parsed.map_err(|error| InvalidFilter { filter: options.filter.clone(), why: error.to_string() })?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let begun = match options.format {
        LogFormat::Text => registry.with(lines.with_ansi(std::io::stderr().is_terminal())).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    if begun.is_err() {
        tracing::debug!("logging had begun before");
    }
    Ok(())
}

/// At a plain `info` the consensus library tells of every step; its warnings are enough then.
fn quieted(filter: &str) -> String {
    if filter == "info" { "info,openraft=warn".to_owned() } else { filter.to_owned() }
}

/// The process's metrics.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Begins to collect; one recorder a process, however often this is called. Each crate describes its own metrics after it.
    ///
    /// # Panics
    /// Never: the lists of buckets are constants.
    pub fn begin() -> Self {
        static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
        let handle = HANDLE.get_or_init(|| {
            let builder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
                .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES_BUCKETS));
            let recorder = builder.expect("the lists of buckets are not empty").build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::error!("another metrics recorder is in place; /metrics will be empty");
            }
            handle
        });
        describe();
        Self { handle: handle.clone() }
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Drains histograms; called every [`UPKEEP_INTERVAL`].
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn describe() {
    describe_gauge!(BUILD_INFO, "Always 1; its labels name the version of the running binary.");
    describe_gauge!(BOOT, Unit::Count, "Boot number of the running process: how often this node was started.");
    describe_gauge!(UPTIME_SECONDS, Unit::Seconds, "Seconds since the process started.");
    describe_gauge!(RESIDENT_BYTES, Unit::Bytes, "Resident memory of the process in bytes.");
    describe_gauge!(OPEN_FILES, Unit::Count, "Open file descriptors of the process.");
    describe_gauge!(CERTIFICATE_SECONDS, Unit::Seconds, "Seconds until the node's certificate ends; it is renewed 30 days before.");
}

/// Gives the metrics of every crate their help texts; called once, after [`Metrics::begin`].
pub fn describe_all() {
    skep_raft::metrics::describe();
    skep_api::metrics::describe();
    crate::chunk_io::metrics::describe();
    crate::device_store::metrics::describe();
}

/// Sets what stays the same while the process runs.
pub fn record_start(boot: BootNumber) {
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!(BOOT).set(number(boot.0));
}

/// Sets what the operating system knows of the process.
pub fn record_process(uptime: Duration, certificate_left: time::Duration) {
    gauge!(UPTIME_SECONDS).set(uptime.as_secs_f64());
    gauge!(CERTIFICATE_SECONDS).set(certificate_left.as_seconds_f64());
    if let Some(bytes) = resident_bytes() {
        gauge!(RESIDENT_BYTES).set(number(bytes));
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        gauge!(OPEN_FILES).set(number(u64::try_from(files.count()).unwrap_or(u64::MAX)));
    }
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// A number as a gauge holds it; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]
fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_come_with_help_texts() {
        let metrics = Metrics::begin();
        record_start(BootNumber(3));
        record_process(Duration::from_secs(2), time::Duration::days(90));
        let text = metrics.render();
        for name in [BUILD_INFO, BOOT, UPTIME_SECONDS, RESIDENT_BYTES, OPEN_FILES, CERTIFICATE_SECONDS] {
            assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help text in\n{text}");
        }
        metrics.upkeep();
    }

    /// The sources that name metrics; a new one is put here and its function into [`describe_all`].
    #[test]
    fn every_name_in_the_sources_has_a_help_text() {
        let sources = [
            include_str!("../../raft/src/metrics.rs"),
            include_str!("../../raft/src/log/metrics.rs"),
            include_str!("../../api/src/metrics.rs"),
            include_str!("chunk_io/metrics.rs"),
            include_str!("device_store/metrics.rs"),
        ];
        let metrics = Metrics::begin();
        describe_all();
        let names: Vec<&str> = sources
            .iter()
            .flat_map(|source| source.lines())
            .filter_map(|line| line.split_once(": &str = \"skep_")?.1.strip_suffix("\";"))
            .collect();
        assert!(names.len() > 25, "the test looks at something: {names:?}");
        for name in names {
            let name = format!("skep_{name}");
            // Only what was used is rendered; as whatever it is first used, its family has the text that was given to the name.
            metrics::counter!(name.clone()).absolute(0);
            metrics::gauge!(name.clone()).set(0.0);
            metrics::histogram!(name.clone()).record(0.0);
            assert!(metrics.render().contains(&format!("# HELP {name} ")), "{name} has no help text");
        }
    }

    #[test]
    fn filters_are_checked() {
        check_filter("info,skep_raft=debug").unwrap();
        assert!(check_filter("info,=").unwrap_err().to_string().contains("log filter"));
    }
}
