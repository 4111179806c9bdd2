//! `delete/stamp/instance`: instances that devices are to delete, oldest first.

use skep_placement::ids::{InstanceId, Stamp};

use super::state_key;
use crate::wire::meta::v1::DeleteRecord;

state_key!(
    /// An instance on the delete list.
    DeleteKey {
        /// When it came on the list.
        since: Stamp,
        /// The instance.
        instance: InstanceId,
    } in Data, Delete holds DeleteRecord
);
