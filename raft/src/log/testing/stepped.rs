//! A log whose writer is driven by the test, so that a run repeats itself.

use std::sync::Arc;

use crate::log::files::LogFiles;
use crate::log::writer::Writer;
use crate::log::{Log, LogError, LogOptions};

/// A log without a thread: its writer does a step when told to.
#[derive(Debug)]
pub struct SteppedLog {
    /// The log.
    pub log: Log,
    writer: Writer,
}

impl SteppedLog {
    /// Opens the log as [`Log::open`] does.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open(options: LogOptions, files: Arc<dyn LogFiles>) -> Result<Self, LogError> {
        let (log, writer) = Log::prepare(options, files)?;
        Ok(Self { log, writer })
    }

    /// Writes one batch of what waits; returns whether anything did.
    ///
    /// # Errors
    /// The log has stopped.
    pub fn step(&mut self) -> Result<bool, LogError> {
        self.writer.step()
    }

    /// Does what the writer does when it is quiet: follows the last batch by an empty one.
    ///
    /// # Errors
    /// The log has stopped.
    pub fn settle(&mut self) -> Result<(), LogError> {
        self.writer.settle()
    }
}
