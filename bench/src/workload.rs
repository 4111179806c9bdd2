//! Clients that carry out a row's work against one side for a while.

mod data;
mod steps;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

pub use data::{Data, prepare};
pub(crate) use data::{instant_now, make_folders, write_files};
use steps::Steps;

use crate::fault::Fault;
use crate::measure::{Latencies, Round};
use crate::processes;
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
    let round_name = data.next_round();
    let steps = Arc::new(Steps::new(row.work, row.clients, round_name, data));
    let clients = steps.clients();
    steps.set_up(side).await?;
    let mut connections: Vec<_> = (0..clients).map(|client| side.connection(client)).collect();
    try_join_all(connections.iter_mut().map(|connection| connection.open_now())).await?;
    if matches!(row.work, Work::Get { cold: true, .. }) {
        drop_page_cache()?;
    }
    processes::reset_peaks(&side.pids);
    let own = [std::process::id()];
    let syncs_before = side.syncs().await;
    let (servers_before, own_before) = (processes::counters(&side.pids), processes::counters(&own));
    let begun = Instant::now();
    let until = begun + Duration::from_secs_f64(seconds);
    let running = connections.into_iter().enumerate().map(|(client, mut connection)| {
        let (side, steps) = (side.clone(), Arc::clone(&steps));
        let task = tokio::spawn(async move {
            let mut done = Done::default();
            let mut state = steps.client(client);
            while Instant::now() < until
                && let Some(step) = steps.next(&mut state)
            {
                let sent = Instant::now();
                let bytes = side.speaker.perform(&mut connection, &step.operation).await?;
                done.latencies.record(sent.elapsed());
                done.units += step.units(bytes);
                done.logical_written_bytes += step.written(bytes);
            }
            Ok::<_, Fault>(done)
        });
        async move { task.await.map_err(|error| Fault::new(error.to_string()))? }
    });
    let all = try_join_all(running).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let (servers, generator) = (processes::counters(&side.pids) - servers_before, processes::counters(&own) - own_before);
    let syncs_after = side.syncs().await;
    let mut round = Round {
        seconds,
        server_cpu_seconds: servers.cpu_seconds,
        generator_cpu_seconds: generator.cpu_seconds,
        peak_resident_bytes: processes::peak_resident_bytes(&side.pids),
        syncs: syncs_after.zip(syncs_before).map(|(after, before)| (after - before).max(0.0)),
        device_bytes: as_f64(servers.written_bytes),
        ..Round::default()
    };
    for done in all {
        round.latencies.merge(&done.latencies);
        round.units += done.units;
        round.logical_written_bytes += done.logical_written_bytes;
    }
    steps.tear_down(side, round.latencies.count()).await?;
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
