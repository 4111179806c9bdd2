//! What the figures were taken on.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// Syncs that are timed.
const SYNCS: u32 = 200;

/// A machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Memory, GiB.
    pub memory_gib: f64,
    /// The kernel's release.
    pub kernel: String,
    /// File system that the clusters are on.
    pub file_system: String,
    /// Median time of an fdatasync of 4 KiB that overwrite, milliseconds.
    pub sync_ms: f64,
}

impl Machine {
    /// Looks at this one; clusters will be below `folder`.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn look(folder: &Path) -> Result<Self, Fault> {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let sync_ms = sync_ms(folder).map_err(|error| Fault::io("write in", folder.display(), error))?;
        Ok(Self {
            cpu: value(&text("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory_gib(&text("/proc/meminfo")),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(&text("/proc/mounts"), &folder.canonicalize().unwrap_or_default()),
            sync_ms,
        })
    }

    /// In one line.
    pub fn line(&self) -> String {
        let Self { cpu, cores, memory_gib, kernel, file_system, sync_ms } = self;
        format!("{cores} cores of {cpu}, {memory_gib:.0} GiB, Linux {kernel}, {file_system}, fdatasync of 4 KiB {sync_ms:.2} ms")
    }
}

fn value(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory_gib(meminfo: &str) -> f64 {
    let kib = value(meminfo, "MemTotal").and_then(|text| text.trim_end_matches("kB").trim().parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1_048_576.0
}

/// The type of the mount whose folder is the longest that holds the path.
fn file_system(mounts: &str, path: &Path) -> String {
    let fields = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (device, folder, kind) = (fields.next()?, fields.next()?, fields.next()?);
        path.starts_with(folder).then(|| (folder.len(), format!("{kind} on {device}")))
    });
    fields.max_by_key(|(length, _)| *length).map_or_else(|| "unknown file system".to_owned(), |(_, text)| text)
}

fn sync_ms(folder: &Path) -> std::io::Result<f64> {
    let path = folder.join("sync-probe");
    let file = File::create(&path)?;
    let block = [7; 4096];
    file.write_all_at(&block, 0)?;
    file.sync_all()?;
    let mut times = Vec::new();
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all_at(&block, 0)?;
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    fs::remove_file(path)?;
    times.sort_by(f64::total_cmp);
    Ok(crate::measure::median(&times).unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Machine, file_system, memory_gib, value};

    #[test]
    fn the_kernels_texts_are_read() {
        assert_eq!(value("model name\t: A B\n", "model name").as_deref(), Some("A B"));
        assert!((memory_gib("MemTotal:       2097152 kB\n") - 2.0).abs() < 1e-9);
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/home/x")), "ext4 on /dev/a");
        assert_eq!(file_system(mounts, Path::new("/run/x")), "tmpfs on tmpfs");
    }

    #[test]
    fn this_machine_has_cores() {
        let machine = Machine::look(tempfile::tempdir().unwrap().path()).unwrap();
        assert!(machine.cores > 0 && machine.sync_ms > 0.0 && machine.line().contains("Linux"));
    }
}
