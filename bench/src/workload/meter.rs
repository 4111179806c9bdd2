//! What servers and generator use while a round is measured.

use std::time::{Duration, Instant};

use super::as_f64;
use crate::measure::Round;
use crate::processes::{self, Counters};
use crate::side::{Side, Syncs};

/// A measurement that has begun.
#[derive(Debug)]
pub(super) struct Meter {
    syncs: Option<Syncs>,
    servers: Counters,
    own: Counters,
    begun: Instant,
}

impl Meter {
    /// Begins.
    pub(super) async fn start(side: &Side) -> Self {
        processes::reset_peaks(&side.pids);
        let syncs = side.syncs().await;
        let (servers, own) = (processes::counters(&side.pids), processes::counters(&[std::process::id()]));
        Self { syncs, servers, own, begun: Instant::now() }
    }

    /// When a round of so many seconds that began with this is over.
    pub(super) fn end_after(&self, seconds: f64) -> Instant {
        self.begun + Duration::from_secs_f64(seconds)
    }

    /// Ends; what was done is still to be filled in.
    pub(super) async fn stop(self, side: &Side) -> Round {
        let seconds = self.begun.elapsed().as_secs_f64();
        let servers = processes::counters(&side.pids) - self.servers;
        let own = processes::counters(&[std::process::id()]) - self.own;
        let syncs = side.syncs().await.zip(self.syncs);
        let during = |of: fn(Syncs) -> f64| syncs.map(|(after, before)| (of(after) - of(before)).max(0.0));
        Round {
            seconds,
            server_cpu_seconds: servers.cpu_seconds,
            generator_cpu_seconds: own.cpu_seconds,
            peak_resident_bytes: processes::peak_resident_bytes(&side.pids),
            syncs: during(|syncs| syncs.all),
            log_syncs: during(|syncs| syncs.each_log),
            device_bytes: as_f64(servers.written_bytes),
            ..Round::default()
        }
    }
}
