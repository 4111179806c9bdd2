//! Microbenchmarks of the codec, the checksums and chunk ids: whole chunks, as a write and a repair see them.

use skep_micro::{Amount, Case};
use skep_placement::checksum::{ShardAddress, block_checksums, verify_blocks};
use skep_placement::chunk::{ChunkKey, chunk_id};
use skep_placement::erasure::{decode, encode_parity, reconstruct_shards};
use skep_placement::ids::{BootNumber, NodeId, WriteId};
use skep_placement::limits::CHUNK_LENGTH_BYTES_MAX;
use skep_placement::profile::Code;
use std::hint::black_box;
use std::process::ExitCode;

const CHUNK_BYTES: u64 = CHUNK_LENGTH_BYTES_MAX as u64;
/// A shard of a whole chunk under 2+1.
const SHARD_BYTES: usize = CHUNK_LENGTH_BYTES_MAX / 2;

fn main() -> ExitCode {
    skep_micro::run(&[
        encode_case("codec/encode-2+1", 2, 1),
        encode_case("codec/encode-4+2", 4, 2),
        decode_case("codec/decode-2+1-one-lost", 2, 1, &[0]),
        decode_case("codec/decode-4+2-two-lost", 4, 2, &[0, 3]),
        repair_case("codec/repair-2+1-parity", 2, 1, &[2]),
        repair_case("codec/repair-4+2-data-and-parity", 4, 2, &[1, 5]),
        checksum_case(),
        verify_case(),
        chunk_id_case(),
    ])
}

/// The parity shards of a chunk; its data shards are sent from where they lie.
fn encode_case(name: &'static str, data: u8, parity: u8) -> Case {
    Case::repeated(name, Amount::Bytes(CHUNK_BYTES), move || {
        let (code, chunk) = (code(data, parity), bytes(CHUNK_LENGTH_BYTES_MAX));
        move || drop(black_box(encode_parity(code, black_box(&chunk))))
    })
}

/// A chunk that is read while data shards are lost.
fn decode_case(name: &'static str, data: u8, parity: u8, lost: &'static [u8]) -> Case {
    Case::once(name, Amount::Bytes(CHUNK_BYTES), move || {
        let (code, shards) = (code(data, parity), shards_without(code(data, parity), lost));
        move || decode(code, CHUNK_LENGTH_BYTES_MAX, black_box(shards)).expect("k shards are left")
    })
}

/// The shards that a repair makes anew.
fn repair_case(name: &'static str, data: u8, parity: u8, lost: &'static [u8]) -> Case {
    Case::once(name, Amount::Bytes(CHUNK_BYTES), move || {
        let (code, shards) = (code(data, parity), shards_without(code(data, parity), lost));
        move || reconstruct_shards(code, lost, black_box(shards)).expect("k shards are left")
    })
}

fn checksum_case() -> Case {
    Case::repeated("checksum/blocks", Amount::Bytes(SHARD_BYTES as u64), || {
        let shard = bytes(SHARD_BYTES);
        move || drop(black_box(block_checksums(ADDRESS, black_box(&shard))))
    })
}

fn verify_case() -> Case {
    Case::repeated("checksum/verify", Amount::Bytes(SHARD_BYTES as u64), || {
        let shard = bytes(SHARD_BYTES);
        let checksums = block_checksums(ADDRESS, &shard);
        move || verify_blocks(ADDRESS, 0, black_box(&shard), black_box(&checksums)).expect("nobody changed the shard")
    })
}

fn chunk_id_case() -> Case {
    Case::repeated("chunk/keyed-id", Amount::Bytes(CHUNK_BYTES), || {
        let (key, chunk) = (ChunkKey([7; 32]), bytes(CHUNK_LENGTH_BYTES_MAX));
        move || {
            black_box(chunk_id(black_box(&key), black_box(&chunk)));
        }
    })
}

const ADDRESS: ShardAddress = ShardAddress { write: WriteId { node: NodeId(1), boot: BootNumber(2), counter: 3 }, index: 1 };

fn code(data: u8, parity: u8) -> Code {
    Code::new(data, parity).expect("it is a code")
}

/// All shards of a chunk but these.
fn shards_without(code: Code, lost: &[u8]) -> Vec<Option<Vec<u8>>> {
    let shards = skep_placement::erasure::encode(code, &bytes(CHUNK_LENGTH_BYTES_MAX));
    (0..).zip(shards).map(|(index, shard)| (!lost.contains(&index)).then_some(shard)).collect()
}

/// The same bytes each time, without a pattern that a codec could profit by.
fn bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(word).flatten().take(length).collect()
}
