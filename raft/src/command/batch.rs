//! Many changes of a tree by one command, all or none.
//!
//! Invariant: all steps have one stamp, so no instant shows a part of them; the refusal of one takes all back and says which it was.

use super::{delete_entry, folder, move_entry, note, put_file, version};
use crate::state::rejection::{Stop, invalid, refuse};
use crate::state::transaction::Transaction;
use crate::state::tree::{self, Parents};
use crate::state::{limits, lock, path, precondition};
use crate::wire::meta::v1::batch_step::What;
use crate::wire::meta::v1::{BatchStep, Done, HoldsStill, RejectionCode, TreeBatch};

/// Carries out the steps in their order.
pub(super) fn apply(transaction: &mut Transaction<'_>, command: &TreeBatch) -> Result<Done, Stop> {
    if command.steps.is_empty() || command.steps.len() > limits::BATCH_STEPS_MAX {
        let detail = format!("a batch has 1 to {} steps, not {}", limits::BATCH_STEPS_MAX, command.steps.len());
        return Err(refuse(RejectionCode::TooManyEntries, detail));
    }
    let mut steps = Vec::with_capacity(command.steps.len());
    for (place, command) in command.steps.iter().enumerate() {
        match &command.what {
            Some(What::CreateFolder(_) | What::PutFile(_)) => transaction.know_folders(),
            _ => transaction.forget_folders(),
        }
        steps.push(step(transaction, command).map_err(|stop| at(stop, place))?);
    }
    transaction.forget_folders();
    let surplus = steps.iter_mut().flat_map(|done| std::mem::take(&mut done.surplus)).collect();
    let count = u64::try_from(steps.len()).unwrap_or(u64::MAX);
    Ok(Done { steps, count, surplus, ..Done::default() })
}

fn step(transaction: &mut Transaction<'_>, step: &BatchStep) -> Result<Done, Stop> {
    match step.what.as_ref().ok_or_else(|| invalid("a step of the batch names nothing to do"))? {
        What::CreateFolder(command) => folder::create(transaction, command),
        What::PutFile(command) => put_file::put(transaction, command),
        What::MoveEntry(command) => move_entry::apply(transaction, command),
        What::DeleteEntry(command) => delete_entry::apply(transaction, command),
        What::SetMeta(command) => note::set(transaction, command),
        What::SetTimes(command) => note::set_times(transaction, command),
        What::UseVersion(command) => version::use_again(transaction, command),
        What::HoldsStill(command) => holds_still(transaction, command),
    }
}

fn holds_still(transaction: &mut Transaction<'_>, command: &HoldsStill) -> Result<Done, Stop> {
    let located = path::find(transaction.state(), command.path.as_ref())?;
    precondition::check(transaction, command.condition.as_ref(), located.as_ref(), None)?;
    match &located {
        Some(located) if command.removable => lock::check_removal(transaction, located)?,
        Some(located) if command.changeable => lock::check_change(transaction, located)?,
        None if command.changeable || command.removable => {
            let target = tree::target(transaction, command.path.as_ref(), Parents::MUST_EXIST)?;
            lock::check_new_member(transaction, &target.folder)?;
        }
        Some(_) | None => {}
    }
    Ok(Done::default())
}

/// Says which step was refused: in words, and as its number from 1.
fn at(stop: Stop, place: usize) -> Stop {
    match stop {
        Stop::Refused(mut rejection) => {
            rejection.value = u64::try_from(place).unwrap_or(u64::MAX).saturating_add(1);
            rejection.detail = format!("step {}: {}; nothing of the batch was done", rejection.value, rejection.detail);
            Stop::Refused(rejection)
        }
        Stop::Failed(error) => Stop::Failed(error),
    }
}
