//! The tree commands against a model that is only a map of paths.

use super::group::{Group, Rows, id, path, put_of, tree};
use proptest::prelude::*;
use skep_raft::wire::meta::v1::{
    Command, CopyEntry, CreateFolder, DeleteEntry, Entry, EntryKind, MoveEntry, Proposal, RejectionCode, WalkQuery, answer, command,
    new_content, query, tree_command,
};
use std::collections::BTreeMap;

/// A file's bytes, or a folder.
type Node = Option<Vec<u8>>;

/// Paths without the leading slash; the root is not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    nodes: BTreeMap<Vec<String>, Node>,
}

#[derive(Clone, Debug)]
enum Step {
    MakeFolder { at: Vec<String>, recursive: bool },
    Put { at: Vec<String>, bytes: Vec<u8> },
    Move { from: Vec<String>, to: Vec<String>, overwrite: bool },
    Copy { from: Vec<String>, to: Vec<String>, overwrite: bool },
    Delete { at: Vec<String> },
    Recycle { at: Vec<String> },
}

const BIN: &str = "recycle_bin";

impl Model {
    fn is_folder(&self, at: &[String]) -> bool {
        at.is_empty() || self.nodes.get(at) == Some(&None)
    }

    fn exists(&self, at: &[String]) -> bool {
        at.is_empty() || self.nodes.contains_key(at)
    }

    fn parent_is_folder(&self, at: &[String]) -> bool {
        at.split_last().is_some_and(|(_, parent)| self.is_folder(parent))
    }

    fn below(&self, at: &[String]) -> Vec<(Vec<String>, Node)> {
        self.nodes.iter().filter(|(path, _)| path.starts_with(at)).map(|(path, node)| (path[at.len()..].to_vec(), node.clone())).collect()
    }

    fn remove(&mut self, at: &[String]) {
        self.nodes.retain(|path, _| !path.starts_with(at));
    }

    fn insert(&mut self, at: &[String], below: Vec<(Vec<String>, Node)>) {
        for (rest, node) in below {
            self.nodes.insert(at.iter().cloned().chain(rest).collect(), node);
        }
    }

    /// Whether something at `from` can be put at `to`.
    fn can_put(&self, from: &[String], to: &[String], overwrite: bool) -> bool {
        self.exists(from)
            && !to.is_empty()
            && self.parent_is_folder(to)
            && !to.starts_with(from)
            && !from.starts_with(to)
            && (overwrite || !self.exists(to))
    }

    /// Does what the state machine should do. Whether it takes the step.
    fn take(&mut self, step: &Step) -> bool {
        match step {
            Step::MakeFolder { at, recursive } => {
                let way_is_free = (1..at.len()).all(|length| self.is_folder(&at[..length]) || (*recursive && !self.exists(&at[..length])));
                if at.is_empty() || self.exists(at) || !way_is_free {
                    return false;
                }
                (1..=at.len()).for_each(|length| {
                    self.nodes.insert(at[..length].to_vec(), None);
                });
                true
            }
            Step::Put { at, bytes } => {
                if at.is_empty() || !self.parent_is_folder(at) || self.is_folder(at) {
                    return false;
                }
                self.nodes.insert(at.clone(), Some(bytes.clone()));
                true
            }
            Step::Move { from, to, overwrite } => {
                if from == to && !from.is_empty() && self.exists(from) {
                    return true;
                }
                if from.is_empty() || !self.can_put(from, to, *overwrite) {
                    return false;
                }
                let moved = self.below(from);
                self.remove(from);
                self.remove(to);
                self.insert(to, moved);
                true
            }
            Step::Copy { from, to, overwrite } => {
                if from.is_empty() || !self.can_put(from, to, *overwrite) {
                    return false;
                }
                let copied = self.below(from);
                self.remove(to);
                self.insert(to, copied);
                true
            }
            Step::Delete { at } => {
                let there = !at.is_empty() && self.exists(at);
                if there {
                    self.remove(at);
                }
                there
            }
            Step::Recycle { at } => self.recycle(at),
        }
    }

    fn recycle(&mut self, at: &[String]) -> bool {
        let bin = vec![BIN.to_owned()];
        if at.is_empty() || !self.exists(at) {
            return false;
        }
        if self.is_folder(&bin) && at.starts_with(&bin) {
            self.remove(at);
            return true;
        }
        if self.exists(&bin) && !self.is_folder(&bin) {
            return false;
        }
        self.nodes.insert(bin, None);
        let name = at.last().unwrap();
        let names = std::iter::once(name.clone()).chain((2..).map(|number| format!("{name} ({number})")));
        let free = names.map(|name| vec![BIN.to_owned(), name]).find(|path| !self.exists(path)).unwrap();
        let moved = self.below(at);
        self.remove(at);
        self.insert(&free, moved);
        true
    }
}

fn text(at: &[String]) -> String {
    at.join("/")
}

/// The step as a command; `number` makes its ids its own.
fn command_of(step: &Step, number: u64) -> command::What {
    let first = 1_000_000 + number * 10;
    tree(match step {
        Step::MakeFolder { at, recursive } => {
            let parents = (1..5).map(|place| id(first + place)).collect();
            tree_command::What::CreateFolder(CreateFolder {
                path: path(&text(at)),
                entry: id(first),
                recursive: *recursive,
                parents,
                ..CreateFolder::default()
            })
        }
        Step::Put { at, bytes } => {
            let from = new_content::From::Inlined(bytes.clone().into());
            tree_command::What::PutFile(put_of(&text(at), id(first), id(first + 1), bytes.len() as u64, from))
        }
        Step::Move { from, to, overwrite } => tree_command::What::MoveEntry(MoveEntry {
            from: path(&text(from)),
            to: path(&text(to)),
            overwrite: *overwrite,
            ..MoveEntry::default()
        }),
        Step::Copy { from, to, overwrite } => tree_command::What::CopyEntry(CopyEntry {
            from: path(&text(from)),
            to: path(&text(to)),
            overwrite: *overwrite,
            seed: id(first),
            ..CopyEntry::default()
        }),
        Step::Delete { at } => {
            tree_command::What::DeleteEntry(DeleteEntry { path: path(&text(at)), permanently: true, ..DeleteEntry::default() })
        }
        Step::Recycle { at } => tree_command::What::DeleteEntry(DeleteEntry {
            path: path(&text(at)),
            recycle_root: path("/"),
            bin: id(first),
            recycle_note_json: "\"note\"".to_owned(),
            ..DeleteEntry::default()
        }),
    })
}

/// Everything that hangs on the root, as the model holds it; sums are compared on the way.
fn shown(group: &Group) -> Model {
    let mut model = Model::default();
    let mut after = Vec::new();
    loop {
        let page = match group.query(query::What::Walk(WalkQuery { path: path("/"), after, limit: 7, at: 0 })) {
            answer::What::Walk(page) => page,
            other => panic!("{other:?}"),
        };
        for walked in &page.entries {
            let entry: &Entry = walked.entry.as_ref().unwrap();
            let node = if entry.kind == i32::from(EntryKind::Folder) { None } else { Some(bytes_of(group, &walked.names)) };
            model.nodes.insert(walked.names.clone(), node);
        }
        after = page.entries.last().map(|walked| walked.names.clone()).unwrap_or_default();
        if !page.more {
            return model;
        }
    }
}

fn bytes_of(group: &Group, names: &[String]) -> Vec<u8> {
    let asked = skep_raft::wire::meta::v1::ContentQuery { path: path(&text(names)), ..Default::default() };
    match group.query(query::What::Content(asked)) {
        answer::What::Content(content) => content.inlined.to_vec(),
        other => panic!("{other:?}"),
    }
}

fn place() -> impl Strategy<Value = Vec<String>> {
    let name = prop_oneof![5 => Just("a"), 4 => Just("b"), 1 => Just(BIN)];
    proptest::collection::vec(name.prop_map(str::to_owned), 0..4)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (place(), any::<bool>()).prop_map(|(at, recursive)| Step::MakeFolder { at, recursive }),
        4 => (place(), proptest::collection::vec(any::<u8>(), 0..9)).prop_map(|(at, bytes)| Step::Put { at, bytes }),
        3 => (place(), place(), any::<bool>()).prop_map(|(from, to, overwrite)| Step::Move { from, to, overwrite }),
        2 => (place(), place(), any::<bool>()).prop_map(|(from, to, overwrite)| Step::Copy { from, to, overwrite }),
        1 => place().prop_map(|at| Step::Delete { at }),
        2 => place().prop_map(|at| Step::Recycle { at }),
    ]
}

/// State without what depends on how commands were packed into entries: the applied index, and the positions of the feed.
fn comparable(rows: Rows) -> Rows {
    let rows = rows.into_iter().filter(|(_, key, _)| key[..] != [2]);
    rows.map(|(family, key, value)| if key[0] == 22 { (family, vec![22], value) } else { (family, key, value) }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_is_as_a_map_of_paths(steps in proptest::collection::vec(step(), 1..40)) {
        let mut group = Group::datasource();
        let mut model = Model::default();
        for (number, step) in (1..).zip(&steps) {
            let before = model.clone();
            let taken = model.take(step);
            let done = group.run(command_of(step, number));
            prop_assert_eq!(taken, done.is_ok(), "{:?}: {:?} on {:?}", step, done, before);
            if let Err(rejection) = done {
                prop_assert!(rejection.code != i32::from(RejectionCode::Invalid), "{:?}: {:?}", step, rejection);
                model = before;
            }
        }
        prop_assert_eq!(shown(&group), model);
        group.check();
    }

    #[test]
    fn packed_commands_do_what_single_ones_do(steps in proptest::collection::vec(step(), 1..40), cut in 0..40_usize) {
        let proposal = |(number, step): (u64, &Step)| {
            Proposal { command: Some(Command { what: Some(command_of(step, number)), ..Command::default() }), ..Proposal::default() }
        };
        let proposals: Vec<Proposal> = (1..).zip(&steps).map(proposal).collect();
        let mut single = Group::datasource();
        let one_by_one: Vec<_> = proposals.iter().flat_map(|proposal| single.batch(vec![proposal.clone()])).collect();
        let mut packed = Group::datasource();
        let (first, second) = proposals.split_at(cut.min(proposals.len()));
        let together: Vec<_> = [first, second].into_iter().flat_map(|proposals| packed.batch(proposals.to_vec())).collect();
        let whats = |outcomes: &[skep_raft::wire::meta::v1::Outcome]| outcomes.iter().map(|outcome| (outcome.stamp, outcome.what.clone())).collect::<Vec<_>>();
        prop_assert_eq!(whats(&one_by_one), whats(&together));
        prop_assert_eq!(comparable(single.rows()), comparable(packed.rows()));
    }
}

#[test]
fn a_copy_of_too_much_is_refused_and_many_recycled_namesakes_find_names() {
    let mut group = Group::datasource();
    group.mkdir("/many").unwrap();
    for number in 0..10_000 {
        group.put(&format!("/many/{number}"), b"").unwrap();
    }
    let copy =
        |to: &str, shallow| CopyEntry { from: path("/many"), to: path(to), seed: id(u64::from(shallow)), shallow, ..CopyEntry::default() };
    let refused = group.tree(tree_command::What::CopyEntry(copy("/copy", false)));
    assert_eq!(super::group::code(refused), RejectionCode::TooManyEntries);
    group.tree(tree_command::What::CopyEntry(copy("/shallow", true))).unwrap();
    let delete = DeleteEntry { path: path("/many/7"), permanently: true, ..DeleteEntry::default() };
    group.tree(tree_command::What::DeleteEntry(delete)).unwrap();
    assert_eq!(group.tree(tree_command::What::CopyEntry(copy("/copy", false))).unwrap().count, 10_000);
    let mut last = String::new();
    for number in 0..50 {
        group.put("/same.txt", b"x").unwrap();
        let step = Step::Recycle { at: vec!["same.txt".to_owned()] };
        last = group.run(command_of(&step, 1_000 + number)).unwrap().final_path;
    }
    assert_eq!(last, "recycle_bin/same (50).txt");
    group.check();
}
