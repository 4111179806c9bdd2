//! Builds an item of a copy or a move entry by entry in a hidden folder of the target's datasource, then links it by one command.
//!
//! Ids of what is built are derived from the job and the entry copied, so that a second try makes the same entries and knows them. Only the current version
//! of each file is taken, with its time.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};
use skep_placement::ids::{EntryId, VersionId};
use skep_raft::wire::meta::v1::{
    CopyEntry, CreateFolder, Entry, EntryPath, NewContent, OpenHidden, Query, StatQuery, WalkEntry, WalkPage, WalkQuery, answer, query,
    tree_command,
};

use super::ends::Ends;
use super::position::Position;
use super::record::derived_id;
use super::running::Running;
use super::transfer_job::{step, step_as};
use crate::auth::rights::{Authorized, ReadContent, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::ports::{ReadRequest, WriteRequest, Written};
use crate::service::id_bytes;
use crate::service::place::Place;
use crate::service::tree::{absent_or_fault, entry_id, is_folder};

/// The name of the item in the hidden folder.
const ITEM: &str = "item";
/// Files whose bytes are copied at once.
const FILES_AT_ONCE: usize = 4;

/// Builds one item.
pub(super) struct Builder<'a> {
    running: &'a Running,
    ends: &'a mut Ends,
    source: &'a Entry,
    /// The bytes are shared, not copied.
    same_datasource: bool,
    item: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(running: &'a Running, ends: &'a mut Ends, source: &'a Entry) -> Self {
        let same_datasource = ends.source.subject().datasource() == ends.target.subject().datasource();
        Self { running, ends, source, same_datasource, item: running.position().item }
    }

    /// The id of the item that a job builds.
    pub(super) fn root_entry(running: &Running, item: usize) -> EntryId {
        EntryId(derived_id(running.id(), item, "item", b""))
    }

    /// Builds what is missing and links it.
    pub(super) async fn build(mut self, position: &mut Position) -> Result<(), Failure> {
        let hidden = OpenHidden { entry: id_bytes(self.hidden()) };
        step(self.running, &self.ends.target, tree_command::What::OpenHidden(hidden)).await?;
        if is_folder(self.source) {
            self.folder(&[], 0).await?;
            self.members(position).await?;
        } else {
            self.file(&[], self.source).await?;
        }
        self.renew().await?;
        self.link().await
    }

    async fn members(&mut self, position: &mut Position) -> Result<(), Failure> {
        let sums = self.source.sums.unwrap_or_default();
        let all = sums.files.saturating_add(sums.folders).max(1);
        loop {
            let page = self.walk(&position.after).await?;
            for folder in page.entries.iter().filter(|walked| walked.entry.as_ref().is_some_and(is_folder)) {
                let mtime = folder.entry.as_ref().map_or(0, |entry| entry.mtime);
                self.folder(&folder.names, mtime).await?;
            }
            self.files(&page.entries).await?;
            position.built = position.built.saturating_add(u64::try_from(page.entries.len()).unwrap_or(0));
            if let Some(last) = page.entries.last() {
                position.after.clone_from(&last.names);
            }
            self.running.reach(position.clone());
            self.running.show((position.built.saturating_mul(999) / all).min(999), format!("{} of {all} entries", position.built));
            if !page.more || page.entries.is_empty() {
                return Ok(());
            }
            self.renew().await?;
        }
    }

    async fn files(&self, entries: &[WalkEntry]) -> Result<(), Failure> {
        let at_once = if self.same_datasource { limits::JOB_COMMANDS } else { FILES_AT_ONCE };
        let files =
            entries.iter().filter_map(|walked| walked.entry.as_ref().filter(|entry| !is_folder(entry)).map(|entry| (&walked.names, entry)));
        let mut begun: Vec<BoxFuture<'_, Result<(), Failure>>> = Vec::new();
        for (names, entry) in files {
            begun.push(Box::pin(self.file(names, entry)));
        }
        stream::iter(begun).buffer_unordered(at_once).try_collect::<()>().await
    }

    async fn walk(&mut self, after: &[String]) -> Result<WalkPage, Failure> {
        let question =
            WalkQuery { path: Some(self.ends.source.subject().entry()), after: after.to_vec(), limit: limits::PAGE_ENTRIES, at: 0 };
        let context = self.running.context();
        let answer = self.running.service().ask(&mut self.ends.source, query::What::Walk(question), &context).await?;
        match answer.what {
            Some(answer::What::Walk(page)) => Ok(page),
            other => Err(absent_or_fault(self.ends.source.subject(), other)),
        }
    }

    async fn folder(&self, names: &[String], mtime: u64) -> Result<(), Failure> {
        let about = names.join("/");
        let entry = if names.is_empty() { Self::root_entry(self.running, self.item).0 } else { self.derived("folder", about.as_bytes()) };
        let command = CreateFolder {
            path: Some(self.built_path(names)),
            entry: id_bytes(entry),
            existing_ok: true,
            mtime,
            ..CreateFolder::default()
        };
        step(self.running, &self.ends.target, tree_command::What::CreateFolder(command)).await.map(|_done| ())
    }

    /// Builds one file, unless it is there from an earlier try. A file that vanished since it was listed is passed over, as if the copy had begun later.
    async fn file(&self, names: &[String], entry: &Entry) -> Result<(), Failure> {
        let built = if self.same_datasource { self.share(names, entry).await } else { self.copy_bytes(names, entry).await };
        match built {
            Err(failure) if failure.code == ErrorCode::AlreadyExists => Ok(()),
            Err(failure) if failure.code == ErrorCode::NotFound && !names.is_empty() => Ok(()),
            other => other,
        }
    }

    async fn share(&self, names: &[String], entry: &Entry) -> Result<(), Failure> {
        let command = CopyEntry {
            from: Some(self.source_path(names)),
            to: Some(self.built_path(names)),
            seed: id_bytes(self.derived("share", &entry.entry)),
            ..CopyEntry::default()
        };
        step(self.running, &self.ends.target, tree_command::What::CopyEntry(command)).await.map(|_done| ())
    }

    async fn copy_bytes(&self, names: &[String], entry: &Entry) -> Result<(), Failure> {
        if self.is_built(names).await? {
            return Ok(());
        }
        let (read, media_type) = self.open(names, entry).await?;
        let context = self.running.context();
        let service = self.running.service();
        let length = read.length;
        let body = if length == 0 { Box::pin(stream::empty()) as crate::ports::ByteStream } else { service.chunks().read(read) };
        let writing = WriteRequest {
            datasource: self.ends.target.subject().datasource(),
            actor: self.ends.target.actor(),
            expected_length: Some(length),
            want_md5: entry.md5.len() == 16,
            request_id: context.request_id.to_string(),
            rights_index: self.ends.target.index(),
        };
        let written = service.chunks().write(writing, body).await?;
        self.commit(names, entry, (written, media_type)).await
    }

    async fn commit(&self, names: &[String], entry: &Entry, (written, media_type): (Written, String)) -> Result<(), Failure> {
        let chunks = self.running.service().chunks();
        let datasource = self.ends.target.subject().datasource();
        // The copying may have taken long: the right to put it there is decided anew.
        let target = match self.fresh_target().await {
            Ok(target) => target,
            Err(failure) => {
                chunks.abandon(datasource, written).await;
                return Err(failure);
            }
        };
        let about = names.join("/");
        let id = if names.is_empty() { Self::root_entry(self.running, self.item).0 } else { self.derived("file", about.as_bytes()) };
        let command = skep_raft::wire::meta::v1::PutFile {
            path: Some(self.built_path(names)),
            entry: id_bytes(id),
            version: id_bytes(self.derived("version", about.as_bytes())),
            size: written.size,
            blake3: Bytes::copy_from_slice(&written.blake3),
            md5: written.md5.map(|md5| Bytes::copy_from_slice(&md5)).unwrap_or_default(),
            mtime: entry.mtime,
            media_type,
            condition: Some(skep_raft::wire::meta::v1::Precondition { must_not_exist: true, ..Default::default() }),
            content: Some(NewContent { ..written.content.clone() }),
            ..Default::default()
        };
        match step(self.running, &target, tree_command::What::PutFile(command)).await {
            Ok(proposed) => {
                if !proposed.done.surplus.is_empty() {
                    chunks.discard(datasource, proposed.done.surplus);
                }
                Ok(())
            }
            Err(failure) if failure.code == ErrorCode::Unknown => Err(failure),
            Err(failure) => {
                chunks.abandon(datasource, written).await;
                if failure.code == ErrorCode::PreconditionFailed { Ok(()) } else { Err(failure) }
            }
        }
    }

    /// What to read of a file, pinned to its current version.
    async fn open(&self, names: &[String], entry: &Entry) -> Result<(ReadRequest, String), Failure> {
        let place = self.ends.source.subject();
        let question = skep_raft::wire::meta::v1::ContentQuery {
            path: Some(self.source_path(names)),
            version: VersionId::try_from(entry.version.as_ref()).map(|version| id_bytes(version.0)).unwrap_or_default(),
            chunks_max: limits::CHUNKS_PER_PAGE,
            ..Default::default()
        };
        let question = Query { what: Some(query::What::Content(question)) };
        let deadline = self.running.context().deadline();
        let answer = self.running.service().metadata().query(place.group(), question, deadline).await?;
        match answer.what {
            Some(answer::What::Content(first)) => {
                let version = first.version.clone().unwrap_or_default();
                Ok((ReadRequest { datasource: place.datasource(), first, offset: 0, length: version.size }, version.media_type))
            }
            other => Err(absent_or_fault(place, other)),
        }
    }

    async fn is_built(&self, names: &[String]) -> Result<bool, Failure> {
        let question = Query { what: Some(query::What::Stat(StatQuery { path: Some(self.built_path(names)), with_meta: false, at: 0 })) };
        let group = self.ends.target.subject().group();
        let answer = self.running.service().metadata().query(group, question, self.running.context().deadline()).await?;
        Ok(matches!(answer.what, Some(answer::What::Entry(_))))
    }

    async fn link(&mut self) -> Result<(), Failure> {
        let root = self.built_root().await?;
        let command = self.ends.putting(self.running, self.built_path(&[]), root);
        let linked = step_as(self.running, &self.ends.target, tree_command::What::MoveEntry(command), &self.running.deciding()).await;
        let Err(failure) = linked else { return Ok(()) };
        let context = self.running.context();
        let there = self.running.service().stat_if_there(&mut self.ends.target, Default::default(), &context).await?;
        if there.is_some_and(|there| entry_id(&there) == root) { Ok(()) } else { Err(failure) }
    }

    /// The id of what was built. A shared file's is the state machine's choice.
    async fn built_root(&self) -> Result<EntryId, Failure> {
        let question = Query { what: Some(query::What::Stat(StatQuery { path: Some(self.built_path(&[])), with_meta: false, at: 0 })) };
        let group = self.ends.target.subject().group();
        let answer = self.running.service().metadata().query(group, question, self.running.context().deadline()).await?;
        match answer.what {
            Some(answer::What::Entry(entry)) => Ok(entry_id(&entry)),
            _ => Ok(Self::root_entry(self.running, self.item)),
        }
    }

    /// Decides both ends anew, between pages.
    async fn renew(&mut self) -> Result<(), Failure> {
        let service = self.running.service();
        let deadline = self.running.context().deadline();
        self.ends.source.renew_in_place(service.metadata(), service.now_micros(), deadline).await?;
        self.ends.target.renew_in_place(service.metadata(), service.now_micros(), deadline).await
    }

    async fn fresh_target(&self) -> Result<Authorized<WriteTree, Place>, Failure> {
        let view = self.running.service().metadata().system(self.running.context().deadline()).await?;
        let who = crate::auth::authenticator::SignedIn::of_job(&view, &self.running.job)?;
        let who = std::sync::Arc::new(who);
        let _still_readable: Authorized<ReadContent, Place> =
            Authorized::decide(&view, std::sync::Arc::clone(&who), self.ends.source.subject().clone())?;
        Authorized::decide(&view, who, self.ends.target.subject().clone())
    }

    fn hidden(&self) -> [u8; 16] {
        derived_id(self.running.id(), self.item, "hidden", b"")
    }

    fn derived(&self, purpose: &str, about: &[u8]) -> [u8; 16] {
        derived_id(self.running.id(), self.item, purpose, about)
    }

    fn built_path(&self, names: &[String]) -> EntryPath {
        let mut all = vec![ITEM.to_owned()];
        all.extend_from_slice(names);
        EntryPath { base: id_bytes(self.hidden()), names: all }
    }

    fn source_path(&self, names: &[String]) -> EntryPath {
        let mut path = self.ends.source.subject().entry();
        path.names.extend_from_slice(names);
        path
    }
}
