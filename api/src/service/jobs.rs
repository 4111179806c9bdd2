//! Jobs: work that outlives a request. A job is a record in the system group with owner, lease, state, progress and position, so that any node goes on with it.

use bytes::Bytes;
use skep_placement::ids::{GroupId, RecordId};
use skep_raft::system_view::{JobFilter, SystemView};
use skep_raft::wire::meta::v1::{CancelJob, CreateJob, JobCommand, JobRecord, JobState, command, job_command};
use tokio::time::Instant;

use super::{Service, id_bytes};
use crate::auth::rights::{Account, Action, Administer, Authorized, ChangeJob, Cluster, Job, ReadAccount, ReadContent, ReadJob, WriteTree};
use crate::error_code::{ErrorCode, Failure, Heard};
use crate::limits;
use crate::request_context::RequestContext;
use crate::service::identity::record_id;
use crate::service::place::Place;
use crate::service::transfer::TransferRequest;

mod across;
mod carried_notes;
mod ends;
mod position;
pub mod record;
mod restore_job;
mod running;
mod submitted;
mod transfer_job;
pub mod worker;

use submitted::Submitted;

pub use record::{JobKind, RestoreParameters, TransferParameters, job_name, parse_job_name};

/// What is copied or moved, each with its proof.
#[derive(Debug)]
pub enum TransferSources {
    /// Their contents are read.
    Copy(Vec<Authorized<ReadContent, Place>>),
    /// They leave their place.
    Move(Vec<Authorized<WriteTree, Place>>),
}

impl TransferSources {
    fn kind(&self) -> JobKind {
        match self {
            Self::Copy(_) => JobKind::Copy,
            Self::Move(_) => JobKind::Move,
        }
    }

    fn places(&self) -> Vec<&Place> {
        match self {
            Self::Copy(proofs) => proofs.iter().map(Authorized::subject).collect(),
            Self::Move(proofs) => proofs.iter().map(Authorized::subject).collect(),
        }
    }

    fn paths(&self) -> Vec<String> {
        self.places().iter().map(|place| place.path().to_string()).collect()
    }
}

impl Service {
    /// Queues a copy or a move. The rights are decided again when it runs, for each item, as those of the user who asked.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] for no sources or too many; [`ErrorCode::Unavailable`], [`ErrorCode::Unknown`].
    pub async fn queue_transfer(
        &self,
        target: Authorized<WriteTree, Place>,
        sources: TransferSources,
        target_is_parent: bool,
        context: &RequestContext,
    ) -> Result<JobRecord, Failure> {
        let parameters = TransferParameters { target_parent: target_is_parent, ..TransferParameters::default() };
        self.queue(target, sources, parameters, context).await
    }

    /// Queues a copy or a move of one item to a name of its own, under conditions. What stands there gives way, if the request says so, when the job puts the
    /// item there, by the same command.
    ///
    /// # Errors
    /// As [`Service::queue_transfer`].
    pub async fn queue_one(
        &self,
        target: Authorized<WriteTree, Place>,
        source: TransferSources,
        request: TransferRequest,
        context: &RequestContext,
    ) -> Result<JobRecord, Failure> {
        let parameters = TransferParameters {
            overwrite: request.overwrite,
            condition: request.condition.map(Into::into),
            target_condition: request.target_condition.map(Into::into),
            ..TransferParameters::default()
        };
        self.queue(target, source, parameters, context).await
    }

    async fn queue(
        &self,
        target: Authorized<WriteTree, Place>,
        sources: TransferSources,
        parameters: TransferParameters,
        context: &RequestContext,
    ) -> Result<JobRecord, Failure> {
        let nodes = sources.paths();
        if nodes.is_empty() || nodes.len() > limits::PATHS_PER_REQUEST {
            return Err(Failure::new(ErrorCode::BadRequest, format!("nodes: name 1 to {} paths", limits::PATHS_PER_REQUEST)));
        }
        if nodes.len() > 1 && !parameters.target_parent {
            return Err(Failure::new(ErrorCode::BadRequest, "targetParent: several nodes need a folder to go into"));
        }
        let across = sources.places().iter().any(|place| place.datasource() != target.subject().datasource());
        if across && context.stated.fence != 0 {
            let why =
                "X-Skep-Fence: a fencing number is of one datasource, and this goes from one to another; send X-Skep-Lock-Token alone";
            return Err(Failure::new(ErrorCode::BadRequest, why));
        }
        let kind = sources.kind();
        let verb = if kind == JobKind::Copy { "Copying" } else { "Moving" };
        let label = if nodes.len() == 1 { format!("{verb} 1 item") } else { format!("{verb} {} items", nodes.len()) };
        let submitted = Submitted::of(&context.stated);
        let parameters = TransferParameters { nodes, target: target.subject().path().to_string(), submitted, ..parameters };
        self.create_job(&target, (kind, label, parameters.to_json()), context).await
    }

    /// Notes a deletion, or a restoration from the recycle bin, that has taken effect already, so that clients which wait for its job find one.
    ///
    /// # Errors
    /// [`ErrorCode::Unavailable`], [`ErrorCode::Unknown`].
    pub async fn note_done(
        &self,
        proof: Authorized<WriteTree, Place>,
        (kind, paths): (JobKind, Vec<String>),
        context: &RequestContext,
    ) -> Result<JobRecord, Failure> {
        let verb = if kind == JobKind::Recycled { "Restoring" } else { "Deleting" };
        let label = if paths.len() == 1 { format!("{verb} 1 item") } else { format!("{verb} {} items", paths.len()) };
        let parameters = TransferParameters { nodes: paths, ..TransferParameters::default() };
        self.create_job(&proof, (kind, label, parameters.to_json()), context).await
    }

    /// Queues bringing a file or folder back to an instant, a stamp. The rights are decided again when it runs.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] for an instant to come; [`ErrorCode::Unavailable`], [`ErrorCode::Unknown`].
    pub async fn queue_restore(
        &self,
        proof: Authorized<WriteTree, Place>,
        at: u64,
        context: &RequestContext,
    ) -> Result<JobRecord, Failure> {
        super::instant::check_past(at, self.now_micros())?;
        let path = proof.subject().path().to_string();
        let label = format!("Restoring {path} to {}", super::instant::show(at));
        let parameters = RestoreParameters { node: path, at, submitted: Submitted::of(&context.stated) };
        self.create_job(&proof, (JobKind::Restore, label, parameters.to_json()), context).await
    }

    /// Lists the jobs of an account, newest first.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for a damaged record.
    pub fn jobs_of(&self, proof: Authorized<ReadAccount, Account>, view: &SystemView, limit: usize) -> Result<Vec<JobRecord>, Failure> {
        newest_first(view, JobFilter { user: Some(proof.subject().0), states: Vec::new(), limit: limit.min(limits::JOBS_LISTED) })
    }

    /// Lists everybody's jobs, newest first, for administrators.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for a damaged record.
    pub fn all_jobs(&self, _proof: Authorized<Administer, Cluster>, view: &SystemView, limit: usize) -> Result<Vec<JobRecord>, Failure> {
        newest_first(view, JobFilter { user: None, states: Vec::new(), limit: limit.min(limits::JOBS_LISTED) })
    }

    /// Looks at one job.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] if it is not kept any more.
    pub fn job(&self, proof: Authorized<ReadJob, Job>, view: &SystemView) -> Result<JobRecord, Failure> {
        let id = proof.subject().0;
        view.job(id)?.ok_or_else(|| Failure::not_found(&id.to_string()))
    }

    /// Stops a job; what it has done stays done.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::Conflict`] if it has ended; [`ErrorCode::Unknown`].
    pub async fn cancel_job(&self, proof: Authorized<ChangeJob, Job>, context: &RequestContext) -> Result<(), Failure> {
        let cancel = job_command::What::Cancel(CancelJob { job: id_bytes(proof.subject().0.0) });
        let what = command::What::Job(JobCommand { what: Some(cancel) });
        self.propose(&proof, GroupId::SYSTEM, what, context).await.map(|_done| ())
    }

    /// Waits until a job has ended or the time is over, and returns it as it is then.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] if it is not kept any more.
    pub async fn wait_for_job(&self, proof: Authorized<ReadJob, Job>, until: Instant) -> Result<JobRecord, Failure> {
        let id = proof.subject().0;
        let mut changed = self.metadata().watch_system();
        loop {
            changed.borrow_and_update();
            let job = self.metadata().system_stale().job(id)?.ok_or_else(|| Failure::not_found(&id.to_string()))?;
            if has_ended(&job) {
                return Ok(job);
            }
            match tokio::time::timeout_at(until, changed.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Ok(job),
            }
        }
    }

    async fn create_job<A: Action>(
        &self,
        proof: &Authorized<A, Place>,
        (kind, label, parameters_json): (JobKind, String, String),
        context: &RequestContext,
    ) -> Result<JobRecord, Failure> {
        let identity = proof.who().identity();
        let job = JobRecord {
            id: id_bytes(self.draw_id()),
            name: kind.name().to_owned(),
            label,
            user: Bytes::copy_from_slice(&identity.user.0),
            login: identity.login.clone(),
            parameters_json,
            state: JobState::Queued.into(),
            rights_index: proof.index(),
            ..JobRecord::default()
        };
        let what = command::What::Job(JobCommand { what: Some(job_command::What::Create(CreateJob { job: Some(job.clone()) })) });
        let proposed = self.propose(proof, GroupId::SYSTEM, what, context).await?;
        Ok(proposed.done.job.unwrap_or(job))
    }
}

/// Why a job failed, as the request that waits for it is answered. The group that refused a command of the job has told the audit; what the rights refused,
/// nobody has.
pub(crate) fn failure_of(job: &JobRecord) -> Failure {
    // A job that an older version ended has no code.
    let code = ErrorCode::of_name(&job.failure).unwrap_or(ErrorCode::Conflict);
    let title = format!("{}: ", code.title());
    let detail = job.message.strip_prefix(&title).unwrap_or(&job.message);
    let heard = if matches!(code, ErrorCode::Forbidden | ErrorCode::Unauthorized) { Heard::ByCode } else { Heard::Already };
    Failure::new(code, detail).heard(heard)
}

fn newest_first(view: &SystemView, filter: JobFilter) -> Result<Vec<JobRecord>, Failure> {
    let mut jobs = view.jobs(&filter)?;
    jobs.sort_by_key(|job| std::cmp::Reverse(job.created_at));
    Ok(jobs)
}

pub(crate) fn has_ended(job: &JobRecord) -> bool {
    matches!(job.state(), JobState::Finished | JobState::Failed | JobState::Cancelled)
}

pub(crate) fn job_id(job: &JobRecord) -> RecordId {
    record_id(&job.id)
}
