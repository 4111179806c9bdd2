//! Builds an item of a copy or a move entry by entry in a hidden folder of the target's datasource, then links it by one command.
//!
//! Ids of what is built are derived from the job and the entry copied, so that a second try makes the same entries and knows them. Of each file the version is
//! taken that is current, or was at the instant of the source, with its time; older versions stay behind.
//!
//! Invariant: bytes that were copied are linked only if they have the size and the BLAKE3 of the version that they are a copy of.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};
use skep_placement::ids::{EntryId, VersionId};
use skep_raft::wire::meta::v1::{
    CopyEntry, CreateFolder, Entry, EntryPath, NewContent, OpenHidden, Precondition, Query, StatQuery, UseVersion, VersionRecord,
    WalkEntry, answer, query, tree_command,
};

use super::carried_notes;
use super::ends::Ends;
use super::position::Position;
use super::record::derived_id;
use super::running::Running;
use super::transfer_job::step;
use crate::auth::rights::{Authorized, ReadContent, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::ports::{ReadRequest, WriteRequest, Written};
use crate::service::id_bytes;
use crate::service::place::Place;
use crate::service::tree::{absent_or_fault, entry_id, is_folder};

mod link;
mod parts;

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
    /// What is built takes the place of what is at the target, if this holds of it; else nothing may be there.
    replacing: Option<Precondition>,
    /// The names below what is restored, if it is one of several parts.
    part: Option<Vec<String>>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(running: &'a Running, ends: &'a mut Ends, source: &'a Entry) -> Self {
        let same_datasource = ends.source.subject().datasource() == ends.target.subject().datasource();
        Self { running, ends, source, same_datasource, item: running.position().item, replacing: None, part: None }
    }

    /// The same, for something that takes the place of what is at the target.
    pub(super) fn replacing(self, condition: Precondition) -> Self {
        Self { replacing: Some(condition), ..self }
    }

    /// The id of the item that a job builds.
    pub(super) fn root_entry(running: &Running, item: usize) -> EntryId {
        EntryId(derived_id(running.id(), item, "item", b""))
    }

    /// Builds what is missing and links it. What fails for good leaves nothing behind.
    pub(super) async fn build(mut self, position: &mut Position) -> Result<(), Failure> {
        let built = self.build_and_link(position).await;
        if built.as_ref().is_err_and(|failure| failure.code != ErrorCode::Unknown) {
            self.discard().await;
        }
        built
    }

    async fn build_and_link(&mut self, position: &mut Position) -> Result<(), Failure> {
        let hidden = OpenHidden { entry: id_bytes(self.hidden()) };
        step(self.running, &self.ends.target, tree_command::What::OpenHidden(hidden)).await?;
        if is_folder(self.source) {
            self.folder_with_members(position).await?;
        } else {
            self.file(&[], self.source).await?;
            self.notes([(&[][..], self.source)]).await?;
        }
        self.renew().await?;
        self.link().await
    }

    async fn folder_with_members(&mut self, position: &mut Position) -> Result<(), Failure> {
        self.folder(&[], if self.at() == 0 { 0 } else { self.source.mtime }).await?;
        self.notes([(&[][..], self.source)]).await?;
        self.members(position).await
    }

    async fn members(&mut self, position: &mut Position) -> Result<(), Failure> {
        let sums = self.source.sums.unwrap_or_default();
        let all = sums.files.saturating_add(sums.folders).max(1);
        loop {
            let page = self.running.service().walk_page(&mut self.ends.source, position.after.clone(), &self.running.context()).await?;
            for folder in page.entries.iter().filter(|walked| walked.entry.as_ref().is_some_and(is_folder)) {
                let mtime = folder.entry.as_ref().map_or(0, |entry| entry.mtime);
                self.folder(&folder.names, mtime).await?;
            }
            self.files(&page.entries).await?;
            self.notes(page.entries.iter().filter_map(|walked| Some((walked.names.as_slice(), walked.entry.as_ref()?)))).await?;
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

    /// Gives what was built the notes that its sources have. Those of files that share their content came with them. Of the past none are known; what takes the
    /// place of the same entries has those that they have now.
    async fn notes<'e>(&self, entries: impl IntoIterator<Item = (&'e [String], &'e Entry)>) -> Result<(), Failure> {
        let is_past = self.at() != 0;
        if is_past && self.replacing.is_none() {
            return Ok(());
        }
        let wanted = entries.into_iter().filter(|(_, entry)| is_past || !self.same_datasource || is_folder(entry));
        let wanted = wanted.map(|(names, entry)| (entry_id(entry), self.built_path(names))).collect();
        carried_notes::carry(self.running, self.ends, wanted).await
    }

    async fn folder(&self, names: &[String], mtime: u64) -> Result<(), Failure> {
        let about = names.join("/");
        let entry = if names.is_empty() { self.root().0 } else { self.derived("folder", about.as_bytes()) };
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
        if self.at() != 0 {
            return self.share_version(names, entry).await;
        }
        let command = CopyEntry {
            from: Some(self.source_path(names)),
            to: Some(self.built_path(names)),
            seed: id_bytes(self.derived("share", &entry.entry)),
            ..CopyEntry::default()
        };
        step(self.running, &self.ends.target, tree_command::What::CopyEntry(command)).await.map(|_done| ())
    }

    /// Makes a file of a version that was current at the instant.
    async fn share_version(&self, names: &[String], entry: &Entry) -> Result<(), Failure> {
        let about = names.join("/");
        let command = UseVersion {
            path: Some(self.built_path(names)),
            entry: id_bytes(self.file_id(names)),
            version: id_bytes(self.derived("version", about.as_bytes())),
            of_entry: entry.entry.clone(),
            of_version: entry.version.clone(),
            condition: Some(Precondition { must_not_exist: true, ..Precondition::default() }),
            keep_mtime: true,
            mtime: entry.mtime,
            ..UseVersion::default()
        };
        match step(self.running, &self.ends.target, tree_command::What::UseVersion(command)).await {
            Err(failure) if failure.code == ErrorCode::PreconditionFailed => Ok(()),
            Err(failure) if failure.code == ErrorCode::VersionNotFound => Err(self.running.service().pruned(self.ends.source.subject())),
            other => other.map(|_done| ()),
        }
    }

    async fn copy_bytes(&self, names: &[String], entry: &Entry) -> Result<(), Failure> {
        if self.is_built(names).await? {
            return Ok(());
        }
        let (read, version) = self.open(names, entry).await?;
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
            from: context.remote.to_string(),
            rights_index: self.ends.target.index(),
        };
        let written = service.chunks().write(writing, body).await?;
        self.commit(names, entry, (written, version)).await
    }

    async fn commit(&self, names: &[String], entry: &Entry, (written, version): (Written, VersionRecord)) -> Result<(), Failure> {
        let chunks = self.running.service().chunks();
        let datasource = self.ends.target.subject().datasource();
        if written.size != version.size || written.blake3.as_slice() != version.blake3.as_ref() {
            chunks.abandon(datasource, written).await;
            let why = format!(
                "{}: the bytes that were read are not those that were stored, and their copy was not kept; the source was left as it is. Try again; if it \
                 happens again, this version is damaged",
                self.shown(names)
            );
            return Err(Failure::new(ErrorCode::ChecksumMismatch, why));
        }
        // The copying may have taken long: the right to put it there is decided anew.
        let target = match self.fresh_target().await {
            Ok(target) => target,
            Err(failure) => {
                chunks.abandon(datasource, written).await;
                return Err(failure);
            }
        };
        let about = names.join("/");
        let command = skep_raft::wire::meta::v1::PutFile {
            path: Some(self.built_path(names)),
            entry: id_bytes(self.file_id(names)),
            version: id_bytes(self.derived("version", about.as_bytes())),
            size: written.size,
            blake3: Bytes::copy_from_slice(&written.blake3),
            md5: written.md5.map(|md5| Bytes::copy_from_slice(&md5)).unwrap_or_default(),
            mtime: entry.mtime,
            media_type: version.media_type,
            condition: Some(Precondition { must_not_exist: true, ..Precondition::default() }),
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

    /// What to read of a file, pinned to the version that was seen.
    async fn open(&self, names: &[String], entry: &Entry) -> Result<(ReadRequest, VersionRecord), Failure> {
        let place = self.ends.source.subject();
        let question = skep_raft::wire::meta::v1::ContentQuery {
            path: Some(self.source_path(names)),
            version: VersionId::try_from(entry.version.as_ref()).map(|version| id_bytes(version.0)).unwrap_or_default(),
            chunks_max: limits::CHUNKS_PER_PAGE,
            at: self.at(),
            ..Default::default()
        };
        let question = Query { what: Some(query::What::Content(question)) };
        let deadline = self.running.context().deadline();
        let answer = self.running.service().metadata().query(place.group(), question, deadline).await?;
        match answer.what {
            Some(answer::What::Content(first)) => {
                let version = first.version.clone().unwrap_or_default();
                Ok((ReadRequest { datasource: place.datasource(), first, offset: 0, length: version.size }, version))
            }
            Some(answer::What::Absence(absence)) if absence.pruned => Err(self.running.service().pruned(place)),
            other => Err(absent_or_fault(place, other)),
        }
    }

    async fn is_built(&self, names: &[String]) -> Result<bool, Failure> {
        let question = Query { what: Some(query::What::Stat(StatQuery { path: Some(self.built_path(names)), ..Default::default() })) };
        let group = self.ends.target.subject().group();
        let answer = self.running.service().metadata().query(group, question, self.running.context().deadline()).await?;
        Ok(matches!(answer.what, Some(answer::What::Entry(_))))
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

    /// The instant of the source; 0: now.
    fn at(&self) -> u64 {
        self.ends.source.subject().instant()
    }

    /// The path of a source for people.
    fn shown(&self, names: &[String]) -> String {
        let mut shown = self.ends.source.subject().path().to_string();
        for name in names {
            shown.push('/');
            shown.push_str(name);
        }
        shown
    }

    fn file_id(&self, names: &[String]) -> [u8; 16] {
        if names.is_empty() { self.root().0 } else { self.derived("file", names.join("/").as_bytes()) }
    }

    /// The id of what is built.
    fn root(&self) -> EntryId {
        match &self.part {
            Some(names) => Self::part_entry(self.running, names),
            None => Self::root_entry(self.running, self.item),
        }
    }

    fn hidden(&self) -> [u8; 16] {
        derived_id(self.running.id(), self.item, "hidden", b"")
    }

    fn derived(&self, purpose: &str, about: &[u8]) -> [u8; 16] {
        let Some(part) = &self.part else { return derived_id(self.running.id(), self.item, purpose, about) };
        // No name has a NUL.
        let about = [part.join("/").as_bytes(), b"\0", about].concat();
        derived_id(self.running.id(), self.item, purpose, &about)
    }

    fn built_path(&self, names: &[String]) -> EntryPath {
        let mut all = vec![ITEM.to_owned()];
        all.extend(self.part.as_ref().map(|_| self.root().to_string()));
        all.extend_from_slice(names);
        EntryPath { base: id_bytes(self.hidden()), names: all }
    }

    fn source_path(&self, names: &[String]) -> EntryPath {
        let mut path = self.ends.source.subject().entry();
        path.names.extend_from_slice(names);
        path
    }
}
