//! Devices come, are drained, are lost.
//!
//! Invariant: the id of a lost device is closed for ever.

use skep_placement::ids::{DeviceId, NodeId};
use skep_placement::limits::DEVICES_MAX;

use super::{cluster, node};
use crate::keys::{DeviceKey, DeviceNonceKey};
use crate::state::rejection::{Stop, id, invalid, refuse, required, text};
use crate::state::transaction::Transaction;
use crate::state::{limits, read};
use crate::wire::meta::v1::{AddDevice, DeviceRecord, DeviceState, Done, RejectionCode, SetDeviceState};

/// Adds a device; a folder that was added before keeps its id.
pub(super) fn add(transaction: &mut Transaction<'_>, command: &AddDevice) -> Result<Done, Stop> {
    let device = required(command.device.as_ref(), "device")?;
    node::existing(transaction, NodeId(device.node))?;
    let nonce = id(&command.nonce, "nonce")?;
    let Some(known) = transaction.get(&DeviceNonceKey { nonce })? else {
        let number = create(transaction, device.clone(), Some(&command.nonce))?;
        return Ok(Done { number, created: true, ..Done::default() });
    };
    let record = read::expect(transaction.state(), &DeviceKey { device: DeviceId(known) })?;
    if record.node != device.node {
        return Err(refuse(RejectionCode::Forbidden, format!("device {known} belongs to node {}", record.node)));
    }
    Ok(Done { number: known, ..Done::default() })
}

/// Writes a device under the next id.
pub(super) fn create(transaction: &mut Transaction<'_>, device: DeviceRecord, nonce: Option<&[u8]>) -> Result<u64, Stop> {
    if device.weight == 0 || u32::try_from(device.weight).is_err() {
        return Err(invalid(format!("a device of weight {}; it has 1 to {} GiB", device.weight, u32::MAX)));
    }
    text(&device.label, "label of the device", limits::TEXT_BYTES_MAX)?;
    let number = cluster::next(transaction, |cluster| &mut cluster.next_device)?;
    if number > u64::try_from(DEVICES_MAX).unwrap_or(u64::MAX) {
        return Err(refuse(RejectionCode::LimitReached, format!("the cluster has had {DEVICES_MAX} devices, its limit")));
    }
    if let Some(nonce) = nonce {
        let key = DeviceNonceKey { nonce: id(nonce, "nonce")? };
        if transaction.get(&key)?.is_some() {
            return Err(invalid("two devices have one nonce"));
        }
        transaction.put(&key, &number);
    }
    let record = DeviceRecord { id: number, state: DeviceState::Active.into(), added_at: transaction.stamp(), ..device };
    transaction.put(&DeviceKey { device: DeviceId(number) }, &record);
    Ok(number)
}

/// Drains a device, takes it back, or declares it lost.
pub(super) fn set_state(transaction: &mut Transaction<'_>, command: &SetDeviceState) -> Result<Done, Stop> {
    let key = DeviceKey { device: DeviceId(command.device) };
    let record = transaction.get(&key)?;
    let mut record = record.ok_or_else(|| refuse(RejectionCode::NotFound, format!("there is no device {}", command.device)))?;
    let state = DeviceState::try_from(command.state).unwrap_or_default();
    if state == DeviceState::Unspecified {
        return Err(invalid("no state for the device"));
    }
    if record.state == i32::from(DeviceState::Lost) && state != DeviceState::Lost {
        return Err(refuse(RejectionCode::Stale, format!("device {} was declared lost; it comes back under a new id", command.device)));
    }
    record.state = state.into();
    transaction.put(&key, &record);
    Ok(Done { number: command.device, ..Done::default() })
}
