//! The segment log: entries appended, packed into batches, checksummed and written to simulated files, by a writer that is driven step by step.

use bytes::Bytes;
use skep_micro::{Amount, Case};
use skep_placement::ids::{ClusterId, GroupId, NodeId, RaftId};
use skep_raft::log::testing::{SimFiles, SteppedLog};
use skep_raft::log::{GroupLog, LogEntry, LogOptions, LogPosition};
use std::hint::black_box;
use std::sync::Arc;

/// Batches that one run writes.
const BATCHES: u64 = 64;
const SECTOR_BYTES: u32 = 4_096;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        append_case("log/append-1-of-1-KiB", Shape { groups: 1, payload_bytes: 1 << 10 }),
        append_case("log/append-16-of-1-KiB", Shape { groups: 16, payload_bytes: 1 << 10 }),
        append_case("log/append-1-of-64-KiB", Shape { groups: 1, payload_bytes: 64 << 10 }),
        read_case(),
    ]
}

/// What waits when a batch is taken: an entry of each group.
#[derive(Clone, Copy)]
struct Shape {
    groups: u64,
    payload_bytes: usize,
}

fn append_case(name: &'static str, shape: Shape) -> Case {
    Case::once(name, Amount::Things(BATCHES * shape.groups), move || {
        let (mut log, groups) = open(shape);
        move || {
            append(&mut log, &groups, shape);
            (log, groups)
        }
    })
}

/// Entries that a follower is sent: they are in memory still.
fn read_case() -> Case {
    Case::repeated("log/read-64-of-1-KiB", Amount::Things(BATCHES), || {
        let shape = Shape { groups: 1, payload_bytes: 1 << 10 };
        let (mut log, groups) = open(shape);
        append(&mut log, &groups, shape);
        move || {
            let _open = &log;
            for group in &groups {
                let entries = group.read(0..u64::MAX, usize::MAX).expect("memory does not fail");
                assert!(entries.len() == 64, "a read that is measured finds {} entries", entries.len());
                black_box(entries);
            }
        }
    })
}

fn open(shape: Shape) -> (SteppedLog, Vec<GroupLog>) {
    let mut salt = 0_u32;
    let next_salt = move || {
        salt += 1;
        salt
    };
    let mut options = LogOptions::new(ClusterId([7; 16]), NodeId(3), Box::new(next_salt), Box::new(|_error| {}));
    options.allow_empty = true;
    let log = SteppedLog::open(options, Arc::new(SimFiles::new(SECTOR_BYTES))).expect("simulated files do not fail");
    let groups = (1..=shape.groups).map(|group| log.log.group(GroupId(group), RaftId(11)).expect("there is room for it")).collect();
    (log, groups)
}

fn append(log: &mut SteppedLog, groups: &[GroupLog], shape: Shape) {
    let payload = Bytes::from(vec![0x5a; shape.payload_bytes]);
    for index in 1..=BATCHES {
        for group in groups {
            let entry = LogEntry { position: LogPosition { term: 1, leader: 11, index }, payload: payload.clone() };
            group.submit_append(vec![entry], Box::new(|_result| {})).expect("the log runs");
        }
        assert!(log.step().expect("simulated files do not fail"), "what was appended is written");
    }
}
