//! Following the changes of a workspace: from a position on, in commit order, at any node.
//!
//! Invariants: a position names what was told and nothing else, so whoever goes on from one misses nothing and is told nothing twice; what the feed no longer
//! reaches is said, never passed over. Nobody is told of what the right to read does not cover.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use skep_placement::ids::{EntryId, GroupId, VersionId};
use skep_raft::wire::meta::v1::{ChangeKind, ChangesPage, ChangesQuery, EntryKind, FeedChange, answer, query};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Service;
use super::tree::absent_or_fault;
use crate::auth::rights::{Authorized, ReadTree};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::request_context::RequestContext;
use crate::service::metadata::VisibleNotes;
use crate::service::place::Place;

/// A place in the feed of a datasource: the generation of its group, an index of its log, and a number within that entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedPosition {
    generation: u64,
    index: u64,
    sub: u32,
}

impl FeedPosition {
    /// Behind everything that an entry told.
    fn after(generation: u64, index: u64) -> Self {
        Self { generation, index, sub: u32::MAX }
    }
}

impl fmt::Display for FeedPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.generation, self.index, self.sub)
    }
}

impl FromStr for FeedPosition {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let mut parts = text.split('.');
        let mut number = || parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))?.parse::<u64>().ok();
        let read = (number(), number(), number().and_then(|sub| u32::try_from(sub).ok()));
        match (read, parts.next()) {
            ((Some(generation), Some(index), Some(sub)), None) => Ok(Self { generation, index, sub }),
            _malformed => Err(Failure::new(
                ErrorCode::BadRequest,
                format!("position: {text:?} is none; send one as it was answered, or none for now"),
            )),
        }
    }
}

/// What a change is for who follows a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToldKind {
    /// It came to be there, or came in from where the follower does not see.
    Create,
    /// A file has a new current version.
    UpdateContent,
    /// It has another place in the workspace.
    UpdatePath,
    /// Its times, or what the program notes on it.
    UpdateMeta,
    /// What people note on it.
    UpdateUserMeta,
    /// It is gone, or went to where the follower does not see.
    Delete,
}

impl ToldKind {
    /// As clients know it.
    ///
    /// Public: a name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::UpdateContent => "UPDATE_CONTENT",
            Self::UpdatePath => "UPDATE_PATH",
            Self::UpdateMeta => "UPDATE_META",
            Self::UpdateUserMeta => "UPDATE_USER_META",
            Self::Delete => "DELETE",
        }
    }
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Behind it.
    pub position: FeedPosition,
    /// What it is.
    pub kind: ToldKind,
    /// What it is about.
    pub entry: EntryId,
    /// A folder.
    pub is_folder: bool,
    /// `slug/…` of where it is now, by the folders' names now; the slug alone for the workspace's root; none: not in the workspace.
    pub path: Option<String>,
    /// `slug/…` of where it was, if elsewhere.
    pub path_was: Option<String>,
    /// Bytes of a file.
    pub size: u64,
    /// Microseconds.
    pub mtime: u64,
    /// A file's current version.
    pub version: Option<VersionId>,
    /// Of a note.
    pub namespace: String,
    /// Who changed it.
    pub login: String,
    /// When, in microseconds.
    pub stamp: u64,
    /// A folder that came in from where the follower does not see: what lies in it was not told, list it.
    pub list_anew: bool,
}

/// What a follower got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Changes in their order; none if none came in time.
    Changes {
        /// The changes.
        changes: Vec<Told>,
        /// More are there already.
        more: bool,
    },
    /// The feed does not reach back to the position any more, or the group was recovered since: list everything, then go on from the new position.
    Anew,
}

/// Somebody who follows a workspace.
#[derive(Debug)]
pub struct Follower {
    service: Service,
    proof: Authorized<ReadTree, Place>,
    context: RequestContext,
    position: FeedPosition,
}

impl Service {
    /// Begins to follow a workspace behind a position; without one, behind everything that there is now.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] for a place that is not a workspace of now; [`ErrorCode::Unavailable`].
    pub async fn follow(
        &self,
        proof: Authorized<ReadTree, Place>,
        position: Option<FeedPosition>,
        context: &RequestContext,
    ) -> Result<Follower, Failure> {
        if !proof.subject().is_workspace_root() || proof.subject().instant() != 0 {
            let why = format!("{}: changes are told of a whole workspace as it is now; name it alone", proof.subject().path());
            return Err(Failure::new(ErrorCode::BadRequest, why));
        }
        let begin = position.unwrap_or(FeedPosition { generation: 0, index: u64::MAX, sub: u32::MAX });
        let mut follower = Follower { service: self.clone(), proof, context: context.clone(), position: begin };
        if position.is_none() {
            let page = follower.ask(begin, 1).await?;
            follower.position = FeedPosition::after(page.generation, page.end_index);
        }
        Ok(follower)
    }
}

impl Follower {
    /// Behind what was told so far.
    pub(crate) fn position(&self) -> FeedPosition {
        self.position
    }

    pub(crate) fn place(&self) -> &Place {
        self.proof.subject()
    }

    /// The next changes, at most so many; waits for the first so long.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] for a position that the group has not come to; whatever the rights say now; [`ErrorCode::Unavailable`].
    ///
    /// # Cancel safety
    /// Dropped, it has told nothing and stays where it was.
    pub(crate) async fn next(&mut self, limit: u32, wait: Duration) -> Result<Followed, Failure> {
        let until = Instant::now() + wait;
        let mut applied = self.service.metadata().watch_applied(self.group());
        loop {
            if self.proof.is_old() {
                let deadline = self.context.continued().deadline();
                self.proof.renew_in_place(self.service.metadata(), self.service.now_micros(), deadline).await?;
                self.check_place()?;
            }
            if let Some(applied) = &mut applied {
                applied.borrow_and_update();
            }
            let looked_at = Instant::now();
            match self.look(limit).await? {
                Followed::Changes { changes, more: false } if changes.is_empty() && Instant::now() < until => {}
                told => return Ok(told),
            }
            pause(&mut applied, looked_at, until).await;
        }
    }

    /// Looks once. Goes on while a page has nothing for this follower.
    async fn look(&mut self, limit: u32) -> Result<Followed, Failure> {
        let mut changes = Vec::new();
        let mut position = self.position;
        let mut pages = 0;
        loop {
            let told = u32::try_from(changes.len()).unwrap_or(u32::MAX);
            let page = self.ask(position, limit.saturating_sub(told).max(1)).await?;
            if page.generation == position.generation && position.index > page.end_index {
                let why = format!("position: {position} is ahead of this datasource, whose last one is {}", page.end_index);
                return Err(Failure::new(ErrorCode::BadRequest, why));
            }
            if page.generation < position.generation {
                let why = format!("position: {position} is of a generation that this datasource has not come to");
                return Err(Failure::new(ErrorCode::BadRequest, why));
            }
            if page.too_old || page.generation != position.generation {
                self.position = FeedPosition::after(page.generation, page.end_index);
                return Ok(Followed::Anew);
            }
            position = FeedPosition { generation: page.generation, index: page.last_index, sub: page.last_sub };
            let told = page.changes.into_iter().filter(|shown| self.may_hear(shown));
            let told = told.filter_map(|shown| told_of(self.place(), page.generation, shown)).collect();
            changes.extend(self.readable(told).await?);
            pages += 1;
            let is_full = u32::try_from(changes.len()).is_ok_and(|told| told >= limit);
            if !page.more || is_full || pages == limits::FEED_PAGES {
                self.position = position;
                return Ok(Followed::Changes { changes, more: page.more });
            }
        }
    }

    async fn ask(&mut self, behind: FeedPosition, limit: u32) -> Result<ChangesPage, Failure> {
        let question = ChangesQuery { after_index: behind.index, after_sub: behind.sub, limit, within: Some(self.place().root()) };
        let answer = self.service.ask(&mut self.proof, query::What::Changes(question), &self.context.continued()).await?;
        match answer.what {
            Some(answer::What::Changes(page)) => Ok(page),
            other => Err(absent_or_fault(self.place(), other)),
        }
    }

    /// Whether a change is not of what another user noted for itself.
    fn may_hear(&self, shown: &FeedChange) -> bool {
        let owner = shown.change.as_ref().map(|change| change.owner.as_ref()).unwrap_or_default();
        owner.is_empty() || owner == self.proof.who().identity().user.0.as_slice()
    }

    /// Leaves out notes under names that the follower may not read.
    async fn readable(&self, told: Vec<Told>) -> Result<Vec<Told>, Failure> {
        if told.iter().all(|told| told.namespace.is_empty()) {
            return Ok(told);
        }
        let view = self.service.metadata().system(self.context.continued().deadline()).await?;
        let mut notes = VisibleNotes::new(view, self.proof.who().identity().clone());
        let mut readable = Vec::with_capacity(told.len());
        for told in told {
            if told.namespace.is_empty() || notes.may_read(&told.namespace)? {
                readable.push(told);
            }
        }
        Ok(readable)
    }

    /// The workspace may have been given another root since it is followed. The view is as new as that of the last decision.
    fn check_place(&self) -> Result<(), Failure> {
        let (was, path) = (self.place(), self.place().path().clone());
        let is = Place::find(&self.service.metadata().system_stale(), self.proof.who(), path)?;
        if is.datasource() == was.datasource() && is.root() == was.root() && is.id() == was.id() {
            return Ok(());
        }
        let why = format!("{}: the workspace leads elsewhere now; list it anew and follow it from now on", was.path());
        Err(Failure::new(ErrorCode::Conflict, why))
    }

    fn group(&self) -> GroupId {
        self.place().group()
    }
}

/// Waits until the group has applied something more, or the time is over; where the node has no replica that would tell, a moment.
async fn pause(applied: &mut Option<watch::Receiver<u64>>, looked_at: Instant, until: Instant) {
    let Some(receiver) = applied else {
        return tokio::time::sleep_until((Instant::now() + limits::FEED_LOOK).min(until)).await;
    };
    match tokio::time::timeout_at(until.min(Instant::now() + limits::STREAM_RIGHTS_CHECK), receiver.changed()).await {
        // A change after a silence is told at once; of many that come together one look serves all.
        Ok(Ok(())) => tokio::time::sleep_until((looked_at + limits::FEED_PAUSE).min(until)).await,
        Ok(Err(_replica_ended)) => *applied = None,
        Err(_nothing_came) => {}
    }
}

/// A change as the follower of a workspace is told it; none if it is nothing for it.
fn told_of(place: &Place, generation: u64, shown: FeedChange) -> Option<Told> {
    let change = shown.change?;
    let is_folder = change.entry_kind == i32::from(EntryKind::Folder);
    // The workspace's root stands under no name in it; what is noted at it, its time and its locks are told of the slug alone.
    let is_root = shown.is_within && !shown.to_inside;
    let is_there = shown.to_inside || (is_root && matches!(change.kind(), ChangeKind::Meta | ChangeKind::Times | ChangeKind::Lock));
    let kind = match (change.kind(), is_there, shown.from_inside) {
        (ChangeKind::Moved, true, true) => ToldKind::UpdatePath,
        (ChangeKind::Created, true, _) | (ChangeKind::Moved, true, false) => ToldKind::Create,
        (ChangeKind::Moved | ChangeKind::Deleted, false, true) => ToldKind::Delete,
        (ChangeKind::NewVersion, true, _) => ToldKind::UpdateContent,
        (ChangeKind::Times | ChangeKind::Lock, true, _) => ToldKind::UpdateMeta,
        (ChangeKind::Meta, true, _) if is_of_people(&change.namespace) => ToldKind::UpdateUserMeta,
        (ChangeKind::Meta, true, _) => ToldKind::UpdateMeta,
        // Where the workspace's root hangs, which nobody sees in it, or nothing that is seen.
        _other => return None,
    };
    let is_move = change.kind() == ChangeKind::Moved;
    let slug = place.path().slug().unwrap_or_default();
    let shown_path = |names: &[String]| if is_root { slug.to_owned() } else { format!("{slug}/{}", names.join("/")) };
    Some(Told {
        position: FeedPosition { generation, index: shown.index, sub: shown.sub },
        kind,
        entry: EntryId::try_from(change.entry.as_ref()).unwrap_or_default(),
        is_folder,
        path: is_there.then(|| shown_path(&shown.path)),
        path_was: shown.from_inside.then(|| shown_path(&shown.path_was)),
        size: change.size,
        mtime: change.mtime,
        version: VersionId::try_from(change.version.as_ref()).ok(),
        namespace: change.namespace,
        login: change.actor.map(|actor| actor.login).unwrap_or_default(),
        stamp: change.stamp,
        list_anew: is_folder && is_move && kind == ToldKind::Create,
    })
}

/// Whether a namespace holds what people note.
fn is_of_people(namespace: &str) -> bool {
    use skep_raft::state::namespace;
    namespace.starts_with(namespace::OWN_PREFIX) || namespace::built_in_of(namespace).is_some()
}

#[cfg(test)]
mod tests {
    use super::FeedPosition;

    #[test]
    fn positions_are_read_as_they_are_written() {
        let position = FeedPosition { generation: 1, index: 77, sub: 3 };
        assert_eq!(position.to_string(), "1.77.3");
        assert_eq!("1.77.3".parse(), Ok(position));
        for bad in ["", "1", "1.2", "1.2.3.4", "1.-2.3", "1.+2.3", "1.2.4294967296", "a.b.c", "1.2. 3"] {
            assert!(bad.parse::<FeedPosition>().is_err(), "{bad}");
        }
    }
}
