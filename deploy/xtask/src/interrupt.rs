//! Ctrl-C and SIGTERM: noticed, never acted on here. Whoever waits asks [`Interrupt::requested`] and cleans up.

use crate::fault::Fault;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the person at the terminal wants to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over SIGINT, SIGTERM and SIGHUP for the rest of the process.
    pub(crate) fn install() -> Result<Self, Fault> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&flag))
                .map_err(|cause| Fault::new(format!("cannot watch for Ctrl-C: {cause}")))?;
        }
        Ok(Interrupt(flag))
    }

    /// True from the first signal on.
    pub(crate) fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The error that ends a step which was interrupted.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.requested() { Err(Fault::new("interrupted")) } else { Ok(()) }
    }
}
