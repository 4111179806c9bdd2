//! Real folders and the real writer thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use skep_placement::ids::{ClusterId, GroupId, NodeId, RaftId};
use skep_raft::log::testing::SimFiles;
use skep_raft::log::{DiskFiles, Log, LogError, LogFiles, LogOptions};

use crate::rig::{Answers, GROUP, RAFT, entry, group, ignore, only, options, position, state_of, vote};

fn disk(folder: &tempfile::TempDir) -> Arc<dyn LogFiles> {
    Arc::new(DiskFiles::open(folder.path()).expect("a folder can be made"))
}

fn open(folder: &tempfile::TempDir) -> Result<Log, LogError> {
    Log::open(options(), disk(folder))
}

/// Waits for a condition, at most ten seconds.
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "waited too long for {what}");
        std::thread::yield_now();
    }
}

#[test]
fn many_groups_write_at_once_and_all_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let log = open(&folder).expect("it opens");
    let acknowledged = Arc::new(AtomicU64::new(0));
    std::thread::scope(|scope| {
        for number in 1..=8 {
            let (log, acknowledged) = (&log, &acknowledged);
            scope.spawn(move || {
                let group = log.group(GroupId(number), RaftId(number)).expect("there is room for it");
                group.submit_vote(vote(number), ignore()).expect("it is running");
                for index in 1..=200 {
                    let acknowledged = Arc::clone(acknowledged);
                    let done = Box::new(move |result: Result<(), LogError>| {
                        result.expect("the disk is good");
                        acknowledged.fetch_add(1, Ordering::SeqCst);
                    });
                    group.submit_append(vec![entry(number, index, 300)], done).expect("it follows");
                }
            });
        }
    });
    wait_for("all entries", || acknowledged.load(Ordering::SeqCst) == 1600);
    let before = state_of(&log);
    log.close();
    let error = group(&log).submit_vote(vote(9), ignore()).expect_err("it is closed");
    assert!(matches!(error, LogError::Stopped { .. }), "{error}");
    let log = open(&folder).expect("it opens again");
    assert_eq!(state_of(&log), before, "everything is there");
    assert_eq!(before.len(), 8, "eight groups");
}

#[test]
fn what_waits_at_the_end_is_written_before_the_log_closes() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let log = open(&folder).expect("it opens");
    let answers = Answers::default();
    group(&log).submit_append(vec![entry(1, 1, 10)], answers.done(1)).expect("it follows");
    group(&log).note_committed(position(1, 1)).expect("it is running");
    drop(log);
    assert_eq!(answers.acknowledged(), vec![1], "it was acknowledged");
    let log = open(&folder).expect("it opens");
    assert_eq!(group(&log).committed().expect("it is there"), Some(position(1, 1)), "with the committed id");
}

#[test]
fn a_folder_is_used_by_one_process_and_one_node_of_one_cluster() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let log = open(&folder).expect("it opens");
    assert!(matches!(open(&folder), Err(LogError::Locked { .. })), "a second process");
    log.close();
    let other = |change: fn(&mut LogOptions)| {
        let mut options = options();
        change(&mut options);
        Log::open(options, disk(&folder)).expect_err("it is another's")
    };
    let error = other(|options| options.cluster = ClusterId([8; 16]));
    assert!(matches!(error, LogError::WrongCluster { .. }), "{error}");
    let error = other(|options| options.node = NodeId(4));
    assert!(matches!(error, LogError::WrongNode { .. }), "{error}");
    let empty = tempfile::tempdir().expect("a folder can be made");
    let mut options = options();
    options.allow_empty = false;
    let error = Log::open(options, disk(&empty)).expect_err("it must not be empty");
    assert!(matches!(error, LogError::Missing { .. }), "{error}");
    open(&folder).expect("the right one may");
}

#[test]
fn a_version_of_the_future_is_refused_as_such() {
    let files = SimFiles::new(512);
    drop(Log::open(options(), Arc::new(files.clone())).expect("it opens"));
    let contents = files.contents();
    let (name, bytes) = contents.last_key_value().expect("there is a segment");
    let mut newer = bytes.clone();
    newer[8] = 2;
    let length = u32::from_le_bytes(newer[12..16].try_into().expect("four bytes"));
    let rest = &newer[20..usize::try_from(length).expect("it is small")];
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&newer[..16]), rest);
    newer[16..20].copy_from_slice(&checksum.to_le_bytes());
    files.overwrite(name, newer);
    let error = Log::open(options(), Arc::new(files)).expect_err("it is not known");
    assert!(matches!(error, LogError::UnknownVersion { found: 2, .. }), "{error}");
}

#[test]
fn a_group_that_comes_back_starts_empty() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let log = open(&folder).expect("it opens");
    let old = group(&log);
    old.submit_append(vec![entry(1, 1, 10)], ignore()).expect("it follows");
    let answers = Answers::default();
    log.remove(GROUP, RAFT, answers.done(1)).expect("it is there");
    assert!(matches!(old.vote(), Err(LogError::Removed { .. })), "its handles know");
    let new = log.group(GROUP, RaftId(12)).expect("there is room for it");
    new.submit_vote(vote(3), answers.done(2)).expect("it is running");
    wait_for("both", || answers.acknowledged() == vec![1, 2]);
    log.close();
    let log = open(&folder).expect("it opens");
    assert_eq!(log.groups(), vec![new.key()], "only the new one is there");
    assert!(log.group(GROUP, RaftId(12)).expect("there is room for it").read(0..9, 100).expect("it can be read").is_empty(), "it is empty");
}

#[test]
fn a_reader_stops_at_its_bound_but_returns_one_entry_at_least() {
    let files = SimFiles::new(512);
    let log = Log::open(options(), Arc::new(files)).expect("it opens");
    let one = group(&log);
    let answers = Answers::default();
    one.submit_append((1..=10).map(|index| entry(1, index, 1000)).collect(), answers.done(1)).expect("it follows");
    assert_eq!(only(&log).entries.len(), 10, "they can be read at once");
    wait_for("them", || answers.acknowledged() == vec![1]);
    assert_eq!(one.read(1..11, 3500).expect("it can be read").len(), 3, "three fit");
    assert_eq!(one.read(4..11, 10).expect("it can be read").len(), 1, "one comes in any case");
    assert!(one.read(11..20, 10).expect("it can be read").is_empty(), "none is there");
    let error = one.submit_append(vec![entry(1, 12, 1)], ignore()).expect_err("11 is missing");
    assert!(matches!(error, LogError::OutOfOrder { expected: 11, found: 12, .. }), "{error}");
    let error = one.submit_append(vec![entry(1, 11, 5 * 1024 * 1024)], ignore()).expect_err("it is too large");
    assert!(matches!(error, LogError::TooLarge { .. }), "{error}");
}

#[test]
fn the_hook_hears_of_a_failure_before_anybody_else() {
    let files = SimFiles::new(512);
    let heard = Answers::default();
    let mut options = options();
    let hook = heard.clone();
    options.on_fatal = Box::new(move |_error| hook.done(0)(Ok(())));
    let log = Log::open(options, Arc::new(files.clone())).expect("it opens");
    files.set_faults(skep_raft::log::testing::Faults { fail_sync_in: Some(0), ..Default::default() });
    group(&log).submit_vote(vote(1), heard.done(1)).expect("it is running");
    wait_for("the answer", || !heard.refused().is_empty());
    assert_eq!((heard.acknowledged(), heard.refused()), (vec![0], vec![1]), "the hook, then the one who waited");
}
