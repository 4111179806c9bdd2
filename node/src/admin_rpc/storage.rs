//! Datasources: where bytes go.

use bytes::Bytes;
use skep_api::service::datasources::DatasourceChange;
use skep_placement::profile::{Code, Profile};
use skep_raft::wire::meta::v1 as meta;
use tonic::Status;
use zeroize::Zeroizing;

use super::wire::{
    ChangeDatasourceReply, ChangeDatasourceRequest, CreateDatasourceReply, CreateDatasourceRequest, Datasource, ListDatasourcesReply,
    ListDatasourcesRequest, ListPoliciesReply, ListPoliciesRequest, Policy,
};
use super::{AdminParts, Call, status};
use crate::clock::System;
use crate::master_key::SealPurpose;
use crate::workers::placement::profile_record;

impl AdminParts {
    pub(super) async fn list_datasources(&self, call: Call, _request: ListDatasourcesRequest) -> Result<ListDatasourcesReply, Status> {
        let records = self.app.service().all_datasources(call.proof()?, &call.view).map_err(status)?;
        let pools = call.view.pools().map_err(|error| status(error.into()))?;
        let datasources = records.into_iter().map(|record| {
            let profile = pools.iter().find(|pool| pool.id == record.pool).and_then(|pool| pool.profile.as_ref());
            let policy = call.view.policy_of(&record).map_or_else(|error| error.to_string(), |policy| policy.name);
            Datasource {
                policy,
                quota_entries: record.quota_entries,
                history_seconds: record.history_seconds,
                recycle_seconds: record.recycle_seconds,
                recycle_bytes: record.recycle_bytes,
                id: record.id,
                name: record.name,
                pool: record.pool,
                profile: profile.map(shown).unwrap_or_default(),
                automatic: profile.is_some_and(|profile| profile.automatic),
                encrypted: record.encrypted,
                quota_bytes: record.quota_bytes,
                degraded_writes_device: record.degraded_writes_device,
            }
        });
        Ok(ListDatasourcesReply { datasources: datasources.collect() })
    }

    pub(super) async fn create_datasource(&self, call: Call, request: CreateDatasourceRequest) -> Result<CreateDatasourceReply, Status> {
        let (profile, automatic) = parse_profile(&request.profile, &self.maps.current()).map_err(Status::invalid_argument)?;
        let mut key = Zeroizing::new([0; 32]);
        System.fill(key.as_mut_slice());
        let sealed = self.master.seal(SealPurpose::DatasourceKey, key.as_slice());
        let create = meta::CreateDatasource {
            name: request.name,
            profile: Some(profile_record(profile, automatic)),
            chunk_key_sealed: Bytes::from(sealed.map_err(|error| Status::internal(error.to_string()))?),
            encrypted: false,
            quota_bytes: request.quota_bytes,
            bootstrap_node: self.node.0,
            degraded_writes_device: request.degraded_writes_device,
        };
        let proposed = self.propose_cluster(&call, meta::cluster_command::What::CreateDatasource(create)).await?;
        Ok(CreateDatasourceReply { id: proposed.done.number })
    }

    pub(super) async fn change_datasource(&self, call: Call, request: ChangeDatasourceRequest) -> Result<ChangeDatasourceReply, Status> {
        let change = DatasourceChange {
            policy: request.policy,
            quota_bytes: request.quota_bytes,
            quota_entries: request.quota_entries,
            history_seconds: request.history_seconds,
            recycle_seconds: request.recycle_seconds,
            recycle_bytes: request.recycle_bytes,
            degraded_writes_device: request.degraded_writes_device,
        };
        let service = self.app.service();
        let changed = service.change_datasource(call.proof()?, &call.view, (&request.name, change), &call.context).await;
        changed.map(|()| ChangeDatasourceReply {}).map_err(status)
    }

    pub(super) async fn list_policies(&self, call: Call, _request: ListPoliciesRequest) -> Result<ListPoliciesReply, Status> {
        let service = self.app.service();
        let records = service.policies(call.proof()?, &call.view).map_err(status)?;
        let datasources = service.all_datasources(call.proof()?, &call.view).map_err(status)?;
        let policies = records.into_iter().map(|record| {
            let users = datasources.iter().filter(|datasource| datasource.policy == record.id).map(|datasource| datasource.name.clone());
            Policy {
                datasources: users.collect(),
                periods: record.keep_periods.iter().map(period_text).collect::<Vec<_>>().join(", "),
                deleted: deleted_text(record.node_deleted()).to_owned(),
                max_total_size: limit(record.max_total_size),
                max_size_per_file: limit(record.max_size_per_file),
                ignore_files_greater_than: limit(record.ignore_files_greater_than),
                uuid: record.uuid,
                name: record.name,
                built_in: record.built_in,
            }
        });
        Ok(ListPoliciesReply { policies: policies.collect() })
    }
}

/// A limit of bytes; none where nothing is limited.
fn limit(bytes: i64) -> Option<u64> {
    u64::try_from(bytes).ok().filter(|bytes| *bytes > 0)
}

/// A period as people read it.
fn period_text(period: &meta::KeepPeriod) -> String {
    match period.max_number {
        -1 => format!("from {}: all", period.interval_start),
        0 => format!("from {}: none", period.interval_start),
        most => format!("from {}: {most}", period.interval_start),
    }
}

fn deleted_text(strategy: meta::DeletedStrategy) -> &'static str {
    match strategy {
        meta::DeletedStrategy::Unspecified | meta::DeletedStrategy::KeepAll => "KeepAll",
        meta::DeletedStrategy::KeepLast => "KeepLast",
        meta::DeletedStrategy::KeepNone => "KeepNone",
    }
}

/// `auto` is what the cluster as it is now would have.
fn parse_profile(text: &str, map: &crate::cluster_map::ClusterMap) -> Result<(Profile, bool), String> {
    match text {
        "" | "auto" => Ok((map.view.auto_profile(), true)),
        text => text.parse().map(|profile| (profile, false)).map_err(|error| format!("`{text}` is no profile: {error}; or say auto")),
    }
}

fn shown(profile: &meta::Profile) -> String {
    let domain = match profile.domain() {
        meta::DomainKind::Device => "device",
        meta::DomainKind::Node | meta::DomainKind::Unspecified => "node",
        meta::DomainKind::Zone => "zone",
    };
    profile.code.as_ref().and_then(code).map_or_else(String::new, |code| format!("{code}/{domain}"))
}

/// A code as it is stored.
pub(super) fn code(code: &meta::Code) -> Option<Code> {
    Code::new(u8::try_from(code.data).ok()?, u8::try_from(code.parity).ok()?).ok()
}
