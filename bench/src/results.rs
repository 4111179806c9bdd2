//! What a run found, as it is stored in `RESULTS.json` and shown.

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::measure::Summary;
use crate::row::{Aim, Family, Row, Unit};

/// Name of the side that is measured.
pub const SKEP: &str = "skep";
/// Name of the side it is measured against.
pub const LIMIT: &str = "limit";
/// Name of the ordinary work of the same cluster that a row is measured against.
pub const BASE: &str = "base";

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// What was built.
    pub commit: String,
    /// When, in UTC.
    pub date: String,
    /// On what.
    pub machine: Machine,
    /// Length of a round.
    pub seconds: f64,
    /// Rounds of each row and side.
    pub rounds: u32,
    /// In the order of the run.
    pub rows: Vec<RowResult>,
}

/// A row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RowResult {
    /// Its name.
    pub id: String,
    /// Its table.
    pub family: Family,
    /// What its rates count.
    pub unit: Unit,
    /// The sides that were measured in turn.
    pub sides: Vec<SideResult>,
    /// The figure of a row without rounds: bytes or seconds.
    pub value: Option<f64>,
    /// Its aim.
    pub aim: Option<AimResult>,
    /// Why there is no figure: it failed.
    pub fault: Option<String>,
    /// Why there is no figure: it cannot be measured here.
    pub skipped: Option<String>,
}

/// One side of a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SideResult {
    /// Its name.
    pub name: String,
    /// What was measured.
    pub summary: Summary,
}

/// An aim and whether it was met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AimResult {
    /// In words.
    pub text: String,
    /// Whether it was met.
    pub met: bool,
}

impl RowResult {
    /// A row without a figure yet.
    pub fn new(row: &Row) -> Self {
        Self { id: row.id(), family: row.family, unit: row.unit(), sides: Vec::new(), value: None, aim: None, fault: None, skipped: None }
    }

    /// A side's figures.
    pub fn side(&self, name: &str) -> Option<&Summary> {
        self.sides.iter().find(|side| side.name == name).map(|side| &side.summary)
    }

    /// A side's rate in hundredths of the limit's.
    pub fn percent_of_limit(&self, name: &str) -> Option<f64> {
        let limit = self.side(LIMIT)?.rate;
        (limit > 0.0).then(|| 100.0 * self.side(name).map_or(0.0, |summary| summary.rate) / limit)
    }

    /// The rate in hundredths of that of the ordinary work beside it.
    pub fn percent_of_base(&self) -> Option<f64> {
        let (own, base) = (self.side(SKEP)?.rate, self.side(BASE)?.rate);
        (base > 0.0).then(|| 100.0 * own / base)
    }

    /// Compares with the aim.
    pub fn judge(&mut self, aim: Option<Aim>) {
        let summary = self.side(SKEP);
        let found = match aim {
            None => return,
            Some(Aim::PercentOfLimit(_)) => self.percent_of_limit(SKEP),
            Some(Aim::TimesOfBase(_)) => self.percent_of_base().map(|percent| 100.0 / percent.max(1e-9)),
            Some(Aim::RateAtLeast(_)) => summary.map(|summary| summary.rate),
            Some(Aim::PerLogSyncAbove(_)) => summary.and_then(|summary| summary.units_per_log_sync),
            Some(Aim::P99Below(_)) => summary.map(|summary| summary.p99_ms),
            Some(Aim::Below(_)) => self.value,
        };
        let Some((aim, found)) = aim.zip(found) else { return };
        let (text, met) = match aim {
            Aim::PercentOfLimit(least) => (format!("≥ {least:.0} %"), found >= least),
            Aim::TimesOfBase(most) => (format!("≤ {most} × base"), found <= most),
            Aim::RateAtLeast(least) => (format!("≥ {least:.0}/s"), found >= least),
            Aim::PerLogSyncAbove(least) => (format!("> {least:.0} a log sync, {found:.1}"), found > least),
            Aim::P99Below(most) => (format!("p99 < {most:.0} ms"), found < most),
            Aim::Below(most) if self.unit == Unit::Memory => (format!("< {:.0} MiB", most / 1_048_576.0), found < most),
            Aim::Below(most) => (format!("< {most:.0} s"), found < most),
        };
        self.aim = Some(AimResult { text, met });
    }
}

/// `met` and `missed` of those that were judged, and how many failed.
pub fn tally(rows: &[RowResult]) -> (usize, usize, usize) {
    let judged = |met| rows.iter().filter(|row| row.aim.as_ref().is_some_and(|aim| aim.met == met)).count();
    (judged(true), judged(false), rows.iter().filter(|row| row.fault.is_some()).count())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{BASE, LIMIT, RowResult, SKEP, SideResult, tally};
    use crate::measure::{Latencies, Round, Summary};
    use crate::row::{Aim, Family, Unit};

    pub(crate) fn summary(rate: f64) -> Summary {
        let mut latencies = Latencies::default();
        latencies.record(std::time::Duration::from_millis(4));
        let (syncs, log_syncs) = (Some(9.0), Some(50.0));
        Summary::of(&[Round { latencies, units: rate, seconds: 1.0, syncs, log_syncs, ..Round::default() }]).unwrap()
    }

    pub(crate) fn result(ours: f64, limit: f64) -> RowResult {
        let side = |name: &str, rate| SideResult { name: name.to_owned(), summary: summary(rate) };
        RowResult {
            id: "3n/put/4k/c64".into(),
            family: Family::Put,
            unit: Unit::Requests,
            sides: vec![side(SKEP, ours), side(LIMIT, limit)],
            value: None,
            aim: None,
            fault: None,
            skipped: None,
        }
    }

    fn judged(aim: Aim) -> (String, bool) {
        let mut row = result(400.0, 1_000.0);
        row.judge(Some(aim));
        let aim = row.aim.unwrap();
        (aim.text, aim.met)
    }

    #[test]
    fn aims_are_judged() {
        assert_eq!(judged(Aim::PercentOfLimit(50.0)), ("≥ 50 %".into(), false));
        assert_eq!(judged(Aim::PercentOfLimit(40.0)), ("≥ 40 %".into(), true));
        assert_eq!(judged(Aim::RateAtLeast(300.0)), ("≥ 300/s".into(), true));
        assert!(!judged(Aim::P99Below(4.0)).1);
        assert_eq!(judged(Aim::PerLogSyncAbove(7.0)), ("> 7 a log sync, 8.0".into(), true));
        assert!(!judged(Aim::PerLogSyncAbove(8.0)).1);
        for (base, met) in [(500.0, true), (800.0, false)] {
            let mut row = result(400.0, 1_000.0);
            row.sides.push(SideResult { name: BASE.to_owned(), summary: summary(base) });
            row.judge(Some(Aim::TimesOfBase(1.5)));
            assert_eq!(row.aim.map(|aim| (aim.text, aim.met)), Some(("≤ 1.5 × base".into(), met)), "{base}");
        }
        let mut memory = RowResult { unit: Unit::Memory, value: Some(70e6), sides: Vec::new(), ..result(1.0, 1.0) };
        memory.judge(Some(Aim::Below(64.0 * 1_048_576.0)));
        assert_eq!(memory.aim.as_ref().map(|aim| (aim.text.as_str(), aim.met)), Some(("< 64 MiB", false)));
        assert_eq!(tally(&[memory]), (0, 1, 0));
    }

    #[test]
    fn without_a_figure_nothing_is_judged() {
        let mut row = RowResult { sides: Vec::new(), ..result(1.0, 1.0) };
        row.judge(Some(Aim::PercentOfLimit(50.0)));
        row.judge(Some(Aim::RateAtLeast(1.0)));
        assert_eq!(row.aim, None);
    }
}
