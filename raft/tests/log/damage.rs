//! Damage at every byte: refused, or without effect, or the newest batch alone is gone; never anything acknowledged before it.

use skep_raft::log::LogError;
use skep_raft::log::testing::SimFiles;

use crate::rig::{State, entry, group, ignore, open, position, state_of, vote};

/// A small log of two segments with every kind of record. Returns the files, the state without the newest batch, and the whole state.
fn small_log(settled: bool) -> (SimFiles, State, State) {
    let files = SimFiles::new(512);
    let mut log = open(&files).expect("it opens");
    let one = group(&log.log);
    one.submit_vote(vote(1), ignore()).expect("it is running");
    log.step().expect("it is written");
    one.submit_append((1..=3).map(|index| entry(1, index, 200)).collect(), ignore()).expect("it follows");
    log.step().expect("it is written");
    one.submit_append(vec![entry(1, 4, 200)], ignore()).expect("it follows");
    log.step().expect("it is written");
    drop(log);
    let files = files.crash();
    let mut log = open(&files).expect("it opens");
    let one = group(&log.log);
    one.submit_truncate(4, ignore()).expect("it is running");
    one.submit_append(vec![entry(2, 4, 50)], ignore()).expect("it follows");
    one.note_committed(position(1, 3)).expect("it is running");
    log.step().expect("it is written");
    one.submit_purge(position(1, 1), ignore()).expect("it is running");
    log.step().expect("it is written");
    let mut before = state_of(&log.log);
    one.submit_append(vec![entry(2, 5, 600)], ignore()).expect("it follows");
    log.step().expect("it is written");
    let whole = state_of(&log.log);
    if settled {
        log.settle().expect("it is written");
        before.clone_from(&whole);
    }
    (files.crash(), before, whole)
}

/// Where each batch lies: (start, end without padding, which copy).
fn batches(bytes: &[u8]) -> Vec<(usize, usize, u8)> {
    let starts = (0..bytes.len()).step_by(512).filter(|at| bytes[*at..].starts_with(b"SKBA"));
    starts
        .map(|at| {
            let length: [u8; 4] = bytes[at + 4..at + 8].try_into().expect("four bytes");
            (at, at + 24 + usize::try_from(u32::from_le_bytes(length)).expect("it is small"), bytes[at + 16])
        })
        .collect()
}

/// What a start says of a flipped byte, by the design.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Refused,
    Whole,
    WithoutNewest,
}

fn expected(bytes: &[u8], at: usize, newest_segment: bool) -> Expected {
    let header = u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes"));
    if at < usize::try_from(header).expect("it is small") {
        return Expected::Refused;
    }
    let batches = batches(bytes);
    let Some(place) = batches.iter().position(|(start, end, _)| (*start..*end).contains(&at)) else { return Expected::Whole };
    match (batches[place].2, place + 1 == batches.len()) {
        // The other copy is good.
        (1 | 2, _) => Expected::Whole,
        // The last batch of the older segment is repeated in the newer one.
        (_, true) if !newest_segment => Expected::Whole,
        (_, true) => Expected::WithoutNewest,
        (_, false) => Expected::Refused,
    }
}

fn flip_every_byte(settled: bool) {
    let (files, before, whole) = small_log(settled);
    let contents = files.contents();
    let newest = contents.keys().next_back().cloned().expect("there is a segment");
    let mut seen = [0; 3];
    for (name, bytes) in &contents {
        for at in 0..bytes.len() {
            let damaged = files.fork();
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            damaged.overwrite(name, flipped);
            let expected = expected(bytes, at, *name == newest);
            match open(&damaged) {
                Ok(log) if expected == Expected::Whole => {
                    assert_eq!(state_of(&log.log), whole, "byte {at} of {name}");
                    seen[0] += 1;
                }
                Ok(log) if expected == Expected::WithoutNewest => {
                    assert_eq!(state_of(&log.log), before, "byte {at} of {name}");
                    seen[1] += 1;
                }
                Err(LogError::Damaged { .. }) if expected == Expected::Refused => seen[2] += 1,
                Ok(_) => panic!("byte {at} of {name}: accepted, {expected:?} was expected"),
                Err(error) => panic!("byte {at} of {name}: {error}, {expected:?} was expected"),
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 20), "every outcome was seen: {seen:?}");
}

#[test]
fn a_flipped_byte_is_refused_or_costs_the_newest_batch_alone() {
    flip_every_byte(false);
}

#[test]
fn a_flipped_byte_costs_nothing_once_the_log_was_idle() {
    flip_every_byte(true);
}

#[test]
fn a_torn_newest_batch_is_cut_off_wherever_it_is_torn() {
    let (files, before, whole) = small_log(false);
    let contents = files.contents();
    let (name, bytes) = contents.last_key_value().expect("there is a segment");
    let (start, end, _) = *batches(bytes).last().expect("there is a batch");
    for from in start..bytes.len() {
        for garbage in [None, Some(0), Some(0xFF)] {
            let torn = files.fork();
            let mut cut = bytes.clone();
            match garbage {
                None => cut.truncate(from),
                Some(byte) => cut[from..].fill(byte),
            }
            let harmless = from >= end || bytes[from..end] == cut.get(from..end).unwrap_or_default().to_vec();
            torn.overwrite(name, cut);
            let log = open(&torn).unwrap_or_else(|error| panic!("torn at {from} with {garbage:?}: {error}"));
            assert_eq!(state_of(&log.log), if harmless { whole.clone() } else { before.clone() }, "torn at {from} with {garbage:?}");
        }
    }
}

#[test]
fn an_older_segment_that_is_cut_is_refused() {
    let (files, _, whole) = small_log(true);
    let contents = files.contents();
    let (name, bytes) = contents.first_key_value().expect("there is a segment");
    let repeated = batches(bytes).last().expect("there is a batch").0;
    for length in 0..bytes.len() {
        let torn = files.fork();
        torn.overwrite(name, bytes[..length].to_vec());
        match open(&torn) {
            Err(LogError::Damaged { .. }) => assert!(length < repeated, "cut to {length}: what counts is whole"),
            Ok(log) => {
                let proven =
                    batches(bytes).iter().filter(|(start, _, _)| *start < repeated).all(|(_, end, copy)| *end <= length || *copy == 2);
                assert!(proven, "cut to {length}: something that counts is missing");
                assert_eq!(state_of(&log.log), whole, "cut to {length}");
            }
            Err(error) => panic!("cut to {length}: {error}"),
        }
    }
}

#[test]
fn a_missing_segment_is_refused() {
    let (files, _, _) = small_log(true);
    drop(open(&files).expect("it opens"));
    let names: Vec<String> = files.contents().into_keys().collect();
    assert_eq!(names.len(), 3, "one segment a start");
    let gap = files.fork();
    gap.erase(&names[1]);
    assert!(matches!(open(&gap), Err(LogError::Damaged { .. })), "the middle one");
}

#[test]
fn a_damaged_entry_is_refused_when_it_is_read() {
    let files = SimFiles::new(512);
    let mut log = open(&files).expect("it opens");
    let one = group(&log.log);
    one.submit_append((1..=4).map(|index| entry(1, index, 1000)).collect(), ignore()).expect("it follows");
    log.step().expect("it is written");
    let contents = files.contents();
    let (name, bytes) = contents.last_key_value().expect("there is a segment");
    let (start, _, _) = batches(bytes)[0];
    let mut flipped = bytes.clone();
    flipped[start + 200] ^= 1;
    files.overwrite(name, flipped);
    assert!(matches!(one.read(1..2, 10_000), Err(LogError::Damaged { .. })), "the first entry left memory");
    assert_eq!(one.read(2..3, 10_000).expect("the second is whole").len(), 1, "others can be read");
}
