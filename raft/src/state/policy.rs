//! Versioning policies: which old versions of a file stay. Pure.
//!
//! Invariants: the current version stays whatever the policy says, and so does what was current within `keep_all`; a larger allowance never keeps
//! less of the same versions.
//!
//! Two limits are of bytes, and both are of one file: `MaxSizePerFile` counts its old versions, `MaxTotalSize` the current one with them. (Cells keeps
//! `MaxTotalSize` and never looks at it.) A limit over all files would have to know of all at each of them; that is what quotas of datasources are for.

use std::collections::{BTreeMap, BTreeSet};

use crate::state::limits;
use crate::wire::meta::v1::{DeletedStrategy, KeepPeriod, VersioningPolicyRecord};

/// A version as a policy sees it. Times are stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aged {
    /// Its number.
    pub number: u64,
    /// When it was made.
    pub created_at: u64,
    /// When it ceased to be the current one; none while it is.
    pub superseded_at: Option<u64>,
    /// Bytes.
    pub size: u64,
}

/// What a policy says of a file's versions now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Numbers of versions that go, oldest first.
    pub dropped: Vec<u64>,
    /// When to look again; none: nothing changes before a new version.
    pub look_again: Option<u64>,
}

/// A policy that can be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Begin of each period as an age in microseconds, and how many versions of that age stay; none: all.
    periods: Vec<(u64, Option<usize>)>,
    keep_all: u64,
    size_per_file: Option<u64>,
    total_size: Option<u64>,
    ignore_greater: Option<u64>,
    deleted: DeletedStrategy,
}

/// What is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct PolicyFault {
    /// The field, as clients name it.
    pub field: String,
    /// Why its value cannot be.
    pub problem: String,
}

impl Rules {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`PolicyFault`] with the first field that cannot be.
    pub fn of(policy: &VersioningPolicyRecord) -> Result<Self, PolicyFault> {
        let fault = |field: &str, problem: &str| PolicyFault { field: field.to_owned(), problem: problem.to_owned() };
        if policy.keep_periods.len() > 64 {
            return Err(fault("KeepPeriods", "more than 64"));
        }
        let mut periods = Vec::with_capacity(policy.keep_periods.len());
        for period in &policy.keep_periods {
            periods.push(read_period(period)?);
        }
        if periods.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a >= b)) {
            return Err(fault("KeepPeriods", "each must start later than the one before"));
        }
        let limit = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
        Ok(Self {
            periods,
            keep_all: match policy.keep_all_seconds {
                0 => limits::KEEP_ALL_SECONDS,
                seconds => seconds,
            }
            .saturating_mul(1_000_000),
            size_per_file: limit(policy.max_size_per_file),
            total_size: limit(policy.max_total_size),
            ignore_greater: limit(policy.ignore_files_greater_than),
            deleted: DeletedStrategy::try_from(policy.node_deleted).map_err(|_unknown| fault("NodeDeletedStrategy", "unknown"))?,
        })
    }

    /// Decides about a file's versions, in any order, at a stamp.
    #[must_use]
    pub fn plan(&self, versions: &[Aged], now: u64) -> Plan {
        let mut old: BTreeMap<u64, (Aged, u64)> = BTreeMap::new();
        let mut plan = Plan::default();
        for version in versions {
            let Some(superseded_at) = version.superseded_at else { continue };
            let free_at = superseded_at.saturating_add(self.keep_all);
            if free_at > now && self.ever_drops() {
                plan.look_again = earlier(plan.look_again, free_at);
            }
            old.insert(version.number, (*version, free_at));
        }
        let mut dropped = BTreeSet::new();
        for (place, (start, most)) in self.periods.iter().enumerate() {
            let end = self.periods.get(place + 1).map_or(u64::MAX, |(start, _)| *start);
            let mut within: Vec<(Aged, u64)> = Vec::new();
            for (version, free_at) in old.values() {
                let age = now.saturating_sub(version.created_at);
                if age >= *start && age < end {
                    within.push((*version, *free_at));
                } else if age < *start {
                    plan.look_again = earlier(plan.look_again, version.created_at.saturating_add(*start));
                }
            }
            if let Some(most) = most {
                dropped.extend(thinned(&within, *most, now));
            }
        }
        for (version, free_at) in old.values() {
            if self.ignore_greater.is_some_and(|most| version.size > most) && *free_at <= now {
                dropped.insert(version.number);
            }
        }
        let of_current = versions.iter().filter(|version| version.superseded_at.is_none()).map(|version| version.size).sum();
        for (limit, beside) in [(self.size_per_file, 0), (self.total_size, of_current)] {
            if let Some(most) = limit {
                drop_oldest(&old, &mut dropped, (beside, most), now);
            }
        }
        plan.dropped = dropped.into_iter().collect();
        plan
    }

    /// Decides which versions of a file that was deleted for good stay for the plan to decide about further.
    #[must_use]
    pub fn of_deleted(&self, versions: &[Aged]) -> Vec<u64> {
        let last = versions.iter().map(|version| version.number).max();
        let stays = |number: u64| match self.deleted {
            DeletedStrategy::Unspecified | DeletedStrategy::KeepAll => true,
            DeletedStrategy::KeepLast => Some(number) == last,
            DeletedStrategy::KeepNone => false,
        };
        versions.iter().map(|version| version.number).filter(|number| !stays(*number)).collect()
    }

    fn ever_drops(&self) -> bool {
        self.size_per_file.is_some()
            || self.total_size.is_some()
            || self.ignore_greater.is_some()
            || self.periods.iter().any(|(_, most)| most.is_some())
    }
}

/// Which of the versions of a period go so that `most` stay: always the one that leaves the smallest gap, so that what stays spreads over the period.
/// What may not go yet counts among those that stay.
fn thinned(versions: &[(Aged, u64)], most: usize, now: u64) -> Vec<u64> {
    let mut excess = versions.len().saturating_sub(most);
    let free: BTreeSet<u64> = versions.iter().filter(|(_, free_at)| *free_at <= now).map(|(version, _)| version.number).collect();
    if most == 0 {
        return free.into_iter().collect();
    }
    let mut here: BTreeMap<u64, u64> = versions.iter().map(|(version, _)| (version.number, version.created_at)).collect();
    let gap = |here: &BTreeMap<u64, u64>, number: u64| {
        let before = here.range(..number).next_back().map(|(_, at)| *at);
        let after = here.range(number + 1..).next().map(|(_, at)| *at);
        match (before, after) {
            (Some(before), Some(after)) => after.saturating_sub(before),
            // The ends of a period go last.
            (Some(_) | None, Some(_) | None) => u64::MAX,
        }
    };
    let mut order: BTreeSet<(u64, u64)> = free.iter().map(|number| (gap(&here, *number), *number)).collect();
    let mut gone = Vec::new();
    while excess > 0
        && let Some((_, number)) = order.pop_first()
    {
        let neighbours =
            [here.range(..number).next_back().map(|(number, _)| *number), here.range(number + 1..).next().map(|(number, _)| *number)];
        let before: Vec<(u64, u64)> = neighbours.iter().flatten().map(|number| (gap(&here, *number), *number)).collect();
        here.remove(&number);
        for entry in before {
            if order.remove(&entry) {
                order.insert((gap(&here, entry.1), entry.1));
            }
        }
        gone.push(number);
        excess -= 1;
    }
    gone
}

/// Drops the oldest of the versions that stay until they have, with the bytes beside them, no more than the limit. What may not go yet counts and stays.
fn drop_oldest(old: &BTreeMap<u64, (Aged, u64)>, dropped: &mut BTreeSet<u64>, (beside, most): (u64, u64), now: u64) {
    let sizes = old.values().filter(|(version, _)| !dropped.contains(&version.number)).map(|(version, _)| version.size);
    let mut kept = sizes.fold(beside, u64::saturating_add);
    for (version, free_at) in old.values() {
        if kept <= most {
            return;
        }
        if *free_at <= now && dropped.insert(version.number) {
            kept = kept.saturating_sub(version.size);
        }
    }
}

fn earlier(one: Option<u64>, other: u64) -> Option<u64> {
    Some(one.map_or(other, |one| one.min(other)))
}

fn read_period(period: &KeepPeriod) -> Result<(u64, Option<usize>), PolicyFault> {
    let seconds = seconds_of(&period.interval_start).ok_or_else(|| PolicyFault {
        field: "KeepPeriods.IntervalStart".to_owned(),
        problem: format!("{:?} is no age: a number with s, m, h, d, w, M (30 days) or y (365 days), as 10m or 15d", period.interval_start),
    })?;
    let most = match period.max_number {
        -1 => None,
        number => Some(usize::try_from(number).map_err(|_negative| PolicyFault {
            field: "KeepPeriods.MaxNumber".to_owned(),
            problem: format!("{number} is neither -1 (all) nor a count"),
        })?),
    };
    Ok((seconds.saturating_mul(1_000_000), most))
}

/// Seconds of an age as policies write it: `0`, `10m`, `3h`, `15d`.
#[must_use]
pub fn seconds_of(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let unit = match unit {
        "" if number == 0 => 1,
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "M" => 30 * 86_400,
        "y" => 365 * 86_400,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// The policies that every cluster has: their ids are fixed.
#[must_use]
pub fn built_in() -> Vec<VersioningPolicyRecord> {
    let policy = |id: u8, uuid: &str, name: &str, periods: &[(&str, i32)], deleted: DeletedStrategy| VersioningPolicyRecord {
        id: vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, id].into(),
        name: name.to_owned(),
        description: String::new(),
        keep_all_seconds: limits::KEEP_ALL_SECONDS,
        max_total_size: -1,
        max_size_per_file: -1,
        ignore_files_greater_than: -1,
        keep_periods: periods.iter().map(|(start, most)| KeepPeriod { interval_start: (*start).to_owned(), max_number: *most }).collect(),
        node_deleted: deleted.into(),
        uuid: uuid.to_owned(),
        built_in: true,
        versions_data_source_name: "versions".to_owned(),
    };
    let thirty_days = [("0", -1), ("15d", 10), ("30d", 0)];
    let regular = [("0", 10), ("10m", 10), ("3h", 10), ("1d", 10), ("10d", 10), ("30d", 0)];
    vec![
        policy(1, "keep-all", "Keep all", &[("0", -1)], DeletedStrategy::KeepAll),
        policy(2, "default-policy", "30 days max", &thirty_days, DeletedStrategy::KeepLast),
        policy(3, "regular-pruning", "Regular Pruning", &regular, DeletedStrategy::KeepLast),
    ]
}

/// What a datasource keeps whose policy was taken away: of each file the current version, of what is deleted nothing. What was current within the last
/// day stays as under any policy, so that the mistake of a moment can be taken back.
#[must_use]
pub fn current_only() -> VersioningPolicyRecord {
    VersioningPolicyRecord {
        name: "No versions".to_owned(),
        keep_all_seconds: limits::KEEP_ALL_SECONDS,
        max_total_size: -1,
        max_size_per_file: -1,
        ignore_files_greater_than: -1,
        keep_periods: vec![KeepPeriod { interval_start: "0".to_owned(), max_number: 0 }],
        node_deleted: DeletedStrategy::KeepNone.into(),
        ..VersioningPolicyRecord::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: u64 = 86_400 * 1_000_000;
    const NOW: u64 = 1_000 * DAY;

    fn rules(uuid: &str) -> Rules {
        let policy = built_in().into_iter().find(|policy| policy.uuid == uuid).expect("it is built in");
        Rules::of(&policy).expect("it can be carried out")
    }

    /// Versions made so many days ago, the last one current.
    fn versions(ages: &[u64]) -> Vec<Aged> {
        let mut ages = ages.to_vec();
        ages.sort_unstable_by(|a, b| b.cmp(a));
        let at: Vec<u64> = ages.iter().map(|age| NOW - age * DAY).collect();
        let aged =
            |place: usize| Aged { number: place as u64 + 1, created_at: at[place], superseded_at: at.get(place + 1).copied(), size: 10 };
        (0..at.len()).map(aged).collect()
    }

    #[test]
    fn ages_are_read_as_policies_write_them() {
        let read = ["0", "10m", "3h", "1d", "15d", "2w", "1M", "1y", "7s"].map(seconds_of);
        let seconds = [0, 600, 10_800, 86_400, 1_296_000, 1_209_600, 2_592_000, 31_536_000, 7].map(Some);
        assert_eq!(read, seconds);
        assert_eq!(["", "x", "5", "-1d", "1q", "99999999999999999999d"].map(seconds_of), [None; 6]);
    }

    #[test]
    fn the_built_in_policies_do_what_their_names_say() {
        let ages: Vec<u64> = (0..40).collect();
        let all = versions(&ages);
        assert_eq!(rules("keep-all").plan(&all, NOW), Plan::default(), "nothing ever goes");
        let plan = rules("default-policy").plan(&all, NOW);
        let kept: Vec<u64> =
            all.iter().filter(|version| !plan.dropped.contains(&version.number)).map(|v| (NOW - v.created_at) / DAY).collect();
        assert!(kept.iter().all(|age| *age < 30), "30 days at most: {kept:?}");
        assert_eq!(kept.iter().filter(|age| **age < 15).count(), 15, "all of two weeks");
        assert_eq!(kept.iter().filter(|age| **age >= 15).count(), 10, "ten of the older");
        assert!(kept.contains(&29) && kept.contains(&15), "spread over the period: {kept:?}");
        assert!(plan.look_again.is_some_and(|at| at > NOW && at <= NOW + DAY), "{:?}", plan.look_again);
    }

    #[test]
    fn without_a_policy_the_current_version_alone_stays() {
        let rules = Rules::of(&current_only()).expect("it can be carried out");
        let all = versions(&[9, 5, 3, 2]);
        assert_eq!(rules.plan(&all, NOW).dropped, [1, 2, 3]);
        assert_eq!(rules.of_deleted(&all), [1, 2, 3, 4]);
    }

    #[test]
    fn what_was_current_a_day_ago_stays() {
        // Made 100 days ago, current until this hour.
        let versions = [
            Aged { number: 1, created_at: NOW - 100 * DAY, superseded_at: Some(NOW - DAY / 24), size: 10 },
            Aged { number: 2, created_at: NOW - DAY / 24, superseded_at: None, size: 10 },
        ];
        let plan = rules("default-policy").plan(&versions, NOW);
        assert_eq!(plan.dropped, Vec::<u64>::new());
        assert_eq!(plan.look_again, Some(NOW - DAY / 24 + DAY));
        assert_eq!(rules("default-policy").plan(&versions, NOW + DAY).dropped, [1]);
    }

    #[test]
    fn sizes_are_limited_oldest_first() {
        let policy = VersioningPolicyRecord { max_size_per_file: 25, ..built_in().remove(0) };
        let plan = Rules::of(&policy).expect("it can be carried out").plan(&versions(&[9, 8, 7, 6, 5]), NOW);
        assert_eq!(plan.dropped, [1, 2], "four old versions of ten bytes, two of which fit");
        let policy = VersioningPolicyRecord { ignore_files_greater_than: 9, ..built_in().remove(0) };
        let plan = Rules::of(&policy).expect("it can be carried out").plan(&versions(&[9, 8, 0]), NOW);
        assert_eq!(plan.dropped, [1], "the second was current until today");
    }

    #[test]
    fn all_versions_of_a_file_are_limited_together() {
        let of = |policy: VersioningPolicyRecord| Rules::of(&policy).expect("it can be carried out");
        let limited = |most| of(VersioningPolicyRecord { max_total_size: most, ..built_in().remove(0) });
        let all = versions(&[9, 8, 7, 6, 5]);
        assert_eq!(limited(25).plan(&all, NOW).dropped, [1, 2, 3], "the current one counts: one old one fits beside it");
        assert_eq!(limited(50).plan(&all, NOW).dropped, Vec::<u64>::new(), "just as much as is allowed");
        assert_eq!(limited(1).plan(&all, NOW).dropped, [1, 2, 3, 4], "the current one stays, also if it is too large alone");
        assert_eq!(limited(0).plan(&all, NOW), limited(-1).plan(&all, NOW), "no limit");
        // What was current today counts and stays, and is looked at again when it may go.
        let fresh = versions(&[9, 8, 0]);
        assert_eq!(limited(10).plan(&fresh, NOW), Plan { dropped: vec![1], look_again: Some(NOW + DAY) });
        assert_eq!(limited(10).plan(&fresh[1..], NOW + DAY).dropped, [2]);
        let both = of(VersioningPolicyRecord { max_total_size: 35, max_size_per_file: 10, ..built_in().remove(0) });
        assert_eq!(both.plan(&all, NOW).dropped, [1, 2, 3], "the narrower of the two");
        // Of a deleted file none is the current one, and what is kept of it counts alone.
        let ended: Vec<Aged> = all.iter().map(|v| Aged { superseded_at: v.superseded_at.or(Some(NOW - 2 * DAY)), ..*v }).collect();
        assert_eq!(limited(25).plan(&ended, NOW).dropped, [1, 2, 3]);
        assert_eq!(limited(5).plan(&ended, NOW).dropped, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_policy_that_cannot_be_is_refused_by_its_field() {
        let period = |start: &str, most| KeepPeriod { interval_start: start.to_owned(), max_number: most };
        let fault = |periods: Vec<KeepPeriod>| {
            Rules::of(&VersioningPolicyRecord { keep_periods: periods, ..built_in().remove(0) }).expect_err("refused").field
        };
        assert_eq!(fault(vec![period("soon", 1)]), "KeepPeriods.IntervalStart");
        assert_eq!(fault(vec![period("1d", -2)]), "KeepPeriods.MaxNumber");
        assert_eq!(fault(vec![period("1d", 1), period("3h", 1)]), "KeepPeriods");
    }

    #[test]
    fn deleted_files_keep_what_the_strategy_says() {
        let all = versions(&[3, 2, 1]);
        let of = |deleted: DeletedStrategy| {
            let policy = VersioningPolicyRecord { node_deleted: deleted.into(), ..built_in().remove(0) };
            Rules::of(&policy).expect("it can be carried out").of_deleted(&all)
        };
        assert_eq!(of(DeletedStrategy::KeepAll), Vec::<u64>::new());
        assert_eq!(of(DeletedStrategy::KeepLast), [1, 2]);
        assert_eq!(of(DeletedStrategy::KeepNone), [1, 2, 3]);
    }

    /// A policy with any of the fields set.
    fn any_rules() -> impl Strategy<Value = VersioningPolicyRecord> {
        let limit = || prop_oneof![Just(-1_i64), 1_i64..400];
        (0_usize..3, limit(), limit(), prop_oneof![Just(-1_i64), 1_i64..60]).prop_map(|(which, total, per_file, greatest)| {
            VersioningPolicyRecord {
                max_total_size: total,
                max_size_per_file: per_file,
                ignore_files_greater_than: greatest,
                ..built_in().remove(which)
            }
        })
    }

    proptest! {
        #[test]
        fn plans_keep_their_promises(
            made in prop::collection::vec((0_u64..60, 0_u64..60), 1..60),
            later in 0_u64..40,
            policy in any_rules(),
        ) {
            let rules = Rules::of(&policy).expect("it can be carried out");
            let ages: Vec<u64> = made.iter().map(|(age, _)| *age).collect();
            let mut all = versions(&ages);
            for (version, (_, size)) in all.iter_mut().zip(&made) {
                version.size = *size;
            }
            let now = NOW + later * DAY;
            let plan = rules.plan(&all, now);
            let is_safe = |version: &Aged, at: u64| version.superseded_at.is_none_or(|ended| ended + DAY > at);
            for version in &all {
                prop_assert!(!(is_safe(version, now) && plan.dropped.contains(&version.number)), "{version:?} is safe");
            }
            all.retain(|version| !plan.dropped.contains(&version.number));
            let total: u64 = all.iter().map(|version| version.size).sum();
            let fits = u64::try_from(policy.max_total_size).map_or(true, |most| total <= most);
            prop_assert!(fits || all.iter().all(|version| is_safe(version, now)), "{total} bytes stay, and not all of them have to");
            let again = rules.plan(&all, now);
            prop_assert_eq!(again.dropped, Vec::<u64>::new(), "a second look changes nothing");
            // Before the time to look again nothing would go.
            if let Some(at) = plan.look_again {
                prop_assert!(at > now);
                prop_assert_eq!(rules.plan(&all, at - 1).dropped, Vec::<u64>::new());
            } else {
                prop_assert_eq!(rules.plan(&all, now + 1_000 * DAY).dropped, Vec::<u64>::new());
            }
        }

        #[test]
        fn a_larger_total_keeps_no_less_and_no_older_one_before_a_newer(
            made in prop::collection::vec((0_u64..60, 0_u64..60), 1..60),
            (less, more) in (1_i64..400, 0_i64..400),
        ) {
            let ages: Vec<u64> = made.iter().map(|(age, _)| *age).collect();
            let mut all = versions(&ages);
            for (version, (_, size)) in all.iter_mut().zip(&made) {
                version.size = *size;
            }
            let dropped = |most| {
                let policy = VersioningPolicyRecord { max_total_size: most, ..built_in().remove(0) };
                Rules::of(&policy).expect("it can be carried out").plan(&all, NOW).dropped
            };
            let (of_less, of_more) = (dropped(less), dropped(less + more));
            prop_assert!(of_less.starts_with(&of_more), "{of_more:?} is a beginning of {of_less:?}");
            let free = all.iter().filter(|version| version.superseded_at.is_some_and(|at| at + DAY <= NOW)).map(|version| version.number);
            prop_assert_eq!(&of_less, &free.take(of_less.len()).collect::<Vec<_>>(), "the oldest of those that may go");
        }
    }
}
