//! Finds devices for all shards of a writing at once: home where it can be written, else by preference, each in a domain of its own.
//!
//! Invariant: a [`Layout`] names k+m devices of k+m different domains, with the m that was asked for and a k that is never larger.

use std::collections::{BTreeMap, BTreeSet};

use crate::choose::{Failure, Unavailable, WriteRequest};
use crate::cluster_view::DeviceState;
use crate::ids::{DeviceId, WriteId};
use crate::profile::{Code, FailureDomain};

/// A code and the device of each of its shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) code: Code,
    pub(crate) domain: FailureDomain,
    pub(crate) devices: Vec<DeviceId>,
    /// Whether it was found only with devices believed slow.
    pub(crate) uses_slow: bool,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    device: DeviceId,
    /// The number of its failure domain among those of the view.
    domain: u32,
    /// Its number among the devices: the domain when devices count.
    own: u32,
    draining: bool,
}

/// The devices that a chunk can be written to, in the order of preference, and its home.
#[derive(Clone, Debug)]
pub(crate) struct Candidates {
    profile_domain: FailureDomain,
    home: Vec<DeviceId>,
    preferred: Vec<Candidate>,
    by_device: BTreeMap<DeviceId, Candidate>,
    out: BTreeMap<DeviceId, Failure>,
}

impl Candidates {
    pub(crate) fn new(request: &WriteRequest<'_>) -> Self {
        let home = request.group.write_set().to_vec();
        let mut numbers = BTreeMap::new();
        let mut by_device = BTreeMap::new();
        let mut preferred = Vec::new();
        for id in request.preference.iter().chain(&home) {
            let Some(device) = request.view.device(*id) else { continue };
            if by_device.contains_key(id) || !device.state.is_writable() {
                continue;
            }
            let next = u32::try_from(numbers.len()).expect("fewer domains than devices, whose number is limited");
            let domain = *numbers.entry(device.domain(request.profile.domain)).or_insert(next);
            let own = u32::try_from(by_device.len()).expect("the number of devices is limited");
            let candidate = Candidate { device: *id, domain, own, draining: device.state == DeviceState::Draining };
            by_device.insert(*id, candidate);
            preferred.push(candidate);
        }
        // A device being drained is a last resort away from home.
        preferred.sort_by_key(|candidate| candidate.draining);
        Self { profile_domain: request.profile.domain, home, preferred, by_device, out: request.failures.clone() }
    }

    /// Keeps what an older plan of the same chunk learnt of devices.
    pub(crate) fn remember(&mut self, older: &Candidates) {
        for (device, failure) in &older.out {
            self.exclude(*device, *failure);
        }
    }

    /// Passes a device over from now on. What is worse stays: a slow device can still die, a dead one is not merely slow.
    pub(crate) fn exclude(&mut self, device: DeviceId, failure: Failure) {
        let worst = self.out.entry(device).or_insert(failure);
        *worst = (*worst).min(failure);
    }

    pub(crate) fn is_home(&self, index: u8, device: DeviceId) -> bool {
        self.home.get(usize::from(index)) == Some(&device)
    }

    pub(crate) fn domain_number(&self, device: DeviceId, domain: FailureDomain) -> Option<u32> {
        self.by_device.get(&device).map(|candidate| self.number(candidate, domain))
    }

    /// The best layout there is: without slow devices before with them, over the profile's domains before over devices.
    pub(crate) fn lay_out(&self, wanted: Code, degraded_to_devices: bool) -> Option<Layout> {
        let domains = [Some(self.profile_domain), degraded_to_devices.then_some(FailureDomain::Device)];
        let mut ways = domains.into_iter().flatten().flat_map(|domain| [(domain, false), (domain, true)]);
        ways.find_map(|(domain, slow_too)| {
            let code = wanted.shrunk_to(self.live_domains(domain, slow_too))?;
            let devices = self.devices_for(code, code == wanted, domain, slow_too)?;
            Some(Layout { code, domain, devices, uses_slow: slow_too })
        })
    }

    /// The first usable device in a domain of its own that was sent nothing of this writing.
    pub(crate) fn substitute(
        &self,
        domain: FailureDomain,
        others: impl Iterator<Item = DeviceId>,
        sent: &BTreeMap<DeviceId, u8>,
        slow_too: bool,
    ) -> Option<DeviceId> {
        let used: BTreeSet<u32> = others.filter_map(|device| self.domain_number(device, domain)).collect();
        let free = |candidate: &&Candidate| !used.contains(&self.number(candidate, domain)) && !sent.contains_key(&candidate.device);
        self.usable(slow_too).find(free).map(|candidate| candidate.device)
    }

    /// What a refusal says.
    pub(crate) fn shortage(&self, wanted: Code, degraded_to_devices: bool, abandoned: Option<(WriteId, Vec<DeviceId>)>) -> Unavailable {
        let domain = if degraded_to_devices { FailureDomain::Device } else { self.profile_domain };
        let out = self.home.iter().copied().filter(|device| !self.by_device.get(device).is_some_and(|found| self.is_usable(found, true)));
        Unavailable {
            live: self.live_domains(domain, true),
            needed: usize::from(wanted.domains_min()),
            domain,
            out: out.collect(),
            abandoned,
        }
    }

    /// Home in its place first (only where the code is the profile's: positions are shard indexes), the rest by preference.
    fn devices_for(&self, code: Code, at_home: bool, domain: FailureDomain, slow_too: bool) -> Option<Vec<DeviceId>> {
        let total = usize::from(code.total());
        let mut used = BTreeSet::new();
        let mut places: Vec<Option<DeviceId>> = vec![None; total];
        let home = self.home.iter().filter_map(|device| self.by_device.get(device).filter(|found| self.is_usable(found, slow_too)));
        if at_home {
            for (place, id) in places.iter_mut().zip(&self.home) {
                let candidate = self.by_device.get(id).filter(|found| self.is_usable(found, slow_too));
                *place = candidate.filter(|found| used.insert(self.number(found, domain))).map(|found| found.device);
            }
        }
        let taken: BTreeSet<DeviceId> = places.iter().copied().flatten().collect();
        // A shrunk code keeps to the set's devices where it can, so that less has to move when it is encoded anew.
        let in_set = home.filter(|candidate| !at_home && !candidate.draining);
        let rest: Vec<&Candidate> = in_set.chain(self.usable(slow_too)).filter(|candidate| !taken.contains(&candidate.device)).collect();
        let mut rest = rest.into_iter();
        for place in &mut places {
            if place.is_none() {
                *place = rest.find(|candidate| used.insert(self.number(candidate, domain))).map(|candidate| candidate.device);
            }
        }
        places.into_iter().collect()
    }

    fn live_domains(&self, domain: FailureDomain, slow_too: bool) -> usize {
        self.usable(slow_too).map(|candidate| self.number(candidate, domain)).collect::<BTreeSet<u32>>().len()
    }

    fn usable(&self, slow_too: bool) -> impl Iterator<Item = &Candidate> {
        // Devices believed slow come after all others, then in the order of preference.
        let quick = self.preferred.iter().filter(|candidate| self.is_usable(candidate, false));
        let slow = self.preferred.iter().filter(move |candidate| slow_too && self.out.get(&candidate.device) == Some(&Failure::Slow));
        quick.chain(slow)
    }

    fn is_usable(&self, candidate: &Candidate, slow_too: bool) -> bool {
        match self.out.get(&candidate.device) {
            None => true,
            Some(Failure::Slow) => slow_too,
            Some(Failure::Down | Failure::Full) => false,
        }
    }

    fn number(&self, candidate: &Candidate, domain: FailureDomain) -> u32 {
        if domain == self.profile_domain { candidate.domain } else { candidate.own }
    }
}
