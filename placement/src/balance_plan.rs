//! Which placement groups should move, after devices came, went, or changed their weight.
//!
//! Invariant: a plan begins no move in a group that is moving, and no more moves than it was asked for; the rest comes with the next plan.

use crate::cluster_view::ClusterView;
use crate::ids::{DeviceId, PgId, PoolId};
use crate::limits::MOVES_PER_PLAN_MAX;
use crate::placement_map::{PlacementGroup, next_set};
use crate::profile::Profile;

/// A group with the set it should move to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedMove {
    /// The group.
    pub group: PgId,
    /// Its target set.
    pub target: Vec<DeviceId>,
}

/// The moves to begin now: groups with devices that are lost or being drained first, then by index. At most `moves_max`, and never more than
/// [`MOVES_PER_PLAN_MAX`].
pub fn plan_moves(view: &ClusterView, pool: PoolId, profile: Profile, map: &[PlacementGroup], moves_max: usize) -> Vec<PlannedMove> {
    let mut moves: Vec<(bool, PlannedMove)> = (0_u32..)
        .zip(map)
        .filter(|(_, group)| group.is_clean())
        .filter_map(|(index, group)| {
            let id = PgId { pool, index };
            let target = next_set(view, id, profile, &group.acting);
            let sound = group.acting.iter().all(|device| view.state(*device).keeps_places());
            let moves = target != group.acting && !target.is_empty();
            moves.then_some((sound, PlannedMove { group: id, target }))
        })
        .collect();
    moves.sort_by_key(|(sound, planned)| (*sound, planned.group));
    moves.into_iter().map(|(_, planned)| planned).take(moves_max.min(MOVES_PER_PLAN_MAX)).collect()
}

/// How many groups do not live on the set they should; for `status`.
pub fn misplaced_count(view: &ClusterView, pool: PoolId, profile: Profile, map: &[PlacementGroup]) -> usize {
    let misplaced = |(index, group): &(u32, &PlacementGroup)| {
        next_set(view, PgId { pool, index: *index }, profile, group.write_set()) != group.write_set() || !group.is_clean()
    };
    (0_u32..).zip(map).filter(misplaced).count()
}
