//! Reports shards that readers and devices found damaged to their datasource's group, which queues their repair.
//!
//! A report that is lost is made again by the next reader. Reports of one instance are made once a minute at most.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use skep_placement::ids::{GroupId, InstanceId};
use skep_raft::handle::Metadata;
use skep_raft::wire::meta::v1 as meta;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::chunk_io::{Damage, write_record};

/// Between two reports of the same instance.
const REPORT_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Instances remembered.
const REMEMBERED_MAX: usize = 4_096;
/// Deadline of a report.
const DEADLINE: Duration = Duration::from_secs(4);

/// Reports what arrives until it is told to stop.
pub async fn report(metadata: Metadata, mut damages: mpsc::Receiver<Damage>, stop: CancellationToken) {
    let mut reported: BTreeMap<(InstanceId, u32), Instant> = BTreeMap::new();
    loop {
        let damage = tokio::select! {
            () = stop.cancelled() => return,
            damage = damages.recv() => match damage {
                Some(damage) => damage,
                None => return,
            },
        };
        let now = Instant::now();
        reported.retain(|_, at| now.duration_since(*at) < REPORT_AGAIN_AFTER);
        if reported.len() >= REMEMBERED_MAX || reported.contains_key(&(damage.instance, damage.missing)) {
            continue;
        }
        reported.insert((damage.instance, damage.missing), now);
        let report = meta::ReportDamage {
            chunk: damage.instance.chunk.0.to_vec().into(),
            write: Some(write_record(damage.instance.write)),
            missing: damage.missing,
        };
        let content = meta::ContentCommand { what: Some(meta::content_command::What::ReportDamage(report)) };
        let command = meta::Command { what: Some(meta::command::What::Content(content)), ..meta::Command::default() };
        let deadline = tokio::time::Instant::now() + DEADLINE;
        if let Err(error) = metadata.propose(GroupId::from(damage.datasource), command, deadline).await {
            tracing::warn!(instance = %damage.instance, %error, "damage was not reported; the next reader reports it");
        }
    }
}
