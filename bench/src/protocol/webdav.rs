//! Any WebDAV server below a folder that exists.

use http::Method;

use super::skep::{lock, method, put_if, put_locked, unlock};
use super::{Call, Operation};
use crate::fault::Fault;

/// `None` for what WebDAV has no request for: many entries at once, pages, the past, notes, a recycle bin.
pub(super) fn call(root: &str, operation: &Operation) -> Result<Option<Call>, Fault> {
    let url = |name: &str| format!("{root}/{name}");
    let call = match operation {
        Operation::Put(name, content) => Call::new(Method::PUT, &url(name))?.sending(*content).giving("etag"),
        Operation::PutIf(name, content) => put_if(&url(name), *content)?,
        Operation::Lock(name) => lock(&url(name))?,
        Operation::PutLocked(name, content) => put_locked(&url(name), *content)?,
        Operation::Unlock(name) => unlock(&url(name))?,
        Operation::Get(name, content, range) => Call::new(Method::GET, &url(name))?.reading(*content, *range),
        Operation::CreateFiles(names) => match names.as_slice() {
            [name] => Call::new(Method::PUT, &url(name))?,
            _many => return Ok(None),
        },
        Operation::CreateFolders(names) => match names.as_slice() {
            [name] => Call::new(method("MKCOL"), &url(name))?,
            _many => return Ok(None),
        },
        Operation::Stat(name) => Call::new(method("PROPFIND"), &url(name))?.header("depth", "0"),
        Operation::List(..)
        | Operation::ListAt(..)
        | Operation::StatAt(..)
        | Operation::GetAt(..)
        | Operation::Revert { .. }
        | Operation::SetTag(..)
        | Operation::FindTag(..)
        | Operation::Recycle(_)
        | Operation::Unrecycle(_)
        | Operation::Batch(_)
        | Operation::BatchDelete(_)
        | Operation::Versions(..)
        | Operation::Changes(..) => return Ok(None),
        Operation::Rename(from, to) => Call::new(method("MOVE"), &url(from))?.header("destination", &url(to)),
        Operation::Copy(from, to) => Call::new(method("COPY"), &url(from))?.header("destination", &url(to)),
        Operation::Delete(name) => Call::new(Method::DELETE, &url(name))?,
    };
    Ok(Some(call))
}
