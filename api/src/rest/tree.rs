//! `/a/tree`: stat, create, delete.

use axum::extract::{Path, Query, State};
use bytes::Bytes;
use futures_util::stream;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;
use skep_raft::wire::meta::v1::Precondition;

use super::messages::{
    BackgroundJob, CreateNodesRequest, DeleteNodesRequest, DeleteNodesResponse, HeadNodeResponse, NodesCollection, RestError,
    RestoreNodesRequest, RestoreNodesResponse, SentNode, TreeNode,
};
use super::node::{entry_node, entry_nodes, root_node};
use super::wire::{Context, RestRequest, RestResult, answer};
use crate::app::{App, Caller};
use crate::auth::rights::{ReadTree, WriteContent, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::ports::ByteStream;
use crate::service::batch::Step;
use crate::service::content::PutRequest;
use crate::service::jobs::{JobKind, job_name};
use crate::service::place::Place;
use crate::service::tree::{DeleteRequest, FolderRequest, StatRequest};
use crate::service::user_path::UserPath;

/// Looks at the root above all workspaces.
#[utoipa::path(get, path = "/a/tree/stat/", tag = "tree", responses((status = 200, body = HeadNodeResponse)))]
pub(crate) async fn stat_root(State(app): State<App>, context: Context, headers: HeaderMap) -> RestResult {
    app.caller(&headers, &context).await?;
    Ok(answer(HeadNodeResponse { node: root_node() }))
}

/// Looks at one node. Slashes in the path may be escaped or not.
#[utoipa::path(
    get, path = "/a/tree/stat/{path}", tag = "tree",
    params(
        ("path" = String, Path, description = "slug/dir/file; slashes as they are or as %2F"),
        ("at" = Option<String>, Query, description = "as it was at this instant: RFC 3339 or Unix time")
    ),
    responses((status = 200, body = HeadNodeResponse), (status = 404, body = RestError), (status = 410, body = RestError))
)]
pub(crate) async fn stat(
    State(app): State<App>,
    context: Context,
    headers: HeaderMap,
    Path(path): Path<String>,
    Query(asked): Query<Instant>,
) -> RestResult {
    let caller = app.caller(&headers, &context).await?;
    let path: UserPath = path.parse()?;
    let node = if path.slug().is_none() { root_node() } else { stat_node(&caller, &path, (true, &asked.at)).await? };
    Ok(answer(HeadNodeResponse { node }))
}

/// The instant that a request asks about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Instant {
    /// RFC 3339 or Unix time; empty: now.
    pub at: String,
}

/// The node of a path in a workspace, as it is or was.
pub(crate) async fn stat_node(caller: &Caller, path: &UserPath, (with_meta, at): (bool, &str)) -> Result<TreeNode, Failure> {
    let proof = caller.at_instant::<ReadTree>(path, at)?;
    let place = proof.subject().clone();
    let mut entry = caller.service().stat(proof, StatRequest { with_meta }, caller.context()).await?;
    caller.visible_notes().only(&mut entry)?;
    Ok(entry_node(&entry, &place, is_writable(caller, &place)))
}

/// True if the caller may also write there.
pub(crate) fn is_writable(caller: &Caller, place: &Place) -> bool {
    caller.authorize::<WriteTree, Place>(place.clone()).is_ok()
}

/// Makes folders, or files that are empty or have the text of `Contents`.
#[utoipa::path(
    post, path = "/a/tree/create", tag = "tree", request_body = CreateNodesRequest,
    responses((status = 200, body = NodesCollection), (status = 409, body = RestError))
)]
pub(crate) async fn create(State(_app): State<App>, request: RestRequest) -> RestResult {
    let message: CreateNodesRequest = request.json()?;
    let caller = request.caller().await?;
    if !message.template_uuid.is_empty() {
        return Err(Failure::new(ErrorCode::Unsupported, "TemplateUUID: this server has no templates").into());
    }
    check_count(message.nodes.len())?;
    if let Some(children) = create_at_once(&caller, &message).await? {
        return Ok(answer(NodesCollection { children }));
    }
    let mut children = Vec::with_capacity(message.nodes.len());
    for sent in &message.nodes {
        let path: UserPath = sent.path.parse()?;
        let node = match sent.kind.as_deref() {
            Some("COLLECTION") => create_folder(&caller, &path, sent, message.recursive).await?,
            Some("LEAF") => create_file(&caller, &path, sent, message.recursive).await?,
            other => {
                let why = format!("Nodes.Type: {} is not COLLECTION or LEAF, at {path}", other.unwrap_or("nothing"));
                return Err(Failure::new(ErrorCode::BadRequest, why).into());
            }
        };
        children.push(node);
    }
    Ok(answer(NodesCollection { children }))
}

/// Several nodes of one datasource by one command; nothing for those that take more.
async fn create_at_once(caller: &Caller, message: &CreateNodesRequest) -> Result<Option<Vec<TreeNode>>, Failure> {
    if message.nodes.len() < 2 {
        return Ok(None);
    }
    let mut steps = Vec::with_capacity(message.nodes.len());
    let mut places: Vec<Place> = Vec::with_capacity(message.nodes.len());
    let (mut folders, mut files) = (caller.proofs::<WriteTree>(), caller.proofs::<WriteContent>());
    for sent in &message.nodes {
        let path: UserPath = sent.path.parse()?;
        let (step, place) = match sent.kind.as_deref() {
            Some("COLLECTION") => {
                let at = folders.at(&path)?;
                let place = at.subject().clone();
                (Step::CreateFolder { at, recursive: message.recursive, mtime: micros(sent.mtime) }, place)
            }
            Some("LEAF") => {
                let at = files.at(&path)?;
                let place = at.subject().clone();
                let step = Step::PutFile {
                    at,
                    bytes: Bytes::from(contents_of(sent)),
                    mtime: micros(sent.mtime),
                    recursive: message.recursive,
                    condition: Some(Precondition { must_not_exist: true, ..Precondition::default() }),
                };
                (step, place)
            }
            _ => return Ok(None),
        };
        let is_large = matches!(&step, Step::PutFile { bytes, .. } if bytes.len() > skep_placement::limits::INLINE_LENGTH_BYTES_MAX);
        if is_large || places.first().is_some_and(|first| first.datasource() != place.datasource()) {
            return Ok(None);
        }
        steps.push(step);
        places.push(place);
    }
    let entries = caller.service().batch(steps, &caller.context().continued()).await.map_err(|failure| match failure.code {
        // The only condition is that nothing has the name.
        ErrorCode::PreconditionFailed => Failure { code: ErrorCode::AlreadyExists, ..failure },
        _ => failure,
    })?;
    Ok(Some(entry_nodes(entries.iter().zip(&places), true)))
}

/// The text of a new file. The value is a JSON text; some clients send the plain text.
fn contents_of(sent: &SentNode) -> String {
    let Some(text) = sent.meta_store.get("Contents") else { return String::new() };
    serde_json::from_str::<Value>(text).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_else(|| text.clone())
}

async fn create_folder(caller: &Caller, path: &UserPath, sent: &SentNode, recursive: bool) -> Result<TreeNode, Failure> {
    let proof = caller.at::<WriteTree>(path)?;
    let place = proof.subject().clone();
    let request = FolderRequest { recursive, existing_ok: recursive, mtime: micros(sent.mtime) };
    let entry = caller.service().create_folder(proof, request, &caller.context().continued()).await?;
    Ok(entry_node(&entry, &place, true))
}

async fn create_file(caller: &Caller, path: &UserPath, sent: &SentNode, recursive: bool) -> Result<TreeNode, Failure> {
    let contents = contents_of(sent);
    let proof = caller.at::<WriteContent>(path)?;
    let place = proof.subject().clone();
    let condition = Precondition { must_not_exist: true, ..Precondition::default() };
    let request = PutRequest {
        expected_length: u64::try_from(contents.len()).ok(),
        mtime: micros(sent.mtime),
        condition: Some(condition),
        recursive,
        ..PutRequest::default()
    };
    let body: ByteStream = Box::pin(stream::iter([Ok(Bytes::from(contents))]));
    let put =
        caller.service().put_file(proof, request, body, &caller.context().continued()).await.map_err(|failure| match failure.code {
            ErrorCode::PreconditionFailed => {
                Failure::new(ErrorCode::AlreadyExists, format!("{path}: something of this name exists already"))
            }
            _ => failure,
        })?;
    Ok(entry_node(&put.entry, &place, true))
}

/// Deletes nodes, to the recycle bin unless told otherwise. The effect is visible before the reply.
#[utoipa::path(
    post, path = "/a/tree/delete", tag = "tree", request_body = DeleteNodesRequest,
    responses((status = 200, body = DeleteNodesResponse), (status = 404, body = RestError))
)]
pub(crate) async fn delete(State(_app): State<App>, request: RestRequest) -> RestResult {
    let message: DeleteNodesRequest = request.json()?;
    let caller = request.caller().await?;
    check_count(message.nodes.len())?;
    let paths = message.nodes.iter().map(|sent| sent.path.parse()).collect::<Result<Vec<UserPath>, Failure>>()?;
    // All rights first: a list with one forbidden path changes nothing.
    let proofs = paths.iter().map(|path| caller.at::<WriteTree>(path)).collect::<Result<Vec<_>, Failure>>()?;
    let first = proofs.first().map(|proof| proof.subject().clone());
    let mut node_uuid = String::new();
    for proof in proofs {
        let request = DeleteRequest { permanently: message.remove_permanently, condition: None };
        let deleted = caller.service().delete(proof, request, &caller.context().continued()).await?;
        if node_uuid.is_empty() {
            node_uuid = crate::service::tree::entry_id(&deleted.entry).to_string();
        }
    }
    let delete_jobs = match first {
        Some(place) => noted(&caller, (place, JobKind::Delete), &paths, node_uuid).await,
        None => Vec::new(),
    };
    Ok(answer(DeleteNodesResponse { delete_jobs }))
}

/// Takes nodes out of the recycle bin, to where they came from. The effect is visible before the reply.
#[utoipa::path(
    post, path = "/a/tree/restore", tag = "tree", request_body = RestoreNodesRequest,
    responses((status = 200, body = RestoreNodesResponse), (status = 404, body = RestError), (status = 409, body = RestError))
)]
pub(crate) async fn restore(State(_app): State<App>, request: RestRequest) -> RestResult {
    let message: RestoreNodesRequest = request.json()?;
    let caller = request.caller().await?;
    check_count(message.nodes.len())?;
    let mut restored = Vec::new();
    for sent in &message.nodes {
        let path: UserPath = sent.path.parse()?;
        let context = caller.context().continued();
        let (from, came_from) = caller.service().recycled_from(caller.at::<WriteTree>(&path)?, &context).await?;
        let to = caller.at::<WriteTree>(&came_from)?;
        restored.push((to.subject().clone(), caller.service().restore_recycled(from, to, &context).await?));
    }
    let Some((place, entry)) = restored.first() else { return Ok(answer(RestoreNodesResponse::default())) };
    let node_uuid = crate::service::tree::entry_id(entry).to_string();
    let paths: Vec<UserPath> = restored.iter().map(|(place, _)| place.path().clone()).collect();
    let restore_jobs = noted(&caller, (place.clone(), JobKind::Recycled), &paths, node_uuid).await;
    Ok(answer(RestoreNodesResponse { restore_jobs }))
}

/// The job that notes a deletion or a restoration. It has taken effect, so that without one there is nothing to wait for.
async fn noted(caller: &Caller, (place, kind): (Place, JobKind), paths: &[UserPath], node_uuid: String) -> Vec<BackgroundJob> {
    let paths = paths.iter().map(UserPath::to_string).collect();
    let context = caller.context().continued();
    let job = match caller.authorize::<WriteTree, Place>(place) {
        Ok(proof) => caller.service().note_done(proof, (kind, paths), &context).await,
        Err(failure) => Err(failure),
    };
    match job {
        Ok(job) => vec![BackgroundJob { uuid: job_name(&job), label: job.label, node_uuid }],
        Err(failure) => {
            tracing::warn!(%failure, "a change that took effect could not be noted as a job");
            Vec::new()
        }
    }
}

fn check_count(nodes: usize) -> Result<(), Failure> {
    if nodes == 0 || nodes > limits::PATHS_PER_REQUEST {
        let why = format!("Nodes: name 1 to {} nodes, not {nodes}", limits::PATHS_PER_REQUEST);
        return Err(Failure::new(ErrorCode::BadRequest, why));
    }
    Ok(())
}

fn micros(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000)
}
