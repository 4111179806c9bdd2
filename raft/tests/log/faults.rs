//! Each correction that model checking made to the first rules, as a test of its own.

use std::sync::Arc;

use skep_raft::log::testing::{Faults, SimFiles, SteppedLog};
use skep_raft::log::{LogError, LogOptions};

use crate::rig::{Answers, entry, group, ignore, only, open, options, position, vote};

const OLD: u32 = 0;

/// A log with entries 1 and 2, each in a batch of its own, and entry 3 asked for.
fn with_three_entries(files: &SimFiles) -> SteppedLog {
    let mut log = open(files).expect("it opens");
    for index in 1..=2 {
        group(&log.log).submit_append(vec![entry(1, index, 100)], ignore()).expect("it follows");
        log.step().expect("it is written");
    }
    group(&log.log).submit_append(vec![entry(1, 3, 700)], ignore()).expect("it follows");
    log
}

#[test]
fn a_tail_that_was_never_synced_is_synced_before_it_is_relied_on() {
    let files = SimFiles::new(512);
    let mut log = with_three_entries(&files);
    // The process ends between write and sync.
    files.set_faults(Faults { crash_in: Some(1), ..Faults::default() });
    log.step().expect_err("the process has ended");
    let files = files.crash();
    let log = open(&files).expect("it opens");
    assert_eq!(only(&log.log).entries.len(), 3, "the page cache has the third entry");
    // Whoever saw it relied on it; now the power fails and nothing unsynced survives.
    let files = files.power_cut(&mut |_choices| OLD);
    let log = open(&files).expect("it opens");
    assert_eq!(only(&log.log).entries.len(), 3, "the start made it durable");
}

#[test]
fn a_batch_whose_sync_failed_is_written_again_at_the_start() {
    let files = SimFiles::new(512);
    let mut log = with_three_entries(&files);
    files.set_faults(Faults { fail_sync_in: Some(0), ..Faults::default() });
    log.step().expect_err("the sync fails");
    let files = files.crash();
    let log = open(&files).expect("it opens");
    assert_eq!(only(&log.log).entries.len(), 3, "the page cache has it, and takes it for clean");
    let files = files.power_cut(&mut |_choices| OLD);
    let log = open(&files).expect("it opens");
    assert_eq!(only(&log.log).entries.len(), 3, "it lies in the new segment");
}

/// Opens after a crash before each change that a start makes and a power cut with each single kind of loss.
#[test]
fn a_start_may_be_cut_off_anywhere() {
    let files = SimFiles::new(512);
    drop(with_three_entries(&files));
    let before = files.crash();
    for crash_in in 0..12 {
        for choice in 0..4 {
            let files = before.fork();
            files.set_faults(Faults { crash_in: Some(crash_in), ..Faults::default() });
            let whole = open(&files).is_ok();
            let files = files.power_cut(&mut |choices| choice % choices);
            let log = open(&files).unwrap_or_else(|error| panic!("cut before change {crash_in}, choice {choice}: {error}"));
            assert_eq!(only(&log.log).entries.len(), 2, "both acknowledged entries are there");
            assert!(whole || crash_in < 6, "a start makes few changes");
        }
    }
}

#[test]
fn a_segment_may_be_cut_off_anywhere_while_it_is_made() {
    let small = || {
        let mut options: LogOptions = options();
        options.segment_bytes_max = 4096;
        options
    };
    for crash_in in 0..40 {
        for choice in 0..4 {
            let files = SimFiles::new(512);
            let mut log = SteppedLog::open(small(), Arc::new(files.clone())).expect("it opens");
            let answers = Answers::default();
            files.set_faults(Faults { crash_in: Some(crash_in), ..Faults::default() });
            for index in 1..=12 {
                let number = usize::try_from(index).expect("it is small");
                if group(&log.log).submit_append(vec![entry(1, index, 900)], answers.done(number)).is_err() || log.step().is_err() {
                    break;
                }
            }
            let files = files.power_cut(&mut |choices| choice % choices);
            let log =
                SteppedLog::open(small(), Arc::new(files)).unwrap_or_else(|error| panic!("crash {crash_in}, choice {choice}: {error}"));
            let there = only(&log.log).entries.len();
            assert!(there >= answers.acknowledged().len(), "crash {crash_in}, choice {choice}: what was acknowledged is there");
        }
    }
}

#[test]
fn a_torn_batch_leaves_the_one_before_it_whole() {
    for choice in 0..4 {
        let files = SimFiles::new(512);
        let mut log = with_three_entries(&files);
        files.set_faults(Faults { crash_in: Some(1), ..Faults::default() });
        log.step().expect_err("the process has ended between write and sync");
        let files = files.power_cut(&mut |choices| choice % choices);
        let log = open(&files).expect("a torn tail is no damage");
        assert_eq!(only(&log.log).entries.len(), if choice == 1 { 3 } else { 2 }, "choice {choice}");
    }
}

/// Flips a byte in the first or second writing of the newest batch.
fn flip_newest(files: &SimFiles, copy: u8) {
    let contents = files.contents();
    let (name, mut bytes) = contents.last_key_value().map(|(name, bytes)| (name.clone(), bytes.clone())).expect("there is a segment");
    let newest = (0..bytes.len()).step_by(512).rfind(|at| bytes[*at..].starts_with(b"SKBA") && bytes[at + 16] == copy);
    bytes[newest.expect("there is such a copy") + 30] ^= 1;
    files.overwrite(&name, bytes);
}

#[test]
fn a_vote_survives_damage_of_either_copy() {
    for copy in [1, 2] {
        let files = SimFiles::new(512);
        let mut log = open(&files).expect("it opens");
        group(&log.log).submit_vote(vote(5), ignore()).expect("it is running");
        log.step().expect("it is written");
        let files = files.crash();
        flip_newest(&files, copy);
        let log = open(&files).expect("the other copy is good");
        assert_eq!(only(&log.log).vote, Some(vote(5)), "copy {copy} is damaged");
    }
}

#[test]
fn an_empty_batch_proves_the_last_one() {
    let files = SimFiles::new(512);
    let mut log = with_three_entries(&files);
    log.step().expect("it is written");
    let torn = files.fork();
    flip_newest(&torn, 0);
    let after = open(&torn).expect("the newest batch passes for a torn tail: the known limit");
    assert_eq!(only(&after.log).entries.len(), 2, "it is gone");
    log.settle().expect("it is written");
    let proven = files.crash();
    let contents = proven.contents();
    let (name, bytes) = contents.last_key_value().expect("there is a segment");
    let starts: Vec<usize> = (0..bytes.len()).step_by(512).filter(|at| bytes[*at..].starts_with(b"SKBA")).collect();
    let mut bytes = bytes.clone();
    bytes[starts[starts.len() - 2] + 30] ^= 1;
    proven.overwrite(name, bytes);
    let error = open(&proven).expect_err("damage before a valid batch is refused");
    assert!(matches!(error, LogError::Damaged { .. }), "{error}");
}

#[test]
fn nothing_is_acknowledged_after_a_failure() {
    for fault in [Faults { fail_sync_in: Some(0), ..Faults::default() }, Faults { fail_write_in: Some(0), ..Faults::default() }] {
        let files = SimFiles::new(512);
        let mut log = open(&files).expect("it opens");
        let answers = Answers::default();
        files.set_faults(fault);
        group(&log.log).submit_append(vec![entry(1, 1, 10)], answers.done(1)).expect("it is running");
        log.step().expect_err("the disk fails");
        let error = group(&log.log).submit_append(vec![entry(1, 2, 10)], answers.done(2)).expect_err("the log has stopped");
        assert!(matches!(error, LogError::Stopped { .. }), "{error}");
        log.step().expect_err("for ever");
        log.settle().expect_err("for ever");
        assert_eq!((answers.acknowledged(), answers.refused()), (vec![], vec![1]), "the one that waited was told");
    }
}

#[test]
fn segments_go_oldest_first_once_no_group_needs_them() {
    let files = SimFiles::new(512);
    let mut options = options();
    options.kept_bytes_max = 64 * 1024;
    let mut log = SteppedLog::open(options, Arc::new(files.clone())).expect("it opens");
    let pressure = log.log.pressure();
    for index in 1..=60 {
        group(&log.log).submit_append(vec![entry(1, index, 1000)], ignore()).expect("it follows");
        log.step().expect("it is written");
    }
    assert_eq!(log.log.pinning_groups(), vec![group(&log.log).key()], "it must snapshot");
    assert!(pressure.borrow().full, "the node keeps as much as it may");
    let before = files.contents().len();
    group(&log.log).submit_purge(position(1, 50), ignore()).expect("it is running");
    log.step().expect("it is written");
    let names: Vec<String> = files.contents().into_keys().collect();
    assert!(before >= 5 && names.len() <= 2, "only segments with entries that are needed are left: {names:?}");
    assert!(log.log.pinning_groups().is_empty() && !pressure.borrow().full, "there is room again");
    let log = open(&files.crash()).expect("it opens without the oldest segments");
    assert_eq!(only(&log.log).entries.first().map(|entry| entry.position.index), Some(51), "what is needed is there");
}
