//! The move of a placement group to another set of devices.
//!
//! **Modelled.** One instance written by one gateway whose map may be stale, three device sets (epochs 0, 1, 2; a device may stay and
//! change its position), a fence a device, the mover (fence, list, read records, copy, clean), a second move that may begin before the
//! first is clean, shard messages that arrive at any time while the gateway waits, a commit that arrives at any later time, lost devices, optionally a
//! substitute device outside every set. When a move is clean, devices drop what they hold for the past sets.
//! **Abstracted.** Instances do not touch each other, so one is enough; the system group's map and the datasource's records are atomic
//! objects; the horizon is an event after which the uncommitted instance can no longer be committed.
//! **Invariants.** An acknowledged chunk is readable with up to w−k devices lost, or m once all shards were durable; after a clean move at
//! least w of its shards have been put in their places of the target set (unless its record names a device list of its own).
//! **Bounds.** n = 3 as 2+1 (w = 3) and 1+2 (w = 2), 7 devices, two moves, one gateway.

use stateright::{Model, Property};

const DEVICES: usize = 7;
const SUBSTITUTE: usize = 6;
const N: usize = 3;
const SETS: [[usize; N]; 3] = [[0, 1, 2], [3, 0, 4], [3, 5, 1]];

/// The rules, and the planted faults.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// After a refusal the gateway counts only shards in their places of the set it now writes to.
    pub resend_all: bool,
    /// A set is done when n−w+1 of its devices, or all that are not lost, have been listed after their fence; else when the fenced ones
    /// that still live have been.
    pub count_listings: bool,
    /// A lost device needs no answer if every other has given one.
    pub lost_need_no_answer: bool,
    /// An instance found with fewer than k shards keeps the past sets until it is committed or the horizon has passed it.
    pub partial_waits: bool,
    /// When clean, devices drop only what the mover has copied and verified; the sweep takes the rest.
    pub drop_verified_only: bool,
    /// Planted fault when false: devices are listed before the set is closed.
    pub close_first: bool,
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct PgMove {
    pub rules: Rules,
    pub k: usize,
    pub w: usize,
    /// Moves that may begin.
    pub moves: u8,
    /// The gateway may use a substitute for the third device.
    pub substitute: bool,
}

impl PgMove {
    /// Every rule set with its name.
    pub fn all() -> Vec<(&'static str, Self)> {
        let rules = Rules {
            resend_all: true,
            count_listings: true,
            lost_need_no_answer: true,
            partial_waits: true,
            drop_verified_only: true,
            close_first: true,
        };
        let striped = PgMove { rules, k: 2, w: 3, moves: 2, substitute: false };
        let copies = PgMove { rules, k: 1, w: 2, moves: 2, substitute: false };
        let outside = PgMove { substitute: true, moves: 1, ..striped };
        vec![
            ("repaired 2+1, one move", PgMove { moves: 1, ..striped }),
            ("repaired 1+2, one move", PgMove { moves: 1, ..copies }),
            ("repaired 2+1, two moves", striped),
            ("repaired 1+2, two moves", copies),
            ("repaired 2+1 with a substitute", outside),
            ("repaired 1+2 with a substitute", PgMove { substitute: true, moves: 1, ..copies }),
            ("text: only what is missing is sent again, 2+1", PgMove { rules: Rules { resend_all: false, ..rules }, ..striped }),
            ("text: fenced device lost before its listing, 2+1", PgMove { rules: Rules { count_listings: false, ..rules }, ..striped }),
            ("text: fenced device lost before its listing, 1+2", PgMove { rules: Rules { count_listings: false, ..rules }, ..copies }),
            ("text: lost devices must answer, 1+2", PgMove { rules: Rules { lost_need_no_answer: false, ..rules }, moves: 1, ..copies }),
            ("text: partial instance is left, 2+1", PgMove { rules: Rules { partial_waits: false, ..rules }, ..striped }),
            (
                "text: everything of past sets is dropped, substitute",
                PgMove { rules: Rules { drop_verified_only: false, ..rules }, ..outside },
            ),
            (
                "everything of past sets is dropped, no substitute",
                PgMove { rules: Rules { drop_verified_only: false, ..rules }, moves: 1, ..striped },
            ),
            ("planted: listing before closing, 2+1", PgMove { rules: Rules { close_first: false, ..rules }, ..striped }),
            ("planted: listing before closing, 1+2", PgMove { rules: Rules { close_first: false, ..rules }, ..copies }),
        ]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    Idle,
    Writing { epoch: u8 },
    Sent { listed: bool },
    Done,
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Epoch of the target set, and of the oldest set still in the map.
    current: u8,
    base: u8,
    fence: [u8; DEVICES],
    lost: u8,
    /// Shard indexes a device holds (lost devices keep theirs, unread).
    shards: [u8; DEVICES],
    /// Epochs under which the shards were sent.
    sent: u8,
    acked: [u8; 3],
    acked_substitute: bool,
    writer: Writer,
    commit: Option<bool>,
    /// The record; true: it names a device list of its own.
    record: Option<bool>,
    horizon_passed: bool,
    refused: bool,
    full: bool,
    /// The move began with the promised number of devices of the first set lost.
    lost_before: bool,
    answered: u8,
    listed: u8,
    found: bool,
    records_read: bool,
    copied: u8,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    Begin,
    Deliver { epoch: u8, index: usize },
    Refuse { epoch: u8, index: usize },
    DeliverSubstitute,
    SendCommit,
    DeliverCommit,
    Crash,
    Lose(usize),
    StartMove,
    Fence(usize),
    List(usize),
    ReadRecords,
    Copy(usize),
    HorizonPasses,
    Clean,
}

impl PgMove {
    fn home(&self, state: &State) -> [usize; N] {
        SETS[state.current as usize]
    }
    fn older<'a>(&self, state: &'a State) -> impl Iterator<Item = &'static [usize; N]> + 'a {
        SETS[state.base as usize..state.current as usize].iter()
    }
    fn lives(state: &State, device: usize) -> bool {
        state.lost & (1 << device) == 0
    }
    fn readable(&self, state: &State) -> usize {
        (0..DEVICES).filter(|device| Self::lives(state, *device)).fold(0u8, |all, device| all | state.shards[device]).count_ones() as usize
    }
    fn durable(&self, state: &State, epoch: u8) -> usize {
        let mut indexes = 0u8;
        for index in 0..N {
            for sent in 0..=epoch as usize {
                let place = SETS[sent][index] == SETS[epoch as usize][index];
                if state.acked[sent] & (1 << index) != 0 && (place || !self.rules.resend_all) {
                    indexes |= 1 << index;
                }
            }
        }
        if state.acked_substitute {
            indexes |= 1 << 2;
        }
        indexes.count_ones() as usize
    }
    fn enough(&self, state: &State, set: &[usize; N], done: u8) -> bool {
        let count = set.iter().filter(|device| done & (1 << **device) != 0).count();
        count > N - self.w
            || (self.rules.lost_need_no_answer && set.iter().all(|device| done & (1 << *device) != 0 || !Self::lives(state, *device)))
    }
    fn closed(&self, state: &State) -> bool {
        self.older(state).all(|set| self.enough(state, set, state.answered))
    }
    fn listing_done(&self, state: &State) -> bool {
        if self.rules.count_listings {
            self.older(state).all(|set| self.enough(state, set, state.listed))
        } else {
            (0..DEVICES)
                .all(|device| state.answered & (1 << device) == 0 || state.listed & (1 << device) != 0 || !Self::lives(state, device))
        }
    }
    fn note_full(&self, state: &mut State) {
        state.full |= state.record.is_some()
            && (state.base..=state.current).any(|epoch| {
                (0..N).all(|index| {
                    let device = SETS[epoch as usize][index];
                    Self::lives(state, device) && state.shards[device] & (1 << index) != 0
                })
            });
    }
}

impl Model for PgMove {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            current: 0,
            base: 0,
            fence: [0; DEVICES],
            lost: 0,
            shards: [0; DEVICES],
            sent: 0,
            acked: [0; 3],
            acked_substitute: false,
            writer: Writer::Idle,
            commit: None,
            record: None,
            horizon_passed: false,
            refused: false,
            full: false,
            lost_before: false,
            answered: 0,
            listed: 0,
            found: false,
            records_read: false,
            copied: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // An instance that can no longer be acknowledged is of no more interest.
        let pointless = state.record.is_none() && (state.horizon_passed || state.writer == Writer::Gone);
        if pointless {
            return;
        }
        match state.writer {
            Writer::Idle => actions.push(Action::Begin),
            Writer::Writing { epoch } => {
                if self.durable(state, epoch) >= self.w {
                    actions.push(Action::SendCommit);
                }
                if self.substitute && !state.acked_substitute {
                    actions.push(Action::DeliverSubstitute);
                }
                actions.push(Action::Crash);
            }
            _ => {}
        }
        for epoch in 0..3u8 {
            for index in 0..N {
                let device = SETS[epoch as usize][index];
                // A shard that comes after the gateway has what it needs only adds to what is there.
                if state.sent & (1 << epoch) != 0 && Self::lives(state, device) && matches!(state.writer, Writer::Writing { .. }) {
                    if state.fence[device] <= epoch {
                        actions.push(Action::Deliver { epoch, index });
                    } else if state.writer == (Writer::Writing { epoch }) {
                        actions.push(Action::Refuse { epoch, index });
                    }
                }
            }
        }
        if state.commit.is_some() {
            actions.push(Action::DeliverCommit);
        }
        let lost = state.lost.count_ones() as usize;
        let budget = if state.full { N - self.k } else { self.w - self.k };
        if lost < budget {
            actions.extend((0..SUBSTITUTE).filter(|device| Self::lives(state, *device)).map(Action::Lose));
        }
        // A move after a clean one is like the first.
        if state.current < self.moves && (state.current == 0 || state.base < state.current) {
            actions.push(Action::StartMove);
        }
        if state.base < state.current {
            let closed = self.closed(state);
            let mut listing = true;
            for device in 0..SUBSTITUTE {
                let old = self.older(state).any(|set| set.contains(&device));
                if old && Self::lives(state, device) {
                    if state.answered & (1 << device) == 0 {
                        actions.push(Action::Fence(device));
                    }
                    let may_list = if self.rules.close_first { closed && state.answered & (1 << device) != 0 } else { true };
                    if may_list && listing && state.listed & (1 << device) == 0 {
                        // With two moves the mover lists in the order of the devices and reads the records last.
                        listing = self.moves == 1;
                        actions.push(Action::List(device));
                    }
                }
            }
            let listed = self.moves == 1 || self.listing_done(state);
            if (closed || !self.rules.close_first) && listed && !state.records_read {
                actions.push(Action::ReadRecords);
            }
            if state.found && self.readable(state) >= self.k {
                // The mover copies in the order of the positions.
                let next = state.copied.count_ones() as usize;
                if next < N && Self::lives(state, self.home(state)[next]) {
                    actions.push(Action::Copy(next));
                }
            }
            if closed && state.records_read && self.listing_done(state) {
                let copied = state.copied.count_ones() as usize == N;
                let left = if self.rules.partial_waits {
                    state.horizon_passed && state.record.is_none()
                } else {
                    self.readable(state) < self.k && state.record.is_none()
                };
                if !state.found || copied || left {
                    actions.push(Action::Clean);
                }
            }
        }
        if !state.horizon_passed && state.record.is_none() && state.writer != Writer::Idle {
            actions.push(Action::HorizonPasses);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Begin => {
                // The map may be as old as the first epoch.
                state.writer = Writer::Writing { epoch: 0 };
                state.sent = 1;
            }
            Action::Deliver { epoch, index } => {
                state.shards[SETS[epoch as usize][index]] |= 1 << index;
                if matches!(state.writer, Writer::Writing { .. }) {
                    state.acked[epoch as usize] |= 1 << index;
                }
            }
            Action::Refuse { .. } => {
                state.writer = Writer::Writing { epoch: state.current };
                state.sent |= 1 << state.current;
                state.refused = true;
            }
            Action::DeliverSubstitute => {
                state.shards[SUBSTITUTE] |= 1 << 2;
                state.acked_substitute = true;
            }
            Action::SendCommit => {
                state.commit = Some(state.acked_substitute);
                state.writer = Writer::Sent { listed: state.acked_substitute };
            }
            Action::DeliverCommit => {
                let listed = state.commit.take()?;
                state.writer = Writer::Gone;
                if !state.horizon_passed {
                    state.record = Some(listed);
                    state.writer = Writer::Done;
                }
            }
            Action::Crash => state.writer = Writer::Gone,
            Action::Lose(device) => state.lost |= 1 << device,
            Action::StartMove => {
                state.lost_before =
                    state.current == 0 && SETS[0].iter().filter(|device| !Self::lives(&state, **device)).count() == N - self.k;
                state.current += 1;
                (state.answered, state.listed, state.found, state.records_read, state.copied) = (0, 0, false, false, 0);
            }
            Action::Fence(device) => {
                state.fence[device] = state.current;
                state.answered |= 1 << device;
            }
            Action::List(device) => {
                state.listed |= 1 << device;
                state.found |= state.shards[device] != 0;
            }
            Action::ReadRecords => {
                state.records_read = true;
                state.found |= state.record.is_some();
            }
            Action::Copy(index) => {
                state.shards[self.home(&state)[index]] |= 1 << index;
                state.copied |= 1 << index;
            }
            Action::HorizonPasses => state.horizon_passed = true,
            Action::Clean => {
                let verified = state.copied.count_ones() as usize == N;
                if verified || !self.rules.drop_verified_only {
                    let home = self.home(&state);
                    let past: Vec<usize> = self.older(&state).flatten().copied().collect();
                    for device in past {
                        let keep = (0..N).filter(|index| home[*index] == device).fold(0u8, |all, index| all | 1 << index);
                        state.shards[device] &= keep;
                    }
                }
                state.base = state.current;
                (state.answered, state.listed, state.found, state.records_read, state.copied) = (0, 0, false, false, 0);
            }
        }
        self.note_full(&mut state);
        Some(state).filter(|state| state != last)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("an acknowledged chunk is readable", |model: &PgMove, state: &State| {
                state.record.is_none() || model.readable(state) >= model.k
            }),
            Property::always("after a clean move it is in the target set", |model: &PgMove, state: &State| {
                let home = model.home(state);
                let placed = (0..N).filter(|index| state.shards[home[*index]] & (1 << index) != 0).count();
                state.base < state.current || state.record != Some(false) || placed >= model.w
            }),
            Property::sometimes("refused, sent again, acknowledged, moved", |_, state: &State| {
                state.refused && state.record.is_some() && state.base == state.current && state.base > 0
            }),
            Property::sometimes("a move that begins after the promised losses ends clean", |_, state: &State| {
                state.lost_before && state.record.is_some() && state.base == state.current
            }),
        ];
        if self.moves > 1 {
            properties.push(Property::sometimes("a second move begins before the first is clean", |_, state: &State| {
                state.current == 2 && state.base == 0 && state.record.is_some()
            }));
        }
        properties
    }
}
