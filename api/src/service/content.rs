//! Reading and writing the bytes of files.
//!
//! Writing keeps the order that the whole system rests on: the bytes are durable first, then the rights are decided anew, then one command names them. What
//! was written is taken back only after a refusal, never after an unknown answer.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use skep_placement::ids::{DatasourceId, VersionId};
use skep_raft::errors::ProposeError;
use skep_raft::wire::meta::v1::{
    Command, ContentAnswer, ContentQuery, Entry, NewContent, Precondition, PutFile, TreeCommand, VersionRecord, answer, command, query,
    tree_command,
};

use super::tree::{StatRequest, absent_or_fault, is_folder, parent_fault};
use super::{Service, command_of, id_bytes};
use crate::auth::rights::{Action, Authorized, ReadContent, WriteContent};
use crate::error_code::{ErrorCode, Failure};
use crate::ports::{BodyError, ByteStream, ReadRequest, WriteRequest, Written};
use crate::request_context::RequestContext;
use crate::service::place::Place;
use crate::service::quota::Growth;
use crate::{limits, metrics};

/// Bodies up to this length lie in the metadata.
const INLINE_LENGTH_BYTES_MAX: u64 = skep_placement::limits::INLINE_LENGTH_BYTES_MAX as u64;

/// A file as it comes.
#[derive(Clone, Debug, Default)]
pub struct PutRequest {
    /// Bytes announced.
    pub expected_length: Option<u64>,
    /// MD5 that the bytes must have.
    pub expected_md5: Option<[u8; 16]>,
    /// As sent; empty: guessed from the name.
    pub media_type: String,
    /// Microseconds; 0: now.
    pub mtime: u64,
    /// What must hold when it is committed.
    pub condition: Option<Precondition>,
    /// Missing parents are made.
    pub recursive: bool,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Put {
    /// The file as it is now.
    pub entry: Entry,
    /// It is new; else a new version.
    pub created: bool,
}

/// What to open of a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenRequest {
    /// None: the current version.
    pub version: Option<VersionId>,
    /// First byte that will probably be read.
    pub offset: u64,
    /// Bytes that will probably be read; 0: to the end.
    pub length: u64,
}

/// A file that may be read.
#[derive(Debug)]
pub struct OpenFile {
    service: Service,
    proof: Authorized<ReadContent, Place>,
    first: ContentAnswer,
    asked: OpenRequest,
    /// The file.
    pub entry: Entry,
    /// Its version that was opened.
    pub version: VersionRecord,
}

impl Service {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::IsAFolder`], [`ErrorCode::Gone`] for a version that was pruned; [`ErrorCode::Unavailable`].
    pub async fn open_file(
        &self,
        mut proof: Authorized<ReadContent, Place>,
        request: OpenRequest,
        context: &RequestContext,
    ) -> Result<OpenFile, Failure> {
        let first = self.ask_content(&mut proof, request, context).await?;
        let entry = first.entry.clone().unwrap_or_default();
        if is_folder(&entry) {
            return Err(Failure::new(ErrorCode::IsAFolder, format!("{}: this is a folder, not a file", proof.subject().path())));
        }
        let version = first.version.clone().unwrap_or_default();
        Ok(OpenFile { service: self.clone(), proof, first, asked: request, entry, version })
    }

    /// Reads the whole body and makes it a file, or a new version of one. A body that breaks off or has another length leaves nothing.
    ///
    /// # Errors
    /// Everything of [`ErrorCode`] but faults of reading; after [`ErrorCode::Unknown`] the version may or may not be there.
    pub async fn put_file(
        &self,
        mut proof: Authorized<WriteContent, Place>,
        request: PutRequest,
        body: ByteStream,
        context: &RequestContext,
    ) -> Result<Put, Failure> {
        if proof.subject().is_workspace_root() {
            return Err(Failure::new(ErrorCode::IsAFolder, format!("{}: a workspace is a folder, not a file", proof.subject().path())));
        }
        self.ensure_home(&mut proof, context).await?;
        // What goes into the metadata is judged by the commit alone: there is nothing to save by a look before it.
        if request.expected_length.is_none_or(|length| length > INLINE_LENGTH_BYTES_MAX) {
            let growth = self.refuse_early(&mut proof, request.condition.as_ref(), request.recursive, context).await?;
            self.refuse_over_quota(&mut proof, Growth { bytes: request.expected_length, ..growth }, context).await?;
        }
        let place = proof.subject().clone();
        let written = self.write_body(&proof, &request, body, context).await?;
        let context = context.continued();
        let renewed = match self.checksum_fault(&request, &written) {
            Some(fault) => Err(fault),
            None => proof.renew(self.metadata(), self.now_micros(), context.deadline()).await,
        };
        match renewed {
            Ok(proof) => self.commit(proof, request, written, &context).await,
            Err(failure) => {
                self.chunks().abandon(place.datasource(), written).await;
                Err(failure)
            }
        }
    }

    /// Refuses what cannot succeed before its bytes are read; says what it would add. The commit decides again.
    async fn refuse_early(
        &self,
        proof: &mut Authorized<WriteContent, Place>,
        condition: Option<&Precondition>,
        recursive: bool,
        context: &RequestContext,
    ) -> Result<Growth, Failure> {
        let place = proof.subject().clone();
        let shown = place.path().to_string();
        match self.look(proof, StatRequest::default(), context).await? {
            Ok(entry) if is_folder(&entry) => Err(Failure::new(ErrorCode::IsAFolder, format!("{shown}: a folder of this name exists"))),
            Ok(entry) => match condition.filter(|condition| !may_hold(condition, &entry)) {
                Some(_) => Err(Failure::new(ErrorCode::PreconditionFailed, format!("{shown}: it exists or has changed since"))),
                None => Ok(Growth { replaced: entry.size, ..Growth::default() }),
            },
            Err(absence) => {
                let fault = parent_fault(&place, &absence).filter(|fault| !recursive || fault.code != ErrorCode::ParentNotFound);
                let wanted = condition.is_some_and(|condition| condition.must_exist || !condition.etags_any.is_empty());
                match fault {
                    Some(fault) => Err(fault),
                    None if wanted => Err(Failure::new(ErrorCode::PreconditionFailed, format!("{shown}: it does not exist"))),
                    None => Ok(Growth { entries: names_missing(&place, absence.depth), ..Growth::default() }),
                }
            }
        }
    }

    async fn write_body<A: Action>(
        &self,
        proof: &Authorized<A, Place>,
        request: &PutRequest,
        body: ByteStream,
        context: &RequestContext,
    ) -> Result<Written, Failure> {
        let writing = WriteRequest {
            datasource: proof.subject().datasource(),
            actor: proof.actor(),
            expected_length: request.expected_length,
            want_md5: request.expected_md5.is_some(),
            request_id: context.request_id.to_string(),
            from: context.remote.to_string(),
            rights_index: proof.index(),
        };
        let counted: ByteStream = Box::pin(body.inspect(|piece| {
            if let Ok(bytes) = piece {
                metrics::received(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            }
        }));
        self.chunks().write(writing, counted).await.map_err(|error| Failure::from(error).at(&proof.subject().path().to_string()))
    }

    fn checksum_fault(&self, request: &PutRequest, written: &Written) -> Option<Failure> {
        let expected = request.expected_md5?;
        (written.md5 != Some(expected)).then(|| {
            Failure::new(
                ErrorCode::ChecksumMismatch,
                "nothing was stored: the bytes that came do not have the MD5 that was sent; send the file again",
            )
        })
    }

    /// Names what was written, or takes it back if that is refused.
    async fn commit(
        &self,
        proof: Authorized<WriteContent, Place>,
        request: PutRequest,
        written: Written,
        context: &RequestContext,
    ) -> Result<Put, Failure> {
        let place = proof.subject().clone();
        let what = tree_command::What::PutFile(self.put_command(&place, &request, &written));
        let what = command::What::Tree(TreeCommand { what: Some(what) });
        let command = Command { quotas: proof.quotas(), ..command_of(proof.actor(), proof.index(), what, context) };
        match self.metadata().propose(place.group(), command, context.deadline()).await {
            Ok(proposed) => {
                if proposed.done.replayed {
                    // The first request's bytes were committed; these are nobody's.
                    self.chunks().abandon(place.datasource(), written).await;
                } else if !proposed.done.surplus.is_empty() {
                    self.chunks().discard(place.datasource(), proposed.done.surplus.clone());
                }
                let created = proposed.done.created;
                Ok(Put { entry: super::tree::entry_of(proposed, &place)?, created })
            }
            Err(error) => {
                let unknown = matches!(error, ProposeError::Unknown { .. });
                if !unknown {
                    self.chunks().abandon(place.datasource(), written).await;
                }
                Err(Failure::from(error).at(&place.path().to_string()))
            }
        }
    }

    fn put_command(&self, place: &Place, request: &PutRequest, written: &Written) -> PutFile {
        PutFile {
            path: Some(place.entry()),
            entry: id_bytes(self.draw_entry().0),
            version: id_bytes(self.draw_version().0),
            size: written.size,
            blake3: Bytes::copy_from_slice(&written.blake3),
            md5: written.md5.map(|md5| Bytes::copy_from_slice(&md5)).unwrap_or_default(),
            mtime: request.mtime,
            media_type: request.media_type.clone(),
            condition: request.condition.clone(),
            content: Some(NewContent { ..written.content.clone() }),
            recursive: request.recursive,
            parents: self.parent_ids(place, request.recursive),
            ..PutFile::default()
        }
    }

    /// Why the content of a version that was there cannot be had.
    pub(crate) fn pruned(&self, place: &Place) -> Failure {
        let policy = self.policy_of(place.datasource()).map_or_else(String::new, |name| format!(" by the versioning policy {name:?}"));
        Failure::new(ErrorCode::Gone, format!("{}: this content is not kept any more{policy}", place.path()))
    }

    /// The name of the policy by which the contents of a datasource go.
    pub(crate) fn policy_of(&self, datasource: DatasourceId) -> Option<String> {
        let view = self.metadata().system_stale();
        let policy = view.datasource(datasource).ok().flatten().and_then(|datasource| view.policy_of(&datasource).ok());
        policy.map(|policy| policy.name)
    }

    async fn ask_content(
        &self,
        proof: &mut Authorized<ReadContent, Place>,
        request: OpenRequest,
        context: &RequestContext,
    ) -> Result<ContentAnswer, Failure> {
        let question = ContentQuery {
            path: Some(proof.subject().entry()),
            version: request.version.map(|version| Bytes::copy_from_slice(&version.0)).unwrap_or_default(),
            offset: request.offset,
            length: request.length,
            chunks_max: limits::CHUNKS_PER_PAGE,
            at: if request.version.is_some() { 0 } else { proof.subject().instant() },
            ..ContentQuery::default()
        };
        let answer = self.ask(proof, query::What::Content(question), context).await?;
        match answer.what {
            Some(answer::What::Absence(absence)) if absence.pruned => Err(self.pruned(proof.subject())),
            Some(answer::What::Content(content)) => Ok(content),
            Some(answer::What::Entry(entry)) if is_folder(&entry) => {
                Err(Failure::new(ErrorCode::IsAFolder, format!("{}: this is a folder, not a file", proof.subject().path())))
            }
            other => Err(absent_or_fault(proof.subject(), other)),
        }
    }
}

/// Whether a condition can hold for an entry as it was seen; a quick look that saves reading a body in vain.
pub(super) fn may_hold(condition: &Precondition, entry: &Entry) -> bool {
    let matches_any = condition.etags_any.is_empty() || condition.etags_any.contains(&entry.etag);
    !condition.must_not_exist && matches_any && !condition.etags_none.contains(&entry.etag)
}

/// How many names of a place's path have nothing yet.
fn names_missing(place: &Place, found: u64) -> u64 {
    let names = u64::try_from(place.root_depth() + place.path().below().len()).unwrap_or(u64::MAX);
    names.saturating_sub(found)
}

impl OpenFile {
    /// Bytes of the version.
    pub(crate) fn size(&self) -> u64 {
        self.version.size
    }

    /// The ETag without quotes: the version's id.
    pub(crate) fn etag(&self) -> String {
        VersionId::try_from(self.version.version.as_ref()).unwrap_or_default().to_string()
    }

    /// The place of the file.
    pub(crate) fn place(&self) -> &Place {
        self.proof.subject()
    }

    /// Streams a range of the opened version; the caller has checked it against [`OpenFile::size`]. Whoever loses the right meanwhile loses the stream.
    pub(crate) async fn read(mut self, offset: u64, length: u64, context: &RequestContext) -> Result<ByteStream, Failure> {
        let datasource = self.proof.subject().datasource();
        if !self.covers(offset, length) {
            let pinned = VersionId::try_from(self.version.version.as_ref()).ok();
            let request = OpenRequest { version: pinned, offset, length };
            self.first = self.service.ask_content(&mut self.proof, request, context).await?;
        }
        if length == 0 {
            return Ok(Box::pin(stream::empty()));
        }
        let bytes = self.service.chunks().read(read_request(datasource, self.first, offset, length));
        Ok(watched(bytes, self.service, self.proof, context.clone()))
    }

    /// True if the manifest's first page begins with the range.
    fn covers(&self, offset: u64, length: u64) -> bool {
        let end_asked = if self.asked.length == 0 { u64::MAX } else { self.asked.offset.saturating_add(self.asked.length) };
        self.first.is_inlined || (offset == self.asked.offset && offset.saturating_add(length) <= end_asked)
    }
}

fn read_request(datasource: DatasourceId, first: ContentAnswer, offset: u64, length: u64) -> ReadRequest {
    ReadRequest { datasource, first, offset, length }
}

/// Passes bytes on while the right to read them holds.
fn watched(bytes: ByteStream, service: Service, proof: Authorized<ReadContent, Place>, context: RequestContext) -> ByteStream {
    struct Open {
        bytes: Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>,
        service: Service,
        proof: Authorized<ReadContent, Place>,
        context: RequestContext,
    }
    let open = Open { bytes, service, proof, context };
    Box::pin(stream::try_unfold(open, |mut open| async move {
        if open.proof.is_old() {
            let deadline = open.context.continued().deadline();
            let checked = open.proof.renew_in_place(open.service.metadata(), open.service.now_micros(), deadline).await;
            if let Err(failure) = checked {
                tracing::info!(request_id = %open.context.request_id, code = failure.code.name(), "a download ended: its right could not be decided again");
                return Err(BodyError::Broken("the right to read it ended or could not be checked".to_owned()));
            }
        }
        match open.bytes.next().await {
            Some(Ok(piece)) => {
                metrics::sent(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                Ok(Some((piece, open)))
            }
            Some(Err(error)) => Err(error),
            None => Ok(None),
        }
    }))
}

#[cfg(test)]
mod tests {
    use skep_raft::wire::meta::v1::{Entry, Precondition};

    use super::may_hold;

    #[test]
    fn conditions_that_cannot_hold_are_seen_early() {
        let entry = Entry { etag: "v1".to_owned(), ..Entry::default() };
        let etags = |any: &[&str], none: &[&str]| Precondition {
            etags_any: any.iter().map(|etag| (*etag).to_owned()).collect(),
            etags_none: none.iter().map(|etag| (*etag).to_owned()).collect(),
            ..Precondition::default()
        };
        assert!(may_hold(&etags(&["v0", "v1"], &[]), &entry));
        assert!(!may_hold(&etags(&["v0"], &[]), &entry));
        assert!(!may_hold(&etags(&[], &["v1"]), &entry));
        assert!(!may_hold(&Precondition { must_not_exist: true, ..Precondition::default() }, &entry));
        assert!(may_hold(&Precondition { must_exist: true, ..Precondition::default() }, &entry));
    }
}
