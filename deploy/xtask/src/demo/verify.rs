//! `cargo xtask demo --verify NODE_URL`: reads every loaded file through one node and compares it with the manifest.

use super::client::DavClient;
use super::cluster::{Admin, ClusterFile};
use super::folder::DemoFolder;
use super::manifest::{self, Checksum, HashingReader};
use super::parallel;
use crate::duration_text::{bytes, duration};
use crate::fault::Fault;
use crate::interrupt::Interrupt;
use crate::{build, output};
use indicatif::ProgressBar;
use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Faults that are listed; the rest is counted.
const LISTED: usize = 20;

/// What a comparison found.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) compared: usize,
    pub(crate) bytes: u64,
    /// Path and what is wrong with it.
    pub(crate) wrong: BTreeMap<String, String>,
    /// One checksum of all that was read.
    pub(crate) checksum: Checksum,
}

/// Runs the command; fails if a single byte differs.
pub(crate) fn run(folder: &DemoFolder, node: &str, interrupt: &Interrupt) -> Result<ExitCode, Fault> {
    folder.require_marker()?;
    let admin = ClusterFile::read(folder)?.admin;
    let node = node.trim_end_matches('/');
    let start = Instant::now();
    let found = compare(folder, node, &admin, interrupt)?;
    for (path, what) in found.wrong.iter().take(LISTED) {
        output::bad(&format!("{path}: {what}"));
    }
    if found.wrong.len() > LISTED {
        output::line(&format!("  and {} more", found.wrong.len() - LISTED));
    }
    let took = duration(start.elapsed());
    output::line(&format!("{} files, {} read through {node} in {took}", found.compared, bytes(found.bytes)));
    output::line(&format!("checksum of the whole tree: {}", found.checksum));
    if found.wrong.is_empty() {
        output::good("every file is as it was loaded");
        return Ok(ExitCode::SUCCESS);
    }
    output::bad(&format!("{} of {} files are not as they were loaded", found.wrong.len(), found.compared));
    Ok(ExitCode::FAILURE)
}

/// Reads and compares; a wrong file is a finding, not a failure.
pub(crate) fn compare(folder: &DemoFolder, node: &str, admin: &Admin, interrupt: &Interrupt) -> Result<Comparison, Fault> {
    let entries: Vec<(String, Checksum)> = manifest::read(&folder.manifest_file())?.into_iter().collect();
    if entries.is_empty() {
        return Err(Fault::new(format!("{} names no file: nothing was loaded", folder.manifest_file().display())));
    }
    let client = DavClient::new(&admin.login, &admin.password);
    let bar = ProgressBar::new(u64::try_from(entries.len()).expect("a list in memory is shorter than 2^64"));
    bar.set_style(build::style("{spinner} comparing [{bar:30}] {pos}/{len} files {per_sec} {eta}"));
    bar.enable_steady_tick(Duration::from_millis(200));
    let wrong = Mutex::new(BTreeMap::new());
    let read = Mutex::new(BTreeMap::new());
    let total = AtomicU64::new(0);
    let outcome = parallel::for_each(&entries, |_place, (path, expected)| {
        interrupt.check()?;
        let finding = match read_one(&client, node, path, &total) {
            Ok(checksum) => {
                let same = checksum == *expected;
                read.lock().expect("nobody panics while holding it").insert(path.clone(), checksum);
                if same { None } else { Some("other bytes".to_owned()) }
            }
            Err(cause) => Some(cause),
        };
        if let Some(finding) = finding {
            wrong.lock().expect("nobody panics while holding it").insert(path.clone(), finding);
        }
        bar.inc(1);
        Ok(())
    });
    bar.finish_and_clear();
    outcome?;
    let checksum = manifest::of_all(&read.into_inner().expect("nobody panics while holding it"));
    let wrong = wrong.into_inner().expect("nobody panics while holding it");
    Ok(Comparison { compared: entries.len(), bytes: total.into_inner(), wrong, checksum })
}

fn read_one(client: &DavClient, node: &str, path: &str, total: &AtomicU64) -> Result<Checksum, String> {
    let (promised, body) = client.get(node, path).map_err(|fault| fault.to_string())?;
    let mut reader = HashingReader::new(body, |count| {
        total.fetch_add(count, Ordering::Relaxed);
    });
    io::copy(&mut reader, &mut io::sink()).map_err(|cause| format!("cut off: {cause}"))?;
    match promised {
        Some(length) if length != reader.length() => Err(format!("{} of {length} bytes", reader.length())),
        _ => Ok(reader.finish()),
    }
}
