//! Which devices a placement group lives on: preference lists, device sets, epochs, and the moves between sets.
//!
//! A preference list names every device that is not lost. Domains are ranked by weighted rendezvous (a domain weighs what its devices weigh),
//! devices inside their domain likewise; the list takes the best device of each domain, then the second best of each, and so on; devices
//! being drained come last. So its first k+m devices lie in different domains whenever there are so many.
//! Invariants: a set has no two devices of one domain; a device that stays in a set keeps its position; epochs only grow.

use std::collections::{BTreeMap, BTreeSet};

use crate::chunk::PgCount;
use crate::cluster_view::{ClusterView, Device, Domain};
use crate::ids::{DeviceId, Epoch, PgId, PoolId};
use crate::limits::PAST_SETS_MAX;
use crate::profile::{FailureDomain, Profile};
use crate::rendezvous::{Score, hash_numbers, number_of_name, score};

/// All devices that are not lost and weigh something, best first for this placement group.
pub fn preference_list(view: &ClusterView, group: PgId, domain: FailureDomain) -> Vec<DeviceId> {
    let candidates = || view.devices().filter(|device| device.weight > 0);
    let placed = candidates().filter(|device| device.state.keeps_places());
    let drained = candidates().filter(|device| !device.state.keeps_places() && device.state.is_readable());
    let mut list = ranked(placed, group, domain);
    list.extend(ranked(drained, group, domain));
    list
}

fn ranked<'a>(devices: impl Iterator<Item = &'a Device>, group: PgId, domain: FailureDomain) -> Vec<DeviceId> {
    let mut domains: BTreeMap<Domain<'a>, (u64, Vec<(Score, DeviceId)>)> = BTreeMap::new();
    for device in devices {
        let weight = u64::from(device.weight);
        let (total, members) = domains.entry(device.domain(domain)).or_default();
        *total += weight;
        members.push((score(candidate_hash(group, DEVICE, device.id.0), weight), device.id));
    }
    let mut order: Vec<(Score, Vec<(Score, DeviceId)>)> = Vec::with_capacity(domains.len());
    for (name, (weight, mut members)) in domains {
        members.sort_unstable();
        order.push((score(domain_hash(group, name), weight), members));
    }
    order.sort_unstable();
    let rounds = order.iter().map(|(_, members)| members.len()).max().unwrap_or(0);
    (0..rounds).flat_map(|round| order.iter().filter_map(move |(_, members)| members.get(round))).map(|(_, id)| *id).collect()
}

const DEVICE: u64 = 1;
const DOMAIN_DEVICE: u64 = 2;
const DOMAIN_NODE: u64 = 3;
const DOMAIN_ZONE: u64 = 4;

fn candidate_hash(group: PgId, kind: u64, number: u64) -> u64 {
    hash_numbers(&[group.pool.0, u64::from(group.index), kind, number])
}

fn domain_hash(group: PgId, domain: Domain<'_>) -> u64 {
    match domain {
        Domain::Device(id) => candidate_hash(group, DOMAIN_DEVICE, id.0),
        Domain::Node(id) => candidate_hash(group, DOMAIN_NODE, id.0),
        Domain::Zone(name) => candidate_hash(group, DOMAIN_ZONE, number_of_name(name)),
    }
}

/// The set a placement group should live on: the first device of each of the first k+m domains; fewer if there are fewer domains.
pub fn ideal_set(view: &ClusterView, group: PgId, profile: Profile) -> Vec<DeviceId> {
    let mut used = BTreeSet::new();
    preference_list(view, group, profile.domain)
        .into_iter()
        .filter(|id| view.state(*id).keeps_places())
        .filter(|id| view.domain_of(*id, profile.domain).is_some_and(|domain| used.insert(domain)))
        .take(usize::from(profile.code.total()))
        .collect()
}

/// The ideal set with every device that stays from `current` at its old position; new ones fill the gaps, the one of a leaver's own domain
/// before others. A leaver that nothing replaces keeps its position, so that no other device loses its own.
pub fn next_set(view: &ClusterView, group: PgId, profile: Profile, current: &[DeviceId]) -> Vec<DeviceId> {
    let ideal = ideal_set(view, group, profile);
    let mut newcomers: Vec<DeviceId> = ideal.iter().copied().filter(|id| !current.contains(id)).collect();
    let mut set = current.to_vec();
    let leaves = |id: &DeviceId| current.contains(id) && !ideal.contains(id);
    for place in set.iter_mut().filter(|id| leaves(id)) {
        let domain = view.domain_of(*place, profile.domain);
        let same = newcomers.iter().position(|id| domain.is_some() && view.domain_of(*id, profile.domain) == domain);
        if let Some(found) = same {
            *place = newcomers.remove(found);
        }
    }
    let mut newcomers = newcomers.into_iter();
    for place in set.iter_mut().filter(|id| leaves(id)) {
        *place = newcomers.next().unwrap_or(*place);
    }
    let room = usize::from(profile.code.total()).saturating_sub(set.len());
    set.extend(newcomers.take(room));
    set
}

/// The device sets of one placement group, as the system group records them. The position in a set is the shard index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementGroup {
    /// Raised by every change of the sets.
    pub epoch: Epoch,
    /// The last clean set.
    pub acting: Vec<DeviceId>,
    /// Where the group moves to; new writes go there only.
    pub target: Option<Vec<DeviceId>>,
    /// Targets of moves that were overtaken before they were clean, oldest first.
    pub past: Vec<Vec<DeviceId>>,
}

impl PlacementGroup {
    /// A group that was never moved.
    pub fn new(acting: Vec<DeviceId>) -> Self {
        Self { epoch: Epoch(1), acting, target: None, past: Vec::new() }
    }

    /// The set that new writes go to.
    pub fn write_set(&self) -> &[DeviceId] {
        self.target.as_deref().unwrap_or(&self.acting)
    }

    /// Whether it lives on one set.
    pub fn is_clean(&self) -> bool {
        self.target.is_none() && self.past.is_empty()
    }

    /// Every set since the last clean one, that one first: all that a move must close and list.
    pub fn sets(&self) -> impl Iterator<Item = &[DeviceId]> {
        let first = std::iter::once(self.acting.as_slice());
        first.chain(self.past.iter().map(Vec::as_slice)).chain(self.target.as_deref())
    }

    /// Begins a move to `target`; a move under way is overtaken, its target becomes a past set.
    ///
    /// # Errors
    /// [`MoveRefused`] if the target is the set in force, empty, or too many moves were overtaken already.
    pub fn begin_move(&self, target: Vec<DeviceId>) -> Result<Self, MoveRefused> {
        if target.is_empty() {
            return Err(MoveRefused::Empty);
        }
        if target == self.write_set() {
            return Err(MoveRefused::AlreadyThere);
        }
        if self.past.len() >= PAST_SETS_MAX {
            return Err(MoveRefused::TooManyPastSets);
        }
        let mut past = self.past.clone();
        past.extend(self.target.clone());
        Ok(Self { epoch: Epoch(self.epoch.0 + 1), acting: self.acting.clone(), target: Some(target), past })
    }

    /// Ends the move: the target becomes acting, past sets go. Only once every past set is done (see [`set_is_done`]) and copied.
    #[must_use]
    pub fn finish_move(&self) -> Self {
        let acting = self.write_set().to_vec();
        Self { epoch: Epoch(self.epoch.0 + 1), acting, target: None, past: Vec::new() }
    }
}

/// What one device of a set has done for a move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FenceState {
    /// Has not answered.
    #[default]
    Silent,
    /// Refuses older epochs, durably.
    Fenced,
    /// Was listed by the mover after its fence.
    Listed,
    /// Is declared lost: never to be waited for.
    Lost,
}

/// Whether no write of an older epoch can be acknowledged at home on this set any more.
///
/// `devices` are in the order of the set. For each code the pool writes with, n−w+1 of the n devices it uses must have fenced.
pub fn set_is_closed(profile: Profile, devices: &[FenceState]) -> bool {
    enough(profile, devices, |state| match state {
        FenceState::Fenced | FenceState::Listed => true,
        FenceState::Silent | FenceState::Lost => false,
    })
}

/// Whether the mover has seen every instance acknowledged at home on this set: as [`set_is_closed`], with devices that were listed *after* their
/// fence.
///
/// Devices declared lost are not waited for if every other one has been listed.
pub fn set_is_done(profile: Profile, devices: &[FenceState]) -> bool {
    enough(profile, devices, |state| state == FenceState::Listed)
}

fn enough(profile: Profile, devices: &[FenceState], counts: impl Fn(FenceState) -> bool) -> bool {
    let every_other = devices.iter().all(|state| *state == FenceState::Lost || counts(*state));
    // Whole copies use the first 1+m devices of a set: fences on the others stop no write of theirs.
    every_other
        || [profile.code, profile.code.whole_copies()].into_iter().all(|code| {
            let counted = devices.iter().take(usize::from(code.total())).filter(|state| counts(**state)).count();
            counted >= usize::from(code.fence_quorum())
        })
}

/// The groups of a new pool, in the order of their indexes.
pub fn initial_map(view: &ClusterView, pool: PoolId, profile: Profile) -> Vec<PlacementGroup> {
    (0..PgCount::NEW_POOL.get()).map(|index| PlacementGroup::new(ideal_set(view, PgId { pool, index }, profile))).collect()
}

/// The groups of a pool that is doubled: group i becomes 2i and 2i+1, on the same devices and at the same epoch.
pub fn doubled(map: &[PlacementGroup]) -> Vec<PlacementGroup> {
    map.iter().flat_map(|group| [group.clone(), group.clone()]).collect()
}

/// A move that cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveRefused {
    /// It would go nowhere.
    #[error("a placement group cannot move to no device")]
    Empty,
    /// Nothing to do.
    #[error("the placement group lives on this set already, or moves there")]
    AlreadyThere,
    /// Wait until the move under way is clean.
    #[error("more than {PAST_SETS_MAX} moves of this placement group were overtaken; the one under way must end first")]
    TooManyPastSets,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ClusterBuilder;

    fn profile(text: &str) -> Profile {
        text.parse().unwrap()
    }

    #[test]
    fn preference_lists_are_frozen() {
        let view = ClusterBuilder::nodes(6).devices_per_node(2).zones(3).view();
        let list = |domain: FailureDomain| {
            let group = PgId { pool: PoolId(3), index: 77 };
            preference_list(&view, group, domain).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(list(FailureDomain::Device), "3 11 9 1 2 10 8 12 6 7 5 4");
        assert_eq!(list(FailureDomain::Node), "10 1 7 6 3 11 9 2 8 5 4 12");
        assert_eq!(list(FailureDomain::Zone), "1 11 3 2 6 10 7 12 4 8 5 9");
    }

    #[test]
    fn devices_are_named_by_their_weight_and_a_new_one_takes_only_its_share() {
        let mut view = ClusterBuilder::nodes(12).view();
        let wanted = profile("4+2/node");
        let before = initial_map(&view, PoolId(1), wanted);
        let count = |map: &[PlacementGroup], id| map.iter().filter(|group| group.acting.contains(&DeviceId(id))).count();
        for id in 1..=12 {
            // 1,024 groups × 6 shards over 12 devices.
            assert!(count(&before, id).abs_diff(512) < 60, "device {id}: {}", count(&before, id));
        }
        let mut newcomer = view.device(DeviceId(1)).unwrap().clone();
        (newcomer.id, newcomer.node) = (DeviceId(13), crate::ids::NodeId(13));
        view.insert(newcomer);
        let mut moved = 0;
        for (index, group) in (0..).zip(&before) {
            let next = next_set(&view, PgId { pool: PoolId(1), index }, wanted, &group.acting);
            assert_eq!(next.len(), 6);
            for (old, new) in group.acting.iter().zip(&next).filter(|(old, new)| old != new) {
                assert_eq!(*new, DeviceId(13), "group {index}: {old} went to another than the newcomer");
                moved += 1;
            }
        }
        assert!(473_usize.abs_diff(moved) < 60, "{moved} of 6,144 places moved, its share is 473");
    }

    #[test]
    fn fences_count_by_position_for_each_code() {
        use FenceState::{Fenced, Listed, Lost, Silent};
        let wanted = profile("4+2/node");
        // Two of six close 4+2; whole copies lie on the first three only, two of which must have fenced.
        assert!(!set_is_closed(wanted, &[Silent, Silent, Silent, Silent, Fenced, Fenced]));
        assert!(!set_is_closed(wanted, &[Fenced, Silent, Silent, Silent, Fenced, Fenced]));
        assert!(set_is_closed(wanted, &[Fenced, Silent, Fenced, Silent, Silent, Silent]));
        // Fenced is not listed.
        assert!(!set_is_done(wanted, &[Fenced, Silent, Listed, Silent, Silent, Silent]));
        assert!(set_is_done(wanted, &[Listed, Silent, Listed, Silent, Silent, Silent]));
        // One that died in between does not count, one declared lost is not waited for if every other one was listed.
        assert!(!set_is_done(wanted, &[Lost, Lost, Listed, Listed, Silent, Listed]));
        assert!(set_is_done(wanted, &[Lost, Lost, Listed, Listed, Listed, Listed]));
        // At m = 1 a single fence stops every write at home.
        assert!(set_is_closed(profile("2+1/node"), &[Silent, Fenced, Silent]));
        assert!(!set_is_closed(profile("2+1/node"), &[Silent, Silent, Fenced]));
    }

    #[test]
    fn overtaken_moves_are_limited() {
        let mut group = PlacementGroup::new(vec![DeviceId(1)]);
        assert_eq!(group.begin_move(Vec::new()), Err(MoveRefused::Empty));
        for device in 2..20 {
            match group.begin_move(vec![DeviceId(device)]) {
                Ok(moved) => group = moved,
                Err(fault) => {
                    assert_eq!(fault, MoveRefused::TooManyPastSets);
                    assert_eq!(group.sets().count(), PAST_SETS_MAX + 2);
                    return;
                }
            }
        }
        panic!("no limit");
    }
}
