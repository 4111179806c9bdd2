//! Ends this process at a named point of the write path, for tests of what is left behind. Compiled in by the feature `failpoints` only.
//!
//! `SKEP_FAILPOINTS=name:hits,…` kills the process, as `kill -9` does, when the point is reached for that time.

/// Every failpoint of the write path, from the code that has them.
pub fn all() -> Vec<&'static str> {
    skep_raft::log::FAILPOINTS.iter().chain(crate::device_store::FAILPOINTS).copied().collect()
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
    use std::sync::atomic::{AtomicU64, Ordering};

    let Ok(armed) = std::env::var("SKEP_FAILPOINTS") else { return Ok(()) };
    for part in armed.split(',').filter(|part| !part.is_empty()) {
        let (name, hits) = part.split_once(':').ok_or_else(|| format!("SKEP_FAILPOINTS: {part} is not name:hits"))?;
        let hits: u64 = hits.parse().map_err(|_no_number| format!("SKEP_FAILPOINTS: {hits} is no number"))?;
        if !all().contains(&name) {
            return Err(format!("SKEP_FAILPOINTS: there is no failpoint {name}; there are {}", all().join(", ")));
        }
        let left = AtomicU64::new(hits.max(1));
        let end = move || {
            if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                let _ended = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            }
        };
        fail::cfg_callback(name, end).map_err(|error| format!("SKEP_FAILPOINTS: {error}"))?;
    }
    Ok(())
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
