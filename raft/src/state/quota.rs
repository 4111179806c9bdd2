//! Quotas: how much may lie below a folder, and how much a datasource may store. Decided where a change is applied, by the sums that it leaves.
//!
//! Invariants: no command that makes a sum grow leaves it over a limit that came with it; what is over already may shrink. What the cluster does by itself to
//! keep what was accepted, as to encode chunks anew, is never refused by a quota, and neither is the way into the recycle bin.

use skep_placement::ids::EntryId;

use crate::keys::LimitsKey;
use crate::state::path::{self, Lookup};
use crate::state::rejection::{Stop, refuse};
use crate::state::transaction::Transaction;
use crate::store::StateError;
use crate::wire::meta::v1::command::What;
use crate::wire::meta::v1::{
    Command, ContentCommand, DatasourceLimits, EntryPath, FolderSums, GroupTotals, QuotaLimit, RejectionCode, content_command,
};

/// What was there before a command, of all that has a limit.
pub(crate) struct Before<'a> {
    folders: Vec<Limited<'a>>,
    datasource: Option<(DatasourceLimits, GroupTotals)>,
}

/// A folder with a limit, and what it held. One that was not there held nothing.
struct Limited<'a> {
    quota: &'a QuotaLimit,
    root: &'a EntryPath,
    was: Option<(EntryId, FolderSums)>,
}

/// Looks before a command.
pub(crate) fn before<'a>(transaction: &Transaction<'_>, command: &'a Command) -> Result<Before<'a>, StateError> {
    let mut folders = Vec::new();
    for quota in &command.quotas {
        let Some(root) = &quota.root else { continue };
        folders.push(Limited { quota, root, was: held(transaction, root)? });
    }
    let limits = if is_own(command) { None } else { transaction.get(&LimitsKey {})? };
    let datasource = limits.map(|limits| (limits, transaction.totals()));
    Ok(Before { folders, datasource })
}

/// Refuses what a command did if it went over a limit.
pub(crate) fn check(transaction: &Transaction<'_>, before: &Before<'_>) -> Result<(), Stop> {
    // To delete into the bin must be possible however full it is, also where that makes the bin.
    let bins = transaction.bins_made();
    for Limited { quota, root, was } in &before.folders {
        let Some((folder, is)) = held(transaction, root)? else { continue };
        let was = was.filter(|(before, _)| *before == folder).map_or_else(FolderSums::default, |(_, sums)| sums);
        over(is.bytes, was.bytes, quota.bytes_max, &quota.name, "bytes")?;
        over(entries(&is).saturating_sub(bins), entries(&was), quota.entries_max, &quota.name, "entries")?;
    }
    if let Some((limits, was)) = &before.datasource {
        let is = transaction.totals();
        over(is.stored_bytes, was.stored_bytes, limits.stored_bytes_max, "the datasource", "stored bytes")?;
        over(is.entries.saturating_sub(bins), was.entries, limits.entries_max, "the datasource", "entries")?;
    }
    Ok(())
}

/// Whether the cluster itself does this with chunks that it has accepted before.
fn is_own(command: &Command) -> bool {
    use content_command::What as Content;
    let Some(What::Content(ContentCommand { what: Some(what) })) = &command.what else { return false };
    match what {
        Content::OpenUpload(_) | Content::AppendUpload(_) | Content::RenewUpload(_) | Content::AbortUpload(_) => false,
        Content::ShardRepaired(_)
        | Content::Reencoded(_)
        | Content::ReportDamage(_)
        | Content::AdvanceHorizon(_)
        | Content::ExpireUploads(_)
        | Content::QueueRepairs(_) => true,
    }
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

/// The folder at the root of a quota and what it holds; none while it is not there.
fn held(transaction: &Transaction<'_>, root: &EntryPath) -> Result<Option<(EntryId, FolderSums)>, StateError> {
    let Ok(base) = EntryId::try_from(root.base.as_ref()) else { return Ok(None) };
    let Lookup::Found(located) = path::look_up(transaction.state(), base, &root.names)? else { return Ok(None) };
    let sums = transaction.sums(located.entry)?.unwrap_or_default();
    Ok(Some((located.entry, sums)))
}
