//! Where a reader looks for shards, and what it does when an instance is not there.
//!
//! Invariant: a reader never puts shards of two instances together; it asks by (chunk, write id, index), and goes on with another instance
//! only from a manifest it fetched anew.

use std::collections::BTreeSet;

use crate::ids::{DeviceId, WriteId};
use crate::placement_map::PlacementGroup;
use crate::profile::Code;

/// Which devices may hold each shard of an instance, best first.
///
/// `list` is the record's device list, if it has one: then only that counts. Else come acting, target and past sets (newest first), each
/// by position, and at last the preference list.
pub fn read_order(code: Code, list: Option<&[DeviceId]>, group: &PlacementGroup, preference: &[DeviceId]) -> Vec<Vec<DeviceId>> {
    let places = 0..usize::from(code.total());
    if let Some(list) = list {
        return places.map(|index| list.get(index).copied().into_iter().collect()).collect();
    }
    let sets: Vec<&[DeviceId]> =
        std::iter::once(group.acting.as_slice()).chain(group.target.as_deref()).chain(group.past.iter().rev().map(Vec::as_slice)).collect();
    places
        .map(|index| {
            let homes = sets.iter().filter_map(|set| set.get(index));
            let mut seen = BTreeSet::new();
            homes.chain(preference).copied().filter(|device| seen.insert(*device)).collect()
        })
        .collect()
}

/// What a reader does that found fewer than k shards of an instance and fetched the manifest anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterMiss {
    /// The manifest names another instance: read that one. As often as this happens.
    Read(WriteId),
    /// The manifest names what was missing, or the content is gone: cut the connection. Never wrong bytes, never a clean short end.
    Cut,
}

/// Decides it from the writing that was missed and the one the manifest names now.
pub fn after_miss(missed: WriteId, named_now: Option<WriteId>) -> AfterMiss {
    match named_now {
        Some(write) if write != missed => AfterMiss::Read(write),
        Some(_) | None => AfterMiss::Cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{BootNumber, NodeId};

    #[test]
    fn a_reader_goes_on_as_long_as_the_manifest_names_another_instance() {
        let write = |counter| WriteId { node: NodeId(1), boot: BootNumber(1), counter };
        let mut missed = write(0);
        for counter in 1..10 {
            assert_eq!(after_miss(missed, Some(write(counter))), AfterMiss::Read(write(counter)));
            missed = write(counter);
        }
        assert_eq!(after_miss(missed, Some(missed)), AfterMiss::Cut);
        assert_eq!(after_miss(missed, None), AfterMiss::Cut);
    }
}
