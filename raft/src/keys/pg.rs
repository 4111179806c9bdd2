//! `pg/pool/index`: the device sets of a placement group.

use skep_placement::ids::PoolId;

use super::state_key;
use crate::wire::meta::v1::PgRecord;

state_key!(
    /// A placement group.
    PgKey {
        /// The pool.
        pool: PoolId,
        /// Its number in the pool.
        index: u32,
    } in Meta, Pg holds PgRecord
);
