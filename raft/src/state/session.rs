//! Exactly once: a command is (session, number, lowest unanswered number); outcomes are kept from the lowest unanswered number on.
//!
//! Invariants: no (session, number) takes effect twice; while a session lives, the outcome of a number it still waits for is there; an
//! unknown session is never opened by a command. The rules are those of the `sessions` model.

use crate::command;
use crate::keys::{AnswerKey, Counter, NodeKey, SessionKey};
use crate::state::rejection::{Stop, invalid};
use crate::state::transaction::Transaction;
use crate::state::{GroupKind, audit, idempotent, limits, lock, quota, read, stated};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::outcome::What;
use crate::wire::meta::v1::{CloseSessions, Command, Done, OpenSession, Outcome, Proposal, SessionOpened, SessionRecord};
use skep_placement::ids::NodeId;

/// Applies one proposal.
pub(crate) fn apply(transaction: &mut Transaction<'_>, proposal: &Proposal) -> Result<Outcome, StateError> {
    let empty = Command::default();
    let command = proposal.command.as_ref().unwrap_or(&empty);
    if proposal.session == 0 {
        return execute(transaction, command);
    }
    let key = SessionKey { session: proposal.session };
    let Some(mut session) = transaction.get(&key)? else { return Ok(outcome(transaction, What::SessionExpired(true))) };
    forget_answered(transaction, proposal, &mut session);
    session.used_at = transaction.stamp();
    transaction.put(&key, &session);
    transaction.keep();
    if proposal.number < session.lowest_unanswered {
        return Ok(outcome(transaction, What::GivenUp(true)));
    }
    let kept = AnswerKey { session: proposal.session, number: proposal.number };
    if let Some(answer) = transaction.get(&kept)? {
        return Ok(answer);
    }
    if proposal.number - session.lowest_unanswered >= limits::SESSION_WINDOW {
        return Ok(outcome(transaction, What::Busy(true)));
    }
    let answer = execute(transaction, command)?;
    // A command that closes sessions may have closed this one: then nobody asks again.
    if transaction.get(&key)?.is_some() {
        transaction.put(&kept, &answer);
    }
    Ok(answer)
}

fn forget_answered(transaction: &mut Transaction<'_>, proposal: &Proposal, session: &mut SessionRecord) {
    if proposal.lowest_unanswered <= session.lowest_unanswered {
        return;
    }
    // Answers lie within the window only. They are named one by one: a scan would pass all those that were deleted before.
    let last = proposal.lowest_unanswered.min(session.lowest_unanswered.saturating_add(limits::SESSION_WINDOW));
    for number in session.lowest_unanswered..last {
        transaction.delete(&AnswerKey { session: proposal.session, number });
    }
    session.lowest_unanswered = proposal.lowest_unanswered;
}

/// Carries a command out, or leaves no trace of it.
fn execute(transaction: &mut Transaction<'_>, command: &Command) -> Result<Outcome, StateError> {
    transaction.keep();
    transaction.asked_by(command)?;
    let what = match once(transaction, command) {
        Ok(what) => what,
        Err(Stop::Refused(rejection)) => {
            transaction.roll_back();
            What::Rejection(rejection)
        }
        Err(Stop::Failed(error)) => return Err(error),
    };
    audit::lines(transaction, command, &what)?;
    transaction.keep();
    Ok(outcome(transaction, what))
}

/// Carries a command out within its limits, unless it was done under its idempotency key already.
fn once(transaction: &mut Transaction<'_>, command: &Command) -> Result<What, Stop> {
    if let Some(asked) = &command.idempotency
        && let Some(done) = idempotent::replay(transaction, asked)?
    {
        return Ok(What::Done(done));
    }
    let before = quota::before(transaction, command)?;
    stated::check(transaction, command)?;
    let what = command::apply(transaction, command)?;
    lock::check_fence_met(transaction, command)?;
    quota::check(transaction, &before)?;
    if let Some(asked) = &command.idempotency {
        idempotent::keep(transaction, asked, &what)?;
    }
    Ok(what)
}

fn outcome(transaction: &Transaction<'_>, what: What) -> Outcome {
    Outcome { stamp: transaction.stamp(), index: transaction.position().index, what: Some(what) }
}

/// Opens a session for a process.
pub(crate) fn open(transaction: &mut Transaction<'_>, open: &OpenSession) -> Result<What, Stop> {
    if open.node == 0 {
        return Err(invalid("a session is opened for a node"));
    }
    if transaction.kind() == GroupKind::System {
        let node = transaction.get(&NodeKey { node: NodeId(open.node) })?;
        // Before the cluster is made its first node opens a session to make it.
        if node.is_some_and(|node| open.boot < node.boot) {
            return Err(crate::state::rejection::refuse(
                crate::wire::meta::v1::RejectionCode::Stale,
                format!("node {} has started again since boot {}", open.node, open.boot),
            ));
        }
    }
    let session = transaction.next(Counter::Session)?;
    let stamp = transaction.stamp();
    let record = SessionRecord { node: open.node, boot: open.boot, opened_at: stamp, used_at: stamp, lowest_unanswered: 1 };
    transaction.put(&SessionKey { session }, &record);
    Ok(What::SessionOpened(SessionOpened { session }))
}

/// Closes sessions that were not used for so long.
pub(crate) fn close(transaction: &mut Transaction<'_>, close: &CloseSessions) -> Result<What, Stop> {
    if close.unused_seconds == 0 {
        return Err(invalid("sessions are closed after one second at least"));
    }
    let unused = close.unused_seconds.saturating_mul(1_000_000);
    let ended = |session: &SessionRecord| transaction.stamp().saturating_sub(session.used_at) >= unused;
    let sessions = read::rows::<SessionKey>(transaction.state(), &[], Direction::Forward);
    let sessions = sessions.filter(|row| row.as_ref().map_or(true, |(_, session)| ended(session)));
    let sessions = sessions.map(|row| row.map(|(key, _)| key)).collect::<Result<Vec<SessionKey>, StateError>>()?;
    let (mut rows, mut closed) = (0, 0);
    for key in sessions {
        if rows >= limits::ROWS_DELETED_MAX {
            break;
        }
        let answers = read::rows::<AnswerKey>(transaction.state(), &[&key.session], Direction::Forward);
        for answer in answers.map(|row| row.map(|(key, _)| key)).collect::<Result<Vec<AnswerKey>, StateError>>()? {
            transaction.delete(&answer);
            rows += 1;
        }
        transaction.delete(&key);
        rows += 1;
        closed += 1;
    }
    Ok(What::Done(Done { count: closed, ..Done::default() }))
}
