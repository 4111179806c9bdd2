//! `/a/jobs/user`: begin, watch and stop jobs.

use axum::extract::{Path, State};
use serde::Deserialize;
use skep_raft::wire::meta::v1::{JobRecord, JobState};

use super::messages::{
    ControlJobRequest, ControlJobResponse, JobMessage, JobsCollection, ListJobsRequest, RestError, StartJobRequest, StartJobResponse,
    TaskMessage,
};
use super::wire::{RestRequest, RestResult, answer, seconds};
use crate::app::{App, Caller};
use crate::auth::rights::{ReadContent, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::service::jobs::{TransferParameters, TransferSources, has_ended, job_name, parse_job_name};
use crate::service::user_path::UserPath;

/// Begins a copy or a move.
#[utoipa::path(
    put, path = "/a/jobs/user/{JobName}", tag = "jobs", request_body = StartJobRequest,
    params(("JobName" = String, Path, description = "copy or move; JsonParameters: {nodes, target, targetParent}. restore-instant; {node, at}")),
    responses((status = 200, body = StartJobResponse), (status = 404, body = RestError))
)]
pub(crate) async fn start(State(_app): State<App>, Path(name): Path<String>, request: RestRequest) -> RestResult {
    let message: StartJobRequest = request.json()?;
    let caller = request.caller().await?;
    if name == "restore-instant" {
        return restore(&caller, &message.json_parameters).await;
    }
    let parameters = TransferParameters::from_json(&message.json_parameters)?;
    let nodes = parameters.nodes.iter().map(|node| node.parse()).collect::<Result<Vec<UserPath>, Failure>>()?;
    let sources = match name.as_str() {
        "copy" => TransferSources::Copy(nodes.iter().map(|node| caller.at::<ReadContent>(node)).collect::<Result<_, Failure>>()?),
        "move" => TransferSources::Move(nodes.iter().map(|node| caller.at::<WriteTree>(node)).collect::<Result<_, Failure>>()?),
        other => {
            return Err(Failure::new(
                ErrorCode::Unsupported,
                format!("JobName: this server has no job {other}; it has copy, move and restore-instant"),
            )
            .into());
        }
    };
    let target = caller.at::<WriteTree>(&parameters.target.parse()?)?;
    let job = caller.service().queue_transfer(target, sources, parameters.target_parent, caller.context()).await?;
    Ok(answer(StartJobResponse { job_uuid: job_name(&job) }))
}

/// What a restoration to an instant is asked by.
#[derive(Deserialize)]
struct RestoreAsked {
    node: String,
    at: String,
}

async fn restore(caller: &Caller, parameters: &str) -> RestResult {
    let bad = |error| Failure::new(ErrorCode::BadRequest, format!("JsonParameters: {error}; send {{\"node\": path, \"at\": instant}}"));
    let asked: RestoreAsked = serde_json::from_str(parameters).map_err(bad)?;
    let at = crate::service::instant::parse(&asked.at)?;
    let proof = caller.at::<WriteTree>(&asked.node.parse()?)?;
    let job = caller.service().queue_restore(proof, at, caller.context()).await?;
    Ok(answer(StartJobResponse { job_uuid: job_name(&job) }))
}

/// Lists jobs with their tasks.
#[utoipa::path(
    post, path = "/a/jobs/user", tag = "jobs", request_body = ListJobsRequest,
    responses((status = 200, body = JobsCollection))
)]
pub(crate) async fn list(State(_app): State<App>, request: RestRequest) -> RestResult {
    let message: ListJobsRequest = request.json()?;
    let caller = request.caller().await?;
    let records = if message.events_only || message.timers_only {
        Vec::new()
    } else if message.job_ids.is_empty() {
        listed(&caller, &message.owner)?
    } else {
        named(&caller, &message.job_ids)?
    };
    let wanted = |job: &JobMessage| {
        matches!(message.load_tasks.as_str(), "" | "Any" | "Unknown") || job.tasks.iter().any(|task| task.status == message.load_tasks)
    };
    let jobs = records.iter().map(job_message).filter(wanted).collect();
    Ok(answer(JobsCollection { jobs }))
}

/// Everybody's for administrators who ask for them, else the caller's own.
fn listed(caller: &Caller, owner: &str) -> Result<Vec<JobRecord>, Failure> {
    if owner.is_empty() || owner == caller.login() || (owner == "*" && !caller.is_admin()) {
        return caller.service().jobs_of(caller.own()?, caller.view(), limits::JOBS_LISTED);
    }
    let all = caller.service().all_jobs(caller.administer()?, caller.view(), limits::JOBS_LISTED)?;
    Ok(all.into_iter().filter(|job| owner == "*" || job.login == owner).collect())
}

/// Those of the names that the caller may see; one that is not kept any more is left out, which clients take for done.
fn named(caller: &Caller, names: &[String]) -> Result<Vec<JobRecord>, Failure> {
    if names.len() > limits::JOBS_LISTED {
        return Err(Failure::new(ErrorCode::BadRequest, format!("JobIDs: name at most {}", limits::JOBS_LISTED)));
    }
    let mut found = Vec::new();
    for name in names {
        let id = parse_job_name(name).ok_or_else(|| Failure::new(ErrorCode::BadRequest, format!("JobIDs: {name} is no job's id")))?;
        let job = caller.job(id).and_then(|proof| caller.service().job(proof, caller.view()));
        match job {
            Ok(job) => found.push(job),
            Err(failure) if failure.code == ErrorCode::NotFound => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(found)
}

/// Stops a job.
#[utoipa::path(
    put, path = "/a/jobs/user", tag = "jobs", request_body = ControlJobRequest,
    responses((status = 200, body = ControlJobResponse), (status = 404, body = RestError))
)]
pub(crate) async fn control(State(_app): State<App>, request: RestRequest) -> RestResult {
    let message: ControlJobRequest = request.json()?;
    let caller = request.caller().await?;
    let bad_id = || Failure::new(ErrorCode::BadRequest, format!("JobId: {} is no job's id", message.job_id));
    let id = parse_job_name(&message.job_id).ok_or_else(bad_id)?;
    match message.cmd.as_str() {
        "Stop" | "Delete" => {
            caller.service().cancel_job(caller.job(id)?, caller.context()).await?;
            Ok(answer(ControlJobResponse { msg: "the job is stopped; what it has done stays done".to_owned() }))
        }
        other => Err(Failure::new(ErrorCode::Unsupported, format!("Cmd: this server cannot {other} a job; it can Stop one")).into()),
    }
}

fn job_message(job: &JobRecord) -> JobMessage {
    let id = job_name(job);
    let ended = has_ended(job);
    let task = TaskMessage {
        id: format!("{id}-1"),
        job_id: id.clone(),
        status: status(job.state()),
        status_message: job.message.clone(),
        trigger_owner: job.login.clone(),
        start_time: time(job.created_at),
        end_time: if ended { time(job.changed_at) } else { 0 },
        can_stop: !ended,
        can_pause: false,
        has_progress: true,
        progress: f32::from(u16::try_from(job.progress_permille.min(1_000)).unwrap_or(1_000)) / 1_000.0,
    };
    JobMessage {
        id,
        owner: job.login.clone(),
        label: job.label.clone(),
        created_at: time(job.created_at),
        modified_at: time(job.changed_at),
        auto_start: true,
        tasks: vec![task],
    }
}

/// Never Idle: clients take that for the end.
fn status(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "Queued",
        JobState::Running => "Running",
        JobState::Finished => "Finished",
        JobState::Failed => "Error",
        JobState::Cancelled => "Interrupted",
        JobState::Unspecified => "Unknown",
    }
}

fn time(micros: u64) -> i32 {
    i32::try_from(seconds(micros)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use skep_raft::wire::meta::v1::{JobRecord, JobState};

    use super::job_message;

    #[test]
    fn a_job_shows_one_task_that_is_never_idle() {
        let job = JobRecord {
            id: Bytes::copy_from_slice(&[2; 16]),
            name: "copy".to_owned(),
            login: "alice".to_owned(),
            state: JobState::Queued.into(),
            progress_permille: 400,
            created_at: 1_751_000_000_000_000,
            ..JobRecord::default()
        };
        let json = serde_json::to_value(job_message(&job)).expect("plain fields");
        assert_eq!(json["ID"], "copy-move-02020202-0202-0202-0202-020202020202");
        assert_eq!(json["Tasks"][0]["Status"], "Queued");
        assert_eq!(json["Tasks"][0]["JobID"], json["ID"]);
        assert_eq!(json["Tasks"][0]["StartTime"], 1_751_000_000);
        assert!((json["Tasks"][0]["Progress"].as_f64().expect("a number") - 0.4).abs() < 1e-6);
        let failed = job_message(&JobRecord { state: JobState::Failed.into(), changed_at: 5_000_000, ..job });
        assert_eq!((failed.tasks[0].status, failed.tasks[0].end_time), ("Error", 5));
    }
}
