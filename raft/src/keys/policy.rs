//! `policy/id`: which versions of files are kept.

use skep_placement::ids::RecordId;

use super::state_key;
use crate::wire::meta::v1::VersioningPolicyRecord;

state_key!(
    /// A versioning policy.
    PolicyKey {
        /// Its id.
        policy: RecordId,
    } in Meta, Policy holds VersioningPolicyRecord
);
