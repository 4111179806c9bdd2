//! The memory that a process takes, from `/proc`.

use std::cell::Cell;
use std::fs;

/// Watches one process.
#[derive(Debug)]
pub struct Memory {
    pid: i32,
    base: Cell<u64>,
}

impl Memory {
    /// Of a process.
    pub fn of(pid: i32) -> Self {
        Self { pid, base: Cell::new(0) }
    }

    /// From here on the highest value counts.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn begin(&self) {
        // 5 resets the highest resident size. Source: Linux `Documentation/filesystems/proc.rst`.
        fs::write(format!("/proc/{}/clear_refs", self.pid), "5").expect("the process is ours");
        self.base.set(self.field("VmRSS"));
    }

    /// Highest resident bytes since the beginning, above those at the beginning.
    pub fn extra(&self) -> u64 {
        self.field("VmHWM").saturating_sub(self.base.get())
    }

    fn field(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the process runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("the kernel says it");
        line.split_whitespace().nth(1).and_then(|kibibytes| kibibytes.parse::<u64>().ok()).expect("a number of KiB") << 10
    }
}
