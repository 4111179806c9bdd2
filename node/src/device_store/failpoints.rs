//! Names of the failpoints of the device store; each ends or disturbs the process at one step of the order
//! "write, sync, index, acknowledge" when the feature `failpoints` is compiled in.

/// Before the first byte of a record is written.
pub(super) const BEFORE_WRITE: &str = "device-before-write";
/// After a batch is written, before its fdatasync.
pub(super) const BEFORE_SYNC: &str = "device-before-sync";
/// After the fdatasync, before the batch is in the index.
pub(super) const BEFORE_INDEX: &str = "device-before-index";
/// After the batch is in the index, before anyone is answered.
pub(super) const BEFORE_ACKNOWLEDGE: &str = "device-before-acknowledge";
/// After a new segment is written under its temporary name, before it is renamed.
pub(super) const SEGMENT_CREATION: &str = "device-segment-creation";
/// After a deletion is durable, before the payload is punched.
pub(super) const DELETE: &str = "device-delete";

/// Every failpoint of this module.
pub const FAILPOINTS: &[&str] = &[BEFORE_WRITE, BEFORE_SYNC, BEFORE_INDEX, BEFORE_ACKNOWLEDGE, SEGMENT_CREATION, DELETE];

/// The fdatasync that tests leave out to see that they would notice. It lies.
pub const SKIP_SYNC: &str = "device-skip-sync";
