//! `pool/id`.

use skep_placement::ids::PoolId;

use super::state_key;
use crate::wire::meta::v1::PoolRecord;

state_key!(
    /// A pool.
    PoolKey {
        /// The pool.
        pool: PoolId,
    } in Meta, Pool holds PoolRecord
);
