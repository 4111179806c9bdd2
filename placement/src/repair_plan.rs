//! What has to be done for a chunk that is not as its profile wants it: fill in shards, encode anew, bring home, or wait.
//!
//! Invariants:
//! - A repair stays within one writing and names it; a record that has meanwhile another writing is not touched by it.
//! - A device holds at most one shard of a writing, and shards lie in different failure domains.
//! - A re-encoding is a new writing. It replaces the old one only when all k+m shards are durable, by a command that compares the writing it
//!   replaces; the old shards are deleted only by that command's effect.

use std::collections::{BTreeMap, BTreeSet};

use crate::choose::{Failure, WriteRequest};
use crate::cluster_view::{DeviceState, Domain};
use crate::ids::{DeviceId, Epoch, WriteId};
use crate::layout::Candidates;
use crate::profile::Code;

/// What a chunk's record says about where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkRecord {
    /// The writing that counts.
    pub write: WriteId,
    /// Its code.
    pub code: Code,
    /// The epoch of its placement group that it was written at.
    pub epoch: Epoch,
    /// Length of the chunk, in bytes.
    pub length: u64,
    /// The device of each shard, if it is not at home.
    pub devices: Option<Vec<DeviceId>>,
    /// Shards that are not durable.
    pub missing: Vec<u8>,
}

/// Shards that a repair made durable. It names the writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardsRepaired {
    /// The writing they belong to.
    pub write: WriteId,
    /// Each shard with the device it is on now.
    pub shards: Vec<(u8, DeviceId)>,
}

impl ChunkRecord {
    /// The record after a repair; `None` if the repair is of another writing or names a shard that the code has not. `home` is the set of the
    /// record's epoch.
    pub fn repaired(&self, done: &ShardsRepaired, home: &[DeviceId]) -> Option<Self> {
        if done.write != self.write {
            return None;
        }
        let home = home.get(..usize::from(self.code.total()));
        let mut devices = self.devices.clone().or_else(|| home.map(<[DeviceId]>::to_vec))?;
        let mut missing = self.missing.clone();
        for (index, device) in &done.shards {
            *devices.get_mut(usize::from(*index))? = *device;
            missing.retain(|other| other != index);
        }
        let devices = (Some(devices.as_slice()) != home).then_some(devices);
        Some(Self { devices, missing, ..self.clone() })
    }
}

/// Shards that can be read, with the device of each.
pub type Sources = Vec<(u8, DeviceId)>;

/// What to do for a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairPlan {
    /// It is as it should be.
    Nothing,
    /// Make these shards anew from k others, store them under the same writing, then propose [`ShardsRepaired`].
    Fill {
        /// The writing.
        write: WriteId,
        /// Each shard with the device it shall be on.
        shards: Vec<(u8, DeviceId)>,
        /// Where to read from.
        sources: Sources,
    },
    /// Encode the chunk anew (see [`ReEncoding`]).
    ReEncode {
        /// The writing that is replaced.
        replaces: WriteId,
        /// The new code.
        code: Code,
        /// The device of each new shard.
        devices: Vec<DeviceId>,
        /// Where to read from.
        sources: Sources,
    },
    /// Copy these shards to the home set, then propose [`ShardsRepaired`]. None to copy: only the record's list has to go.
    BringHome {
        /// The writing.
        write: WriteId,
        /// What moves.
        shards: Vec<ShardMove>,
    },
    /// Nothing can be done now.
    Wait(WaitReason),
}

/// A shard that moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardMove {
    /// The shard.
    pub index: u8,
    /// Where it is.
    pub from: DeviceId,
    /// Where it goes.
    pub to: DeviceId,
}

/// Why a repair waits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitReason {
    /// Fewer than k shards can be read: wait for devices to come back.
    #[error("{found} shards can be read, {needed} are needed")]
    TooFewShards {
        /// Shards that can be read.
        found: usize,
        /// Shards needed (k).
        needed: usize,
    },
    /// The profile's code needs more live domains.
    #[error("code {wanted} needs {} failure domains that can be written", wanted.total())]
    TooFewDomains {
        /// The profile's code.
        wanted: Code,
    },
    /// No usable device lies in a domain that holds none of the other shards.
    #[error("no free failure domain for shards {indexes:?}")]
    NoFreeDomain {
        /// The shards without a place.
        indexes: Vec<u8>,
    },
    /// Devices of the home set cannot be written.
    #[error("devices of the home set cannot be written: {devices:?}")]
    HomeNotWritable {
        /// Which.
        devices: Vec<DeviceId>,
    },
    /// The placement group is moving: the mover takes care of what is at home in older sets.
    #[error("the placement group is moving")]
    Moving,
}

/// Decides what to do for a chunk. The request is the one a new writing of the chunk would be made with.
pub fn plan_repair(request: &WriteRequest<'_>, record: &ChunkRecord) -> RepairPlan {
    Repair::of(request, record).plan()
}

/// How many more shards may be lost before the chunk is: the fewer, the more urgent its repair. `None` if it cannot be read now.
pub fn spare_shards(request: &WriteRequest<'_>, record: &ChunkRecord) -> Option<usize> {
    Repair::of(request, record).sources.len().checked_sub(usize::from(record.code.data()))
}

struct Repair<'a> {
    request: &'a WriteRequest<'a>,
    record: &'a ChunkRecord,
    wanted: Code,
    devices: Vec<DeviceId>,
    sources: Sources,
    /// Shards that need a place: missing, lost, or on a device that is being drained and that no move of the group empties.
    displaced: Vec<u8>,
    /// Whether it is at home in a set that the mover is emptying.
    moving: bool,
}

impl<'a> Repair<'a> {
    fn of(request: &'a WriteRequest<'a>, record: &'a ChunkRecord) -> Self {
        let group = request.group;
        let home = if record.epoch >= group.epoch { group.write_set() } else { &group.acting };
        let moving = record.devices.is_none() && record.epoch < group.epoch && !group.is_clean();
        let total = usize::from(record.code.total());
        let devices: Vec<DeviceId> = record.devices.as_deref().unwrap_or(home).iter().copied().take(total).collect();
        let state = |device: DeviceId| request.view.state(device);
        let on = |index: u8| devices.get(usize::from(index)).copied().filter(|_| !record.missing.contains(&index));
        let answers = |device: DeviceId| state(device).is_readable() && request.failures.get(&device) != Some(&Failure::Down);
        let sources: Sources = (0..record.code.total())
            .filter_map(|index| on(index).map(|device| (index, device)))
            .filter(|(_, device)| answers(*device))
            .collect();
        let leaves = |device| match state(device) {
            DeviceState::Lost => true,
            DeviceState::Draining => record.devices.is_some(),
            DeviceState::Up | DeviceState::Down | DeviceState::Full => false,
        };
        let displaced = (0..record.code.total()).filter(|index| on(*index).is_none_or(leaves)).collect();
        Self { request, record, wanted: Code::for_chunk(request.profile, record.length), devices, sources, displaced, moving }
    }

    fn plan(self) -> RepairPlan {
        if self.moving {
            return RepairPlan::Wait(WaitReason::Moving);
        }
        let needed = usize::from(self.record.code.data());
        if self.displaced.is_empty() && self.record.code == self.wanted && self.record.devices.is_none() {
            return RepairPlan::Nothing;
        }
        if self.sources.len() < needed {
            return RepairPlan::Wait(WaitReason::TooFewShards { found: self.sources.len(), needed });
        }
        if self.record.code != self.wanted {
            let layout = Candidates::new(self.request).lay_out(self.wanted, false);
            if let Some(layout) = layout.filter(|layout| layout.code == self.wanted && !layout.uses_slow) {
                return self.re_encode(layout.devices);
            }
        }
        if !self.displaced.is_empty() {
            return self.fill();
        }
        if self.record.code == self.wanted {
            return self.bring_home();
        }
        RepairPlan::Wait(WaitReason::TooFewDomains { wanted: self.wanted })
    }

    fn re_encode(self, devices: Vec<DeviceId>) -> RepairPlan {
        RepairPlan::ReEncode { replaces: self.record.write, code: self.wanted, devices, sources: self.sources }
    }

    fn fill(self) -> RepairPlan {
        let mut used: BTreeSet<Domain<'_>> = BTreeSet::new();
        let mut holders: BTreeSet<DeviceId> = BTreeSet::new();
        for (index, device) in (0_u8..).zip(&self.devices) {
            let stays = !self.displaced.contains(&index);
            used.extend(self.domain_of(*device).filter(|_| stays));
            if !self.record.missing.contains(&index) {
                holders.insert(*device);
            }
        }
        let home = self.request.group.write_set();
        let (mut shards, mut unplaced) = (Vec::new(), Vec::new());
        for index in &self.displaced {
            let place = usize::from(*index);
            let first = self.devices.get(place).into_iter().chain(home.get(place));
            let mut choices = first.chain(self.request.preference).copied().filter(|device| self.takes_shards(*device));
            let free =
                |device: &DeviceId| !holders.contains(device) && self.domain_of(*device).is_some_and(|domain| !used.contains(&domain));
            match choices.find(free) {
                Some(device) => {
                    used.extend(self.domain_of(device));
                    holders.insert(device);
                    shards.push((*index, device));
                }
                None => unplaced.push(*index),
            }
        }
        if shards.is_empty() {
            return RepairPlan::Wait(WaitReason::NoFreeDomain { indexes: unplaced });
        }
        RepairPlan::Fill { write: self.record.write, shards, sources: self.sources }
    }

    fn bring_home(self) -> RepairPlan {
        let Some(home) = self.request.group.write_set().get(..self.devices.len()) else {
            return RepairPlan::Wait(WaitReason::TooFewDomains { wanted: self.wanted });
        };
        let away = || (0_u8..).zip(self.devices.iter().zip(home)).filter(|(_, (from, to))| from != to);
        let closed: Vec<DeviceId> = away().map(|(_, (_, to))| *to).filter(|to| !self.takes_shards(*to)).collect();
        if !closed.is_empty() {
            return RepairPlan::Wait(WaitReason::HomeNotWritable { devices: closed });
        }
        if away().any(|(_, (_, to))| self.devices.contains(to)) {
            // A device of the set holds another shard of this writing; only a new writing can put each in its place.
            let devices = home.to_vec();
            return self.re_encode(devices);
        }
        let shards = away().map(|(index, (from, to))| ShardMove { index, from: *from, to: *to }).collect();
        RepairPlan::BringHome { write: self.record.write, shards }
    }

    fn domain_of(&self, device: DeviceId) -> Option<Domain<'a>> {
        self.request.view.domain_of(device, self.request.profile.domain)
    }

    fn takes_shards(&self, device: DeviceId) -> bool {
        self.request.view.state(device) == DeviceState::Up && !self.request.failures.contains_key(&device)
    }
}

/// A re-encoding under way: a new writing that replaces another.
#[derive(Clone, Debug)]
pub struct ReEncoding {
    replaces: WriteId,
    write: WriteId,
    code: Code,
    devices: Vec<DeviceId>,
    durable: BTreeMap<u8, DeviceId>,
}

/// The command that ends a re-encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replace {
    /// The record must still name this writing.
    pub replaces: WriteId,
    /// The writing to name from then on; every shard of it is durable.
    pub write: WriteId,
    /// Its code.
    pub code: Code,
    /// The device of each shard.
    pub devices: Vec<DeviceId>,
}

/// What became of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplaceOutcome {
    /// The record names the new writing; the old one is on the group's delete list.
    Replaced,
    /// The record names another writing than the one to replace, or the new one began before the collection horizon.
    Refused,
    /// No answer.
    Unknown,
}

impl ReEncoding {
    /// Begins to write the shards of `code` to `devices`, under a write id that was never used.
    ///
    /// # Panics
    /// If the write id is that of the writing to replace, or there is not one device for each shard.
    pub fn begin(replaces: WriteId, write: WriteId, code: Code, devices: Vec<DeviceId>) -> Self {
        assert_ne!(write, replaces, "a re-encoding under the old write id would mix shards of two codes");
        assert_eq!(devices.len(), usize::from(code.total()), "one device for each shard of {code}");
        Self { replaces, write, code, devices, durable: BTreeMap::new() }
    }

    /// Takes note that a shard is durable; of another writing or on another device it does not count.
    pub fn durable(&mut self, write: WriteId, index: u8, device: DeviceId) {
        if write == self.write && self.devices.get(usize::from(index)) == Some(&device) {
            self.durable.insert(index, device);
        }
    }

    /// The command to propose: only when all k+m shards are durable. The chunk has its promised redundancy already, so there is no hurry, and
    /// with fewer it could have less than before.
    pub fn replace(&self) -> Option<Replace> {
        let all = self.durable.len() == self.devices.len();
        let (replaces, write, code) = (self.replaces, self.write, self.code);
        all.then(|| Replace { replaces, write, code, devices: self.devices.clone() })
    }

    /// What the worker deletes after the command: its own new writing if that was refused. Never the old one, and nothing on an unknown answer.
    pub fn delete_after(&self, outcome: ReplaceOutcome) -> Option<(WriteId, &[DeviceId])> {
        match outcome {
            ReplaceOutcome::Refused => Some((self.write, &self.devices)),
            ReplaceOutcome::Replaced | ReplaceOutcome::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{BootNumber, NodeId};

    fn write(counter: u64) -> WriteId {
        WriteId { node: NodeId(1), boot: BootNumber(1), counter }
    }

    fn devices(ids: &[u64]) -> Vec<DeviceId> {
        ids.iter().copied().map(DeviceId).collect()
    }

    #[test]
    fn a_re_encoding_is_committed_with_all_shards_not_with_w() {
        let code: Code = "2+2".parse().unwrap();
        let mut work = ReEncoding::begin(write(1), write(2), code, devices(&[1, 2, 3, 4]));
        for index in 0..3 {
            work.durable(write(2), index, DeviceId(u64::from(index) + 1));
        }
        assert_eq!(code.write_quorum(), 3);
        assert_eq!(work.replace(), None);
        // Shards of the writing that is replaced, and shards elsewhere, are none of it.
        work.durable(write(1), 3, DeviceId(4));
        work.durable(write(2), 3, DeviceId(3));
        work.durable(write(2), 2, DeviceId(3));
        assert_eq!(work.replace(), None);
        work.durable(write(2), 3, DeviceId(4));
        let command = Replace { replaces: write(1), write: write(2), code, devices: devices(&[1, 2, 3, 4]) };
        assert_eq!(work.replace(), Some(command));
    }

    #[test]
    fn a_re_encoding_never_deletes_what_it_replaces() {
        let work = ReEncoding::begin(write(1), write(2), "1+1".parse().unwrap(), devices(&[1, 2]));
        assert_eq!(work.delete_after(ReplaceOutcome::Refused), Some((write(2), devices(&[1, 2]).as_slice())));
        assert_eq!(work.delete_after(ReplaceOutcome::Replaced), None);
        assert_eq!(work.delete_after(ReplaceOutcome::Unknown), None);
    }

    #[test]
    #[should_panic(expected = "mix shards of two codes")]
    fn a_re_encoding_takes_a_new_write_id() {
        drop(ReEncoding::begin(write(1), write(1), "1+1".parse().unwrap(), devices(&[1, 2])));
    }

    #[test]
    fn a_repair_names_the_writing() {
        let code = "2+1".parse().unwrap();
        let record = ChunkRecord { write: write(1), code, epoch: Epoch(1), length: 1 << 20, devices: None, missing: vec![1, 2] };
        let home = devices(&[1, 2, 3]);
        let done = |counter, shards: &[(u8, u64)]| ShardsRepaired {
            write: write(counter),
            shards: shards.iter().map(|(index, device)| (*index, DeviceId(*device))).collect(),
        };
        assert_eq!(record.repaired(&done(2, &[(1, 2)]), &home), None);
        assert_eq!(record.repaired(&done(1, &[(3, 2)]), &home), None);
        let filled = record.repaired(&done(1, &[(1, 2)]), &home).unwrap();
        assert_eq!((filled.devices, filled.missing), (None, vec![2]));
        let elsewhere = record.repaired(&done(1, &[(1, 9), (2, 3)]), &home).unwrap();
        assert_eq!((elsewhere.devices.clone(), elsewhere.missing.clone()), (Some(devices(&[1, 9, 3])), vec![]));
        let back = elsewhere.repaired(&done(1, &[(1, 2)]), &home).unwrap();
        assert_eq!(back.devices, None);
    }
}
