//! `skep restore`: a file or folder as it was.

use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use skep_placement::ids::RecordId;

use super::client::{Admin, Target};
use super::errors::CliError;
use super::output;
use crate::admin_rpc::wire::{JobProgressRequest, JobStage, RestoreReply, RestoreRequest};

const AFTER_HELP: &str = "\
Everything below the path is brought back at once: files that changed get their older content as a new version, what is gone is made again,
what was moved goes back, what is new goes. No bytes are copied, and the state before stays within reach: restore to a minute ago to undo it.
Where more than 10,000 entries differ, a job does it on the cluster, as the user named by --as; this command shows how far it is and may be ended.

Examples:
  skep restore common-files/plans --at 2026-11-20T08:00:00Z --dry-run --config /etc/skep/skep.toml
  skep restore common-files/plans --at 2026-11-20T08:00:00Z --config /etc/skep/skep.toml
  skep restore personal-files/thesis.odt --at 1795000000 --as alice --config /etc/skep/skep.toml";

/// How long a restoration by one change may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How often a job is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How long a node that does not answer is asked on how far a job is.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long a node may not have heard yet of a job that was just begun.
const NEWS_MAX: Duration = Duration::from_secs(5);

/// Brings a file or folder back to an instant.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct RestoreArguments {
    #[command(flatten)]
    target: Target,
    /// workspace/folder or workspace/folder/file.
    path: String,
    /// The instant: RFC 3339 (2026-11-20T08:00:00Z) or Unix time in seconds.
    #[arg(long, value_name = "TIME")]
    at: String,
    /// The user whose rights and own folders count; left out: the operator, who may do everything.
    #[arg(long = "as", default_value = "", value_name = "LOGIN", hide_default_value = true)]
    login: String,
    /// Only says what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &RestoreArguments) -> Result<(), CliError> {
    let request = RestoreRequest {
        path: arguments.path.clone(),
        at: arguments.at.clone(),
        login: arguments.login.clone(),
        only_say: arguments.dry_run,
    };
    let ask = async |admin: Admin| {
        let done = admin.ask_within(LIMIT, async |calls| calls.restore(request).await).await?;
        let said = if done.job.is_empty() { None } else { Some(follow(&admin, &done.job).await?) };
        Ok((done, said))
    };
    let (done, said) = arguments.target.with_admin(ask)?;
    if let Some(said) = said {
        output::line(if arguments.json {
            serde_json::json!({"at": done.at, "done": true, "job": uuid(&done.job), "message": said}).to_string()
        } else {
            format!("{} is as it was at {}: {said}", arguments.path, done.at)
        });
    } else if arguments.json {
        output::line(json(&done, arguments.dry_run).to_string());
    } else {
        output::line(sentence(&arguments.path, &done, arguments.dry_run));
    }
    Ok(())
}

/// Waits until a job has ended, under a bar, and gives what it says it did. The job does not need the node that is asked.
async fn follow(admin: &Admin, job: &Bytes) -> Result<String, CliError> {
    let bar = output::progress_of_thousand();
    let (mut heard, mut is_known) = (Instant::now(), false);
    loop {
        let asked = JobProgressRequest { job: job.clone() };
        let seen = match admin.ask(async |calls| calls.job_progress(asked).await).await {
            Ok(seen) => seen,
            Err(error) if error.is_absence() && (is_known || heard.elapsed() > NEWS_MAX) => {
                return Err(error.adding(&format!("the job was {}, and what became of it is not kept", uuid(job))));
            }
            Err(error) if heard.elapsed() > SILENCE_MAX => {
                let id = uuid(job);
                return Err(
                    error.adding(&format!("the job {id} does not need this node and may go on: `skep status` at any node lists it"))
                );
            }
            Err(error) => {
                bar.set_message(format!("no word of the job for {} s ({error})", heard.elapsed().as_secs()));
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
        };
        (heard, is_known) = (Instant::now(), true);
        bar.set_position(seen.permille);
        bar.set_message(seen.message.clone());
        let failed = match seen.stage() {
            JobStage::Unspecified | JobStage::GoesOn => {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            JobStage::Finished => None,
            JobStage::Failed => Some("failed"),
            JobStage::Cancelled => Some("was cancelled"),
        };
        bar.finish_and_clear();
        return match failed {
            None => Ok(seen.message),
            Some(how) => Err(CliError::failed(format!("the job {} {how}: {}", uuid(job), seen.message))),
        };
    }
}

fn uuid(job: &[u8]) -> String {
    RecordId::try_from(job).map(|id| id.to_string()).unwrap_or_default()
}

fn json(done: &RestoreReply, only_said: bool) -> serde_json::Value {
    serde_json::json!({
        "at": done.at, "done": !only_said, "made": done.made, "reverted": done.reverted, "moved": done.moved, "removed": done.removed,
        "compared": done.looked_at,
    })
}

fn sentence(path: &str, done: &RestoreReply, only_said: bool) -> String {
    if done.made + done.reverted + done.moved + done.removed == 0 {
        return format!("{path} is as it was at {}: nothing to do ({} names compared)", done.at, done.looked_at);
    }
    let (is, verb) = if only_said { ("would be", "would get") } else { ("is", "got") };
    format!(
        "{path} {is} as it was at {}: {} made again, {} {verb} an older version, {} moved back, {} removed ({} names compared)",
        done.at, done.made, done.reverted, done.moved, done.removed, done.looked_at
    )
}

#[cfg(test)]
mod tests {
    use super::{RestoreReply, sentence};

    #[test]
    fn what_was_done_and_what_would_be_are_told_apart() {
        let done = RestoreReply { made: 1, at: "2026-11-20T08:00:00Z".to_owned(), ..RestoreReply::default() };
        assert!(sentence("ws/a", &done, true).contains("would be"));
        assert!(!sentence("ws/a", &done, false).contains("would"));
        assert!(sentence("ws/a", &RestoreReply::default(), false).contains("nothing to do"));
    }
}
