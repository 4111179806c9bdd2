//! Locks: taking, refreshing, giving back and looking at them. One kind of lock for WebDAV, for programs and for Cells' `content_lock`, kept and decided in
//! the datasource's group.

use bytes::Bytes;
use skep_raft::handle::Proposed;
use skep_raft::wire::meta::v1::{
    BatchStep, Entry, HoldsStill, LocateQuery, LockKind, LockRecord, LocksQuery, Precondition, Query, RefreshLock, RemoveLock, SetLock,
    TreeBatch, answer, batch_step, query, tree_command,
};

use super::tree::{absent_or_fault, entry_of};
use super::{Service, id_bytes};
use crate::auth::rights::{Action, Administer, Authorized, Cluster, ReadTree, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::request_context::RequestContext;
use crate::service::place::Place;
use crate::service::user_path::UserPath;

/// How something is locked.
#[derive(Clone, Debug, Default)]
pub struct LockRequest {
    /// Seconds; 0: as long as is usual. More than there can be: as long as there can be.
    pub seconds: u64,
    /// Beside other shared ones.
    pub shared: bool,
    /// Also all that lies below.
    pub deep: bool,
    /// What a WebDAV client says of its owner.
    pub owner_xml: String,
    /// A free name becomes an empty file.
    pub make_file: bool,
    /// What must hold when it is taken.
    pub condition: Option<Precondition>,
}

/// What is asked of a place besides the states that the request names.
#[derive(Clone, Debug, Default)]
pub struct Hold {
    /// What must hold.
    pub condition: Option<Precondition>,
    /// What locks must let the caller do there.
    pub passes: Passes,
}

/// What locks must let a caller do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passes {
    /// Nothing: it is only looked at.
    #[default]
    Nothing,
    /// Change what is there, or put something under the free name.
    Change,
    /// Take what is there from its name with all below it, or put something under the free name.
    Removal,
}

/// A lock that was taken.
#[derive(Clone, Debug)]
pub struct Locked {
    /// It; with its token and fence.
    pub lock: LockRecord,
    /// An empty file was made for it.
    pub created: bool,
}

/// A lock as somebody sees it.
#[derive(Clone, Debug)]
pub struct SeenLock {
    /// It; without its token unless it is the caller's own.
    pub lock: LockRecord,
    /// What it was taken on; of one above the workspace, the workspace.
    pub path: UserPath,
    /// The caller holds it.
    pub own: bool,
}

impl Service {
    /// Takes a lock.
    ///
    /// # Errors
    /// [`ErrorCode::Locked`] by another lock, [`ErrorCode::NotFound`], [`ErrorCode::ParentNotFound`], [`ErrorCode::Forbidden`] for a workspace itself,
    /// [`ErrorCode::LimitReached`], [`ErrorCode::PreconditionFailed`]; [`ErrorCode::Unknown`].
    pub async fn lock(
        &self,
        mut proof: Authorized<WriteTree, Place>,
        request: LockRequest,
        context: &RequestContext,
    ) -> Result<Locked, Failure> {
        refuse_workspace(proof.subject())?;
        self.ensure_home(&mut proof, context).await?;
        let command = SetLock {
            path: Some(proof.subject().entry()),
            token: id_bytes(self.draw_id()),
            lifetime_seconds: lifetime(request.seconds),
            shared: request.shared,
            deep: request.deep,
            owner_xml: request.owner_xml,
            kind: LockKind::Webdav.into(),
            entry: if request.make_file { id_bytes(self.draw_entry().0) } else { Bytes::new() },
            version: if request.make_file { id_bytes(self.draw_version().0) } else { Bytes::new() },
            condition: request.condition,
        };
        let proposed = self.propose_tree(&proof, tree_command::What::SetLock(command), context).await?;
        let created = proposed.done.created;
        Ok(Locked { lock: lock_of(proposed, proof.subject())?, created })
    }

    /// Has a lock of the caller last longer; the place is any that the lock covers.
    ///
    /// # Errors
    /// [`ErrorCode::LockLost`] if it has ended or is another's; [`ErrorCode::NotFound`], [`ErrorCode::Unknown`].
    pub async fn refresh_lock(
        &self,
        proof: Authorized<WriteTree, Place>,
        (token, seconds): ([u8; 16], u64),
        context: &RequestContext,
    ) -> Result<LockRecord, Failure> {
        let command = RefreshLock { path: Some(proof.subject().entry()), token: id_bytes(token), lifetime_seconds: lifetime(seconds) };
        let proposed = self.propose_tree(&proof, tree_command::What::RefreshLock(command), context).await?;
        lock_of(proposed, proof.subject())
    }

    /// Gives a lock back; the place is any that the lock covers. With an administrator's proof it may be anybody's.
    ///
    /// # Errors
    /// [`ErrorCode::LockLost`] if there is none of this token, [`ErrorCode::Forbidden`] if it is another's; [`ErrorCode::NotFound`],
    /// [`ErrorCode::Unknown`].
    pub async fn unlock(
        &self,
        proof: Authorized<WriteTree, Place>,
        token: [u8; 16],
        breaking: Option<Authorized<Administer, Cluster>>,
        context: &RequestContext,
    ) -> Result<(), Failure> {
        let command = RemoveLock {
            path: Some(proof.subject().entry()),
            token: id_bytes(token),
            anybodys: breaking.is_some(),
            ..RemoveLock::default()
        };
        self.propose_tree(&proof, tree_command::What::RemoveLock(command), context).await.map(|_done| ())
    }

    /// Removes all locks taken on an entry, whoever holds them. How many.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::Unknown`].
    pub async fn break_locks(
        &self,
        proof: Authorized<WriteTree, Place>,
        breaking: Authorized<Administer, Cluster>,
        context: &RequestContext,
    ) -> Result<u64, Failure> {
        drop(breaking);
        let command = RemoveLock { path: Some(proof.subject().entry()), anybodys: true, ..RemoveLock::default() };
        self.propose_tree(&proof, tree_command::What::RemoveLock(command), context).await.map(|proposed| proposed.done.count)
    }

    /// The locks that cover an entry, and if asked for those below it.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::Unavailable`].
    pub async fn locks_of(
        &self,
        mut proof: Authorized<ReadTree, Place>,
        below: bool,
        context: &RequestContext,
    ) -> Result<Vec<SeenLock>, Failure> {
        let question = LocksQuery { path: Some(proof.subject().entry()), below };
        let answer = self.ask(&mut proof, query::What::Locks(question), context).await?;
        let page = match answer.what {
            Some(answer::What::Locks(page)) => page,
            other => return Err(absent_or_fault(proof.subject(), other)),
        };
        let root = proof.subject().root();
        let user = proof.actor();
        let now = self.now_micros();
        let mut seen = Vec::with_capacity(page.locks.len());
        for held in page.locks {
            let Some(mut lock) = held.lock.filter(|lock| lock.expires_at > now) else { continue };
            let own =
                lock.owner.as_ref().is_some_and(|owner| owner.user == user.user && (!user.user.is_empty() || owner.login == user.login));
            if !own {
                lock.token = Bytes::new();
                lock.fence = 0;
            }
            seen.push((held.names, lock, own));
        }
        if seen.is_empty() {
            return Ok(Vec::new());
        }
        // How many names lead to the workspace's root: it is named from the tree's root, or the tree is asked where it lies.
        let is_named_from_the_top = root.base.iter().all(|byte| *byte == 0);
        let depth = if is_named_from_the_top { root.names.len() } else { self.depth_of_root(&proof, context).await? };
        let place = proof.subject();
        seen.into_iter()
            .map(|(names, lock, own)| {
                let mut path = UserPath::default().child(place.path().slug().unwrap_or_default())?;
                for name in names.get(depth..).unwrap_or_default() {
                    path = path.child(name)?;
                }
                Ok(SeenLock { lock, path, own })
            })
            .collect()
    }

    /// How many names lead from the root of the tree to that of the workspace.
    async fn depth_of_root(&self, proof: &Authorized<ReadTree, Place>, context: &RequestContext) -> Result<usize, Failure> {
        let place = proof.subject();
        let entry = place.root().base;
        let question = Query { what: Some(query::What::Locate(LocateQuery { entry })) };
        let answer = self.metadata().query(place.group(), question, context.deadline()).await?;
        match answer.what {
            Some(answer::What::Locate(located)) => Ok(located.names.len() + place.root_depth()),
            other => Err(absent_or_fault(place, other)),
        }
    }

    /// Refuses unless what the request says of states holds, and what else is asked of the place. For requests that change nothing themselves, and before
    /// long ones; decided where changes are.
    ///
    /// # Errors
    /// [`ErrorCode::PreconditionFailed`], [`ErrorCode::Locked`], [`ErrorCode::LockLost`], [`ErrorCode::ParentNotFound`]; [`ErrorCode::Unavailable`].
    pub async fn states_hold<A: Action>(&self, proof: Authorized<A, Place>, hold: Hold, context: &RequestContext) -> Result<(), Failure> {
        let still = HoldsStill {
            path: Some(proof.subject().entry()),
            condition: hold.condition,
            changeable: hold.passes == Passes::Change,
            removable: hold.passes == Passes::Removal,
        };
        let steps = vec![BatchStep { what: Some(batch_step::What::HoldsStill(still)) }];
        let what = tree_command::What::Batch(TreeBatch { steps });
        // Who only looks changes nothing that a fence could cover. What was judged is judged anew if the request is repeated.
        let context = if hold.passes == Passes::Nothing { context.without_fence() } else { context.clone() }.once();
        self.propose_tree(&proof, what, &context).await.map(|_done| ())
    }

    /// Takes Cells' `content_lock` on a file for the caller, or has the one that the caller holds last longer.
    ///
    /// # Errors
    /// As [`Service::lock`].
    pub async fn set_content_lock(&self, proof: Authorized<WriteTree, Place>, context: &RequestContext) -> Result<Entry, Failure> {
        refuse_workspace(proof.subject())?;
        let command = SetLock {
            path: Some(proof.subject().entry()),
            token: id_bytes(self.draw_id()),
            lifetime_seconds: limits::CONTENT_LOCK_SECONDS,
            kind: LockKind::Content.into(),
            ..SetLock::default()
        };
        let proposed = self.propose_tree(&proof, tree_command::What::SetLock(command), context).await?;
        entry_of(proposed, proof.subject())
    }

    /// Gives the caller's `content_lock` back. Where there is none nothing is changed.
    ///
    /// # Errors
    /// [`ErrorCode::Locked`] if another holds it; [`ErrorCode::NotFound`], [`ErrorCode::Unknown`].
    pub async fn remove_content_lock(&self, proof: Authorized<WriteTree, Place>, context: &RequestContext) -> Result<Entry, Failure> {
        let command = RemoveLock { path: Some(proof.subject().entry()), kind: LockKind::Content.into(), ..RemoveLock::default() };
        let proposed = self.propose_tree(&proof, tree_command::What::RemoveLock(command), context).await?;
        entry_of(proposed, proof.subject())
    }
}

fn refuse_workspace(place: &Place) -> Result<(), Failure> {
    if place.is_workspace_root() {
        return Err(Failure::new(ErrorCode::Forbidden, format!("{}: a workspace itself is not locked; lock a folder in it", place.path())));
    }
    Ok(())
}

fn lifetime(seconds: u64) -> u64 {
    if seconds == 0 { limits::LOCK_SECONDS } else { seconds.min(limits::LOCK_SECONDS_MAX) }
}

fn lock_of(proposed: Proposed, place: &Place) -> Result<LockRecord, Failure> {
    let missing = || Failure::new(ErrorCode::Internal, format!("{}: the lock was taken but not answered", place.path()));
    proposed.done.lock.ok_or_else(missing)
}
