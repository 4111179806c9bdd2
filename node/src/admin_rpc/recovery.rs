//! `skep recover`: what is left of a group that lost its quorum, and going on from it.
//!
//! These calls decide nothing by a fresh view, because there may be none to be had: the caller's certificate is all they need.

use serde_json::{Value, json};
use skep_placement::ids::GroupId;
use skep_raft::handle::Metadata;
use skep_raft::recovery::{Choice, Position, RecoverError};
use tonic::{Request, Status};

use super::wire::{RecoverGroupReply, RecoverGroupRequest, SurveyGroupReply, SurveyGroupRequest};
use crate::rpc_server::PeerIdentity;

/// Shows what is left of a group.
pub(super) async fn survey_group(metadata: &Metadata, request: Request<SurveyGroupRequest>) -> Result<SurveyGroupReply, Status> {
    admit(&request, "survey_group")?;
    let group = group_of(metadata, &request.get_ref().group)?;
    let survey = metadata.survey(group).await;
    let (refusal, losses) = (survey.refusal().unwrap_or_default(), survey.losses());
    let mut found = serde_json::to_value(&survey).map_err(|error| Status::internal(error.to_string()))?;
    found["refusal"] = json!(survey.refusal());
    found["losses"] = json!(losses);
    for node in found["nodes"].as_array_mut().into_iter().flatten() {
        let id = node["node"].as_u64().unwrap_or_default();
        node["name"] = Value::from(name_of(metadata, id));
    }
    Ok(SurveyGroupReply { json: found.to_string(), refusal, losses })
}

/// Has a group go on from one replica.
pub(super) async fn recover_group(metadata: &Metadata, request: Request<RecoverGroupRequest>) -> Result<RecoverGroupReply, Status> {
    admit(&request, "recover_group")?;
    let wanted = request.get_ref();
    let group = group_of(metadata, &wanted.group)?;
    let last = Position { term: wanted.last_term, leader: wanted.last_leader, index: wanted.last_index };
    let choice = Choice { node: wanted.node, raft_id: wanted.raft_id, last };
    let recovered = metadata.recover(group, choice).await.map_err(|error| match error {
        RecoverError::Refused(_) | RecoverError::Changed => Status::failed_precondition(error.to_string()),
        RecoverError::Failed(_) => Status::aborted(error.to_string()),
    })?;
    Ok(RecoverGroupReply { node: recovered.node.0, raft_id: recovered.raft_id.0 })
}

/// Refuses who is no node, which the port has refused already, and notes who asks.
fn admit<T>(request: &Request<T>, call: &'static str) -> Result<(), Status> {
    let caller = request.extensions().get::<PeerIdentity>().ok_or_else(|| Status::unauthenticated("only nodes may call this"))?;
    tracing::warn!(caller = %caller.node, call, "an operator asks");
    Ok(())
}

/// A group by its name, as this node's copy of the cluster map has it.
fn group_of(metadata: &Metadata, name: &str) -> Result<GroupId, Status> {
    if name == "system" {
        return Ok(GroupId::SYSTEM);
    }
    let view = metadata.system_stale();
    let internal = |error: skep_raft::store::StateError| Status::internal(error.to_string());
    if let Some(datasource) = view.datasource_by_name(name).map_err(internal)? {
        return Ok(GroupId(datasource.id));
    }
    let known = view.groups().map_err(internal)?;
    let by_number = name.parse().ok().filter(|number| *number == GroupId::SYSTEM.0 || known.iter().any(|group| group.id == *number));
    let names = view.datasources().map_err(internal)?.into_iter().map(|datasource| datasource.name).collect::<Vec<_>>().join(", ");
    by_number.map(GroupId).ok_or_else(|| Status::not_found(format!("there is no group {name}; there are system, {names}")))
}

fn name_of(metadata: &Metadata, node: u64) -> String {
    let record = metadata.system_stale().node(skep_placement::ids::NodeId(node)).ok().flatten();
    record.map(|record| record.name).unwrap_or_default()
}
