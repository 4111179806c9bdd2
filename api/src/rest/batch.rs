//! `/a/tree/batch`: many changes of one datasource, all or none.

use axum::extract::State;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use skep_placement::ids::VersionId;
use skep_raft::wire::meta::v1::Precondition;
use utoipa::ToSchema;

use super::messages::{RestError, TreeNode};
use super::node::entry_nodes;
use super::wire::{RestRequest, RestResult, answer, number};
use crate::app::{App, Proofs};
use crate::auth::rights::{WriteContent, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::service::batch::Step;
use crate::service::user_path::UserPath;

/// Many changes of one datasource.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = skepBatchRequest)]
pub(crate) struct BatchRequest {
    /// Carried out in their order; if one is refused nothing is changed.
    pub operations: Vec<BatchOperation>,
}

/// One change.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = skepBatchOperation)]
pub(crate) struct BatchOperation {
    /// CREATE_FOLDER, PUT_FILE, MOVE, DELETE or REVERT.
    #[serde(rename = "Type")]
    pub kind: String,
    /// `slug/dir/file`.
    pub path: String,
    /// MOVE: the new path.
    pub target: String,
    /// PUT_FILE: the text, at most 4 KiB.
    pub contents: String,
    /// REVERT: the version to go back to.
    pub version_id: String,
    /// CREATE_FOLDER, PUT_FILE: missing parents are made.
    pub recursive: bool,
    /// MOVE: what has the name goes to the recycle bin.
    pub overwrite: bool,
    /// DELETE: not to the recycle bin.
    pub remove_permanently: bool,
    /// Seconds since the Unix epoch; 0: now.
    #[serde(rename = "MTime", deserialize_with = "number")]
    pub mtime: i64,
    /// The ETag that the node must have; `*`: any, but there must be one.
    pub if_match: String,
    /// The ETag that the node must not have; `*`: there must be none.
    pub if_none_match: String,
}

/// What there is now.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = skepBatchResponse)]
pub(crate) struct BatchResponse {
    /// Each operation's node as it was right after it; of a permanent deletion one without an id.
    pub nodes: Vec<TreeNode>,
}

/// Changes many nodes of one datasource at once, or none of them.
#[utoipa::path(
    post, path = "/a/tree/batch", tag = "tree", request_body = BatchRequest,
    responses((status = 200, body = BatchResponse), (status = 400, body = RestError), (status = 412, body = RestError))
)]
pub(crate) async fn batch(State(_app): State<App>, request: RestRequest) -> RestResult {
    let message: BatchRequest = request.json()?;
    let caller = request.caller().await?;
    let mut steps = Vec::with_capacity(message.operations.len());
    let mut places = Vec::with_capacity(message.operations.len());
    let mut proofs = (caller.proofs::<WriteTree>(), caller.proofs::<WriteContent>());
    for (place, operation) in message.operations.iter().enumerate() {
        let step = step_of(&mut proofs, operation).map_err(|failure| failure.at(&format!("Operations[{place}]")))?;
        places.push(step.leaves_at().clone());
        steps.push(step);
    }
    let entries = caller.service().batch(steps, &caller.context().continued()).await?;
    let nodes = entry_nodes(entries.iter().zip(&places), true);
    Ok(answer(BatchResponse { nodes }))
}

fn step_of((tree, content): &mut (Proofs<'_, WriteTree>, Proofs<'_, WriteContent>), operation: &BatchOperation) -> Result<Step, Failure> {
    let path: UserPath = operation.path.parse()?;
    let condition = condition_of(operation);
    let mtime = u64::try_from(operation.mtime).unwrap_or(0).saturating_mul(1_000_000);
    match operation.kind.as_str() {
        "CREATE_FOLDER" => Ok(Step::CreateFolder { at: tree.at(&path)?, recursive: operation.recursive, mtime }),
        "PUT_FILE" => Ok(Step::PutFile {
            at: content.at(&path)?,
            bytes: Bytes::from(operation.contents.clone()),
            mtime,
            recursive: operation.recursive,
            condition,
        }),
        "MOVE" => Ok(Step::Move {
            from: tree.at(&path)?,
            to: Box::new(tree.at(&operation.target.parse()?)?),
            overwrite: operation.overwrite,
            condition,
        }),
        "DELETE" => Ok(Step::Delete { at: tree.at(&path)?, permanently: operation.remove_permanently, condition }),
        "REVERT" => {
            let version = version_id(&operation.version_id)?;
            Ok(Step::UseVersion { at: content.at(&path)?, version, condition })
        }
        other => {
            let why = format!("Type: {other:?} is none of CREATE_FOLDER, PUT_FILE, MOVE, DELETE and REVERT");
            Err(Failure::new(ErrorCode::BadRequest, why))
        }
    }
}

/// Reads a version's id.
pub(crate) fn version_id(text: &str) -> Result<VersionId, Failure> {
    let id = uuid::Uuid::parse_str(text)
        .map_err(|_no_uuid| Failure::new(ErrorCode::BadRequest, format!("VersionId: {text:?} is no version's id")))?;
    Ok(VersionId(id.into_bytes()))
}

fn condition_of(operation: &BatchOperation) -> Option<Precondition> {
    let etags = |text: &str| if matches!(text, "" | "*") { Vec::new() } else { vec![text.trim_matches('"').to_owned()] };
    let condition = Precondition {
        must_exist: operation.if_match == "*",
        must_not_exist: operation.if_none_match == "*",
        etags_any: etags(&operation.if_match),
        etags_none: etags(&operation.if_none_match),
        ..Precondition::default()
    };
    (condition != Precondition::default()).then_some(condition)
}

#[cfg(test)]
mod tests {
    use super::{BatchOperation, condition_of, version_id};

    #[test]
    fn conditions_are_read_as_headers_are() {
        let of = |if_match: &str, if_none_match: &str| {
            condition_of(&BatchOperation {
                if_match: if_match.to_owned(),
                if_none_match: if_none_match.to_owned(),
                ..BatchOperation::default()
            })
        };
        assert_eq!(of("", ""), None);
        assert!(of("*", "").is_some_and(|condition| condition.must_exist && condition.etags_any.is_empty()));
        assert!(of("", "*").is_some_and(|condition| condition.must_not_exist));
        assert_eq!(of("\"e1\"", "").map(|condition| condition.etags_any), Some(vec!["e1".to_owned()]));
    }

    #[test]
    fn what_is_no_version_is_refused_by_its_field() {
        assert!(version_id("soon").expect_err("refused").detail.starts_with("VersionId"));
        assert!(version_id("01234567-89ab-cdef-0123-456789abcdef").is_ok());
    }
}
