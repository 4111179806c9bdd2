//! Brings a command to the leader of its group, wherever that is, and brings its outcome back.
//!
//! One (session, number) is sent again and again until there is an outcome or the deadline has passed: the group does it once. What is remembered on the
//! way is whether it *may* have been proposed; only if surely not, the answer is "unavailable", else it is "unknown".

use std::error::Error;
use std::sync::Arc;

use prost::Message;
use skep_placement::ids::{GroupId, NodeId};
use tokio::time::Instant;

use super::batcher::NotDone;
use super::context::Context;
use super::forward::Missed;
use super::limits;
use super::read_id::leader_of;
use crate::errors::{ProposeError, QueryError};
use crate::metrics as names;
use crate::wire::meta::v1::{Command, OpenSession, Outcome, Proposal, SessionOpened, command, outcome};
use crate::wire::raft::v1::Status;

/// What one try came to.
enum Tried {
    Outcome(Box<Outcome>),
    /// Surely nothing was proposed by this try.
    Not(String),
    /// Ask this node.
    Elsewhere(NodeId),
    /// It may have been proposed.
    Perhaps(String),
    /// Surely nothing was proposed, and trying again at once is no use.
    Refused(ProposeError),
}

/// A node's number in a message, where 0 is none.
pub(crate) fn named(node: u64) -> Option<NodeId> {
    (node != 0).then_some(NodeId(node))
}

impl Context {
    /// Proposes a command in this process's session.
    pub(crate) async fn propose(self: &Arc<Self>, group: GroupId, command: Command, deadline: Instant) -> Result<Outcome, ProposeError> {
        let started = Instant::now();
        let result = self.propose_in_session(group, command, deadline).await;
        let label = group.to_string();
        let kind = match &result {
            Ok(Outcome { what: Some(outcome::What::Rejection(_)), .. }) => "rejected",
            Ok(_) => "done",
            Err(ProposeError::Unavailable { .. }) => "unavailable",
            Err(ProposeError::Unknown { .. }) => "unknown",
            Err(ProposeError::TooBusy) => "busy",
            Err(_) => "other",
        };
        metrics::counter!(names::COMMANDS_TOTAL, "group" => label.clone(), "result" => kind).increment(1);
        metrics::histogram!(names::COMMAND_SECONDS, "group" => label).record(started.elapsed().as_secs_f64());
        result
    }

    async fn propose_in_session(self: &Arc<Self>, group: GroupId, command: Command, deadline: Instant) -> Result<Outcome, ProposeError> {
        let bytes = command.encoded_len();
        if bytes > limits::COMMAND_BYTES_MAX {
            let number = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
            return Err(ProposeError::TooLarge { bytes: number(bytes), limit: number(limits::COMMAND_BYTES_MAX) });
        }
        match self.ensure_group(group, deadline).await {
            Ok(()) => {}
            Err(QueryError::NoSuchGroup(group)) => return Err(ProposeError::NoSuchGroup(group)),
            Err(QueryError::Unavailable { why, retry_after }) => return Err(ProposeError::Unavailable { why, retry_after }),
        }
        let ticket = self.sessions.draw(group, || self.open_session(group, deadline)).await?;
        let proposal =
            Proposal { session: ticket.id, number: ticket.number, lowest_unanswered: ticket.lowest_unanswered, command: Some(command) };
        let outcome = self.carry(group, &proposal, deadline).await?;
        match outcome.what {
            Some(outcome::What::SessionExpired(_)) => {
                self.sessions.forget(group, ticket.id);
                Err(ProposeError::Unknown { why: "the group has closed the session of this node".to_owned() })
            }
            Some(outcome::What::GivenUp(_)) => Err(ProposeError::Unknown { why: "the command was given up before".to_owned() }),
            Some(outcome::What::Busy(_)) => Err(ProposeError::TooBusy),
            Some(_) => Ok(outcome),
            None => Err(ProposeError::Unknown { why: "the outcome is empty".to_owned() }),
        }
    }

    async fn open_session(self: &Arc<Self>, group: GroupId, deadline: Instant) -> Result<u64, ProposeError> {
        let open = OpenSession { node: self.options.node.0, boot: self.options.boot.0 };
        let command = Command { what: Some(command::What::OpenSession(open)), ..Command::default() };
        let opened = self.propose_plain(group, command, deadline).await.map_err(|error| match error {
            // A session that was perhaps opened is closed unused; the command itself was surely not proposed.
            ProposeError::Unknown { why } => ProposeError::unavailable(why),
            error => error,
        })?;
        match opened.what {
            Some(outcome::What::SessionOpened(SessionOpened { session })) => Ok(session),
            Some(outcome::What::Rejection(rejection)) => Err(ProposeError::Rejected(rejection)),
            _ => Err(ProposeError::unavailable("the group opened no session")),
        }
    }

    /// Proposes a command that may be done twice without harm, in no session.
    pub(crate) async fn propose_plain(
        self: &Arc<Self>,
        group: GroupId,
        command: Command,
        deadline: Instant,
    ) -> Result<Outcome, ProposeError> {
        let proposal = Proposal { session: 0, number: 0, lowest_unanswered: 0, command: Some(command) };
        self.carry(group, &proposal, deadline).await
    }

    /// Tries until there is an outcome or the deadline has passed.
    async fn carry(self: &Arc<Self>, group: GroupId, proposal: &Proposal, deadline: Instant) -> Result<Outcome, ProposeError> {
        let mut route = Route::default();
        let mut perhaps = None;
        let mut hops = 0;
        loop {
            let tried = tokio::time::timeout_at(deadline, self.try_once(group, proposal, &mut route, deadline)).await;
            let mut pause = Instant::now() + limits::RETRY_PAUSE;
            let why = match tried {
                Ok(Tried::Outcome(outcome)) => return Ok(*outcome),
                Ok(Tried::Elsewhere(node)) => {
                    hops += 1;
                    if hops % limits::HOPS_MAX != 0 {
                        pause = Instant::now();
                    }
                    format!("node {node} is said to lead, but does not yet")
                }
                Ok(Tried::Not(why)) => why,
                Ok(Tried::Refused(error)) => match perhaps {
                    None => return Err(error),
                    Some(_) => error.to_string(),
                },
                Ok(Tried::Perhaps(why)) => {
                    perhaps = Some(why.clone());
                    why
                }
                // The try that was cut off may have proposed it.
                Err(_elapsed) => return Err(ProposeError::Unknown { why: perhaps.unwrap_or_else(|| "no answer in time".to_owned()) }),
            };
            if pause >= deadline {
                return Err(match perhaps {
                    Some(why) => ProposeError::Unknown { why },
                    None => ProposeError::unavailable(why),
                });
            }
            if self.is_stopping() {
                return Err(match perhaps {
                    Some(why) => ProposeError::Unknown { why },
                    None => ProposeError::unavailable("this node stops"),
                });
            }
            tokio::time::sleep_until(pause).await;
        }
    }

    async fn try_once(self: &Arc<Self>, group: GroupId, proposal: &Proposal, route: &mut Route, deadline: Instant) -> Tried {
        let Some(target) = route.next(self, group) else {
            route.tried += 1;
            return Tried::Not("the group has no leader".to_owned());
        };
        let tried = if target == self.options.node {
            self.propose_here(group, proposal.clone()).await
        } else {
            self.propose_there(target, group, proposal, deadline).await
        };
        match &tried {
            Tried::Outcome(_) => self.set_leader_hint(group, Some(target)),
            Tried::Elsewhere(node) => route.hint = Some(*node),
            Tried::Not(_) | Tried::Perhaps(_) => {
                route.tried += 1;
                self.set_leader_hint(group, None);
            }
            Tried::Refused(_) => {}
        }
        tried
    }

    async fn propose_here(&self, group: GroupId, proposal: Proposal) -> Tried {
        match self.propose_at_leader(group, proposal).await {
            Ok(outcome) => Tried::Outcome(Box::new(outcome)),
            Err(NotDone::NotLeader(Some(node))) if node != self.options.node => Tried::Elsewhere(node),
            Err(NotDone::NotLeader(_) | NotDone::NoReplica) => Tried::Not("the group has no leader that a quorum follows".to_owned()),
            Err(NotDone::Busy) => Tried::Refused(ProposeError::TooBusy),
            Err(NotDone::NoSpace) => Tried::Refused(ProposeError::NoSpace),
            Err(NotDone::Unknown(why)) => Tried::Perhaps(why),
        }
    }

    /// Proposes a command if the replica here leads its group.
    pub(crate) async fn propose_at_leader(&self, group: GroupId, proposal: Proposal) -> Result<Outcome, NotDone> {
        let replica = self.replica(group).ok_or(NotDone::NoReplica)?;
        match leader_of(&replica.raft) {
            Some((leader, _)) if leader == replica.id => {}
            other => return Err(NotDone::NotLeader(other.map(|(_, node)| node))),
        }
        if self.log.pressure().borrow().full {
            return Err(NotDone::Busy);
        }
        if !proposal.command.as_ref().is_some_and(|command| self.space.admits(command)) {
            return Err(NotDone::NoSpace);
        }
        replica.batcher.propose(proposal).await
    }

    async fn propose_there(&self, node: NodeId, group: GroupId, proposal: &Proposal, deadline: Instant) -> Tried {
        let reply = match self.forwards.send((group, node), proposal.clone(), deadline).await {
            Ok(reply) => reply,
            Err(Missed::Not(why)) => return Tried::Not(why),
            Err(Missed::Perhaps(why)) => return Tried::Perhaps(why),
            Err(Missed::Busy) => return Tried::Refused(ProposeError::TooBusy),
        };
        let status = reply.status();
        let said = format!("node {node}: {}", if reply.detail.is_empty() { status.as_str_name() } else { &reply.detail });
        match (status, reply.outcome) {
            (Status::Ok, Some(outcome)) => Tried::Outcome(Box::new(outcome)),
            (Status::NotLeader, _) => match named(reply.leader_node) {
                Some(leader) if leader != node => Tried::Elsewhere(leader),
                _ => Tried::Not(said),
            },
            (Status::TooBusy, _) => Tried::Refused(ProposeError::TooBusy),
            (Status::NoSpace, _) => Tried::Refused(ProposeError::NoSpace),
            (Status::NoReplica | Status::Unavailable | Status::WrongGeneration | Status::TooLarge, _) => Tried::Not(said),
            (Status::Ok | Status::Unknown | Status::Unspecified, _) => Tried::Perhaps(said),
        }
    }
}

/// Whether a failed call cannot have reached what it was for: no connection came about, or the envelope was refused.
pub(crate) fn is_surely_not_handled(status: &tonic::Status) -> bool {
    if matches!(
        status.code(),
        tonic::Code::PermissionDenied | tonic::Code::FailedPrecondition | tonic::Code::Unauthenticated | tonic::Code::Unimplemented
    ) {
        return true;
    }
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// Where to look for a group's leader next.
#[derive(Default)]
pub(crate) struct Route {
    /// A node that a refusal named.
    hint: Option<NodeId>,
    /// How often nobody was found to lead.
    tried: usize,
}

impl Route {
    /// The next node to ask: the one named last, the leader that is known here, else those with a replica in turn.
    fn next(&mut self, context: &Context, group: GroupId) -> Option<NodeId> {
        if let Some(hint) = self.hint.take() {
            return Some(hint);
        }
        // A replica that was left behind may know a leader that is no more: every second time its opinion is not asked.
        if self.tried.is_multiple_of(2) {
            let known = context.replica(group).and_then(|replica| leader_of(&replica.raft)).map(|(_, node)| node);
            if let Some(node) = known.or_else(|| context.leader_hint(group)) {
                return Some(node);
            }
        }
        self.next_holder(context, group)
    }

    /// The nodes with a replica in turn, the own zone first.
    pub(crate) fn next_holder(&mut self, context: &Context, group: GroupId) -> Option<NodeId> {
        let holders = context.directory().holders(group, context.options.node);
        let turn = (self.tried / 2).checked_rem(holders.len())?;
        holders.get(turn).copied()
    }
}
