//! Finds jobs that nobody works on, claims them, and works them off. One runs on every node.

use std::collections::BTreeSet;
use std::time::Duration;

use skep_placement::ids::{GroupId, NodeId, RecordId};
use skep_raft::system_view::JobFilter;
use skep_raft::wire::meta::v1::{
    Actor, ClaimJob, ExpireTokens, IdentityCommand, JobCommand, JobRecord, JobState, PruneJobs, command, identity_command, job_command,
};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::position::Position;
use super::record::JobKind;
use super::running::{Dropped, Running};
use super::{Service, job_id, restore_job, transfer_job};
use crate::error_code::{ErrorCode, Failure};
use crate::request_context::RequestContext;
use crate::service::command_of;
use crate::{limits, metrics};

/// The least time between two looks at the jobs, however often the system group changes.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Works off jobs on one node.
#[derive(Debug)]
pub struct Worker {
    service: Service,
    node: NodeId,
}

impl Worker {
    /// A worker of a node.
    ///
    /// Public: makes no decision and reads nothing; each step of a job is authorised as its user.
    #[must_use]
    pub fn new(service: Service, node: NodeId) -> Self {
        Self { service, node }
    }

    /// Works until it is told to stop; jobs begun are given up where they stand, for another node.
    ///
    /// Public: the node's own worker; each step of a job is authorised as the user who asked for it.
    pub async fn run(self, stop: CancellationToken) {
        let mut changed = self.service.metadata().watch_system();
        let mut running: JoinSet<RecordId> = JoinSet::new();
        let mut mine = BTreeSet::new();
        let mut next_sweep = Instant::now() + limits::HOUSEKEEPING;
        while !stop.is_cancelled() {
            changed.borrow_and_update();
            self.start_jobs(&mut running, &mut mine, &stop).await;
            if Instant::now() >= next_sweep {
                next_sweep = Instant::now() + limits::HOUSEKEEPING;
                self.sweep().await;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(limits::JOB_SEARCH) => {}
                Ok(()) = changed.changed() => {}
                Some(ended) = running.join_next(), if !running.is_empty() => {
                    match ended {
                        Ok(id) => { mine.remove(&id); }
                        // Its lease runs out and it is claimed again, also by this node.
                        Err(error) => { tracing::error!(%error, "the work on a job panicked"); mine.clear(); }
                    }
                }
            }
        }
        while running.join_next().await.is_some() {}
    }

    async fn start_jobs(&self, running: &mut JoinSet<RecordId>, mine: &mut BTreeSet<RecordId>, stop: &CancellationToken) {
        let filter = JobFilter { user: None, states: vec![JobState::Queued, JobState::Running], limit: limits::JOBS_LISTED };
        let jobs = match self.service.metadata().system_stale().jobs(&filter) {
            Ok(jobs) => jobs,
            Err(error) => {
                tracing::error!(%error, "the jobs cannot be read");
                return;
            }
        };
        let now = self.service.now_micros();
        for job in jobs.into_iter().filter(|job| is_free(job, now)) {
            if running.len() >= limits::JOBS_AT_ONCE {
                return;
            }
            let id = job_id(&job);
            if mine.contains(&id) {
                continue;
            }
            let Some(claimed) = self.claim(&job).await else { continue };
            mine.insert(id);
            let (service, node, stop) = (self.service.clone(), self.node, stop.clone());
            running.spawn(async move {
                work(service, node, claimed, stop).await;
                id
            });
        }
    }

    async fn claim(&self, job: &JobRecord) -> Option<JobRecord> {
        let claim = ClaimJob { job: job.id.clone(), node: self.node.0, lease_seconds: limits::JOB_LEASE.as_secs() };
        let what = command::What::Job(JobCommand { what: Some(job_command::What::Claim(claim)) });
        let command = command_of(Actor::default(), 0, what, &cluster_context("job-claim"));
        let deadline = Instant::now() + limits::METADATA_WAIT;
        match self.service.metadata().propose(GroupId::SYSTEM, command, deadline).await {
            Ok(proposed) => proposed.done.job,
            Err(error) => {
                // Another node was faster, or the cluster is not available: both are looked at again soon.
                tracing::debug!(job = %job_id(job), %error, "a job was not claimed");
                None
            }
        }
    }

    /// Drops jobs that ended long ago and tokens that have expired, on the leader of the system group only.
    async fn sweep(&self) {
        if !self.service.metadata().is_leader(GroupId::SYSTEM).await {
            return;
        }
        let prune = PruneJobs { retention_seconds: limits::JOB_RETENTION.as_secs(), limit: limits::HOUSEKEEPING_STEP };
        let expire = ExpireTokens { limit: limits::HOUSEKEEPING_STEP };
        let sweeps = [
            command::What::Job(JobCommand { what: Some(job_command::What::Prune(prune)) }),
            command::What::Identity(IdentityCommand { what: Some(identity_command::What::ExpireTokens(expire)) }),
        ];
        for what in sweeps {
            let command = command_of(Actor::default(), 0, what, &cluster_context("sweep"));
            let deadline = Instant::now() + limits::METADATA_WAIT;
            if let Err(error) = self.service.metadata().propose(GroupId::SYSTEM, command, deadline).await {
                tracing::info!(%error, "old jobs and tokens were not swept; tried again later");
            }
        }
    }
}

fn is_free(job: &JobRecord, now_micros: u64) -> bool {
    match job.state() {
        JobState::Queued => true,
        JobState::Running => job.lease_until < now_micros,
        _ => false,
    }
}

fn cluster_context(what: &str) -> RequestContext {
    RequestContext::new(what.into(), std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))
}

/// Works on a claimed job until it ends, its lease is lost or the node stops.
async fn work(service: Service, node: NodeId, job: JobRecord, stop: CancellationToken) {
    let _counted = metrics::RunningJob::new();
    let position = Position::parse(&job.position_json);
    let running = Running::new(service, node, job, position.as_ref().cloned().unwrap_or_default());
    let result = tokio::select! {
        result = steps(&running, position.is_ok()) => result,
        dropped = running.keep_lease() => {
            let why = if dropped == Dropped::LeaseLost { "cancelled or claimed by another node" } else { "its lease could not be renewed" };
            tracing::info!(job = %running.id(), why, "the work on a job stops here");
            return;
        }
        () = stop.cancelled() => return running.release().await,
    };
    metrics::job_ended(if result.is_ok() { "finished" } else { "failed" });
    if let Err(failure) = &result {
        tracing::warn!(job = %running.id(), %failure, "a job failed");
    }
    if let Err(error) = running.end(&result).await {
        tracing::warn!(job = %running.id(), %error, "the end of a job could not be written; another node goes on with it");
    }
}

async fn steps(running: &Running, position_is_good: bool) -> Result<(), Failure> {
    if !position_is_good {
        return Err(Failure::new(ErrorCode::Internal, "the job's position cannot be read; it was written by a later version"));
    }
    match JobKind::of(&running.job) {
        Some(JobKind::Copy) => transfer_job::run(running, JobKind::Copy).await,
        Some(JobKind::Move) => transfer_job::run(running, JobKind::Move).await,
        // These took effect before the job was made; nothing may be done again.
        Some(JobKind::Delete | JobKind::Recycled) => Ok(()),
        Some(JobKind::Restore) => restore_job::run(running).await,
        None => Err(Failure::new(ErrorCode::Unsupported, format!("this version does not know jobs named {}", running.job.name))),
    }
}

#[cfg(test)]
mod tests {
    use skep_raft::wire::meta::v1::{JobRecord, JobState};

    use super::is_free;

    #[test]
    fn a_job_is_free_when_queued_or_when_its_lease_ran_out() {
        let job = |state: JobState, lease_until| JobRecord { state: state.into(), lease_until, ..JobRecord::default() };
        assert!(is_free(&job(JobState::Queued, 0), 100));
        assert!(is_free(&job(JobState::Running, 99), 100));
        assert!(!is_free(&job(JobState::Running, 101), 100));
        for ended in [JobState::Finished, JobState::Failed, JobState::Cancelled] {
            assert!(!is_free(&job(ended, 0), 100));
        }
    }
}
