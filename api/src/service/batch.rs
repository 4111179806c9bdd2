//! Many changes of one datasource by one command, all or none.
//!
//! Invariant: every step has its own proof, and all are for the same datasource; where the rights of one are missing nothing is proposed.

use std::collections::BTreeSet;

use bytes::Bytes;
use skep_placement::chunk::FileHasher;
use skep_placement::ids::{DatasourceId, VersionId};
use skep_raft::wire::meta::v1::{
    BatchStep, Command, CreateFolder, DeleteEntry, Done, Entry, MoveEntry, NewContent, Precondition, PutFile, QuotaLimit, SetMeta,
    TreeBatch, TreeCommand, UseVersion, batch_step, command, new_content, tree_command,
};

use super::recycle::{bin_root, note_of_place};
use super::{Service, command_of, id_bytes};
use crate::auth::rights::{Authorized, ReadTree, WriteContent, WriteNamespace, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::request_context::RequestContext;
use crate::service::metadata::Namespace;
use crate::service::place::Place;

/// Bytes that a file made by a batch may have: what lies in the metadata.
const INLINE_LENGTH_BYTES_MAX: usize = skep_placement::limits::INLINE_LENGTH_BYTES_MAX;

/// One change of a batch, with the proof that it is allowed.
#[derive(Debug)]
pub enum Step {
    /// Makes a folder.
    CreateFolder {
        /// Where.
        at: Authorized<WriteTree, Place>,
        /// Missing parents are made, and an existing folder is no failure.
        recursive: bool,
        /// Microseconds; 0: now.
        mtime: u64,
    },
    /// Makes a small file, or a new version of one.
    PutFile {
        /// Where.
        at: Authorized<WriteContent, Place>,
        /// The content, at most 4 KiB.
        bytes: Bytes,
        /// Microseconds; 0: now.
        mtime: u64,
        /// Missing parents are made.
        recursive: bool,
        /// What must hold.
        condition: Option<Precondition>,
    },
    /// Moves or renames.
    Move {
        /// What.
        from: Authorized<WriteTree, Place>,
        /// To where, with the new name.
        to: Box<Authorized<WriteTree, Place>>,
        /// What has the name goes to the recycle bin.
        overwrite: bool,
        /// What must hold of the source.
        condition: Option<Precondition>,
    },
    /// Deletes.
    Delete {
        /// What.
        at: Authorized<WriteTree, Place>,
        /// Not to the recycle bin.
        permanently: bool,
        /// What must hold.
        condition: Option<Precondition>,
    },
    /// Makes an older version of a file the current one again.
    UseVersion {
        /// The file.
        at: Authorized<WriteContent, Place>,
        /// The version.
        version: VersionId,
        /// What must hold.
        condition: Option<Precondition>,
    },
    /// Notes something at an entry for everybody; an empty text takes it away.
    SetMeta {
        /// The entry.
        at: Authorized<WriteTree, Place>,
        /// Under which name.
        namespace: Box<Authorized<WriteNamespace, Namespace>>,
        /// A JSON text.
        json: String,
    },
    /// Notes something at an entry that the caller alone sees.
    SetOwnMeta {
        /// The entry.
        at: Authorized<ReadTree, Place>,
        /// Under which name; a private one.
        namespace: Box<Authorized<WriteNamespace, Namespace>>,
        /// A JSON text.
        json: String,
    },
}

/// What a step's rights were decided about, beside the workspaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Decided {
    Tree,
    Content,
    Note(String),
    OwnNote(String),
}

impl Step {
    /// Where its node is when it was carried out.
    pub(crate) fn leaves_at(&self) -> &Place {
        self.target().unwrap_or_else(|| self.place())
    }

    fn place(&self) -> &Place {
        match self {
            Step::CreateFolder { at, .. } | Step::Delete { at, .. } | Step::SetMeta { at, .. } => at.subject(),
            Step::PutFile { at, .. } | Step::UseVersion { at, .. } => at.subject(),
            Step::Move { from, .. } => from.subject(),
            Step::SetOwnMeta { at, .. } => at.subject(),
        }
    }

    fn target(&self) -> Option<&Place> {
        match self {
            Step::Move { to, .. } => Some(to.subject()),
            Step::CreateFolder { .. }
            | Step::PutFile { .. }
            | Step::Delete { .. }
            | Step::UseVersion { .. }
            | Step::SetMeta { .. }
            | Step::SetOwnMeta { .. } => None,
        }
    }

    /// The system index that the step may be proposed under: that of its proofs, decided anew if they are old.
    async fn index(&self, service: &Service, context: &RequestContext) -> Result<u64, Failure> {
        let (metadata, now, deadline) = (service.metadata(), service.now_micros(), context.deadline());
        match self {
            Step::CreateFolder { at, .. } | Step::Delete { at, .. } => at.index_for_proposal(metadata, now, deadline).await,
            Step::PutFile { at, .. } | Step::UseVersion { at, .. } => at.index_for_proposal(metadata, now, deadline).await,
            Step::Move { from, to, .. } => {
                let index = from.index_for_proposal(metadata, now, deadline).await?;
                Ok(index.min(to.index_for_proposal(metadata, now, deadline).await?))
            }
            Step::SetMeta { at, namespace, .. } => {
                let index = at.index_for_proposal(metadata, now, deadline).await?;
                Ok(index.min(namespace.index_for_proposal(metadata, now, deadline).await?))
            }
            Step::SetOwnMeta { at, namespace, .. } => {
                let index = at.index_for_proposal(metadata, now, deadline).await?;
                Ok(index.min(namespace.index_for_proposal(metadata, now, deadline).await?))
            }
        }
    }

    /// Makes the user's own folder that the step works in, once.
    async fn ensure_homes(&mut self, service: &Service, context: &RequestContext) -> Result<(), Failure> {
        match self {
            Step::CreateFolder { at, .. } | Step::Delete { at, .. } | Step::SetMeta { at, .. } => service.ensure_home(at, context).await,
            Step::PutFile { at, .. } | Step::UseVersion { at, .. } => service.ensure_home(at, context).await,
            Step::Move { from, to, .. } => {
                service.ensure_home(from, context).await?;
                service.ensure_home(to, context).await
            }
            Step::SetOwnMeta { at, .. } => service.ensure_home(at, context).await,
        }
    }

    /// Steps of one kind in one workspace are allowed by one decision.
    fn decided_alike(&self) -> (String, String, Decided) {
        let slug = |place: &Place| place.workspace().slug.clone();
        let decided = match self {
            Step::CreateFolder { .. } | Step::Move { .. } | Step::Delete { .. } => Decided::Tree,
            Step::PutFile { .. } | Step::UseVersion { .. } => Decided::Content,
            Step::SetMeta { namespace, .. } => Decided::Note(namespace.subject().name().to_owned()),
            Step::SetOwnMeta { namespace, .. } => Decided::OwnNote(namespace.subject().name().to_owned()),
        };
        (slug(self.place()), self.target().map(slug).unwrap_or_default(), decided)
    }

    fn actor(&self) -> skep_raft::wire::meta::v1::Actor {
        match self {
            Step::CreateFolder { at, .. } | Step::Delete { at, .. } | Step::SetMeta { at, .. } => at.actor(),
            Step::PutFile { at, .. } | Step::UseVersion { at, .. } => at.actor(),
            Step::Move { from, .. } => from.actor(),
            Step::SetOwnMeta { at, .. } => at.actor(),
        }
    }

    fn quotas(&self) -> Vec<QuotaLimit> {
        let mut quotas = match self {
            Step::CreateFolder { at, .. } | Step::Delete { at, .. } => at.quotas(),
            Step::PutFile { at, .. } | Step::UseVersion { at, .. } => at.quotas(),
            Step::Move { from, .. } => from.quotas(),
            // A note weighs nothing.
            Step::SetMeta { .. } | Step::SetOwnMeta { .. } => Vec::new(),
        };
        if let Step::Move { to, .. } = self {
            quotas.extend(to.quotas());
        }
        quotas
    }
}

impl Service {
    /// Carries out all steps by one command, or none. Gives each step's entry as it was right after the step.
    ///
    /// Public: each [`Step`] is taken by value and holds the proofs of its own.
    ///
    /// # Errors
    /// [`ErrorCode::AcrossDatasources`], [`ErrorCode::TooLarge`], and everything that a single step may be refused for: the sentence names the step.
    pub async fn batch(&self, mut steps: Vec<Step>, context: &RequestContext) -> Result<Vec<Entry>, Failure> {
        let datasource = check(&steps)?;
        let first = steps.first().ok_or_else(|| Failure::new(ErrorCode::BadRequest, "the batch is empty"))?;
        let actor = first.actor();
        let mut index = u64::MAX;
        let mut decided = BTreeSet::new();
        for step in &mut steps {
            if decided.insert(step.decided_alike()) {
                step.ensure_homes(self, context).await?;
                index = index.min(step.index(self, context).await?);
            }
        }
        let mut quotas: Vec<QuotaLimit> = Vec::new();
        for quota in steps.iter().flat_map(Step::quotas) {
            if !quotas.contains(&quota) {
                quotas.push(quota);
            }
        }
        let steps: Vec<BatchStep> = steps.into_iter().map(|step| BatchStep { what: Some(self.step(step)) }).collect();
        let what = command::What::Tree(TreeCommand { what: Some(carried_out_by(steps)) });
        let command = Command { quotas, ..command_of(actor, index, what, context) };
        let done = match self.metadata().propose(datasource.into(), command, context.deadline()).await.map_err(Failure::from) {
            Ok(proposed) => proposed.done,
            Err(mut failure) if failure.code == ErrorCode::Gone => {
                let policy = self.policy_of(datasource).unwrap_or_default();
                failure.detail = format!("{}; the versioning policy is {policy:?}", failure.detail);
                return Err(failure);
            }
            Err(failure) => return Err(failure),
        };
        let all = if done.steps.is_empty() { vec![done] } else { done.steps };
        Ok(all.into_iter().map(|done: Done| done.entry.unwrap_or_default()).collect())
    }

    fn step(&self, step: Step) -> batch_step::What {
        match step {
            Step::CreateFolder { at, recursive, mtime } => {
                let place = at.subject();
                batch_step::What::CreateFolder(CreateFolder {
                    path: Some(place.entry()),
                    entry: id_bytes(self.draw_entry().0),
                    recursive,
                    parents: self.parent_ids(place, recursive),
                    existing_ok: recursive,
                    mtime,
                })
            }
            Step::PutFile { at, bytes, mtime, recursive, condition } => {
                let place = at.subject();
                let mut hasher = FileHasher::new();
                hasher.update(&bytes);
                batch_step::What::PutFile(PutFile {
                    path: Some(place.entry()),
                    entry: id_bytes(self.draw_entry().0),
                    version: id_bytes(self.draw_version().0),
                    size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
                    blake3: Bytes::copy_from_slice(&hasher.hash()),
                    mtime,
                    condition,
                    content: Some(NewContent { from: Some(new_content::From::Inlined(bytes)), key_version: 0 }),
                    recursive,
                    parents: self.parent_ids(place, recursive),
                    ..PutFile::default()
                })
            }
            Step::Move { from, to, overwrite, condition } => batch_step::What::MoveEntry(MoveEntry {
                from: Some(from.subject().entry()),
                to: Some(to.subject().entry()),
                overwrite,
                condition,
                recycle_root: bin_root(to.subject()).filter(|_| overwrite),
                recycle_note_json: note_of_place(to.subject()),
                bin: id_bytes(self.draw_entry().0),
                ..MoveEntry::default()
            }),
            Step::Delete { at, permanently, condition } => {
                let place = at.subject();
                let permanently = permanently || place.is_in_recycle_bin() || place.workspace().skip_recycle;
                batch_step::What::DeleteEntry(DeleteEntry {
                    path: Some(place.entry()),
                    permanently,
                    recycle_root: (!permanently).then(|| place.root()),
                    bin: if permanently { Bytes::new() } else { id_bytes(self.draw_entry().0) },
                    recycle_note_json: if permanently { String::new() } else { note_of_place(place) },
                    condition,
                    recursive_forbidden: false,
                })
            }
            Step::UseVersion { at, version, condition } => batch_step::What::UseVersion(UseVersion {
                path: Some(at.subject().entry()),
                version: id_bytes(self.draw_version().0),
                of_version: id_bytes(version.0),
                condition: Some(Precondition { must_exist: true, ..condition.unwrap_or_default() }),
                ..UseVersion::default()
            }),
            Step::SetMeta { at, namespace, json } => {
                batch_step::What::SetMeta(note(at.subject(), (Bytes::new(), namespace.subject().is_indexable()), &namespace, json))
            }
            Step::SetOwnMeta { at, namespace, json } => {
                batch_step::What::SetMeta(note(at.subject(), (at.actor().user, false), &namespace, json))
            }
        }
    }
}

/// A note by itself is told in the audit with its place; several steps are a batch.
fn carried_out_by(mut steps: Vec<BatchStep>) -> tree_command::What {
    match steps.as_mut_slice() {
        [BatchStep { what: Some(batch_step::What::SetMeta(note)) }] => tree_command::What::SetMeta(std::mem::take(note)),
        _ => tree_command::What::Batch(TreeBatch { steps }),
    }
}

fn note(place: &Place, (user, searchable): (Bytes, bool), namespace: &Authorized<WriteNamespace, Namespace>, json: String) -> SetMeta {
    SetMeta { path: Some(place.entry()), namespace: namespace.subject().name().to_owned(), json, user, searchable }
}

/// The datasource of all steps.
fn check(steps: &[Step]) -> Result<DatasourceId, Failure> {
    if steps.is_empty() || steps.len() > limits::BATCH_STEPS {
        let why = format!("a batch has 1 to {} steps, not {}; cut it into several", limits::BATCH_STEPS, steps.len());
        return Err(Failure::new(ErrorCode::TooLarge, why));
    }
    let mut datasource = None;
    for (place, step) in steps.iter().enumerate() {
        let number = place + 1;
        for at in std::iter::once(step.place()).chain(step.target()) {
            if at.is_workspace_root() {
                let why = format!("step {number}: {}: a workspace itself is not changed here", at.path());
                return Err(Failure::new(ErrorCode::Forbidden, why));
            }
            if at.instant() != 0 {
                let why = format!("step {number}: {}: the past is only to look at", at.path());
                return Err(Failure::new(ErrorCode::Forbidden, why));
            }
            let here = *datasource.get_or_insert_with(|| at.datasource());
            if here != at.datasource() {
                let why = format!(
                    "step {number}: {}: it lies in another datasource than the steps before; one batch changes one datasource",
                    at.path()
                );
                return Err(Failure::new(ErrorCode::AcrossDatasources, why));
            }
        }
        if let Step::SetMeta { namespace, json, .. } | Step::SetOwnMeta { namespace, json, .. } = step {
            namespace
                .subject()
                .check(json, matches!(step, Step::SetOwnMeta { .. }))
                .map_err(|failure| failure.at(&format!("step {number}")))?;
        }
        if let Step::PutFile { bytes, .. } = step
            && bytes.len() > INLINE_LENGTH_BYTES_MAX
        {
            let why = format!(
                "step {number}: {}: {} bytes; a batch makes files of up to {INLINE_LENGTH_BYTES_MAX}, upload larger ones by themselves",
                step.place().path(),
                bytes.len()
            );
            return Err(Failure::new(ErrorCode::TooLarge, why));
        }
    }
    datasource.ok_or_else(|| Failure::new(ErrorCode::BadRequest, "the batch is empty"))
}
