//! Whether the data folder's file system is nearly full. Measured now and then, not at each proposal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::options::FreeSpace;
use crate::wire::meta::v1::{
    Command, ContentCommand, IdentityCommand, JobCommand, TreeCommand, WorkspaceCommand, command, content_command, identity_command,
    job_command, tree_command, workspace_command,
};

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

    /// Whether a command may be proposed with what is free.
    pub(crate) fn admits(&self, command: &Command) -> bool {
        !self.low.load(Ordering::Relaxed) || goes_on_when_full(command)
    }
}

/// What goes on below the floor, on the reserve: whatever frees space or mends the cluster.
fn goes_on_when_full(command: &Command) -> bool {
    match &command.what {
        Some(command::What::OpenSession(_) | command::What::CloseSessions(_) | command::What::PruneMeta(_) | command::What::Cluster(_)) => {
            true
        }
        Some(command::What::Tree(TreeCommand { what })) => matches!(
            what,
            Some(
                tree_command::What::DeleteEntry(_)
                    | tree_command::What::DeleteVersion(_)
                    | tree_command::What::RemoveLock(_)
                    | tree_command::What::ExpireLocks(_)
                    | tree_command::What::PruneVersions(_)
                    | tree_command::What::PruneHistory(_)
                    | tree_command::What::ReapEntries(_)
                    | tree_command::What::EmptyBins(_)
            )
        ),
        Some(command::What::Content(ContentCommand { what })) => matches!(
            what,
            Some(
                content_command::What::AbortUpload(_)
                    | content_command::What::ExpireUploads(_)
                    | content_command::What::AdvanceHorizon(_)
                    | content_command::What::ShardRepaired(_)
                    | content_command::What::Reencoded(_)
            )
        ),
        Some(command::What::Identity(IdentityCommand { what })) => matches!(
            what,
            Some(identity_command::What::DeleteUser(_) | identity_command::What::DeleteToken(_) | identity_command::What::ExpireTokens(_))
        ),
        Some(command::What::Workspace(WorkspaceCommand { what })) => matches!(what, Some(workspace_command::What::DeleteWorkspace(_))),
        Some(command::What::Job(JobCommand { what })) => !matches!(what, Some(job_command::What::Create(_)) | None),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::meta::v1::{DeleteEntry, PutFile};

    struct Fixed(u64, u64);

    impl FreeSpace for Fixed {
        fn free_and_total(&self) -> Option<(u64, u64)> {
            Some((self.0, self.1))
        }
    }

    fn tree(what: tree_command::What) -> Command {
        Command { what: Some(command::What::Tree(TreeCommand { what: Some(what) })), ..Command::default() }
    }

    #[test]
    fn below_the_floor_only_deleting_goes_on() {
        let put = tree(tree_command::What::PutFile(PutFile::default()));
        let delete = tree(tree_command::What::DeleteEntry(DeleteEntry::default()));
        let full = SpaceGauge::new(Arc::new(Fixed(49, 1000)), 5);
        assert!(!full.admits(&put), "a file at 4.9 % free");
        assert!(full.admits(&delete), "a deletion at 4.9 % free");
        let roomy = SpaceGauge::new(Arc::new(Fixed(50, 1000)), 5);
        assert!(roomy.admits(&put), "a file at 5 % free");
    }
}
