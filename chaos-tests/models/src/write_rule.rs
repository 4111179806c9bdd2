//! The write rule with shrinking k, the repair queue, and re-encoding beside readers, a delete and a second writer.
//!
//! **Modelled.** One chunk on four devices, profile 2+2 (w = 3), shrunk code 1+2 (w = 2). Writer A begins in the profile's code, may
//! shrink, is acknowledged by its commit, may crash at any step; the commit names the missing shards. A repair worker fills them. Two re-encoding
//! workers (an old and a new leader's node) write instances of the profile's code and replace the record by compare-and-swap;
//! their commands may arrive late, after the sweep's horizon. Writer B writes the same content; a deleter removes versions; a reader holds a
//! manifest. Devices are lost: w−k while the record names missing shards, m when it names none.
//! **Abstracted.** Position i is device i; the grace is an event; a device holds an instance's shard or does not.
//! **Invariants.** A live version is readable; a record that names nothing missing has every shard on its device (or the device is lost); a
//! reader of a live version is not cut.
//! **Bounds.** Four devices, five instances, one crash of each actor, one reader.

use stateright::{Model, Property};

const DEVICES: usize = 4;
/// A's first writing, A's shrunk writing, the two re-encodings, B's writing.
const FIRST: u8 = 0;
const SHRUNK: u8 = 1;
const RECODED: [u8; 2] = [2, 3];
const OTHER: u8 = 4;

/// The rules, and the planted faults.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A shrunk writing takes a new write id.
    pub shrink_new_id: bool,
    /// A re-encoding is committed when all its shards are durable, not w.
    pub recode_full: bool,
    /// A re-encoding begun before the horizon is refused.
    pub recode_checks_horizon: bool,
    /// A reader fetches the manifest anew as long as it names another instance than the one that was missing; else once.
    pub refetch_while_new: bool,
    /// Planted fault when false: the commit does not name missing shards.
    pub names_missing: bool,
    /// Planted fault when false: "shard repaired" does not name the instance.
    pub repair_names_instance: bool,
    /// Planted fault when false: the worker deletes the old instance before its command has replaced it.
    pub replace_first: bool,
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct WriteRule {
    pub rules: Rules,
    /// Writer B and the reader take part.
    pub other: bool,
    pub reader: bool,
    /// Re-encoding workers, one or two.
    pub workers: usize,
}

impl WriteRule {
    /// Every rule set with its name.
    pub fn all() -> Vec<(&'static str, Self)> {
        let rules = Rules {
            shrink_new_id: true,
            recode_full: true,
            recode_checks_horizon: true,
            refetch_while_new: true,
            names_missing: true,
            repair_names_instance: true,
            replace_first: true,
        };
        let plain = WriteRule { rules, other: false, reader: false, workers: 2 };
        let reads = WriteRule { reader: true, ..plain };
        let other = WriteRule { other: true, workers: 1, ..plain };
        vec![
            ("repaired", plain),
            ("repaired, reader", reads),
            ("repaired, second writer", other),
            ("text: shrunk under the same write id", WriteRule { rules: Rules { shrink_new_id: false, ..rules }, ..plain }),
            ("text: re-encoding committed at w", WriteRule { rules: Rules { recode_full: false, ..rules }, ..plain }),
            ("text: late re-encoding after the sweep", WriteRule { rules: Rules { recode_checks_horizon: false, ..rules }, ..plain }),
            ("text: reader fetches anew once", WriteRule { rules: Rules { refetch_while_new: false, ..rules }, ..reads }),
            ("planted: missing shards not named", WriteRule { rules: Rules { names_missing: false, ..rules }, ..plain }),
            ("planted: repair does not name the instance", WriteRule { rules: Rules { repair_names_instance: false, ..rules }, ..other }),
            (
                "planted: old instance deleted before the record changes",
                WriteRule { rules: Rules { replace_first: false, ..rules }, ..plain },
            ),
        ]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    instance: u8,
    missing: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Worker {
    Idle,
    Writing { old: u8 },
    Sent { old: u8, missing: u8 },
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    Idle,
    Writing(u8),
    Sent { instance: u8, missing: u8 },
    Acknowledged(u8),
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reader {
    Idle,
    Holds { instance: u8, refetched: bool },
    Done,
    Cut,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    lost: u8,
    /// Instances a device holds.
    shards: [u8; DEVICES],
    /// Devices that acknowledged a shard of each instance.
    acked: [u8; 5],
    record: Option<Record>,
    versions: u8,
    deletable: u8,
    horizon: u8,
    writers: [Writer; 2],
    workers: [Worker; 2],
    repaired: Option<(u8, u8)>,
    reader: Reader,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    Begin(usize),
    Shrink,
    Store { instance: u8, device: usize },
    SendCommit(usize),
    DeliverCommit(usize),
    Crash(usize),
    Lose(usize),
    Repair(usize),
    DeliverRepaired,
    Recode(usize),
    SendRecode(usize),
    DeliverRecode(usize),
    HorizonPasses(u8),
    Delete(u8),
    DeleteVersion(usize),
    Collect,
    Fetch,
    Read,
}

fn k_of(instance: u8) -> usize {
    if instance == SHRUNK { 1 } else { 2 }
}
fn n_of(instance: u8) -> usize {
    k_of(instance) + 2
}
fn w_of(instance: u8) -> usize {
    k_of(instance) + 1
}
fn all_of(instance: u8) -> u8 {
    (1 << n_of(instance)) - 1
}

impl State {
    fn lives(&self, device: usize) -> bool {
        self.lost & (1 << device) == 0
    }
    fn readable(&self, instance: u8) -> bool {
        (0..DEVICES).filter(|device| self.lives(*device) && self.shards[*device] & (1 << instance) != 0).count() >= k_of(instance)
    }
    fn writing(&self, instance: u8) -> bool {
        self.writers.iter().any(|writer| match writer {
            Writer::Writing(own) | Writer::Acknowledged(own) | Writer::Sent { instance: own, .. } => *own == instance,
            _ => false,
        }) || (0..2).any(|worker| RECODED[worker] == instance && matches!(self.workers[worker], Worker::Writing { .. }))
    }
}

impl Model for WriteRule {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            lost: 0,
            shards: [0; DEVICES],
            acked: [0; 5],
            record: None,
            versions: 0,
            deletable: 0,
            horizon: 0,
            writers: [Writer::Idle; 2],
            workers: [Worker::Idle; 2],
            repaired: None,
            reader: Reader::Idle,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // A chunk that came and went, or never comes, is of no more interest.
        let over = |writer: &Writer| matches!(writer, Writer::Gone | Writer::Acknowledged(_));
        if state.record.is_none() && over(&state.writers[0]) && (!self.other || over(&state.writers[1])) {
            return;
        }
        for writer in 0..2 {
            match state.writers[writer] {
                Writer::Idle if writer == 0 || self.other => actions.push(Action::Begin(writer)),
                Writer::Writing(instance) => {
                    if instance == FIRST {
                        actions.push(Action::Shrink);
                    }
                    if state.acked[instance as usize].count_ones() as usize >= w_of(instance) {
                        actions.push(Action::SendCommit(writer));
                    }
                    actions.push(Action::Crash(writer));
                }
                Writer::Sent { .. } => actions.push(Action::DeliverCommit(writer)),
                Writer::Acknowledged(_) => actions.push(Action::Crash(writer)),
                _ => {}
            }
            if state.versions & (1 << writer) != 0 {
                actions.push(Action::DeleteVersion(writer));
            }
        }
        for instance in 0..5u8 {
            let dead = state.horizon & (1 << instance) != 0 && state.record.is_none_or(|record| record.instance != instance);
            let mut deletable = false;
            let mut in_order = true;
            for device in 0..n_of(instance) {
                let there = state.shards[device] & (1 << instance) != 0;
                if in_order && state.writing(instance) && state.acked[instance as usize] & (1 << device) == 0 && state.lives(device) {
                    // Workers write in the order of the positions.
                    in_order = instance == FIRST || instance == SHRUNK;
                    actions.push(Action::Store { instance, device });
                }
                deletable |= there && (state.deletable & (1 << instance) != 0 || dead);
            }
            if deletable && !state.writing(instance) {
                actions.push(Action::Delete(instance));
            }
            if RECODED.contains(&instance)
                && matches!(state.workers[instance as usize - 2], Worker::Sent { .. })
                && state.horizon & (1 << instance) == 0
            {
                actions.push(Action::HorizonPasses(instance));
            }
        }
        // What may be lost: w−k, or m when nothing is named missing. Before the acknowledgement nothing is promised.
        if let Some(record) = state.record {
            // A shard lost between its own answer and the commit is no matter of the promise: while a writer is at work, w−k in all.
            let at_work = state.writers.iter().any(|writer| matches!(writer, Writer::Writing(_) | Writer::Sent { .. }));
            let budget = if record.missing == 0 && !at_work { 2 } else { w_of(record.instance) - k_of(record.instance) };
            if (state.lost.count_ones() as usize) < budget {
                actions.extend((0..DEVICES).filter(|device| state.lives(*device)).map(Action::Lose));
            }
            if state.readable(record.instance) && state.repaired.is_none() {
                actions
                    .extend((0..DEVICES).filter(|device| record.missing & (1 << device) != 0 && state.lives(*device)).map(Action::Repair));
            }
            for worker in 0..self.workers {
                let other_code = k_of(record.instance) == 1 || (worker == 1 && record.instance == RECODED[0]);
                if state.workers[worker] == Worker::Idle && other_code && state.readable(record.instance) {
                    actions.push(Action::Recode(worker));
                }
            }
            if state.versions == 0 {
                actions.push(Action::Collect);
            }
        }
        for worker in 0..2 {
            match state.workers[worker] {
                Worker::Writing { .. } => {
                    let need = if self.rules.recode_full { DEVICES } else { w_of(RECODED[worker]) };
                    if state.acked[RECODED[worker] as usize].count_ones() as usize >= need {
                        actions.push(Action::SendRecode(worker));
                    }
                }
                Worker::Sent { .. } => actions.push(Action::DeliverRecode(worker)),
                _ => {}
            }
        }
        if state.repaired.is_some() {
            actions.push(Action::DeliverRepaired);
        }
        if self.reader {
            match state.reader {
                Reader::Idle if state.versions != 0 => actions.push(Action::Fetch),
                Reader::Holds { .. } => actions.push(Action::Read),
                _ => {}
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Begin(writer) => state.writers[writer] = Writer::Writing(if writer == 0 { FIRST } else { OTHER }),
            Action::Shrink => {
                state.writers[0] = Writer::Writing(SHRUNK);
                if self.rules.shrink_new_id {
                    state.deletable |= 1 << FIRST;
                }
            }
            Action::Store { instance, device } => {
                // Under the same write id a device that holds the first writing's shard says that it has this shard already.
                let alias = !self.rules.shrink_new_id && instance == SHRUNK && state.shards[device] & (1 << FIRST) != 0;
                if !alias {
                    state.shards[device] |= 1 << instance;
                }
                state.acked[instance as usize] |= 1 << device;
            }
            Action::SendCommit(writer) => {
                let Writer::Writing(instance) = state.writers[writer] else { return None };
                let missing = if self.rules.names_missing { all_of(instance) & !state.acked[instance as usize] } else { 0 };
                state.writers[writer] = Writer::Sent { instance, missing };
            }
            Action::DeliverCommit(writer) => {
                let Writer::Sent { instance, missing } = state.writers[writer] else { return None };
                match state.record {
                    Some(record) if record.instance != instance => {
                        state.deletable |= 1 << instance;
                        state.writers[writer] = Writer::Gone;
                    }
                    _ => {
                        state.record = Some(Record { instance, missing });
                        state.writers[writer] = Writer::Acknowledged(instance);
                    }
                }
                state.versions |= 1 << writer;
            }
            Action::Crash(writer) => state.writers[writer] = Writer::Gone,
            Action::Lose(device) => state.lost |= 1 << device,
            Action::Repair(device) => {
                let instance = state.record?.instance;
                state.shards[device] |= 1 << instance;
                state.repaired = Some((instance, 1 << device));
            }
            Action::DeliverRepaired => {
                let (instance, device) = state.repaired.take()?;
                if let Some(record) = &mut state.record
                    && (record.instance == instance || !self.rules.repair_names_instance)
                {
                    record.missing &= !device;
                }
            }
            Action::Recode(worker) => state.workers[worker] = Worker::Writing { old: state.record?.instance },
            Action::SendRecode(worker) => {
                let Worker::Writing { old } = state.workers[worker] else { return None };
                let missing = all_of(RECODED[worker]) & !state.acked[RECODED[worker] as usize];
                state.workers[worker] = Worker::Sent { old, missing };
                if !self.rules.replace_first {
                    state.deletable |= 1 << old;
                }
            }
            Action::DeliverRecode(worker) => {
                let Worker::Sent { old, missing } = state.workers[worker] else { return None };
                let new = RECODED[worker];
                let late = state.horizon & (1 << new) != 0 && self.rules.recode_checks_horizon;
                let same = state.record.is_some_and(|record| record.instance == old);
                if same && !late {
                    state.record = Some(Record { instance: new, missing });
                    state.deletable |= 1 << old;
                } else {
                    state.deletable |= 1 << new;
                }
                state.workers[worker] = Worker::Done;
            }
            Action::HorizonPasses(instance) => state.horizon |= 1 << instance,
            Action::Delete(instance) => state.shards.iter_mut().for_each(|held| *held &= !(1 << instance)),
            Action::DeleteVersion(writer) => state.versions &= !(1 << writer),
            Action::Collect => {
                let record = state.record.take()?;
                state.deletable |= 1 << record.instance;
            }
            Action::Fetch => state.reader = Reader::Holds { instance: state.record?.instance, refetched: false },
            Action::Read => {
                let Reader::Holds { instance, refetched } = state.reader else { return None };
                state.reader = if state.readable(instance) {
                    Reader::Done
                } else {
                    match state.record.filter(|_| state.versions != 0) {
                        None => Reader::Done,
                        Some(record) if record.instance != instance && (!refetched || self.rules.refetch_while_new) => {
                            Reader::Holds { instance: record.instance, refetched: true }
                        }
                        Some(_) => Reader::Cut,
                    }
                };
            }
        }
        Some(state).filter(|state| state != last)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("a live version is readable", |_, state: &State| {
                state.versions == 0 || state.record.is_some_and(|record| state.readable(record.instance))
            }),
            Property::always("nothing named missing, nothing missing", |_, state: &State| {
                state.record.is_none_or(|record| {
                    record.missing != 0
                        || (0..n_of(record.instance))
                            .all(|device| !state.lives(device) || state.shards[device] & (1 << record.instance) != 0)
                })
            }),
            Property::always("a reader of a live version is not cut", |_, state: &State| state.reader != Reader::Cut),
            Property::sometimes("acknowledged, crashed, repaired, m lost", |_, state: &State| {
                state.writers[0] == Writer::Gone
                    && state.versions & 1 != 0
                    && state.lost.count_ones() == 2
                    && state.record.is_some_and(|record| record.missing == 0)
            }),
            Property::sometimes("re-encoded by the last worker, the old instances gone", |model: &WriteRule, state: &State| {
                let last = RECODED[model.workers - 1];
                state.versions != 0
                    && state.record.is_some_and(|record| record.instance == last)
                    && state.shards.iter().all(|held| held & ((1 << last) - 1) == 0)
            }),
        ];
        if self.reader {
            properties.push(Property::sometimes("a reader ends", |_, state: &State| state.reader == Reader::Done));
        }
        properties
    }
}
