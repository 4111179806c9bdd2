//! COPY and MOVE by a job that is waited for. What the request says of states, locks and conditions is judged before the job begins and again where the job puts
//! the item: what stood at the target gives way there and then, by the same command.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use skep_raft::wire::meta::v1::{JobRecord, JobState, StateList};
use tokio::time::Instant;

use super::context;
use super::if_header::IfHeader;
use super::transfer::{Asked, answered};
use crate::app::Caller;
use crate::auth::rights::{ReadContent, ReadTree, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::request_context::RequestContext;
use crate::service::jobs::{TransferSources, failure_of, job_id, job_name};
use crate::service::locks::{Hold, Passes};
use crate::service::tree::StatRequest;
use crate::service::user_path::UserPath;
use crate::stated::Stated;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Copy,
    Move,
}

/// Has a job do it, and waits for its end.
pub(super) async fn by_job(caller: &Caller, kind: Kind, (from, asked): (&UserPath, &Asked), parts: &Parts) -> Result<Response, Failure> {
    let context = context(caller).continued();
    let created = is_free(caller, asked, &context).await?;
    let context = judged(caller, kind, (from, asked), parts).await?;
    let sources = match kind {
        Kind::Copy => TransferSources::Copy(vec![caller.at::<ReadContent>(from)?]),
        Kind::Move => TransferSources::Move(vec![caller.at::<WriteTree>(from)?]),
    };
    let target = caller.at::<WriteTree>(&asked.to)?;
    let job = caller.service().queue_one(target, sources, asked.request.clone(), &context.continued()).await?;
    let ended = waited_for(caller, &job).await?;
    match ended.state() {
        JobState::Finished => Ok(answered(created, &asked.to)),
        JobState::Failed => Err(failure_of(&ended)),
        JobState::Cancelled => Err(Failure::new(ErrorCode::Conflict, format!("the job {} was stopped", job_name(&ended)))),
        JobState::Unspecified | JobState::Queued | JobState::Running => {
            let told = format!("it takes longer; the job {} goes on with it\n", job_name(&ended));
            Ok((StatusCode::ACCEPTED, told).into_response())
        }
    }
}

/// Whether nothing has the name; refuses what may not give way.
async fn is_free(caller: &Caller, asked: &Asked, context: &RequestContext) -> Result<bool, Failure> {
    match caller.service().stat(caller.at::<ReadTree>(&asked.to)?, StatRequest::default(), context).await {
        Ok(_) if !asked.request.overwrite => {
            Err(Failure::new(ErrorCode::PreconditionFailed, format!("{}: something of this name exists already", asked.to)))
        }
        Ok(_) => Ok(false),
        Err(failure) if failure.code == ErrorCode::NotFound => Ok(true),
        Err(failure) => Err(failure),
    }
}

/// Refuses what the job would be refused, before it begins. Gives what the job says of states in turn: within a datasource all of it; across two the lists about
/// the target, unless one about the source holds already.
async fn judged(caller: &Caller, kind: Kind, (from, asked): (&UserPath, &Asked), parts: &Parts) -> Result<RequestContext, Failure> {
    let service = caller.service();
    let context = context(caller).continued();
    let (source, target) = (caller.place(from.clone())?, caller.place(asked.to.clone())?);
    let is_past = source.instant() != 0;
    let (source, target) = (source.datasource(), target.datasource());
    let without_lists = with_lists(&context, Vec::new());
    let judged_now = if source == target { context.clone() } else { without_lists.clone() }.without_fence();
    let passes = if kind == Kind::Move { Passes::Removal } else { Passes::Nothing };
    let at_source = Hold { condition: asked.request.condition.clone(), passes };
    let at_target = Hold { condition: asked.request.target_condition.clone(), passes: Passes::Removal };
    if !is_past {
        service.states_hold(caller.at::<ReadTree>(from)?, at_source, &judged_now).await?;
    }
    service.states_hold(caller.at::<WriteTree>(&asked.to)?, at_target, &judged_now).await?;
    let Some(header) = IfHeader::of(&parts.headers)?.filter(|_| source != target) else { return Ok(context) };
    let placed = header.placed(caller, from, parts);
    let about = |datasource| -> Vec<StateList> {
        let here = placed.iter().filter(|list| list.datasource() == Some(datasource));
        here.map(|list| list.clone().judged_by(Some(datasource))).collect()
    };
    if holds(caller, from, &with_lists(&without_lists, about(source))).await? {
        return Ok(without_lists);
    }
    let of_target = with_lists(&without_lists, about(target));
    if holds(caller, &asked.to, &of_target).await? {
        return Ok(of_target);
    }
    Err(Failure::new(
        ErrorCode::PreconditionFailed,
        "If: no list of states holds: a lock that it names may have ended, or an entry has changed",
    ))
}

fn with_lists(context: &RequestContext, lists: Vec<StateList>) -> RequestContext {
    let stated = Stated { lists, ..Stated::clone(&context.stated) };
    context.clone().stating(stated)
}

/// Whether one of the lists holds; of none, none does.
async fn holds(caller: &Caller, path: &UserPath, context: &RequestContext) -> Result<bool, Failure> {
    if context.stated.lists.is_empty() {
        return Ok(false);
    }
    match caller.service().states_hold(caller.at::<ReadTree>(path)?, Hold::default(), context).await {
        Ok(()) => Ok(true),
        Err(failure) if failure.code == ErrorCode::PreconditionFailed => Ok(false),
        Err(failure) => Err(failure),
    }
}

async fn waited_for(caller: &Caller, job: &JobRecord) -> Result<JobRecord, Failure> {
    // The job is newer than this request's view; the proof is decided over one that knows it.
    let context = context(caller).continued();
    let fresh = caller.refreshed(&context).await?;
    caller.service().wait_for_job(fresh.job(job_id(job))?, Instant::now() + limits::DAV_JOB_WAIT).await
}
