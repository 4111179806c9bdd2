//! `device/id`, and `device-nonce/nonce` by which a device folder is known again.

use skep_placement::ids::DeviceId;

use super::state_key;
use crate::wire::meta::v1::DeviceRecord;

state_key!(
    /// A device.
    DeviceKey {
        /// The device.
        device: DeviceId,
    } in Meta, Device holds DeviceRecord
);

state_key!(
    /// The device of a folder's nonce.
    DeviceNonceKey {
        /// What the folder holds.
        nonce: [u8; 16],
    } in Meta, DeviceNonce holds u64
);
