//! The commands of the scripts. Positional words first, then `key=value`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};
use std::str::FromStr;

use skep_placement::balance_plan::{misplaced_count, plan_moves};
use skep_placement::choose::{Decision, Event, Failure, Placed, WritePlan, WriteRequest};
use skep_placement::cluster_view::{ClusterView, Device, DeviceState};
use skep_placement::ids::{BootNumber, DeviceId, Epoch, NodeId, PgId, PoolId, WriteId};
use skep_placement::invariants::check_placed;
use skep_placement::placement_map::{PlacementGroup, ideal_set, initial_map, next_set, preference_list};
use skep_placement::profile::{Code, Profile, SizeClass};
use skep_placement::read_order::read_order;
use skep_placement::repair_plan::{ChunkRecord, RepairPlan, plan_repair, spare_shards};
use skep_placement::testing::ClusterBuilder;

type Lines = Result<Vec<String>, String>;

/// What the commands of one script work on.
#[derive(Debug)]
pub(crate) struct Interpreter {
    view: ClusterView,
    profile: Profile,
    group_id: PgId,
    group: PlacementGroup,
    map: Vec<PlacementGroup>,
    failures: BTreeMap<DeviceId, Failure>,
    length: u64,
    degraded: bool,
    plan: Option<WritePlan>,
    counter: u64,
}

impl Default for Interpreter {
    fn default() -> Self {
        Self {
            view: ClusterView::default(),
            profile: "2+1/node".parse().expect("a profile"),
            group_id: PgId { pool: PoolId(1), index: 0 },
            group: PlacementGroup::new(Vec::new()),
            map: Vec::new(),
            failures: BTreeMap::new(),
            length: 1 << 20,
            degraded: false,
            plan: None,
            counter: 0,
        }
    }
}

/// The words of one command.
#[derive(Debug)]
struct Words<'a> {
    positional: Vec<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn of(command: &'a str) -> Self {
        let mut words = Self { positional: Vec::new(), named: BTreeMap::new() };
        for word in command.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) => drop(words.named.insert(key, value)),
                None => words.positional.push(word),
            }
        }
        words
    }

    fn at<T: FromStr<Err: Display>>(&self, place: usize) -> Result<T, String> {
        let word = self.positional.get(place).ok_or("a word is missing")?;
        word.parse().map_err(|fault| format!("{word}: {fault}"))
    }

    fn named<T: FromStr<Err: Display>>(&self, key: &str, default: T) -> Result<T, String> {
        self.named.get(key).map_or(Ok(default), |word| word.parse().map_err(|fault| format!("{word}: {fault}")))
    }

    fn list<T: FromStr<Err: Debug>>(&self, key: &str) -> Option<Vec<T>> {
        self.named.get(key).map(|words| numbers(words))
    }

    fn has(&self, word: &str) -> bool {
        self.positional.contains(&word)
    }
}

fn numbers<T: FromStr<Err: Debug>>(words: &str) -> Vec<T> {
    words.split(',').filter(|word| !word.is_empty()).map(|word| word.parse().expect("a list of numbers")).collect()
}

fn list(devices: &[DeviceId]) -> String {
    devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn failure(word: &str) -> Result<Failure, String> {
    match word {
        "down" => Ok(Failure::Down),
        "full" => Ok(Failure::Full),
        "slow" => Ok(Failure::Slow),
        _ => Err(format!("no failure {word}")),
    }
}

fn state(word: &str) -> Result<DeviceState, String> {
    let states = [DeviceState::Up, DeviceState::Down, DeviceState::Full, DeviceState::Draining, DeviceState::Lost];
    states.into_iter().find(|state| state.to_string() == word).ok_or_else(|| format!("no state {word}"))
}

fn write_id(counter: u64) -> WriteId {
    WriteId { node: NodeId(1), boot: BootNumber(1), counter }
}

impl Interpreter {
    /// Runs one command and returns the lines it prints.
    pub(crate) fn run(&mut self, command: &str) -> Lines {
        let words = Words::of(command);
        match *words.positional.first().ok_or("an empty command")? {
            "cluster" => self.cluster(&words),
            "device" => self.device(&words),
            "state" => {
                let device = words.at(1)?;
                self.view.set_state(device, state(&words.at::<String>(2)?)?);
                Ok(Vec::new())
            }
            "profile" => self.profile(&words),
            "auto" => Ok(vec![Profile::auto(words.at(1)?, words.named("devices", 1)?).to_string()]),
            "code" => self.code(&words),
            "group" => self.group(&words),
            "preference" => Ok(vec![list(&self.preference())]),
            "move" => self.begin_move(&words),
            "finish" => {
                self.group = self.group.finish_move();
                Ok(self.show_group())
            }
            "map" => Ok(self.map()),
            "moved" => Ok(self.moved()),
            "balance" => Ok(self.balance(words.named("max", 4)?)),
            "believe" => {
                self.failures.insert(words.at(1)?, failure(&words.at::<String>(2)?)?);
                Ok(Vec::new())
            }
            "write" => self.write(&words),
            "durable" => self.durable(&words),
            "fail" => {
                let event = Event::Failed { device: words.at(1)?, failure: failure(&words.at::<String>(2)?)? };
                self.event(event)
            }
            "refresh" => self.refresh(),
            "placed" => Ok(vec![placed(&self.plan.as_ref().ok_or("no plan")?.placed())]),
            "read-order" => self.read_order(&words),
            "repair" => self.repair(&words),
            other => Err(format!("no command {other}")),
        }
    }

    fn cluster(&mut self, words: &Words<'_>) -> Lines {
        let builder = ClusterBuilder::nodes(words.at(1)?).devices_per_node(words.named("devices", 1)?);
        self.view = builder.zones(words.named("zones", 1)?).weight(words.named("weight", 100)?).view();
        self.failures.clear();
        self.group = PlacementGroup::new(ideal_set(&self.view, self.group_id, self.profile));
        Ok(Vec::new())
    }

    fn device(&mut self, words: &Words<'_>) -> Lines {
        self.view.insert(Device {
            id: words.at(1)?,
            node: words.named("node", NodeId(1))?,
            zone: words.named("zone", "z1".to_owned())?,
            weight: words.named("weight", 100)?,
            state: state(&words.named("state", "up".to_owned())?)?,
        });
        Ok(Vec::new())
    }

    fn profile(&mut self, words: &Words<'_>) -> Lines {
        self.profile = if words.has("auto") { self.view.auto_profile() } else { words.at(1)? };
        self.group = PlacementGroup::new(ideal_set(&self.view, self.group_id, self.profile));
        let code = self.profile.code;
        Ok(vec![format!("{} w={} fence={}", self.profile, code.write_quorum(), code.fence_quorum())])
    }

    fn code(&self, words: &Words<'_>) -> Lines {
        let length = words.at(1)?;
        let code = Code::for_length(self.profile, length).map_or_else(|| "none".to_owned(), |code| code.to_string());
        Ok(vec![format!("{:?} {code}, as a chunk {}", SizeClass::of(length), Code::for_chunk(self.profile, length))])
    }

    fn group(&mut self, words: &Words<'_>) -> Lines {
        if let Ok(index) = words.at(1) {
            self.group_id.index = index;
            self.group = PlacementGroup::new(ideal_set(&self.view, self.group_id, self.profile));
        }
        if let Some(acting) = words.list("acting") {
            let past = words.named("past", String::new())?.split(';').filter(|set| !set.is_empty()).map(numbers).collect();
            self.group = PlacementGroup { epoch: words.named("epoch", Epoch(1))?, acting, target: words.list("target"), past };
        }
        Ok(self.show_group())
    }

    fn show_group(&self) -> Vec<String> {
        let target = self.group.target.as_deref().map_or_else(String::new, |target| format!(" target {}", list(target)));
        let past: String = self.group.past.iter().map(|set| format!(" past {}", list(set))).collect();
        vec![format!("epoch {} acting {}{target}{past}", self.group.epoch, list(&self.group.acting))]
    }

    fn begin_move(&mut self, words: &Words<'_>) -> Lines {
        let next = || next_set(&self.view, self.group_id, self.profile, self.group.write_set());
        let target = words.list("target").unwrap_or_else(next);
        self.group = self.group.begin_move(target).map_err(|fault| fault.to_string())?;
        Ok(self.show_group())
    }

    fn preference(&self) -> Vec<DeviceId> {
        preference_list(&self.view, self.group_id, self.profile.domain)
    }

    fn map(&mut self) -> Vec<String> {
        self.map = initial_map(&self.view, self.group_id.pool, self.profile);
        let mut counts: BTreeMap<DeviceId, u32> = BTreeMap::new();
        for device in self.map.iter().flat_map(|group| &group.acting) {
            *counts.entry(*device).or_default() += 1;
        }
        vec![counts.iter().map(|(device, count)| format!("{device}:{count}")).collect::<Vec<_>>().join(" ")]
    }

    /// How many places of the remembered map change with the view of now.
    fn moved(&self) -> Vec<String> {
        let (mut places, mut moved) = (0, 0);
        let mut gains: BTreeMap<DeviceId, u32> = BTreeMap::new();
        for (index, group) in (0..).zip(&self.map) {
            let next = next_set(&self.view, PgId { index, ..self.group_id }, self.profile, &group.acting);
            places += next.len();
            let old: BTreeSet<&DeviceId> = group.acting.iter().collect();
            for device in next.iter().filter(|device| !old.contains(device)) {
                moved += 1;
                *gains.entry(*device).or_default() += 1;
            }
        }
        let gains: Vec<String> = gains.iter().map(|(device, count)| format!("{device}:{count}")).collect();
        vec![format!("{moved} of {places} places move: {}", gains.join(" "))]
    }

    fn balance(&self, moves_max: usize) -> Vec<String> {
        let misplaced = misplaced_count(&self.view, self.group_id.pool, self.profile, &self.map);
        let moves = plan_moves(&self.view, self.group_id.pool, self.profile, &self.map, moves_max);
        let mut lines = vec![format!("{misplaced} misplaced")];
        lines.extend(moves.iter().map(|planned| format!("move {} to {}", planned.group, list(&planned.target))));
        lines
    }

    fn with_request<T>(&self, work: impl FnOnce(&WriteRequest<'_>) -> T) -> T {
        let preference = self.preference();
        work(&WriteRequest {
            profile: self.profile,
            length: self.length,
            degraded_to_devices: self.degraded,
            group: &self.group,
            preference: &preference,
            view: &self.view,
            failures: &self.failures,
        })
    }

    fn write(&mut self, words: &Words<'_>) -> Lines {
        self.length = words.named("length", 1 << 20)?;
        self.degraded = words.has("degraded");
        self.counter = 1;
        let (plan, decisions) = self.with_request(|request| WritePlan::begin(request, write_id(1)));
        self.plan = Some(plan);
        Ok(self.decisions(&decisions))
    }

    /// `durable 0 2` makes these shards durable where they are; `durable 0 device=5 write=1 epoch=1` says otherwise.
    fn durable(&mut self, words: &Words<'_>) -> Lines {
        let mut lines = Vec::new();
        for place in 1..words.positional.len() {
            let index: u8 = words.at(place)?;
            let placed = self.plan.as_ref().ok_or("no plan")?.placed();
            let device = match words.named.get("device") {
                Some(_) => words.named("device", DeviceId(0))?,
                None => *placed.devices.get(usize::from(index)).ok_or("no such shard")?,
            };
            let write = write_id(words.named("write", placed.write.counter)?);
            let event = Event::Durable { write, index, device, epoch: words.named("epoch", placed.epoch)? };
            lines.extend(self.event(event)?);
        }
        Ok(lines)
    }

    fn event(&mut self, event: Event) -> Lines {
        let mut counter = self.counter;
        let mut fresh = || {
            counter += 1;
            write_id(counter)
        };
        let decisions = self.plan.as_mut().ok_or("no plan")?.handle(event, &mut fresh);
        self.counter = counter;
        Ok(self.decisions(&decisions))
    }

    fn refresh(&mut self) -> Lines {
        let mut plan = self.plan.take().ok_or("no plan")?;
        let mut counter = self.counter;
        let mut fresh = || {
            counter += 1;
            write_id(counter)
        };
        let decisions = self.with_request(|request| plan.refresh(request, &mut fresh));
        self.counter = counter;
        self.plan = Some(plan);
        Ok(self.decisions(&decisions))
    }

    fn decisions(&self, decisions: &[Decision]) -> Vec<String> {
        if decisions.is_empty() {
            return vec!["wait".to_owned()];
        }
        decisions.iter().map(|decision| self.decision(decision)).collect()
    }

    fn decision(&self, decision: &Decision) -> String {
        match decision {
            Decision::Send { write, index, device, epoch } => format!("send w{} shard {index} to {device} at epoch {epoch}", write.counter),
            Decision::Acknowledge(named) => {
                let domain = self.plan.as_ref().map_or(self.profile.domain, WritePlan::domain);
                let checked = check_placed(&self.view, domain, named).map_or_else(|fault| format!(" BROKEN: {fault}"), |()| String::new());
                format!("acknowledge {}{checked}", placed(named))
            }
            Decision::Late { write, index } => format!("late w{} shard {index}", write.counter),
            Decision::Restart { abandoned, delete_from, write, code } => {
                format!("restart as w{} with {code}, delete w{} from {}", write.counter, abandoned.counter, list(delete_from))
            }
            Decision::Discard { write, device } => format!("discard w{} on {device}", write.counter),
            Decision::Unavailable(reason) => {
                let delete = reason.abandoned.as_ref().map(|(write, from)| format!(", delete w{} from {}", write.counter, list(from)));
                format!("unavailable: {reason}, out {}{}", list(&reason.out), delete.unwrap_or_default())
            }
        }
    }

    fn read_order(&self, words: &Words<'_>) -> Lines {
        let listed: Option<Vec<DeviceId>> = words.list("list");
        let code = words.named("code", self.profile.code)?;
        let order = read_order(code, listed.as_deref(), &self.group, &self.preference());
        Ok((0..).zip(&order).map(|(index, devices): (u8, _)| format!("shard {index}: {}", list(devices))).collect())
    }

    fn repair(&self, words: &Words<'_>) -> Lines {
        let record = ChunkRecord {
            write: write_id(words.named("write", 1)?),
            code: words.named("code", self.profile.code)?,
            epoch: words.named("epoch", self.group.epoch)?,
            length: self.length,
            devices: words.list("devices"),
            missing: words.list("missing").unwrap_or_default(),
        };
        let (plan, spare) = self.with_request(|request| (plan_repair(request, &record), spare_shards(request, &record)));
        let spare = spare.map_or_else(|| "unreadable".to_owned(), |spare| format!("spare {spare}"));
        Ok(vec![format!("{spare}: {}", repair(&plan))])
    }
}

fn placed(placed: &Placed) -> String {
    let home = if placed.at_home { "at home" } else { "listed" };
    let Placed { write, code, epoch, devices, missing, .. } = placed;
    format!("w{} {code} epoch {epoch} on {} {home} missing {missing:?}", write.counter, list(devices))
}

fn repair(plan: &RepairPlan) -> String {
    let pairs = |shards: &[(u8, DeviceId)]| shards.iter().map(|(index, device)| format!("{index}@{device}")).collect::<Vec<_>>().join(" ");
    match plan {
        RepairPlan::Nothing => "nothing".to_owned(),
        RepairPlan::Fill { write, shards, sources } => format!("fill w{} {} from {}", write.counter, pairs(shards), pairs(sources)),
        RepairPlan::ReEncode { replaces, code, devices, sources } => {
            format!("re-encode w{} as {code} on {} from {}", replaces.counter, list(devices), pairs(sources))
        }
        RepairPlan::BringHome { write, shards } => {
            let moves: Vec<String> = shards.iter().map(|shard| format!("{}:{}>{}", shard.index, shard.from, shard.to)).collect();
            format!("bring home w{} {}", write.counter, moves.join(" "))
        }
        RepairPlan::Wait(reason) => format!("wait: {reason}"),
    }
}
