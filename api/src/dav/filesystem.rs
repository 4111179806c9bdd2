//! The tree as `dav-server` sees it: metadata, members, and making folders. Nothing else goes this way.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dav_server::davpath::DavPath;
use dav_server::fs::{
    DavDirEntry, DavFile, DavMetaData, DavProp, FsError, FsFuture, FsResult, FsStream, GuardedFileSystem, OpenOptions, ReadDirMeta,
};
use futures_util::{StreamExt, TryStreamExt, future, stream};
use http::StatusCode;
use skep_raft::wire::meta::v1::Entry;

use super::context;
use super::made_file::MadeFile;
use super::properties::{Travelling, Used};
use crate::auth::rights::{ReadTree, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::service::listing::{FolderReader, ListRequest};
use crate::service::tree::{FolderRequest, StatRequest, is_folder};
use crate::service::user_path::UserPath;

/// The file system; it holds nothing, all comes with the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileSystem;

impl GuardedFileSystem<Travelling> for FileSystem {
    fn open<'a>(&'a self, _path: &'a DavPath, _options: OpenOptions, travelling: &'a Travelling) -> FsFuture<'a, Box<dyn DavFile>> {
        // Contents do not go this way; but a lock on a free name opens the file that was made with it.
        let opened = travelling.taken().map(|_locked| Box::new(MadeFile) as Box<dyn DavFile>).ok_or(FsError::NotImplemented);
        Box::pin(future::ready(opened))
    }

    fn read_dir<'a>(
        &'a self,
        path: &'a DavPath,
        _meta: ReadDirMeta,
        travelling: &'a Travelling,
    ) -> FsFuture<'a, FsStream<Box<dyn DavDirEntry>>> {
        Box::pin(async move { members(path, travelling).await.map_err(|failure| kept(travelling, failure)) })
    }

    fn metadata<'a>(&'a self, path: &'a DavPath, travelling: &'a Travelling) -> FsFuture<'a, Box<dyn DavMetaData>> {
        Box::pin(async move {
            match metadata(path, travelling).await {
                Ok(meta) => Ok(Box::new(meta) as Box<dyn DavMetaData>),
                // Whether something is there is asked about before it is made; that is no failure.
                Err(failure) if failure.code == ErrorCode::NotFound => Err(FsError::NotFound),
                Err(failure) => Err(kept(travelling, failure)),
            }
        })
    }

    /// Used and total space. Asked for once a request, before the length of a folder is looked at. Source: RFC 4331.
    fn get_quota<'a>(&'a self, travelling: &'a Travelling) -> FsFuture<'a, (u64, Option<u64>)> {
        Box::pin(async move {
            match travelling.usage().await {
                Ok(Some(usage)) => Ok((usage.used, Some(usage.used.saturating_add(usage.available)))),
                Ok(None) => Err(FsError::NotImplemented),
                Err(failure) => Err(kept(travelling, failure)),
            }
        })
    }

    /// Properties of clients are not kept, and each is told so.
    fn patch_props<'a>(
        &'a self,
        _path: &'a DavPath,
        patch: Vec<(bool, DavProp)>,
        _travelling: &'a Travelling,
    ) -> FsFuture<'a, Vec<(StatusCode, DavProp)>> {
        let refused = patch.into_iter().map(|(_is_set, property)| (StatusCode::FORBIDDEN, property)).collect();
        Box::pin(future::ready(Ok(refused)))
    }

    fn create_dir<'a>(&'a self, path: &'a DavPath, travelling: &'a Travelling) -> FsFuture<'a, ()> {
        Box::pin(async move { make(path, travelling).await.map_err(|failure| kept(travelling, failure)) })
    }
}

/// Keeps the true failure and gives `dav-server` one of its own.
fn kept(travelling: &Travelling, failure: Failure) -> FsError {
    let shown = match failure.code {
        ErrorCode::NotFound | ErrorCode::ParentNotFound => FsError::NotFound,
        ErrorCode::AlreadyExists => FsError::Exists,
        ErrorCode::Forbidden => FsError::Forbidden,
        ErrorCode::NoSpace | ErrorCode::QuotaExceeded => FsError::InsufficientStorage,
        _ => FsError::GeneralFailure,
    };
    travelling.fail(failure);
    shown
}

pub(super) fn user_path(path: &DavPath) -> Result<UserPath, Failure> {
    let text = std::str::from_utf8(path.as_bytes()).map_err(|_not_utf8| Failure::new(ErrorCode::NameInvalid, "names are UTF-8"))?;
    text.parse()
}

async fn metadata(path: &DavPath, travelling: &Travelling) -> Result<Meta, Failure> {
    let path = user_path(path)?;
    if path.slug().is_none() {
        return Ok(Meta::default_folder());
    }
    let caller = &travelling.caller;
    let entry = caller.service().stat(caller.at::<ReadTree>(&path)?, StatRequest::default(), &context(caller)).await?;
    Ok(Meta { used: travelling.used(), ..Meta::of(&entry) })
}

async fn make(path: &DavPath, travelling: &Travelling) -> Result<(), Failure> {
    let caller = &travelling.caller;
    let proof = caller.at::<WriteTree>(&user_path(path)?)?;
    caller.service().create_folder(proof, FolderRequest::default(), &context(caller)).await.map(|_entry| ())
}

async fn members(path: &DavPath, travelling: &Travelling) -> Result<FsStream<Box<dyn DavDirEntry>>, Failure> {
    let path = user_path(path)?;
    let caller = &travelling.caller;
    if path.slug().is_none() {
        let seen = caller.service().workspaces_of(caller.own()?, caller.view())?;
        let members: Vec<FsResult<Box<dyn DavDirEntry>>> = seen
            .into_iter()
            .map(|workspace| {
                let meta = Meta { changed_at: workspace.record.changed_at, mtime: workspace.record.changed_at, ..Meta::default_folder() };
                Ok(Box::new(Member { name: workspace.record.slug, meta }) as Box<dyn DavDirEntry>)
            })
            .collect();
        return Ok(Box::pin(stream::iter(members)));
    }
    let folder = match travelling.take_folder() {
        Some(folder) => folder,
        None => caller.service().open_folder(caller.at::<ReadTree>(&path)?, ListRequest::default(), &context(caller)).await?,
    };
    Ok(Box::pin(pages(folder, travelling.clone())))
}

/// All members, page by page. A failure is kept, and ends the listing here and the connection after it.
fn pages(folder: FolderReader, travelling: Travelling) -> impl futures_util::Stream<Item = FsResult<Box<dyn DavDirEntry>>> + Send {
    let used = travelling.used();
    let pages = stream::try_unfold((folder, travelling), |(mut folder, travelling)| async move {
        match folder.next_page().await {
            Ok(Some(entries)) => Ok(Some((entries, (folder, travelling)))),
            Ok(None) => Ok(None),
            Err(failure) => Err(kept(&travelling, failure)),
        }
    });
    pages
        .map_ok(move |entries: Vec<Entry>| {
            let used = used.clone();
            stream::iter(entries.into_iter().map(move |entry| {
                let meta = Meta { used: used.clone(), ..Meta::of(&entry) };
                Ok(Box::new(Member { name: entry.name, meta }) as Box<dyn DavDirEntry>)
            }))
        })
        .try_flatten()
        .boxed()
}

/// What `dav-server` shows of an entry.
#[derive(Clone, Debug, Default)]
struct Meta {
    folder: bool,
    size: u64,
    mtime: u64,
    changed_at: u64,
    created_at: u64,
    etag: String,
    used: Used,
}

impl Meta {
    fn of(entry: &Entry) -> Self {
        Self {
            folder: is_folder(entry),
            size: if is_folder(entry) { 0 } else { entry.size },
            mtime: entry.mtime,
            changed_at: entry.changed_at,
            created_at: entry.created_at,
            etag: entry.etag.clone(),
            used: Used::default(),
        }
    }

    fn default_folder() -> Self {
        Self { folder: true, ..Self::default() }
    }
}

fn time_of(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros)
}

impl DavMetaData for Meta {
    fn len(&self) -> u64 {
        if self.folder { self.used.bytes() } else { self.size }
    }

    fn modified(&self) -> FsResult<SystemTime> {
        Ok(time_of(self.mtime))
    }

    fn is_dir(&self) -> bool {
        self.folder
    }

    /// With quotes: it is shown as it stands, and must be what the ETag header says.
    fn etag(&self) -> Option<String> {
        (!self.etag.is_empty()).then(|| format!("\"{}\"", self.etag))
    }

    fn created(&self) -> FsResult<SystemTime> {
        if self.created_at == 0 { Err(FsError::NotImplemented) } else { Ok(time_of(self.created_at)) }
    }

    fn status_changed(&self) -> FsResult<SystemTime> {
        Ok(time_of(self.changed_at))
    }
}

/// A member of a folder.
#[derive(Clone)]
struct Member {
    name: String,
    meta: Meta,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl DavDirEntry for Member {
    fn name(&self) -> Vec<u8> {
        self.name.clone().into_bytes()
    }

    fn metadata(&'_ self) -> FsFuture<'_, Box<dyn DavMetaData>> {
        Box::pin(future::ready(Ok(Box::new(self.meta.clone()) as Box<dyn DavMetaData>)))
    }
}

#[cfg(test)]
mod tests {
    use dav_server::fs::DavMetaData;
    use skep_raft::wire::meta::v1::{Entry, EntryKind};

    use super::Meta;

    #[test]
    fn the_etag_is_shown_as_the_header_says_it() {
        let entry = Entry { kind: EntryKind::File.into(), size: 7, etag: "v1".to_owned(), ..Entry::default() };
        let meta = Meta::of(&entry);
        assert_eq!((meta.etag().as_deref(), meta.len(), meta.is_dir()), (Some("\"v1\""), 7, false));
        assert!(meta.created().is_err(), "a time that is not known is not made up");
        let folder = Meta::of(&Entry { kind: EntryKind::Folder.into(), size: 99, ..Entry::default() });
        assert_eq!((folder.len(), folder.is_dir()), (0, true));
    }
}
