//! The system group's state at one moment, read by kind: the cluster map, identities, workspaces, jobs.
//!
//! Invariant: all that one view answers is from one moment.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use skep_placement::ids::{DatasourceId, DeviceId, GroupId, NodeId, PgId, PoolId, RecordId};

use crate::keys::{
    AppliedIndexKey, ClusterKey, DatasourceByNameKey, DatasourceKey, DeviceKey, GrantByWorkspaceKey, GrantKey, GroupKey, JobByStateKey,
    JobKey, JoinTokenKey, KeyPart, Kind, NameRest, NamespaceKey, NodeKey, PgKey, PolicyKey, PoolKey, StampKey, StateKey, TokenByUserKey,
    TokenKey, UserByLoginKey, UserKey, WorkspaceBySlugKey, WorkspaceKey,
};
use crate::state::{namespace, policy, read};
use crate::store::{Changes, Direction, Family, MemoryStore, ReadState, StateError, StateStore};
use crate::wire::meta::v1::{
    ClusterRecord, DatasourceRecord, DeviceRecord, GrantRecord, GroupRecord, JobRecord, JobState, JoinTokenRecord, NamespaceRecord,
    NodeRecord, PgRecord, PoolRecord, TokenRecord, UserRecord, VersioningPolicyRecord, WorkspaceRecord,
};

/// A view on the system group. Cheap to clone; while one lives, its moment is kept.
#[derive(Clone)]
pub struct SystemView(Arc<dyn ReadState>);

impl fmt::Debug for SystemView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemView").field("index", &self.index()).finish_non_exhaustive()
    }
}

/// Which jobs are asked for; what is not set does not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only of this user.
    pub user: Option<RecordId>,
    /// Only in these states; empty: in all.
    pub states: Vec<JobState>,
    /// At most so many; 0: all.
    pub limit: usize,
}

/// Every getter fails only if the state does: the node must stop.
#[expect(clippy::missing_errors_doc, reason = "said once above")]
impl SystemView {
    /// A view on a state of the system group.
    #[must_use]
    pub fn new(state: Box<dyn ReadState>) -> Self {
        Self(Arc::from(state))
    }

    /// A copy that holds nothing of the store it was read from.
    pub(crate) fn copy(&self) -> Result<Self, StateError> {
        let mut changes = Changes::new();
        for family in Family::ALL {
            for row in self.0.scan(family, Bound::Unbounded, Bound::Unbounded, Direction::Forward) {
                let (key, value) = row?;
                // Nothing is decided by these, and they grow.
                let is_needed = ![Kind::Audit, Kind::Answer, Kind::Idempotent, Kind::IdempotentExpiry]
                    .iter()
                    .any(|kind| key.first() == Some(&kind.number()));
                if is_needed {
                    changes.put(family, key, value);
                }
            }
        }
        let store = MemoryStore::new();
        store.commit(changes)?;
        Ok(Self::new(store.snapshot()))
    }

    fn one<K: StateKey>(&self, key: &K) -> Result<Option<K::Record>, StateError> {
        read::get(&*self.0, key)
    }

    fn all<K: StateKey>(&self, parts: &[&dyn KeyPart]) -> Result<Vec<K::Record>, StateError> {
        read::rows::<K>(&*self.0, parts, Direction::Forward).map(|row| row.map(|(_, record)| record)).collect()
    }

    /// The index of the last entry with commands that was applied: what rights are decided at.
    pub fn index(&self) -> Result<u64, StateError> {
        Ok(self.one(&AppliedIndexKey {})?.unwrap_or(0))
    }

    /// The last stamp.
    pub fn stamp(&self) -> Result<u64, StateError> {
        Ok(self.one(&StampKey {})?.unwrap_or(0))
    }

    /// The cluster; `None` before it is made.
    pub fn cluster(&self) -> Result<Option<ClusterRecord>, StateError> {
        self.one(&ClusterKey {})
    }

    /// A node.
    pub fn node(&self, node: NodeId) -> Result<Option<NodeRecord>, StateError> {
        self.one(&NodeKey { node })
    }

    /// All nodes that ever joined, by id.
    pub fn nodes(&self) -> Result<Vec<NodeRecord>, StateError> {
        self.all::<NodeKey>(&[])
    }

    /// A device.
    pub fn device(&self, device: DeviceId) -> Result<Option<DeviceRecord>, StateError> {
        self.one(&DeviceKey { device })
    }

    /// All devices there ever were, by id.
    pub fn devices(&self) -> Result<Vec<DeviceRecord>, StateError> {
        self.all::<DeviceKey>(&[])
    }

    /// A group.
    pub fn group(&self, group: GroupId) -> Result<Option<GroupRecord>, StateError> {
        self.one(&GroupKey { group })
    }

    /// All groups, the system group first.
    pub fn groups(&self) -> Result<Vec<GroupRecord>, StateError> {
        self.all::<GroupKey>(&[])
    }

    /// A pool.
    pub fn pool(&self, pool: PoolId) -> Result<Option<PoolRecord>, StateError> {
        self.one(&PoolKey { pool })
    }

    /// All pools, by id.
    pub fn pools(&self) -> Result<Vec<PoolRecord>, StateError> {
        self.all::<PoolKey>(&[])
    }

    /// A placement group.
    pub fn pg(&self, pg: PgId) -> Result<Option<PgRecord>, StateError> {
        self.one(&PgKey { pool: pg.pool, index: pg.index })
    }

    /// All placement groups of a pool, by index.
    pub fn pgs(&self, pool: PoolId) -> Result<Vec<PgRecord>, StateError> {
        self.all::<PgKey>(&[&pool])
    }

    /// A versioning policy, also one that every cluster has.
    pub fn policy(&self, id: RecordId) -> Result<Option<VersioningPolicyRecord>, StateError> {
        let built_in = policy::built_in().into_iter().find(|policy| policy.id.as_ref() == id.0.as_slice());
        if built_in.is_some() { Ok(built_in) } else { self.one(&PolicyKey { policy: id }) }
    }

    /// All versioning policies, those that every cluster has first.
    pub fn policies(&self) -> Result<Vec<VersioningPolicyRecord>, StateError> {
        let mut policies = policy::built_in();
        policies.extend(self.all::<PolicyKey>(&[])?);
        Ok(policies)
    }

    /// The policy that a datasource's files are kept by: everything, where none was ever named; the current versions alone, where it was taken away.
    pub fn policy_of(&self, datasource: &DatasourceRecord) -> Result<VersioningPolicyRecord, StateError> {
        match RecordId::try_from(datasource.policy.as_ref()) {
            Ok(id) => self
                .policy(id)?
                .ok_or_else(|| StateError::corrupt(format!("datasource {} names the policy {id}, which is not there", datasource.name))),
            Err(_none) if datasource.current_only => Ok(policy::current_only()),
            Err(_none) => Ok(policy::built_in().into_iter().next().unwrap_or_default()),
        }
    }

    /// A datasource.
    pub fn datasource(&self, datasource: DatasourceId) -> Result<Option<DatasourceRecord>, StateError> {
        self.one(&DatasourceKey { datasource })
    }

    /// The datasource of a name.
    pub fn datasource_by_name(&self, name: &str) -> Result<Option<DatasourceRecord>, StateError> {
        match self.one(&DatasourceByNameKey { name: NameRest(name.to_owned()) })? {
            Some(id) => read::expect(&*self.0, &DatasourceKey { datasource: DatasourceId(id) }).map(Some),
            None => Ok(None),
        }
    }

    /// All datasources, by id.
    pub fn datasources(&self) -> Result<Vec<DatasourceRecord>, StateError> {
        self.all::<DatasourceKey>(&[])
    }

    /// A user.
    pub fn user(&self, user: RecordId) -> Result<Option<UserRecord>, StateError> {
        self.one(&UserKey { user })
    }

    /// The user of a login.
    pub fn user_by_login(&self, login: &str) -> Result<Option<UserRecord>, StateError> {
        match self.one(&UserByLoginKey { login: NameRest(login.to_owned()) })? {
            Some(id) => self.promised_user(&id).map(Some),
            None => Ok(None),
        }
    }

    fn promised_user(&self, id: &[u8]) -> Result<UserRecord, StateError> {
        read::expect(&*self.0, &UserKey { user: read::stored_id(id, "a user id")? })
    }

    /// Users in byte order of logins, those after `after_login` (empty: from the first), at most `limit`.
    pub fn users(&self, after_login: &str, limit: usize) -> Result<Vec<UserRecord>, StateError> {
        let after = UserByLoginKey { login: NameRest(after_login.to_owned()) };
        read::rows_after(&*self.0, &[], &after).take(limit).map(|row| self.promised_user(&row?.1)).collect()
    }

    /// What a user was granted in a workspace.
    pub fn grant(&self, user: RecordId, workspace: RecordId) -> Result<Option<GrantRecord>, StateError> {
        self.one(&GrantKey { user, workspace })
    }

    /// All grants of a user.
    pub fn grants_of(&self, user: RecordId) -> Result<Vec<GrantRecord>, StateError> {
        self.all::<GrantKey>(&[&user])
    }

    /// All grants on a workspace.
    pub fn grants_on(&self, workspace: RecordId) -> Result<Vec<GrantRecord>, StateError> {
        let rows = read::rows::<GrantByWorkspaceKey>(&*self.0, &[&workspace], Direction::Forward);
        rows.map(|row| row.and_then(|(key, ())| read::expect(&*self.0, &GrantKey { user: key.user, workspace }))).collect()
    }

    /// The token whose secret has this SHA-256. Whether it has ended is for the caller to see.
    pub fn token_by_hash(&self, hash: &[u8]) -> Result<Option<TokenRecord>, StateError> {
        match hash.try_into() {
            Ok(hash) => self.one(&TokenKey { hash }),
            Err(_wrong_length) => Ok(None),
        }
    }

    /// All tokens of a user.
    pub fn tokens_of(&self, user: RecordId) -> Result<Vec<TokenRecord>, StateError> {
        let rows = read::rows::<TokenByUserKey>(&*self.0, &[&user], Direction::Forward);
        rows.map(|row| {
            let hash = read::stored_id(&row?.1, "a token's hash")?;
            read::expect(&*self.0, &TokenKey { hash })
        })
        .collect()
    }

    /// The join token whose secret has this SHA-256.
    pub fn join_token(&self, hash: &[u8]) -> Result<Option<JoinTokenRecord>, StateError> {
        match hash.try_into() {
            Ok(hash) => self.one(&JoinTokenKey { hash }),
            Err(_wrong_length) => Ok(None),
        }
    }

    /// A workspace.
    pub fn workspace(&self, workspace: RecordId) -> Result<Option<WorkspaceRecord>, StateError> {
        self.one(&WorkspaceKey { workspace })
    }

    /// The workspace of a slug.
    pub fn workspace_by_slug(&self, slug: &str) -> Result<Option<WorkspaceRecord>, StateError> {
        match self.one(&WorkspaceBySlugKey { slug: NameRest(slug.to_owned()) })? {
            Some(id) => read::expect(&*self.0, &WorkspaceKey { workspace: read::stored_id(&id, "a workspace id")? }).map(Some),
            None => Ok(None),
        }
    }

    /// All workspaces.
    pub fn workspaces(&self) -> Result<Vec<WorkspaceRecord>, StateError> {
        self.all::<WorkspaceKey>(&[])
    }

    /// A kind of metadata, also one that every cluster has.
    pub fn namespace(&self, name: &str) -> Result<Option<NamespaceRecord>, StateError> {
        let stored = self.one(&NamespaceKey { name: NameRest(name.to_owned()) })?;
        Ok(match namespace::built_in_of(name) {
            Some(built_in) => Some(NamespaceRecord { tags: stored.map(|record| record.tags).unwrap_or_default(), ..built_in }),
            None => stored,
        })
    }

    /// All kinds of metadata, those that every cluster has first.
    pub fn namespaces(&self) -> Result<Vec<NamespaceRecord>, StateError> {
        let mut all = Vec::new();
        for built_in in namespace::built_in() {
            all.extend(self.namespace(&built_in.name)?);
        }
        let stored = self.all::<NamespaceKey>(&[])?;
        all.extend(stored.into_iter().filter(|record| namespace::built_in_of(&record.name).is_none()));
        Ok(all)
    }

    /// A job.
    pub fn job(&self, job: RecordId) -> Result<Option<JobRecord>, StateError> {
        self.one(&JobKey { job })
    }

    /// Jobs state by state, the newest of each state first.
    pub fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobRecord>, StateError> {
        const ALL: [JobState; 5] = [JobState::Running, JobState::Queued, JobState::Finished, JobState::Failed, JobState::Cancelled];
        let states = if filter.states.is_empty() { &ALL[..] } else { &filter.states };
        let limit = if filter.limit == 0 { usize::MAX } else { filter.limit };
        let mut jobs = Vec::new();
        for state in states {
            for row in read::rows::<JobByStateKey>(&*self.0, &[&JobByStateKey::number(*state)], Direction::Backward) {
                if jobs.len() >= limit {
                    return Ok(jobs);
                }
                let job = read::expect(&*self.0, &JobKey { job: row?.0.job })?;
                if filter.user.is_none_or(|user| job.user.as_ref() == user.0.as_slice()) {
                    jobs.push(job);
                }
            }
        }
        Ok(jobs)
    }
}
