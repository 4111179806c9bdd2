//! `skep recover`: a group that lost its quorum for ever goes on from what is left.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::client::{Admin, Target};
use super::errors::CliError;
use super::output;
use crate::admin_rpc::wire::{RecoverGroupRequest, SurveyGroupReply, SurveyGroupRequest};

/// A replica's whole log is applied, and its state copied.
const PATIENCE: Duration = Duration::from_secs(360);

const AFTER_HELP: &str = "\
A group goes on without asking as long as a majority of its voters lives; this is for when more are gone for ever. It shows every replica
that is left, which one would be taken (the one whose log ends last) and what may be lost; with --yes the group goes on from that replica
alone, under a higher generation, and grows again by itself. Members of older generations are refused for ever: what only they have is
lost, and when they come back they begin anew, empty.

Be sure that the nodes shown as unreachable are down and stay down until this has ended: until they hear of it they may still
acknowledge things among themselves, and those would be lost too. Recover the group system first, then the datasources.

VOTE is term-member, an entry is term-member:index. Interrupted, it is simply run again.

Examples:
  skep recover --group system --config /etc/skep/skep.toml
  skep recover --group system --yes --config /etc/skep/skep.toml
  skep recover --group pydiods1 --json --config /etc/skep/skep.toml | jq .choice";

/// Shows what is left of a group that lost its quorum, and with --yes has it go on from there.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct RecoverArguments {
    #[command(flatten)]
    target: Target,
    /// The group: system, the name of a datasource, or a number.
    #[arg(long, value_name = "GROUP")]
    group: String,
    /// Does it; without this nothing is changed.
    #[arg(long)]
    yes: bool,
    /// One JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &RecoverArguments) -> Result<(), CliError> {
    arguments.target.with_admin(async |admin| {
        let request = SurveyGroupRequest { group: arguments.group.clone() };
        let found = admin.ask(async |calls| calls.survey_group(request).await).await?;
        let mut survey: Value =
            serde_json::from_str(&found.json).map_err(|error| CliError::failed(format!("the answer is no JSON: {error}")))?;
        if !arguments.json {
            show(arguments, &survey, &found);
        }
        let recovered = decide(arguments, &admin, &survey, &found).await;
        if arguments.json {
            survey["recovered"] = recovered.as_ref().map_or(Value::Null, Clone::clone);
            output::line(survey.to_string());
        }
        recovered.map(|_done| ())
    })
}

/// Recovers if that was asked for and may be; what was done as JSON.
async fn decide(arguments: &RecoverArguments, admin: &Admin, survey: &Value, found: &SurveyGroupReply) -> Result<Value, CliError> {
    if !found.refusal.is_empty() {
        return Err(CliError::failed(format!("nothing was changed: {}", found.refusal)));
    }
    if !arguments.yes {
        output::note("nothing was changed; if that is what you want, run the same with --yes");
        return Ok(Value::Null);
    }
    let (choice, last) = (&survey["choice"], &survey["choice"]["last"]);
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let request = RecoverGroupRequest {
        group: arguments.group.clone(),
        node: number(&choice["node"]),
        raft_id: number(&choice["raft_id"]),
        last_term: number(&last["term"]),
        last_leader: number(&last["leader"]),
        last_index: number(&last["index"]),
    };
    let done = admin.ask_within(PATIENCE, async |calls| calls.recover_group(request).await).await?;
    if !arguments.json {
        output::line(format!(
            "\ngroup {} goes on from node {}; it grows again by itself, `skep status` shows how far",
            arguments.group, done.node
        ));
    }
    Ok(json!({ "node": done.node, "raft_id": done.raft_id }))
}

fn show(arguments: &RecoverArguments, survey: &Value, found: &SurveyGroupReply) {
    output::line(format!("group {} ({}), generation {}", survey["group"], arguments.group, survey["generation"]));
    output::heading("replicas");
    let nodes = survey["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let header = ["node", "name", "raft id", "", "generation", "vote", "last entry", "applied", "committed", "taken"];
    output::table(&header, nodes.iter().flat_map(|node| rows(node, &survey["choice"])).collect(), "no node");
    for node in nodes {
        if let Some(why) = node["unreachable"].as_str() {
            output::note(&format!("node {} was not asked: {why}", node["node"]));
        }
    }
    if found.refusal.is_empty() {
        output::line(format!("\nmay be lost: {}", found.losses));
    }
}

/// The lines of one node: one a replica, or why there is none.
fn rows(node: &Value, choice: &Value) -> Vec<Vec<String>> {
    let name = vec![node["node"].to_string(), node["name"].as_str().unwrap_or_default().to_owned()];
    let replicas = node["replicas"].as_array().map(Vec::as_slice).unwrap_or_default();
    if replicas.is_empty() {
        let why = if node["unreachable"].is_null() { "has none" } else { "unreachable" };
        return vec![[name, vec!["-".to_owned(), why.to_owned()]].concat()];
    }
    let row = |replica: &Value| {
        let is_taken = choice["node"] == node["node"] && choice["raft_id"] == replica["raft_id"];
        let state = if replica["running"].as_bool() == Some(true) { "runs" } else { "stopped" };
        let vote = match replica["vote"].as_array().map(Vec::as_slice) {
            Some([term, member]) => format!("{term}-{member}"),
            _ => "-".to_owned(),
        };
        let entries = ["last", "applied", "committed"].map(|name| entry(&replica[name]));
        let taken = if is_taken { "yes" } else { "" };
        let head = vec![replica["raft_id"].to_string(), state.to_owned(), replica["generation"].to_string(), vote];
        [name.clone(), head, entries.to_vec(), vec![taken.to_owned()]].concat()
    };
    replicas.iter().map(row).collect()
}

/// An entry's place, for people.
fn entry(position: &Value) -> String {
    if position.is_null() { "-".to_owned() } else { format!("{}-{}:{}", position["term"], position["leader"], position["index"]) }
}

#[cfg(test)]
mod tests {
    use skep_raft::recovery::{Choice, Position, Replica, SurveyedNode};

    use super::*;

    /// The table reads what a survey writes.
    #[test]
    fn every_replica_has_a_line() {
        let last = Position { term: 3, leader: 1, index: 40 };
        let replica = Replica {
            raft_id: 7,
            generation: 1,
            running: true,
            vote: Some((4, 2)),
            last: Some(last),
            applied: None,
            committed: Some(last),
            voters: Vec::new(),
            members: Vec::new(),
        };
        let node = SurveyedNode { node: 1, unreachable: None, replicas: vec![replica] };
        let silent = SurveyedNode { node: 2, unreachable: Some("no answer".to_owned()), replicas: Vec::new() };
        let choice = serde_json::to_value(Choice { node: 1, raft_id: 7, last }).unwrap();
        let lines = [node, silent].map(|node| rows(&serde_json::to_value(node).unwrap(), &choice));
        assert_eq!(lines[0], [["1", "", "7", "runs", "1", "4-2", "3-1:40", "-", "3-1:40", "yes"].map(str::to_owned)]);
        assert_eq!(lines[1], [["2", "", "-", "unreachable"].map(str::to_owned)]);
    }
}
