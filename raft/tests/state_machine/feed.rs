//! The feed: whoever replays it from its beginning has the tree, and whoever follows a folder has what lies below it.

use bytes::Bytes;
use proptest::prelude::*;
use skep_raft::wire::meta::v1::{
    BatchStep, ChangeKind, ChangesPage, ChangesQuery, CopyEntry, CreateFolder, DeleteEntry, DeleteVersion, DescribeVersion, EntryKind,
    EntryPath, FeedChange, MoveEntry, OpenHidden, SetMeta, SetTimes, StatQuery, TreeBatch, UseVersion, VersionsQuery, WalkQuery, answer,
    batch_step, new_content, query, tree_command,
};

use super::group::{Group, path, put_of};
use super::replayed::{Known, Replayed};

fn root() -> Bytes {
    vec![0; 16].into()
}

/// Everything below a folder, as the tree has it; nothing if the folder is not there.
fn walked(group: &Group, base: &Bytes) -> Replayed {
    let path = Some(EntryPath { base: base.clone(), names: Vec::new() });
    let (mut found, mut after) = (Replayed::default(), Some(Vec::new()));
    while let Some(names) = after {
        after = match group.query(query::What::Walk(WalkQuery { path: path.clone(), after: names, limit: 1_000, at: 0 })) {
            answer::What::Walk(page) => found.add_walked(page),
            _not_there => None,
        };
    }
    found
}

#[test]
fn what_a_user_noted_for_itself_is_told_as_its_own_and_changes_of_the_followed_folder_as_such() {
    let mut group = Group::datasource();
    let folder = group.mkdir("/d").unwrap().entry.unwrap();
    group.put("/d/f", b"x").unwrap();
    let sums = |group: &Group| match group.query(query::What::Stat(StatQuery { path: path("/d"), ..StatQuery::default() })) {
        answer::What::Entry(entry) => entry.etag,
        other => panic!("{other:?}"),
    };
    let (before, begin) = (sums(&group), group.index);
    let user = super::group::id(77);
    let mut note = |at: &str, user: &Bytes, json: &str| {
        let (namespace, json, user) = ("n".to_owned(), json.to_owned(), user.clone());
        group.tree(tree_command::What::SetMeta(SetMeta { path: path(at), namespace, json, user, searchable: false })).unwrap();
    };
    note("/d/f", &user, "1");
    note("/d/f", &user, "");
    note("/d", &user, "2");
    note("/d", &Bytes::new(), "3");
    let follower =
        Follower { at: (begin, u32::MAX), within: Some(EntryPath { base: folder.entry, names: Vec::new() }), ..Follower::default() };
    let page = follower.page(&group, 100);
    let told = |shown: &FeedChange| (shown.change.as_ref().unwrap().owner == user, shown.to_inside, shown.is_within);
    let told: Vec<(bool, bool, bool)> = page.changes.iter().map(told).collect();
    assert_eq!(told, [(true, true, false), (true, true, false), (true, false, true), (false, false, true)]);
    assert!(page.changes.iter().all(|shown| shown.change.as_ref().unwrap().kind() == ChangeKind::Meta));
    assert_ne!(sums(&group), before, "the last one is everybody's");
    group.check();
}

/// A place in the feed, and whose it is: of one who sees all, or of one who sees a folder.
#[derive(Default)]
struct Follower {
    at: (u64, u32),
    within: Option<EntryPath>,
    replayed: Replayed,
}

impl Follower {
    /// Takes over a change by one who follows a folder. Whether an entry's members are to be listed anew.
    fn follow(&mut self, shown: &FeedChange) -> bool {
        let change = shown.change.as_ref().unwrap();
        if !shown.to_inside {
            if shown.from_inside {
                self.replayed.remove(&change.entry);
            }
            return false;
        }
        self.replayed.entries.insert(change.entry.clone(), Known::told(shown));
        change.kind() == ChangeKind::Moved && !shown.from_inside && change.entry_kind == i32::from(EntryKind::Folder)
    }

    fn page(&self, group: &Group, limit: u32) -> ChangesPage {
        let asked = ChangesQuery { after_index: self.at.0, after_sub: self.at.1, limit, within: self.within.clone() };
        match group.query(query::What::Changes(asked)) {
            answer::What::Changes(page) => page,
            other => panic!("{other:?}"),
        }
    }

    /// Reads on to the end in pages of so many rows.
    fn catch_up(&mut self, group: &Group, limit: u32) {
        loop {
            let page = self.page(group, limit);
            assert!(!page.too_old && page.end_index == group.index);
            for shown in &page.changes {
                assert!((shown.index, shown.sub) > self.at, "in order, and none twice: {shown:?}");
                self.at = (shown.index, shown.sub);
                if self.within.is_none() {
                    self.replayed.take(shown);
                } else if self.follow(shown) {
                    let entry = &shown.change.as_ref().unwrap().entry;
                    self.replayed.entries.extend(walked(group, entry).entries);
                }
            }
            self.at = (page.last_index, page.last_sub);
            if !page.more {
                return;
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Folder(String),
    Put(String, u8),
    Move {
        from: String,
        to: String,
        restore: bool,
    },
    Copy(String, String),
    Delete(String),
    Recycle(String),
    Times(String, u64),
    Note(String),
    UseVersion(String, String),
    Describe(String),
    DropVersion(String),
    /// A copy that is built where nobody sees it and then linked.
    Hidden(String, String),
    Batch(Vec<Step>),
}

/// What can be a step of a batch is a command by itself.
fn command_of(group: &mut Group, step: &Step) -> Option<tree_command::What> {
    use tree_command::What;
    Some(match step {
        Step::Folder(at) => What::CreateFolder(CreateFolder { path: path(at), entry: group.id(), ..CreateFolder::default() }),
        Step::Put(at, byte) => {
            let from = new_content::From::Inlined(vec![*byte; usize::from(*byte)].into());
            What::PutFile(put_of(at, group.id(), group.id(), u64::from(*byte), from))
        }
        Step::Move { from, to, restore } => {
            What::MoveEntry(MoveEntry { from: path(from), to: path(to), overwrite: true, restore: *restore, ..MoveEntry::default() })
        }
        Step::Copy(from, to) => {
            What::CopyEntry(CopyEntry { from: path(from), to: path(to), overwrite: true, seed: group.id(), ..CopyEntry::default() })
        }
        Step::Delete(at) => What::DeleteEntry(DeleteEntry { path: path(at), permanently: true, ..DeleteEntry::default() }),
        Step::Recycle(at) => What::DeleteEntry(DeleteEntry {
            path: path(at),
            recycle_root: path("/"),
            bin: group.id(),
            recycle_note_json: "\"there\"".to_owned(),
            ..DeleteEntry::default()
        }),
        Step::Times(at, mtime) => What::SetTimes(SetTimes { path: path(at), mtime: *mtime }),
        Step::Note(at) => {
            let (namespace, json) = ("usermeta-tags".to_owned(), "\"blue\"".to_owned());
            What::SetMeta(SetMeta { path: path(at), namespace, json, searchable: true, ..SetMeta::default() })
        }
        Step::UseVersion(of, at) => {
            let (of_entry, of_version) = oldest_version(group, of)?;
            let (entry, version) = (group.id(), group.id());
            What::UseVersion(UseVersion { path: path(at), entry, version, of_entry, of_version, ..UseVersion::default() })
        }
        Step::Describe(at) => {
            let (_, version) = oldest_version(group, at)?;
            What::DescribeVersion(DescribeVersion { path: path(at), version, description: "of old".to_owned() })
        }
        Step::DropVersion(at) => What::DeleteVersion(DeleteVersion { path: path(at), version: oldest_version(group, at)?.1 }),
        Step::Hidden(..) | Step::Batch(_) => return None,
    })
}

fn oldest_version(group: &Group, at: &str) -> Option<(Bytes, Bytes)> {
    let asked = VersionsQuery { path: path(at), limit: 1_000, ..VersionsQuery::default() };
    let answer::What::Versions(page) = group.query(query::What::Versions(asked)) else { return None };
    Some((page.entry?.entry, page.versions.last()?.version.clone()))
}

fn batch_step(command: tree_command::What) -> Option<batch_step::What> {
    use tree_command::What;
    Some(match command {
        What::CreateFolder(command) => batch_step::What::CreateFolder(command),
        What::PutFile(command) => batch_step::What::PutFile(command),
        What::MoveEntry(command) => batch_step::What::MoveEntry(command),
        What::DeleteEntry(command) => batch_step::What::DeleteEntry(command),
        What::SetMeta(command) => batch_step::What::SetMeta(command),
        What::UseVersion(command) => batch_step::What::UseVersion(command),
        What::SetTimes(command) => batch_step::What::SetTimes(command),
        _no_step => return None,
    })
}

/// Takes a step, which may be refused.
fn run(group: &mut Group, step: &Step) {
    match step {
        Step::Hidden(from, to) => {
            let hidden = group.id();
            group.tree(tree_command::What::OpenHidden(OpenHidden { entry: hidden.clone() })).unwrap();
            let within = |name: &str| Some(EntryPath { base: hidden.clone(), names: vec![name.to_owned()] });
            let copy = CopyEntry { from: path(from), to: within("c"), seed: group.id(), ..CopyEntry::default() };
            let _copied = group.tree(tree_command::What::CopyEntry(copy));
            let put = put_of("", group.id(), group.id(), 1, new_content::From::Inlined(vec![1].into()));
            let put = skep_raft::wire::meta::v1::PutFile { path: within("f"), ..put };
            group.tree(tree_command::What::PutFile(put)).unwrap();
            let linked = EntryPath { base: hidden.clone(), names: Vec::new() };
            let link = MoveEntry { from: Some(linked), to: path(to), ..MoveEntry::default() };
            let _linked = group.tree(tree_command::What::MoveEntry(link));
        }
        Step::Batch(steps) => {
            let commands: Vec<_> = steps.iter().filter_map(|step| command_of(group, step)).collect();
            let steps: Vec<_> = commands.into_iter().filter_map(batch_step).map(|what| BatchStep { what: Some(what) }).collect();
            let _done = group.tree(tree_command::What::Batch(TreeBatch { steps }));
        }
        single => {
            if let Some(command) = command_of(group, single) {
                let _done = group.tree(command);
            }
        }
    }
}

fn place() -> impl Strategy<Value = String> {
    let name = prop_oneof![6 => Just("w"), 3 => Just("a"), 3 => Just("b"), 1 => Just("recycle_bin")];
    proptest::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

fn simple() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => place().prop_map(Step::Folder),
        4 => (place(), any::<u8>()).prop_map(|(at, byte)| Step::Put(at, byte)),
        4 => (place(), place(), any::<bool>()).prop_map(|(from, to, restore)| Step::Move { from, to, restore }),
        2 => place().prop_map(Step::Delete),
        2 => place().prop_map(Step::Recycle),
        1 => (place(), any::<u64>()).prop_map(|(at, mtime)| Step::Times(at, mtime)),
        1 => place().prop_map(Step::Note),
        1 => (place(), place()).prop_map(|(of, at)| Step::UseVersion(of, at)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => simple(),
        2 => (place(), place()).prop_map(|(from, to)| Step::Copy(from, to)),
        2 => (place(), place()).prop_map(|(from, to)| Step::Hidden(from, to)),
        1 => place().prop_map(Step::Describe),
        1 => place().prop_map(Step::DropVersion),
        2 => proptest::collection::vec(simple(), 1..5).prop_map(Step::Batch),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn replayed_it_gives_the_tree(steps in proptest::collection::vec(step(), 1..50), limit in 1..7_u32) {
        let mut group = Group::datasource();
        for step in &steps {
            run(&mut group, step);
        }
        let mut follower = Follower::default();
        follower.catch_up(&group, limit);
        prop_assert_eq!(follower.replayed.below(&root()), walked(&group, &root()));
        group.check();
    }

    #[test]
    fn who_follows_a_folder_has_what_lies_below_it(
        steps in proptest::collection::vec((step(), any::<bool>()), 1..50),
        limit in 1..7_u32,
    ) {
        let mut group = Group::datasource();
        let within = group.mkdir("/w").unwrap().entry.unwrap().entry;
        let path = EntryPath { base: within.clone(), names: Vec::new() };
        let mut follower = Follower { within: Some(path.clone()), ..Follower::default() };
        for (step, look) in &steps {
            run(&mut group, step);
            let stat = StatQuery { path: Some(path.clone()), ..StatQuery::default() };
            if !matches!(group.query(query::What::Stat(stat)), answer::What::Entry(_)) {
                // The folder itself was deleted, and with it what there was to follow.
                return Ok(());
            }
            if *look {
                follower.catch_up(&group, limit);
            }
        }
        follower.catch_up(&group, limit);
        prop_assert_eq!(follower.replayed, walked(&group, &within));
    }
}

#[test]
fn what_was_pruned_is_not_passed_over_in_silence() {
    let mut group = Group::datasource();
    group.mkdir("/a").unwrap();
    let mut follower = Follower::default();
    follower.catch_up(&group, 10);
    group.mkdir("/b").unwrap();
    group.clock += 10_000_000;
    let prune = skep_raft::wire::meta::v1::PruneHistory { retention_seconds: 1, limit: 1_000 };
    group.tree(tree_command::What::PruneHistory(prune)).unwrap();
    let page = follower.page(&group, 10);
    assert!(page.too_old && page.changes.is_empty(), "a change that was not seen is gone: {page:?}");
    group.mkdir("/c").unwrap();
    follower.at = (page.last_index, page.last_sub);
    let page = follower.page(&group, 10);
    let named: Vec<&[String]> = page.changes.iter().map(|change| change.path.as_slice()).collect();
    assert_eq!((page.too_old, named), (false, vec![["c".to_owned()].as_slice()]), "from there on nothing is missing");
}

#[test]
fn versions_that_change_behind_the_current_one_are_told() {
    let mut group = Group::datasource();
    group.put("/f", b"one").unwrap();
    group.put("/f", b"two").unwrap();
    let mut follower = Follower::default();
    follower.catch_up(&group, 10);
    run(&mut group, &Step::Describe("f".to_owned()));
    run(&mut group, &Step::DropVersion("f".to_owned()));
    let told: Vec<(i32, String)> =
        follower.page(&group, 10).changes.iter().map(|c| c.change.as_ref().map(|c| (c.kind, c.namespace.clone())).unwrap()).collect();
    assert_eq!(told, vec![(i32::from(ChangeKind::Meta), "skep:versions".to_owned()); 2]);
}
