//! Looking at and changing a tree: stat, versions, make a folder, delete.

use bytes::Bytes;
use skep_placement::ids::EntryId;
use skep_raft::handle::Proposed;
use skep_raft::wire::meta::v1::{
    Absence, Answer, CreateFolder, DeleteEntry, Entry, EntryKind, Precondition, Query, SetTimes, StatQuery, TreeCommand, VersionPage,
    VersionsQuery, answer, command, query, tree_command,
};

use super::{Service, id_bytes};
use crate::auth::rights::{Action, Authorized, ReadTree, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::request_context::RequestContext;
use crate::service::place::Place;
use crate::service::recycle::note_of_place;

/// What is wanted of a stat.
#[derive(Clone, Copy, Debug, Default)]
pub struct StatRequest {
    /// Also what is noted on the entry by namespaces.
    pub with_meta: bool,
}

/// How a folder is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct FolderRequest {
    /// Missing parents are made.
    pub recursive: bool,
    /// An existing folder is no failure.
    pub existing_ok: bool,
    /// Microseconds; 0: now.
    pub mtime: u64,
}

/// How an entry is deleted.
#[derive(Clone, Debug, Default)]
pub struct DeleteRequest {
    /// Not to the recycle bin.
    pub permanently: bool,
    /// What must hold.
    pub condition: Option<Precondition>,
}

/// What was deleted.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// As it was, or as it lies in the bin now.
    pub entry: Entry,
    /// It did not go to the bin.
    pub permanently: bool,
}

impl Service {
    /// Looks at one entry.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] if there is none; [`ErrorCode::Unavailable`].
    pub async fn stat(
        &self,
        mut proof: Authorized<ReadTree, Place>,
        request: StatRequest,
        context: &RequestContext,
    ) -> Result<Entry, Failure> {
        match self.look(&mut proof, request, context).await? {
            Ok(entry) => Ok(entry),
            Err(absence) if absence.horizon != 0 => Err(absent_or_fault(proof.subject(), Some(answer::What::Absence(absence)))),
            Err(_absence) => Err(Failure::not_found(&proof.subject().path().to_string())),
        }
    }

    /// Lists the versions of a file, newest first, those with numbers lower than `before` (0: from the newest).
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::IsAFolder`], [`ErrorCode::BadRequest`] for a place in the past.
    pub async fn versions(
        &self,
        mut proof: Authorized<ReadTree, Place>,
        before: u64,
        context: &RequestContext,
    ) -> Result<VersionPage, Failure> {
        if proof.subject().instant() != 0 {
            let why = format!("{}: versions are listed of a file as it is now; name it without the time", proof.subject().path());
            return Err(Failure::new(ErrorCode::BadRequest, why));
        }
        let question = VersionsQuery { path: Some(proof.subject().entry()), before, limit: limits::PAGE_ENTRIES };
        let answer = self.ask(&mut proof, query::What::Versions(question), context).await?;
        match answer.what {
            Some(answer::What::Versions(page)) => Ok(page),
            other => Err(absent_or_fault(proof.subject(), other)),
        }
    }

    /// Makes a folder.
    ///
    /// # Errors
    /// [`ErrorCode::AlreadyExists`], [`ErrorCode::ParentNotFound`], [`ErrorCode::NotAFolder`], quota and limits; [`ErrorCode::Unknown`].
    pub async fn create_folder(
        &self,
        mut proof: Authorized<WriteTree, Place>,
        request: FolderRequest,
        context: &RequestContext,
    ) -> Result<Entry, Failure> {
        let place = proof.subject().clone();
        if place.is_workspace_root() {
            return Err(Failure::new(ErrorCode::AlreadyExists, format!("{}: the workspace exists already", place.path())));
        }
        self.ensure_home(&mut proof, context).await?;
        let command = CreateFolder {
            path: Some(place.entry()),
            entry: id_bytes(self.draw_entry().0),
            recursive: request.recursive,
            parents: self.parent_ids(&place, request.recursive),
            existing_ok: request.existing_ok,
            mtime: request.mtime,
        };
        let proposed = self.propose_tree(&proof, tree_command::What::CreateFolder(command), context).await?;
        entry_of(proposed, &place)
    }

    /// Deletes a file or a whole folder, to the recycle bin of its workspace unless told otherwise or it lies there already. When this returns nobody sees it
    /// at its place any more.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::PreconditionFailed`], [`ErrorCode::Forbidden`] for a workspace itself; [`ErrorCode::Unknown`].
    pub async fn delete(
        &self,
        proof: Authorized<WriteTree, Place>,
        request: DeleteRequest,
        context: &RequestContext,
    ) -> Result<Deleted, Failure> {
        let place = proof.subject().clone();
        if place.is_workspace_root() {
            return Err(Failure::new(ErrorCode::Forbidden, format!("{}: a workspace is not deleted as a folder", place.path())));
        }
        let permanently = request.permanently || place.is_in_recycle_bin() || place.workspace().skip_recycle;
        let command = DeleteEntry {
            path: Some(place.entry()),
            permanently,
            recycle_root: (!permanently).then(|| place.root()),
            bin: if permanently { Bytes::new() } else { id_bytes(self.draw_entry().0) },
            recycle_note_json: if permanently { String::new() } else { note_of_place(&place) },
            condition: request.condition,
            recursive_forbidden: false,
        };
        let proposed = self.propose_tree(&proof, tree_command::What::DeleteEntry(command), context).await?;
        Ok(Deleted { entry: proposed.done.entry.unwrap_or_default(), permanently })
    }

    /// Sets an entry's time of change, microseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::Unknown`].
    pub async fn set_times(&self, proof: Authorized<WriteTree, Place>, mtime: u64, context: &RequestContext) -> Result<Entry, Failure> {
        let place = proof.subject().clone();
        let command = SetTimes { path: Some(place.entry()), mtime };
        let proposed = self.propose_tree(&proof, tree_command::What::SetTimes(command), context).await?;
        entry_of(proposed, &place)
    }

    /// The entry at the place of a proof, if there is one.
    pub(crate) async fn stat_if_there<A: Action>(
        &self,
        proof: &mut Authorized<A, Place>,
        request: StatRequest,
        context: &RequestContext,
    ) -> Result<Option<Entry>, Failure> {
        Ok(self.look(proof, request, context).await?.ok())
    }

    /// The entry at the place of a proof, or how far the way leads.
    pub(crate) async fn look<A: Action>(
        &self,
        proof: &mut Authorized<A, Place>,
        request: StatRequest,
        context: &RequestContext,
    ) -> Result<Result<Entry, Absence>, Failure> {
        let user = if request.with_meta { proof.actor().user } else { Bytes::new() };
        let question = StatQuery { path: Some(proof.subject().entry()), with_meta: request.with_meta, at: proof.subject().instant(), user };
        let answer = self.ask(proof, query::What::Stat(question), context).await?;
        match answer.what {
            Some(answer::What::Entry(entry)) => Ok(Ok(entry)),
            Some(answer::What::Absence(absence)) => Ok(Err(absence)),
            other => Err(absent_or_fault(proof.subject(), other)),
        }
    }

    /// Asks the datasource of a place. Where what was read was written under later rights than the proof's, the proof is decided anew; where a user's own
    /// folder is missing it is made first.
    pub(crate) async fn ask<A: Action>(
        &self,
        proof: &mut Authorized<A, Place>,
        what: query::What,
        context: &RequestContext,
    ) -> Result<Answer, Failure> {
        let group = proof.subject().group();
        let question = Query { what: Some(what) };
        let mut answer = self.metadata().query(group, question.clone(), context.deadline()).await?;
        if home_is_missing(proof.subject(), &answer) && proof.subject().instant() == 0 {
            self.make_home(proof, context).await?;
            answer = self.metadata().query(group, question, context.deadline()).await?;
        }
        if answer.rights_index > proof.index() {
            proof.renew_in_place(self.metadata(), self.now_micros(), context.deadline()).await?;
        }
        Ok(answer)
    }

    /// Makes the user's own folder before a change below it, once.
    pub(crate) async fn ensure_home<A: Action>(&self, proof: &mut Authorized<A, Place>, context: &RequestContext) -> Result<(), Failure> {
        match proof.subject().home() {
            Some(home) if !self.home_is_known(home) => self.make_home(proof, context).await,
            _ => Ok(()),
        }
    }

    async fn make_home<A: Action>(&self, proof: &Authorized<A, Place>, context: &RequestContext) -> Result<(), Failure> {
        let command = CreateFolder {
            path: Some(proof.subject().root()),
            entry: id_bytes(self.draw_entry().0),
            existing_ok: true,
            ..CreateFolder::default()
        };
        self.propose_tree(proof, tree_command::What::CreateFolder(command), &context.aside()).await?;
        if let Some(home) = proof.subject().home() {
            self.home_exists(home);
        }
        Ok(())
    }

    /// Proposes a change of the tree that the proof is about.
    pub(crate) async fn propose_tree<A: Action>(
        &self,
        proof: &Authorized<A, Place>,
        what: tree_command::What,
        context: &RequestContext,
    ) -> Result<Proposed, Failure> {
        let place = proof.subject();
        let what = command::What::Tree(TreeCommand { what: Some(what) });
        let proposed = self.propose(proof, place.group(), what, context).await;
        if let (Err(failure), Some(home)) = (&proposed, place.home())
            && matches!(failure.code, ErrorCode::NotFound | ErrorCode::ParentNotFound)
        {
            self.forget_home(home);
        }
        proposed.map_err(|failure| failure.at(&place.path().to_string()))
    }

    /// Ids for parents that may be missing.
    pub(crate) fn parent_ids(&self, place: &Place, recursive: bool) -> Vec<Bytes> {
        let parents = if recursive { place.path().below().len().saturating_sub(1) } else { 0 };
        (0..parents).map(|_| id_bytes(self.draw_entry().0)).collect()
    }
}

fn home_is_missing(place: &Place, answer: &Answer) -> bool {
    let Some(answer::What::Absence(absence)) = &answer.what else { return false };
    place.home().is_some() && !absence.not_a_folder && usize::try_from(absence.depth).is_ok_and(|depth| depth < place.root_depth())
}

/// What an answer without the thing asked for means.
pub(crate) fn absent_or_fault(place: &Place, what: Option<answer::What>) -> Failure {
    let shown = place.path().to_string();
    match what {
        Some(answer::What::Absence(absence)) if absence.horizon != 0 => {
            let why = format!("{shown}: history reaches back to {} only", super::instant::show(absence.horizon));
            Failure::new(ErrorCode::OutsideRetention, why)
        }
        Some(answer::What::Absence(absence)) if absence.unavailable_version => {
            Failure::new(ErrorCode::VersionNotFound, format!("{shown}: the file has no such version; it may have been deleted or pruned"))
        }
        Some(answer::What::Absence(absence)) if !absence.not_a_folder && is_whole_path(place, absence.depth) => {
            Failure::new(ErrorCode::IsAFolder, format!("{shown}: this is a folder, not a file"))
        }
        Some(answer::What::Absence(_)) => Failure::not_found(&shown),
        _ => Failure::new(ErrorCode::Internal, format!("{shown}: the metadata answered another question")),
    }
}

/// True if an absence says that the entry is there, but not of the kind asked about.
fn is_whole_path(place: &Place, depth: u64) -> bool {
    usize::try_from(depth).is_ok_and(|depth| depth == place.root_depth() + place.path().below().len())
}

/// Why something cannot be put at a place whose way leads only so far; none if its parent is there.
pub(crate) fn parent_fault(place: &Place, absence: &Absence) -> Option<Failure> {
    let shown = place.path().to_string();
    if absence.not_a_folder {
        return Some(Failure::new(ErrorCode::NotAFolder, format!("{shown}: a name on the way is a file, not a folder")));
    }
    let names = place.root_depth() + place.path().below().len();
    let found = usize::try_from(absence.depth).unwrap_or(usize::MAX);
    (found + 1 < names)
        .then(|| Failure::new(ErrorCode::ParentNotFound, format!("{shown}: the folder to put it into does not exist; make it first")))
}

pub(crate) fn entry_of(proposed: Proposed, place: &Place) -> Result<Entry, Failure> {
    let missing = || Failure::new(ErrorCode::Internal, format!("{}: the change was made but its entry was not answered", place.path()));
    proposed.done.entry.ok_or_else(missing)
}

pub(crate) fn is_folder(entry: &Entry) -> bool {
    entry.kind() == EntryKind::Folder
}

pub(crate) fn entry_id(entry: &Entry) -> EntryId {
    EntryId::try_from(entry.entry.as_ref()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use skep_raft::wire::meta::v1::Absence;

    use super::parent_fault;
    use crate::auth::authenticator::SignedIn;
    use crate::error_code::ErrorCode;
    use crate::service::place::{Place, tests::workspace};

    #[test]
    fn a_missing_parent_is_told_from_a_missing_entry() {
        let path = "files/a/b".parse().expect("a path");
        let place = Place::in_workspace(workspace("files", false), &SignedIn::operator(), path).expect("a place");
        let absence = |depth, not_a_folder| Absence { depth, not_a_folder, ..Absence::default() };
        assert!(parent_fault(&place, &absence(1, false)).is_none());
        assert_eq!(parent_fault(&place, &absence(0, false)).map(|fault| fault.code), Some(ErrorCode::ParentNotFound));
        assert_eq!(parent_fault(&place, &absence(1, true)).map(|fault| fault.code), Some(ErrorCode::NotAFolder));
    }
}
