//! Properties of the codec, the write rule, the map and the repair plan under chance.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use skep_placement::checksum::{ShardAddress, block_checksums, verify_blocks};
use skep_placement::choose::{Decision, Event, Failure, Placed, WritePlan, WriteRequest};
use skep_placement::cluster_view::{ClusterView, DeviceState};
use skep_placement::erasure::{decode, encode, reconstruct_shards, shard_length, shard_ranges};
use skep_placement::ids::{BootNumber, DeviceId, Epoch, NodeId, PgId, PoolId, WriteId};
use skep_placement::invariants::{check_domains, check_placed};
use skep_placement::placement_map::{PlacementGroup, ideal_set, preference_list};
use skep_placement::profile::{Code, FailureDomain, Profile};
use skep_placement::repair_plan::{ChunkRecord, RepairPlan, ShardsRepaired, plan_repair};
use skep_placement::testing::ClusterBuilder;

fn codes() -> impl Strategy<Value = Code> {
    (1..=10_u8, 0..=4_u8).prop_map(|(data, parity)| Code::new(data, parity).expect("small enough"))
}

/// A code, a payload, and at most m shards that are gone.
fn losses() -> impl Strategy<Value = (Code, Vec<u8>, BTreeSet<u8>)> {
    let payload = prop::collection::vec(any::<u8>(), 1..5000);
    codes().prop_flat_map(move |code| {
        let gone = prop::collection::btree_set(0..code.total(), 0..=usize::from(code.parity()));
        (Just(code), payload.clone(), gone)
    })
}

fn without(shards: &[Vec<u8>], gone: &BTreeSet<u8>) -> Vec<Option<Vec<u8>>> {
    (0_u8..).zip(shards).map(|(index, shard)| (!gone.contains(&index)).then(|| shard.clone())).collect()
}

proptest! {
    #[test]
    fn any_m_shards_may_be_gone((code, payload, gone) in losses()) {
        let shards = encode(code, &payload);
        prop_assert_eq!(shards.len(), usize::from(code.total()));
        prop_assert!(shards.iter().all(|shard| shard.len() == shard_length(code, payload.len())));
        prop_assert_eq!(decode(code, payload.len(), without(&shards, &gone)).expect("enough"), payload);
    }

    #[test]
    fn a_range_of_a_gone_shard_comes_from_that_range_of_the_others((code, payload, gone) in losses(), cut in any::<(u16, u16)>()) {
        let shards = encode(code, &payload);
        let length = shard_length(code, payload.len());
        let (first, last) = (usize::from(cut.0) % length, usize::from(cut.1) % length);
        let range = first.min(last)..first.max(last) + 1;
        let pieces: Vec<Vec<u8>> = shards.iter().map(|shard| shard[range.clone()].to_vec()).collect();
        let wanted: Vec<u8> = gone.iter().copied().collect();
        let made = reconstruct_shards(code, &wanted, without(&pieces, &gone)).expect("enough");
        let whole = reconstruct_shards(code, &wanted, without(&shards, &gone)).expect("enough");
        for (index, (made, whole)) in wanted.iter().zip(made.iter().zip(&whole)) {
            prop_assert_eq!(made, &pieces[usize::from(*index)]);
            prop_assert_eq!(whole, &shards[usize::from(*index)]);
        }
    }

    #[test]
    fn one_shard_more_gone_is_an_error(code in codes(), payload in prop::collection::vec(any::<u8>(), 1..100)) {
        let shards = encode(code, &payload);
        let gone: BTreeSet<u8> = (0..=code.parity()).collect();
        prop_assert!(decode(code, payload.len(), without(&shards, &gone)).is_err());
    }

    #[test]
    fn ranges_of_data_shards_are_the_range_of_the_payload((code, payload, _) in losses(), cut in any::<(u16, u16)>()) {
        let shards = encode(code, &payload);
        let (first, last) = (usize::from(cut.0) % payload.len(), usize::from(cut.1) % payload.len());
        let range = first.min(last)..first.max(last) + 1;
        let mut read = Vec::new();
        for part in shard_ranges(code, payload.len(), range.clone()) {
            read.extend_from_slice(&shards[usize::from(part.index)][part.range]);
        }
        prop_assert_eq!(&read[..], &payload[range]);
    }

    #[test]
    fn a_changed_byte_fails_its_checksum(shard in prop::collection::vec(any::<u8>(), 1..200_000), place in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let address = ShardAddress { write: write_id(9), index: 3 };
        let checksums = block_checksums(address, &shard);
        prop_assert!(verify_blocks(address, 0, &shard, &checksums).is_ok());
        let mut changed = shard;
        let place = place.index(changed.len());
        changed[place] ^= flip;
        let fault = verify_blocks(address, 0, &changed, &checksums).expect_err("one byte differs");
        prop_assert_eq!(usize::try_from(fault.block).expect("small"), place / 65_536);
    }

    #[test]
    fn a_preference_list_names_each_device_once_and_domains_first(cluster in clusters(), index in 0..1024_u32, domain in domains()) {
        let view = cluster.view();
        let group = PgId { pool: PoolId(1), index };
        let list = preference_list(&view, group, domain);
        let devices: BTreeSet<DeviceId> = list.iter().copied().collect();
        prop_assert_eq!(devices.len(), list.len());
        prop_assert_eq!(list.len(), view.devices().count());
        let count = view.devices().map(|device| device.domain(domain)).collect::<BTreeSet<_>>().len();
        prop_assert!(check_domains(&view, domain, &list[..count]).is_ok());
    }

    #[test]
    fn a_device_that_goes_changes_nothing_among_the_others(cluster in clusters(), index in 0..1024_u32, gone in any::<prop::sample::Index>()) {
        let mut view = cluster.view();
        let group = PgId { pool: PoolId(1), index };
        let mut before = preference_list(&view, group, FailureDomain::Device);
        let gone = before[gone.index(before.len())];
        view.set_state(gone, DeviceState::Down);
        prop_assert_eq!(&preference_list(&view, group, FailureDomain::Device), &before);
        view.set_state(gone, DeviceState::Lost);
        before.retain(|device| *device != gone);
        prop_assert_eq!(preference_list(&view, group, FailureDomain::Device), before);
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn the_write_rule_holds(setup in setups(), steps in prop::collection::vec(steps(), 0..60)) {
        let mut world = World::begin(&setup);
        for step in steps {
            world.step(step);
        }
        world.end();
    }

    #[test]
    fn repairs_end_at_home(setup in setups(), steps in prop::collection::vec(steps(), 0..30)) {
        let mut world = World::begin(&setup);
        for step in steps {
            world.step(step);
        }
        world.end();
        if let Some(placed) = world.acknowledged.take() {
            world.repair(&placed);
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Cluster {
    nodes: u64,
    devices: u64,
    zones: u64,
}

impl Cluster {
    fn view(self) -> ClusterView {
        ClusterBuilder::nodes(self.nodes).devices_per_node(self.devices).zones(self.zones).view()
    }
}

fn clusters() -> impl Strategy<Value = Cluster> {
    (1..9_u64, 1..4_u64, 1..5_u64).prop_map(|(nodes, devices, zones)| Cluster { nodes, devices, zones })
}

fn domains() -> impl Strategy<Value = FailureDomain> {
    prop_oneof![Just(FailureDomain::Device), Just(FailureDomain::Node), Just(FailureDomain::Zone)]
}

#[derive(Clone, Debug)]
struct Setup {
    cluster: Cluster,
    profile: Profile,
    length: u64,
    degraded: bool,
    group: u32,
}

fn setups() -> impl Strategy<Value = Setup> {
    let profile = ((1..5_u8, 0..4_u8), domains())
        .prop_map(|((data, parity), domain)| Profile { code: Code::new(data, parity).expect("small enough"), domain });
    (clusters(), profile, prop_oneof![Just(5000_u64), Just(1 << 20)], any::<bool>(), 0..1024_u32)
        .prop_map(|(cluster, profile, length, degraded, group)| Setup { cluster, profile, length, degraded, group })
}

#[derive(Clone, Debug)]
enum Step {
    Deliver(prop::sample::Index),
    /// A device answers what it has answered already.
    Repeat(prop::sample::Index),
    Fail(prop::sample::Index, Failure),
    /// The placement group moves: the devices of the preference list from this place on.
    Move(usize),
}

fn steps() -> impl Strategy<Value = Step> {
    let failure = prop_oneof![Just(Failure::Down), Just(Failure::Full), Just(Failure::Slow)];
    prop_oneof![
        6 => any::<prop::sample::Index>().prop_map(Step::Deliver),
        1 => any::<prop::sample::Index>().prop_map(Step::Repeat),
        2 => (any::<prop::sample::Index>(), failure).prop_map(|(device, failure)| Step::Fail(device, failure)),
        1 => (0..8_usize).prop_map(Step::Move),
    ]
}

fn write_id(counter: u64) -> WriteId {
    WriteId { node: NodeId(1), boot: BootNumber(1), counter }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sent {
    write: WriteId,
    index: u8,
    device: DeviceId,
    epoch: Epoch,
}

/// Everything around a plan, with a memory of its own to judge it by.
struct World {
    setup: Setup,
    view: ClusterView,
    group_id: PgId,
    group: PlacementGroup,
    plan: WritePlan,
    counter: u64,
    in_flight: Vec<Sent>,
    answered: Vec<Sent>,
    failed: BTreeMap<DeviceId, Failure>,
    codes: BTreeMap<WriteId, Code>,
    index_of: BTreeMap<(WriteId, DeviceId), u8>,
    acknowledged: Option<Placed>,
    refused: bool,
}

impl World {
    fn begin(setup: &Setup) -> Self {
        let view = setup.cluster.view();
        let group_id = PgId { pool: PoolId(1), index: setup.group };
        let group = PlacementGroup::new(ideal_set(&view, group_id, setup.profile));
        let preference = preference_list(&view, group_id, setup.profile.domain);
        let none = BTreeMap::new();
        let request = request(setup, &group, &preference, &view, &none);
        let (plan, decisions) = WritePlan::begin(&request, write_id(1));
        let codes = BTreeMap::from([(write_id(1), plan.code())]);
        let mut world = World {
            setup: setup.clone(),
            view,
            group_id,
            group,
            plan,
            counter: 1,
            in_flight: Vec::new(),
            answered: Vec::new(),
            failed: BTreeMap::new(),
            codes,
            index_of: BTreeMap::new(),
            acknowledged: None,
            refused: false,
        };
        world.decided(decisions);
        world
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Deliver(which) if !self.in_flight.is_empty() => {
                let sent = self.in_flight.remove(which.index(self.in_flight.len()));
                self.deliver(sent);
            }
            Step::Repeat(which) if !self.answered.is_empty() => {
                let sent = self.answered[which.index(self.answered.len())];
                self.deliver(sent);
            }
            Step::Fail(which, failure) => {
                let devices: Vec<DeviceId> = self.view.devices().map(|device| device.id).collect();
                let device = devices[which.index(devices.len())];
                let worst = self.failed.entry(device).or_insert(failure);
                *worst = (*worst).min(failure);
                self.event(Event::Failed { device, failure });
            }
            Step::Move(skip) => self.move_group(skip),
            Step::Deliver(_) | Step::Repeat(_) => {}
        }
    }

    fn deliver(&mut self, sent: Sent) {
        // A device may answer although it is believed dead; such an answer must not count.
        self.answered.push(sent);
        let Sent { write, index, device, epoch } = sent;
        self.event(Event::Durable { write, index, device, epoch });
    }

    fn move_group(&mut self, skip: usize) {
        let preference = preference_list(&self.view, self.group_id, self.setup.profile.domain);
        let total = usize::from(self.setup.profile.code.total());
        let mut used = BTreeSet::new();
        let rotated = preference.iter().cycle().skip(skip).take(preference.len());
        let target: Vec<DeviceId> =
            rotated.filter(|device| used.insert(self.view.domain_of(**device, self.setup.profile.domain))).take(total).copied().collect();
        let Ok(moved) = self.group.begin_move(target) else { return };
        self.group = moved;
        let request = request(&self.setup, &self.group, &preference, &self.view, &self.failed);
        let counter = &mut self.counter;
        let decisions = self.plan.refresh(&request, &mut || {
            *counter += 1;
            write_id(*counter)
        });
        self.decided(decisions);
    }

    fn event(&mut self, event: Event) {
        let counter = &mut self.counter;
        let decisions = self.plan.handle(event, &mut || {
            *counter += 1;
            write_id(*counter)
        });
        self.decided(decisions);
    }

    fn decided(&mut self, decisions: Vec<Decision>) {
        for decision in decisions {
            assert!(!self.refused, "{decision:?} after a refusal");
            match decision {
                Decision::Send { write, index, device, epoch } => self.sent(Sent { write, index, device, epoch }),
                Decision::Acknowledge(placed) => self.acknowledge(placed),
                Decision::Late { write, index } => {
                    let placed = self.acknowledged.as_ref().expect("late is after the acknowledgement");
                    assert_eq!(placed.write, write, "a late shard of another writing");
                    assert!(placed.missing.contains(&index), "a late shard that was not named missing");
                }
                Decision::Restart { abandoned, delete_from, write, code } => {
                    assert!(self.acknowledged.is_none(), "a restart after the acknowledgement");
                    assert!(self.codes.insert(write, code).is_none(), "write id {write} was used before");
                    let sent_to: Vec<DeviceId> =
                        self.index_of.keys().filter(|(write, _)| *write == abandoned).map(|(_, device)| *device).collect();
                    assert_eq!(delete_from, sent_to, "what is deleted is not what was sent");
                    assert_eq!(code.parity(), self.setup.profile.code.parity(), "m must stay");
                }
                Decision::Discard { write, device } => {
                    let placed = self.plan.placed();
                    assert!(placed.write != write || !placed.devices.contains(&device), "a shard in use is discarded");
                }
                Decision::Unavailable(reason) => {
                    self.refused = true;
                    assert!(reason.live < reason.needed, "refused with {} of {} domains", reason.live, reason.needed);
                    let domain = if self.setup.degraded { FailureDomain::Device } else { self.setup.profile.domain };
                    assert_eq!(reason.live, self.live_domains(domain), "domains that live were not counted");
                }
            }
        }
    }

    fn live_domains(&self, domain: FailureDomain) -> usize {
        let dead = |device: &DeviceId| matches!(self.failed.get(device), Some(Failure::Down | Failure::Full));
        let live = self.view.devices().filter(|device| !dead(&device.id));
        live.map(|device| device.domain(domain)).collect::<BTreeSet<_>>().len()
    }

    fn sent(&mut self, sent: Sent) {
        assert!(self.acknowledged.is_none(), "{sent:?} after the acknowledgement");
        assert_eq!(sent.epoch, self.group.epoch, "sent with an old epoch");
        let failure = self.failed.get(&sent.device);
        assert!(!matches!(failure, Some(Failure::Down | Failure::Full)), "{sent:?} to a device that is {failure:?}");
        let index = self.index_of.entry((sent.write, sent.device)).or_insert(sent.index);
        assert_eq!(*index, sent.index, "a device was sent two shards of one writing");
        self.in_flight.push(sent);
    }

    fn acknowledge(&mut self, placed: Placed) {
        assert!(self.acknowledged.is_none(), "acknowledged twice");
        assert_eq!(self.codes.get(&placed.write), Some(&placed.code), "a writing has one code");
        check_placed(&self.view, self.plan.domain(), &placed).expect("may be acknowledged");
        if self.plan.domain() != self.setup.profile.domain {
            assert!(self.setup.degraded, "spread over devices without leave");
            let slow_or_dead = self.live_domains(self.setup.profile.domain);
            assert!(slow_or_dead < usize::from(placed.code.domains_min()), "spread over devices without need");
        }
        for (index, device) in (0_u8..).zip(&placed.devices).filter(|(index, _)| !placed.missing.contains(index)) {
            // Answered for this writing, under the epoch in force or in its place of the set in force.
            let in_place = self.group.write_set().get(usize::from(index)) == Some(device);
            let counts = |sent: &&Sent| (sent.write, sent.index, sent.device) == (placed.write, index, *device);
            let answer = self.answered.iter().filter(counts).any(|sent| in_place || sent.epoch == self.group.epoch);
            assert!(answer, "shard {index} counts and was never made durable where it counts");
            assert!(!matches!(self.failed.get(device), Some(Failure::Down | Failure::Full)), "shard {index} is on a failed device");
        }
        let durable = placed.devices.len() - placed.missing.len();
        let spare = usize::from(placed.code.write_quorum() - placed.code.data());
        assert!(durable - spare >= usize::from(placed.code.data()), "w−k losses would lose the chunk");
        self.acknowledged = Some(placed);
    }

    /// All that is under way arrives where devices live: then there is an end.
    fn end(&mut self) {
        while let Some(sent) = self.in_flight.pop() {
            // Devices that have fenced refuse what is stale.
            if !matches!(self.failed.get(&sent.device), Some(Failure::Down | Failure::Full)) && sent.epoch == self.group.epoch {
                self.deliver(sent);
            }
        }
        assert!(self.refused || self.acknowledged.is_some(), "neither acknowledged nor refused");
    }

    /// With every device back, repairs bring the chunk home in a few rounds.
    fn repair(&mut self, placed: &Placed) {
        self.group = self.group.finish_move();
        let preference = preference_list(&self.view, self.group_id, self.setup.profile.domain);
        let none = BTreeMap::new();
        let request = request(&self.setup, &self.group, &preference, &self.view, &none);
        let mut record = ChunkRecord {
            write: placed.write,
            code: placed.code,
            epoch: self.group.epoch,
            length: self.setup.length,
            devices: Some(placed.devices.clone()),
            missing: placed.missing.clone(),
        };
        for _ in 0..4 {
            match plan_repair(&request, &record) {
                RepairPlan::Nothing => return,
                RepairPlan::Fill { write, shards, .. } => {
                    record = record.repaired(&ShardsRepaired { write, shards }, self.group.write_set()).expect("names the writing");
                }
                RepairPlan::BringHome { write, shards } => {
                    let shards = shards.iter().map(|shard| (shard.index, shard.to)).collect();
                    record = record.repaired(&ShardsRepaired { write, shards }, self.group.write_set()).expect("names the writing");
                    assert_eq!(record.devices, None, "home, and still a list");
                }
                RepairPlan::ReEncode { code, devices, .. } => {
                    check_domains(&self.view, self.setup.profile.domain, &devices).expect("different domains");
                    self.counter += 1;
                    let home = self.group.write_set().get(..devices.len()) == Some(devices.as_slice());
                    record = ChunkRecord {
                        write: write_id(self.counter),
                        code,
                        devices: (!home).then_some(devices),
                        missing: Vec::new(),
                        ..record
                    };
                }
                RepairPlan::Wait(reason) => {
                    let domains = self.live_domains_all();
                    let wanted = Code::for_chunk(self.setup.profile, self.setup.length);
                    assert!(domains < usize::from(wanted.total()), "waits for nothing: {reason}");
                    return;
                }
            }
        }
        panic!("no end of repairs: {record:?}");
    }

    fn live_domains_all(&self) -> usize {
        self.view.devices().map(|device| device.domain(self.setup.profile.domain)).collect::<BTreeSet<_>>().len()
    }
}

fn request<'a>(
    setup: &Setup,
    group: &'a PlacementGroup,
    preference: &'a [DeviceId],
    view: &'a ClusterView,
    failures: &'a BTreeMap<DeviceId, Failure>,
) -> WriteRequest<'a> {
    let Setup { profile, length, degraded, .. } = setup;
    WriteRequest { profile: *profile, length: *length, degraded_to_devices: *degraded, group, preference, view, failures }
}
