//! What a replica needs now and then: snapshots so that the log can go, sweeps of what has expired, and the end of old folders.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::Instant;

use super::context::Context;
use super::replica::Replica;
use super::{limits, pruning};
use crate::log::GroupKey;
use crate::state::GroupKind;
use crate::wire::meta::v1::{
    CloseSessions, Command, ContentCommand, Done, ExpireUploads, Outcome, PruneMeta, command, content_command, outcome,
};

/// Works until the replica stops.
pub(crate) async fn look_after(context: Arc<Context>, replica: Arc<Replica>) {
    let mut pressure = context.log.pressure();
    let mut sweeps = Sweeps::new(&context);
    let mut asked_at = None;
    loop {
        let wake = Instant::now() + limits::UPKEEP_INTERVAL;
        tokio::select! {
            woken = context.sleep_until(wake) => if !woken { return },
            changed = pressure.changed() => if changed.is_err() { return },
        }
        let key = GroupKey { group: replica.group, raft: replica.id };
        let pinned = pressure.borrow_and_update().pinning.contains(&key);
        if let Some(failure) = replica.state.store().background_failure() {
            (context.options.on_fatal)(&format!("the state of group {} failed in the background: {failure}", replica.group));
            return;
        }
        compact(&context, &replica, pinned, &mut asked_at).await;
        let (state, latest) = (Arc::clone(&replica.state), Arc::clone(&replica.latest));
        let removed = tokio::task::spawn_blocking(move || {
            latest.expire();
            state.remove_replaced();
        });
        if removed.await.is_err() {
            return;
        }
        if replica.leads() {
            sweeps.run(&context, &replica).await;
        }
    }
}

/// Has a snapshot built when the log has grown, and the log purged behind it.
async fn compact(context: &Context, replica: &Replica, pinned: bool, asked_at: &mut Option<u64>) {
    let (applied, snapshot, purged) = {
        let metrics = replica.raft.metrics();
        let metrics = metrics.borrow_watched();
        let index = |id: &Option<crate::types::LogId>| id.map_or(0, |id| id.index);
        (index(&metrics.last_applied), index(&metrics.snapshot), index(&metrics.purged))
    };
    let grown = replica.state.bytes.load(Ordering::Relaxed) >= context.options.snapshot_log_bytes
        || replica.state.commands.load(Ordering::Relaxed) >= context.options.snapshot_commands;
    // A second request for the same state would build the same snapshot.
    if (grown || (pinned && applied > snapshot)) && *asked_at != Some(applied) {
        *asked_at = Some(applied);
        if let Err(fatal) = replica.raft.trigger().snapshot().await {
            tracing::debug!(group = %replica.group, %fatal, "no snapshot can be asked for");
        }
    }
    // Openraft purges behind a snapshot but keeps a tail; a tail that pins the oldest segment must go too.
    if pinned
        && snapshot > purged
        && let Err(fatal) = replica.raft.trigger().purge_log(snapshot).await
    {
        tracing::debug!(group = %replica.group, %fatal, "the log cannot be purged");
    }
}

/// When what has expired is swept next.
struct Sweeps {
    sessions: Instant,
    uploads: Instant,
    pruning: Instant,
}

impl Sweeps {
    fn new(context: &Context) -> Self {
        let now = Instant::now();
        Self {
            sessions: now + context.options.session_sweep_interval,
            uploads: now + context.options.upload_sweep_interval,
            pruning: now + context.options.prune_sweep_interval,
        }
    }

    /// Proposes what is due. Nothing is lost if it fails: the next round does the same.
    async fn run(&mut self, context: &Arc<Context>, replica: &Replica) {
        let now = Instant::now();
        if now >= self.sessions {
            self.sessions = now + context.options.session_sweep_interval;
            let close = CloseSessions { unused_seconds: limits::SESSION_UNUSED_SECONDS };
            propose(context, replica, command::What::CloseSessions(close)).await;
            propose(context, replica, command::What::PruneMeta(PruneMeta { limit: limits::PRUNED_ROWS_MAX })).await;
        }
        if now >= self.uploads && matches!(replica.kind, GroupKind::Datasource(_)) {
            self.uploads = now + context.options.upload_sweep_interval;
            let expire = content_command::What::ExpireUploads(ExpireUploads { limit: limits::EXPIRED_UPLOADS_MAX });
            propose(context, replica, command::What::Content(ContentCommand { what: Some(expire) })).await;
        }
        if now >= self.pruning
            && let GroupKind::Datasource(datasource) = replica.kind
        {
            self.pruning = now + context.options.prune_sweep_interval;
            pruning::run(context, replica, datasource).await;
        }
    }
}

/// Proposes what the leader decides by itself. What it gave; nothing if it was not done.
pub(super) async fn propose(context: &Arc<Context>, replica: &Replica, what: command::What) -> Option<Done> {
    let command = Command { what: Some(what), ..Command::default() };
    let deadline = Instant::now() + limits::DEFAULT_DEADLINE;
    match context.propose_plain(replica.group, command, deadline).await {
        Ok(Outcome { what: Some(outcome::What::Done(done)), .. }) => Some(done),
        Ok(Outcome { what, .. }) => {
            tracing::warn!(group = %replica.group, ?what, "a sweep was refused");
            None
        }
        Err(error) => {
            tracing::debug!(group = %replica.group, %error, "a sweep was not done");
            None
        }
    }
}
