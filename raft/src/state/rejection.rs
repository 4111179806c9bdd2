//! How a command ends early: refused, which changes nothing and is an outcome; or with a failed state, which ends the node.

use crate::store::StateError;
use crate::wire::meta::v1::{Rejection, RejectionCode};

/// Why a command was not carried out.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The command is refused.
    Refused(Rejection),
    /// The state failed.
    Failed(StateError),
}

impl From<StateError> for Stop {
    fn from(error: StateError) -> Self {
        Stop::Failed(error)
    }
}

/// A refusal with a sentence for people.
pub(crate) fn refuse(code: RejectionCode, detail: impl Into<String>) -> Stop {
    refuse_at(code, detail, 0)
}

/// A refusal about one place of the path or list that the command names.
pub(crate) fn refuse_at(code: RejectionCode, detail: impl Into<String>, place: usize) -> Stop {
    let place = u64::try_from(place).unwrap_or(u64::MAX);
    Stop::Refused(Rejection { code: code.into(), detail: detail.into(), place, value: 0 })
}

/// The refusal of a command that no version of this program makes.
pub(crate) fn invalid(detail: impl Into<String>) -> Stop {
    refuse(RejectionCode::Invalid, detail)
}

/// A part that the command must have.
pub(crate) fn required<'a, T>(part: Option<&'a T>, what: &str) -> Result<&'a T, Stop> {
    part.ok_or_else(|| invalid(format!("the command has no {what}")))
}

/// An id that the command carries.
pub(crate) fn id<'a, T: TryFrom<&'a [u8]>>(bytes: &'a [u8], what: &str) -> Result<T, Stop> {
    T::try_from(bytes).map_err(|_wrong_length| invalid(format!("the {what} has {} bytes, which is not its length", bytes.len())))
}

/// A text that the command carries, up to a length and without control characters that no person typed.
pub(crate) fn text(text: &str, what: &str, bytes_max: usize) -> Result<(), Stop> {
    if text.len() > bytes_max {
        return Err(invalid(format!("the {what} has {} bytes, more than {bytes_max}", text.len())));
    }
    if text.contains('\0') {
        return Err(invalid(format!("the {what} holds a NUL character")));
    }
    Ok(())
}
