//! Keys without parts: what a group has one of.

use bytes::Bytes;

use super::{Kind, state_key};
use crate::wire::meta::v1::{DatasourceLimits, FeedPosition, GroupTotals};

/// Where the consensus adapter keeps the applied id and the membership, as bytes of its own, in the family `Meta`.
#[must_use]
pub fn applied() -> Bytes {
    const KEY: [u8; 1] = [Kind::Applied.number()];
    Bytes::from_static(&KEY)
}

state_key!(
    /// The index of the last entry with commands that was applied.
    AppliedIndexKey {} in Meta, AppliedIndex holds u64
);
state_key!(
    /// The last stamp given out.
    StampKey {} in Meta, Stamp holds u64
);
state_key!(
    /// The counters of what a group holds.
    TotalsKey {} in Meta, Totals holds GroupTotals
);
state_key!(
    /// The collection horizon: instances begun before it are refused.
    HorizonKey {} in Meta, Horizon holds u64
);
state_key!(
    /// The highest system index that any command here was decided at.
    RightsIndexKey {} in Meta, RightsIndex holds u64
);
state_key!(
    /// The version of the format that the state is kept in.
    FormatKey {} in Meta, Format holds u64
);
state_key!(
    /// The stamp that reads of the past may go back to.
    HistoryHorizonKey {} in Meta, HistoryHorizon holds u64
);
state_key!(
    /// Limits of the whole datasource.
    LimitsKey {} in Meta, Limits holds DatasourceLimits
);
state_key!(
    /// The place of the last change that is not kept any more.
    FeedBeginKey {} in Meta, FeedBegin holds FeedPosition
);
