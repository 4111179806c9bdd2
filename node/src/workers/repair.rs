//! Works off the repair queues of the datasources whose groups this node leads, the most endangered chunks first.
//!
//! Invariant: the queue is the group's; this worker keeps nothing that matters, so that any other node goes on where it ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use skep_placement::ids::{DatasourceId, GroupId};
use skep_raft::handle::Metadata;
use skep_raft::wire::meta::v1 as meta;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::chunk_io::{Chunks, Repaired};
use crate::cluster_map::ClusterMaps;
use crate::workers::repair_order::most_endangered_first;

/// Between two looks at the queues.
const INTERVAL: Duration = Duration::from_secs(1);
/// Chunks asked for at once.
const PAGE: u32 = 1_000;
/// Chunks of a queue that are looked at together, to begin with the most endangered; more come after them.
const LOOKED_AT_MAX: usize = 4_000;
/// Chunks repaired at once.
const AT_ONCE: usize = 4;
/// Deadline of a query.
const DEADLINE: Duration = Duration::from_secs(4);

/// What the worker says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Chunks repaired since the process started.
    pub repaired: u64,
    /// Chunks that waited at the last look, and why one of them does.
    pub waiting: u64,
    /// A reason for waiting.
    pub reason: String,
    /// The last error.
    pub last_error: String,
}

/// The worker.
#[derive(Clone, Debug)]
pub struct RepairWorker {
    metadata: Metadata,
    maps: ClusterMaps,
    chunks: Chunks,
    report: Arc<Mutex<RepairReport>>,
}

impl RepairWorker {
    /// A worker that has not begun.
    pub fn new(metadata: Metadata, maps: ClusterMaps, chunks: Chunks) -> Self {
        Self { metadata, maps, chunks, report: Arc::default() }
    }

    /// What it says of itself.
    pub fn report(&self) -> RepairReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Works until it is told to stop; a chunk under repair is finished first.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _tick = ticks.tick() => {}
            }
            let datasources: Vec<DatasourceId> = self.maps.current().datasources.keys().copied().collect();
            let mut looked = RepairReport::default();
            for datasource in datasources {
                if stop.is_cancelled() {
                    return;
                }
                if self.metadata.is_leader(GroupId::from(datasource)).await {
                    self.work_off(datasource, &stop, &mut looked).await;
                }
            }
            let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
            report.repaired += looked.repaired;
            report.waiting = looked.waiting;
            report.reason = looked.reason;
            if !looked.last_error.is_empty() {
                report.last_error = looked.last_error;
            }
        }
    }

    async fn work_off(&self, datasource: DatasourceId, stop: &CancellationToken, report: &mut RepairReport) {
        let mut after = bytes::Bytes::new();
        loop {
            let mut looked_at = match self.look_at(datasource, after).await {
                Ok(looked_at) => looked_at,
                Err(error) => {
                    report.last_error = error;
                    return;
                }
            };
            let Some(last) = looked_at.chunks.last().map(|placed| placed.chunk.clone()) else { return };
            most_endangered_first(&mut looked_at.chunks);
            self.repair_all(datasource, looked_at.chunks, stop, report).await;
            if !looked_at.more || stop.is_cancelled() {
                return;
            }
            after = last;
        }
    }

    async fn repair_all(
        &self,
        datasource: DatasourceId,
        chunks: Vec<meta::PlacedChunk>,
        stop: &CancellationToken,
        report: &mut RepairReport,
    ) {
        let repairs = chunks.into_iter().map(|placed| {
            let chunks = self.chunks.clone();
            async move { chunks.repair(datasource, &placed).await }
        });
        // Those that are under way are finished; no other is begun once the node is to stop.
        let begun = futures_util::stream::iter(repairs).take_while(|_next| std::future::ready(!stop.is_cancelled()));
        let mut results = begun.buffer_unordered(AT_ONCE);
        let mut errors: BTreeMap<String, u64> = BTreeMap::new();
        while let Some(result) = results.next().await {
            match result {
                Ok(Repaired::Done) => report.repaired += 1,
                Ok(Repaired::Waits(reason)) => {
                    report.waiting += 1;
                    report.reason = reason;
                }
                Err(error) => {
                    report.waiting += 1;
                    *errors.entry(error.to_string()).or_default() += 1;
                }
            }
        }
        for (error, times) in errors {
            tracing::info!(%datasource, times, %error, "repairs did not come to an end");
            report.last_error = error;
        }
    }

    /// The next part of a queue, in the order of chunk ids.
    async fn look_at(&self, datasource: DatasourceId, after: bytes::Bytes) -> Result<meta::RepairPage, String> {
        let mut looked_at = self.page(datasource, after).await?;
        while let Some(last) = looked_at.chunks.last().filter(|_| looked_at.more && looked_at.chunks.len() < LOOKED_AT_MAX) {
            let next = self.page(datasource, last.chunk.clone()).await?;
            looked_at.chunks.extend(next.chunks);
            looked_at.more = next.more;
        }
        Ok(looked_at)
    }

    async fn page(&self, datasource: DatasourceId, after: bytes::Bytes) -> Result<meta::RepairPage, String> {
        let query = meta::Query { what: Some(meta::query::What::Repair(meta::RepairQuery { after, limit: PAGE })) };
        let answer = self.metadata.query(GroupId::from(datasource), query, Instant::now() + DEADLINE).await;
        match answer.map_err(|error| error.to_string())?.what {
            Some(meta::answer::What::Repair(page)) => Ok(page),
            _other => Err("the group answered another question".into()),
        }
    }
}
