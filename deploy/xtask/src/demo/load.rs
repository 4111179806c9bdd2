//! Loads files through all nodes at once, and writes down the checksum of each that was acknowledged.
//!
//! A file whose write got no answer is written again, through another node: an unknown outcome is made a known one before the
//! manifest names the file. An interrupted load goes on where it was.

use super::client::{DavClient, RequestFault};
use super::cluster::ClusterFile;
use super::content::Item;
use super::folder::DemoFolder;
use super::manifest::{self, Checksum, HashingReader, ManifestWriter};
use super::parallel;
use super::plan::{self, Load, Loads};
use crate::duration_text::{bytes, duration};
use crate::fault::Fault;
use crate::interrupt::Interrupt;
use crate::{build, output};
use indicatif::ProgressBar;
use std::thread;
use std::time::{Duration, Instant};

/// How often a request is made before it counts as failed.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Does what is to be done, and remembers it.
pub(crate) fn run(folder: &DemoFolder, cluster: &ClusterFile, loads: &Loads, interrupt: &Interrupt) -> Result<(), Fault> {
    let client = DavClient::new(&cluster.admin.login, &cluster.admin.password);
    let loader = Loader { client, nodes: cluster.addresses(), manifest: ManifestWriter::open(&folder.manifest_file())?, interrupt };
    let mut records = loads.known.clone();
    for load in &loads.todo {
        records.retain(|record| record.name != load.record.name);
        records.push(load.record.clone());
        plan::write_records(folder, &records)?;
        loader.load(load, folder)?;
        if let Some(last) = records.last_mut() {
            last.done = true;
        }
        plan::write_records(folder, &records)?;
    }
    if loads.todo.is_empty() {
        output::good("loaded by an earlier start");
    }
    Ok(())
}

struct Loader<'a> {
    client: DavClient,
    nodes: Vec<String>,
    manifest: ManifestWriter,
    interrupt: &'a Interrupt,
}

impl Loader<'_> {
    fn load(&self, load: &Load, folder: &DemoFolder) -> Result<(), Fault> {
        output::line(&load.title);
        let start = Instant::now();
        let known = manifest::read(&folder.manifest_file())?;
        let items: Vec<&Item> = load.items.iter().filter(|item| !known.contains_key(&item.path)).collect();
        let total: u64 = items.iter().map(|item| item.length).sum();
        let bar = ProgressBar::new(total);
        bar.set_style(build::style("{spinner} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}"));
        bar.enable_steady_tick(Duration::from_millis(200));
        let outcome = self.make_folders(&load.folders, &bar).and_then(|()| self.put_all(&items, &bar));
        bar.finish_and_clear();
        outcome?;
        let took = start.elapsed();
        output::good(&format!("{} files, {} in {}", items.len(), bytes(total), duration(took)));
        Ok(())
    }

    /// Makes folders level by level, so that each finds its parent.
    fn make_folders(&self, folders: &[String], bar: &ProgressBar) -> Result<(), Fault> {
        let mut levels: Vec<Vec<&str>> = Vec::new();
        for folder in folders {
            let depth = folder.matches('/').count();
            if levels.len() <= depth {
                levels.resize(depth + 1, Vec::new());
            }
            levels[depth].push(folder);
        }
        for (depth, level) in levels.iter().enumerate() {
            bar.set_message(format!("folders, level {}", depth + 1));
            parallel::for_each(level, |place, folder| self.repeat(folder, place, |node| self.client.make_folder(node, folder)))?;
        }
        Ok(())
    }

    fn put_all(&self, items: &[&Item], bar: &ProgressBar) -> Result<(), Fault> {
        let done = std::sync::atomic::AtomicUsize::new(0);
        parallel::for_each(items, |place, item| {
            let checksum = self.put(item, place, bar)?;
            self.manifest.add(&item.path, &checksum)?;
            let count = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            bar.set_message(format!("{count}/{} files", items.len()));
            Ok(())
        })
    }

    fn put(&self, item: &Item, place: usize, bar: &ProgressBar) -> Result<Checksum, Fault> {
        self.repeat(&item.path, place, |node| {
            let (length, source) =
                item.source.open().map_err(|fault| RequestFault::Refused { status: 0, retry_after: None, reason: fault.to_string() })?;
            let mut content = HashingReader::new(source, |count| bar.inc(count));
            let outcome = self.client.put(node, &item.path, &mut content, length);
            if outcome.is_err() || content.length() != length {
                bar.dec(content.length());
            }
            outcome?;
            if content.length() != length {
                return Err(RequestFault::NoAnswer(format!("it changed while it was read: {} of {length} bytes", content.length())));
            }
            Ok(content.finish())
        })
    }

    /// Makes a request of one node, then of the next, until it succeeds or fails for good.
    fn repeat<T>(&self, path: &str, place: usize, request: impl Fn(&str) -> Result<T, RequestFault>) -> Result<T, Fault> {
        let mut last = None;
        let nodes = self.nodes.iter().cycle().skip(place % self.nodes.len());
        for (node, attempt) in nodes.zip(1..=TRIES) {
            self.interrupt.check()?;
            match request(node) {
                Ok(value) => return Ok(value),
                Err(fault) if fault.is_passing() && attempt < TRIES => {
                    let wanted = fault.retry_after().unwrap_or(PAUSE * attempt).min(PAUSE_MAX);
                    last = Some(fault);
                    thread::sleep(wanted);
                }
                Err(fault) => return Err(Fault::new(format!("{node} did not take {path}: {fault}"))),
            }
        }
        Err(Fault::new(format!("{path}: {}", last.map_or_else(String::new, |fault| fault.to_string()))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::cluster::{Admin, NodeEntry};
    use super::super::content::random_items;
    use super::super::plan::LoadRecord;
    use super::super::test_server::TestServer;
    use super::super::verify;
    use super::*;
    use std::path::PathBuf;

    fn cluster_of(servers: &[&TestServer]) -> ClusterFile {
        let node = |server: &&TestServer| NodeEntry { name: "n".into(), api: server.address(), pid: 0, config: PathBuf::new() };
        ClusterFile { nodes: servers.iter().map(node).collect(), admin: Admin { login: "admin".into(), password: "secret".into() } }
    }

    fn loads(count: u64) -> Loads {
        let outer = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::write(outer.path().join("odd name #1.txt"), "tree").expect("the folder is writable");
        std::fs::create_dir(outer.path().join("empty")).expect("the folder is writable");
        let folder = DemoFolder::at(outer.path().join("none"));
        let options = crate::cli::DemoOptions {
            load: Some(outer.path().to_path_buf()),
            detach: false,
            fresh: false,
            dir: None,
            port: 7000,
            small: true,
            verify: None,
            stop: false,
        };
        let mut loads = plan::decide(&options, &folder).expect("it can be walked");
        // The temporary folder goes when this returns, so the tree's file is replaced by bytes that can be drawn again.
        for item in &mut loads.todo[0].items {
            item.source = super::super::content::Source::Random { seed: 1, length: item.length };
        }
        let record = LoadRecord { name: "random, small".into(), folder: "demo/random".into(), done: false };
        let items = random_items("demo/random", count, 5 << 20);
        loads.todo[1] = Load { folders: vec!["demo".into(), "demo/random".into()], record, title: "random".into(), items };
        for class in super::super::content::SIZE_CLASSES {
            loads.todo[1].folders.push(format!("demo/random/{}", class.name));
            loads.todo[1].folders.push(format!("demo/random/{}/00", class.name));
        }
        loads
    }

    #[test]
    fn everything_arrives_and_is_verified_and_not_loaded_twice() {
        let server = TestServer::start();
        let outer = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = DemoFolder::at(outer.path().join("demo"));
        folder.create().expect("a new folder is made");
        let cluster = cluster_of(&[&server]);
        let loads = loads(20);
        server.refuse_next(5);
        run(&folder, &cluster, &loads, &Interrupt::default()).expect("all is taken, what was refused at the second try");
        assert_eq!(server.files(), 62);
        let found = verify::compare(&folder, &server.address(), &cluster.admin, &Interrupt::default()).expect("it can be read");
        assert_eq!((found.compared, found.wrong.len()), (62, 0));

        let writes = server.writes();
        run(&folder, &cluster, &loads, &Interrupt::default()).expect("nothing is to be done");
        assert_eq!(server.writes(), writes, "what the manifest names is not written again");

        server.damage("demo/random/coded/00/0003.bin");
        server.remove("demo/random/inline/00/0004.bin");
        let found = verify::compare(&folder, &server.address(), &cluster.admin, &Interrupt::default()).expect("it can be read");
        assert_eq!(found.wrong.len(), 2, "{:?}", found.wrong);
    }

    #[test]
    fn a_dead_node_is_passed_over_and_a_refusal_ends_the_load() {
        let server = TestServer::start();
        let dead = TestServer::start();
        let mut cluster = cluster_of(&[&dead, &server]);
        dead.stop();
        let outer = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = DemoFolder::at(outer.path().join("demo"));
        folder.create().expect("a new folder is made");
        run(&folder, &cluster, &loads(2), &Interrupt::default()).expect("the other node takes it");
        assert_eq!(server.files(), 8);

        cluster.admin.password = "wrong".into();
        let other = DemoFolder::at(outer.path().join("other"));
        other.create().expect("a new folder is made");
        let fault = run(&other, &cluster_of(&[&server]), &loads(2), &Interrupt::default());
        fault.expect("the right password is taken");
        cluster.nodes.remove(0);
        std::fs::remove_file(other.manifest_file()).expect("it was written");
        let fault = run(&other, &cluster, &loads(2), &Interrupt::default()).expect_err("the password is wrong").to_string();
        assert!(fault.contains("401"), "{fault}");
    }
}
