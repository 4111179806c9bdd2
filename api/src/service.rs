//! The use cases. They know no HTTP: each takes a proof that it is allowed, asks or changes the metadata, and moves bytes by the node's port.
//!
//! The invariant: a use case changes nothing without an [`Authorized`] proof taken by value, and carries the proof's system index in every command.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use skep_placement::ids::{EntryId, GroupId, RecordId, VersionId};
use skep_raft::handle::{Metadata, Proposed};
use skep_raft::wire::meta::v1::{Actor, Command, TreeCommand, command, tree_command};

use crate::auth::rights::{Action, Authorized, Subject};
use crate::error_code::Failure;
use crate::limits;
use crate::ports::{ChunkIo, Clock, NodePort, Random};
use crate::request_context::RequestContext;

pub mod batch;
pub(crate) mod by_id;
pub mod content;
pub mod datasources;
pub mod feed;
pub mod identity;
pub mod instant;
pub mod jobs;
pub mod listing;
pub mod locks;
pub mod metadata;
pub(crate) mod page_hints;
mod past_copy;
pub mod place;
pub mod policies;
pub(crate) mod quota;
pub mod recycle;
pub mod restore;
pub mod sessions;
pub mod transfer;
pub mod tree;
pub mod user_path;
pub mod versions;
pub mod workspaces;

/// What the use cases are made of.
#[derive(Clone)]
pub struct Parts {
    /// The only door to metadata.
    pub metadata: Metadata,
    /// Contents.
    pub chunks: Arc<dyn ChunkIo>,
    /// The node.
    pub node: Arc<dyn NodePort>,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable bytes.
    pub random: Arc<dyn Random>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// The use cases; cheap to clone.
#[derive(Clone, Debug)]
pub struct Service {
    parts: Arc<Parts>,
    /// Homes of users in workspaces with a folder for each, that are known to exist.
    homes: Arc<Mutex<BTreeSet<(RecordId, RecordId)>>>,
    page_hints: Arc<page_hints::PageHints>,
}

impl Service {
    pub(crate) fn from_parts(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), homes: Arc::default(), page_hints: Arc::default() }
    }

    pub(crate) fn metadata(&self) -> &Metadata {
        &self.parts.metadata
    }

    pub(crate) fn chunks(&self) -> &Arc<dyn ChunkIo> {
        &self.parts.chunks
    }

    pub(crate) fn node(&self) -> &Arc<dyn NodePort> {
        &self.parts.node
    }

    pub(crate) fn random(&self) -> &dyn Random {
        self.parts.random.as_ref()
    }

    pub(crate) fn now_micros(&self) -> u64 {
        self.parts.clock.now_micros()
    }

    pub(crate) fn draw_id(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.parts.random.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().into_bytes()
    }

    pub(crate) fn draw_entry(&self) -> EntryId {
        EntryId(self.draw_id())
    }

    pub(crate) fn draw_version(&self) -> VersionId {
        VersionId(self.draw_id())
    }

    /// Proposes what the proof allows.
    pub(crate) async fn propose<A: Action, S: Subject>(
        &self,
        proof: &Authorized<A, S>,
        group: GroupId,
        what: command::What,
        context: &RequestContext,
    ) -> Result<Proposed, Failure> {
        let index = proof.index_for_proposal(self.metadata(), self.now_micros(), context.deadline()).await?;
        let command = Command { quotas: proof.quotas(), ..command_of(proof.actor(), index, what, context) };
        self.metadata().propose(group, command, context.deadline()).await.map_err(Failure::from)
    }

    pub(crate) fn page_hints(&self) -> &page_hints::PageHints {
        &self.page_hints
    }

    pub(crate) fn home_is_known(&self, home: (RecordId, RecordId)) -> bool {
        self.homes.lock().expect("no holder of this lock panics").contains(&home)
    }

    pub(crate) fn home_exists(&self, home: (RecordId, RecordId)) {
        let mut homes = self.homes.lock().expect("no holder of this lock panics");
        if homes.len() >= limits::HOMES_REMEMBERED {
            homes.pop_first();
        }
        homes.insert(home);
    }

    pub(crate) fn forget_home(&self, home: (RecordId, RecordId)) {
        self.homes.lock().expect("no holder of this lock panics").remove(&home);
    }
}

/// A command of a request. What the cluster does by itself has no address and is never repeated by a client.
pub(crate) fn command_of(actor: Actor, rights_index: u64, what: command::What, context: &RequestContext) -> Command {
    let content = match &what {
        command::What::Tree(TreeCommand { what: Some(tree_command::What::PutFile(put)) }) => put.blake3.clone(),
        _ => Bytes::new(),
    };
    let from = if actor.login.is_empty() { String::new() } else { context.remote.to_string() };
    let user = RecordId::try_from(actor.user.as_ref()).unwrap_or_default();
    let request_id = context.request_id.to_string();
    let mut command = Command { actor: Some(actor), rights_index, request_id, from, what: Some(what), ..Command::default() };
    context.stated.put_into(&mut command);
    command.idempotency = context.repeatable.as_ref().and_then(|repeatable| repeatable.of_command(user, &command, &content));
    command
}

pub(crate) fn id_bytes(id: [u8; 16]) -> Bytes {
    Bytes::copy_from_slice(&id)
}
