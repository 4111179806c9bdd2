//! Where a user's path leads: the workspace, its datasource, and the place in that tree. Decided over one view, without asking the tree.

use std::sync::Arc;

use skep_placement::ids::{DatasourceId, GroupId, RecordId};
use skep_raft::state::rights;
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1::{EntryPath, QuotaLimit, WorkspaceRecord};

use crate::auth::authenticator::SignedIn;
use crate::auth::rights::Subject;
use crate::error_code::{ErrorCode, Failure};
use crate::service::instant;
use crate::service::user_path::UserPath;

/// The name of the folder that takes what is deleted.
pub const RECYCLE_BIN: &str = "recycle_bin";

/// A place in a workspace as one user sees it.
#[derive(Clone, Debug)]
pub struct Place {
    workspace: Arc<WorkspaceRecord>,
    workspace_id: RecordId,
    datasource: DatasourceId,
    /// The workspace's root for this user.
    root: EntryPath,
    /// The user whose own folder the root is.
    home_of: Option<RecordId>,
    /// What the user's own folder may hold, where the user has a limit.
    user_quota: Option<QuotaLimit>,
    /// The instant that is looked at, as a stamp; none: now.
    at: Option<u64>,
    path: UserPath,
}

impl Subject for Place {
    fn resource(&self) -> rights::Resource {
        rights::Resource::Workspace(self.workspace_id)
    }

    fn shown(&self) -> String {
        self.path.to_string()
    }

    fn is_past(&self) -> bool {
        self.at.is_some()
    }

    /// Of the workspace; of one with a folder for each user, of each.
    fn quotas(&self) -> Vec<QuotaLimit> {
        let (bytes_max, entries_max) = (self.workspace.quota_bytes, self.workspace.quota_entries);
        let mut quotas = Vec::new();
        if bytes_max != 0 || entries_max != 0 {
            let name = format!("the workspace {}", self.workspace.slug);
            quotas.push(QuotaLimit { root: Some(self.root()), bytes_max, entries_max, name });
        }
        quotas.extend(self.user_quota.clone());
        quotas
    }
}

impl Place {
    /// Finds the place of a path that names a workspace.
    pub(crate) fn find(view: &SystemView, who: &SignedIn, path: UserPath) -> Result<Self, Failure> {
        let slug = path.slug().ok_or_else(|| Failure::new(ErrorCode::BadRequest, "name a workspace: the path is empty"))?;
        if let Some(workspace) = view.workspace_by_slug(slug)? {
            return Self::in_workspace(workspace, who, path);
        }
        // `slug@time` is the workspace as it was.
        let (plain, time) = slug.rsplit_once('@').ok_or_else(|| Failure::not_found(slug))?;
        let workspace = view.workspace_by_slug(plain)?.ok_or_else(|| Failure::not_found(slug))?;
        let at = instant::parse(time).map_err(|failure| failure.at(slug))?;
        Ok(Self::in_workspace(workspace, who, path)?.at(at))
    }

    /// The same place as it was at an instant, a stamp. Only to look at.
    pub(crate) fn at(self, at: u64) -> Self {
        Self { at: Some(at), ..self }
    }

    /// The instant that is looked at for questions; 0: now.
    pub(crate) fn instant(&self) -> u64 {
        self.at.unwrap_or(0)
    }

    /// The place of a path in a workspace that was read already.
    pub(crate) fn in_workspace(workspace: WorkspaceRecord, who: &SignedIn, path: UserPath) -> Result<Self, Failure> {
        let [root] = workspace.roots.as_slice() else {
            let why = format!("{}: a workspace with {} roots cannot be opened by this version", workspace.slug, workspace.roots.len());
            return Err(Failure::new(ErrorCode::Unsupported, why));
        };
        let workspace_id = RecordId::try_from(workspace.id.as_ref())
            .map_err(|_bad_id| Failure::new(ErrorCode::Internal, format!("{}: the workspace's record is malformed", workspace.slug)))?;
        let datasource = DatasourceId(root.datasource);
        let mut entry = EntryPath { base: root.entry.clone(), names: Vec::new() };
        let mut home_of = None;
        if root.folder_per_user {
            crate::service::user_path::check_name(&who.identity().login).map_err(|failure| failure.at("the login as a folder's name"))?;
            entry.names.push(who.identity().login.clone());
            home_of = Some(who.identity().user);
        }
        let (bytes_max, entries_max) = who.quota();
        let user_quota = (home_of.is_some() && (bytes_max != 0 || entries_max != 0)).then(|| {
            let name = format!("the user {}", who.identity().login);
            QuotaLimit { root: Some(entry.clone()), bytes_max, entries_max, name }
        });
        Ok(Self { workspace_id, datasource, root: entry, home_of, user_quota, at: None, path, workspace: Arc::new(workspace) })
    }

    /// The workspace.
    pub(crate) fn workspace(&self) -> &WorkspaceRecord {
        &self.workspace
    }

    /// Whether both are in one workspace, as it was read once.
    pub(crate) fn shares_workspace(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.workspace, &other.workspace)
    }

    /// Its id.
    pub(crate) fn id(&self) -> RecordId {
        self.workspace_id
    }

    /// The path as the user wrote it.
    pub(crate) fn path(&self) -> &UserPath {
        &self.path
    }

    /// True for the workspace's root itself.
    pub(crate) fn is_workspace_root(&self) -> bool {
        self.path.below().is_empty()
    }

    /// True for the recycle bin and what lies in it.
    pub(crate) fn is_in_recycle_bin(&self) -> bool {
        self.path.below().first().is_some_and(|name| name == RECYCLE_BIN)
    }

    pub(crate) fn datasource(&self) -> DatasourceId {
        self.datasource
    }

    pub(crate) fn group(&self) -> GroupId {
        self.datasource.into()
    }

    /// The workspace's root in the datasource's tree.
    pub(crate) fn root(&self) -> EntryPath {
        self.root.clone()
    }

    /// How many names of an entry path belong to the root.
    pub(crate) fn root_depth(&self) -> usize {
        self.root.names.len()
    }

    /// Whose own folder the root is, and in which workspace.
    pub(crate) fn home(&self) -> Option<(RecordId, RecordId)> {
        self.home_of.map(|user| (user, self.workspace_id))
    }

    /// The place in the datasource's tree.
    pub(crate) fn entry(&self) -> EntryPath {
        let mut entry = self.root.clone();
        entry.names.extend_from_slice(self.path.below());
        entry
    }

    /// A place in the same workspace.
    pub(crate) fn with_path(&self, path: UserPath) -> Self {
        debug_assert_eq!(path.slug(), self.path.slug(), "a place does not change its workspace");
        Self { workspace: Arc::clone(&self.workspace), root: self.root.clone(), user_quota: self.user_quota.clone(), path, ..*self }
    }

    /// The last name; none for the workspace's root.
    pub(crate) fn name(&self) -> Option<&str> {
        self.path.below().last().map(String::as_str)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;
    use skep_placement::ids::{EntryId, RecordId};
    use skep_raft::wire::meta::v1::{WorkspaceRecord, WorkspaceRoot};

    use super::Place;
    use crate::auth::authenticator::SignedIn;
    use crate::error_code::ErrorCode;

    pub(crate) fn workspace(slug: &str, folder_per_user: bool) -> WorkspaceRecord {
        let root = WorkspaceRoot { datasource: 7, entry: Bytes::copy_from_slice(&EntryId::ROOT.0), folder_per_user };
        WorkspaceRecord {
            id: Bytes::copy_from_slice(&[5; 16]),
            slug: slug.to_owned(),
            label: "Files".to_owned(),
            roots: vec![root],
            ..WorkspaceRecord::default()
        }
    }

    fn place(folder_per_user: bool, path: &str) -> Place {
        let path = path.parse().expect("a path");
        Place::in_workspace(workspace("files", folder_per_user), &SignedIn::operator(), path).expect("a place")
    }

    #[test]
    fn a_plain_workspace_maps_names_below_its_root() {
        let place = place(false, "files/a/b");
        assert_eq!(place.entry().names, ["a", "b"]);
        assert_eq!((place.group().0, place.workspace_id, place.home()), (7, RecordId([5; 16]), None));
        assert_eq!(place.name(), Some("b"));
    }

    #[test]
    fn a_folder_for_each_user_hangs_below_the_login() {
        let place = place(true, "files/a");
        assert_eq!(place.entry().names, ["operator", "a"]);
        assert_eq!((place.root().names, place.root_depth()), (vec!["operator".to_owned()], 1));
        assert!(place.home().is_some());
    }

    #[test]
    fn the_root_and_the_bin_are_known() {
        assert!(place(false, "files").is_workspace_root());
        assert!(place(false, "files/recycle_bin/x").is_in_recycle_bin());
        assert!(!place(false, "files/a/recycle_bin").is_in_recycle_bin());
    }

    #[test]
    fn a_workspace_with_several_roots_is_refused_with_a_sentence() {
        let mut several = workspace("files", false);
        several.roots.push(several.roots[0].clone());
        let failure = Place::in_workspace(several, &SignedIn::operator(), "files".parse().expect("a path")).expect_err("refused");
        assert_eq!(failure.code, ErrorCode::Unsupported);
    }
}
