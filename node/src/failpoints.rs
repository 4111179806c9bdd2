//! Ends this process at a named point of the write path, for tests of what is left behind. Compiled in by the feature `failpoints` only.
//!
//! `SKEP_FAILPOINTS=name:hits,…` kills the process, as `kill -9` does, when the point is reached for that time. `name:on` leaves out the sync
//! of that name: a node that lies, by which the tests of power cuts show that they would notice. A sync that fails does so from that time on.

/// Every failpoint of the write path, of repair and of recovery, from the code that has them.
pub fn all() -> Vec<&'static str> {
    let parts = [
        skep_raft::log::FAILPOINTS,
        skep_raft::consensus::FAILPOINTS,
        skep_raft::consensus::RECOVERY_FAILPOINTS,
        crate::device_store::FAILPOINTS,
        crate::chunk_io::FAILPOINTS,
    ];
    parts.concat()
}

/// The sync that can be made to fail.
pub const FAILABLE_SYNC: &str = skep_raft::log::FAIL_SYNC;

/// Every sync that can be left out.
pub const fn skippable_syncs() -> [&'static str; 2] {
    [skep_raft::log::SKIP_SYNC, crate::device_store::SKIP_SYNC]
}

/// Whether this build has them.
pub const fn are_compiled_in() -> bool {
    cfg!(feature = "failpoints")
}

/// Arms what the environment names.
///
/// # Errors
/// A sentence if the variable is malformed or names no failpoint of this build.
#[cfg(feature = "failpoints")]
pub fn arm() -> Result<(), String> {
    let Ok(armed) = std::env::var("SKEP_FAILPOINTS") else { return Ok(()) };
    for part in armed.split(',').filter(|part| !part.is_empty()) {
        let (name, hits) = part.split_once(':').ok_or_else(|| format!("SKEP_FAILPOINTS: {part} is not name:hits"))?;
        if skippable_syncs().contains(&name) {
            tracing::warn!(name, "a sync is left out: this node loses what it acknowledged when the power goes");
            fail::cfg(name, "return").map_err(|error| format!("SKEP_FAILPOINTS: {error}"))?;
            continue;
        }
        let hits: u64 = hits.parse().map_err(|_no_number| format!("SKEP_FAILPOINTS: {hits} is no number"))?;
        if name == FAILABLE_SYNC {
            let good = hits.saturating_sub(1);
            fail::cfg(name, &format!("{good}*off->return")).map_err(|error| format!("SKEP_FAILPOINTS: {error}"))?;
            continue;
        }
        if !all().contains(&name) {
            return Err(format!("SKEP_FAILPOINTS: there is no failpoint {name}; there are {}", all().join(", ")));
        }
        end_at(name, hits)?;
    }
    Ok(())
}

/// Ends the process when it comes to a point for that time.
#[cfg(feature = "failpoints")]
fn end_at(name: &str, hits: u64) -> Result<(), String> {
    use std::sync::atomic::{AtomicU64, Ordering};

    let left = AtomicU64::new(hits.max(1));
    let end = move || {
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let _ended = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    };
    fail::cfg_callback(name, end).map_err(|error| format!("SKEP_FAILPOINTS: {error}"))
}

/// Refuses to run with armed failpoints that this build does not have.
///
/// # Errors
/// A sentence if the environment names failpoints.
#[cfg(not(feature = "failpoints"))]
pub fn arm() -> Result<(), String> {
    match std::env::var_os("SKEP_FAILPOINTS") {
        None => Ok(()),
        Some(_armed) => {
            Err("SKEP_FAILPOINTS is set, and this build has no failpoints: unset it, or build with --features failpoints".into())
        }
    }
}
