//! Counts values in buckets that grow with them: what openraft keeps of the sizes of its batches, and no more of the interface than it uses.
//!
//! It stands in for the crate of the same name. That one makes tables for every precision it knows when the first histogram is made: 26 MB that stay resident
//! in every node, of which openraft uses two kilobytes.
//!
//! Invariant: a value is counted in the bucket whose least value is the greatest that is not above it.

use std::fmt;
use std::marker::PhantomData;

/// Below it every value has a bucket of its own.
const EXACT: u64 = 8;
/// Buckets for each doubling above.
const PER_DOUBLING: u64 = 4;
/// Of all 64-bit values.
const BUCKETS: usize = 252;

/// A histogram of 64-bit values. The parameter is there for openraft, which names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: Box<[u64]>,
    kind: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// One without values.
    #[must_use]
    pub fn new() -> Self {
        Self { counts: vec![0; BUCKETS].into(), kind: PhantomData }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value so many times.
    pub fn record_n(&mut self, value: u64, times: u64) {
        if let Some(count) = self.counts.get_mut(bucket_of(value)) {
            *count = count.saturating_add(times);
        }
    }

    /// How many values were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |total, count| total.saturating_add(*count))
    }

    /// What stands at so many of a thousand, as the least value of its bucket; 0 without values.
    #[must_use]
    pub fn permille(&self, permille: u64) -> u64 {
        let wanted = u128::from(self.total()) * u128::from(permille.min(1_000));
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count) * 1_000;
            if *count > 0 && seen >= wanted {
                return least_of(bucket);
            }
        }
        0
    }

    /// The usual percentiles.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.permille(1),
            p1: self.permille(10),
            p5: self.permille(50),
            p10: self.permille(100),
            p50: self.permille(500),
            p90: self.permille(900),
            p99: self.permille(990),
            p99_9: self.permille(999),
        }
    }
}

fn bucket_of(value: u64) -> usize {
    if value < EXACT {
        return usize::try_from(value).expect("it is below eight");
    }
    let doubling = u64::from(value.ilog2()) - 3;
    let part = (value >> (doubling + 1)) & (PER_DOUBLING - 1);
    usize::try_from(EXACT + doubling * PER_DOUBLING + part).expect("it is below 252")
}

fn least_of(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket).expect("it is below 252");
    if bucket < EXACT {
        return bucket;
    }
    let (doubling, part) = ((bucket - EXACT) / PER_DOUBLING, (bucket - EXACT) % PER_DOUBLING);
    (PER_DOUBLING + part) << (doubling + 1)
}

/// Percentiles of what was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the percentile that it is called")]
pub struct PercentileStats {
    /// How many values.
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p50, p90, p99, p99_9, .. } = self;
        write!(f, "{samples} values, p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p99_9}")
    }
}

/// Histograms below one another, as text.
#[derive(Clone, Debug)]
pub struct AsciiChart<T = ()> {
    rows: Vec<(String, Histogram<T>)>,
}

impl<T> Default for AsciiChart<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> AsciiChart<T> {
    /// One without rows.
    #[must_use]
    pub fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// The same with one row more.
    #[must_use]
    pub fn add(mut self, name: &str, histogram: Histogram<T>) -> Self {
        self.rows.push((name.to_owned(), histogram));
        self
    }
}

impl<T> fmt::Display for AsciiChart<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows.iter().try_for_each(|(name, histogram)| writeln!(f, "{name}: {}", histogram.percentile_stats()))
    }
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, Histogram, bucket_of, least_of};

    #[test]
    fn buckets_follow_one_another_without_gaps() {
        for bucket in 0..BUCKETS {
            let least = least_of(bucket);
            assert_eq!(bucket_of(least), bucket, "its least value");
            if let Some(below) = least.checked_sub(1) {
                assert_eq!(bucket_of(below) + 1, bucket, "the value below it");
            }
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_least_values_of_buckets() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats(), super::PercentileStats::default());
        (1..=100).for_each(|value| histogram.record(value));
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p1, stats.p5, stats.p50, stats.p99_9), (100, 1, 5, 48, 96));
    }
}
