//! Measures the free space of the data folder, and lets a node with room lead where this one has none.
//!
//! A leader below the floor refuses whatever grows, though other voters may have room: its group would be closed for writing by one full disk. It hands
//! over to a voter that has caught up, has room and a good clock, by the words of the last seconds. If there is none it stays: then there is nowhere
//! else to go. Followers take what a leader with room sends; below the floor there is a reserve for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_placement::ids::GroupId;
use tokio::time::Instant;

use super::context::Context;
use super::hand_over::{HandOver, Heir, hand_over};
use super::limits;
use super::replica::Replica;

/// Measures until everything must end.
pub(crate) async fn run(context: Arc<Context>) {
    let mut attempts: BTreeMap<GroupId, Instant> = BTreeMap::new();
    while context.sleep_until(Instant::now() + limits::SPACE_INTERVAL).await {
        let measuring = Arc::clone(&context);
        if tokio::task::spawn_blocking(move || measuring.space.measure()).await.is_err() {
            return;
        }
        if !context.space.is_low() {
            continue;
        }
        for replica in context.replicas().into_iter().filter(|replica| replica.leads()) {
            let waits = attempts.get(&replica.group).is_some_and(|at| at.elapsed() < limits::SPACE_HAND_OVER_PAUSE);
            if !waits {
                attempts.insert(replica.group, Instant::now());
                let_another_lead(&context, &replica).await;
            }
        }
    }
}

async fn let_another_lead(context: &Context, replica: &Replica) {
    let (group, offsets) = (replica.group, context.clocks.offsets());
    let fit = |heir: &Heir| heir.behind.is_some_and(|behind| behind <= limits::CAUGHT_UP_ENTRIES) && offsets.may_lead(heir.node);
    match hand_over(replica, fit).await {
        HandOver::Done => tracing::warn!(%group, "this node's data folder is nearly full: another node leads now"),
        HandOver::NoHeir => {
            tracing::warn!(%group, "this node's data folder is nearly full, and no voter that has caught up has more room: only deleting goes on");
        }
        HandOver::NotTaken => tracing::warn!(%group, "this node's data folder is nearly full, but nobody took the leadership over"),
    }
}
