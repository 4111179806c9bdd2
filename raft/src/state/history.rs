//! What the history of a name still knows of a file.

use crate::keys::{HistoryKey, NameThen};
use crate::state::path::Located;
use crate::state::{limits, read};
use crate::store::{Direction, ReadState, StateError};

/// Whether a version was the current one of a file under the name that it has now, within the history kept. Looks at a bounded number of rows, the newest
/// first.
pub(crate) fn had_version(state: &dyn ReadState, located: &Located, version: &[u8]) -> Result<bool, StateError> {
    let Some((parent, name)) = &located.place else { return Ok(false) };
    let name = NameThen(name.clone());
    for row in read::rows::<HistoryKey>(state, &[parent, &name], Direction::Forward).take(limits::HISTORY_ROWS_SEARCHED) {
        let (_, record) = row?;
        if record.was.is_some_and(|was| was.version.as_ref() == version && was.entry.as_ref() == located.entry.0.as_slice()) {
            return Ok(true);
        }
    }
    Ok(false)
}
