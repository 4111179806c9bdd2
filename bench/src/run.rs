//! A run: clusters one after the other, on each its rows, in each row rounds in turn.

mod stage;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::signal::unix::{SignalKind, signal};

use crate::child::end_with;
use crate::cli::RunOptions;
use crate::fault::Fault;
use crate::machine::Machine;
use crate::results::{Results, RowResult, tally};
use crate::row::{Family, Row, all, select};
use crate::{output, report, table, work_folder};
use stage::Stage;

/// Measures and shows what was found.
///
/// # Errors
/// If nothing could be measured; rows that failed are in the results and make the exit code.
pub fn run(options: &RunOptions) -> Result<ExitCode, Fault> {
    let rows = select(all(), options.rows.as_deref(), options.long)?;
    if options.list {
        rows.iter().for_each(|row| output::line(&row.id()));
        return Ok(ExitCode::SUCCESS);
    }
    options.parent.map_or(Ok(()), end_with)?;
    let _own = work_folder::take(&options.dir)?;
    work_folder::check_room(&options.dir, options.rows.is_none())?;
    let machine = Machine::look(&options.dir)?;
    // One thread: what is not the generator's is the servers'. The kernel ends children with the thread that started them: this one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fault::io("start", "a runtime", error))?;
    let found = runtime.block_on(async {
        let mut ending = Vec::new();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            ending.push(signal(kind).map_err(|error| Fault::io("follow", "signals", error))?);
        }
        let ended = futures_util::future::select_all(ending.iter_mut().map(|signal| Box::pin(signal.recv())));
        tokio::select! {
            found = measure(options, &rows) => found,
            _signal = ended => Err(Fault::new("interrupted; every process that was started is ended")),
        }
    })?;
    let date = OffsetDateTime::now_utc().format(format_description!("[year]-[month]-[day] [hour]:[minute] UTC"));
    let results = Results {
        commit: options.commit.clone(),
        date: date.unwrap_or_default(),
        machine,
        seconds: options.seconds,
        rounds: options.rounds,
        rows: found,
    };
    show(&results, options.json)?;
    if let Some(folder) = &options.results {
        report::write(&results, folder)?;
        if !options.json {
            output::line(&format!("written to {}", folder.join("RESULTS.md").display()));
        }
    }
    let (_met, _missed, failed) = tally(&results.rows);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(options: &RunOptions, rows: &[Row]) -> Result<Vec<RowResult>, Fault> {
    let bar = ProgressBar::new(u64::try_from(rows.len()).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("{spinner} {pos}/{len} rows [{bar:30}] {elapsed} {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_bad_template| ProgressStyle::default_bar()).progress_chars("=> "));
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut found = Vec::with_capacity(rows.len());
    let mut peaks = BTreeMap::new();
    for group in rows.chunk_by(|one, other| stage_of(one) == stage_of(other)) {
        let Some(first) = group.first() else { continue };
        let nodes = first.setting.nodes;
        bar.set_message(format!("starting {nodes} nodes"));
        match Stage::start(options, nodes).await {
            Ok(mut stage) => {
                let peak = peaks.entry(nodes).or_default();
                stage.run(group, &bar, &mut found, peak).await;
            }
            Err(fault) => {
                let failed = |row: &Row| RowResult { fault: Some(format!("{nodes} nodes did not start: {fault}")), ..RowResult::new(row) };
                found.extend(group.iter().map(failed));
            }
        }
    }
    bar.finish_and_clear();
    Ok(found)
}

/// Rows run on the same clusters as those before them where this is the same. Large files have some of their own: what was written takes room until its cluster ends.
fn stage_of(row: &Row) -> (usize, bool) {
    (row.setting.nodes, row.family == Family::Large)
}

fn show(results: &Results, as_json: bool) -> Result<(), Fault> {
    if as_json {
        output::line(&serde_json::to_string_pretty(results).map_err(|error| Fault::new(error.to_string()))?);
        return Ok(());
    }
    output::line(&format!("commit {}, {} rounds of {} s\n{}", results.commit, results.rounds, results.seconds, results.machine.line()));
    for family in Family::ALL {
        let rows: Vec<&RowResult> = results.rows.iter().filter(|row| row.family == family).collect();
        if rows.is_empty() {
            continue;
        }
        output::line(&format!("\n== {} ==", family.title()));
        output::line(table::terminal(&rows).trim_end());
        for (id, why) in report::remarks(&rows) {
            output::line(&format!("{id}: {why}"));
        }
    }
    let (met, missed, failed) = tally(&results.rows);
    output::line(&format!("\naims: {met} met, {missed} missed; rows failed: {failed}"));
    Ok(())
}
