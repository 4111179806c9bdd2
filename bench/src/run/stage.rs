//! The clusters of so many nodes, side by side, and the rows that run on them.

use std::time::Duration;

use indicatif::ProgressBar;

use crate::cli::RunOptions;
use crate::cluster::{Cluster, Killed, free_ports};
use crate::fault::Fault;
use crate::limit::cluster::LimitCluster;
use crate::measure::{Round, Summary};
use crate::output;
use crate::peer;
use crate::processes;
use crate::results::{BASE, RowResult, SKEP, SideResult};
use crate::row::{Family, Row, Work};
use crate::side::{Side, TAKE_OVER_MAX};
use crate::table::amount;
use crate::workload::{Data, as_f64, can_drop_page_cache, list_whole, prepare, restore, round};

/// Nobody asks a node anything for so long before its idle memory is read.
const IDLE: Duration = Duration::from_secs(3);
/// Rounds of rows about the past last no longer in the default run, which has many of them.
const HISTORY_SECONDS_MAX: f64 = 0.8;

/// Says what became of a row at once: a failure above the bar, and everything where there is no bar.
fn tell(bar: &ProgressBar, result: &RowResult) {
    match (&result.fault, bar.is_hidden()) {
        (Some(fault), false) => bar.println(format!("FAILED {}: {fault}", result.id)),
        (Some(fault), true) => output::progress(&format!("FAILED {}: {fault}", result.id)),
        (None, true) => {
            let rate = result.side(SKEP).map(|summary| summary.rate).or(result.value);
            let shown = rate.map_or_else(|| "skipped".to_owned(), |rate| amount(rate, result.unit));
            let share = result.percent_of_limit(SKEP).map_or(String::new(), |percent| format!(", {percent:.0} % of the limit"));
            let of_base = result.percent_of_base().map_or(String::new(), |percent| format!(", {percent:.0} % of the base"));
            output::progress(&format!("{}: {shown}{share}{of_base}", result.id));
        }
        (None, false) => {}
    }
}

/// Everything that runs at once.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    options: &'a RunOptions,
    skep: Cluster,
    before: Option<Cluster>,
    limit: LimitCluster,
    peer: Option<Side>,
    /// In the order of [`Stage::sides`].
    data: Vec<Data>,
    /// Of Skep, once a node was killed.
    killed: Option<(Killed, Duration)>,
    /// The largest node of Skep over all rows with so many nodes.
    peak_resident_bytes: u64,
}

impl<'a> Stage<'a> {
    /// Starts Skep, the limit program, and what else is to be measured.
    pub(super) async fn start(options: &'a RunOptions, nodes: usize) -> Result<Self, Fault> {
        let binary = options.skep.as_deref().ok_or_else(|| Fault::new("say --skep FILE"))?;
        let skep = Cluster::start(binary, SKEP, &options.dir, nodes).await?;
        let before = match &options.before {
            Some(binary) => {
                let name = options.before_name.as_deref().unwrap_or("before");
                Some(Cluster::start(binary, name, &options.dir, nodes).await?)
            }
            None => None,
        };
        let ports = u16::try_from(2 * nodes).map_err(|error| Fault::new(error.to_string()))?;
        let limit = LimitCluster::start(&options.dir, nodes, free_ports(ports)?).await?;
        let peer = peer::side(&options.target)?;
        Ok(Self { options, skep, before, limit, peer, data: Vec::new(), killed: None, peak_resident_bytes: 0 })
    }

    fn sides(&self) -> Vec<Side> {
        let before = self.before.as_ref().map(Cluster::side);
        std::iter::once(self.skep.side()).chain(before).chain([self.limit.side()]).chain(self.peer.clone()).collect()
    }

    /// Runs rows in their order; `peak` is the largest node of Skep so far, in bytes of memory.
    pub(super) async fn run(&mut self, rows: &[Row], bar: &ProgressBar, found: &mut Vec<RowResult>, peak: &mut u64) {
        self.peak_resident_bytes = *peak;
        self.data.resize_with(self.sides().len(), Data::default);
        for (place, row) in rows.iter().enumerate() {
            bar.set_message(row.id());
            let mut result = RowResult::new(row);
            let measured = match self.set_the_stage(&rows[place..]).await {
                Ok(()) => self.measure(row, &mut result, bar).await,
                Err(fault) => Err(fault),
            };
            if let Err(fault) = measured {
                let again = format!("Run it alone with --rows {}", row.id());
                result.fault = Some(fault.advise(again).to_string());
                result.sides.clear();
            }
            result.judge(row.aim);
            tell(bar, &result);
            found.push(result);
            bar.inc(1);
        }
        *peak = self.peak_resident_bytes;
    }

    /// Kills a node when the first of the rows still to come needs that. What they read is written before.
    async fn set_the_stage(&mut self, rows: &[Row]) -> Result<(), Fault> {
        self.skep.sign_in().await?;
        if let Some(before) = &self.before {
            before.sign_in().await?;
        }
        if !rows.first().is_some_and(|row| row.setting.one_dead) || self.killed.is_some() {
            return Ok(());
        }
        for (side, data) in self.sides().iter().zip(&mut self.data) {
            for row in rows.iter().flat_map(|row| std::iter::once(row.clone()).chain(row.base())) {
                if crate::workload::can(side, row.work) {
                    prepare(side, &row, data).await?;
                }
            }
        }
        let killed = self.skep.kill_leader().await?;
        let took = self.skep.side().wait_serving(2, TAKE_OVER_MAX).await?;
        self.killed = Some((killed, took));
        self.limit.kill_last();
        self.limit.side().wait_serving(2, TAKE_OVER_MAX).await?;
        if let Some(before) = &mut self.before {
            before.kill_leader().await?;
            before.side().wait_serving(2, TAKE_OVER_MAX).await?;
        }
        Ok(())
    }

    async fn measure(&mut self, row: &Row, result: &mut RowResult, bar: &ProgressBar) -> Result<(), Fault> {
        match row.work {
            Work::IdleMemory => {
                tokio::time::sleep(IDLE).await;
                result.value = Some(as_f64(self.skep.side().resident_bytes()));
                Ok(())
            }
            Work::LoadedMemory => {
                match self.peak_resident_bytes {
                    0 => result.skipped = Some("no row of this run has loaded the cluster".to_owned()),
                    peak => result.value = Some(as_f64(peak)),
                }
                Ok(())
            }
            Work::TakeOver => {
                result.value = self.killed.as_ref().map(|(_, took)| took.as_secs_f64());
                Ok(())
            }
            Work::MemoryWith { entries } => {
                let side = self.skep.side();
                processes::reset_peaks(&side.pids);
                let data = self.data.first_mut().ok_or_else(|| Fault::new("the stage has no sides"))?;
                prepare(&side, row, data).await?;
                list_whole(&side, entries).await?;
                result.value = Some(as_f64(processes::peak_resident_bytes(&side.pids)));
                Ok(())
            }
            Work::Restart { .. } => self.restart(row, result).await,
            Work::Restore { entries } => {
                result.value = Some(restore(&self.skep.side(), entries).await?.as_secs_f64());
                Ok(())
            }
            Work::Get { cold: true, .. } if !can_drop_page_cache() => {
                result.skipped = Some("the page cache can only be dropped by root".to_owned());
                Ok(())
            }
            _requests => self.rounds(row, result, bar).await,
        }
    }

    async fn restart(&mut self, row: &Row, result: &mut RowResult) -> Result<(), Fault> {
        let killed = match self.killed.take() {
            Some((killed, _took)) => killed,
            None => {
                // An earlier row has started the one that was killed.
                let data = self.data.first_mut().ok_or_else(|| Fault::new("the stage has no sides"))?;
                prepare(&self.skep.side(), row, data).await?;
                let killed = self.skep.kill_leader().await?;
                self.skep.side().wait_serving(4, TAKE_OVER_MAX).await?;
                killed
            }
        };
        let ready = self.skep.restart(killed).await?;
        // Ready is not enough: it must also serve.
        let serving = self.skep.side().wait_serving(3, TAKE_OVER_MAX).await?;
        result.value = Some((ready + serving).as_secs_f64());
        Ok(())
    }

    async fn rounds(&mut self, row: &Row, result: &mut RowResult, bar: &ProgressBar) -> Result<(), Fault> {
        let sides = self.sides();
        let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); sides.len()];
        let (base, mut base_rounds) = (row.base(), Vec::new());
        let seconds = self.seconds(row);
        for number in 0..self.options.rounds {
            for ((side, data), rounds) in sides.iter().zip(&mut self.data).zip(&mut rounds) {
                bar.set_message(format!("{}: {} round {}", row.id(), side.name, number + 1));
                if !crate::workload::can(side, row.work) {
                    continue;
                }
                rounds.push(round(side, row, data, seconds).await.map_err(|fault| fault.at(&side.name))?);
                if let Some(base) = base.as_ref().filter(|_| side.name == SKEP) {
                    let measured = round(side, base, data, seconds).await;
                    base_rounds.push(measured.map_err(|fault| fault.at(format!("the base, {}", base.id())))?);
                }
            }
        }
        for (side, rounds) in sides.iter().zip(&rounds) {
            if let Some(summary) = Summary::of(rounds) {
                if side.name == SKEP {
                    self.peak_resident_bytes = self.peak_resident_bytes.max(summary.peak_resident_bytes);
                }
                result.sides.push(SideResult { name: side.name.clone(), summary });
            }
        }
        if let Some(summary) = Summary::of(&base_rounds) {
            result.sides.push(SideResult { name: BASE.to_owned(), summary });
        }
        Ok(())
    }

    fn seconds(&self, row: &Row) -> f64 {
        let is_default = !self.options.long && self.options.rows.is_none();
        if is_default && row.family == Family::History { self.options.seconds.min(HISTORY_SECONDS_MAX) } else { self.options.seconds }
    }
}
