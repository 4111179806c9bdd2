//! `/a/workspace`: workspaces as administrators set them; everybody lists what they may see.
//!
//! `Attributes` is a JSON text, as in Cells. `SKIP_RECYCLE`, `QUOTA`, `QUOTA_ENTRIES` and `DEFAULT_RIGHTS` mean something here; others are kept for the clients
//! that set them.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use skep_placement::ids::{EntryId, RecordId};
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1::{Permission, WorkspaceRecord, WorkspaceScope};
use utoipa::ToSchema;

use super::messages::{DoneResponse, RestError, SentNode};
use super::wire::{Context, RestRequest, RestResult, answer, seconds};
use crate::app::App;
use crate::error_code::{ErrorCode, Failure};
use crate::service::user_path::UserPath;
use crate::service::workspaces::{WorkspaceChange, WorkspaceRequest, workspace_named};

const SKIP_RECYCLE: &str = "SKIP_RECYCLE";
const QUOTA: &str = "QUOTA";
const QUOTA_ENTRIES: &str = "QUOTA_ENTRIES";
const DEFAULT_RIGHTS: &str = "DEFAULT_RIGHTS";
/// How clients name the root of a datasource.
const DATASOURCE_ROOT: &str = "DATASOURCE:";

/// `idmWorkspace`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = idmWorkspace)]
pub(crate) struct WorkspaceMessage {
    /// Its id.
    #[serde(rename = "UUID")]
    pub uuid: String,
    /// Its name in paths.
    #[serde(rename = "Slug")]
    pub slug: String,
    /// For people.
    #[serde(rename = "Label")]
    pub label: String,
    /// For people.
    #[serde(rename = "Description")]
    pub description: String,
    /// ADMIN, ROOM or LINK.
    #[serde(rename = "Scope")]
    pub scope: &'static str,
    /// Seconds since the Unix epoch.
    #[serde(rename = "LastUpdated")]
    pub last_updated: i32,
    /// A JSON text: `SKIP_RECYCLE`, `QUOTA` (bytes, of each user's folder where each has one), `QUOTA_ENTRIES`, `DEFAULT_RIGHTS`, and what clients keep.
    #[serde(rename = "Attributes")]
    pub attributes: String,
    /// The folders it shows: `DATASOURCE:name`, or the id of a folder.
    #[serde(rename = "RootUUIDs")]
    pub root_uuids: Vec<String>,
    /// The caller may change it.
    #[serde(rename = "PoliciesContextEditable")]
    pub policies_context_editable: bool,
}

/// `restWorkspaceCollection`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restWorkspaceCollection)]
pub(crate) struct WorkspacesResponse {
    /// In the order of slugs.
    pub workspaces: Vec<WorkspaceMessage>,
    /// How many.
    pub total: i32,
}

/// The body of `PUT /workspace/{Slug}`; what is left out stays.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = skepPutWorkspaceRequest)]
pub(crate) struct PutRequest {
    /// For people.
    #[serde(rename = "Label")]
    pub label: Option<String>,
    /// For people.
    #[serde(rename = "Description")]
    pub description: Option<String>,
    /// A JSON text; names that are left out stay.
    #[serde(rename = "Attributes")]
    pub attributes: String,
    /// Of a new workspace: `DATASOURCE:name`.
    #[serde(rename = "RootUUIDs")]
    pub root_uuids: Vec<String>,
    /// Of a new workspace: a node whose path is `datasource/folder`.
    #[serde(rename = "RootNodes")]
    pub root_nodes: BTreeMap<String, SentNode>,
}

/// Lists the workspaces that the caller may see, for administrators all.
#[utoipa::path(
    post, path = "/a/workspace", tag = "workspaces",
    responses((status = 200, body = WorkspacesResponse), (status = 401, body = RestError))
)]
pub(crate) async fn list(State(_app): State<App>, request: RestRequest) -> RestResult {
    let caller = request.caller().await?;
    let (service, view) = (caller.service(), caller.view());
    let mut records = if caller.is_admin() {
        service.all_workspaces(caller.administer()?, view)?
    } else {
        service.workspaces_of(caller.own()?, view)?.into_iter().map(|seen| seen.record).collect()
    };
    records.sort_by(|a, b| a.slug.cmp(&b.slug));
    let workspaces = records.iter().map(|record| message(view, record, caller.is_admin())).collect::<Result<Vec<_>, Failure>>()?;
    let total = i32::try_from(workspaces.len()).unwrap_or(i32::MAX);
    Ok(answer(WorkspacesResponse { workspaces, total }))
}

/// Makes or changes a workspace.
#[utoipa::path(
    put, path = "/a/workspace/{Slug}", tag = "workspaces", request_body = PutRequest,
    params(("Slug" = String, Path, description = "its name in paths")),
    responses((status = 200, body = WorkspaceMessage), (status = 400, body = RestError), (status = 403, body = RestError))
)]
pub(crate) async fn put(State(_app): State<App>, Path(slug): Path<String>, request: RestRequest) -> RestResult {
    let sent: PutRequest = request.json()?;
    let caller = request.caller().await?;
    let (service, context) = (caller.service(), caller.context());
    let change = WorkspaceChange { label: sent.label.clone(), description: sent.description.clone(), ..attributes(&sent.attributes)? };
    let proof = caller.administer()?;
    if caller.view().workspace_by_slug(&slug).map_err(Failure::from)?.is_some() {
        service.change_workspace(proof, caller.view(), (&slug, change), context).await?;
    } else {
        let (datasource, folder) = root(&sent)?;
        let wanted = WorkspaceRequest { slug: slug.clone(), datasource, folder, folder_per_user: false, set: change };
        service.create_workspace(proof, caller.view(), wanted, context).await?;
    }
    let view = service.metadata().system(context.continued().deadline()).await.map_err(Failure::from)?;
    Ok(answer(message(&view, &workspace_named(&view, &slug)?, true)?))
}

/// Takes a workspace away with the rights on it; its files stay in the datasource.
#[utoipa::path(
    delete, path = "/a/workspace/{Slug}", tag = "workspaces", params(("Slug" = String, Path, description = "its name in paths")),
    responses((status = 200, body = DoneResponse), (status = 404, body = RestError))
)]
pub(crate) async fn delete(State(app): State<App>, context: Context, headers: HeaderMap, Path(slug): Path<String>) -> RestResult {
    let caller = app.caller(&headers, &context).await?;
    let proof = caller.administer()?;
    let id = RecordId::try_from(workspace_named(caller.view(), &slug)?.id.as_ref()).unwrap_or_default();
    caller.service().delete_workspace(proof, id, caller.context()).await?;
    Ok(answer(DoneResponse { success: true, message: format!("the workspace {slug} is removed; its files stay in the datasource") }))
}

/// The datasource and folder that a new workspace shows.
fn root(sent: &PutRequest) -> Result<(String, String), Failure> {
    let bad = |why: &str| Failure::new(ErrorCode::BadRequest, format!("a new workspace {why}"));
    let by_name = sent.root_uuids.iter().filter_map(|uuid| uuid.strip_prefix(DATASOURCE_ROOT)).map(|name| (name.to_owned(), String::new()));
    let mut by_path = Vec::new();
    for node in sent.root_nodes.values() {
        let path: UserPath = node.path.parse()?;
        let Some(datasource) = path.slug() else { continue };
        by_path.push((datasource.to_owned(), path.below().join("/")));
    }
    let mut roots = by_path.into_iter().chain(by_name);
    let first = roots
        .next()
        .ok_or_else(|| bad("needs a root: RootUUIDs [\"DATASOURCE:name\"], or RootNodes with a Path of the form datasource/folder"))?;
    if roots.next().is_some() {
        return Err(bad("has one root in this version"));
    }
    Ok(first)
}

/// Reads the JSON text of attributes.
fn attributes(text: &str) -> Result<WorkspaceChange, Failure> {
    let mut change = WorkspaceChange::default();
    if text.trim().is_empty() {
        return Ok(change);
    }
    let read: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| Failure::new(ErrorCode::BadRequest, format!("Attributes: this is not the JSON text of an object: {error}")))?;
    for (name, value) in read {
        match name.as_str() {
            SKIP_RECYCLE => change.skip_recycle = Some(flag(&name, &value)?),
            QUOTA => change.quota_bytes = Some(count(&name, &value)?),
            QUOTA_ENTRIES => change.quota_entries = Some(count(&name, &value)?),
            DEFAULT_RIGHTS => change.default_permission = Some(rights(&value)?),
            _ => {
                let kept = if value.is_null() { String::new() } else { value.to_string() };
                change.attributes.insert(name, kept);
            }
        }
    }
    Ok(change)
}

fn wrong(name: &str, value: &Value, wanted: &str) -> Failure {
    Failure::new(ErrorCode::BadRequest, format!("Attributes.{name}: {value} is not {wanted}"))
}

fn flag(name: &str, value: &Value) -> Result<bool, Failure> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" || text.is_empty() => Ok(false),
        Value::Null => Ok(false),
        _ => Err(wrong(name, value, "true or false")),
    }
}

fn count(name: &str, value: &Value) -> Result<u64, Failure> {
    let number = match value {
        Value::Null => Some(0),
        Value::String(text) if text.is_empty() => Some(0),
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    number.ok_or_else(|| wrong(name, value, "a whole number; 0 is no limit"))
}

fn rights(value: &Value) -> Result<Permission, Failure> {
    match value.as_str().or_else(|| value.is_null().then_some("")) {
        Some("" | "none") => Ok(Permission::Unspecified),
        Some("r") => Ok(Permission::Read),
        Some("rw") => Ok(Permission::ReadWrite),
        _ => Err(wrong(DEFAULT_RIGHTS, value, "r, rw or empty")),
    }
}

fn message(view: &SystemView, record: &WorkspaceRecord, editable: bool) -> Result<WorkspaceMessage, Failure> {
    let mut root_uuids = Vec::with_capacity(record.roots.len());
    for root in &record.roots {
        let entry = EntryId::try_from(root.entry.as_ref()).unwrap_or_default();
        root_uuids.push(if entry == EntryId::ROOT {
            let datasource = view.datasource(skep_placement::ids::DatasourceId(root.datasource))?;
            format!("{DATASOURCE_ROOT}{}", datasource.map(|record| record.name).unwrap_or_default())
        } else {
            entry.to_string()
        });
    }
    Ok(WorkspaceMessage {
        uuid: RecordId::try_from(record.id.as_ref()).unwrap_or_default().to_string(),
        slug: record.slug.clone(),
        label: record.label.clone(),
        description: record.description.clone(),
        scope: match record.scope() {
            WorkspaceScope::Room => "ROOM",
            WorkspaceScope::Link => "LINK",
            WorkspaceScope::Admin | WorkspaceScope::Unspecified => "ADMIN",
        },
        last_updated: i32::try_from(seconds(record.changed_at)).unwrap_or(i32::MAX),
        attributes: attributes_text(record),
        root_uuids,
        policies_context_editable: editable,
    })
}

fn attributes_text(record: &WorkspaceRecord) -> String {
    let kept = record.attributes.iter().map(|(name, text)| (name.clone(), serde_json::from_str(text).unwrap_or(Value::Null)));
    let mut shown: BTreeMap<String, Value> = kept.collect();
    let rights = match record.default_permission() {
        Permission::Unspecified => "",
        Permission::Read => "r",
        Permission::ReadWrite => "rw",
    };
    shown.insert(DEFAULT_RIGHTS.to_owned(), rights.into());
    shown.insert(SKIP_RECYCLE.to_owned(), record.skip_recycle.into());
    for (name, number) in [(QUOTA, record.quota_bytes), (QUOTA_ENTRIES, record.quota_entries)] {
        if number != 0 {
            shown.insert(name.to_owned(), number.to_string().into());
        }
    }
    serde_json::to_string(&shown).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use skep_raft::wire::meta::v1::{Permission, WorkspaceRecord};

    use super::{PutRequest, attributes, attributes_text, root};
    use crate::error_code::ErrorCode;

    #[test]
    fn attributes_are_read_as_clients_write_them() {
        let text = r#"{"SKIP_RECYCLE":"true","QUOTA":"1000","QUOTA_ENTRIES":7,"DEFAULT_RIGHTS":"r","META_LAYOUT":"grid","OLD":null}"#;
        let change = attributes(text).expect("good");
        assert_eq!((change.skip_recycle, change.quota_bytes, change.quota_entries), (Some(true), Some(1_000), Some(7)));
        assert_eq!(change.default_permission, Some(Permission::Read));
        assert_eq!(change.attributes.get("META_LAYOUT").map(String::as_str), Some("\"grid\""));
        assert_eq!(change.attributes.get("OLD").map(String::as_str), Some(""), "taken away");
        assert_eq!(attributes("").expect("nothing").quota_bytes, None);
        for bad in ["[]", "{", r#"{"QUOTA":-1}"#, r#"{"SKIP_RECYCLE":7}"#, r#"{"DEFAULT_RIGHTS":"x"}"#] {
            let failure = attributes(bad).expect_err("refused");
            assert!(failure.code == ErrorCode::BadRequest && failure.detail.starts_with("Attributes"), "{failure}");
        }
    }

    #[test]
    fn attributes_are_shown_as_they_are_read() {
        let record = WorkspaceRecord { quota_bytes: 5, skip_recycle: true, ..WorkspaceRecord::default() };
        let change = attributes(&attributes_text(&record)).expect("good");
        assert_eq!((change.skip_recycle, change.quota_bytes, change.quota_entries), (Some(true), Some(5), None));
    }

    #[test]
    fn a_new_workspace_names_its_root() {
        let of = |json: &str| root(&serde_json::from_str::<PutRequest>(json).expect("read"));
        assert_eq!(of(r#"{"RootUUIDs":["DATASOURCE:pydiods1"]}"#), Ok(("pydiods1".to_owned(), String::new())));
        assert_eq!(of(r#"{"RootNodes":{"x":{"Path":"archive/a/b"}}}"#), Ok(("archive".to_owned(), "a/b".to_owned())));
        assert_eq!(of("{}").expect_err("refused").code, ErrorCode::BadRequest);
    }
}
