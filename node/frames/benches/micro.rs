//! Microbenchmarks of the frames between nodes: a shard of a whole chunk and its request, to bytes and back, and the header alone.
//!
//! The bytes go to memory; what TLS and the network add is not in here.

use bytes::Bytes;
use futures_util::FutureExt;
use skep_frames::frame::{read_frame, write_frame};
use skep_frames::messages::{header_from_wire, header_to_wire};
use skep_frames::shard::ShardHeader;
use skep_frames::wire::{Reply, Shard, Status};
use skep_micro::{Amount, Case};
use skep_placement::ids::{BootNumber, ChunkId, DatasourceId, Epoch, InstanceId, NodeId, PgId, PoolId, Stamp, WriteId};
use skep_placement::limits::CHUNK_LENGTH_BYTES_MAX;
use skep_placement::profile::Code;
use std::hint::black_box;
use std::process::ExitCode;

/// A shard of a whole chunk under 4+2.
const SHARD_BYTES: usize = CHUNK_LENGTH_BYTES_MAX / 4;
/// One alone is too few instructions to tell anything.
const HEADERS: u64 = 1_000;

fn main() -> ExitCode {
    skep_micro::run(&[encode_case(), decode_case(), header_to_wire_case(), header_from_wire_case()])
}

fn encode_case() -> Case {
    Case::repeated("frames/encode", Amount::Bytes(SHARD_BYTES as u64), || {
        let (reply, payload) = (reply(), payload());
        let mut stream = Vec::with_capacity(SHARD_BYTES + (64 << 10));
        move || {
            stream.clear();
            let written = write_frame(&mut stream, black_box(&reply), black_box(&payload)).now_or_never();
            written.expect("memory takes all at once").expect("memory does not fail");
            black_box(&stream);
        }
    })
}

fn decode_case() -> Case {
    Case::repeated("frames/decode", Amount::Bytes(SHARD_BYTES as u64), || {
        let mut stream = Vec::new();
        let written = write_frame(&mut stream, &reply(), &payload()).now_or_never();
        written.expect("memory takes all at once").expect("memory does not fail");
        move || {
            let mut unread = black_box(stream.as_slice());
            let read = read_frame::<_, Reply>(&mut unread).now_or_never().expect("memory gives all at once");
            black_box(read.expect("memory does not fail").expect("there is a frame"));
        }
    })
}

fn header_to_wire_case() -> Case {
    Case::repeated("frames/header-to-wire", Amount::Things(HEADERS), || {
        let header = header();
        move || {
            for _ in 0..HEADERS {
                black_box(header_to_wire(black_box(&header)));
            }
        }
    })
}

fn header_from_wire_case() -> Case {
    Case::repeated("frames/header-from-wire", Amount::Things(HEADERS), || {
        let shard: Shard = header_to_wire(&header());
        move || {
            for _ in 0..HEADERS {
                black_box(header_from_wire(Some(black_box(&shard).clone())).expect("it is a header"));
            }
        }
    })
}

/// What a device answers to who reads a whole shard.
fn reply() -> Reply {
    let checksums = (0..16).map(|block: u32| block.wrapping_mul(0x9E37_79B9)).collect();
    Reply { status: Status::Ok.into(), shard: Some(header_to_wire(&header())), checksums, ..Reply::default() }
}

fn payload() -> Bytes {
    Bytes::from(vec![0x5a; SHARD_BYTES])
}

fn header() -> ShardHeader {
    let write = WriteId { node: NodeId(1), boot: BootNumber(2), counter: 3 };
    ShardHeader {
        datasource: DatasourceId(4),
        instance: InstanceId { chunk: ChunkId([5; 32]), write },
        shard: 2,
        code: Code::new(4, 2).expect("it is a code"),
        began: Stamp(1_700_000_000_000_000),
        pg: PgId { pool: PoolId(7), index: 8 },
        epoch: Epoch(9),
        plaintext_length: 4 << 20,
        payload_length: 1 << 20,
        key_version: None,
    }
}
