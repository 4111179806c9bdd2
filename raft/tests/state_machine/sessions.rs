//! Exactly once: the rules of the `sessions` model on the real code.

use super::group::{Group, id, path, tree};
use skep_placement::ids::DatasourceId;
use skep_raft::state::{ApplyError, GroupKind, Position, apply_batch};
use skep_raft::store::{Changes, MemoryStore, StateStore};
use skep_raft::wire::meta::v1::outcome::What;
use skep_raft::wire::meta::v1::{
    Batch, CloseSessions, Command, CreateFolder, OpenSession, Outcome, Proposal, RejectionCode, command, query, tree_command,
};

const WINDOW: u64 = 4_096;

fn open(group: &mut Group) -> u64 {
    match group.propose(command::What::OpenSession(OpenSession { node: 1, boot: 1 })).what {
        Some(What::SessionOpened(opened)) => opened.session,
        other => panic!("{other:?}"),
    }
}

/// A command that succeeds once only.
fn make(session: u64, number: u64, lowest_unanswered: u64) -> Proposal {
    let folder = CreateFolder { path: path(&format!("/f{number}")), entry: id(10_000 + number), ..CreateFolder::default() };
    let command = Command { what: Some(tree(tree_command::What::CreateFolder(folder))), ..Command::default() };
    Proposal { session, number, lowest_unanswered, command: Some(command) }
}

fn send(group: &mut Group, session: u64, number: u64, lowest: u64) -> Outcome {
    group.batch(vec![make(session, number, lowest)]).remove(0)
}

fn is_done(outcome: &Outcome) -> bool {
    matches!(outcome.what, Some(What::Done(_)))
}

fn folders(group: &Group) -> u64 {
    match group.query(query::What::Totals(Default::default())) {
        skep_raft::wire::meta::v1::answer::What::Totals(totals) => totals.entries,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_retry_gets_the_first_answer_and_has_no_effect() {
    let mut group = Group::datasource();
    let session = open(&mut group);
    let first = send(&mut group, session, 1, 1);
    assert!(is_done(&first), "{first:?}");
    assert_eq!(send(&mut group, session, 1, 1), first);
    // In one entry too.
    let both = group.batch(vec![make(session, 2, 1), make(session, 2, 1)]);
    assert_eq!(both[0], both[1]);
    assert_eq!(folders(&group), 2);
}

#[test]
fn a_refusal_is_an_answer_like_any_other() {
    let mut group = Group::datasource();
    let session = open(&mut group);
    group.mkdir("/f1").unwrap();
    let refused = send(&mut group, session, 1, 1);
    assert!(matches!(&refused.what, Some(What::Rejection(rejection)) if rejection.code == i32::from(RejectionCode::AlreadyExists)));
    let delete = skep_raft::wire::meta::v1::DeleteEntry { path: path("/f1"), permanently: true, ..Default::default() };
    group.tree(tree_command::What::DeleteEntry(delete)).unwrap();
    assert_eq!(send(&mut group, session, 1, 1), refused, "the retry is not carried out although it could be now");
}

#[test]
fn an_unknown_session_is_expired_and_not_opened() {
    let mut group = Group::datasource();
    for _ in 0..2 {
        assert_eq!(send(&mut group, 77, 1, 1).what, Some(What::SessionExpired(true)));
    }
    assert_eq!(folders(&group), 0);
}

#[test]
fn numbers_beyond_the_window_are_busy_without_effect() {
    let mut group = Group::datasource();
    let session = open(&mut group);
    assert_eq!(send(&mut group, session, 1 + WINDOW, 1).what, Some(What::Busy(true)));
    assert_eq!(folders(&group), 0);
    assert!(is_done(&send(&mut group, session, WINDOW, 1)), "the last of the window is taken");
    assert!(is_done(&send(&mut group, session, 1 + WINDOW, 2)), "the window moves with the lowest unanswered number");
    assert_eq!(folders(&group), 2);
}

#[test]
fn a_late_copy_of_a_given_up_number_is_refused() {
    let mut group = Group::datasource();
    let session = open(&mut group);
    // Number 1 was given up by its client before it arrived.
    assert!(is_done(&send(&mut group, session, 2, 2)));
    assert_eq!(send(&mut group, session, 1, 1).what, Some(What::GivenUp(true)));
    assert_eq!(folders(&group), 1);
    // An answered number whose answer is no longer kept does not take effect again.
    assert!(is_done(&send(&mut group, session, 3, 3)));
    assert_eq!(send(&mut group, session, 2, 1).what, Some(What::GivenUp(true)));
    assert_eq!(folders(&group), 2);
}

#[test]
fn the_highest_numbers_are_answered_like_others() {
    let mut group = Group::datasource();
    let session = open(&mut group);
    for lowest in [u64::MAX - 1, u64::MAX] {
        let past = send(&mut group, session, 1, lowest);
        assert_eq!(past.what, Some(What::GivenUp(true)), "from {lowest} on");
    }
    assert_eq!(folders(&group), 0);
}

#[test]
fn answers_that_are_no_longer_needed_go() {
    let rows = |lowest: fn(u64) -> u64| {
        let mut group = Group::datasource();
        let session = open(&mut group);
        (1..10).for_each(|number| assert!(is_done(&send(&mut group, session, number, lowest(number)))));
        group.rows().len()
    };
    assert_eq!(rows(|_all_needed| 1) - rows(|number| number), 8, "of nine answers the last one is kept");
}

#[test]
fn answers_are_part_of_a_snapshot() {
    let mut group = Group::datasource();
    let session = open(&mut group);
    let first = send(&mut group, session, 1, 1);
    let restored = MemoryStore::new();
    let mut changes = Changes::new();
    group.rows().into_iter().for_each(|(family, key, value)| changes.put(family, key.into(), value.into()));
    restored.commit(changes).unwrap();
    let mut restored = Group::on(Box::new(restored), GroupKind::Datasource(DatasourceId(1)));
    restored.index = group.index;
    assert_eq!(send(&mut restored, session, 1, 1), first);
    assert_eq!(folders(&restored), 1);
}

#[test]
fn unused_sessions_are_closed_with_their_answers() {
    let mut group = Group::datasource();
    let (idle, busy) = (open(&mut group), open(&mut group));
    send(&mut group, idle, 1, 1);
    let hour = 3_600;
    group.clock += hour * 1_000_000;
    send(&mut group, busy, 2, 1);
    let close = |group: &mut Group| group.run(command::What::CloseSessions(CloseSessions { unused_seconds: hour })).unwrap().count;
    group.clock += 1_000_000;
    assert_eq!(close(&mut group), 1);
    assert_eq!(close(&mut group), 0);
    assert_eq!(send(&mut group, idle, 1, 1).what, Some(What::SessionExpired(true)), "it took effect, and nobody knows: unknown");
    assert!(is_done(&send(&mut group, busy, 2, 1)));
    let kept = group.rows().into_iter().filter(|(_, key, _)| key[0] == 9).count();
    assert_eq!(kept, 1, "the answers of the closed session are gone");
}

#[test]
fn stamps_grow_whatever_the_clock_does() {
    let mut group = Group::datasource();
    let stamps: Vec<u64> = [5_000_000, 4_000_000, 0, u64::MAX, 7]
        .into_iter()
        .map(|clock| {
            group.clock = clock;
            group.propose(command::What::OpenSession(OpenSession { node: 1, boot: 1 })).stamp
        })
        .collect();
    assert_eq!(stamps[..3], [5_000_000, 5_000_001, 5_000_002]);
    assert!(stamps.is_sorted_by(|a, b| a < b), "{stamps:?}");
}

#[test]
fn an_entry_is_applied_once() {
    let mut group = Group::datasource();
    open(&mut group);
    let snapshot = group.store.snapshot();
    let again = apply_batch(&*snapshot, group.kind, Position { index: 1, term: 1 }, &Batch::default());
    assert_eq!(again.unwrap_err(), ApplyError::AlreadyApplied { index: 1, applied: 1 });
}

#[test]
fn a_proposal_of_nothing_is_refused_as_invalid() {
    let mut group = Group::datasource();
    let outcome = group.batch(vec![Proposal::default()]).remove(0);
    assert!(matches!(outcome.what, Some(What::Rejection(rejection)) if rejection.code == i32::from(RejectionCode::Invalid)));
}
