//! Versioning policies: which old versions of a file stay. Pure.
//!
//! Invariants: the current version stays whatever the policy says, and so does what was current within `keep_all`; a larger allowance never keeps
//! less of the same versions.

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
        if policy.max_total_size > 0 {
            return Err(fault(
                "MaxTotalSize",
                "a limit over all files is not enforced by this server; set -1, and a quota of the datasource",
            ));
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
        if let Some(most) = self.size_per_file {
            let mut kept: u64 =
                old.values().filter(|(version, _)| !dropped.contains(&version.number)).map(|(version, _)| version.size).sum();
            for (version, free_at) in old.values() {
                if kept <= most {
                    break;
                }
                if *free_at <= now && dropped.insert(version.number) {
                    kept = kept.saturating_sub(version.size);
                }
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
        self.size_per_file.is_some() || self.ignore_greater.is_some() || self.periods.iter().any(|(_, most)| most.is_some())
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

    proptest! {
        #[test]
        fn plans_keep_their_promises(ages in prop::collection::vec(0_u64..60, 1..60), later in 0_u64..40, which in 0_usize..3) {
            let rules = rules(["keep-all", "default-policy", "regular-pruning"][which]);
            let mut all = versions(&ages);
            let now = NOW + later * DAY;
            let plan = rules.plan(&all, now);
            for version in &all {
                let is_safe = version.superseded_at.is_none_or(|at| at + DAY > now);
                prop_assert!(!(is_safe && plan.dropped.contains(&version.number)), "{version:?} is safe");
            }
            all.retain(|version| !plan.dropped.contains(&version.number));
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
    }
}
