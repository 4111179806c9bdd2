//! A folder of which a tenth has changed is brought back to an instant.

use std::time::Duration;

use serde_json::json;

use super::data::make_folders;
use super::history_data::{instant_now, write_files};
use super::job;
use crate::fault::Fault;
use crate::protocol::skep::rest_path;
use crate::protocol::{Operation, Page, PastFiles};
use crate::side::Side;

/// Entries that are compared by one request.
const PAGE: u64 = 1_000;
/// What the files hold then, and those that have changed.
const THEN: &str = "then";
const LATER: &str = "changed later";

/// From the request until the job is done. Afterwards every file must have as many bytes as it had then.
///
/// # Errors
/// If anything fails, or a file is not as it was.
pub(crate) async fn restore(side: &Side, entries: u64) -> Result<Duration, Fault> {
    let folder = format!("restored-{entries}");
    make_folders(side, vec![folder.clone()]).await?;
    write_files(side, &folder, (0..entries).collect(), THEN).await?;
    let at = instant_now().await;
    write_files(side, &folder, (0..entries).filter(|number| number % 10 == 0).collect(), LATER).await?;
    let took = job::run(side, "restore-instant", &json!({"node": rest_path(&folder), "at": at})).await?;
    let mut connection = side.connection(1);
    let then = PastFiles { at: String::new(), length: u64::try_from(THEN.len()).unwrap_or(0) };
    for offset in (0..entries).step_by(usize::try_from(PAGE).unwrap_or(usize::MAX)) {
        let page = Page { offset, limit: PAGE.min(entries - offset), step: 1 };
        // Without an instant it is the folder as it is now.
        let listed = side.speaker.perform(&mut connection, &Operation::ListAt(folder.clone(), page, then.clone())).await;
        listed.map_err(|fault| fault.at("after the restoration"))?;
    }
    Ok(took)
}
