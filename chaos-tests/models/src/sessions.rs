//! Exactly-once sessions: (session, number, lowest unanswered number).
//!
//! **Modelled.** One client process with three operations, sent in any overlap, retried, given up after a deadline; every message stays in the
//! network for ever and may arrive again; answers may be lost; the group may close the session at any time; a replica's state goes
//! through a snapshot; the group keeps at most [`CAP`] answers a session.
//! **Abstracted.** The group is an atomic object (an entry is applied once a position: that is the log's matter); time is an event.
//! **Invariants.** No operation takes effect twice; while the session lives, the answer of an applied operation is there for a client that
//! waits; a client that waits for one operation only is never refused for lack of room; what a client was told is true.
//! **Bounds.** Three operations, two sessions, two answers kept.

use stateright::{Model, Property};

const OPS: usize = 3;
/// Answers kept for a session.
pub const CAP: u32 = 2;

/// The rules, and the planted faults.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What happens at the cap.
    pub cap: Cap,
    /// `SessionExpired` is "unknown" to the client; else it sends the operation again in a new session.
    pub expired_is_unknown: bool,
    /// A number the client has given up counts as answered for the lowest unanswered number.
    pub given_up_counts: bool,
    /// Planted fault when false: a snapshot leaves the answers out.
    pub snapshot_has_answers: bool,
    /// Planted fault when true: a command of an unknown session opens it.
    pub opens_unknown: bool,
}

/// What a group does when it may keep no more answers of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// Numbers from the lowest unanswered one plus the cap on are refused as busy, without effect.
    Window,
    /// Any new number is refused while as many answers as the cap are kept.
    Full,
    /// The oldest answer goes.
    Drop,
}

impl Rules {
    /// Every rule set with its name.
    pub fn all() -> Vec<(&'static str, Self)> {
        let good =
            Rules { cap: Cap::Window, expired_is_unknown: true, given_up_counts: true, snapshot_has_answers: true, opens_unknown: false };
        vec![
            ("repaired", good),
            ("text: answers over the cap are dropped", Rules { cap: Cap::Drop, ..good }),
            ("text: refused while the cap is reached", Rules { cap: Cap::Full, ..good }),
            ("text: expired means not done", Rules { expired_is_unknown: false, ..good }),
            ("text: a given-up number stays unanswered", Rules { given_up_counts: false, ..good }),
            ("planted: snapshot without answers", Rules { snapshot_has_answers: false, ..good }),
            ("planted: unknown session is opened", Rules { opens_unknown: true, ..good }),
        ]
    }
}

/// The model.
pub struct Sessions {
    pub rules: Rules,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Unsent,
    Waiting { session: u8 },
    Answered,
    GivenUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    open: bool,
    low: u8,
    answers: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    ops: [Op; OPS],
    /// For each session and number, the lowest unanswered numbers it was sent with.
    sent: [[u8; OPS]; 2],
    sessions: [Session; 2],
    effects: [u8; OPS],
    restored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    Send(u8),
    Deliver { session: u8, number: u8, low: u8, answered: bool },
    GiveUp(u8),
    Expire,
    Restore,
}

enum Outcome {
    Answer,
    Busy,
    Stale,
    Expired,
}

impl Sessions {
    fn low(&self, state: &State) -> u8 {
        let counts = |op: &Op| *op == Op::Answered || (*op == Op::GivenUp && self.rules.given_up_counts);
        state.ops.iter().position(|op| !counts(op)).unwrap_or(OPS) as u8
    }

    fn apply(&self, state: &mut State, session: u8, number: u8, low: u8) -> Outcome {
        let place = &mut state.sessions[session as usize];
        if !place.open {
            if !self.rules.opens_unknown {
                return Outcome::Expired;
            }
            *place = Session { open: true, low: 0, answers: 0 };
        }
        place.low = place.low.max(low);
        place.answers &= !((1u8 << place.low) - 1);
        if number < place.low {
            return Outcome::Stale;
        }
        if place.answers & (1 << number) != 0 {
            return Outcome::Answer;
        }
        let full = place.answers.count_ones() >= CAP;
        match self.rules.cap {
            Cap::Window if u32::from(number) >= u32::from(place.low) + CAP => return Outcome::Busy,
            Cap::Full if full => return Outcome::Busy,
            Cap::Drop if full => place.answers &= place.answers - 1,
            _ => {}
        }
        place.answers |= 1 << number;
        state.effects[number as usize] += 1;
        Outcome::Answer
    }
}

impl Model for Sessions {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let open = Session { open: true, low: 0, answers: 0 };
        vec![State { ops: [Op::Unsent; OPS], sent: [[0; OPS]; 2], sessions: [open, open], effects: [0; OPS], restored: false }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for number in 0..OPS as u8 {
            match state.ops[number as usize] {
                Op::Unsent if number == 0 || state.ops[number as usize - 1] != Op::Unsent => actions.push(Action::Send(number)),
                Op::Waiting { .. } => {
                    actions.push(Action::Send(number));
                    actions.push(Action::GiveUp(number));
                }
                _ => {}
            }
            for session in 0..2u8 {
                for low in 0..=OPS as u8 {
                    if state.sent[session as usize][number as usize] & (1 << low) != 0 {
                        for answered in [true, false] {
                            actions.push(Action::Deliver { session, number, low, answered });
                        }
                    }
                }
            }
        }
        if state.sessions[0].open {
            actions.push(Action::Expire);
        }
        if !state.restored {
            actions.push(Action::Restore);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Send(number) => {
                let session = match state.ops[number as usize] {
                    Op::Waiting { session } => session,
                    _ => 0,
                };
                state.ops[number as usize] = Op::Waiting { session };
                state.sent[session as usize][number as usize] |= 1 << self.low(&state);
            }
            Action::Deliver { session, number, low, answered } => {
                let outcome = self.apply(&mut state, session, number, low);
                let waits = state.ops[number as usize] == Op::Waiting { session };
                if answered && waits {
                    match outcome {
                        Outcome::Answer => state.ops[number as usize] = Op::Answered,
                        Outcome::Expired if self.rules.expired_is_unknown => state.ops[number as usize] = Op::GivenUp,
                        Outcome::Expired if session == 0 => state.ops[number as usize] = Op::Waiting { session: 1 },
                        _ => {}
                    }
                }
            }
            Action::GiveUp(number) => state.ops[number as usize] = Op::GivenUp,
            Action::Expire => state.sessions[0] = Session { open: false, low: 0, answers: 0 },
            Action::Restore => {
                state.restored = true;
                if !self.rules.snapshot_has_answers {
                    state.sessions.iter_mut().for_each(|session| session.answers = 0);
                }
            }
        }
        Some(state).filter(|state| state != last)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing takes effect twice", |_, state: &State| state.effects.iter().all(|count| *count < 2)),
            Property::always("an answered operation took effect", |_, state: &State| {
                (0..OPS).all(|op| state.ops[op] != Op::Answered || state.effects[op] == 1)
            }),
            Property::always("a waiting client's answer is kept", |_, state: &State| {
                (0..OPS).all(|op| match state.ops[op] {
                    Op::Waiting { session } => {
                        let place = &state.sessions[session as usize];
                        !place.open || state.effects[op] == 0 || place.answers & (1 << op) != 0
                    }
                    _ => true,
                })
            }),
            Property::always("a client with one waiting operation is served", |model: &Sessions, state: &State| {
                let waiting: Vec<u8> = (0..OPS as u8).filter(|op| matches!(state.ops[*op as usize], Op::Waiting { .. })).collect();
                let [number] = waiting[..] else { return true };
                let Op::Waiting { session } = state.ops[number as usize] else { return true };
                let mut after = state.clone();
                let low = model.low(state);
                !matches!(model.apply(&mut after, session, number, low), Outcome::Busy | Outcome::Stale)
            }),
            Property::sometimes("all are answered after a given-up number", |_, state: &State| {
                state.ops == [Op::GivenUp, Op::Answered, Op::Answered] && state.effects[0] == 1
            }),
            Property::sometimes("unknown after expiry, with effect", |_, state: &State| {
                !state.sessions[0].open && state.ops[0] == Op::GivenUp && state.effects[0] == 1
            }),
        ]
    }
}
