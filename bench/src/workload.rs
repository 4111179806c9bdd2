//! Clients that carry out a row's work against one side for a while.

mod across;
mod data;
mod feed;
mod history_data;
mod job;
mod meter;
mod own_files;
mod restore;
mod steps;

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::try_join_all;

pub use data::{Data, list_whole, prepare};
use meter::Meter;
pub(crate) use restore::restore;
use steps::Steps;

use crate::fault::Fault;
use crate::measure::{Latencies, Round};
use crate::row::{Row, Work};
use crate::side::Side;

/// What one client did.
#[derive(Debug, Default)]
struct Done {
    latencies: Latencies,
    units: f64,
    logical_written_bytes: f64,
}

/// Measures one round of a row on one side.
///
/// # Errors
/// The first request that failed; nothing is measured then.
pub async fn round(side: &Side, row: &Row, data: &mut Data, seconds: f64) -> Result<Round, Fault> {
    prepare(side, row, data).await?;
    let folder = data.next_round();
    match row.work {
        Work::CopyAcross(_) | Work::MoveAcross(_) => across::round(side, row.work, data, (folder, seconds)).await,
        Work::Feed(_) | Work::SeenElsewhere(_) => feed::round(side, (row.work, row.clients), (folder, seconds)).await,
        _requests => requests(side, Steps::new(row.work, row.clients, folder, data), seconds).await,
    }
}

/// A round of requests that each client sends one after the other.
async fn requests(side: &Side, mut steps: Steps, seconds: f64) -> Result<Round, Fault> {
    steps.set_up(side).await?;
    let steps = Arc::new(steps);
    let mut connections: Vec<_> = (0..steps.clients()).map(|client| side.connection(client)).collect();
    try_join_all(connections.iter_mut().map(|connection| connection.open_now())).await?;
    if steps.are_cold() {
        drop_page_cache()?;
    }
    let meter = Meter::start(side).await;
    let until = meter.end_after(seconds);
    let running = connections.into_iter().enumerate().map(|(client, mut connection)| {
        let (side, steps) = (side.clone(), Arc::clone(&steps));
        let task = tokio::spawn(async move {
            let mut done = Done::default();
            let mut state = steps.client(client);
            while Instant::now() < until
                && let Some(step) = steps.next(&mut state)
            {
                let sent = Instant::now();
                let mut bytes = 0;
                for operation in &step.operations {
                    bytes += side.speaker.perform_holding(&mut connection, operation, &mut state.held).await?;
                }
                done.latencies.record(sent.elapsed());
                done.units += step.units(bytes);
                done.logical_written_bytes += step.written(bytes);
            }
            Ok::<_, Fault>((done, state))
        });
        async move { task.await.map_err(|error| Fault::new(error.to_string()))? }
    });
    let all = try_join_all(running).await?;
    let mut round = meter.stop(side).await;
    let mut states = Vec::with_capacity(all.len());
    for (done, state) in all {
        round.latencies.merge(&done.latencies);
        round.units += done.units;
        round.logical_written_bytes += done.logical_written_bytes;
        states.push(state);
    }
    steps.tear_down(side, round.latencies.count(), &states).await?;
    if round.latencies.count() == 0 {
        return Err(Fault::new("not one request was made: there was nothing left to ask for").advise("Use a longer --seconds"));
    }
    Ok(round)
}

/// Whether the page cache can be dropped here.
pub fn can_drop_page_cache() -> bool {
    std::fs::File::options().write(true).open("/proc/sys/vm/drop_caches").is_ok()
}

fn drop_page_cache() -> Result<(), Fault> {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "1").map_err(|error| Fault::io("drop", "the page cache", error).advise("It needs root"))
}

/// Exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub(crate) fn as_f64(number: u64) -> f64 {
    number as f64
}

/// Whether a side's protocol has the requests of some work.
pub fn can(side: &Side, work: Work) -> bool {
    steps::can(side, work)
}
