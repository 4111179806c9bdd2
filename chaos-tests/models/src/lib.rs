//! Explicit-state models of Skep's protocols, one protocol a module, checked with `stateright`.
//!
//! Every model lists its runs in `all()`, by name: "repaired" is the protocol as Skep implements it and must hold, "text" is one point
//! of it decided otherwise and must be violated, "planted" is a fault the model must find. Whoever changes one of these protocols in the
//! code changes its model first.
//! `cargo run --release` prints a line for each run, `--long` all of them; `cargo test --release` asserts the verdicts of the quick runs,
//! with `SKEP_LONG=1` of all.

pub mod collection;
pub mod pg_move;
pub mod segment_log;
pub mod sessions;
pub mod write_rule;

use stateright::{Checker, Expectation, HasDiscoveries, Model};
use std::fmt::Debug;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// What one run of the checker found.
#[derive(Debug)]
pub struct Verdict {
    /// Distinct states visited.
    pub states: usize,
    /// Length of the longest shortest path.
    pub depth: usize,
    /// Wall time of the run.
    pub seconds: f64,
    /// True if the whole state space within the bounds was visited.
    pub exhausted: bool,
    /// Violated properties, each with the actions that lead to the violation.
    pub violations: Vec<(&'static str, Vec<String>)>,
    /// `sometimes` properties that no state satisfied: the model would be vacuous.
    pub unreached: Vec<&'static str>,
}

impl Verdict {
    /// The model was searched completely, nothing is violated and everything that should be reachable is.
    pub fn holds(&self) -> bool {
        self.exhausted && self.violations.is_empty() && self.unreached.is_empty()
    }

    /// Whether this is what the run must find; an unfinished search never is.
    pub fn is(&self, expected: Expected) -> bool {
        match expected {
            Expected::Holds => self.holds(),
            Expected::Fails => !self.violations.is_empty() || (self.exhausted && !self.unreached.is_empty()),
        }
    }
}

/// Searches the state space breadth first on two threads; stops at the first violation or after `limit`.
pub fn explore<M>(model: M, limit: Duration) -> Verdict
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    let start = Instant::now();
    let checker = model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).timeout(limit).spawn_bfs().join();
    let elapsed = start.elapsed();
    let found = checker.discoveries();
    let mut violations = Vec::new();
    let mut unreached = Vec::new();
    for property in checker.model().properties() {
        let path = found.get(property.name);
        match (&property.expectation, path) {
            (Expectation::Sometimes, None) => unreached.push(property.name),
            (Expectation::Sometimes, Some(_)) | (_, None) => {}
            (_, Some(path)) => {
                violations.push((property.name, path.clone().into_actions().iter().map(|action| format!("{action:?}")).collect()))
            }
        }
    }
    Verdict {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        seconds: elapsed.as_secs_f64(),
        exhausted: violations.is_empty() && elapsed < limit,
        violations,
        unreached,
    }
}

/// What a run must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing is violated, everything that should be reachable is.
    Holds,
    /// The fault is found: a property is violated, or a state that should be reachable is not.
    Fails,
}

/// One model under one rule set.
pub struct Run {
    /// `protocol/rule set`.
    pub name: String,
    /// Takes more than half a minute, or gigabytes of memory.
    pub long: bool,
    explore: Box<dyn FnOnce(Duration) -> Verdict>,
}

impl Run {
    fn new<M>(protocol: &str, name: &str, model: M) -> Self
    where
        M: Model + Send + Sync + 'static,
        M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
        M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
    {
        let name = format!("{protocol}/{name}");
        let long = LONG.contains(&name.as_str());
        Run { name, long, explore: Box::new(move |limit| explore(model, limit)) }
    }

    /// Searches the state space, for at most `limit`.
    pub fn verdict(self, limit: Duration) -> Verdict {
        (self.explore)(limit)
    }

    /// What the name promises.
    pub fn expected(&self) -> Expected {
        let rules = self.name.split_once('/').map_or("", |(_protocol, rules)| rules);
        if rules.starts_with("text") || rules.starts_with("planted") { Expected::Fails } else { Expected::Holds }
    }
}

/// The runs that only `--long` makes.
const LONG: [&str; 5] = [
    "collection/repaired: upload, writer, sweep",
    "pg_move/repaired 2+1, two moves",
    "pg_move/repaired 1+2, two moves",
    "write_rule/repaired, reader",
    "write_rule/repaired, second writer",
];

/// Every model under every rule set.
pub fn runs() -> Vec<Run> {
    let mut runs = Vec::new();
    for (name, rules) in collection::Rules::all() {
        runs.push(Run::new("collection", name, collection::Collection { rules }));
    }
    for (name, model) in pg_move::PgMove::all() {
        runs.push(Run::new("pg_move", name, model));
    }
    for (name, model) in segment_log::SegmentLog::all() {
        runs.push(Run::new("segment_log", name, model));
    }
    for (name, model) in write_rule::WriteRule::all() {
        runs.push(Run::new("write_rule", name, model));
    }
    for (name, rules) in sessions::Rules::all() {
        runs.push(Run::new("sessions", name, sessions::Sessions { rules }));
    }
    runs
}
