//! Brings a datasource's group to index the notes of the namespaces that are indexable now, also those noted before.
//!
//! The group knows what it indexes; nothing is remembered here. A walk that a leader does not end is begun anew by the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::context::Context;
use super::limits;
use super::replica::Replica;
use super::upkeep::propose;
use crate::keys::NoteIndexKey;
use crate::state::read;
use crate::store::{Direction, ReadState, StateError};
use crate::system_view::SystemView;
use crate::wire::meta::v1::{IndexNotes, TreeCommand, command, tree_command};

/// The namespaces that a group indexes, and whether it has come to the end of what was noted before.
pub(super) type Indexed = BTreeMap<String, bool>;

/// What a group indexes.
pub(super) fn look(state: &dyn ReadState) -> Result<Indexed, StateError> {
    let rows = read::rows::<NoteIndexKey>(state, &[], Direction::Forward);
    rows.map(|row| row.map(|(key, record)| (key.namespace.0, record.complete))).collect()
}

/// Walks all notes if the group does not index what it should.
pub(super) async fn run(context: &Arc<Context>, replica: &Replica, view: &SystemView, there: &Indexed) {
    let wanted = match wanted(view) {
        Ok(wanted) => wanted,
        Err(error) => {
            tracing::error!(group = %replica.group, %error, "the namespaces cannot be read: no notes are indexed");
            return;
        }
    };
    if !is_due(&wanted, there) {
        return;
    }
    let mut step = IndexNotes { namespaces: wanted.into_iter().collect(), limit: limits::PRUNED_ROWS_MAX, ..IndexNotes::default() };
    loop {
        let what = tree_command::What::IndexNotes(step.clone());
        match propose(context, replica, command::What::Tree(TreeCommand { what: Some(what) })).await {
            Some(done) if !done.cursor.is_empty() => (step.after, step.begun) = (done.cursor, done.number),
            Some(_) | None => return,
        }
    }
}

/// What users note for themselves is found by the user, not by its value.
fn wanted(view: &SystemView) -> Result<BTreeSet<String>, StateError> {
    let all = view.namespaces()?.into_iter();
    Ok(all.filter(|namespace| namespace.indexable && !namespace.private_to_user).map(|namespace| namespace.name).collect())
}

fn is_due(wanted: &BTreeSet<String>, there: &Indexed) -> bool {
    wanted.iter().any(|namespace| there.get(namespace) != Some(&true)) || there.keys().any(|namespace| !wanted.contains(namespace))
}

#[cfg(test)]
mod tests {
    use super::{Indexed, is_due};

    #[test]
    fn a_walk_is_due_until_what_is_indexed_is_what_should_be() {
        let wanted = ["a", "b"].map(str::to_owned).into();
        let there = |rows: &[(&str, bool)]| rows.iter().map(|(name, complete)| ((*name).to_owned(), *complete)).collect::<Indexed>();
        for due in [&[][..], &[("a", true)], &[("a", true), ("b", false)], &[("a", true), ("b", true), ("c", true)]] {
            assert!(is_due(&wanted, &there(due)), "{due:?}");
        }
        assert!(!is_due(&wanted, &there(&[("a", true), ("b", true)])));
    }
}
