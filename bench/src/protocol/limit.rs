//! The limit program's few paths: `/f/` files, `/log` records, `/stat/` and `/list` reads.

use http::Method;

use super::{Call, Operation};
use crate::fault::Fault;

pub(super) fn call(operation: &Operation) -> Result<Call, Fault> {
    let file = |name: &str| format!("/f/{name}");
    // A record of the log for each name, as long as the names are.
    let logged = |lines: Vec<String>| Ok(Call::new(Method::POST, "/log")?.text(lines.join("\n")));
    Ok(match operation {
        Operation::Put(name, content) => Call::new(Method::PUT, &file(name))?.sending(*content),
        Operation::Get(name, content, range) => Call::new(Method::GET, &file(name))?.reading(*content, *range),
        Operation::CreateFiles(names) | Operation::CreateFolders(names) => return logged(names.clone()),
        Operation::Batch(files) => return logged(files.iter().map(|(name, text)| format!("{name} {text}")).collect()),
        Operation::BatchDelete(names) => return logged(names.clone()),
        Operation::ListAt(_folder, page, _at) => {
            Call::new(Method::GET, &format!("/list/{}/{}", page.offset, page.limit))?.listing(r#""Uuid""#, *page)
        }
        Operation::Versions(_name, count) => {
            let page = super::Page { offset: 0, limit: *count };
            Call::new(Method::GET, &format!("/list/0/{count}"))?.listing(r#""Uuid""#, page)
        }
        Operation::Changes(_position, limit) => {
            let page = super::Page { offset: 0, limit: *limit };
            Call::new(Method::GET, &format!("/list/0/{limit}"))?.listing(r#""Uuid""#, page)
        }
        Operation::Stat(name) => Call::new(Method::GET, &format!("/stat/{name}"))?,
        Operation::List(_folder, page) => {
            Call::new(Method::GET, &format!("/list/{}/{}", page.offset, page.limit))?.listing(r#""Uuid""#, *page)
        }
        Operation::Rename(from, to) | Operation::Copy(from, to) => return logged(vec![format!("{from} {to}")]),
        Operation::Delete(name) => return logged(vec![name.clone()]),
    })
}
