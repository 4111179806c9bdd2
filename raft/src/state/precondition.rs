//! Conditions of a change, decided where it is applied.

use crate::state::path::Located;
use crate::state::rejection::{Stop, refuse};
use crate::state::transaction::Transaction;
use crate::state::{entry, lock};
use crate::wire::meta::v1::{Precondition, RejectionCode};

/// Checks every part of a condition that is set; `existing` is what the path names now, `folder` the one that it is or would be in, where it is known.
pub(crate) fn check(
    transaction: &Transaction<'_>,
    condition: Option<&Precondition>,
    existing: Option<&Located>,
    folder: Option<&Located>,
) -> Result<(), Stop> {
    let Some(condition) = condition else { return Ok(()) };
    if condition.fence != 0 {
        lock::check_fence(transaction, condition.fence, existing, folder)?;
    }
    let Some(existing) = existing else {
        let wants_one = condition.must_exist || !condition.etags_any.is_empty() || condition.unmodified_since != 0;
        return if wants_one { Err(failed("there is no such entry")) } else { Ok(()) };
    };
    if condition.must_not_exist {
        return Err(failed("there is such an entry already"));
    }
    if !condition.etags_any.is_empty() || !condition.etags_none.is_empty() {
        let etag = entry::etag(transaction.state(), existing)?;
        if !condition.etags_any.is_empty() && !condition.etags_any.contains(&etag) {
            return Err(failed(format!("the entry has the ETag {etag} now")));
        }
        if condition.etags_none.contains(&etag) {
            return Err(failed(format!("the entry still has the ETag {etag}")));
        }
    }
    if condition.unmodified_since != 0 && existing.current.mtime / 1_000_000 > condition.unmodified_since {
        return Err(failed("the entry was modified since"));
    }
    Ok(())
}

fn failed(detail: impl Into<String>) -> Stop {
    refuse(RejectionCode::PreconditionFailed, detail)
}
