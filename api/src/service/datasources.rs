//! Datasources as administrators set them: the versioning policy, the quota, how far back history reaches, how long recycle bins keep.
//!
//! Invariant: what a change does not name stays as it is.

use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1::{ChangeDatasource, DatasourceRecord, cluster_command};

use super::Service;
use super::policies::policy_named;
use crate::auth::rights::{Administer, Authorized, Cluster};
use crate::error_code::{ErrorCode, Failure};
use crate::request_context::RequestContext;

/// Changes of a datasource; none: stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasourceChange {
    /// The Uuid of its versioning policy; empty: it has none any more, and of each file the current version alone is kept.
    pub policy: Option<String>,
    /// Stored bytes at most; 0: no limit.
    pub quota_bytes: Option<u64>,
    /// Entries at most; 0: no limit.
    pub quota_entries: Option<u64>,
    /// How far back reads may go; at least a second.
    pub history_seconds: Option<u64>,
    /// What lies longer in a recycle bin is deleted; 0: never.
    pub recycle_seconds: Option<u64>,
    /// Bytes that a recycle bin may hold, the oldest goes first; 0: no limit.
    pub recycle_bytes: Option<u64>,
    /// With too few failure domains alive, devices of one domain count; else such writes are refused.
    pub degraded_writes_device: Option<bool>,
}

impl Service {
    /// Lists all datasources, for administrators.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for a damaged record.
    pub fn all_datasources(&self, _proof: Authorized<Administer, Cluster>, view: &SystemView) -> Result<Vec<DatasourceRecord>, Failure> {
        Ok(view.datasources()?)
    }

    /// A datasource by its name, for administrators.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`].
    pub fn datasource(&self, _proof: Authorized<Administer, Cluster>, view: &SystemView, name: &str) -> Result<DatasourceRecord, Failure> {
        datasource_named(view, name)
    }

    /// Changes a datasource. A new policy has every file looked at anew.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] for an unknown datasource or policy, [`ErrorCode::BadRequest`] for a history of nothing; [`ErrorCode::Unknown`].
    pub async fn change_datasource(
        &self,
        proof: Authorized<Administer, Cluster>,
        view: &SystemView,
        (name, change): (&str, DatasourceChange),
        context: &RequestContext,
    ) -> Result<(), Failure> {
        let record = datasource_named(view, name)?;
        let change = command_of_change(view, &record, change)?;
        self.propose_cluster(&proof, cluster_command::What::ChangeDatasource(change), context).await.map(|_done| ())
    }
}

/// The datasource of a name.
pub(crate) fn datasource_named(view: &SystemView, name: &str) -> Result<DatasourceRecord, Failure> {
    view.datasource_by_name(name)?.ok_or_else(|| Failure::new(ErrorCode::NotFound, format!("there is no datasource named {name}")))
}

fn command_of_change(view: &SystemView, record: &DatasourceRecord, change: DatasourceChange) -> Result<ChangeDatasource, Failure> {
    if change.history_seconds == Some(0) {
        return Err(Failure::new(ErrorCode::BadRequest, "history reaches back a second at least; 604800 seconds are a week, the default"));
    }
    let policy = match change.policy.as_deref() {
        None | Some("") => bytes::Bytes::new(),
        Some(uuid) => policy_named(view, uuid)?.id,
    };
    Ok(ChangeDatasource {
        datasource: record.id,
        policy,
        clear_policy: change.policy.as_deref() == Some(""),
        set_quota: change.quota_bytes.is_some() || change.quota_entries.is_some(),
        quota_bytes: change.quota_bytes.unwrap_or(record.quota_bytes),
        quota_entries: change.quota_entries.unwrap_or(record.quota_entries),
        history_seconds: change.history_seconds.unwrap_or(0),
        set_recycle: change.recycle_seconds.is_some() || change.recycle_bytes.is_some(),
        recycle_seconds: change.recycle_seconds.unwrap_or(record.recycle_seconds),
        recycle_bytes: change.recycle_bytes.unwrap_or(record.recycle_bytes),
        set_degraded_writes: change.degraded_writes_device.is_some(),
        degraded_writes_device: change.degraded_writes_device.unwrap_or(record.degraded_writes_device),
    })
}

#[cfg(test)]
mod tests {
    use skep_raft::store::{MemoryStore, StateStore};
    use skep_raft::system_view::SystemView;
    use skep_raft::wire::meta::v1::DatasourceRecord;

    use super::{DatasourceChange, command_of_change};
    use crate::error_code::ErrorCode;

    #[test]
    fn what_is_not_named_stays() {
        let view = SystemView::new(MemoryStore::new().snapshot());
        let record = DatasourceRecord {
            id: 3,
            quota_bytes: 5,
            quota_entries: 6,
            recycle_seconds: 7,
            recycle_bytes: 8,
            ..DatasourceRecord::default()
        };
        let of = |change| command_of_change(&view, &record, change);
        let nothing = of(DatasourceChange::default()).expect("nothing is wrong");
        assert_eq!((nothing.datasource, nothing.set_quota, nothing.set_recycle, nothing.clear_policy), (3, false, false, false));
        let entries = of(DatasourceChange { quota_entries: Some(0), ..DatasourceChange::default() }).expect("nothing is wrong");
        assert_eq!((entries.set_quota, entries.quota_bytes, entries.quota_entries), (true, 5, 0));
        let recycle = of(DatasourceChange { recycle_seconds: Some(9), ..DatasourceChange::default() }).expect("nothing is wrong");
        assert_eq!((recycle.set_recycle, recycle.recycle_seconds, recycle.recycle_bytes), (true, 9, 8));
        assert!(!recycle.set_degraded_writes, "not named");
        let degraded =
            of(DatasourceChange { degraded_writes_device: Some(true), ..DatasourceChange::default() }).expect("nothing is wrong");
        assert_eq!((degraded.set_degraded_writes, degraded.degraded_writes_device, degraded.set_recycle), (true, true, false));
        let cleared = of(DatasourceChange { policy: Some(String::new()), ..DatasourceChange::default() }).expect("nothing is wrong");
        assert!(cleared.clear_policy && cleared.policy.is_empty());
        let none = of(DatasourceChange { history_seconds: Some(0), ..DatasourceChange::default() }).expect_err("refused");
        assert_eq!(none.code, ErrorCode::BadRequest);
        let unknown = of(DatasourceChange { policy: Some("none".to_owned()), ..DatasourceChange::default() }).expect_err("refused");
        assert_eq!(unknown.code, ErrorCode::NotFound);
    }
}
