//! The state machine: commands in entries of eight, applied to a folder of a thousand files and committed to the store in memory; and pages of listings.

use super::group::{FILES, Group, by_user, file_name, path, put, put_file, small_content};
use skep_micro::{Amount, Case};
use skep_raft::wire::meta::v1::{
    BatchStep, ChunkList, Code, Command, ListQuery, MoveEntry, StoredChunk, TreeBatch, WriteId, answer, batch_step, new_content, query,
    tree_command,
};
use std::hint::black_box;

/// Commands that one run applies.
const COMMANDS: u64 = 64;
/// Batches that one run applies.
const BATCHES: u64 = 4;
/// Files of a batch.
const BATCH_STEPS: u64 = 100;
/// Entries of a page.
const PAGE: u32 = 100;
/// A chunk of full length, in bytes.
const CHUNK_BYTES: u32 = 4 << 20;
/// Chunks of a large version.
const CHUNKS: u64 = 16;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        batches_case(),
        commands_case("apply/create-file", |number| put(&file_name(FILES + number), 10_000 + number, small_content(number))),
        commands_case("apply/small-version", |number| put(&file_name(number), 10_000 + number, small_content(number))),
        commands_case("apply/version-of-16-chunks", |number| put(&file_name(number), 10_000 + number, chunked_content(number))),
        commands_case("apply/rename", rename),
        listing_case("apply/listing-page", ""),
        listing_case("apply/listing-page-in-the-middle", "photo-0500.jpg"),
    ]
}

fn commands_case(name: &'static str, command: fn(u64) -> Command) -> Case {
    Case::once(name, Amount::Things(COMMANDS), move || {
        let mut group = Group::with_files();
        let commands: Vec<Command> = (0..COMMANDS).map(command).collect();
        move || {
            group.run(&commands);
            group
        }
    })
}

/// The same files by batches, as `/a/tree/create` makes them.
fn batches_case() -> Case {
    Case::once("apply/create-in-batches", Amount::Things(BATCHES * BATCH_STEPS), move || {
        let mut group = Group::with_files();
        let commands: Vec<Command> = (0..BATCHES).map(batch).collect();
        move || {
            group.run(&commands);
            group
        }
    })
}

fn batch(number: u64) -> Command {
    let step = |at: u64| {
        let number = FILES + number * BATCH_STEPS + at;
        BatchStep { what: Some(batch_step::What::PutFile(put_file(&file_name(number), 10_000 + number, small_content(number)))) }
    };
    by_user(tree_command::What::Batch(TreeBatch { steps: (0..BATCH_STEPS).map(step).collect() }))
}

fn listing_case(name: &'static str, after: &'static str) -> Case {
    Case::repeated(name, Amount::Things(u64::from(PAGE)), move || {
        let group = Group::with_files();
        let list = ListQuery { path: Some(path(&["team", "photos"])), after: after.to_owned(), limit: PAGE, ..ListQuery::default() };
        move || {
            let answer = group.query(query::What::List(list.clone()));
            let is_full = matches!(&answer.what, Some(answer::What::List(page)) if page.entries.len() == PAGE as usize && page.more);
            assert!(is_full, "a listing that is measured is no full page: {answer:?}");
            black_box(answer);
        }
    })
}

fn rename(number: u64) -> Command {
    let to = format!("renamed-{number:04}.jpg");
    by_user(tree_command::What::MoveEntry(MoveEntry {
        from: Some(path(&["team", "photos", &file_name(number)])),
        to: Some(path(&["team", "photos", &to])),
        ..MoveEntry::default()
    }))
}

fn chunked_content(number: u64) -> (u64, new_content::From) {
    let chunks = (0..CHUNKS).map(|place| chunk(number * CHUNKS + place)).collect();
    (CHUNKS * u64::from(CHUNK_BYTES), new_content::From::Chunks(ChunkList { chunks }))
}

fn chunk(number: u64) -> StoredChunk {
    // Chunk ids lie anywhere among each other, as hashes do.
    let spread = u128::from(number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    StoredChunk {
        chunk: [spread.to_be_bytes(), spread.to_le_bytes()].concat().into(),
        length: CHUNK_BYTES,
        write: Some(WriteId { node: 1, boot: 1, counter: number }),
        begun: 1_000_000,
        code: Some(Code { data: 4, parity: 2 }),
        pool: 1,
        epoch: 1,
        ..StoredChunk::default()
    }
}
