//! What the leader of a datasource's group prunes: versions by the policy, history behind the horizon, what was deleted for good; locks that have
//! ended; and what the system group says of a datasource, brought into its group: limits, and which notes are indexed.
//!
//! Every step is a command of its own that any later leader may repeat; nothing is remembered here.

use std::sync::Arc;

use bytes::Bytes;
use skep_placement::ids::DatasourceId;

use super::context::Context;
use super::replica::Replica;
use super::upkeep::propose;
use super::{limits, note_index};
use crate::keys::{ChangeKey, FeedBeginKey, HistoryHorizonKey, LimitsKey, LockExpiryKey, PruneDueKey, ReapKey, RecycledKey};
use crate::state::read;
use crate::store::{Direction, ReadState, StateError};
use crate::wire::meta::v1::{
    DatasourceLimits, DatasourceRecord, Done, EmptyBins, ExpireLocks, PruneHistory, PruneVersions, QueuePruning, ReapEntries,
    SetDatasourceQuota, TreeCommand, command, tree_command,
};

/// Does what is due, in a bounded number of steps.
pub(super) async fn run(context: &Arc<Context>, replica: &Replica, datasource: DatasourceId) {
    let view = context.system_stale();
    let Ok(Some(record)) = view.datasource(datasource) else { return };
    let policy = match view.policy_of(&record) {
        Ok(policy) => policy,
        Err(error) => {
            tracing::error!(%datasource, %error, "the datasource's versioning policy cannot be read: nothing is pruned");
            return;
        }
    };
    let state = Arc::clone(&replica.state);
    let clock = context.options.clock.now_micros();
    let due = tokio::task::spawn_blocking(move || look(state.store().snapshot().as_ref(), clock)).await;
    let Ok(Ok(due)) = due else { return };
    bring_limits(context, replica, &record, due.limits).await;
    note_index::run(context, replica, &view, &due.indexed).await;
    if record.policy_changed_at > due.limits.policy_changed_at {
        queue_all(context, replica, record.policy_changed_at).await;
    }
    let limit = limits::PRUNED_ROWS_MAX;
    if due.recycled.is_some_and(|since| bins_are_due(&record, since, clock)) {
        empty_bins(context, replica, &record).await;
    }
    if due.locks {
        steps(context, replica, || tree_command::What::ExpireLocks(ExpireLocks { limit })).await;
    }
    let retention_seconds = if record.history_seconds == 0 { crate::state::limits::HISTORY_SECONDS } else { record.history_seconds };
    let retention = retention_seconds.saturating_mul(1_000_000);
    let forgets = due.oldest_change.is_some_and(|stamp| stamp.saturating_add(retention) <= clock);
    if forgets {
        steps(context, replica, || tree_command::What::PruneHistory(PruneHistory { retention_seconds, limit })).await;
    }
    if due.reaps || forgets {
        steps(context, replica, || tree_command::What::ReapEntries(ReapEntries { policy: Some(policy.clone()), limit })).await;
    }
    if due.versions || due.reaps || forgets || record.policy_changed_at > due.limits.policy_changed_at {
        steps(context, replica, || tree_command::What::PruneVersions(PruneVersions { policy: Some(policy.clone()), limit })).await;
    }
}

/// What there is to do.
struct Due {
    limits: DatasourceLimits,
    indexed: note_index::Indexed,
    /// A lock has ended by the clock.
    locks: bool,
    versions: bool,
    reaps: bool,
    /// What has lain in a recycle bin longest came there at this stamp.
    recycled: Option<u64>,
    oldest_change: Option<u64>,
}

fn look(state: &dyn ReadState, clock: u64) -> Result<Due, StateError> {
    let begin = read::get(state, &FeedBeginKey {})?.unwrap_or_default();
    let oldest = read::rows_after::<ChangeKey>(state, &[], &ChangeKey { index: begin.index, sub: begin.sub }).next().transpose()?;
    let oldest_change = oldest.map(|(_, change)| change.stamp);
    // What was deleted is taken apart once the feed has passed it.
    let reap = read::rows::<ReapKey>(state, &[], Direction::Forward).next().transpose()?.map(|(key, _)| key.since.0);
    let horizon = read::get(state, &HistoryHorizonKey {})?.unwrap_or(0);
    let first = read::rows::<PruneDueKey>(state, &[], Direction::Forward).next().transpose()?;
    let lock = read::rows::<LockExpiryKey>(state, &[], Direction::Forward).next().transpose()?;
    Ok(Due {
        locks: lock.is_some_and(|(key, ())| key.expires_at.0 <= clock),
        limits: read::get(state, &LimitsKey {})?.unwrap_or_default(),
        indexed: note_index::look(state)?,
        versions: first.is_some_and(|(key, ())| key.due.0 <= clock),
        reaps: reap.is_some_and(|since| since <= horizon),
        recycled: read::rows::<RecycledKey>(state, &[], Direction::Forward).next().transpose()?.map(|(key, ())| key.since.0),
        oldest_change,
    })
}

/// Whether something may have to leave a bin: the oldest by its time, anything by the bytes of a bin.
fn bins_are_due(record: &DatasourceRecord, oldest: u64, clock: u64) -> bool {
    let is_old = record.recycle_seconds != 0 && oldest.saturating_add(record.recycle_seconds.saturating_mul(1_000_000)) <= clock;
    is_old || record.recycle_bytes != 0
}

async fn bring_limits(context: &Arc<Context>, replica: &Replica, record: &DatasourceRecord, there: DatasourceLimits) {
    if (there.stored_bytes_max, there.entries_max) != (record.quota_bytes, record.quota_entries) {
        let quota = SetDatasourceQuota { stored_bytes_max: record.quota_bytes, entries_max: record.quota_entries };
        change(context, replica, tree_command::What::SetDatasourceQuota(quota)).await;
    }
}

/// Has every file looked at under a policy that has changed. Begun anew by each leader until it has come to the end.
async fn queue_all(context: &Arc<Context>, replica: &Replica, changed_at: u64) {
    let mut after = Bytes::new();
    loop {
        let queue = QueuePruning { after, limit: limits::PRUNED_ROWS_MAX, changed_at };
        match change(context, replica, tree_command::What::QueuePruning(queue)).await {
            Some(done) if !done.cursor.is_empty() => after = done.cursor,
            Some(_) | None => return,
        }
    }
}

/// Looks through all recycle bins, oldest first.
async fn empty_bins(context: &Arc<Context>, replica: &Replica, record: &DatasourceRecord) {
    let mut after = Bytes::new();
    for _ in 0..limits::PRUNING_STEPS_MAX {
        let empty = EmptyBins { seconds: record.recycle_seconds, bytes: record.recycle_bytes, limit: limits::PRUNED_ROWS_MAX, after };
        match change(context, replica, tree_command::What::EmptyBins(empty)).await {
            Some(done) if !done.cursor.is_empty() => after = done.cursor,
            Some(_) | None => return,
        }
    }
}

/// Repeats a step until nothing is left to do.
async fn steps(context: &Arc<Context>, replica: &Replica, step: impl Fn() -> tree_command::What) {
    for _ in 0..limits::PRUNING_STEPS_MAX {
        match change(context, replica, step()).await {
            Some(done) if !done.cursor.is_empty() => {}
            Some(_) | None => return,
        }
    }
}

async fn change(context: &Arc<Context>, replica: &Replica, what: tree_command::What) -> Option<Done> {
    propose(context, replica, command::What::Tree(TreeCommand { what: Some(what) })).await
}
