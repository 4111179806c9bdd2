//! Rounds of one row and what they come to: medians, spread, percentiles.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Highest latency told apart, microseconds.
const LATENCY_MICROS_MAX: u64 = 600_000_000;

/// Latencies in microseconds, three digits exact.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3).expect("constant bounds that the crate allows"))
    }
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, latency: std::time::Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    /// Adds another's.
    ///
    /// # Panics
    /// Never: all have the same bounds.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    fn millis(&self, quantile: f64) -> f64 {
        let micros = u32::try_from(self.0.value_at_quantile(quantile)).unwrap_or(u32::MAX);
        f64::from(micros) / 1_000.0
    }
}

/// One round of one side.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// Of each request.
    pub latencies: Latencies,
    /// Bytes, entries or requests done, by the row's unit.
    pub units: f64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Bytes of contents that were written.
    pub logical_written_bytes: f64,
    /// CPU time of the servers.
    pub server_cpu_seconds: f64,
    /// CPU time of the generator.
    pub generator_cpu_seconds: f64,
    /// Peak memory of the largest server; 0 if not known.
    pub peak_resident_bytes: u64,
    /// Calls of fdatasync by the servers, if they count them.
    pub syncs: Option<f64>,
    /// Those of the log of one node, if they count them; the mean over the nodes.
    pub log_syncs: Option<f64>,
    /// Bytes the servers sent to devices.
    pub device_bytes: f64,
}

/// All rounds of one side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Median over the rounds, units a second.
    pub rate: f64,
    /// Slowest round.
    pub rate_min: f64,
    /// Fastest round.
    pub rate_max: f64,
    /// Milliseconds, over all rounds.
    pub p50_ms: f64,
    /// Milliseconds, over all rounds.
    pub p99_ms: f64,
    /// Milliseconds, over all rounds.
    pub p999_ms: f64,
    /// Requests of all rounds.
    pub requests: u64,
    /// Length of all rounds.
    pub seconds: f64,
    /// CPU time of the servers in all rounds.
    pub server_cpu_seconds: f64,
    /// CPU time of the generator in all rounds.
    pub generator_cpu_seconds: f64,
    /// Peak memory of the largest server.
    pub peak_resident_bytes: u64,
    /// Calls of fdatasync in all rounds, if known.
    pub syncs: Option<f64>,
    /// Units done for each sync of the log of one node, if known.
    #[serde(default)]
    pub units_per_log_sync: Option<f64>,
    /// Bytes sent to devices for each byte of content that was written; none for rows that write no content.
    pub write_amplification: Option<f64>,
}

impl Summary {
    /// Sums up; `None` without rounds.
    pub fn of(rounds: &[Round]) -> Option<Self> {
        let mut rates: Vec<f64> = rounds.iter().map(|round| round.units / round.seconds.max(1e-9)).collect();
        rates.sort_by(f64::total_cmp);
        let mut latencies = Latencies::default();
        rounds.iter().for_each(|round| latencies.merge(&round.latencies));
        let sum = |of: fn(&Round) -> f64| rounds.iter().map(of).sum::<f64>();
        let logical = sum(|round| round.logical_written_bytes);
        let log_syncs: Option<f64> = rounds.iter().map(|round| round.log_syncs).sum();
        Some(Self {
            rate: median(&rates)?,
            rate_min: *rates.first()?,
            rate_max: *rates.last()?,
            p50_ms: latencies.millis(0.5),
            p99_ms: latencies.millis(0.99),
            p999_ms: latencies.millis(0.999),
            requests: latencies.count(),
            seconds: sum(|round| round.seconds),
            server_cpu_seconds: sum(|round| round.server_cpu_seconds),
            generator_cpu_seconds: sum(|round| round.generator_cpu_seconds),
            peak_resident_bytes: rounds.iter().map(|round| round.peak_resident_bytes).max()?,
            syncs: rounds.iter().map(|round| round.syncs).sum(),
            units_per_log_sync: log_syncs.filter(|syncs| *syncs > 0.0).map(|syncs| sum(|round| round.units) / syncs),
            write_amplification: (logical > 0.0).then(|| sum(|round| round.device_bytes) / logical),
        })
    }
}

/// The middle of sorted values, or the mean of the two in the middle.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(upper, *sorted.get(middle.checked_sub(1)?)?)) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Latencies, Round, Summary, median};

    fn round(units: f64, millis: &[u64]) -> Round {
        let mut latencies = Latencies::default();
        millis.iter().for_each(|millis| latencies.record(Duration::from_millis(*millis)));
        Round { latencies, units, seconds: 2.0, syncs: Some(3.0), log_syncs: Some(1.0), ..Round::default() }
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, 5.0, 9.0]), Some(5.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
    }

    #[test]
    fn rounds_are_summed_up() {
        let rounds = [round(10.0, &[1, 1, 1]), round(30.0, &[2, 2, 2]), round(20.0, &[100])];
        let summary = Summary::of(&rounds).unwrap();
        assert_eq!((summary.rate, summary.rate_min, summary.rate_max), (10.0, 5.0, 15.0));
        assert_eq!((summary.requests, summary.syncs, summary.write_amplification), (7, Some(9.0), None));
        assert_eq!(summary.units_per_log_sync, Some(20.0));
        assert!((summary.p50_ms - 2.0).abs() < 0.01 && (summary.p999_ms - 100.0).abs() < 0.1, "{summary:?}");
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn syncs_that_one_round_does_not_know_are_unknown() {
        let mut blind = round(1.0, &[1]);
        blind.syncs = None;
        assert_eq!(Summary::of(&[round(1.0, &[1]), blind]).unwrap().syncs, None);
    }

    #[test]
    fn bytes_on_devices_are_told_for_each_byte_of_content() {
        let mut wrote = round(1.0, &[1]);
        (wrote.logical_written_bytes, wrote.device_bytes) = (100.0, 150.0);
        assert_eq!(Summary::of(&[wrote]).unwrap().write_amplification, Some(1.5));
    }
}
