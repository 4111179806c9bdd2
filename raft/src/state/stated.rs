//! What a request says of the state that it found: WebDAV's If header, decided where the change is applied.
//!
//! Invariant: a command of a tree that came with lists is carried out only if all tests of one of them hold at its stamp. A token of a lock that has ended,
//! or is of another entry, holds for nothing. Source: RFC 4918, section 10.4.

use crate::state::path::{self, Located, Lookup};
use crate::state::rejection::{Stop, invalid, refuse};
use crate::state::transaction::Transaction;
use crate::state::{entry, limits, lock};
use crate::store::StateError;
use crate::wire::meta::v1::command::What;
use crate::wire::meta::v1::{Command, EntryPath, RejectionCode, StateList, StateTest};

/// Checks the lists of a command.
pub(crate) fn check(transaction: &Transaction<'_>, command: &Command) -> Result<(), Stop> {
    if command.lock_tokens.len() > limits::LOCK_TOKENS_MAX {
        return Err(invalid(format!("a command submits at most {} lock tokens", limits::LOCK_TOKENS_MAX)));
    }
    let lists = &command.state_lists;
    if lists.is_empty() || !matches!(command.what, Some(What::Tree(_))) {
        return Ok(());
    }
    if lists.len() > limits::STATE_TESTS_MAX || lists.iter().any(|list| list.tests.len() > limits::STATE_TESTS_MAX) {
        return Err(invalid(format!("a command has at most {0} lists of at most {0} states", limits::STATE_TESTS_MAX)));
    }
    for list in lists {
        if holds(transaction, list)? {
            return Ok(());
        }
    }
    let detail = "no list of states of the If header holds: the lock that it names may have ended, or the entry has changed";
    Err(refuse(RejectionCode::PreconditionFailed, detail))
}

/// What a list is about.
enum About {
    Entry(Located),
    /// A name that nothing has, in a folder.
    Free(Located),
    Nothing,
}

fn holds(transaction: &Transaction<'_>, list: &StateList) -> Result<bool, Stop> {
    let about = about(transaction, list.path.as_ref())?;
    for test in &list.tests {
        if test_holds(transaction, &about, test)? == test.negated {
            return Ok(false);
        }
    }
    // A list without tests says nothing, and so holds for nothing.
    Ok(!list.tests.is_empty())
}

fn about(transaction: &Transaction<'_>, path: Option<&EntryPath>) -> Result<About, Stop> {
    let Some(path) = path else { return Ok(About::Nothing) };
    let (base, names) = path::checked(Some(path))?;
    Ok(match path::look_up(transaction.state(), base, names)? {
        Lookup::Found(located) => About::Entry(located),
        Lookup::Missing { at, folder } if at + 1 == names.len() => About::Free(folder),
        Lookup::Missing { .. } | Lookup::NoBase | Lookup::NotAFolder { .. } => About::Nothing,
    })
}

fn test_holds(transaction: &Transaction<'_>, about: &About, test: &StateTest) -> Result<bool, StateError> {
    if !test.etag.is_empty() {
        let About::Entry(located) = about else { return Ok(false) };
        return Ok(entry::etag(transaction.state(), located)? == test.etag);
    }
    if test.lock_token.is_empty() {
        return Ok(false);
    }
    let stamp = transaction.stamp();
    let locks = match about {
        About::Entry(located) => lock::in_scope(transaction.state(), located, stamp)?,
        // A free name is in the scope of deep locks only.
        About::Free(folder) => {
            let mut locks = lock::in_scope(transaction.state(), folder, stamp)?;
            locks.retain(|(_, lock)| lock.deep);
            locks
        }
        About::Nothing => Vec::new(),
    };
    Ok(locks.iter().any(|(key, _)| test.lock_token.as_ref() == key.token))
}
