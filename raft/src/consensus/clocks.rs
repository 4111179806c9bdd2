//! How far the clocks of the nodes are apart, and that a leader whose clock is off lets another lead.
//!
//! Each node asks every other one for its clock now and then; an answer counts as of the middle of its way, and one that took long not at all.
//! Stamps are safe however clocks go, because they only grow; this is for people, who take a stamp for the time. A leader that is too far off its peers'
//! median hands over to a voter that has caught up, is not off itself and has room (see `full_leader`). If there is none it stays, and says so: half of the nodes may be wrong, and a
//! group that is led from one to the other and back serves nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use skep_placement::ids::{GroupId, NodeId, RaftId};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::context::Context;
use super::hand_over::{HandOver, hand_over};
use super::limits;
use super::replica::Replica;
use crate::metrics as names;
use crate::wire::meta::v1::NodeState;
use crate::wire::raft::v1::ClockRequest;
use crate::wire::raft::v1::metadata_client::MetadataClient;

/// What was read of the other nodes' clocks lately.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    readings: Mutex<BTreeMap<NodeId, Reading>>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    /// Theirs less ours, microseconds.
    ahead: i64,
    /// It said that its data folder is nearly full.
    low_on_space: bool,
    at: Instant,
}

/// The clocks of the nodes at one moment, in microseconds ahead of this node's, and who had no room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offsets {
    others: BTreeMap<NodeId, i64>,
    full: BTreeSet<NodeId>,
}

impl Clocks {
    fn note(&self, node: NodeId, reading: Reading) {
        self.lock().insert(node, reading);
    }

    /// What is not too old.
    pub(crate) fn offsets(&self) -> Offsets {
        let mut readings = self.lock();
        readings.retain(|_, reading| reading.at.elapsed() <= limits::CLOCK_READING_KEPT);
        let full = readings.iter().filter(|(_, reading)| reading.low_on_space).map(|(node, _)| *node).collect();
        Offsets { others: readings.iter().map(|(node, reading)| (*node, reading.ahead)).collect(), full }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, Reading>> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Offsets {
    /// How far this node is ahead of its peers' median; nothing without peers. Of an even number of peers any value between the two in the middle is a
    /// median: the one nearest to this node's clock counts, so that a single wrong clock makes nobody else look wrong.
    pub(crate) fn own(&self) -> Option<i64> {
        let (lower, upper) = middle(self.others.values().copied().collect())?;
        Some(0.clamp(lower, upper).saturating_neg())
    }

    /// How far another node is ahead of the median of all, this one among them.
    pub(crate) fn of(&self, node: NodeId) -> Option<i64> {
        let ahead = self.others.get(&node)?;
        let all = self.others.values().copied().chain([0]).collect();
        Some(ahead.saturating_sub(median(all)?))
    }

    /// Whether a leader here should let another lead.
    fn leader_is_off(&self) -> bool {
        self.own().is_some_and(|own| own.unsigned_abs() > limits::LEADER_CLOCK_OFF_MICROS_MAX)
    }

    /// Whether another node was heard lately, and its clock is good enough for a leader and it has room. One rule for all who hand over: so
    /// leadership does not go from a node without room to one with a wrong clock and back.
    pub(crate) fn may_lead(&self, node: NodeId) -> bool {
        let in_time = self.of(node).is_some_and(|ahead| ahead.unsigned_abs() <= limits::LEADER_CLOCK_OFF_MICROS_MAX);
        in_time && !self.full.contains(&node)
    }
}

/// The middle of the values; of an even number of them the mean of the two in the middle.
fn median(values: Vec<i64>) -> Option<i64> {
    let (lower, upper) = middle(values)?;
    i64::try_from((i128::from(lower) + i128::from(upper)) / 2).ok()
}

/// The two values in the middle, which of an odd number are the same.
fn middle(mut values: Vec<i64>) -> Option<(i64, i64)> {
    values.sort_unstable();
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some((lower, upper))
}

/// Measures until everything must end.
pub(crate) async fn run(context: Arc<Context>) {
    let mut attempts = BTreeMap::new();
    while context.sleep_until(Instant::now() + context.options.clock_interval).await {
        measure(&context).await;
        let offsets = context.clocks.offsets();
        let millis = i32::try_from(offsets.own().unwrap_or(0) / 1_000).unwrap_or(i32::MAX);
        metrics::gauge!(names::CLOCK_OFFSET_SECONDS).set(f64::from(millis) / 1e3);
        if offsets.leader_is_off() {
            for replica in context.replicas().into_iter().filter(|replica| replica.leads()) {
                let last = attempts.get(&replica.group).copied();
                if last.is_none_or(|at: Instant| at.elapsed() >= limits::CLOCK_HAND_OVER_PAUSE) {
                    attempts.insert(replica.group, Instant::now());
                    let_another_lead(&replica, &offsets).await;
                }
            }
        }
    }
}

/// Hands a group over; tried once in a while, so that leadership does not go round.
async fn let_another_lead(replica: &Replica, offsets: &Offsets) {
    let (group, off_micros) = (replica.group, offsets.own().unwrap_or(0));
    let fit = |heir: &super::hand_over::Heir| {
        let caught_up = heir.behind.is_some_and(|behind| behind <= limits::CAUGHT_UP_ENTRIES);
        caught_up && offsets.may_lead(heir.node)
    };
    match hand_over(replica, fit).await {
        HandOver::Done => tracing::warn!(%group, off_micros, "this node's clock is off its peers': another node leads now"),
        HandOver::NoHeir => {
            tracing::warn!(%group, off_micros, "this node's clock is off its peers', but no voter that has caught up has a better one: it goes on leading");
        }
        HandOver::NotTaken => {
            tracing::warn!(%group, off_micros, "this node's clock is off its peers', but nobody took the leadership over");
        }
    }
}

/// Reads the clocks of all other nodes at once.
async fn measure(context: &Arc<Context>) {
    let directory = context.directory();
    let others = directory.nodes.iter().filter(|(id, node)| **id != context.options.node && node.state != NodeState::Removed);
    let mut asked = JoinSet::new();
    for (node, _) in others {
        let (context, node) = (Arc::clone(context), *node);
        asked.spawn(async move {
            if let Some(reading) = ask(&context, node).await {
                context.clocks.note(node, reading);
            }
        });
    }
    while asked.join_next().await.is_some() {}
}

/// What another node says of its clock; nothing if it does not say so soon.
async fn ask(context: &Context, node: NodeId) -> Option<Reading> {
    let mut client = MetadataClient::new(context.peers.channel(node).ok()?);
    let request = ClockRequest { envelope: Some(context.envelope(GroupId::SYSTEM, RaftId(0), RaftId(0))) };
    let (begun, sent) = (Instant::now(), context.options.clock.now_micros());
    let reply = tokio::time::timeout(limits::CLOCK_DEADLINE, client.clock(request)).await.ok()?.ok()?.into_inner();
    // The way took what the steady clock says, also if the wall clock was set meanwhile.
    let way = u64::try_from(begun.elapsed().as_micros()).ok()?;
    let ahead = difference(reply.micros, sent.saturating_add(way / 2))?;
    Some(Reading { ahead, low_on_space: reply.low_on_space, at: Instant::now() })
}

/// One clock less another.
fn difference(theirs: u64, ours: u64) -> Option<i64> {
    i64::try_from(i128::from(theirs) - i128::from(ours)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn offsets(ahead: &[i64]) -> Offsets {
        Offsets { others: (2..).map(NodeId).zip(ahead.iter().map(|seconds| seconds * SECOND)).collect(), full: BTreeSet::new() }
    }

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median(vec![]), None, "of nothing");
        assert_eq!(median(vec![9, 1, 5]), Some(5), "of three");
        assert_eq!(median(vec![i64::MAX, i64::MAX]), Some(i64::MAX), "of two");
        assert_eq!(median(vec![-4, 2, 8, 100]), Some(5), "of four");
    }

    #[test]
    fn one_of_three_is_off_and_the_others_are_not() {
        let seen = offsets(&[-5, -5]);
        assert_eq!(seen.own(), Some(5 * SECOND), "this node is ahead");
        assert!(seen.leader_is_off() && seen.may_lead(NodeId(2)) && seen.may_lead(NodeId(3)), "and the others may lead");
        let seen = offsets(&[-5, 0]);
        assert!(!seen.may_lead(NodeId(2)), "who is off may not");
        assert_eq!(seen.own(), Some(0), "and makes nobody else look wrong");
        assert_eq!(offsets(&[-25, 25]).own(), Some(0), "neither do two");
        assert_eq!(offsets(&[3, 4]).own(), Some(-3 * SECOND), "unless they agree that this one is");
        assert!(!offsets(&[1, 2]).leader_is_off(), "a little is nothing");
        assert!(!offsets(&[2, 2]).leader_is_off(), "two seconds are the limit");
    }

    #[test]
    fn of_two_nobody_knows_who_is_wrong() {
        let seen = offsets(&[-5]);
        assert!(seen.leader_is_off(), "they are apart");
        assert!(!seen.may_lead(NodeId(2)), "but the other is as far off");
        assert_eq!(offsets(&[]).own(), None, "alone nothing is off");
    }

    #[test]
    fn who_has_no_room_may_not_lead() {
        let seen = Offsets { full: BTreeSet::from([NodeId(2)]), ..offsets(&[0, 0]) };
        assert!(!seen.may_lead(NodeId(2)) && seen.may_lead(NodeId(3)), "the other may");
        assert!(!seen.may_lead(NodeId(4)), "who was not heard may not");
    }

    #[test]
    fn differences_have_a_sign() {
        assert_eq!(difference(5, 7), Some(-2), "behind");
        assert_eq!(difference(u64::MAX, 0), None, "no sane clock");
    }
}
