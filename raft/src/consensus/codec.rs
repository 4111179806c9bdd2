//! Openraft's calls as messages and back. What is inside (votes, log ids, entries) is written in the encoding of the log's records.

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest,
    VoteResponse,
};

use crate::format::raft_types::{FormatError, decode_entry, decode_log_id, decode_vote, encode_entry, encode_log_id, encode_vote};
use crate::types::TypeConfig;
use crate::wire::raft::v1 as wire;

/// Makes the message of an append.
pub(crate) fn append_request(rpc: &AppendEntriesRequest<TypeConfig>, envelope: wire::Envelope) -> wire::AppendRequest {
    wire::AppendRequest {
        envelope: Some(envelope),
        vote: encode_vote(&rpc.vote),
        previous: encode_log_id(rpc.prev_log_id.as_ref()),
        committed: encode_log_id(rpc.leader_commit.as_ref()),
        entries: rpc.entries.iter().map(encode_entry).collect(),
    }
}

/// Reads the message of an append.
pub(crate) fn read_append_request(message: &wire::AppendRequest) -> Result<AppendEntriesRequest<TypeConfig>, FormatError> {
    Ok(AppendEntriesRequest {
        vote: decode_vote(&message.vote)?,
        prev_log_id: decode_log_id(&message.previous)?,
        leader_commit: decode_log_id(&message.committed)?,
        entries: message.entries.iter().map(decode_entry).collect::<Result<_, _>>()?,
    })
}

/// Makes the answer to an append.
pub(crate) fn append_reply(response: &AppendEntriesResponse<TypeConfig>) -> wire::AppendReply {
    let result = |result: wire::AppendResult| wire::AppendReply { result: result.into(), log_id: Bytes::new(), vote: Bytes::new() };
    match response {
        AppendEntriesResponse::Success => result(wire::AppendResult::Success),
        AppendEntriesResponse::PartialSuccess(log_id) => {
            wire::AppendReply { log_id: encode_log_id(log_id.as_ref()), ..result(wire::AppendResult::Partial) }
        }
        AppendEntriesResponse::Conflict => result(wire::AppendResult::Conflict),
        AppendEntriesResponse::HigherVote(vote) => wire::AppendReply { vote: encode_vote(vote), ..result(wire::AppendResult::HigherVote) },
    }
}

/// Reads the answer to an append.
pub(crate) fn read_append_reply(message: &wire::AppendReply) -> Result<AppendEntriesResponse<TypeConfig>, FormatError> {
    match message.result() {
        wire::AppendResult::Success => Ok(AppendEntriesResponse::Success),
        wire::AppendResult::Partial => Ok(AppendEntriesResponse::PartialSuccess(decode_log_id(&message.log_id)?)),
        wire::AppendResult::Conflict => Ok(AppendEntriesResponse::Conflict),
        wire::AppendResult::HigherVote => Ok(AppendEntriesResponse::HigherVote(decode_vote(&message.vote)?)),
        wire::AppendResult::Unspecified => Err(FormatError { problem: "an answer to an append that this program does not know" }),
    }
}

/// Makes the message of a vote or a pre-vote.
pub(crate) fn vote_request(rpc: &VoteRequest<TypeConfig>, envelope: wire::Envelope) -> wire::VoteRequest {
    wire::VoteRequest {
        envelope: Some(envelope),
        vote: encode_vote(&rpc.vote),
        last_log_id: encode_log_id(rpc.last_log_id.as_ref()),
        leadership_transfer: rpc.leadership_transfer,
    }
}

/// Reads the message of a vote or a pre-vote.
pub(crate) fn read_vote_request(message: &wire::VoteRequest) -> Result<VoteRequest<TypeConfig>, FormatError> {
    let mut request = VoteRequest::new(decode_vote(&message.vote)?, decode_log_id(&message.last_log_id)?);
    request.leadership_transfer = message.leadership_transfer;
    Ok(request)
}

/// Makes the answer to a vote.
pub(crate) fn vote_reply(response: &VoteResponse<TypeConfig>) -> wire::VoteReply {
    wire::VoteReply {
        vote: encode_vote(&response.vote),
        granted: response.vote_granted,
        last_log_id: encode_log_id(response.last_log_id.as_ref()),
    }
}

/// Reads the answer to a vote.
pub(crate) fn read_vote_reply(message: &wire::VoteReply) -> Result<VoteResponse<TypeConfig>, FormatError> {
    Ok(VoteResponse::new(decode_vote(&message.vote)?, decode_log_id(&message.last_log_id)?, message.granted))
}

/// Makes the message that hands leadership over.
pub(crate) fn transfer_request(rpc: &TransferLeaderRequest<TypeConfig>, envelope: wire::Envelope) -> wire::TransferRequest {
    wire::TransferRequest {
        envelope: Some(envelope),
        from_leader: encode_vote(rpc.from_leader()),
        to: *rpc.to_node_id(),
        last_log_id: encode_log_id(rpc.last_log_id()),
    }
}

/// Reads the message that hands leadership over.
pub(crate) fn read_transfer_request(message: &wire::TransferRequest) -> Result<TransferLeaderRequest<TypeConfig>, FormatError> {
    Ok(TransferLeaderRequest::new(decode_vote(&message.from_leader)?, message.to, decode_log_id(&message.last_log_id)?))
}

/// Makes the answer to a hand-over.
pub(crate) fn transfer_reply(response: &TransferLeaderResponse<TypeConfig>) -> wire::TransferReply {
    let mut reply = wire::TransferReply::default();
    match response {
        Ok(()) => reply.set_result(wire::TransferResult::Accepted),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            reply.set_result(wire::TransferResult::VoteChanged);
            reply.expected_vote = encode_vote(expected);
            reply.actual_vote = encode_vote(actual);
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            reply.set_result(wire::TransferResult::LogNotFlushed);
            reply.expected_log_id = encode_log_id(expected.as_ref());
            reply.actual_log_id = encode_log_id(actual.as_ref());
        }
    }
    reply
}

/// Reads the answer to a hand-over.
pub(crate) fn read_transfer_reply(message: &wire::TransferReply) -> Result<TransferLeaderResponse<TypeConfig>, FormatError> {
    match message.result() {
        wire::TransferResult::Accepted => Ok(Ok(())),
        wire::TransferResult::VoteChanged => {
            let (expected, actual) = (decode_vote(&message.expected_vote)?, decode_vote(&message.actual_vote)?);
            Ok(Err(TransferLeaderError::VoteChanged { expected, actual }))
        }
        wire::TransferResult::LogNotFlushed => {
            let (expected, actual) = (decode_log_id(&message.expected_log_id)?, decode_log_id(&message.actual_log_id)?);
            Ok(Err(TransferLeaderError::LogNotFlushed { expected, actual }))
        }
        wire::TransferResult::Unspecified => Err(FormatError { problem: "an answer to a hand-over that this program does not know" }),
    }
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;

    use super::*;
    use crate::types::{Entry, LeaderId, LogId, Proposal, Vote};

    fn log_id(index: u64) -> LogId {
        LogId { leader_id: LeaderId { term: 3, node_id: 2 }, index }
    }

    #[test]
    fn calls_keep_their_content() {
        let entry = Entry { log_id: log_id(8), payload: EntryPayload::Normal(Proposal { payload: Bytes::from_static(b"batch") }) };
        let append = AppendEntriesRequest {
            vote: Vote::new_committed(3, 2),
            prev_log_id: Some(log_id(7)),
            leader_commit: None,
            entries: vec![entry.clone()],
        };
        let read = read_append_request(&append_request(&append, wire::Envelope::default())).expect("it was written so");
        assert_eq!((read.vote, read.prev_log_id, read.leader_commit), (append.vote, append.prev_log_id, None), "an append");
        assert_eq!(read.entries, vec![entry], "its entries");
        let vote = VoteRequest { vote: Vote::new(4, 2), last_log_id: Some(log_id(1)), leadership_transfer: true };
        assert_eq!(read_vote_request(&vote_request(&vote, wire::Envelope::default())), Ok(vote), "a vote");
        let transfer = TransferLeaderRequest::new(Vote::new_committed(4, 2), 9, None);
        assert_eq!(read_transfer_request(&transfer_request(&transfer, wire::Envelope::default())), Ok(transfer), "a hand-over");
    }

    #[test]
    fn answers_keep_their_content() {
        for response in [
            AppendEntriesResponse::Success,
            AppendEntriesResponse::PartialSuccess(Some(log_id(5))),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(Vote::new(9, 1)),
        ] {
            assert_eq!(read_append_reply(&append_reply(&response)), Ok(response), "an append");
        }
        let vote = VoteResponse::new(Vote::new(1, 2), None, true);
        assert_eq!(read_vote_reply(&vote_reply(&vote)), Ok(vote), "a vote");
        for response in [
            Ok(()),
            Err(TransferLeaderError::VoteChanged { expected: Vote::new(1, 2), actual: Vote::new(2, 3) }),
            Err(TransferLeaderError::LogNotFlushed { expected: Some(log_id(4)), actual: None }),
        ] {
            assert_eq!(read_transfer_reply(&transfer_reply(&response)), Ok(response), "a hand-over");
        }
        assert!(read_append_reply(&wire::AppendReply::default()).is_err(), "an empty answer is none");
    }
}
