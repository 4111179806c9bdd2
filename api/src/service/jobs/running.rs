//! A job that this node has claimed: its progress, and the lease that is renewed while the work goes on.
//!
//! The invariant: work goes on only while the lease holds. When it is lost, or cannot be renewed before it ends, the work is dropped where it stands; every
//! step is safe to take twice.

use std::sync::Mutex;
use std::time::Duration;

use skep_placement::ids::{GroupId, NodeId, RecordId};
use skep_raft::errors::ProposeError;
use skep_raft::wire::meta::v1::{Actor, JobCommand, JobRecord, JobState, ReportJob, command, job_command};
use tokio::time::Instant;

use super::position::Position;
use super::submitted::Submitted;
use super::{Service, job_id};
use crate::app::remote_or_unspecified;
use crate::error_code::Failure;
use crate::limits;
use crate::request_context::RequestContext;
use crate::service::{command_of, id_bytes};

/// What the work has reached.
#[derive(Clone, Debug, Default)]
struct Reached {
    position: Position,
    permille: u64,
    message: String,
}

/// A claimed job.
#[derive(Debug)]
pub(crate) struct Running {
    service: Service,
    node: NodeId,
    /// As claimed.
    pub(crate) job: JobRecord,
    submitted: Submitted,
    reached: Mutex<Reached>,
}

/// Why a job's work was dropped without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// Cancelled, or claimed by another node.
    LeaseLost,
    /// The lease could not be renewed in time.
    LeaseEnded,
}

impl Running {
    pub(crate) fn new(service: Service, node: NodeId, job: JobRecord, position: Position) -> Self {
        let reached = Reached { position, permille: job.progress_permille, message: job.message.clone() };
        let submitted = Submitted::in_parameters(&job.parameters_json);
        Self { service, node, job, submitted, reached: Mutex::new(reached) }
    }

    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    pub(crate) fn id(&self) -> RecordId {
        job_id(&self.job)
    }

    pub(crate) fn position(&self) -> Position {
        self.reached.lock().expect("no holder of this lock panics").position.clone()
    }

    /// Notes how far the work is; written with the next report.
    pub(crate) fn reach(&self, position: Position) {
        self.reached.lock().expect("no holder of this lock panics").position = position;
    }

    /// Notes progress for people.
    pub(crate) fn show(&self, permille: u64, message: String) {
        let mut reached = self.reached.lock().expect("no holder of this lock panics");
        reached.permille = permille.min(1_000);
        reached.message = message;
    }

    /// What was noted for people at the end.
    fn said(&self) -> Option<String> {
        let reached = self.reached.lock().expect("no holder of this lock panics");
        (reached.permille == 1_000 && !reached.message.is_empty()).then(|| reached.message.clone())
    }

    /// A context for the commands of one step: they come from where the job came from, and submit the tokens of locks that the request did.
    pub(crate) fn context(&self) -> RequestContext {
        let id = format!("job-{}", self.id());
        RequestContext::new(id.into(), remote_or_unspecified(self.job.from.parse().ok())).stating(self.submitted.tokens_only())
    }

    /// The same for the command that changes what people see: it rests on all that the request said.
    pub(crate) fn deciding(&self) -> RequestContext {
        self.context().stating(self.submitted.whole())
    }

    /// Writes the position now; before a step that must be known to have begun.
    pub(crate) async fn save(&self) -> Result<(), Failure> {
        self.report(self.report_of(JobState::Running, None)).await.map_err(Failure::from)
    }

    /// Renews the lease until it is lost.
    pub(crate) async fn keep_lease(&self) -> Dropped {
        let mut ends = Instant::now() + limits::JOB_LEASE;
        loop {
            tokio::time::sleep(limits::JOB_REPORT).await;
            let asked = Instant::now();
            match self.report(self.report_of(JobState::Running, None)).await {
                Ok(()) => ends = asked + limits::JOB_LEASE,
                Err(ProposeError::Rejected(_)) => return Dropped::LeaseLost,
                // A margin before the end, so that nobody else has claimed it while this node still works.
                Err(_) if Instant::now() + limits::JOB_REPORT >= ends => return Dropped::LeaseEnded,
                Err(_) => {}
            }
        }
    }

    /// Writes how it ended; tried again while the cluster is not available.
    pub(crate) async fn end(&self, result: &Result<(), Failure>) -> Result<(), ProposeError> {
        let report = match result {
            Ok(()) => self.report_of(JobState::Finished, Some(self.said().unwrap_or_else(|| "done".to_owned()))),
            Err(failure) => {
                let report = self.report_of(JobState::Failed, Some(failure.to_string()));
                ReportJob { failure: failure.code.name().to_owned(), ..report }
            }
        };
        let mut tries = 0;
        loop {
            match self.report(report.clone()).await {
                Err(ProposeError::Unavailable { .. } | ProposeError::TooBusy | ProposeError::Unknown { .. })
                    if tries < limits::JOB_TRIES =>
                {
                    tries += 1;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                other => return other,
            }
        }
    }

    /// Gives the job back, for another node to go on with.
    pub(crate) async fn release(&self) {
        if let Err(error) = self.report(self.report_of(JobState::Queued, None)).await {
            tracing::info!(job = %self.id(), %error, "a job could not be given back; its lease runs out by itself");
        }
    }

    fn report_of(&self, state: JobState, message: Option<String>) -> ReportJob {
        let reached = self.reached.lock().expect("no holder of this lock panics").clone();
        ReportJob {
            job: id_bytes(self.id().0),
            node: self.node.0,
            lease_number: self.job.lease_number,
            lease_seconds: limits::JOB_LEASE.as_secs(),
            state: state.into(),
            progress_permille: if state == JobState::Finished { 1_000 } else { reached.permille },
            message: message.unwrap_or(reached.message),
            position_json: reached.position.to_json(),
            failure: String::new(),
        }
    }

    async fn report(&self, report: ReportJob) -> Result<(), ProposeError> {
        let what = command::What::Job(JobCommand { what: Some(job_command::What::Report(report)) });
        let command = command_of(Actor::default(), 0, what, &self.context());
        let deadline = Instant::now() + limits::METADATA_WAIT;
        self.service.metadata().propose(GroupId::SYSTEM, command, deadline).await.map(|_done| ())
    }
}
