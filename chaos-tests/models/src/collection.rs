//! Collection: reference counts, pins, registered uploads, condemned chunks, the delete list and the orphan sweep.
//!
//! **Modelled.** One chunk id in one datasource group; the group is an atomic object. Writer A is a registered upload (open, write
//! shards, append, commit, with a lease and renewal), writer B a small unregistered one that may pin first. Either may commit late,
//! crash at any step (its commands and shard messages stay in flight), and B writes again under a new write id when it is refused.
//! A deleter removes versions, a collector condemns and moves to the delete list, a sweeper commits its horizon, reads the records,
//! lists devices and deletes, a reader holds a manifest. Shard writes, and deletes once ordered, may arrive at any later time and
//! any number of times. Begin stamps come from the gateway's clock; B's clock may run ahead.
//! **Abstracted.** Contents and chunks have one record; exactly-once of commands is taken from the `sessions` model; k = 2 shards, m = 0,
//! no device loss (see `write_rule`). "Another content" can only be met as shards of two instances joined, for chunk ids are hashes.
//! **Invariants.** A live version's instance has all its shards; a reader never joins two instances; a reader inside half the grace, or
//! with a pin, never misses a shard; once all actors stop, expiry, collector and sweeper leave nothing but live instances.
//! **Bounds.** Clock 0..=4 or 5, grace 2, lease 2, horizon lag 1; A writes once, B twice; sweeps as often as the clock allows; see [`Cast`].

use stateright::{Model, Property};

const GRACE: u8 = 2;
const LEASE: u8 = 2;
const LAG: u8 = 1;
/// Instances: 0 is A's, 1 and 2 are B's first and second, 3 belongs to another datasource of the same pool.
const INSTANCES: usize = 4;
const FOREIGN: u8 = 3;

/// What a commit does to a chunk whose record is condemned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OverCondemned {
    /// The record takes the new instance, the old one goes to the delete list at once.
    Replace,
    /// The first instance lives on, the new one is surplus; a pin does the same.
    Revive,
}

/// The rules of the protocol, and the planted faults.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Every command that names a new instance is refused if that instance began before the horizon; else only unregistered commits are.
    pub append_checks_horizon: bool,
    /// A pin ends by stamp, like an upload.
    pub pin_has_lease: bool,
    /// A reader's pin names the instance it holds and is refused if the record names another.
    pub pin_names_instance: bool,
    /// A commit that relies on a pin checks that the record is there.
    pub commit_checks_pinned: bool,
    /// See [`OverCondemned`].
    pub over_condemned: OverCondemned,
    /// The sweep judges a shard by the begin stamp in its header, not by its arrival at the device.
    pub sweep_uses_begin: bool,
    /// Shard headers name the datasource, and the sweep only judges its own.
    pub header_names_datasource: bool,
    /// Planted fault when false: the sweeper reads the records before it commits its horizon.
    pub horizon_first: bool,
    /// Planted fault when false: shards are addressed by chunk id alone.
    pub write_ids: bool,
    /// Planted fault when true: a gateway that gets no answer to its commit deletes what it wrote.
    pub delete_on_unknown: bool,
    /// How far writer B's clock runs ahead.
    pub skew: u8,
    /// Who takes part besides writer B, the deleter and the collector.
    pub cast: Cast,
}

/// The optional actors of a run; all at once is more states than a test may take.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    pub upload: bool,
    pub sweep: bool,
    pub reader: bool,
    /// Coarse clock steps until the end.
    pub end: u8,
}

impl Rules {
    /// The design with the corrections.
    pub fn repaired() -> Self {
        Rules {
            append_checks_horizon: true,
            pin_has_lease: true,
            pin_names_instance: true,
            commit_checks_pinned: true,
            over_condemned: OverCondemned::Revive,
            sweep_uses_begin: true,
            header_names_datasource: true,
            horizon_first: true,
            write_ids: true,
            delete_on_unknown: false,
            skew: 0,
            cast: Cast { upload: true, sweep: true, reader: false, end: 4 },
        }
    }
    /// Every rule set with its name.
    pub fn all() -> Vec<(&'static str, Self)> {
        let sweep = Self::repaired();
        let reads = Rules { cast: Cast { upload: true, sweep: false, reader: true, end: 4 }, ..sweep };
        let small = Rules { cast: Cast { upload: false, sweep: true, reader: true, end: 5 }, ..sweep };
        vec![
            ("repaired: upload, writer, sweep", sweep),
            ("repaired: upload, writer, reader", reads),
            ("repaired: writer, sweep, reader", small),
            ("repaired: writer, sweep, skewed clock", Rules { skew: 1, ..small }),
            ("text: append ignores the horizon", Rules { append_checks_horizon: false, ..sweep }),
            ("text: pin without an end", Rules { pin_has_lease: false, ..small }),
            ("text: reader pins content, not instance", Rules { pin_names_instance: false, ..reads }),
            ("text: commit replaces a condemned instance", Rules { over_condemned: OverCondemned::Replace, ..reads }),
            ("text: sweep by arrival, skewed clock", Rules { sweep_uses_begin: false, skew: 1, ..small }),
            ("text: header without datasource", Rules { header_names_datasource: false, ..small }),
            ("planted: commit trusts its pin", Rules { commit_checks_pinned: false, ..reads }),
            ("planted: records read before the horizon", Rules { horizon_first: false, ..small }),
            ("planted: no write ids", Rules { write_ids: false, ..reads }),
            ("planted: unknown commit is cleaned up", Rules { delete_on_unknown: true, ..small }),
        ]
    }
}

/// The chunk's record: which instance, and since when nothing refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    pub instance: u8,
    pub condemned: Option<u8>,
}

/// What a writer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Idle,
    Pinned,
    Writing,
    Appended,
    Sent,
    Done,
    Gone,
}

/// A command under way to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    Append,
    Commit { own: bool },
}

/// A reader with a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reader {
    Idle,
    Holds {
        instance: u8,
        since: u8,
        first: Option<u8>,
        refetched: bool,
    },
    Done {
        mixed: bool,
    },
    /// A shard was missing twice; `early` if inside half the grace or under a pin, `live` if a version was live.
    Cut {
        early: bool,
        live: bool,
    },
}

/// The sweeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sweep {
    Idle,
    Horizon(u8),
    Judging { horizon: u8, known: u8 },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    now: u8,
    horizon: u8,
    record: Option<Record>,
    versions: u8,
    /// Reference of the registered upload and its lease.
    upload: Option<u8>,
    upload_holds: bool,
    /// Pins of B and of the reader: end stamps.
    pins: [Option<u8>; 2],
    delete_list: u8,
    deletable: u8,
    written: u8,
    begin: [u8; INSTANCES],
    arrived: [u8; INSTANCES],
    devices: [u8; 2],
    acked: [u8; 2],
    step: [Step; 2],
    attempt: u8,
    command: [Option<Command>; 2],
    reader: Reader,
    sweep: Sweep,
}

/// An action of an actor or of the network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    Tick,
    OpenUpload,
    Renew,
    ExpireUpload,
    ExpirePin(usize),
    Pin,
    Begin(usize),
    StoreShard { instance: u8, device: usize },
    SendAppend,
    SendCommit(usize),
    Deliver(usize),
    GiveUpAndClean,
    Crash(usize),
    DeleteVersion(usize),
    MoveToDeleteList,
    DeviceDeletes { instance: u8, device: usize },
    FinishDeletes(u8),
    CommitHorizon,
    ReadRecords,
    SweepShard { instance: u8, device: usize },
    EndSweep,
    Fetch,
    PinContent,
    ReadShard(usize),
}

/// The model.
pub struct Collection {
    pub rules: Rules,
}

const A: usize = 0;
const B: usize = 1;

impl State {
    fn instance_of(&self, writer: usize) -> u8 {
        if writer == A { 0 } else { 1 + self.attempt }
    }
    fn referenced(&self) -> bool {
        self.versions != 0 || self.upload_holds || self.pins.iter().any(Option::is_some)
    }
    /// Sets or clears the condemned stamp after any change of references.
    fn settle(&mut self) {
        let referenced = self.referenced();
        let now = self.now;
        if let Some(record) = &mut self.record {
            record.condemned = if referenced { None } else { record.condemned.or(Some(now)) };
        }
    }
    fn complete(&self, instance: u8) -> bool {
        self.devices.iter().all(|device| device & (1 << instance) != 0)
    }
}

impl Collection {
    /// Adds a reference to the chunk with the writer's own instance, or none. False: refused.
    fn name_instance(&self, state: &mut State, own: Option<u8>) -> bool {
        match state.record {
            Some(Record { instance, condemned: Some(_) }) if self.rules.over_condemned == OverCondemned::Replace => {
                let Some(new) = own else { return false };
                state.delete_list |= 1 << instance;
                state.deletable |= 1 << instance;
                state.record = Some(Record { instance: new, condemned: None });
                true
            }
            Some(Record { instance, .. }) => {
                if let Some(new) = own.filter(|new| *new != instance) {
                    state.deletable |= 1 << new;
                }
                true
            }
            None => {
                let Some(new) = own else { return !self.rules.commit_checks_pinned };
                state.record = Some(Record { instance: new, condemned: None });
                true
            }
        }
    }

    fn delete_shard(&self, state: &mut State, instance: u8, device: usize) {
        state.devices[device] &= if self.rules.write_ids { !(1 << instance) } else { 1 << FOREIGN };
    }

    fn deliver(&self, state: &mut State, writer: usize) {
        let Some(command) = state.command[writer].take() else { return };
        let waiting = state.step[writer] == Step::Sent;
        let instance = state.instance_of(writer);
        let own = match command {
            Command::Commit { own: false } => None,
            _ => Some(instance),
        };
        let old = own.is_some_and(|own| state.begin[own as usize] < state.horizon);
        let accepted = match (writer, command) {
            (A, Command::Append) => state.upload.is_some() && !(old && self.rules.append_checks_horizon) && self.name_instance(state, own),
            (A, Command::Commit { .. }) => state.upload.is_some() && state.upload_holds,
            (_, Command::Commit { .. }) => !old && self.name_instance(state, own),
            (_, Command::Append) => false,
        };
        match (command, accepted) {
            (Command::Append, true) => state.upload_holds = true,
            (Command::Commit { .. }, true) => {
                state.versions |= 1 << writer;
                if writer == A {
                    state.upload = None;
                    state.upload_holds = false;
                } else {
                    state.pins[0] = None;
                }
            }
            _ => {}
        }
        if waiting {
            state.step[writer] = match (command, accepted) {
                (Command::Append, true) => Step::Appended,
                (_, true) => Step::Done,
                (_, false) if writer == B && state.attempt == 0 => {
                    state.attempt = 1;
                    Step::Idle
                }
                (_, false) => Step::Gone,
            };
        }
        state.settle();
    }

    /// What is left when every actor stops and expiry, collector and sweeper run to their end.
    fn leaks(&self, state: &State) -> bool {
        let mut state = state.clone();
        state.upload_holds = false;
        if self.rules.pin_has_lease {
            state.pins = [None, None];
        }
        state.settle();
        let live = match state.record {
            Some(Record { instance, condemned: None }) => {
                if state.versions == 0 {
                    return true;
                }
                1u8 << instance
            }
            _ => 0,
        };
        // The sweep that follows takes every shard that no record names, for every begin stamp has passed by then.
        let known = live | (1 << FOREIGN);
        state.devices.iter().any(|device| device & known & !(1 << FOREIGN) != device & live)
    }
}

impl Model for Collection {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: 0,
            horizon: 0,
            record: None,
            versions: 0,
            upload: None,
            upload_holds: false,
            pins: [None, None],
            delete_list: 0,
            deletable: 0,
            written: 1 << FOREIGN,
            begin: [0; INSTANCES],
            arrived: [0; INSTANCES],
            devices: [1 << FOREIGN; 2],
            acked: [0; 2],
            step: [Step::Idle; 2],
            attempt: 0,
            command: [None, None],
            reader: Reader::Idle,
            sweep: Sweep::Idle,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.now < self.rules.cast.end {
            actions.push(Action::Tick);
        }
        match state.step[A] {
            Step::Idle if self.rules.cast.upload => actions.push(Action::OpenUpload),
            Step::Writing => {
                if state.written & 1 == 0 {
                    actions.push(Action::Begin(A));
                } else if state.acked.iter().all(|acked| acked & 1 != 0) {
                    actions.push(Action::SendAppend);
                }
            }
            Step::Appended => actions.push(Action::SendCommit(A)),
            _ => {}
        }
        if let Some(end) = state.upload {
            if !matches!(state.step[A], Step::Gone | Step::Done) && end < state.now + LEASE {
                actions.push(Action::Renew);
            }
            if end <= state.now {
                actions.push(Action::ExpireUpload);
            }
        }
        for pin in 0..2 {
            if self.rules.pin_has_lease && state.pins[pin].is_some_and(|end| end <= state.now) {
                actions.push(Action::ExpirePin(pin));
            }
        }
        let own = state.instance_of(B);
        match state.step[B] {
            Step::Idle => {
                actions.push(Action::Begin(B));
                if let Some(record) = state.record
                    && (record.condemned.is_none() || self.rules.over_condemned == OverCondemned::Revive)
                {
                    actions.push(Action::Pin);
                }
            }
            Step::Writing if state.acked.iter().all(|acked| acked & (1 << own) != 0) => actions.push(Action::SendCommit(B)),
            Step::Pinned => actions.push(Action::SendCommit(B)),
            Step::Sent if self.rules.delete_on_unknown => actions.push(Action::GiveUpAndClean),
            _ => {}
        }
        for writer in [A, B] {
            if state.command[writer].is_some() {
                actions.push(Action::Deliver(writer));
            }
            if !matches!(state.step[writer], Step::Idle | Step::Gone | Step::Done) {
                actions.push(Action::Crash(writer));
            }
            if state.versions & (1 << writer) != 0 {
                actions.push(Action::DeleteVersion(writer));
            }
        }
        for instance in 0..FOREIGN {
            for device in 0..2 {
                let there = state.devices[device] & (1 << instance) != 0;
                if state.written & (1 << instance) != 0 && !there {
                    actions.push(Action::StoreShard { instance, device });
                }
                if state.deletable & (1 << instance) != 0 && (there || !self.rules.write_ids) {
                    actions.push(Action::DeviceDeletes { instance, device });
                }
            }
            if state.delete_list & (1 << instance) != 0 && state.devices.iter().all(|device| device & (1 << instance) == 0) {
                actions.push(Action::FinishDeletes(instance));
            }
        }
        if let Some(Record { condemned: Some(stamp), .. }) = state.record
            && state.now >= stamp + GRACE
        {
            actions.push(Action::MoveToDeleteList);
        }
        match state.sweep {
            Sweep::Idle if !self.rules.cast.sweep => {}
            Sweep::Idle => {
                let progress = state.now.saturating_sub(LAG) > state.horizon;
                if self.rules.horizon_first && progress {
                    actions.push(Action::CommitHorizon);
                } else if !self.rules.horizon_first && progress {
                    actions.push(Action::ReadRecords);
                }
            }
            Sweep::Horizon(_) => actions.push(Action::ReadRecords),
            Sweep::Judging { horizon, known } => {
                if horizon > state.horizon {
                    actions.push(Action::CommitHorizon);
                } else {
                    for instance in 0..INSTANCES as u8 {
                        let stamp =
                            if self.rules.sweep_uses_begin { state.begin[instance as usize] } else { state.arrived[instance as usize] };
                        let own = instance != FOREIGN || !self.rules.header_names_datasource;
                        if own && known & (1 << instance) == 0 && stamp < horizon {
                            for device in 0..2 {
                                if state.devices[device] & (1 << instance) != 0 {
                                    actions.push(Action::SweepShard { instance, device });
                                }
                            }
                        }
                    }
                    actions.push(Action::EndSweep);
                }
            }
        }
        match state.reader {
            Reader::Idle if self.rules.cast.reader && state.versions != 0 => actions.push(Action::Fetch),
            Reader::Holds { instance, first, since, .. } => {
                actions.push(Action::ReadShard(usize::from(first.is_some())));
                let pinnable = state.record.is_some_and(|record| {
                    (record.instance == instance || !self.rules.pin_names_instance)
                        && (record.condemned.is_none() || self.rules.over_condemned == OverCondemned::Revive)
                });
                if state.pins[1].is_none_or(|end| end < state.now + LEASE) && state.now >= since + GRACE / 2 && pinnable {
                    actions.push(Action::PinContent);
                }
            }
            _ => {}
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Tick => state.now += 1,
            Action::OpenUpload => {
                state.upload = Some(state.now + LEASE);
                state.step[A] = Step::Writing;
            }
            Action::Renew => state.upload = Some(state.now + LEASE),
            Action::ExpireUpload => {
                state.upload = None;
                state.upload_holds = false;
                state.settle();
            }
            Action::ExpirePin(pin) => {
                state.pins[pin] = None;
                state.settle();
            }
            Action::Pin => {
                state.pins[0] = Some(state.now + LEASE);
                state.step[B] = Step::Pinned;
                state.settle();
            }
            Action::Begin(writer) => {
                let instance = state.instance_of(writer);
                state.written |= 1 << instance;
                state.begin[instance as usize] = state.now + if writer == B { self.rules.skew } else { 0 };
                state.step[writer] = Step::Writing;
            }
            Action::StoreShard { instance, device } => {
                // Without write ids the device has "that chunk already" whatever instance it is.
                if self.rules.write_ids || state.devices[device] & !(1 << FOREIGN) == 0 {
                    state.devices[device] |= 1 << instance;
                    if !self.rules.sweep_uses_begin {
                        state.arrived[instance as usize] = state.now;
                    }
                }
                state.acked[device] |= 1 << instance;
            }
            Action::SendAppend => {
                state.command[A] = Some(Command::Append);
                state.step[A] = Step::Sent;
            }
            Action::SendCommit(writer) => {
                state.command[writer] = Some(Command::Commit { own: state.step[writer] == Step::Writing });
                state.step[writer] = Step::Sent;
            }
            Action::Deliver(writer) => self.deliver(&mut state, writer),
            Action::GiveUpAndClean => {
                state.deletable |= 1 << state.instance_of(B);
                state.step[B] = Step::Gone;
            }
            Action::Crash(writer) => state.step[writer] = Step::Gone,
            Action::DeleteVersion(writer) => {
                state.versions &= !(1 << writer);
                state.settle();
            }
            Action::MoveToDeleteList => {
                let record = state.record.take()?;
                state.delete_list |= 1 << record.instance;
                state.deletable |= 1 << record.instance;
            }
            Action::DeviceDeletes { instance, device } | Action::SweepShard { instance, device } => {
                if matches!(action, Action::SweepShard { .. }) {
                    state.deletable |= 1 << instance;
                }
                self.delete_shard(&mut state, instance, device);
                if instance == FOREIGN {
                    state.devices[device] &= !(1 << FOREIGN);
                }
            }
            Action::FinishDeletes(instance) => state.delete_list &= !(1 << instance),
            Action::CommitHorizon => {
                state.horizon = match state.sweep {
                    Sweep::Judging { horizon, .. } => horizon,
                    _ => state.now - LAG,
                };
                if state.sweep == Sweep::Idle {
                    state.sweep = Sweep::Horizon(state.horizon);
                }
            }
            Action::ReadRecords => {
                let known = state.record.map_or(0, |record| 1 << record.instance);
                let horizon = match state.sweep {
                    Sweep::Horizon(horizon) => horizon,
                    _ => state.now - LAG,
                };
                state.sweep = Sweep::Judging { horizon, known };
            }
            Action::EndSweep => state.sweep = Sweep::Idle,
            Action::Fetch => {
                let instance = state.record?.instance;
                state.reader = Reader::Holds { instance, since: state.now, first: None, refetched: false };
            }
            Action::PinContent => {
                state.pins[1] = Some(state.now + LEASE);
                state.settle();
            }
            Action::ReadShard(device) => {
                let Reader::Holds { instance, since, first, refetched } = state.reader else { return None };
                let seen = if self.rules.write_ids {
                    Some(instance).filter(|instance| state.devices[device] & (1 << instance) != 0)
                } else {
                    (0..FOREIGN).find(|other| state.devices[device] & (1 << other) != 0)
                };
                state.reader = match (seen, first) {
                    (Some(seen), None) => Reader::Holds { instance, since, first: Some(seen), refetched },
                    (Some(seen), Some(first)) => Reader::Done { mixed: seen != first },
                    (None, _) => match state.record.filter(|_| state.versions != 0 && !refetched) {
                        Some(record) => Reader::Holds { instance: record.instance, since: state.now, first: None, refetched: true },
                        None => Reader::Cut { early: state.now <= since + GRACE / 2 || state.pins[1].is_some(), live: state.versions != 0 },
                    },
                };
                if matches!(state.reader, Reader::Done { .. } | Reader::Cut { .. }) {
                    state.pins[1] = None;
                    state.settle();
                }
            }
        }
        Some(state).filter(|state| state != last)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a live version is readable", |_, state: &State| {
                state.versions == 0 || state.record.is_some_and(|record| state.complete(record.instance))
            }),
            Property::always("an upload's appended chunk is readable", |_, state: &State| {
                !state.upload_holds || state.record.is_some_and(|record| state.complete(record.instance))
            }),
            Property::always("another datasource's shards stay", |_, state: &State| state.complete(FOREIGN)),
            Property::always("no reader joins two instances", |_, state: &State| state.reader != Reader::Done { mixed: true }),
            Property::always("no reader is cut early", |_, state: &State| {
                !matches!(state.reader, Reader::Cut { early: true, .. } | Reader::Cut { live: true, .. })
            }),
            Property::always("nothing leaks", |model: &Collection, state: &State| !model.leaks(state)),
            Property::sometimes("a version is live, another instance was collected", |_, state: &State| {
                state.versions != 0 && state.record.is_some_and(|record| state.deletable & !(1 << record.instance) != 0)
            }),
            Property::sometimes("a chunk is condemned and later referred to again or taken away", |_, state: &State| {
                state.delete_list != 0 && state.versions == 0
            }),
        ]
    }
}
