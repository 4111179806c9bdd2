//! What the node tells the faces of itself: whether it should get requests, its metrics, the state of the cluster.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use skep_api::ports::{ClusterStatus, NodePort};

use crate::status::StatusSource;
use crate::telemetry::Metrics;

/// A node is not ready when its last fresh read of the system group is older.
const FRESH_FOR: Duration = Duration::from_secs(6);

/// Whether the node should get requests; shared by what decides it.
#[derive(Clone, Debug, Default)]
pub(super) struct Readiness {
    facts: Arc<Mutex<Facts>>,
}

#[derive(Debug, Default)]
struct Facts {
    is_open: bool,
    is_stopping: bool,
    boot_registered: bool,
    fresh_at: Option<Instant>,
    why_not_fresh: String,
    clock_off: Option<Duration>,
}

impl Readiness {
    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The port for clients is open.
    pub(super) fn opened(&self) {
        self.facts().is_open = true;
    }

    /// The node is told to end.
    pub(super) fn stopping(&self) {
        self.facts().is_stopping = true;
    }

    /// The cluster knows this process.
    pub(super) fn boot_registered(&self) {
        self.facts().boot_registered = true;
    }

    /// The system group was just read, or why not.
    pub(super) fn read(&self, result: Result<(), String>) {
        let mut facts = self.facts();
        match result {
            Ok(()) => facts.fresh_at = Some(Instant::now()),
            Err(why) => facts.why_not_fresh = why,
        }
    }

    /// How far the node's clock is off its peers', if it is too far.
    pub(super) fn clock_off(&self, by: Option<Duration>) {
        self.facts().clock_off = by;
    }

    /// What keeps the node from being ready, a sentence each.
    pub(super) fn reasons(&self) -> Vec<String> {
        let facts = self.facts();
        let is_fresh = facts.fresh_at.is_some_and(|at| at.elapsed() < FRESH_FOR);
        let mut reasons = Vec::new();
        if facts.is_stopping {
            reasons.push("this node is stopping".to_owned());
        }
        if !facts.is_open {
            reasons.push("this node is starting".to_owned());
        }
        if !facts.boot_registered {
            reasons.push("the cluster does not know this process yet".to_owned());
        }
        if !is_fresh {
            let why = if facts.why_not_fresh.is_empty() { "no answer yet" } else { &facts.why_not_fresh };
            reasons.push(format!("the metadata cannot be read: {why}"));
        }
        if let Some(by) = facts.clock_off {
            reasons.push(format!("the clock of this node is {by:?} off its peers'"));
        }
        reasons
    }
}

/// The node as the faces see it.
#[derive(Debug)]
pub(super) struct Port {
    readiness: Readiness,
    metrics: Metrics,
    status: StatusSource,
}

impl Port {
    pub(super) fn new(readiness: Readiness, metrics: Metrics, status: StatusSource) -> Self {
        Self { readiness, metrics, status }
    }
}

impl NodePort for Port {
    fn ready(&self) -> skep_api::ports::Readiness {
        let reasons = self.readiness.reasons();
        skep_api::ports::Readiness { ready: reasons.is_empty(), reasons }
    }

    fn metrics_text(&self) -> String {
        self.metrics.render()
    }

    fn status<'a>(&'a self) -> BoxFuture<'a, ClusterStatus> {
        Box::pin(self.status.gather())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_when_nothing_is_in_the_way() {
        let readiness = Readiness::default();
        assert_eq!(readiness.reasons().len(), 3);
        readiness.opened();
        readiness.boot_registered();
        readiness.read(Err("no leader".to_owned()));
        assert_eq!(readiness.reasons(), ["the metadata cannot be read: no leader"]);
        readiness.read(Ok(()));
        assert!(readiness.reasons().is_empty());
        readiness.clock_off(Some(Duration::from_secs(12)));
        assert!(readiness.reasons()[0].contains("12s off"));
        readiness.clock_off(None);
        readiness.stopping();
        assert_eq!(readiness.reasons(), ["this node is stopping"]);
    }
}
