//! `/a/config/datasource`: datasources and what is set of them. For administrators.
//!
//! What Cells has no field for stands in `StorageConfiguration` under names that begin with `skep:`, as numbers in strings.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1::DatasourceRecord;
use utoipa::ToSchema;

use super::messages::RestError;
use super::wire::{Context, RestRequest, RestResult, answer, seconds};
use crate::app::App;
use crate::error_code::{ErrorCode, Failure};
use crate::service::datasources::{DatasourceChange, datasource_named};
use crate::service::policies::uuid_of_policy;

const QUOTA_BYTES: &str = "skep:quota_bytes";
const QUOTA_ENTRIES: &str = "skep:quota_entries";
const HISTORY_SECONDS: &str = "skep:history_seconds";
const RECYCLE_SECONDS: &str = "skep:recycle_seconds";
const RECYCLE_BYTES: &str = "skep:recycle_bytes";

/// `objectDataSource`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = objectDataSource)]
pub(crate) struct DatasourceMessage {
    /// Its name.
    pub name: String,
    /// Always LOCAL: the devices of the cluster.
    pub storage_type: &'static str,
    /// MASTER if its contents are encrypted, else CLEAR.
    pub encryption_mode: &'static str,
    /// The Uuid of its versioning policy; empty: none.
    pub versioning_policy_name: String,
    /// Seconds since the Unix epoch.
    pub creation_date: i32,
    /// Always true: contents do not lie as files.
    pub flat_storage: bool,
    /// `skep:quota_bytes`, `skep:quota_entries`, `skep:history_seconds` (0: a week), `skep:recycle_seconds`, `skep:recycle_bytes`; 0: none.
    pub storage_configuration: BTreeMap<String, String>,
}

/// `restDataSourceCollection`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restDataSourceCollection)]
pub(crate) struct DatasourcesResponse {
    /// All of them.
    pub data_sources: Vec<DatasourceMessage>,
    /// How many.
    pub total: i32,
}

/// The body of `POST /config/datasource/{Name}`; what is left out stays.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = skepChangeDataSourceRequest)]
pub(crate) struct ChangeRequest {
    /// The Uuid of a versioning policy; empty: the policy is taken away, and of each file the current version alone is kept.
    pub versioning_policy_name: Option<String>,
    /// `skep:quota_bytes`, `skep:quota_entries`, `skep:history_seconds`, `skep:recycle_seconds`, `skep:recycle_bytes`.
    pub storage_configuration: BTreeMap<String, String>,
}

/// Lists the datasources.
#[utoipa::path(
    get, path = "/a/config/datasource", tag = "config",
    responses((status = 200, body = DatasourcesResponse), (status = 403, body = RestError))
)]
pub(crate) async fn list(State(app): State<App>, context: Context, headers: HeaderMap) -> RestResult {
    let caller = app.caller(&headers, &context).await?;
    let records = caller.service().all_datasources(caller.administer()?, caller.view())?;
    let data_sources = records.iter().map(|record| message(caller.view(), record)).collect::<Result<Vec<_>, Failure>>()?;
    let total = i32::try_from(data_sources.len()).unwrap_or(i32::MAX);
    Ok(answer(DatasourcesResponse { data_sources, total }))
}

/// Looks at a datasource.
#[utoipa::path(
    get, path = "/a/config/datasource/{Name}", tag = "config", params(("Name" = String, Path, description = "of the datasource")),
    responses((status = 200, body = DatasourceMessage), (status = 404, body = RestError))
)]
pub(crate) async fn get(State(app): State<App>, context: Context, headers: HeaderMap, Path(name): Path<String>) -> RestResult {
    let caller = app.caller(&headers, &context).await?;
    let record = caller.service().datasource(caller.administer()?, caller.view(), &name)?;
    Ok(answer(message(caller.view(), &record)?))
}

/// Changes a datasource: its versioning policy, quota, history, and how long recycle bins keep.
#[utoipa::path(
    post, path = "/a/config/datasource/{Name}", tag = "config", request_body = ChangeRequest,
    params(("Name" = String, Path, description = "of the datasource")),
    responses((status = 200, body = DatasourceMessage), (status = 400, body = RestError), (status = 404, body = RestError))
)]
pub(crate) async fn change(State(_app): State<App>, Path(name): Path<String>, request: RestRequest) -> RestResult {
    let sent: ChangeRequest = request.json()?;
    let caller = request.caller().await?;
    let proof = caller.administer()?;
    let view = caller.view();
    if view.datasource_by_name(&name).map_err(Failure::from)?.is_none() {
        let why = format!("there is no datasource named {name}; `skep datasource create {name}` on a node makes one");
        return Err(Failure::new(ErrorCode::NotFound, why).into());
    }
    caller.service().change_datasource(proof, view, (&name, wanted(&sent)?), caller.context()).await?;
    let context = caller.context().continued();
    let view = caller.service().metadata().system(context.deadline()).await.map_err(Failure::from)?;
    Ok(answer(message(&view, &datasource_named(&view, &name)?)?))
}

fn wanted(sent: &ChangeRequest) -> Result<DatasourceChange, Failure> {
    let known = [QUOTA_BYTES, QUOTA_ENTRIES, HISTORY_SECONDS, RECYCLE_SECONDS, RECYCLE_BYTES];
    if let Some(unknown) = sent.storage_configuration.keys().find(|name| name.starts_with("skep:") && !known.contains(&name.as_str())) {
        let why = format!("StorageConfiguration: there is no {unknown}; known are {}", known.join(", "));
        return Err(Failure::new(ErrorCode::BadRequest, why));
    }
    let number = |name: &str| match sent.storage_configuration.get(name) {
        None => Ok(None),
        Some(text) => text
            .parse::<u64>()
            .map(Some)
            .map_err(|_no_number| Failure::new(ErrorCode::BadRequest, format!("StorageConfiguration.{name}: {text:?} is no whole number"))),
    };
    Ok(DatasourceChange {
        policy: sent.versioning_policy_name.clone(),
        quota_bytes: number(QUOTA_BYTES)?,
        quota_entries: number(QUOTA_ENTRIES)?,
        // As it is shown: 0 is the default.
        history_seconds: number(HISTORY_SECONDS)?.filter(|seconds| *seconds != 0),
        recycle_seconds: number(RECYCLE_SECONDS)?,
        recycle_bytes: number(RECYCLE_BYTES)?,
        degraded_writes_device: None,
    })
}

fn message(view: &SystemView, record: &DatasourceRecord) -> Result<DatasourceMessage, Failure> {
    let numbers = [
        (QUOTA_BYTES, record.quota_bytes),
        (QUOTA_ENTRIES, record.quota_entries),
        (HISTORY_SECONDS, record.history_seconds),
        (RECYCLE_SECONDS, record.recycle_seconds),
        (RECYCLE_BYTES, record.recycle_bytes),
    ];
    Ok(DatasourceMessage {
        name: record.name.clone(),
        storage_type: "LOCAL",
        encryption_mode: if record.encrypted { "MASTER" } else { "CLEAR" },
        versioning_policy_name: if record.policy.is_empty() && !record.current_only {
            // What has kept everything since it was made does so by this policy.
            "keep-all".to_owned()
        } else {
            uuid_of_policy(view, &record.policy)?
        },
        creation_date: i32::try_from(seconds(record.created_at)).unwrap_or(i32::MAX),
        flat_storage: true,
        storage_configuration: numbers.into_iter().map(|(name, number)| (name.to_owned(), number.to_string())).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::{ChangeRequest, wanted};
    use crate::error_code::ErrorCode;
    use crate::service::datasources::DatasourceChange;

    fn read(json: &str) -> Result<DatasourceChange, crate::error_code::Failure> {
        wanted(&serde_json::from_str::<ChangeRequest>(json).expect("read"))
    }

    #[test]
    fn what_is_left_out_stays_and_an_empty_policy_is_none() {
        assert_eq!(read(r#"{"Name":"pydiods1","StorageType":"LOCAL"}"#).expect("good"), DatasourceChange::default());
        let change = read(r#"{"VersioningPolicyName":"","StorageConfiguration":{"skep:quota_bytes":"7","folder":"/x"}}"#).expect("good");
        assert_eq!((change.policy.as_deref(), change.quota_bytes, change.quota_entries), (Some(""), Some(7), None));
    }

    #[test]
    fn what_is_no_number_or_not_known_is_refused_by_its_name() {
        for bad in [r#"{"StorageConfiguration":{"skep:quota_bytes":"lots"}}"#, r#"{"StorageConfiguration":{"skep:quota":"1"}}"#] {
            let failure = read(bad).expect_err("refused");
            assert!(failure.code == ErrorCode::BadRequest && failure.detail.contains("skep:quota"), "{failure}");
        }
    }
}
