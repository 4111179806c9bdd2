//! Entries by their ids: where in the caller's workspaces an id leads.
//!
//! Invariant: an id that no workspace shows to the caller is answered as one that does not exist, whether it does or not.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use skep_placement::ids::{DatasourceId, EntryId};
use skep_raft::wire::meta::v1::WorkspaceRecord;

use crate::app::Caller;
use crate::auth::rights::{ReadTree, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::service::place::Place;
use crate::service::user_path::UserPath;

/// A workspace's root as the caller has it.
struct Root {
    place: Place,
    base: EntryId,
    writable: bool,
}

/// The place of an entry in a workspace that the caller may read; in one that it may also write, if there is one. A workspace is also found by its own id,
/// as listings show its root under that.
///
/// # Errors
/// [`ErrorCode::NotFound`] where no workspace of the caller shows it; [`ErrorCode::Unavailable`] where a datasource that may have it does not answer.
pub(crate) async fn place_of_uuid(caller: &Caller, uuid: EntryId) -> Result<Place, Failure> {
    let roots = roots(caller)?;
    if let Some(root) = roots.iter().find(|root| root.place.workspace().id.as_ref() == uuid.0.as_slice()) {
        return Ok(root.place.clone());
    }
    let mut by_datasource: BTreeMap<DatasourceId, Vec<Root>> = BTreeMap::new();
    for root in roots {
        by_datasource.entry(root.place.datasource()).or_default().push(root);
    }
    let context = caller.context();
    let mut answers = stream::iter(by_datasource)
        .map(|(datasource, roots)| async move { (caller.service().locate(datasource, uuid, context).await, roots) })
        .buffered(limits::DATASOURCES_ASKED);
    let mut silent = None;
    while let Some((located, roots)) = answers.next().await {
        match located {
            Ok(Some((names, ancestors))) => {
                if let Some(place) = best(&roots, uuid, &names, &ancestors)? {
                    return Ok(place);
                }
            }
            Ok(None) => {}
            Err(failure) => silent = silent.or(Some(failure)),
        }
    }
    Err(silent.unwrap_or_else(|| Failure::not_found(&uuid.to_string())))
}

/// [`place_of_uuid`] of an id as clients write it.
///
/// # Errors
/// As there, and [`ErrorCode::BadRequest`] for a text that is no id.
pub(crate) async fn place_of_text(caller: &Caller, uuid: &str) -> Result<Place, Failure> {
    let id = uuid::Uuid::parse_str(uuid).map_err(|_not_one| Failure::new(ErrorCode::BadRequest, format!("{uuid:?} is not a UUID")))?;
    place_of_uuid(caller, EntryId(id.into_bytes())).await
}

/// The roots of all workspaces that the caller may read, in the order of slugs.
///
/// # Errors
/// [`ErrorCode::Unauthorized`], [`ErrorCode::Internal`].
pub(crate) fn readable_roots(caller: &Caller) -> Result<Vec<Place>, Failure> {
    Ok(roots(caller)?.into_iter().map(|root| root.place).collect())
}

/// The roots of all workspaces that the caller may read, in the order of slugs. One that this version cannot open shows nothing.
fn roots(caller: &Caller) -> Result<Vec<Root>, Failure> {
    let mut workspaces: Vec<WorkspaceRecord> = caller.view().workspaces()?;
    workspaces.sort_by(|a, b| a.slug.cmp(&b.slug));
    let mut roots = Vec::new();
    for workspace in workspaces {
        let path = UserPath::default().child(&workspace.slug)?;
        let proof = match caller.at::<ReadTree>(&path) {
            Ok(proof) => proof,
            Err(failure) if failure.code == ErrorCode::Unauthorized || failure.code == ErrorCode::Internal => return Err(failure),
            Err(_not_for_the_caller) => continue,
        };
        let place = proof.subject().clone();
        let base = EntryId::try_from(place.root().base.as_ref())
            .map_err(|_no_id| Failure::new(ErrorCode::Internal, format!("{}: the workspace's record is malformed", workspace.slug)))?;
        let writable = caller.authorize::<WriteTree, Place>(place.clone()).is_ok();
        roots.push(Root { place, base, writable });
    }
    Ok(roots)
}

/// The entry's place below one of the roots, the first that is writable before others.
fn best(roots: &[Root], entry: EntryId, names: &[String], ancestors: &[EntryId]) -> Result<Option<Place>, Failure> {
    let mut found = None;
    for root in roots {
        let Some(below) = below_root(&root.place, root.base, entry, names, ancestors) else { continue };
        let path = below.iter().try_fold(root.place.path().clone(), |path, name| path.child(name))?;
        let place = root.place.with_path(path);
        if root.writable {
            return Ok(Some(place));
        }
        found = found.or(Some(place));
    }
    Ok(found)
}

/// The names of an entry below a workspace's root; none if it lies elsewhere. The n-th name hangs on the n-th ancestor.
fn below_root<'a>(place: &Place, base: EntryId, entry: EntryId, names: &'a [String], ancestors: &[EntryId]) -> Option<&'a [String]> {
    let depth = if base == entry { names.len() } else { ancestors.iter().position(|ancestor| *ancestor == base)? };
    names.get(depth..)?.strip_prefix(place.root().names.as_slice())
}

#[cfg(test)]
mod tests {
    use skep_placement::ids::EntryId;

    use super::below_root;
    use crate::auth::authenticator::SignedIn;
    use crate::service::place::{Place, tests::workspace};

    fn names(text: &str) -> Vec<String> {
        text.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn place(folder_per_user: bool) -> Place {
        Place::in_workspace(workspace("files", folder_per_user), &SignedIn::operator(), "files".parse().expect("a path")).expect("a place")
    }

    const FOLDER: EntryId = EntryId([8; 16]);
    const ENTRY: EntryId = EntryId([9; 16]);

    #[test]
    fn names_begin_below_the_root_of_the_workspace() {
        let all = names("a/b/c");
        let ancestors = [EntryId::ROOT, FOLDER, EntryId([7; 16])];
        let below = |base, entry| below_root(&place(false), base, entry, &all, &ancestors).map(<[String]>::to_vec);
        assert_eq!(below(EntryId::ROOT, ENTRY), Some(names("a/b/c")));
        assert_eq!(below(FOLDER, ENTRY), Some(names("b/c")));
        assert_eq!(below(ENTRY, ENTRY), Some(Vec::new()), "the root itself");
        assert_eq!(below(EntryId([6; 16]), ENTRY), None, "it lies elsewhere");
    }

    #[test]
    fn folders_of_other_users_are_not_seen() {
        let of =
            |text: &str| below_root(&place(true), EntryId::ROOT, ENTRY, &names(text), &[EntryId::ROOT, FOLDER]).map(<[String]>::to_vec);
        assert_eq!(of("operator/x"), Some(names("x")));
        assert_eq!(of("somebody/x"), None);
        assert_eq!(of("x"), None, "what lies beside the folders of users");
    }
}
