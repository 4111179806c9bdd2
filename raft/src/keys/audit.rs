//! `audit/index/sub`: who changed or was refused what, in commit order.

use super::state_key;
use crate::wire::meta::v1::AuditRecord;

state_key!(
    /// A line of the audit.
    AuditKey {
        /// Of the entry that it was written by.
        index: u64,
        /// Its number in the entry.
        sub: u32,
    } in Meta, Audit holds AuditRecord
);
