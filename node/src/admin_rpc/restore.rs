//! Bringing files and folders back to an instant.

use bytes::Bytes;
use skep_api::auth::rights::{Authorized, WriteTree};
use skep_api::error_code::ErrorCode;
use skep_api::service::instant;
use skep_api::service::place::Place;
use skep_placement::ids::RecordId;
use skep_raft::wire::meta::v1::JobState;
use tonic::Status;

use super::wire::{JobProgressReply, JobProgressRequest, JobStage, RestoreReply, RestoreRequest};
use super::{AdminParts, Call, status};

impl AdminParts {
    /// Restores by one change; of more than that suffices for, a job is begun as the user who is named.
    pub(super) async fn restore(&self, call: Call, request: RestoreRequest) -> Result<RestoreReply, Status> {
        let at = instant::parse(&request.at).map_err(status)?;
        let path = || request.path.parse().map_err(status);
        let proof: Authorized<WriteTree, Place> = Authorized::operator_at(&call.view, path()?, &request.login).map_err(status)?;
        let service = self.app.service();
        let done = match service.restore(proof, (at, request.only_say), &call.context).await {
            Err(failure) if failure.code == ErrorCode::TooLarge && !request.only_say && !request.login.is_empty() => {
                let proof = Authorized::operator_at(&call.view, path()?, &request.login).map_err(status)?;
                let job = service.queue_restore(proof, at, &call.context.continued()).await.map_err(status)?;
                return Ok(RestoreReply { at: instant::show(at), job: job.id, ..RestoreReply::default() });
            }
            other => other.map_err(status)?,
        };
        Ok(RestoreReply {
            made: done.made,
            reverted: done.reverted,
            moved: done.moved,
            removed: done.removed,
            looked_at: done.looked_at,
            at: instant::show(at),
            job: Bytes::new(),
        })
    }

    /// How far a job is.
    pub(super) async fn job_progress(&self, call: Call, request: JobProgressRequest) -> Result<JobProgressReply, Status> {
        let unknown = || Status::not_found("there is no such job (any more)");
        let id = RecordId::try_from(request.job.as_ref()).map_err(|_wrong_length| unknown())?;
        let job = call.view.job(id).map_err(|error| Status::internal(error.to_string()))?.ok_or_else(unknown)?;
        let stage = match job.state() {
            JobState::Unspecified | JobState::Queued | JobState::Running => JobStage::GoesOn,
            JobState::Finished => JobStage::Finished,
            JobState::Failed => JobStage::Failed,
            JobState::Cancelled => JobStage::Cancelled,
        };
        Ok(JobProgressReply { stage: stage.into(), permille: job.progress_permille, message: job.message })
    }
}
