//! `/a/config/versioning`: versioning policies, and what one would prune. For administrators.
//!
//! The messages are those of Cells, 64-bit numbers as strings; `KeepAllSeconds` is Skep's own.

use axum::extract::{Path, State};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use skep_raft::wire::meta::v1::{DeletedStrategy, KeepPeriod, VersioningPolicyRecord};
use utoipa::ToSchema;

use super::messages::{DoneResponse, RestError};
use super::wire::{Context, RestRequest, RestResult, answer, number};
use crate::app::App;
use crate::error_code::{ErrorCode, Failure};
use crate::service::policies::policy_named;

/// A limit that is none.
const UNLIMITED: i64 = -1;

/// `treeVersioningPolicy`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = treeVersioningPolicy)]
pub(crate) struct PolicyMessage {
    /// What it is named by; never changes.
    pub uuid: String,
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
    /// Kept for clients; versions lie with their file.
    pub versions_data_source_name: String,
    /// Not used.
    pub versions_data_source_bucket: String,
    /// Bytes of all versions of a file, the current one with them: beyond it the oldest go; -1: no limit.
    #[serde(deserialize_with = "number", serialize_with = "text")]
    #[schema(value_type = String)]
    pub max_total_size: i64,
    /// Bytes of the old versions of a file, without the current one: beyond it the oldest go; -1: no limit.
    #[serde(deserialize_with = "number", serialize_with = "text")]
    #[schema(value_type = String)]
    pub max_size_per_file: i64,
    /// Bytes; of larger files old versions are not kept; -1: no limit.
    #[serde(deserialize_with = "number", serialize_with = "text")]
    #[schema(value_type = String)]
    pub ignore_files_greater_than: i64,
    /// By rising age.
    pub keep_periods: Vec<KeepPeriodMessage>,
    /// KeepAll, KeepLast or KeepNone: the versions of a file that was deleted for good.
    pub node_deleted_strategy: String,
    /// What was current within so many seconds is never pruned; 0: a day.
    #[serde(deserialize_with = "number", serialize_with = "text")]
    #[schema(value_type = String)]
    pub keep_all_seconds: i64,
    /// Every cluster has it, and nobody can change it.
    pub built_in: bool,
}

impl Default for PolicyMessage {
    fn default() -> Self {
        Self {
            uuid: String::new(),
            name: String::new(),
            description: String::new(),
            versions_data_source_name: "default".to_owned(),
            versions_data_source_bucket: String::new(),
            max_total_size: UNLIMITED,
            max_size_per_file: UNLIMITED,
            ignore_files_greater_than: UNLIMITED,
            keep_periods: Vec::new(),
            node_deleted_strategy: "KeepAll".to_owned(),
            keep_all_seconds: 0,
            built_in: false,
        }
    }
}

/// `treeVersioningKeepPeriod`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = treeVersioningKeepPeriod)]
pub(crate) struct KeepPeriodMessage {
    /// The age from which on: `0`, `10m`, `3h`, `1d`.
    pub interval_start: String,
    /// So many are kept of that age; -1: all, 0: none.
    pub max_number: i32,
}

/// `restVersioningPolicyCollection`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restVersioningPolicyCollection)]
pub(crate) struct PoliciesResponse {
    /// Those that every cluster has first.
    pub policies: Vec<PolicyMessage>,
}

/// The body of `POST /config/versioning/{Uuid}/preview`.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = skepPreviewPolicyRequest)]
pub(crate) struct PreviewRequest {
    /// The name of the datasource whose files are looked at.
    pub datasource: String,
    /// Rules that are not stored yet; left out: the policy of the Uuid as it is.
    pub policy: Option<PolicyMessage>,
}

/// What a policy would prune now.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = skepPreviewPolicyResponse)]
pub(crate) struct PreviewResponse {
    /// Files looked at.
    pub files: String,
    /// Versions that would go.
    pub versions: String,
    /// Bytes of them.
    pub bytes: String,
    /// Bytes of contents that no version would name any more; chunks that other files share with them stay.
    pub bytes_freed: String,
}

/// Lists the versioning policies.
#[utoipa::path(
    get, path = "/a/config/versioning", tag = "config",
    responses((status = 200, body = PoliciesResponse), (status = 403, body = RestError))
)]
pub(crate) async fn list(State(app): State<App>, context: Context, headers: HeaderMap) -> RestResult {
    let caller = app.caller(&headers, &context).await?;
    let policies = caller.service().policies(caller.administer()?, caller.view())?;
    Ok(answer(PoliciesResponse { policies: policies.iter().map(message).collect() }))
}

/// Looks at a policy.
#[utoipa::path(
    get, path = "/a/config/versioning/{Uuid}", tag = "config", params(("Uuid" = String, Path, description = "of the policy")),
    responses((status = 200, body = PolicyMessage), (status = 404, body = RestError))
)]
pub(crate) async fn get(State(app): State<App>, context: Context, headers: HeaderMap, Path(uuid): Path<String>) -> RestResult {
    let caller = app.caller(&headers, &context).await?;
    let _proof = caller.administer()?;
    Ok(answer(message(&policy_named(caller.view(), &uuid)?)))
}

/// Makes a policy or changes it; files of datasources that have it are looked at anew, and what it no longer keeps is freed.
#[utoipa::path(
    post, path = "/a/config/versioning/{Uuid}", tag = "config", request_body = PolicyMessage,
    params(("Uuid" = String, Path, description = "of the policy")),
    responses((status = 200, body = PolicyMessage), (status = 400, body = RestError), (status = 403, body = RestError))
)]
pub(crate) async fn put(State(_app): State<App>, Path(uuid): Path<String>, request: RestRequest) -> RestResult {
    let sent: PolicyMessage = request.json()?;
    let caller = request.caller().await?;
    if !sent.uuid.is_empty() && sent.uuid != uuid {
        let why = format!("Uuid: {} in the body is not {uuid} of the path; a Uuid does not change", sent.uuid);
        return Err(Failure::new(ErrorCode::BadRequest, why).into());
    }
    let policy = record(sent, &uuid)?;
    caller.service().put_policy(caller.administer()?, caller.view(), policy.clone(), caller.context()).await?;
    Ok(answer(message(&policy)))
}

/// Deletes a policy that no datasource has.
#[utoipa::path(
    delete, path = "/a/config/versioning/{Uuid}", tag = "config", params(("Uuid" = String, Path, description = "of the policy")),
    responses((status = 200, body = DoneResponse), (status = 404, body = RestError), (status = 409, body = RestError))
)]
pub(crate) async fn delete(State(app): State<App>, context: Context, headers: HeaderMap, Path(uuid): Path<String>) -> RestResult {
    let caller = app.caller(&headers, &context).await?;
    caller.service().delete_policy(caller.administer()?, caller.view(), &uuid, caller.context()).await?;
    Ok(answer(DoneResponse { success: true, message: format!("the policy {uuid} is deleted") }))
}

/// Counts what a policy would prune of a datasource now, were it in force; changes nothing.
#[utoipa::path(
    post, path = "/a/config/versioning/{Uuid}/preview", tag = "config", request_body = PreviewRequest,
    params(("Uuid" = String, Path, description = "of the policy")),
    responses((status = 200, body = PreviewResponse), (status = 400, body = RestError), (status = 404, body = RestError))
)]
pub(crate) async fn preview(State(_app): State<App>, Path(uuid): Path<String>, request: RestRequest) -> RestResult {
    let sent: PreviewRequest = request.json()?;
    let caller = request.caller().await?;
    let proof = caller.administer()?;
    let policy = match sent.policy {
        Some(policy) => record(policy, &uuid)?,
        None => policy_named(caller.view(), &uuid)?,
    };
    let wanted = (policy, sent.datasource.as_str());
    let preview = caller.service().preview_policy(proof, caller.view(), wanted, caller.context()).await?;
    Ok(answer(PreviewResponse {
        files: preview.files.to_string(),
        versions: preview.versions.to_string(),
        bytes: preview.bytes.to_string(),
        bytes_freed: preview.bytes_freed.to_string(),
    }))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn text<S: serde::Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

fn message(record: &VersioningPolicyRecord) -> PolicyMessage {
    let strategy = match record.node_deleted() {
        DeletedStrategy::Unspecified | DeletedStrategy::KeepAll => "KeepAll",
        DeletedStrategy::KeepLast => "KeepLast",
        DeletedStrategy::KeepNone => "KeepNone",
    };
    let period = |period: &KeepPeriod| KeepPeriodMessage { interval_start: period.interval_start.clone(), max_number: period.max_number };
    PolicyMessage {
        uuid: record.uuid.clone(),
        name: record.name.clone(),
        description: record.description.clone(),
        versions_data_source_name: record.versions_data_source_name.clone(),
        versions_data_source_bucket: String::new(),
        max_total_size: record.max_total_size,
        max_size_per_file: record.max_size_per_file,
        ignore_files_greater_than: record.ignore_files_greater_than,
        keep_periods: record.keep_periods.iter().map(period).collect(),
        node_deleted_strategy: strategy.to_owned(),
        keep_all_seconds: i64::try_from(record.keep_all_seconds).unwrap_or(i64::MAX),
        built_in: record.built_in,
    }
}

fn record(message: PolicyMessage, uuid: &str) -> Result<VersioningPolicyRecord, Failure> {
    let bad = |why: String| Failure::new(ErrorCode::BadRequest, why);
    let strategy = match message.node_deleted_strategy.as_str() {
        "" | "KeepAll" => DeletedStrategy::KeepAll,
        "KeepLast" => DeletedStrategy::KeepLast,
        "KeepNone" => DeletedStrategy::KeepNone,
        other => return Err(bad(format!("NodeDeletedStrategy: {other} is not KeepAll, KeepLast or KeepNone"))),
    };
    let keep_all_seconds = u64::try_from(message.keep_all_seconds)
        .map_err(|_negative| bad(format!("KeepAllSeconds: {} is no time", message.keep_all_seconds)))?;
    let period = |period: KeepPeriodMessage| KeepPeriod { interval_start: period.interval_start, max_number: period.max_number };
    Ok(VersioningPolicyRecord {
        uuid: uuid.to_owned(),
        name: if message.name.is_empty() { uuid.to_owned() } else { message.name },
        description: message.description,
        versions_data_source_name: message.versions_data_source_name,
        max_total_size: message.max_total_size,
        max_size_per_file: message.max_size_per_file,
        ignore_files_greater_than: message.ignore_files_greater_than,
        keep_periods: message.keep_periods.into_iter().map(period).collect(),
        node_deleted: strategy.into(),
        keep_all_seconds,
        ..VersioningPolicyRecord::default()
    })
}

#[cfg(test)]
mod tests {
    use skep_raft::state::policy::built_in;
    use skep_raft::wire::meta::v1::VersioningPolicyRecord;

    use super::{PolicyMessage, message, record};

    #[test]
    fn a_policy_has_the_fields_and_forms_of_cells() {
        let json = serde_json::to_value(message(&built_in()[1])).expect("plain fields");
        assert_eq!((&json["Uuid"], &json["NodeDeletedStrategy"]), (&"default-policy".into(), &"KeepLast".into()));
        assert_eq!((&json["MaxTotalSize"], &json["KeepAllSeconds"]), (&"-1".into(), &"86400".into()), "64-bit numbers are strings");
        assert_eq!(json["KeepPeriods"][1], serde_json::json!({"IntervalStart": "15d", "MaxNumber": 10}));
    }

    #[test]
    fn what_is_shown_is_read_as_the_same() {
        for policy in built_in() {
            let text = serde_json::to_string(&message(&policy)).expect("plain fields");
            let sent: PolicyMessage = serde_json::from_str(&text).expect("read");
            let read = record(sent, &policy.uuid).expect("a policy");
            assert_eq!(read, VersioningPolicyRecord { id: read.id.clone(), built_in: false, ..policy });
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        let refused = |json: &str| {
            let sent: PolicyMessage = serde_json::from_str(json).expect("read");
            record(sent, "mine").expect_err("refused").detail
        };
        assert!(refused(r#"{"NodeDeletedStrategy":"KeepSome"}"#).starts_with("NodeDeletedStrategy"));
        assert!(refused(r#"{"KeepAllSeconds":"-1"}"#).starts_with("KeepAllSeconds"));
    }
}
