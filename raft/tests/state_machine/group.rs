//! A group under test: a store, a log position and a clock.

use prost::Message;
use skep_placement::ids::DatasourceId;
use skep_raft::invariants;
use skep_raft::keys::{StampKey, StateKey};
use skep_raft::query;
use skep_raft::state::{GroupKind, Position, apply_batch};
use skep_raft::store::{Direction, Family, MemoryStore, StateStore};
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1::outcome::What;
use skep_raft::wire::meta::v1::{
    Batch, ChunkList, Code, Command, ContentCommand, Done, EntryPath, NewContent, Outcome, Proposal, PutFile, Query, Rejection,
    RejectionCode, StoredChunk, TreeCommand, WriteId, answer, command, content_command, new_content, query as asked, tree_command,
};
use std::ops::Bound;

/// A group with one replica and no log.
pub(crate) struct Group {
    pub(crate) store: Box<dyn StateStore>,
    pub(crate) kind: GroupKind,
    pub(crate) index: u64,
    /// The leader's clock of the next entries, in microseconds.
    pub(crate) clock: u64,
    ids: u64,
}

pub(crate) type Rows = Vec<(Family, Vec<u8>, Vec<u8>)>;

impl Group {
    pub(crate) fn datasource() -> Self {
        Self::on(Box::new(MemoryStore::new()), GroupKind::Datasource(DatasourceId(1)))
    }

    pub(crate) fn system() -> Self {
        Self::on(Box::new(MemoryStore::new()), GroupKind::System)
    }

    pub(crate) fn on(store: Box<dyn StateStore>, kind: GroupKind) -> Self {
        Self { store, kind, index: 0, clock: 1_000_000, ids: 0 }
    }

    /// An id that was not used before, short enough to read.
    pub(crate) fn id(&mut self) -> bytes::Bytes {
        self.ids += 1;
        id(self.ids)
    }

    /// Applies one entry.
    pub(crate) fn batch(&mut self, proposals: Vec<Proposal>) -> Vec<Outcome> {
        self.index += 1;
        let snapshot = self.store.snapshot();
        let position = Position { index: self.index, term: 1 };
        let batch = Batch { clock: self.clock, proposals };
        let (changes, outcomes) = apply_batch(&*snapshot, self.kind, position, &batch).unwrap();
        drop(snapshot);
        self.store.commit(changes).unwrap();
        outcomes.outcomes
    }

    /// Applies one command outside of sessions, as an entry of its own.
    pub(crate) fn propose(&mut self, what: command::What) -> Outcome {
        let proposal = Proposal { command: Some(Command { what: Some(what), ..Command::default() }), ..Proposal::default() };
        self.batch(vec![proposal]).remove(0)
    }

    pub(crate) fn run(&mut self, what: command::What) -> Result<Done, Rejection> {
        match self.propose(what).what.unwrap() {
            What::Done(done) => Ok(done),
            What::Rejection(rejection) => Err(rejection),
            other => panic!("an outcome of another kind: {other:?}"),
        }
    }

    pub(crate) fn tree(&mut self, what: tree_command::What) -> Result<Done, Rejection> {
        self.run(tree(what))
    }

    pub(crate) fn content(&mut self, what: content_command::What) -> Result<Done, Rejection> {
        self.run(content(what))
    }

    pub(crate) fn query(&self, what: asked::What) -> answer::What {
        let snapshot = self.store.snapshot();
        query::answer(&*snapshot, self.kind, &Query { what: Some(what) }).unwrap().what.unwrap()
    }

    /// The stamp that the next command gets.
    pub(crate) fn next_stamp(&self) -> u64 {
        let key = StampKey {};
        let last = self.store.snapshot().get(StampKey::FAMILY, &key.to_bytes()).unwrap();
        let last = last.map_or(0, |bytes| <StampKey as StateKey>::Record::decode(bytes).unwrap());
        self.clock.max(last + 1)
    }

    /// All invariants, recounted.
    pub(crate) fn check(&self) {
        let found = invariants::violations(&*self.store.snapshot()).unwrap();
        assert!(found.is_empty(), "{found:#?}");
    }

    pub(crate) fn view(&self) -> SystemView {
        SystemView::new(self.store.snapshot())
    }

    /// Everything that is stored.
    pub(crate) fn rows(&self) -> Rows {
        let snapshot = self.store.snapshot();
        let of = |family| {
            let rows = snapshot.scan(family, Bound::Unbounded, Bound::Unbounded, Direction::Forward);
            rows.map(move |row| row.map(|(key, value)| (family, key.to_vec(), value.to_vec())).unwrap()).collect::<Rows>()
        };
        Family::ALL.into_iter().flat_map(of).collect()
    }
}

pub(crate) fn tree(what: tree_command::What) -> command::What {
    command::What::Tree(TreeCommand { what: Some(what) })
}

pub(crate) fn content(what: content_command::What) -> command::What {
    command::What::Content(ContentCommand { what: Some(what) })
}

/// A 16-byte id of a number.
pub(crate) fn id(number: u64) -> bytes::Bytes {
    let mut bytes = vec![0; 8];
    bytes.extend(number.to_be_bytes());
    bytes.into()
}

/// A path from the root: names between slashes.
pub(crate) fn path(text: &str) -> Option<EntryPath> {
    let names = text.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Some(EntryPath { base: vec![0; 16].into(), names })
}

/// A chunk of a byte's name and a length, whole copies on two devices, written by node 1.
pub(crate) fn stored(chunk: u8, length: u32, counter: u64, begun: u64) -> StoredChunk {
    StoredChunk {
        chunk: vec![chunk; 32].into(),
        length,
        write: Some(WriteId { node: 1, boot: 1, counter }),
        begun,
        code: Some(Code { data: 1, parity: 1 }),
        pool: 1,
        epoch: 1,
        ..StoredChunk::default()
    }
}

pub(crate) fn put_of(path_text: &str, entry: bytes::Bytes, version: bytes::Bytes, size: u64, from: new_content::From) -> PutFile {
    PutFile {
        path: path(path_text),
        entry,
        version,
        size,
        blake3: vec![5; 32].into(),
        content: Some(NewContent { from: Some(from), key_version: 0 }),
        ..PutFile::default()
    }
}

impl Group {
    /// Puts a file of inline bytes.
    pub(crate) fn put(&mut self, path: &str, bytes: &[u8]) -> Result<Done, Rejection> {
        let from = new_content::From::Inlined(bytes::Bytes::copy_from_slice(bytes));
        self.put_from(path, bytes.len() as u64, from)
    }

    /// Puts a file of chunks.
    pub(crate) fn put_chunks(&mut self, path: &str, chunks: &[StoredChunk]) -> Result<Done, Rejection> {
        let size = chunks.iter().map(|stored| u64::from(stored.length)).sum();
        self.put_from(path, size, new_content::From::Chunks(ChunkList { chunks: chunks.to_vec() }))
    }

    pub(crate) fn put_from(&mut self, path: &str, size: u64, from: new_content::From) -> Result<Done, Rejection> {
        let put = put_of(path, self.id(), self.id(), size, from);
        self.tree(tree_command::What::PutFile(put))
    }

    pub(crate) fn mkdir(&mut self, path_text: &str) -> Result<Done, Rejection> {
        let command = skep_raft::wire::meta::v1::CreateFolder { path: path(path_text), entry: self.id(), ..Default::default() };
        self.tree(tree_command::What::CreateFolder(command))
    }
}

/// The code of a refusal.
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, Rejection>) -> RejectionCode {
    let rejection = result.expect_err("the command must be refused");
    assert!(!rejection.detail.is_empty(), "a refusal without a sentence");
    RejectionCode::try_from(rejection.code).unwrap()
}
