//! Messages of jobs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::rest::wire::number;

/// `jobsListJobsRequest`
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = jobsListJobsRequest)]
pub(crate) struct ListJobsRequest {
    /// A login; `*`: everybody's, for administrators.
    pub owner: String,
    /// Only these; empty: all.
    #[serde(rename = "JobIDs")]
    pub job_ids: Vec<String>,
    /// Only jobs with a task in this state; Any or empty: all.
    pub load_tasks: String,
    /// Not of use: a job has one task.
    #[serde(deserialize_with = "number")]
    pub tasks_limit: i64,
    /// Only jobs begun by events: there are none.
    pub events_only: bool,
    /// Only jobs begun by a timer: there are none.
    pub timers_only: bool,
}

/// `restUserJobsCollection`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restUserJobsCollection)]
pub(crate) struct JobsCollection {
    /// Newest first.
    pub jobs: Vec<JobMessage>,
}

/// `jobsJob`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = jobsJob)]
pub(crate) struct JobMessage {
    /// With a prefix by its kind.
    #[serde(rename = "ID")]
    pub id: String,
    /// The login of who asked.
    pub owner: String,
    /// For people.
    pub label: String,
    /// Seconds since the Unix epoch.
    pub created_at: i32,
    /// Seconds since the Unix epoch.
    pub modified_at: i32,
    /// Always true.
    pub auto_start: bool,
    /// The one task.
    pub tasks: Vec<TaskMessage>,
}

/// `jobsTask`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = jobsTask)]
pub(crate) struct TaskMessage {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// The job's id.
    #[serde(rename = "JobID")]
    pub job_id: String,
    /// Queued, Running, Finished, Error or Interrupted.
    pub status: &'static str,
    /// For people.
    pub status_message: String,
    /// The login of who asked.
    pub trigger_owner: String,
    /// Seconds since the Unix epoch.
    pub start_time: i32,
    /// Seconds since the Unix epoch; 0: has not ended.
    pub end_time: i32,
    /// Can be stopped.
    pub can_stop: bool,
    /// Cannot be paused.
    pub can_pause: bool,
    /// Always true.
    pub has_progress: bool,
    /// 0 to 1.
    pub progress: f32,
}

/// The body of `PUT /jobs/user/{JobName}`.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct StartJobRequest {
    /// A JSON text.
    pub json_parameters: String,
}

/// `restUserJobResponse`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restUserJobResponse)]
pub(crate) struct StartJobResponse {
    /// The job's id.
    pub job_uuid: String,
}

/// `jobsCtrlCommand`
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = jobsCtrlCommand)]
pub(crate) struct ControlJobRequest {
    /// Stop; others are refused.
    pub cmd: String,
    /// The job's id.
    pub job_id: String,
    /// Not of use: a job has one task.
    pub task_id: String,
}

/// `jobsCtrlCommandResponse`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = jobsCtrlCommandResponse)]
pub(crate) struct ControlJobResponse {
    /// For people.
    pub msg: String,
}
