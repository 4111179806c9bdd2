//! Counts of now against those that are stored, case by case.
//!
//! The bounds are wide: another linker, C library or C compiler moves a count by a few hundredths, and only what is clearly more work is to fail.

use std::collections::{BTreeMap, BTreeSet};

/// More hundredths of the stored count than this fail.
const HUNDREDTHS_MAX: u128 = 125;
/// With fewer hundredths than this the stored count guards nothing any more, and is to be brought up to date.
const HUNDREDTHS_MIN: u128 = 80;

/// How a case compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Within its bounds.
    Held,
    /// Much more than stored.
    Grew,
    /// Much less than stored.
    Shrank,
    /// Nothing is stored for it.
    New,
    /// There is no such case any more.
    Gone,
}

impl Verdict {
    fn of(stored: Option<u64>, counted: Option<u64>) -> Self {
        let (stored, counted) = match (stored, counted) {
            (Some(stored), Some(counted)) => (u128::from(stored), u128::from(counted)),
            (None, _) => return Verdict::New,
            (Some(_), None) => return Verdict::Gone,
        };
        if counted * 100 > stored * HUNDREDTHS_MAX {
            Verdict::Grew
        } else if counted * 100 < stored * HUNDREDTHS_MIN {
            Verdict::Shrank
        } else {
            Verdict::Held
        }
    }

    /// Whether it fails the check. A case that nothing is stored for, or that is missing, would go unguarded without a word.
    pub(crate) fn is_broken(self) -> bool {
        match self {
            Verdict::Grew | Verdict::New | Verdict::Gone => true,
            Verdict::Held | Verdict::Shrank => false,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Verdict::Held => "",
            Verdict::Grew => "GREW",
            Verdict::Shrank => "shrank",
            Verdict::New => "NEW",
            Verdict::Gone => "GONE",
        }
    }

    /// What to do about it.
    pub(crate) fn advice(self) -> Option<&'static str> {
        match self {
            Verdict::Held => None,
            Verdict::Grew => {
                Some("it executes over 1.25 times the instructions stored; if that is meant, `cargo xtask instructions --update`")
            }
            Verdict::Shrank => Some("it executes under 0.8 of the instructions stored: keep that with `cargo xtask instructions --update`"),
            Verdict::New => Some("no count is stored for it: `cargo xtask instructions --update`"),
            Verdict::Gone => Some("a count is stored, and there is no such case: `cargo xtask instructions --update`"),
        }
    }
}

/// A case, as stored and as counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub(crate) case: String,
    pub(crate) stored: Option<u64>,
    pub(crate) counted: Option<u64>,
    pub(crate) verdict: Verdict,
}

impl Comparison {
    /// Counted in parts of stored, for people to read.
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    pub(crate) fn ratio(&self) -> Option<f64> {
        let stored = self.stored.filter(|stored| *stored > 0)?;
        Some(self.counted? as f64 / stored as f64)
    }
}

/// Compares all cases of either side, in the order of their names.
pub(crate) fn compare(stored: &BTreeMap<String, u64>, counted: &BTreeMap<String, u64>) -> Vec<Comparison> {
    let cases: BTreeSet<&String> = stored.keys().chain(counted.keys()).collect();
    let comparison = |case: &String| {
        let (stored, counted) = (stored.get(case).copied(), counted.get(case).copied());
        Comparison { case: case.clone(), stored, counted, verdict: Verdict::of(stored, counted) }
    };
    cases.into_iter().map(comparison).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(case, count)| ((*case).to_owned(), *count)).collect()
    }

    #[test]
    fn bounds_belong_to_what_holds() {
        let verdicts =
            [(800, Verdict::Held), (799, Verdict::Shrank), (1_000, Verdict::Held), (1_250, Verdict::Held), (1_251, Verdict::Grew)];
        for (counted, verdict) in verdicts {
            assert_eq!(Verdict::of(Some(1_000), Some(counted)), verdict, "{counted}");
        }
    }

    #[test]
    fn large_counts_do_not_overflow() {
        assert_eq!(Verdict::of(Some(u64::MAX), Some(u64::MAX)), Verdict::Held);
        assert_eq!(Verdict::of(Some(0), Some(1)), Verdict::Grew);
    }

    #[test]
    fn what_only_one_side_has_is_broken() {
        let found = compare(&counts(&[("a/gone", 5), ("b/same", 7)]), &counts(&[("b/same", 7), ("c/new", 9)]));
        let verdicts: Vec<(&str, Verdict)> = found.iter().map(|found| (found.case.as_str(), found.verdict)).collect();
        assert_eq!(verdicts, [("a/gone", Verdict::Gone), ("b/same", Verdict::Held), ("c/new", Verdict::New)]);
        assert_eq!(found.iter().filter(|found| found.verdict.is_broken()).count(), 2);
    }

    #[test]
    fn only_more_work_fails_among_changes() {
        assert!(Verdict::Grew.is_broken() && !Verdict::Shrank.is_broken() && !Verdict::Held.is_broken());
        for verdict in [Verdict::Grew, Verdict::Shrank, Verdict::New, Verdict::Gone] {
            assert!(verdict.advice().is_some_and(|advice| advice.contains("--update")), "{verdict:?} says what to do");
        }
    }

    #[test]
    fn ratios_are_for_cases_of_both_sides() {
        let found = compare(&counts(&[("a", 200), ("b", 1), ("z", 0)]), &counts(&[("a", 300), ("c", 1), ("z", 1)]));
        let ratios: Vec<Option<f64>> = found.iter().map(Comparison::ratio).collect();
        assert_eq!(ratios, [Some(1.5), None, None, None]);
    }
}
