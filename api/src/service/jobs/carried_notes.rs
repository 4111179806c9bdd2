//! Notes that go with entries which a job builds anew: what everybody sees, and on a move what the user who asked has marked. What other users have marked
//! stays with the source, and ends with it.

use bytes::Bytes;
use skep_placement::ids::EntryId;
use skep_raft::state::namespace::{BOOKMARK, is_reserved};
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1::{EntryPath, FoundMeta, MetaQuery, Query, SetMeta, answer, query, tree_command};

use super::ends::Ends;
use super::running::Running;
use super::transfer_job::step;
use crate::error_code::Failure;
use crate::service::id_bytes;

/// Entries whose notes are asked for at once; each may hold much.
const ENTRIES_ASKED: usize = 100;

/// Notes at what was built what is noted at its sources. Safe to do twice.
pub(super) async fn carry(running: &Running, ends: &Ends, entries: Vec<(EntryId, EntryPath)>) -> Result<(), Failure> {
    let view = running.service().metadata().system(running.context().deadline()).await?;
    for some in entries.chunks(ENTRIES_ASKED) {
        let ids: Vec<Bytes> = some.iter().map(|(entry, _)| id_bytes(entry.0)).collect();
        let mut found = ask(running, ends, MetaQuery { entries: ids.clone(), ..MetaQuery::default() }).await?;
        if ends.leaving.is_some() {
            let own = MetaQuery { entries: ids, namespace: BOOKMARK.to_owned(), user: ends.source.actor().user, ..MetaQuery::default() };
            found.extend(ask(running, ends, own).await?);
        }
        for note in found.into_iter().filter(|note| !is_reserved(&note.namespace)) {
            let Some((_, path)) = some.iter().find(|(entry, _)| note.entry.as_ref() == entry.0.as_slice()) else { continue };
            let command = command_of(note, path.clone(), &view)?;
            step(running, &ends.target, tree_command::What::SetMeta(command)).await?;
        }
    }
    Ok(())
}

fn command_of(note: FoundMeta, path: EntryPath, view: &SystemView) -> Result<SetMeta, Failure> {
    let searchable = view.namespace(&note.namespace)?.is_some_and(|namespace| namespace.indexable);
    let json = note.record.map(|record| record.json).unwrap_or_default();
    Ok(SetMeta { path: Some(path), namespace: note.namespace, json, user: note.user, searchable })
}

async fn ask(running: &Running, ends: &Ends, question: MetaQuery) -> Result<Vec<FoundMeta>, Failure> {
    let question = Query { what: Some(query::What::Meta(question)) };
    let group = ends.source.subject().group();
    match running.service().metadata().query(group, question, running.context().deadline()).await?.what {
        Some(answer::What::Meta(page)) => Ok(page.found),
        _ => Ok(Vec::new()),
    }
}
