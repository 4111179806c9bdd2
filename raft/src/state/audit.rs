//! The audit: a line for every change of somebody and for every refusal, also for refusals that came before any command.
//!
//! Invariant: a change and its line are one write; a refusal leaves nothing but its line. What is done again under the same key, and what the cluster does by
//! itself, has none.

use bytes::Bytes;
use skep_placement::ids::EntryId;

use crate::command::{About, about, about_refused_step, about_step, about_upload};
use crate::keys::AuditKey;
use crate::state::path::{self, Lookup};
use crate::state::rejection::{Stop, invalid};
use crate::state::transaction::Transaction;
use crate::state::{limits, read};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::outcome::What as Outcome;
use crate::wire::meta::v1::{
    AuditRecord, Command, Done, EntryPath, NoteRefusal, PruneMeta, Rejection, RejectionCode, TreeBatch, TreeCommand, command, tree_command,
};

/// The longest subject that is kept whole, in bytes.
const SUBJECT_BYTES_MAX: usize = 1_024;

/// Writes the lines of a command that came to an end: of a batch one for each change.
pub(crate) fn lines(transaction: &mut Transaction<'_>, command: &Command, outcome: &Outcome) -> Result<(), StateError> {
    if transaction.actor().login.is_empty() && transaction.asked_from().is_empty() {
        return Ok(());
    }
    match outcome {
        Outcome::Done(done) if done.replayed => {}
        Outcome::Done(done) => was_done(transaction, command, done),
        Outcome::Rejection(rejection) => was_refused(transaction, command, rejection)?,
        Outcome::SessionOpened(_) | Outcome::SessionExpired(_) | Outcome::Busy(_) | Outcome::GivenUp(_) => {}
    }
    Ok(())
}

fn was_done(transaction: &mut Transaction<'_>, command: &Command, done: &Done) {
    let entry = |done: &Done| done.entry.as_ref().map(|entry| entry.entry.clone()).unwrap_or_default();
    if let Some(batch) = batch(command) {
        for (step, done) in batch.steps.iter().zip(&done.steps) {
            if let Some(about) = about_step(step) {
                line(transaction, about, entry(done), ("done", ""));
            }
        }
    } else if let Some(about) = about(command) {
        line(transaction, about, entry(done), ("done", ""));
    }
}

/// Of a batch the step is named that was refused; of what it is about the entry that is there.
fn was_refused(transaction: &mut Transaction<'_>, command: &Command, rejection: &Rejection) -> Result<(), StateError> {
    let step = usize::try_from(rejection.value).ok().and_then(|number| batch(command)?.steps.get(number.checked_sub(1)?));
    let about = step.and_then(about_refused_step).or_else(|| about(command)).or_else(|| about_upload(command));
    let Some(about) = about else { return Ok(()) };
    let entry = there(transaction, about.path)?;
    line(transaction, about, entry, (word(rejection.code()), &rejection.detail));
    Ok(())
}

fn batch(command: &Command) -> Option<&TreeBatch> {
    match &command.what {
        Some(command::What::Tree(TreeCommand { what: Some(tree_command::What::Batch(batch)) })) => Some(batch),
        Some(_) | None => None,
    }
}

/// The id of what a path leads to; empty if that is nothing.
fn there(transaction: &Transaction<'_>, path: Option<&EntryPath>) -> Result<Bytes, StateError> {
    let Some(path) = path.filter(|path| path.names.len() <= limits::PATH_NAMES_MAX) else { return Ok(Bytes::new()) };
    let Ok(base) = EntryId::try_from(path.base.as_ref()) else { return Ok(Bytes::new()) };
    Ok(match path::look_up(transaction.state(), base, &path.names)? {
        Lookup::Found(located) => Bytes::copy_from_slice(&located.entry.0),
        Lookup::Missing { .. } | Lookup::NoBase | Lookup::NotAFolder { .. } => Bytes::new(),
    })
}

fn line(transaction: &mut Transaction<'_>, about: About<'_>, entry: Bytes, (outcome, detail): (&str, &str)) {
    let record = AuditRecord {
        stamp: transaction.stamp(),
        actor: Some(transaction.actor().clone()),
        from: transaction.asked_from().to_owned(),
        request_id: transaction.request_id().to_owned(),
        action: about.action.to_owned(),
        subject: shortened(about.subject),
        entry,
        outcome: outcome.to_owned(),
        detail: shortened(detail.to_owned()),
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
