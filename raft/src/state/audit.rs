//! The audit: a line for every command of somebody, done or refused, and for refusals that came before any command.
//!
//! Invariant: a change and its line are one write; a refusal leaves nothing but its line.

use crate::keys::AuditKey;
use crate::state::rejection::{Stop, invalid};
use crate::state::transaction::Transaction;
use crate::state::{limits, read};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::outcome::What as Outcome;
use crate::wire::meta::v1::{AuditRecord, Command, Done, NoteRefusal, PruneMeta, RejectionCode};

/// The longest subject that is kept whole, in bytes.
const SUBJECT_BYTES_MAX: usize = 1_024;

/// Writes the line of a command that came to an end. The cluster's own work has none.
pub(crate) fn line(transaction: &mut Transaction<'_>, command: &Command, outcome: &Outcome) {
    let is_own = transaction.actor().login.is_empty() && transaction.asked_from().is_empty();
    let Some((action, subject)) = crate::command::described(command).filter(|_| !is_own) else { return };
    let (entry, result, detail) = match outcome {
        Outcome::Done(done) if done.replayed => return,
        Outcome::Done(done) => (done.entry.as_ref().map(|entry| entry.entry.clone()).unwrap_or_default(), "done", String::new()),
        Outcome::Rejection(rejection) => (bytes::Bytes::new(), word(rejection.code()), rejection.detail.clone()),
        Outcome::SessionOpened(_) | Outcome::SessionExpired(_) | Outcome::Busy(_) | Outcome::GivenUp(_) => return,
    };
    let record = AuditRecord {
        stamp: transaction.stamp(),
        actor: Some(transaction.actor().clone()),
        from: transaction.asked_from().to_owned(),
        request_id: transaction.request_id().to_owned(),
        action: action.to_owned(),
        subject: shortened(subject),
        entry,
        outcome: result.to_owned(),
        detail: shortened(detail),
        rights_index: transaction.rights_index(),
    };
    put(transaction, &record);
}

/// Writes the lines of refusals that gateways decided by themselves.
pub(crate) fn refusals(transaction: &mut Transaction<'_>, command: &NoteRefusal) -> Result<Done, Stop> {
    if command.refusals.is_empty() || command.refusals.len() > limits::REFUSALS_NOTED_MAX {
        return Err(invalid(format!("{} refusals are not 1 to {}", command.refusals.len(), limits::REFUSALS_NOTED_MAX)));
    }
    for refusal in &command.refusals {
        let record = AuditRecord {
            stamp: transaction.stamp(),
            subject: shortened(refusal.subject.clone()),
            detail: shortened(refusal.detail.clone()),
            ..refusal.clone()
        };
        put(transaction, &record);
    }
    Ok(Done::default())
}

/// Drops lines older than they are kept. How many.
pub(crate) fn prune(transaction: &mut Transaction<'_>, command: &PruneMeta) -> Result<u64, Stop> {
    let limit = usize::try_from(command.limit).unwrap_or(usize::MAX).min(limits::PAGE_MAX);
    let oldest = transaction.stamp().saturating_sub(limits::AUDIT_SECONDS * 1_000_000);
    let rows = read::rows::<AuditKey>(transaction.state(), &[], Direction::Forward).take(limit);
    let rows = rows.take_while(|row| row.as_ref().map_or(true, |(_, record)| record.stamp < oldest));
    let old = rows.map(|row| row.map(|(key, _)| key)).collect::<Result<Vec<AuditKey>, StateError>>()?;
    for key in &old {
        transaction.delete(key);
    }
    Ok(u64::try_from(old.len()).unwrap_or(u64::MAX))
}

fn put(transaction: &mut Transaction<'_>, record: &AuditRecord) {
    let key = AuditKey { index: transaction.position().index, sub: transaction.next_sub() };
    transaction.put(&key, record);
}

fn shortened(mut text: String) -> String {
    if text.len() > SUBJECT_BYTES_MAX {
        let cut = (0..=SUBJECT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    text
}

/// A refusal's code as the audit writes it: its name in the protocol without what all have.
fn word(code: RejectionCode) -> &'static str {
    code.as_str_name().strip_prefix("REJECTION_CODE_").unwrap_or("UNSPECIFIED")
}
