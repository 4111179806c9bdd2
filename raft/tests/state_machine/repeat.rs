//! Requests that may be repeated: done once while their key is kept, the same again, and never another request under the same key.

use super::group::{Group, put_of, tree};
use super::pair::ask;
use proptest::prelude::*;
use skep_raft::keys::{IdempotentExpiryKey, IdempotentKey, Kind, StateKey};
use skep_raft::wire::meta::v1::{Command, Done, Idempotency, PruneMeta, RejectionCode, command, new_content, tree_command};
use std::collections::BTreeMap;

const DAY: u64 = 24 * 3_600 * 1_000_000;

#[derive(Clone, Debug)]
enum Event {
    Ask { key: u8, request: u8, step: u8, refused: bool },
    Wait { hours: u64 },
    Prune { limit: u32 },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (1..4_u8, 0..20_u8, 1..4_u8, 0..5_u8)
            .prop_map(|(key, request, step, refused)| Event::Ask { key, request: u8::from(request == 0), step, refused: refused == 0 }),
        2 => (1..10_u64).prop_map(|hours| Event::Wait { hours }),
        1 => (1..4_u32).prop_map(|limit| Event::Prune { limit }),
    ]
}

/// What is kept under a key.
struct Kept {
    since: u64,
    request: u8,
    steps: BTreeMap<u8, Done>,
}

#[derive(Default)]
struct Model {
    kept: BTreeMap<u8, Kept>,
    /// How often each file was written.
    written: BTreeMap<String, u64>,
}

impl Model {
    fn ask(&mut self, group: &mut Group, (key, request, step, refused): (u8, u8, u8, bool)) -> Result<(), TestCaseError> {
        let stamp = group.next_stamp();
        self.kept.retain(|_, kept| stamp - kept.since < DAY);
        let name = format!("{}f{key}-{request}-{step}", if refused { "missing/" } else { "" });
        let from = new_content::From::Inlined(vec![key].into());
        let put = tree_command::What::PutFile(put_of(&name, group.id(), group.id(), 1, from));
        let asked = Idempotency { key: vec![key; 32].into(), request: vec![request; 32].into(), step: vec![step; 32].into() };
        let done = ask(group, Command { idempotency: Some(asked), what: Some(tree(put)), ..Command::default() });
        let kept = self.kept.get(&key);
        if kept.is_some_and(|kept| kept.request != request) {
            prop_assert_eq!(super::group::code(done), RejectionCode::KeyReused);
            return Ok(());
        }
        if let Some(first) = kept.and_then(|kept| kept.steps.get(&step)) {
            prop_assert_eq!(done, Ok(Done { replayed: true, ..first.clone() }));
            return Ok(());
        }
        if refused {
            prop_assert_eq!(super::group::code(done), RejectionCode::ParentNotFound);
            return Ok(());
        }
        let done = done.map_err(|rejection| TestCaseError::fail(format!("{rejection:?}")))?;
        let times = self.written.entry(name).or_default();
        *times += 1;
        prop_assert_eq!((done.replayed, done.entry.as_ref().map(|entry| entry.version_number)), (false, Some(*times)));
        let kept = self.kept.entry(key).or_insert_with(|| Kept { since: stamp, request, steps: BTreeMap::new() });
        kept.steps.insert(step, done);
        Ok(())
    }
}

fn prune(group: &mut Group, limit: u32) -> u64 {
    group.run(command::What::PruneMeta(PruneMeta { limit })).unwrap().count
}

/// Rows of requests and of their ends.
fn rows(group: &Group) -> (usize, usize) {
    let rows = group.rows();
    let of = |kind: Kind| rows.iter().filter(|(_, key, _)| key[0] == kind.number()).count();
    (of(IdempotentKey::KIND), of(IdempotentExpiryKey::KIND))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_request_is_done_once_a_day(events in proptest::collection::vec(event(), 1..50)) {
        let (mut group, mut model) = (Group::datasource(), Model::default());
        for event in events {
            match event {
                Event::Ask { key, request, step, refused } => model.ask(&mut group, (key, request, step, refused))?,
                Event::Wait { hours } => group.clock += hours * 3_600 * 1_000_000,
                Event::Prune { limit } => drop(prune(&mut group, limit)),
            }
            group.check();
        }
        group.clock += DAY + 1_000_000;
        while prune(&mut group, 2) > 0 {
            group.check();
        }
        prop_assert_eq!(rows(&group), (0, 0), "everything is forgotten after a day");
    }
}
