//! The limit program's few paths: `/f/` files, `/log` records, `/stat/` and `/list` reads.

use http::Method;

use super::{Call, Operation};
use crate::fault::Fault;

pub(super) fn call(operation: &Operation) -> Result<Call, Fault> {
    let file = |name: &str| format!("/f/{name}");
    // A record of the log for each name, as long as the names are.
    let logged = |lines: Vec<String>| Ok(Call::new(Method::POST, "/log")?.text(lines.join("\n")));
    Ok(match operation {
        Operation::Put(name, content) | Operation::PutIf(name, content) | Operation::PutLocked(name, content) => {
            Call::new(Method::PUT, &file(name))?.sending(*content)
        }
        Operation::Get(name, content, range) => Call::new(Method::GET, &file(name))?.reading(*content, *range),
        Operation::GetAt(name, content, _at) => Call::new(Method::GET, &file(name))?.reading(*content, None),
        Operation::CreateFiles(names) | Operation::CreateFolders(names) => return logged(names.clone()),
        Operation::Batch(files) => return logged(files.iter().map(|(name, text)| format!("{name} {text}")).collect()),
        Operation::BatchDelete(names) => return logged(names.clone()),
        Operation::Stat(name) | Operation::StatAt(name, _) => Call::new(Method::GET, &format!("/stat/{name}"))?,
        Operation::List(_folder, page) | Operation::ListAt(_folder, page, _) => listed(page.offset, page.limit)?,
        Operation::Versions(_, count) | Operation::Changes(_, count) => listed(0, *count)?,
        Operation::FindTag(..) => listed(0, 1)?,
        Operation::Rename(from, to) | Operation::Copy(from, to) => return logged(vec![format!("{from} {to}")]),
        Operation::SetTag(name, tag) => return logged(vec![format!("{name} {tag}")]),
        Operation::Revert { file, version, .. } => return logged(vec![format!("{file} {version}")]),
        Operation::Delete(name)
        | Operation::Lock(name)
        | Operation::Unlock(name)
        | Operation::Recycle(name)
        | Operation::Unrecycle(name) => return logged(vec![name.clone()]),
    })
}

fn listed(offset: u64, limit: u64) -> Result<Call, Fault> {
    Ok(Call::new(Method::GET, &format!("/list/{offset}/{limit}"))?.expecting(r#""Uuid""#, limit))
}
