//! What is used of the quotas of workspaces and users.
//!
//! Invariant: bounded; of more quotas than are shown the status says so.

use futures_util::future::join_all;
use skep_api::ports::{ClusterStatus, QuotaStatus};
use skep_placement::ids::{DatasourceId, GroupId};
use skep_raft::store::StateError;
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1 as meta;
use tokio::time::{Instant, timeout};

use super::{PATIENCE, StatusSource};

/// Quotas that are shown.
const ROWS_MAX: usize = 100;
/// Users read at once.
const USERS_READ: usize = 1_000;

/// The rows, and what a person should know of them.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    rows: Vec<QuotaStatus>,
    warnings: Vec<String>,
}

impl Quotas {
    pub(super) fn add_to(self, status: &mut ClusterStatus) {
        status.quotas.extend(self.rows);
        status.warnings.extend(self.warnings);
    }
}

/// A row whose numbers are to be asked for, and where.
struct Wanted {
    row: QuotaStatus,
    group: GroupId,
    path: meta::EntryPath,
}

impl StatusSource {
    /// The quotas that are set, with what is used.
    pub(super) async fn quotas(&self, system: &SystemView) -> Quotas {
        let mut wanted = match wanted(system) {
            Ok(wanted) => wanted,
            Err(error) => return Quotas { warnings: vec![format!("the quotas cannot be read: {error}")], ..Quotas::default() },
        };
        let mut warnings = Vec::new();
        if wanted.len() > ROWS_MAX {
            wanted.truncate(ROWS_MAX);
            warnings.push(format!("only the first {ROWS_MAX} quotas are shown"));
        }
        let rows: Vec<QuotaStatus> = join_all(wanted.into_iter().map(|wanted| self.used(wanted))).await;
        warnings.extend(rows.iter().filter_map(full));
        Quotas { rows, warnings }
    }

    async fn used(&self, Wanted { row, group, path }: Wanted) -> QuotaStatus {
        let what = meta::query::What::Stat(meta::StatQuery { path: Some(path), ..meta::StatQuery::default() });
        let asked = self.metadata.query(group, meta::Query { what: Some(what) }, Instant::now() + PATIENCE);
        let sums = match timeout(PATIENCE, asked).await.map(|answer| answer.map(|answer| answer.what)) {
            Ok(Ok(Some(meta::answer::What::Entry(entry)))) => entry.sums.unwrap_or_default(),
            // A folder that nobody has used yet.
            Ok(Ok(Some(meta::answer::What::Absence(_)))) => meta::FolderSums::default(),
            Ok(Ok(_) | Err(_)) | Err(_) => return row,
        };
        QuotaStatus { used_bytes: sums.bytes, used_entries: sums.files.saturating_add(sums.folders), available: true, ..row }
    }
}

/// A quota that is used up is worth a sentence.
fn full(row: &QuotaStatus) -> Option<String> {
    let is_full = |used: u64, most: u64| most != 0 && used >= most;
    let what = match (is_full(row.used_bytes, row.quota_bytes), is_full(row.used_entries, row.quota_entries)) {
        (true, _) => "bytes",
        (false, true) => "entries",
        (false, false) => return None,
    };
    let whose = if row.login.is_empty() { String::new() } else { format!(" of {}", row.login) };
    Some(format!("the quota of {what} in the workspace {}{whose} is used up", row.workspace))
}

/// All quotas, but of folders of users at most one more than is shown.
fn wanted(system: &SystemView) -> Result<Vec<Wanted>, StateError> {
    let mut wanted = Vec::new();
    let mut of_users = Vec::new();
    for workspace in system.workspaces()? {
        for root in workspace.roots.clone() {
            if root.folder_per_user {
                of_users.push((workspace.clone(), root));
            } else {
                wanted.extend(want("workspace", (workspace.quota_bytes, workspace.quota_entries), (&workspace, &root, None)));
            }
        }
    }
    let mut after = String::new();
    while !of_users.is_empty() && wanted.len() <= ROWS_MAX {
        let users = system.users(&after, USERS_READ)?;
        let Some(last) = users.last() else { break };
        after.clone_from(&last.login);
        for user in &users {
            for (workspace, root) in &of_users {
                let place = (workspace, root, Some(user.login.as_str()));
                wanted.extend(want("workspace", (workspace.quota_bytes, workspace.quota_entries), place));
                wanted.extend(want("user", (user.quota_bytes, user.quota_entries), place));
            }
        }
    }
    Ok(wanted)
}

type PlaceOf<'a> = (&'a meta::WorkspaceRecord, &'a meta::WorkspaceRoot, Option<&'a str>);

fn want(kind: &str, (quota_bytes, quota_entries): (u64, u64), (workspace, root, login): PlaceOf<'_>) -> Option<Wanted> {
    if quota_bytes == 0 && quota_entries == 0 {
        return None;
    }
    let login = login.map(str::to_owned);
    Some(Wanted {
        group: GroupId::from(DatasourceId(root.datasource)),
        path: meta::EntryPath { base: root.entry.clone(), names: login.iter().cloned().collect() },
        row: QuotaStatus {
            kind: kind.to_owned(),
            workspace: workspace.slug.clone(),
            login: login.unwrap_or_default(),
            quota_bytes,
            quota_entries,
            ..QuotaStatus::default()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_up_is_told() {
        let row = QuotaStatus { workspace: "plans".to_owned(), used_bytes: 9, quota_bytes: 10, ..QuotaStatus::default() };
        assert_eq!(full(&row), None);
        let row = QuotaStatus { login: "alice".to_owned(), used_entries: 3, quota_entries: 3, ..row };
        assert_eq!(full(&row), Some("the quota of entries in the workspace plans of alice is used up".to_owned()));
    }

    #[test]
    fn only_what_has_a_limit_is_asked_for() {
        let workspace = meta::WorkspaceRecord { slug: "own".to_owned(), ..meta::WorkspaceRecord::default() };
        let root = meta::WorkspaceRoot { datasource: 2, folder_per_user: true, ..meta::WorkspaceRoot::default() };
        assert!(want("workspace", (0, 0), (&workspace, &root, Some("alice"))).is_none());
        let wanted = want("user", (0, 7), (&workspace, &root, Some("alice"))).expect("it has a limit");
        assert_eq!((wanted.group, wanted.path.names, wanted.row.quota_entries), (GroupId(2), vec!["alice".to_owned()], 7));
    }
}
