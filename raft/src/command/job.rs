//! Jobs: made, claimed under a lease, reported on, ended, forgotten.
//!
//! Invariant: each claim raises the lease number, and only the owner of the highest one changes the job; so of two nodes that think they own
//! it one is refused.

use skep_placement::ids::Stamp;

use crate::keys::{JobByStateKey, JobKey};
use crate::state::rejection::{Stop, id, invalid, refuse, required, text};
use crate::state::transaction::Transaction;
use crate::state::{limits, read};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::{CancelJob, ClaimJob, CreateJob, Done, JobRecord, JobState, PruneJobs, RejectionCode, ReportJob};

/// The states that a job ends in.
const ENDED: [JobState; 3] = [JobState::Finished, JobState::Failed, JobState::Cancelled];

/// Makes a job that waits for somebody to claim it.
pub(super) fn create(transaction: &mut Transaction<'_>, command: &CreateJob) -> Result<Done, Stop> {
    let given = required(command.job.as_ref(), "job")?;
    let key = JobKey { job: id(&given.id, "job id")? };
    if given.name.is_empty() {
        return Err(invalid("a job needs a name"));
    }
    text(&given.name, "name", limits::NAME_BYTES_MAX)?;
    text(&given.label, "label", limits::TEXT_BYTES_MAX)?;
    text(&given.login, "login", limits::NAME_BYTES_MAX)?;
    text(&given.parameters_json, "parameters", limits::JOB_TEXT_BYTES_MAX)?;
    if !matches!(given.user.len(), 0 | 16) {
        return Err(invalid("the id of the user is no id"));
    }
    if transaction.get(&key)?.is_some() {
        return Err(refuse(RejectionCode::AlreadyExists, format!("there is a job {} already", key.job)));
    }
    let stamp = transaction.stamp();
    let job = JobRecord {
        id: given.id.clone(),
        name: given.name.clone(),
        label: given.label.clone(),
        user: given.user.clone(),
        login: given.login.clone(),
        parameters_json: given.parameters_json.clone(),
        state: JobState::Queued.into(),
        created_at: stamp,
        changed_at: stamp,
        rights_index: transaction.rights_index(),
        from: transaction.asked_from().to_owned(),
        ..JobRecord::default()
    };
    write(transaction, &key, None, &job);
    Ok(Done { created: true, job: Some(job), ..Done::default() })
}

/// Takes a job that waits, or whose owner was silent past its lease.
pub(super) fn claim(transaction: &mut Transaction<'_>, command: &ClaimJob) -> Result<Done, Stop> {
    let (key, was) = existing(transaction, &command.job)?;
    check_lease(command.lease_seconds)?;
    if command.node == 0 {
        return Err(invalid("a job is claimed by a node"));
    }
    let stamp = transaction.stamp();
    let free = match state(&was) {
        JobState::Queued => true,
        JobState::Running => was.lease_until <= stamp,
        JobState::Unspecified | JobState::Finished | JobState::Failed | JobState::Cancelled => false,
    };
    if !free {
        let detail = format!("the job is {:?}, owned by node {} until {}", state(&was), was.owner_node, was.lease_until);
        return Err(refuse(RejectionCode::Stale, detail));
    }
    let job = JobRecord {
        state: JobState::Running.into(),
        owner_node: command.node,
        lease_until: transaction.stamp_in(command.lease_seconds),
        lease_number: was.lease_number + 1,
        changed_at: stamp,
        ..was.clone()
    };
    write(transaction, &key, Some(&was), &job);
    Ok(Done { number: job.lease_number, job: Some(job), ..Done::default() })
}

/// Takes the owner's word on how far the job is, and renews the lease.
pub(super) fn report(transaction: &mut Transaction<'_>, command: &ReportJob) -> Result<Done, Stop> {
    let (key, was) = existing(transaction, &command.job)?;
    if state(&was) != JobState::Running || was.lease_number != command.lease_number || was.owner_node != command.node {
        let detail = format!("the job is {:?} under lease {} of node {}", state(&was), was.lease_number, was.owner_node);
        return Err(refuse(RejectionCode::LeaseLost, detail));
    }
    text(&command.message, "message", limits::JOB_TEXT_BYTES_MAX)?;
    text(&command.position_json, "position", limits::JOB_TEXT_BYTES_MAX)?;
    text(&command.failure, "failure", limits::NAME_BYTES_MAX)?;
    let mut job = JobRecord {
        progress_permille: command.progress_permille.min(1_000),
        message: command.message.clone(),
        position_json: command.position_json.clone(),
        failure: command.failure.clone(),
        changed_at: transaction.stamp(),
        ..was.clone()
    };
    match JobState::try_from(command.state).unwrap_or_default() {
        JobState::Unspecified | JobState::Running => {
            check_lease(command.lease_seconds)?;
            job.lease_until = transaction.stamp_in(command.lease_seconds);
        }
        next @ (JobState::Queued | JobState::Finished | JobState::Failed | JobState::Cancelled) => give_up(&mut job, next),
    }
    write(transaction, &key, Some(&was), &job);
    Ok(Done { job: Some(job), ..Done::default() })
}

/// Ends a job that has not ended; its owner learns it by its next report.
pub(super) fn cancel(transaction: &mut Transaction<'_>, command: &CancelJob) -> Result<Done, Stop> {
    let (key, was) = existing(transaction, &command.job)?;
    let mut job = was.clone();
    if !ENDED.contains(&state(&was)) {
        give_up(&mut job, JobState::Cancelled);
        job.changed_at = transaction.stamp();
        write(transaction, &key, Some(&was), &job);
    }
    Ok(Done { job: Some(job), ..Done::default() })
}

fn give_up(job: &mut JobRecord, next: JobState) {
    job.state = next.into();
    job.owner_node = 0;
    job.lease_until = 0;
}

/// Forgets jobs that ended long ago, the oldest of each state first.
pub(super) fn prune(transaction: &mut Transaction<'_>, command: &PruneJobs) -> Result<Done, Stop> {
    let most = usize::try_from(command.limit).unwrap_or(usize::MAX).clamp(1, limits::PAGE_MAX);
    let until = transaction.stamp().saturating_sub(command.retention_seconds.saturating_mul(1_000_000));
    let mut old = Vec::new();
    for state in ENDED {
        let rows = read::rows::<JobByStateKey>(transaction.state(), &[&JobByStateKey::number(state)], Direction::Forward);
        let rows = rows.take_while(|row| row.as_ref().map_or(true, |(key, ())| key.since.0 <= until)).take(most - old.len());
        old.extend(rows.collect::<Result<Vec<_>, StateError>>()?);
    }
    for (key, ()) in &old {
        transaction.delete(&JobKey { job: key.job });
        transaction.delete(key);
    }
    Ok(Done { count: u64::try_from(old.len()).unwrap_or(u64::MAX), ..Done::default() })
}

fn existing(transaction: &Transaction<'_>, job: &[u8]) -> Result<(JobKey, JobRecord), Stop> {
    let key = JobKey { job: id(job, "job id")? };
    let record = transaction.get(&key)?.ok_or_else(|| refuse(RejectionCode::NotFound, format!("there is no job {}", key.job)))?;
    Ok((key, record))
}

fn write(transaction: &mut Transaction<'_>, key: &JobKey, was: Option<&JobRecord>, job: &JobRecord) {
    if let Some(was) = was {
        transaction.delete(&by_state(key, was));
    }
    transaction.put(&by_state(key, job), &());
    transaction.put(key, job);
}

fn by_state(key: &JobKey, job: &JobRecord) -> JobByStateKey {
    let since = if ENDED.contains(&state(job)) { job.changed_at } else { job.created_at };
    JobByStateKey { state: JobByStateKey::number(state(job)), since: Stamp(since), job: key.job }
}

fn state(job: &JobRecord) -> JobState {
    JobState::try_from(job.state).unwrap_or_default()
}

fn check_lease(seconds: u64) -> Result<(), Stop> {
    if (1..=limits::LEASE_SECONDS_MAX).contains(&seconds) {
        return Ok(());
    }
    Err(invalid(format!("a lease of {seconds} seconds; it has 1 to {}", limits::LEASE_SECONDS_MAX)))
}
