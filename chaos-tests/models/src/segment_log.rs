//! The segment log: what a node may believe of its log after a crash.
//!
//! **Modelled.** Batches are written to the page cache and made durable by one fdatasync; the next is written only after it. A batch is
//! two 512-byte sectors (or one and a half, where batches are not aligned). A process crash keeps the page cache; a power cut leaves any
//! subset of the unsynced sectors old, new or torn (unreadable), and any unsynced folder change done or not. An fdatasync may fail: the
//! process ends and the kernel takes the pages for clean. One cell of a synced batch may be damaged. Segments hold two batches.
//! Recovery steps and segment creation can be interrupted anywhere and run again.
//! **Abstracted.** Records are the batch's identity; checksums are perfect; an empty batch is a batch. Old segments are not removed.
//! **Invariants.** What was acknowledged, or relied on after an earlier recovery, is recovered; a node refuses only if something was damaged;
//! damage of an acknowledged batch is never accepted silently, except (reported apart) damage of the newest one.
//! **Bounds.** See [`Bounds`]: batches, process crashes, power cuts, failed syncs, damages; at most four segments.

use stateright::{Model, Property};

/// How recovery makes sure that what it accepted is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Start {
    /// As the design says: a bad tail is cut off and synced and a new segment begins; without a bad tail nothing is done.
    Text,
    /// The last segment is synced at every start.
    SyncLast,
    /// At every start a new segment begins whose header names its first batch number; it repeats the last valid batch. In older
    /// segments nothing from that number on counts.
    NewSegment,
}

/// The rules, and the planted faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    pub start: Start,
    /// Batches begin at a sector of their own.
    pub aligned: bool,
    /// A segment gets its final name by rename after it was synced; else it is created under it.
    pub rename: bool,
    /// Every batch is written twice before its sync.
    pub twice: bool,
    /// Planted fault when false: the next batch is written before the last one is synced.
    pub one_at_a_time: bool,
    /// Planted fault when true: recovery takes the first bad batch for the tail without looking for a valid one behind it.
    pub no_look_behind: bool,
}

/// How often things may happen in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    pub batches: u8,
    pub crashes: u8,
    pub power_cuts: u8,
    pub failed_syncs: u8,
    pub damages: u8,
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct SegmentLog {
    pub rules: Rules,
    pub bounds: Bounds,
}

impl SegmentLog {
    /// Every rule set with its name.
    pub fn all() -> Vec<(&'static str, Self)> {
        let rules =
            Rules { start: Start::NewSegment, aligned: true, rename: true, twice: false, one_at_a_time: true, no_look_behind: false };
        let bounds = Bounds { batches: 4, crashes: 1, power_cuts: 2, failed_syncs: 0, damages: 0 };
        let good = SegmentLog { rules, bounds };
        let rules_of = |rules| SegmentLog { rules, bounds };
        let sync_failure = Bounds { failed_syncs: 1, ..bounds };
        let damage = Bounds { damages: 1, crashes: 1, power_cuts: 1, ..bounds };
        vec![
            ("repaired", good),
            ("repaired, failed sync", SegmentLog { rules, bounds: sync_failure }),
            ("repaired, one damage", SegmentLog { rules, bounds: damage }),
            ("repaired, one damage, batches written twice", SegmentLog { rules: Rules { twice: true, ..rules }, bounds: damage }),
            ("text: bad header of a new segment", rules_of(Rules { start: Start::SyncLast, rename: false, ..rules })),
            ("text: valid tail not synced at start", rules_of(Rules { start: Start::Text, ..rules })),
            (
                "text: tail synced at start, failed sync",
                SegmentLog { rules: Rules { start: Start::SyncLast, ..rules }, bounds: sync_failure },
            ),
            ("tail synced at start, no failed sync", rules_of(Rules { start: Start::SyncLast, ..rules })),
            ("text: batches not aligned", rules_of(Rules { aligned: false, ..rules })),
            ("planted: next batch before the sync", rules_of(Rules { one_at_a_time: false, ..rules })),
            ("planted: no look behind a bad batch", SegmentLog { rules: Rules { no_look_behind: true, ..rules }, bounds: damage }),
        ]
    }
}

/// Content of half a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cell {
    Zero,
    Batch(u8),
    Bad,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    Absent,
    Temporary,
    Final,
}

/// One segment file; every pair is (page cache, disk).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    name: (Name, Name),
    /// Cell 0 is the header sector.
    header: (Cell, Cell),
    header_dirty: bool,
    first: u8,
    /// Batches in the order written: (identity, number, first cell, cells).
    batches: Vec<(u8, u8, u8, u8)>,
    cache: Vec<Cell>,
    disk: Vec<Cell>,
    dirty: Vec<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Running,
    Written,
    /// A new segment is on its way: steps done.
    Creating {
        step: u8,
        then_repeat: Option<u8>,
        restarting: bool,
    },
    Down,
    /// Recovery found a bad tail and must cut it from this place in the last segment.
    Cutting {
        synced: bool,
    },
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    segments: Vec<Segment>,
    phase: Phase,
    /// Identities written so far; the number of each.
    numbers: Vec<u8>,
    /// Acknowledged or relied on, in order.
    trusted: Vec<u8>,
    recovered: Vec<u8>,
    damaged: Option<u8>,
    used: (u8, u8, u8),
    lost: bool,
    lost_newest: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Write,
    Sync,
    FailSync,
    CreateStep,
    Crash,
    /// The power fails; the number picks what became of the unsynced sectors and names.
    PowerCut(u16),
    Damage(u8),
    Recover,
    CutStep,
}

const PER_SEGMENT: usize = 2;

impl SegmentLog {
    fn cells(&self) -> u8 {
        (if self.rules.aligned { 4 } else { 3 }) * if self.rules.twice { 2 } else { 1 }
    }

    fn new_segment(&self, first: u8) -> Segment {
        let cells = self.cells() as usize * (PER_SEGMENT + 1) + 1;
        let cells = cells + cells % 2;
        Segment {
            name: (if self.rules.rename { Name::Temporary } else { Name::Final }, Name::Absent),
            header: (Cell::Zero, Cell::Zero),
            header_dirty: false,
            first,
            batches: vec![],
            cache: vec![Cell::Zero; cells],
            disk: vec![Cell::Zero; cells],
            dirty: vec![false; cells / 2],
        }
    }

    fn put(&self, segment: &mut Segment, id: u8, number: u8) {
        let start = segment.batches.last().map_or(0, |batch| batch.2 + batch.3);
        let cells = self.cells();
        segment.batches.push((id, number, start, cells));
        for cell in start..start + cells {
            segment.cache[cell as usize] = Cell::Batch(id);
            segment.dirty[cell as usize / 2] = true;
        }
    }

    fn sync(segment: &mut Segment) {
        for sector in 0..segment.dirty.len() {
            if segment.dirty[sector] {
                for cell in [2 * sector, 2 * sector + 1] {
                    segment.disk[cell] = segment.cache[cell];
                }
                segment.dirty[sector] = false;
            }
        }
        if segment.header_dirty {
            segment.header.1 = segment.header.0;
            segment.header_dirty = false;
        }
    }

    fn valid(&self, segment: &Segment, batch: &(u8, u8, u8, u8)) -> bool {
        let whole = |from: u8, to: u8| (from..to).all(|cell| segment.cache[cell as usize] == Cell::Batch(batch.0));
        if self.rules.twice {
            let half = batch.2 + batch.3 / 2;
            whole(batch.2, half) || whole(half, batch.2 + batch.3)
        } else {
            whole(batch.2, batch.2 + batch.3)
        }
    }

    /// What the start of a node finds: the batches it accepts and whether there is a bad tail; none: it refuses.
    fn scan(&self, state: &State) -> Option<(Vec<u8>, bool)> {
        let named: Vec<&Segment> = state.segments.iter().filter(|segment| segment.name.0 == Name::Final).collect();
        let mut accepted: Vec<u8> = vec![];
        let mut tail = false;
        for (place, segment) in named.iter().enumerate() {
            let last = place + 1 == named.len();
            if segment.header.0 != Cell::Batch(0) {
                return None;
            }
            let end = if self.rules.start == Start::NewSegment && !last { named[place + 1].first } else { u8::MAX };
            accepted.retain(|id| state.numbers[*id as usize] < segment.first || self.rules.start != Start::NewSegment);
            // What the disk holds decides, so a batch that never left a trace there does not count.
            let seen: Vec<_> = segment
                .batches
                .iter()
                .filter(|batch| (batch.2..batch.2 + batch.3).any(|cell| segment.cache[cell as usize] != Cell::Zero))
                .collect();
            for (at, batch) in seen.iter().enumerate() {
                if batch.1 >= end {
                    break;
                }
                if self.valid(segment, batch) {
                    let expected = accepted.last().map_or(segment.first, |id| state.numbers[*id as usize] + 1);
                    if batch.1 != expected {
                        return None;
                    }
                    accepted.push(batch.0);
                    continue;
                }
                let proven = seen[at + 1..].iter().any(|later| self.valid(segment, later));
                if !last || (proven && !self.rules.no_look_behind) {
                    return None;
                }
                tail = true;
                break;
            }
            if !last && self.rules.start == Start::NewSegment {
                let reached = accepted.last().map_or(segment.first, |id| state.numbers[*id as usize] + 1);
                if reached < end {
                    return None;
                }
            }
        }
        Some((accepted, tail))
    }

    fn after_scan(&self, state: &mut State, accepted: Vec<u8>) {
        let missing: Vec<u8> = state.trusted.iter().copied().filter(|id| !accepted.contains(id)).collect();
        if !missing.is_empty() {
            let newest = state.trusted.last().copied();
            let excused = missing.len() == 1 && missing.first().copied() == newest && state.damaged == newest;
            state.lost |= !excused;
            state.lost_newest |= excused;
        }
        // Nothing is built on what was accepted before the node runs again.
        state.recovered = accepted;
    }

    fn next_number(state: &State) -> u8 {
        state.trusted.last().map_or(1, |id| state.numbers[*id as usize] + 1)
    }

    /// Choices that a power cut leaves open: one of three for each dirty sector that matters, two for a folder change.
    fn choices(state: &State) -> u16 {
        let mut count = 1u16;
        for segment in &state.segments {
            for (sector, dirty) in segment.dirty.iter().enumerate() {
                if *dirty && segment.cache[2 * sector..2 * sector + 2] != segment.disk[2 * sector..2 * sector + 2] {
                    count = count.saturating_mul(3);
                }
            }
            if segment.header_dirty {
                count *= 3;
            }
            if segment.name.0 != segment.name.1 {
                count *= 2;
            }
        }
        count
    }
}

impl Model for SegmentLog {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut segment = self.new_segment(1);
        segment.name = (Name::Final, Name::Final);
        segment.header = (Cell::Batch(0), Cell::Batch(0));
        vec![State {
            segments: vec![segment],
            phase: Phase::Running,
            numbers: vec![0],
            trusted: vec![],
            recovered: vec![],
            damaged: None,
            used: (0, 0, 0),
            lost: false,
            lost_newest: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.lost || state.phase == Phase::Refused {
            return;
        }
        let more = (state.numbers.len() as u8) <= self.bounds.batches;
        match &state.phase {
            Phase::Running if more => actions.push(Action::Write),
            Phase::Written => {
                actions.push(Action::Sync);
                if state.used.2 < self.bounds.failed_syncs {
                    actions.push(Action::FailSync);
                }
                let fits = state.segments.last().is_some_and(|segment| segment.batches.len() < PER_SEGMENT);
                if !self.rules.one_at_a_time && more && fits {
                    actions.push(Action::Write);
                }
            }
            Phase::Creating { .. } => actions.push(Action::CreateStep),
            Phase::Down => actions.push(Action::Recover),
            Phase::Cutting { .. } => actions.push(Action::CutStep),
            _ => {}
        }
        if state.phase != Phase::Down && state.used.0 < self.bounds.crashes {
            actions.push(Action::Crash);
        }
        if state.used.1 < self.bounds.power_cuts {
            for choice in 0..Self::choices(state) {
                actions.push(Action::PowerCut(choice));
            }
        }
        if state.damaged.is_none() && self.bounds.damages > 0 {
            for id in &state.trusted {
                actions.push(Action::Damage(*id));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Write => {
                let full = state.segments.last()?.batches.len() >= PER_SEGMENT;
                if full {
                    if state.segments.len() >= 4 {
                        return None;
                    }
                    state.segments.push(self.new_segment(Self::next_number(&state)));
                    state.phase = Phase::Creating { step: 0, then_repeat: None, restarting: false };
                } else {
                    let number = Self::next_number(&state) + u8::from(state.phase == Phase::Written);
                    let id = state.numbers.len() as u8;
                    state.numbers.push(number);
                    let segment = state.segments.last_mut()?;
                    self.put(segment, id, number);
                    state.phase = Phase::Written;
                }
            }
            Action::Sync => {
                let segment = state.segments.last_mut()?;
                Self::sync(segment);
                let done: Vec<u8> = segment.batches.iter().map(|batch| batch.0).filter(|id| !state.trusted.contains(id)).collect();
                state.trusted.extend(done);
                state.phase = Phase::Running;
            }
            Action::FailSync => {
                // The kernel marks the pages clean though they are not on the disk; the process ends.
                for segment in &mut state.segments {
                    segment.dirty.iter_mut().for_each(|dirty| *dirty = false);
                }
                state.used.2 += 1;
                state.phase = Phase::Down;
            }
            Action::CreateStep => {
                let Phase::Creating { step, then_repeat, restarting } = state.phase.clone() else { return None };
                let numbers = state.numbers.clone();
                let segment = state.segments.last_mut()?;
                let mut next = Phase::Creating { step: step + 1, then_repeat, restarting };
                match step {
                    0 => {
                        segment.header.0 = Cell::Batch(0);
                        segment.header_dirty = true;
                        if let Some(id) = then_repeat {
                            self.put(segment, id, numbers[id as usize]);
                        }
                    }
                    1 => Self::sync(segment),
                    2 => segment.name.0 = Name::Final,
                    _ => {
                        segment.name.1 = segment.name.0;
                        next = Phase::Running;
                        if restarting {
                            state.trusted = state.recovered.clone();
                        }
                    }
                }
                state.phase = next;
            }
            Action::Crash => {
                state.used.0 += 1;
                state.phase = Phase::Down;
            }
            Action::PowerCut(mut choice) => {
                state.used.1 += 1;
                state.phase = Phase::Down;
                for segment in &mut state.segments {
                    for sector in 0..segment.dirty.len() {
                        let range = 2 * sector..2 * sector + 2;
                        if segment.dirty[sector] && segment.cache[range.clone()] != segment.disk[range.clone()] {
                            match choice % 3 {
                                0 => {}
                                1 => segment.disk[range.clone()].copy_from_slice(&segment.cache[range.clone()]),
                                _ => segment.disk[range.clone()].fill(Cell::Bad),
                            }
                            choice /= 3;
                        }
                        segment.cache[range.clone()].copy_from_slice(&segment.disk[range.clone()]);
                        segment.dirty[sector] = false;
                    }
                    if segment.header_dirty {
                        segment.header.1 = match choice % 3 {
                            0 => segment.header.1,
                            1 => segment.header.0,
                            _ => Cell::Bad,
                        };
                        choice /= 3;
                        segment.header_dirty = false;
                    }
                    segment.header.0 = segment.header.1;
                    if segment.name.0 != segment.name.1 {
                        if choice % 2 == 1 {
                            segment.name.1 = segment.name.0;
                        }
                        choice /= 2;
                    }
                    segment.name.0 = segment.name.1;
                }
                state.segments.retain(|segment| segment.name.1 != Name::Absent);
            }
            Action::Damage(id) => {
                let segment = state.segments.iter_mut().rev().find(|segment| segment.batches.iter().any(|batch| batch.0 == id))?;
                let start = segment.batches.iter().find(|batch| batch.0 == id)?.2 as usize;
                if segment.cache[start] != Cell::Batch(id) || segment.dirty[start / 2] {
                    return None;
                }
                segment.cache[start] = Cell::Bad;
                segment.disk[start] = Cell::Bad;
                state.damaged = Some(id);
            }
            Action::Recover => {
                state.segments.retain(|segment| segment.name.0 == Name::Final);
                match self.scan(&state) {
                    None => state.phase = Phase::Refused,
                    Some((accepted, tail)) => match self.rules.start {
                        Start::NewSegment => {
                            self.after_scan(&mut state, accepted);
                            if state.segments.len() >= 5 {
                                return None;
                            }
                            let repeat = state.recovered.last().copied();
                            let first = repeat.map_or(1, |id| state.numbers[id as usize]);
                            state.segments.push(self.new_segment(first));
                            state.phase = Phase::Creating { step: 0, then_repeat: repeat, restarting: true };
                        }
                        Start::Text | Start::SyncLast => {
                            self.after_scan(&mut state, accepted);
                            if let Some(segment) = state.segments.last_mut() {
                                let cache = segment.cache.clone();
                                segment.batches.retain(|batch| (batch.2..batch.2 + batch.3).any(|cell| cache[cell as usize] != Cell::Zero));
                            }
                            if tail {
                                state.phase = Phase::Cutting { synced: false };
                            } else {
                                if self.rules.start == Start::SyncLast {
                                    Self::sync(state.segments.last_mut()?);
                                    state.segments.iter_mut().for_each(|segment| segment.name.1 = segment.name.0);
                                }
                                state.trusted = state.recovered.clone();
                                state.phase = Phase::Running;
                            }
                        }
                    },
                }
            }
            Action::CutStep => {
                let Phase::Cutting { synced } = state.phase else { return None };
                let kept = state.recovered.clone();
                let next = kept.last().map_or(1, |id| state.numbers[*id as usize] + 1);
                let segment = state.segments.last_mut()?;
                if !synced {
                    segment.batches.retain(|batch| kept.contains(&batch.0));
                    let from = segment.batches.last().map_or(0, |batch| batch.2 + batch.3) as usize;
                    for cell in from..segment.cache.len() {
                        if segment.cache[cell] != Cell::Zero {
                            segment.cache[cell] = Cell::Zero;
                            segment.dirty[cell / 2] = true;
                        }
                    }
                    Self::sync(segment);
                    state.phase = Phase::Cutting { synced: true };
                } else {
                    if state.segments.len() >= 4 {
                        return None;
                    }
                    state.segments.push(self.new_segment(next));
                    state.phase = Phase::Creating { step: 0, then_repeat: None, restarting: true };
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("what was acknowledged is recovered", |_, state: &State| !state.lost),
            Property::always("only damage makes a node refuse", |_, state: &State| {
                state.phase != Phase::Refused || state.damaged.is_some()
            }),
            Property::sometimes("a node runs again with all batches", |model: &SegmentLog, state: &State| {
                state.phase == Phase::Running && state.trusted.len() >= 2 && state.used.1 == model.bounds.power_cuts && state.used.0 > 0
            }),
        ];
        if self.bounds.damages > 0 {
            if !self.rules.twice {
                properties.push(Property::sometimes("damage makes a node refuse", |_, state: &State| state.phase == Phase::Refused));
            }
            if self.rules.twice {
                properties.push(Property::always("damage of the newest batch is not accepted", |_, state: &State| !state.lost_newest));
            } else {
                properties.push(Property::sometimes("the hole: damage of the newest batch passes for a torn tail", |_, state: &State| {
                    state.lost_newest
                }));
            }
        }
        properties
    }
}
