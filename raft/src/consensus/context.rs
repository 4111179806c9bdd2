//! What all parts of consensus on a node share.
//!
//! Replicas and their tasks hold it and it holds them; [`crate::handle::Metadata::close`] unties that.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use skep_placement::ids::{BootNumber, Generation, GroupId, NodeId, RaftId};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::clocks::Clocks;
use super::directory::Directory;
use super::forward::Forwards;
use super::line::Lines;
use super::replica::Replica;
use super::sessions::Sessions;
use super::space::SpaceGauge;
use super::system_placement::Order;
use crate::log::Log;
use crate::options::{MetadataOptions, Peers};
use crate::system_view::SystemView;
use crate::wire::raft::v1::Envelope;

/// Whether this node leads a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// It does, as far as it knows; another leader may exist already, so nothing may rest on it but work that commands check.
    pub leads: bool,
    /// The term of that.
    pub term: u64,
}

/// See the file.
pub(crate) struct Context {
    pub(crate) options: MetadataOptions,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) log: Log,
    pub(crate) sessions: Sessions,
    pub(crate) space: SpaceGauge,
    pub(crate) clocks: Clocks,
    /// Commands for leaders on other nodes.
    pub(crate) forwards: Forwards,
    /// Streams to other nodes for small calls.
    pub(crate) lines: Lines,
    /// Becomes true when the lines of other nodes must end.
    pub(crate) lines_end: watch::Sender<bool>,
    /// The applied index of the system group here.
    pub(crate) system_applied: watch::Sender<u64>,
    /// What the system group's replica here is to do; carried out by the task that starts and ends replicas.
    pub(crate) orders: mpsc::Sender<Order>,
    orders_taken: Mutex<Option<mpsc::Receiver<Order>>>,
    /// Generations of the system group below this one are refused, whatever the replica here has heard.
    system_generation: watch::Sender<Generation>,
    /// The view of the system group that requests share, and which placement's state at which applied index it shows.
    pub(crate) system_shared: Mutex<Option<((RaftId, u64), SystemView)>>,
    /// The last view of the system group that held something, for when the replica here begins anew.
    system_last: Mutex<Option<SystemView>>,
    /// Becomes true when everything must end.
    pub(crate) stop: watch::Sender<bool>,
    directory: RwLock<Arc<Directory>>,
    replicas: RwLock<BTreeMap<GroupId, Arc<Replica>>>,
    leadership: Mutex<BTreeMap<GroupId, watch::Sender<Leadership>>>,
    /// The node that was last seen to lead a group without a replica here.
    leaders: Mutex<BTreeMap<GroupId, NodeId>>,
    /// The highest boot number that called, a node.
    boots: Mutex<BTreeMap<NodeId, BootNumber>>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("node", &self.options.node).finish_non_exhaustive()
    }
}

impl Context {
    pub(crate) fn new(options: MetadataOptions, peers: Arc<dyn Peers>, log: Log) -> Self {
        let space = SpaceGauge::new(Arc::clone(&options.free_space), options.free_space_floor_percent);
        let (orders, orders_taken) = mpsc::channel(super::limits::ORDERS_MAX);
        let system_generation = watch::Sender::new(options.system_generation);
        Self {
            options,
            peers,
            log,
            sessions: Sessions::default(),
            space,
            clocks: Clocks::default(),
            forwards: Forwards::default(),
            lines: Lines::default(),
            lines_end: watch::Sender::new(false),
            system_applied: watch::Sender::new(0),
            orders,
            orders_taken: Mutex::new(Some(orders_taken)),
            system_generation,
            system_shared: Mutex::default(),
            system_last: Mutex::default(),
            stop: watch::Sender::new(false),
            directory: RwLock::default(),
            replicas: RwLock::default(),
            leadership: Mutex::default(),
            leaders: Mutex::default(),
            boots: Mutex::default(),
        }
    }

    /// The cluster map as last read.
    pub(crate) fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_directory(&self, directory: Directory) {
        *self.directory.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(directory);
    }

    /// The replica of a group here.
    pub(crate) fn replica(&self, group: GroupId) -> Option<Arc<Replica>> {
        self.replicas.read().unwrap_or_else(PoisonError::into_inner).get(&group).cloned()
    }

    /// All replicas here.
    pub(crate) fn replicas(&self) -> Vec<Arc<Replica>> {
        self.replicas.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn add_replica(&self, replica: Arc<Replica>) {
        self.replicas.write().unwrap_or_else(PoisonError::into_inner).insert(replica.group, replica);
    }

    pub(crate) fn take_replica(&self, group: GroupId) -> Option<Arc<Replica>> {
        let taken = self.replicas.write().unwrap_or_else(PoisonError::into_inner).remove(&group);
        if group == GroupId::SYSTEM {
            // Its state is to be let go of.
            *self.system_shared.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        taken
    }

    /// A view of the system group's local replica; empty while there is none.
    pub(crate) fn system_stale(&self) -> SystemView {
        let here = self.replica(GroupId::SYSTEM).filter(|replica| replica.state.covers().last_log_id.is_some());
        let last = || self.system_last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match here {
            Some(replica) => SystemView::new(replica.state.snapshot()),
            None => last().unwrap_or_else(|| SystemView::new(crate::store::StateStore::snapshot(&crate::store::MemoryStore::new()))),
        }
    }

    /// Keeps the view of a replica of the system group that is about to go, or lets go of it.
    pub(crate) fn keep_system_view(&self, view: Option<SystemView>) {
        *self.system_last.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }

    /// The orders, for the one task that carries them out.
    pub(crate) fn take_orders(&self) -> Option<mpsc::Receiver<Order>> {
        self.orders_taken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Refuses older generations of the system group from now on.
    pub(crate) fn raise_system_generation(&self, generation: Generation) {
        self.system_generation.send_if_modified(|known| {
            let newer = generation > *known;
            *known = (*known).max(generation);
            newer
        });
    }

    /// The generation of a group, as far as this node knows it.
    pub(crate) fn generation(&self, group: GroupId) -> Option<Generation> {
        let known = self.directory().groups.get(&group).map(|entry| entry.generation);
        if group == GroupId::SYSTEM { known.max(Some(*self.system_generation.borrow())) } else { known }
    }

    /// What a call of this node begins with; ids 0: a gateway's, to any replica.
    pub(crate) fn envelope(&self, group: GroupId, from: RaftId, to: RaftId) -> Envelope {
        Envelope {
            cluster: bytes::Bytes::copy_from_slice(&self.options.cluster.0),
            group: group.0,
            generation: self.generation(group).unwrap_or_default().0,
            from: from.0,
            to: to.0,
            from_node: self.options.node.0,
            from_boot: self.options.boot.0,
        }
    }

    /// The sender's side of whether this node leads a group.
    pub(crate) fn leadership(&self, group: GroupId) -> watch::Sender<Leadership> {
        self.leadership.lock().unwrap_or_else(PoisonError::into_inner).entry(group).or_default().clone()
    }

    pub(crate) fn leader_hint(&self, group: GroupId) -> Option<NodeId> {
        self.leaders.lock().unwrap_or_else(PoisonError::into_inner).get(&group).copied()
    }

    pub(crate) fn set_leader_hint(&self, group: GroupId, leader: Option<NodeId>) {
        let mut leaders = self.leaders.lock().unwrap_or_else(PoisonError::into_inner);
        match leader {
            Some(leader) => leaders.insert(group, leader),
            None => leaders.remove(&group),
        };
    }

    /// Notes a caller's boot number; false if a later one is known.
    pub(crate) fn admit_boot(&self, node: NodeId, boot: BootNumber) -> bool {
        let registered = self.directory().nodes.get(&node).map_or(BootNumber(0), |node| node.boot);
        let mut boots = self.boots.lock().unwrap_or_else(PoisonError::into_inner);
        let highest = boots.entry(node).or_insert(registered);
        *highest = (*highest).max(registered);
        if boot < *highest {
            return false;
        }
        *highest = boot;
        true
    }

    /// Whether everything must end.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Returns when everything must end, or at a moment: true if it is the moment.
    pub(crate) async fn sleep_until(&self, moment: Instant) -> bool {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            () = tokio::time::sleep_until(moment) => !self.is_stopping(),
            _ = stop.wait_for(|stop| *stop) => false,
        }
    }
}
