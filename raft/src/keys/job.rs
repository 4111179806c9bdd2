//! `job/id`, and jobs by state in the order of time.

use skep_placement::ids::{RecordId, Stamp};

use super::state_key;
use crate::wire::meta::v1::{JobRecord, JobState};

state_key!(
    /// A job.
    JobKey {
        /// The job.
        job: RecordId,
    } in Meta, Job holds JobRecord
);

state_key!(
    /// A job by its state; nothing is stored there.
    JobByStateKey {
        /// The number of the state.
        state: u8,
        /// When it was made; of a job that ended, when it ended.
        since: Stamp,
        /// The job.
        job: RecordId,
    } in Meta, JobByState holds ()
);

impl JobByStateKey {
    /// The number of a state in keys. The numbers are frozen: they lie on disk.
    #[must_use]
    pub const fn number(state: JobState) -> u8 {
        match state {
            JobState::Unspecified => 0,
            JobState::Queued => 1,
            JobState::Running => 2,
            JobState::Finished => 3,
            JobState::Failed => 4,
            JobState::Cancelled => 5,
        }
    }
}
