//! Jobs that copy or move to another datasource, one after the other; what arrived is read back and compared.

use std::time::{Duration, Instant};

use serde_json::json;

use super::data::{Data, Known, all};
use super::history_data::across_name;
use super::meter::Meter;
use super::{as_f64, job};
use crate::fault::Fault;
use crate::measure::Round;
use crate::protocol::Operation;
use crate::protocol::skep::rest_path;
use crate::row::{Across, Unit, Work};
use crate::side::Side;

/// A workspace of another datasource, in every cluster.
const ELSEWHERE: &str = "@personal-files";

/// One round: at least one job.
pub(super) async fn round(side: &Side, work: Work, data: &Data, (folder, seconds): (String, f64)) -> Result<Round, Fault> {
    let (what, moves) = match work {
        Work::MoveAcross(what) => (what, true),
        Work::CopyAcross(what) => (what, false),
        other => return Err(Fault::new(format!("{other} does not go to another datasource"))),
    };
    let files = data.history.across(what);
    let home = across_name(what);
    let amount = if work.unit() == Unit::Bytes { as_f64(what.files * what.size) } else { as_f64(what.files) };
    let away = |number: usize| format!("{ELSEWHERE}/{folder}-{number}");
    let (mut now_at, mut made) = (home.clone(), Vec::new());
    let meter = Meter::start(side).await;
    let until = meter.end_after(seconds);
    let mut done = Round::default();
    while made.is_empty() || Instant::now() < until {
        let target = if moves && now_at != home { home.clone() } else { away(made.len()) };
        let took = transfer(side, moves, (&now_at, &target)).await?;
        done.latencies.record(took);
        done.units += amount;
        done.logical_written_bytes += as_f64(what.files * what.size);
        made.push(target.clone());
        if moves {
            now_at = target;
        }
    }
    let used = meter.stop(side).await;
    // Of moves only the last place has something.
    let kept = if moves { vec![now_at.clone()] } else { made };
    for place in kept {
        compare(side, (&home, &place), &files, what).await.map_err(|fault| fault.at("after the transfer"))?;
    }
    if now_at != home {
        transfer(side, true, (&now_at, &home)).await?;
    }
    Ok(Round { latencies: done.latencies, units: done.units, logical_written_bytes: done.logical_written_bytes, ..used })
}

async fn transfer(side: &Side, moves: bool, (from, to): (&str, &str)) -> Result<Duration, Fault> {
    let parameters = json!({"nodes": [rest_path(from)], "target": rest_path(to), "targetParent": false});
    job::run(side, if moves { "move" } else { "copy" }, &parameters).await
}

/// Reads every file at its new place.
async fn compare(side: &Side, (home, place): (&str, &str), files: &[Known], what: Across) -> Result<(), Fault> {
    let moved = |name: &str| format!("{place}{}", name.strip_prefix(home).unwrap_or(name));
    if files.len() != usize::try_from(what.files).unwrap_or(usize::MAX) {
        return Err(Fault::new(format!("{} files of {} were prepared", files.len(), what.files)));
    }
    all(side, files.iter().map(|(name, content)| Operation::Get(moved(name), *content, None)).collect()).await
}
