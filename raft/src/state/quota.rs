//! Quotas: how much may lie below a folder, and how much a datasource may store. Decided where a change is applied, by the sums that it leaves.
//!
//! Invariant: no command that makes a sum grow leaves it over a limit that came with it. What is over already may shrink.

use skep_placement::ids::EntryId;

use crate::keys::{LimitsKey, SumsKey};
use crate::state::path::{self, Lookup};
use crate::state::rejection::{Stop, refuse};
use crate::state::transaction::Transaction;
use crate::store::StateError;
use crate::wire::meta::v1::{DatasourceLimits, FolderSums, QuotaLimit, RejectionCode};

/// What was there before a command, of all that has a limit.
pub(crate) struct Before<'a> {
    folders: Vec<(EntryId, FolderSums, &'a QuotaLimit)>,
    datasource: Option<(DatasourceLimits, u64, u64)>,
}

/// Looks before a command.
pub(crate) fn before<'a>(transaction: &Transaction<'_>, quotas: &'a [QuotaLimit]) -> Result<Before<'a>, StateError> {
    let mut folders = Vec::new();
    for quota in quotas {
        let Some((base, path)) = quota.root.as_ref().and_then(|path| Some((EntryId::try_from(path.base.as_ref()).ok()?, path))) else {
            continue;
        };
        // A folder that is made by the command itself is empty before it.
        if let Lookup::Found(located) = path::look_up(transaction.state(), base, &path.names)? {
            folders.push((located.entry, sums(transaction, located.entry)?, quota));
        }
    }
    let datasource = match transaction.get(&LimitsKey {})? {
        Some(limits) => {
            let totals = transaction.totals()?;
            Some((limits, totals.stored_bytes, totals.entries))
        }
        None => None,
    };
    Ok(Before { folders, datasource })
}

/// Refuses what a command did if it went over a limit.
pub(crate) fn check(transaction: &Transaction<'_>, before: &Before<'_>) -> Result<(), Stop> {
    for (folder, was, quota) in &before.folders {
        let is = sums(transaction, *folder)?;
        over(is.bytes, was.bytes, quota.bytes_max, &quota.name, "bytes")?;
        over(entries(&is), entries(was), quota.entries_max, &quota.name, "entries")?;
    }
    if let Some((limits, stored, entries)) = &before.datasource {
        let totals = transaction.totals()?;
        over(totals.stored_bytes, *stored, limits.stored_bytes_max, "the datasource", "stored bytes")?;
        over(totals.entries, *entries, limits.entries_max, "the datasource", "entries")?;
    }
    Ok(())
}

fn over(is: u64, was: u64, most: u64, whose: &str, what: &str) -> Result<(), Stop> {
    if most == 0 || is <= most || is <= was {
        return Ok(());
    }
    Err(refuse(RejectionCode::QuotaExceeded, format!("{whose} would hold {is} {what}; its quota is {most}, of which {was} are used")))
}

fn entries(sums: &FolderSums) -> u64 {
    sums.files.saturating_add(sums.folders)
}

fn sums(transaction: &Transaction<'_>, folder: EntryId) -> Result<FolderSums, StateError> {
    Ok(transaction.get(&SumsKey { folder })?.unwrap_or_default())
}
