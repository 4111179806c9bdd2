//! The audit: a line for each change and refusal of somebody, none for what changed nothing or was the cluster's own, and an end after 90 days.

use skep_raft::wire::meta::v1::outcome::What as Outcome;
use skep_raft::wire::meta::v1::{
    Actor, AppendUpload, AuditLine, AuditQuery, AuditRecord, BatchStep, Command, ContentCommand, CreateFolder, DeleteEntry, HoldsStill,
    Idempotency, IdentityCommand, NoteRefusal, Precondition, Proposal, PruneMeta, TreeBatch, answer, batch_step, command, content_command,
    identity_command, query, tree_command,
};

use super::group::{Group, path, tree};

/// Seconds that a line is kept.
const KEPT_SECONDS: u64 = 90 * 24 * 3_600;

fn alice() -> Option<Actor> {
    Some(Actor { user: vec![7; 16].into(), login: "alice".to_owned() })
}

fn by_alice(what: command::What) -> Command {
    let (request_id, from) = ("request-1".to_owned(), "192.0.2.7".to_owned());
    Command { actor: alice(), rights_index: 5, request_id, from, what: Some(what), ..Command::default() }
}

fn apply(group: &mut Group, command: Command) -> Outcome {
    group.batch(vec![Proposal { command: Some(command), ..Proposal::default() }]).remove(0).what.unwrap()
}

fn lines(group: &Group) -> Vec<AuditRecord> {
    match group.query(query::What::Audit(AuditQuery { limit: 1_000, ..AuditQuery::default() })) {
        answer::What::Audit(page) => page.lines.into_iter().filter_map(|line| line.record).collect(),
        other => panic!("{other:?}"),
    }
}

/// Action, subject and outcome of the lines behind the first ones.
fn short(group: &Group, passed: usize) -> Vec<(String, String, String)> {
    lines(group).into_iter().skip(passed).map(|line| (line.action, line.subject, line.outcome)).collect()
}

fn expected(lines: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    let owned = |text: &&str| (*text).to_owned();
    lines.iter().map(|(action, subject, outcome)| (owned(action), owned(subject), owned(outcome))).collect()
}

fn make(group: &mut Group, at: &str) -> tree_command::What {
    tree_command::What::CreateFolder(CreateFolder { path: path(at), entry: group.id(), ..CreateFolder::default() })
}

fn delete(at: &str) -> DeleteEntry {
    DeleteEntry { path: path(at), permanently: true, ..DeleteEntry::default() }
}

#[test]
fn a_change_and_a_refusal_say_who_whence_what_and_on_what() {
    let mut group = Group::datasource();
    let make_a = make(&mut group, "/a");
    apply(&mut group, by_alice(tree(make_a)));
    let made = lines(&group);
    assert_eq!(made.len(), 1);
    let entry = made[0].entry.clone();
    let expected_line = AuditRecord {
        stamp: made[0].stamp,
        actor: alice(),
        from: "192.0.2.7".to_owned(),
        request_id: "request-1".to_owned(),
        action: "create-folder".to_owned(),
        subject: "a".to_owned(),
        entry: entry.clone(),
        outcome: "done".to_owned(),
        detail: String::new(),
        rights_index: 5,
    };
    assert_eq!((&made[0], entry.len()), (&expected_line, 16));

    let again = make(&mut group, "/a");
    let refused = apply(&mut group, by_alice(tree(again)));
    assert!(matches!(refused, Outcome::Rejection(_)));
    let line = lines(&group).remove(1);
    assert_eq!((line.outcome.as_str(), line.subject.as_str(), &line.entry), ("ALREADY_EXISTS", "a", &entry), "{line:?}");
    assert!(!line.detail.is_empty() && line.stamp > made[0].stamp);

    apply(&mut group, by_alice(tree(tree_command::What::DeleteEntry(delete("/a")))));
    let line = lines(&group).remove(2);
    assert_eq!((line.action.as_str(), line.outcome.as_str(), &line.entry), ("delete", "done", &entry), "what was deleted is named");
    apply(&mut group, by_alice(tree(tree_command::What::DeleteEntry(delete("/a")))));
    let line = lines(&group).remove(3);
    assert_eq!((line.outcome.as_str(), line.entry.len()), ("NOT_FOUND", 0), "there is no entry to name");
    group.check();
}

#[test]
fn a_batch_has_a_line_for_each_change_and_one_for_the_step_that_was_refused() {
    let mut group = Group::datasource();
    group.mkdir("/old").unwrap();
    let step = |what: batch_step::What| BatchStep { what: Some(what) };
    let folder = |group: &mut Group, at: &str| match make(group, at) {
        tree_command::What::CreateFolder(command) => step(batch_step::What::CreateFolder(command)),
        other => panic!("{other:?}"),
    };
    let holds = |must_exist: bool| {
        let condition = Some(Precondition { must_exist, must_not_exist: !must_exist, ..Precondition::default() });
        step(batch_step::What::HoldsStill(HoldsStill { path: path("/old"), condition, ..HoldsStill::default() }))
    };
    let steps =
        vec![holds(true), folder(&mut group, "/a"), folder(&mut group, "/a/b"), step(batch_step::What::DeleteEntry(delete("/old")))];
    let batch = |steps: Vec<BatchStep>| by_alice(tree(tree_command::What::Batch(TreeBatch { steps })));
    assert!(matches!(apply(&mut group, batch(steps)), Outcome::Done(_)));
    let done = expected(&[("create-folder", "a", "done"), ("create-folder", "a/b", "done"), ("delete", "old", "done")]);
    assert_eq!(short(&group, 0), done);
    assert!(lines(&group).iter().all(|line| line.entry.len() == 16), "each names its entry: {:?}", lines(&group));

    let steps = vec![folder(&mut group, "/c"), folder(&mut group, "/a/b")];
    assert!(matches!(apply(&mut group, batch(steps)), Outcome::Rejection(_)));
    assert_eq!(short(&group, 3), expected(&[("create-folder", "a/b", "ALREADY_EXISTS")]), "of what was taken back nothing is told");
    group.mkdir("/old").unwrap();
    let steps = vec![folder(&mut group, "/d"), holds(false)];
    assert!(matches!(apply(&mut group, batch(steps)), Outcome::Rejection(_)));
    assert_eq!(short(&group, 4), expected(&[("compare", "old", "PRECONDITION_FAILED")]));
    assert!(matches!(apply(&mut group, batch(Vec::new())), Outcome::Rejection(_)));
    assert_eq!(short(&group, 5), expected(&[("batch", "0 steps", "TOO_MANY_ENTRIES")]));
    group.check();
}

#[test]
fn what_changes_nothing_or_is_the_clusters_own_has_no_line() {
    let mut group = Group::datasource();
    let made = make(&mut group, "/a");
    let key = Idempotency { key: vec![1; 32].into(), request: vec![2; 32].into(), step: vec![3; 32].into() };
    let command = Command { idempotency: Some(key), ..by_alice(tree(made)) };
    assert!(matches!(apply(&mut group, command.clone()), Outcome::Done(done) if !done.replayed));
    assert!(matches!(apply(&mut group, command), Outcome::Done(done) if done.replayed));
    assert_eq!(lines(&group).len(), 1, "what was done before is told once");
    group.mkdir("/own").unwrap();
    group.mkdir("/own").unwrap_err();
    assert_eq!(lines(&group).len(), 1, "nobody asked for it");
}

#[test]
fn a_part_of_an_upload_is_told_if_it_is_refused() {
    let mut group = Group::datasource();
    let append = AppendUpload { upload: 77, lease_seconds: 60, ..AppendUpload::default() };
    let what = ContentCommand { what: Some(content_command::What::AppendUpload(append)) };
    assert!(matches!(apply(&mut group, by_alice(command::What::Content(what))), Outcome::Rejection(_)));
    assert_eq!(short(&group, 0), expected(&[("append-upload", "77", "UPLOAD_NOT_FOUND")]));
}

#[test]
fn lines_go_after_ninety_days_and_not_before() {
    let mut group = Group::datasource();
    for at in ["/a", "/b"] {
        let made = make(&mut group, at);
        apply(&mut group, by_alice(tree(made)));
        group.clock += 1_000_000_000;
    }
    let first = lines(&group)[0].stamp;
    let prune = |group: &mut Group| group.run(command::What::PruneMeta(PruneMeta { limit: 100 })).unwrap().count;
    group.clock = first + KEPT_SECONDS * 1_000_000;
    assert_eq!((prune(&mut group), lines(&group).len()), (0, 2), "kept to the last moment");
    group.clock = first + KEPT_SECONDS * 1_000_000 + 1_000;
    assert_eq!((prune(&mut group), lines(&group).len()), (1, 1), "the other one is younger");
}

#[test]
fn refusals_of_gateways_are_lines_with_the_stamp_of_their_command() {
    let mut group = Group::system();
    let told = |subject: &str| AuditRecord {
        stamp: 1,
        actor: alice(),
        from: "192.0.2.7".to_owned(),
        action: "request".to_owned(),
        subject: subject.to_owned(),
        outcome: "FORBIDDEN".to_owned(),
        ..AuditRecord::default()
    };
    let note = |refusals: Vec<AuditRecord>| {
        let what = identity_command::What::NoteRefusal(NoteRefusal { refusals });
        command::What::Identity(IdentityCommand { what: Some(what) })
    };
    group.clock = 5_000_000;
    group.run(note(vec![told("GET /a"), told("GET /b")])).unwrap();
    let page = match group.query(query::What::Audit(AuditQuery { limit: 1, ..AuditQuery::default() })) {
        answer::What::Audit(page) => page,
        other => panic!("{other:?}"),
    };
    let AuditLine { index, sub, record } = page.lines[0].clone();
    assert!(page.more && record.is_some_and(|record| record.stamp >= 5_000_000 && record.subject == "GET /a"));
    let behind = AuditQuery { after_index: index, after_sub: sub, limit: 10 };
    assert!(matches!(group.query(query::What::Audit(behind)), answer::What::Audit(page) if page.lines.len() == 1 && !page.more));
    group.run(note(Vec::new())).unwrap_err();
    group.run(note(vec![told("x"); 257])).unwrap_err();
    assert_eq!(lines(&group).len(), 2, "a command that is refused tells of nothing");
}
