//! What processes cost, as the kernel counts it: CPU time, memory, bytes written to devices.

use std::fs;
use std::ops::Sub;

/// The unit of CPU times in `/proc`; the same on every Linux that user space sees. Source: proc(5), `sysconf(_SC_CLK_TCK)`.
const TICKS_PER_SECOND: f64 = 100.0;

/// Counters of a set of processes, summed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counters {
    /// User and system time of all threads, seconds.
    pub cpu_seconds: f64,
    /// Bytes sent to the block layer, those given back before they were written subtracted.
    pub written_bytes: u64,
}

impl Sub for Counters {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            cpu_seconds: (self.cpu_seconds - before.cpu_seconds).max(0.0),
            written_bytes: self.written_bytes.saturating_sub(before.written_bytes),
        }
    }
}

/// Reads the counters of processes; one that is gone counts nothing.
pub fn counters(pids: &[u32]) -> Counters {
    let mut sum = Counters::default();
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        sum.cpu_seconds += cpu_seconds(&stat).unwrap_or(0.0);
        sum.written_bytes += written_bytes(&io).unwrap_or(0);
    }
    sum
}

/// Sets the peak of resident memory of processes back to what they use now; needs the same user or root.
pub fn reset_peaks(pids: &[u32]) {
    for pid in pids {
        // Where it is refused the peak stays that since the start, which is no smaller.
        let _refused = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

/// The largest peak of resident memory among processes, bytes.
pub fn peak_resident_bytes(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| status_bytes(*pid, "VmHWM:")).max().unwrap_or(0)
}

/// The largest resident memory among processes now, bytes.
pub fn resident_bytes(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| status_bytes(*pid, "VmRSS:")).max().unwrap_or(0)
}

fn status_bytes(pid: u32, field: &str) -> Option<u64> {
    kibibytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, field)
}

fn kibibytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Fields 14 and 15; the command before them is in parentheses and may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_pid_and_command, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u32>().ok()?.checked_add(fields.next()?.parse().ok()?)?;
    Some(f64::from(ticks) / TICKS_PER_SECOND)
}

fn written_bytes(io: &str) -> Option<u64> {
    let value = |name: &str| io.lines().find_map(|line| line.strip_prefix(name))?.trim().parse::<u64>().ok();
    Some(value("write_bytes:")?.saturating_sub(value("cancelled_write_bytes:").unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::{counters, cpu_seconds, kibibytes, written_bytes};

    #[test]
    fn the_kernels_texts_are_read() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 100 1 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(written_bytes("rchar: 1\nwrite_bytes: 8192\ncancelled_write_bytes: 4096\n"), Some(4096));
        assert_eq!(kibibytes("VmPeak:\t 9 kB\nVmHWM:\t     12 kB\n", "VmHWM:"), Some(12 * 1024));
    }

    #[test]
    fn this_process_has_counters_and_a_dead_one_none() {
        assert!(super::resident_bytes(&[std::process::id()]) > 0);
        assert_eq!(counters(&[u32::MAX]).written_bytes, 0);
    }
}
