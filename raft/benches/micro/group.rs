//! A datasource's group with a thousand entries, one session and no log, and the commands that change it.

use bytes::Bytes;
use prost::Message;
use skep_placement::ids::DatasourceId;
use skep_raft::query;
use skep_raft::state::{GroupKind, Position, apply_batch};
use skep_raft::store::{Changes, Direction, Family, MemoryStore, StateStore};
use skep_raft::wire::meta::v1::{
    Actor, Answer, Batch, Command, CreateFolder, EntryPath, NewContent, OpenSession, Proposal, PutFile, Query, TreeCommand, command,
    new_content, outcome, query as asked, tree_command,
};
use std::ops::Bound;
use std::sync::OnceLock;

const KIND: GroupKind = GroupKind::Datasource(DatasourceId(1));
/// Files that are there before anything is measured, in one folder.
pub(crate) const FILES: u64 = 1_000;
/// Commands that the leader packs into one entry.
const COMMANDS_PER_ENTRY: usize = 8;
/// Answers on their way back to the gateway.
const UNANSWERED: u64 = 16;

pub(crate) struct Group {
    store: MemoryStore,
    place: Place,
}

/// How far a group has come.
#[derive(Clone, Copy, Default)]
struct Place {
    index: u64,
    /// The leader's clock, in microseconds.
    clock: u64,
    session: u64,
    /// The number of the last command.
    number: u64,
}

impl Group {
    /// A group with [`FILES`] files. They are made once a process; each group gets a copy of its own.
    pub(crate) fn with_files() -> Self {
        static FILLED: OnceLock<(Changes, Place)> = OnceLock::new();
        let (rows, place) = FILLED.get_or_init(|| {
            let group = Self::filled();
            (group.rows(), group.place)
        });
        let store = MemoryStore::new();
        store.commit(rows.clone()).expect("memory does not fail");
        Self { store, place: *place }
    }

    fn filled() -> Self {
        let mut group = Self { store: MemoryStore::new(), place: Place::default() };
        group.place.session = group.open_session();
        group.run(&[folder(&["team"], 1), folder(&["team", "photos"], 2)]);
        let files: Vec<Command> = (0..FILES).map(|number| put(&file_name(number), 1_000 + number, small_content(number))).collect();
        group.run(&files);
        group
    }

    /// Proposes commands as a gateway's session does, some to an entry, and applies each entry. All must be carried out.
    pub(crate) fn run(&mut self, commands: &[Command]) {
        for commands in commands.chunks(COMMANDS_PER_ENTRY) {
            let proposals = commands.iter().map(|command| self.proposal(command)).collect();
            for outcome in self.apply(proposals) {
                assert!(matches!(outcome, outcome::What::Done(_)), "a command that is measured is refused: {outcome:?}");
            }
        }
    }

    pub(crate) fn query(&self, what: asked::What) -> Answer {
        query::answer(&*self.store.snapshot(), KIND, &Query { what: Some(what) }).expect("memory does not fail")
    }

    fn proposal(&mut self, command: &Command) -> Proposal {
        self.place.number += 1;
        let lowest_unanswered = self.place.number.saturating_sub(UNANSWERED).max(1);
        Proposal { session: self.place.session, number: self.place.number, lowest_unanswered, command: Some(command.clone()) }
    }

    fn apply(&mut self, proposals: Vec<Proposal>) -> impl Iterator<Item = outcome::What> + use<> {
        self.place.index += 1;
        self.place.clock += 1_000;
        let position = Position { index: self.place.index, term: 1 };
        let snapshot = self.store.snapshot();
        // As it comes from the log: its ids and names are parts of one piece of memory.
        let entry = Bytes::from(Batch { clock: self.place.clock, proposals }.encode_to_vec());
        let batch = Batch::decode(entry).expect("it was encoded just now");
        let (changes, outcomes) = apply_batch(&*snapshot, KIND, position, &batch).expect("memory does not fail");
        // Held any longer it would have the store copy all its rows.
        drop(snapshot);
        self.store.commit(changes).expect("memory does not fail");
        outcomes.outcomes.into_iter().filter_map(|outcome| outcome.what)
    }

    fn open_session(&mut self) -> u64 {
        let open = Command { what: Some(command::What::OpenSession(OpenSession { node: 1, boot: 1 })), ..Command::default() };
        match self.apply(vec![Proposal { command: Some(open), ..Proposal::default() }]).next() {
            Some(outcome::What::SessionOpened(opened)) => opened.session,
            other => panic!("no session was opened: {other:?}"),
        }
    }

    fn rows(&self) -> Changes {
        let (snapshot, mut all) = (self.store.snapshot(), Changes::new());
        for family in Family::ALL {
            for row in snapshot.scan(family, Bound::Unbounded, Bound::Unbounded, Direction::Forward) {
                let (key, value) = row.expect("memory does not fail");
                all.put(family, key, value);
            }
        }
        all
    }
}

/// A command of a user, with all that a gateway says of it.
pub(crate) fn by_user(what: tree_command::What) -> Command {
    Command {
        actor: Some(Actor { user: id(77), login: "ada".to_owned() }),
        request_id: "0f9c1e5a-6c1b-4c39-9d61-0a3b5c7d9e1f".to_owned(),
        from: "192.0.2.17".to_owned(),
        what: Some(command::What::Tree(TreeCommand { what: Some(what) })),
        ..Command::default()
    }
}

/// A new version of a file among the others; a new file if there is none of that name.
pub(crate) fn put(name: &str, number: u64, content: (u64, new_content::From)) -> Command {
    by_user(tree_command::What::PutFile(put_file(name, number, content)))
}

pub(crate) fn put_file(name: &str, number: u64, (size, from): (u64, new_content::From)) -> PutFile {
    PutFile {
        path: Some(path(&["team", "photos", name])),
        entry: id(number),
        version: id(number + (1 << 32)),
        size,
        blake3: vec![5; 32].into(),
        md5: vec![6; 16].into(),
        media_type: "image/jpeg".to_owned(),
        content: Some(NewContent { from: Some(from), key_version: 0 }),
        ..PutFile::default()
    }
}

/// A kibibyte in the metadata itself.
pub(crate) fn small_content(number: u64) -> (u64, new_content::From) {
    (1_024, new_content::From::Inlined(Bytes::from(vec![number.to_le_bytes()[0]; 1_024])))
}

fn folder(names: &[&str], number: u64) -> Command {
    by_user(tree_command::What::CreateFolder(CreateFolder { path: Some(path(names)), entry: id(number), ..CreateFolder::default() }))
}

pub(crate) fn path(names: &[&str]) -> EntryPath {
    EntryPath { base: vec![0; 16].into(), names: names.iter().map(|name| (*name).to_owned()).collect() }
}

pub(crate) fn file_name(number: u64) -> String {
    format!("photo-{number:04}.jpg")
}

fn id(number: u64) -> Bytes {
    Bytes::copy_from_slice(&u128::from(number).to_be_bytes())
}
