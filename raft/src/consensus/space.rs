//! Whether the data folder's file system is nearly full. Measured now and then, not at each proposal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::options::FreeSpace;
use crate::wire::meta::v1::{
    Command, ContentCommand, CreateJob, IdentityCommand, JobCommand, Permission, TreeCommand, WorkspaceCommand, batch_step, command,
    content_command, identity_command, job_command, tree_command, workspace_command,
};

/// The name of the job that is noted beside a deletion.
const DELETION_JOB: &str = "delete";

/// Remembers the last measurement.
pub(crate) struct SpaceGauge {
    source: Arc<dyn FreeSpace>,
    floor_percent: u64,
    low: AtomicBool,
}

impl SpaceGauge {
    pub(crate) fn new(source: Arc<dyn FreeSpace>, floor_percent: u64) -> Self {
        let gauge = Self { source, floor_percent, low: AtomicBool::new(false) };
        gauge.measure();
        gauge
    }

    /// Measures. Blocks for a system call.
    pub(crate) fn measure(&self) {
        let low = self
            .source
            .free_and_total()
            .is_some_and(|(free, total)| u128::from(free) * 100 < u128::from(total) * u128::from(self.floor_percent));
        self.low.store(low, Ordering::Relaxed);
    }

    /// Whether less is free than there should be.
    pub(crate) fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    /// Whether a command may be proposed with what is free.
    pub(crate) fn admits(&self, command: &Command) -> bool {
        !self.is_low() || goes_on_when_full(command)
    }
}

/// What goes on below the floor, on the reserve: whatever frees space, takes rights away or mends the cluster, and what people need to get so far: signing in.
fn goes_on_when_full(command: &Command) -> bool {
    match &command.what {
        Some(command::What::OpenSession(_) | command::What::CloseSessions(_) | command::What::PruneMeta(_) | command::What::Cluster(_)) => {
            true
        }
        Some(command::What::Tree(TreeCommand { what })) => what.as_ref().is_some_and(of_the_tree),
        Some(command::What::Content(ContentCommand { what })) => matches!(
            what,
            Some(
                content_command::What::AbortUpload(_)
                    | content_command::What::ExpireUploads(_)
                    | content_command::What::AdvanceHorizon(_)
                    | content_command::What::ShardRepaired(_)
                    | content_command::What::Reencoded(_)
                    | content_command::What::ReportDamage(_)
                    | content_command::What::QueueRepairs(_)
            )
        ),
        Some(command::What::Identity(IdentityCommand { what })) => what.as_ref().is_some_and(of_identities),
        Some(command::What::Workspace(WorkspaceCommand { what })) => {
            matches!(what, Some(workspace_command::What::DeleteWorkspace(_) | workspace_command::What::DeleteNamespace(_)))
        }
        Some(command::What::Job(JobCommand { what })) => match what {
            // A deletion is answered with its job: without it the deletion, which is done, would look refused.
            Some(job_command::What::Create(CreateJob { job })) => job.as_ref().is_some_and(|job| job.name == DELETION_JOB),
            Some(_) => true,
            None => false,
        },
        None => false,
    }
}

fn of_the_tree(what: &tree_command::What) -> bool {
    use batch_step::What as Step;
    use tree_command::What;
    match what {
        What::DeleteEntry(_)
        | What::DeleteVersion(_)
        | What::RemoveLock(_)
        | What::ExpireLocks(_)
        | What::PruneVersions(_)
        | What::QueuePruning(_)
        | What::PruneHistory(_)
        | What::ReapEntries(_)
        | What::EmptyBins(_) => true,
        What::Batch(batch) => batch.steps.iter().all(|step| matches!(step.what, Some(Step::DeleteEntry(_) | Step::HoldsStill(_)))),
        _grows => false,
    }
}

fn of_identities(what: &identity_command::What) -> bool {
    use identity_command::What;
    match what {
        // Who cannot sign in cannot delete. Tokens expire, and are swept.
        What::PutToken(_) | What::DeleteUser(_) | What::DeleteToken(_) | What::ExpireTokens(_) => true,
        What::PutGrant(grant) => grant.permission() == Permission::Unspecified,
        _grows => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::meta::v1::{
        BatchStep, DeleteEntry, DeleteNamespace, HoldsStill, JobRecord, PutFile, PutGrant, PutToken, PutUser, QueueRepairs, ReportDamage,
        ReportJob, TreeBatch,
    };

    struct Fixed(u64, u64);

    impl FreeSpace for Fixed {
        fn free_and_total(&self) -> Option<(u64, u64)> {
            Some((self.0, self.1))
        }
    }

    fn command(what: command::What) -> Command {
        Command { what: Some(what), ..Command::default() }
    }

    fn tree(what: tree_command::What) -> Command {
        command(command::What::Tree(TreeCommand { what: Some(what) }))
    }

    fn content(what: content_command::What) -> Command {
        command(command::What::Content(ContentCommand { what: Some(what) }))
    }

    fn identity(what: identity_command::What) -> Command {
        command(command::What::Identity(IdentityCommand { what: Some(what) }))
    }

    fn job(what: job_command::What) -> Command {
        command(command::What::Job(JobCommand { what: Some(what) }))
    }

    fn create_job(name: &str) -> Command {
        let record = JobRecord { name: name.to_owned(), ..JobRecord::default() };
        job(job_command::What::Create(CreateJob { job: Some(record) }))
    }

    fn batch(steps: Vec<batch_step::What>) -> Command {
        let steps = steps.into_iter().map(|what| BatchStep { what: Some(what) }).collect();
        tree(tree_command::What::Batch(TreeBatch { steps }))
    }

    fn full() -> SpaceGauge {
        SpaceGauge::new(Arc::new(Fixed(49, 1000)), 5)
    }

    #[test]
    fn the_floor_is_what_the_options_say() {
        let put = tree(tree_command::What::PutFile(PutFile::default()));
        assert!(full().is_low() && !full().admits(&put), "a file at 4.9 % free");
        let roomy = SpaceGauge::new(Arc::new(Fixed(50, 1000)), 5);
        assert!(!roomy.is_low() && roomy.admits(&put), "a file at 5 % free");
    }

    #[test]
    fn below_the_floor_goes_on_what_frees_and_mends_and_signing_in() {
        let namespace = workspace_command::What::DeleteNamespace(DeleteNamespace::default());
        let going_on = [
            ("a deletion", tree(tree_command::What::DeleteEntry(DeleteEntry::default()))),
            (
                "a batch that only deletes",
                batch(vec![
                    batch_step::What::HoldsStill(HoldsStill::default()),
                    batch_step::What::DeleteEntry(DeleteEntry::default()),
                    batch_step::What::DeleteEntry(DeleteEntry::default()),
                ]),
            ),
            ("the job of a deletion", create_job("delete")),
            ("the progress of a job", job(job_command::What::Report(ReportJob::default()))),
            ("signing in", identity(identity_command::What::PutToken(PutToken::default()))),
            ("taking a grant away", identity(identity_command::What::PutGrant(PutGrant::default()))),
            ("reporting damage", content(content_command::What::ReportDamage(ReportDamage::default()))),
            ("queueing repairs", content(content_command::What::QueueRepairs(QueueRepairs::default()))),
            ("the end of a namespace", command(command::What::Workspace(WorkspaceCommand { what: Some(namespace) }))),
        ];
        for (name, command) in going_on {
            assert!(full().admits(&command), "{name} is refused");
        }
    }

    #[test]
    fn below_the_floor_what_grows_is_refused() {
        let granted = PutGrant { permission: Permission::Read.into(), ..PutGrant::default() };
        let refused = [
            (
                "a batch that also writes",
                batch(vec![batch_step::What::DeleteEntry(DeleteEntry::default()), batch_step::What::PutFile(PutFile::default())]),
            ),
            ("another job", create_job("copy")),
            ("a user", identity(identity_command::What::PutUser(PutUser::default()))),
            ("a grant", identity(identity_command::What::PutGrant(granted))),
            ("nothing", Command::default()),
        ];
        for (name, command) in refused {
            assert!(!full().admits(&command), "{name} is admitted");
        }
    }
}
