//! Random work, crashes, power cuts and failing disks: what was acknowledged is there afterwards, what is there is a prefix of what was asked, and
//! nothing is refused, because nothing was damaged.

use proptest::prelude::*;
use skep_placement::ids::{GroupId, RaftId};
use skep_raft::log::testing::{Faults, SimFiles, SteppedLog};
use skep_raft::log::{GroupKey, LogPosition};

use crate::rig::{Answers, GroupState, Random, State, entry, open, position, state_of, vote};

/// One run.
struct Run {
    random: Random,
    files: SimFiles,
    log: SteppedLog,
    /// The state after each request since the last start; the first is the state at the start.
    states: Vec<State>,
    answers: Answers,
    /// Committed ids saved and not known to be lost.
    committed: Vec<(GroupKey, LogPosition)>,
    keys: Vec<GroupKey>,
    next_raft: u64,
    lying_disk: bool,
}

fn key(group: u64, raft: u64) -> GroupKey {
    GroupKey { group: GroupId(group), raft: RaftId(raft) }
}

impl Run {
    fn new(seed: u64, lying_disk: bool) -> Self {
        let files = SimFiles::new(512);
        files.set_faults(Faults { ignore_syncs: lying_disk, ..Faults::default() });
        let log = open(&files).expect("an empty folder is opened");
        Run {
            random: Random(seed),
            files,
            log,
            states: vec![State::new()],
            answers: Answers::default(),
            committed: Vec::new(),
            keys: vec![key(1, 1), key(2, 2), key(3, 3)],
            next_raft: 4,
            lying_disk,
        }
    }

    fn work(&mut self, steps: u32) -> Result<(), String> {
        for _ in 0..steps {
            let went = match self.random.below(100) {
                0..50 => {
                    self.request();
                    true
                }
                50..72 => self.log.step().is_ok(),
                72..80 => self.log.settle().is_ok(),
                80..88 => false,
                88..94 => {
                    self.plan_fault();
                    true
                }
                _ => {
                    let newest = self.states.last().cloned().unwrap_or_default();
                    if state_of(&self.log.log) != newest {
                        return Err("memory differs from what was asked".into());
                    }
                    true
                }
            };
            if !went {
                self.restart()?;
            }
        }
        self.restart()
    }

    fn plan_fault(&mut self) {
        let after = Some(self.random.below(6));
        let ignore_syncs = self.lying_disk;
        self.files.set_faults(match self.random.below(3) {
            0 => Faults { fail_sync_in: after, ignore_syncs, ..Faults::default() },
            1 => Faults { fail_write_in: after, ignore_syncs, ..Faults::default() },
            _ => Faults { crash_in: after, ignore_syncs, ..Faults::default() },
        });
    }

    /// Asks for one random change of one group.
    fn request(&mut self) {
        let at = usize::try_from(self.random.below(3)).expect("it is small");
        let key = self.keys[at];
        let group = self.log.log.group(key.group, key.raft).expect("there is room for it");
        let mut states = self.states.last().cloned().unwrap_or_default();
        let state = states.entry(key).or_default();
        let done = self.answers.done(self.states.len());
        match self.random.below(20) {
            0..3 => {
                let term = u64::from(self.random.below(1000));
                state.vote = Some(vote(term));
                group.submit_vote(vote(term), done).expect("it is running");
            }
            3..12 => {
                let first = state.next_index();
                let term = state.last().map_or(1, |last| last.term) + u64::from(self.random.below(2));
                let count = u64::from(self.random.below(5));
                let entries: Vec<_> = (first..first + count)
                    .map(|index| entry(term, index, usize::try_from(self.random.below(1500)).expect("it is small")))
                    .collect();
                state.entries.extend(entries.iter().cloned());
                group.submit_append(entries, done).expect("it follows");
            }
            12..14 => {
                let committed = group.committed().expect("it is there").map_or(0, |committed| committed.index);
                let first = state.entries.first().map_or(1, |entry| entry.position.index).max(committed + 1);
                let from = first + u64::from(self.random.below(8));
                state.entries.retain(|entry| entry.position.index < from);
                group.submit_truncate(from, done).expect("it is running");
            }
            14..16 => {
                let index = state.purged.map_or(1, |purged| purged.index) + u64::from(self.random.below(10));
                let upto =
                    state.entries.iter().map(|entry| entry.position).find(|at| at.index == index).unwrap_or_else(|| position(1, index));
                if state.purged.is_none_or(|purged| purged.index < index) {
                    state.purged = Some(upto);
                    state.entries.retain(|entry| entry.position.index > index);
                }
                group.submit_purge(upto, done).expect("it is running");
            }
            16..19 => {
                if let Some(last) = state.last() {
                    self.committed.push((key, last));
                    group.note_committed(last).expect("it is running");
                }
                return;
            }
            _ => {
                states.remove(&key);
                self.log.log.remove(key.group, key.raft, done).expect("it is there");
                self.keys[at] = GroupKey { group: key.group, raft: RaftId(self.next_raft) };
                self.next_raft += 1;
            }
        }
        states.retain(|_, state| *state != GroupState::default());
        self.states.push(states);
    }

    /// Ends the process or cuts the power until a start succeeds, and looks what is there then.
    fn restart(&mut self) -> Result<(), String> {
        let acknowledged = self.answers.acknowledged();
        if !acknowledged.is_sorted() {
            return Err("callbacks came out of order".into());
        }
        let acknowledged = acknowledged.last().copied().unwrap_or_default();
        loop {
            let mode = self.random.below(4);
            let random = &mut self.random;
            self.files = match mode {
                0 => self.files.crash(),
                1 => self.files.power_cut(&mut |_choices| 0),
                2 => self.files.power_cut(&mut |choices| choices - 1),
                _ => self.files.power_cut(&mut |choices| random.below(choices)),
            };
            let faulty = self.random.below(3) == 0;
            self.files.set_faults(Faults { ignore_syncs: self.lying_disk, ..Faults::default() });
            if faulty {
                self.plan_fault();
            }
            match open(&self.files) {
                Ok(log) => {
                    self.log = log;
                    break;
                }
                Err(skep_raft::log::LogError::Io { .. }) if faulty => {}
                Err(error) => return Err(format!("refused though nothing was damaged: {error}")),
            }
        }
        let found = state_of(&self.log.log);
        let Some(prefix) = self.states.iter().rposition(|state| *state == found) else {
            return Err("what is there is no prefix of what was asked".into());
        };
        if prefix < acknowledged {
            return Err(format!("request {acknowledged} was acknowledged, only {prefix} are there"));
        }
        self.check_committed(&found)?;
        self.states = vec![found];
        self.answers = Answers::default();
        Ok(())
    }

    fn check_committed(&mut self, found: &State) -> Result<(), String> {
        let mut kept = Vec::new();
        for key in self.log.log.groups() {
            let group = self.log.log.group(key.group, key.raft).expect("there is room for it");
            let Some(committed) = group.committed().expect("it is there") else { continue };
            if !self.committed.contains(&(key, committed)) {
                return Err(format!("{key}: nobody saved the committed id {committed:?}"));
            }
            if found.get(&key).and_then(GroupState::last).is_none_or(|last| last.index < committed.index) {
                return Err(format!("{key}: the entry of the committed id {committed:?} is not there"));
            }
            kept.push((key, committed));
        }
        self.committed = kept;
        for at in 0..self.keys.len() {
            // A removal that was lost brings the old replica back; it is used on.
            let group = self.keys[at].group;
            if let Some(key) = found.keys().rfind(|key| key.group == group) {
                self.keys[at] = *key;
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_is_there(seed: u64) {
        let result = Run::new(seed, false).work(250);
        prop_assert!(result.is_ok(), "{:?}", result);
    }
}

#[test]
fn a_disk_that_lies_about_syncs_is_noticed() {
    let caught = (0..40).filter(|seed| std::panic::catch_unwind(|| Run::new(*seed, true).work(250)).map_or(true, |result| result.is_err()));
    assert!(caught.count() >= 30, "the test above would find out that nothing was synced");
}
