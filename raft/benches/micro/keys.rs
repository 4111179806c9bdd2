//! Keys of the state machine to bytes and back: a short one, those with names, and the longest.

use skep_micro::{Amount, Case};
use skep_placement::ids::{BootNumber, ChunkId, EntryId, InstanceId, NodeId, Stamp, WriteId};
use skep_raft::keys::{CurrentKey, DeleteKey, Descending, HistoryKey, NameThen, StateKey, VersionKey};
use std::hint::black_box;

/// Keys that one run goes through.
const KEYS: u64 = 1_000;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        encode_case("keys/encode-current", current),
        encode_case("keys/encode-history", history),
        encode_case("keys/encode-version", version),
        encode_case("keys/encode-delete", delete),
        decode_case("keys/decode-current", current),
        decode_case("keys/decode-history", history),
        decode_case("keys/decode-version", version),
        decode_case("keys/decode-delete", delete),
    ]
}

fn encode_case<K: StateKey + 'static>(name: &'static str, key: fn(u64) -> K) -> Case {
    Case::repeated(name, Amount::Things(KEYS), move || {
        let keys: Vec<K> = (0..KEYS).map(key).collect();
        move || keys.iter().for_each(|key| drop(black_box(black_box(key).to_bytes())))
    })
}

fn decode_case<K: StateKey + 'static>(name: &'static str, key: fn(u64) -> K) -> Case {
    Case::repeated(name, Amount::Things(KEYS), move || {
        let stored: Vec<_> = (0..KEYS).map(|number| key(number).to_bytes()).collect();
        move || stored.iter().for_each(|bytes| drop(black_box(K::from_bytes(black_box(bytes)).expect("it is one of these keys"))))
    })
}

fn current(number: u64) -> CurrentKey {
    CurrentKey::new(entry(number), &file_name(number))
}

fn history(number: u64) -> HistoryKey {
    HistoryKey { parent: entry(number), name: NameThen(file_name(number)), until: Descending(number) }
}

fn version(number: u64) -> VersionKey {
    VersionKey { entry: entry(number), number: Descending(number) }
}

fn delete(number: u64) -> DeleteKey {
    let write = WriteId { node: NodeId(1), boot: BootNumber(2), counter: number };
    DeleteKey { since: Stamp(number), instance: InstanceId { chunk: ChunkId([0xef; 32]), write } }
}

fn entry(number: u64) -> EntryId {
    EntryId(u128::from(number).to_be_bytes())
}

fn file_name(number: u64) -> String {
    format!("photo-{number:04}.jpg")
}
