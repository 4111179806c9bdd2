//! The write rule: which shard of a chunk goes where, when the chunk is acknowledged, and what happens when a device fails meanwhile.
//!
//! [`WritePlan`] is a state machine without I/O. It is told what was made durable and what failed, and answers what to do. Invariants:
//! - A chunk is acknowledged only with w shards of *one* writing durable on w different failure domains.
//! - A writing is one code and one write id. Whatever changes the code, or would send a device another shard than it was sent, takes a new
//!   write id; what was made durable under the old one never counts again.
//! - A device that failed is not used again by the plan, and what it answers later does not count: its domain may be in use elsewhere.
//! - After `StaleEpoch` a shard counts only in its place of the new set, or when it was accepted again under the new epoch.
//!
//! Not decided here: how long is waited (the caller says `Slow` by the clock), and what is deleted when the answer to a commit is unknown
//! (nothing). After the acknowledgement the plan only says which late shards arrived; what stays missing is the repair queue's.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster_view::ClusterView;
use crate::ids::{DeviceId, Epoch, WriteId};
use crate::layout::{Candidates, Layout};
use crate::placement_map::PlacementGroup;
use crate::profile::{Code, FailureDomain, Profile};

/// Why a device is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// Refused the connection, broke it, or is believed dead.
    Down,
    /// Said that it has no room.
    Full,
    /// Slower than max(1 s, 4 × the placement group's p99). Still used where otherwise nothing could be written.
    Slow,
}

/// All that a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct WriteRequest<'a> {
    /// The pool's profile.
    pub profile: Profile,
    /// Length of the chunk, in bytes.
    pub length: u64,
    /// Whether fewer than 1+m live domains are answered by spreading over devices instead of by a refusal.
    pub degraded_to_devices: bool,
    /// The sets of the chunk's placement group.
    pub group: &'a PlacementGroup,
    /// The preference list of the chunk's placement group (see [`crate::placement_map::preference_list`]).
    pub preference: &'a [DeviceId],
    /// The devices.
    pub view: &'a ClusterView,
    /// What this node believes of devices at this moment, beyond the view.
    pub failures: &'a BTreeMap<DeviceId, Failure>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A device has made a shard durable.
    Durable {
        /// The writing it belongs to.
        write: WriteId,
        /// The shard.
        index: u8,
        /// Where it is.
        device: DeviceId,
        /// The epoch it was sent with.
        epoch: Epoch,
    },
    /// A device failed; all shards that were sent there are concerned.
    Failed {
        /// Which.
        device: DeviceId,
        /// How.
        failure: Failure,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send a shard.
    Send {
        /// The writing.
        write: WriteId,
        /// The shard.
        index: u8,
        /// Where to.
        device: DeviceId,
        /// The epoch of the placement group to send it with.
        epoch: Epoch,
    },
    /// w shards are durable: the commit may be proposed. Comes once. Who lingers a little takes [`WritePlan::placed`] anew.
    Acknowledge(Placed),
    /// A shard became durable after the acknowledgement: if the commit named it missing, propose "shard repaired" for this writing.
    Late {
        /// The writing.
        write: WriteId,
        /// The shard.
        index: u8,
    },
    /// Delete the abandoned writing on the devices it was sent to, encode with the code, and go on under the new write id with the
    /// `Send`s that follow.
    Restart {
        /// The writing that is given up.
        abandoned: WriteId,
        /// Where it was sent to.
        delete_from: Vec<DeviceId>,
        /// The new writing.
        write: WriteId,
        /// Its code.
        code: Code,
    },
    /// A replaced device has a shard after all; delete this writing there, nobody will name it.
    Discard {
        /// The writing.
        write: WriteId,
        /// Where it is.
        device: DeviceId,
    },
    /// Nothing can be written: refuse with 503 and this reason. Nothing was acknowledged. Ends the plan.
    Unavailable(Unavailable),
}

/// Where the shards of a writing are, as a commit names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The writing.
    pub write: WriteId,
    /// Its code.
    pub code: Code,
    /// The epoch of the placement group it was written at.
    pub epoch: Epoch,
    /// The device of each shard, in the order of the indexes.
    pub devices: Vec<DeviceId>,
    /// Whether these are the first devices of the set at that epoch and the code is the profile's; else the record keeps the list.
    pub at_home: bool,
    /// Shards that are not durable yet: the repair queue.
    pub missing: Vec<u8>,
}

/// Why nothing can be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{live} failure domains ({domain}) can be written, {needed} are needed")]
pub struct Unavailable {
    /// Domains that can be written.
    pub live: usize,
    /// Domains needed at least (1+m).
    pub needed: usize,
    /// What counts as a domain.
    pub domain: FailureDomain,
    /// Devices of the set that cannot be written.
    pub out: Vec<DeviceId>,
    /// A writing that was begun, and the devices it was sent to: delete it there.
    pub abandoned: Option<(WriteId, Vec<DeviceId>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shard {
    device: DeviceId,
    durable: bool,
    /// Its device failed after the acknowledgement: it is the repair queue's.
    given_up: bool,
}

impl Shard {
    fn on(device: DeviceId) -> Self {
        Self { device, durable: false, given_up: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Writing,
    Acknowledged,
    Refused,
}

/// The writing of one chunk, from its first shard to its last.
#[derive(Clone, Debug)]
pub struct WritePlan {
    wanted: Code,
    degraded_to_devices: bool,
    candidates: Candidates,
    epoch: Epoch,
    write: WriteId,
    code: Code,
    domain: FailureDomain,
    shards: Vec<Shard>,
    /// Every device that was sent something under the present write id, and which shard.
    sent: BTreeMap<DeviceId, u8>,
    phase: Phase,
}

impl WritePlan {
    /// Plans a writing under `write`; the decisions are what to do first.
    pub fn begin(request: &WriteRequest<'_>, write: WriteId) -> (Self, Vec<Decision>) {
        let wanted = Code::for_chunk(request.profile, request.length);
        let mut plan = Self {
            wanted,
            degraded_to_devices: request.degraded_to_devices,
            candidates: Candidates::new(request),
            epoch: request.group.epoch,
            write,
            code: wanted,
            domain: request.profile.domain,
            shards: Vec::new(),
            sent: BTreeMap::new(),
            phase: Phase::Writing,
        };
        let decisions = match plan.candidates.lay_out(wanted, plan.degraded_to_devices) {
            Some(layout) => plan.adopt(layout),
            None => vec![plan.refuse()],
        };
        (plan, decisions)
    }

    /// Takes an event; `fresh` gives a write id that was never used, and is asked only for a [`Decision::Restart`].
    pub fn handle(&mut self, event: Event, fresh: &mut dyn FnMut() -> WriteId) -> Vec<Decision> {
        match event {
            Event::Durable { write, index, device, epoch } if write == self.write => self.durable(index, device, epoch),
            Event::Durable { .. } => Vec::new(),
            Event::Failed { device, failure } => self.failed(device, failure, fresh),
        }
    }

    /// Takes newer sets after a shard was refused with `StaleEpoch`; the request is for the same chunk.
    ///
    /// Shards in their place of the new set stay; the others are sent again, under the same write id unless a device would be sent another
    /// shard than before. With sets that are not newer nothing happens: then the device knows more than this node, who has to read the sets
    /// again. After the acknowledgement nothing changes: w devices accepted the writing before any fence.
    pub fn refresh(&mut self, request: &WriteRequest<'_>, fresh: &mut dyn FnMut() -> WriteId) -> Vec<Decision> {
        if self.phase != Phase::Writing || request.group.epoch <= self.epoch {
            return Vec::new();
        }
        let mut candidates = Candidates::new(request);
        candidates.remember(&self.candidates);
        self.candidates = candidates;
        self.epoch = request.group.epoch;
        let Some(layout) = self.candidates.lay_out(self.wanted, self.degraded_to_devices) else { return vec![self.refuse()] };
        let moves_within = |(index, device): (u8, &DeviceId)| self.sent.get(device).is_some_and(|sent| *sent != index);
        if layout.code != self.code || layout.domain != self.domain || (0..).zip(&layout.devices).any(moves_within) {
            return self.restart(layout, fresh);
        }
        let mut decisions = Vec::new();
        for (index, (shard, device)) in (0_u8..).zip(self.shards.iter_mut().zip(layout.devices)) {
            let in_place = shard.device == device && self.candidates.is_home(index, device);
            if in_place && shard.durable {
                continue;
            }
            *shard = Shard::on(device);
            self.sent.insert(device, index);
            decisions.push(Decision::Send { write: self.write, index, device, epoch: self.epoch });
        }
        decisions.extend(self.acknowledgement());
        decisions
    }

    /// The write id in force.
    pub fn write(&self) -> WriteId {
        self.write
    }

    /// The code in force.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The failure domain in force; `Device` where the datasource allows degraded writes and the profile's domains are too few.
    pub fn domain(&self) -> FailureDomain {
        self.domain
    }

    /// Where the shards are now.
    pub fn placed(&self) -> Placed {
        let devices: Vec<DeviceId> = self.shards.iter().map(|shard| shard.device).collect();
        let at_home = self.code == self.wanted && (0..).zip(&devices).all(|(index, device)| self.candidates.is_home(index, *device));
        let missing = (0..).zip(&self.shards).filter(|(_, shard)| !shard.durable).map(|(index, _)| index).collect();
        Placed { write: self.write, code: self.code, epoch: self.epoch, devices, at_home, missing }
    }

    /// Whether the chunk may be committed.
    pub fn is_acknowledged(&self) -> bool {
        self.phase == Phase::Acknowledged
    }

    /// Whether nothing more can happen: every shard is durable or its device failed, or the plan was refused.
    pub fn is_over(&self) -> bool {
        match self.phase {
            Phase::Writing => false,
            Phase::Acknowledged => self.shards.iter().all(|shard| shard.durable || shard.given_up),
            Phase::Refused => true,
        }
    }

    fn durable(&mut self, index: u8, device: DeviceId, epoch: Epoch) -> Vec<Decision> {
        let write = self.write;
        let accepted = epoch == self.epoch || self.candidates.is_home(index, device);
        match self.shards.get_mut(usize::from(index)) {
            Some(shard) if shard.device == device && (shard.durable || !accepted) => return Vec::new(),
            Some(shard) if shard.device == device => shard.durable = true,
            Some(_) if self.sent.get(&device) == Some(&index) => return vec![Decision::Discard { write, device }],
            Some(_) | None => return Vec::new(),
        }
        match self.phase {
            Phase::Writing => self.acknowledgement().into_iter().collect(),
            Phase::Acknowledged => vec![Decision::Late { write, index }],
            Phase::Refused => Vec::new(),
        }
    }

    fn failed(&mut self, device: DeviceId, failure: Failure, fresh: &mut dyn FnMut() -> WriteId) -> Vec<Decision> {
        if self.phase != Phase::Writing {
            let given_up = failure != Failure::Slow;
            self.shards.iter_mut().filter(|shard| shard.device == device).for_each(|shard| shard.given_up |= given_up);
            return Vec::new();
        }
        self.candidates.exclude(device, failure);
        let concerned =
            (0_u8..).zip(&self.shards).find(|(_, shard)| shard.device == device && !(shard.durable && failure == Failure::Slow));
        let Some((index, _)) = concerned else { return Vec::new() };
        // A durable shard on a device that died before the acknowledgement counts no more: w−k *further* losses are promised.
        if let Some(substitute) = self.substitute(device, false) {
            return vec![self.send(index, substitute)];
        }
        match (self.candidates.lay_out(self.wanted, self.degraded_to_devices), failure) {
            (Some(layout), Failure::Down | Failure::Full) if layout.code == self.code && layout.domain == self.domain => {
                match self.substitute(device, true) {
                    Some(substitute) => vec![self.send(index, substitute)],
                    None => self.restart(layout, fresh),
                }
            }
            // Nothing better than to wait for a slow device.
            (Some(layout), Failure::Slow) if layout.uses_slow => Vec::new(),
            (None, Failure::Slow) => Vec::new(),
            (Some(layout), _) => self.restart(layout, fresh),
            (None, Failure::Down | Failure::Full) => vec![self.refuse()],
        }
    }

    /// The next device of the preference list in a domain that no other shard is in, and that this writing was not sent to.
    fn substitute(&self, failed: DeviceId, slow_too: bool) -> Option<DeviceId> {
        let others = self.shards.iter().map(|shard| shard.device).filter(|device| *device != failed);
        self.candidates.substitute(self.domain, others, &self.sent, slow_too)
    }

    fn send(&mut self, index: u8, device: DeviceId) -> Decision {
        let shard = self.shards.get_mut(usize::from(index)).expect("an index of this writing's shards");
        *shard = Shard::on(device);
        self.sent.insert(device, index);
        Decision::Send { write: self.write, index, device, epoch: self.epoch }
    }

    fn adopt(&mut self, layout: Layout) -> Vec<Decision> {
        self.code = layout.code;
        self.domain = layout.domain;
        self.shards = layout.devices.iter().map(|device| Shard::on(*device)).collect();
        self.sent = layout.devices.iter().copied().zip(0..).collect();
        let (write, epoch) = (self.write, self.epoch);
        (0..).zip(layout.devices).map(|(index, device)| Decision::Send { write, index, device, epoch }).collect()
    }

    fn restart(&mut self, layout: Layout, fresh: &mut dyn FnMut() -> WriteId) -> Vec<Decision> {
        let abandoned = self.write;
        let delete_from = self.sent.keys().copied().collect();
        let write = fresh();
        assert_ne!(write, abandoned, "a write id was drawn twice: shards of different codes would be mixed");
        self.write = write;
        let sends = self.adopt(layout);
        let mut decisions = vec![Decision::Restart { abandoned, delete_from, write, code: self.code }];
        decisions.extend(sends);
        decisions
    }

    fn refuse(&mut self) -> Decision {
        self.phase = Phase::Refused;
        let sent: Vec<DeviceId> = std::mem::take(&mut self.sent).into_keys().collect();
        let abandoned = (!sent.is_empty()).then_some((self.write, sent));
        Decision::Unavailable(self.candidates.shortage(self.wanted, self.degraded_to_devices, abandoned))
    }

    fn acknowledgement(&mut self) -> Option<Decision> {
        let durable: Vec<DeviceId> = self.shards.iter().filter(|shard| shard.durable).map(|shard| shard.device).collect();
        let domains: BTreeSet<u32> = durable.iter().filter_map(|device| self.candidates.domain_number(*device, self.domain)).collect();
        if domains.len() < usize::from(self.code.write_quorum()) {
            return None;
        }
        self.phase = Phase::Acknowledged;
        Some(Decision::Acknowledge(self.placed()))
    }
}
