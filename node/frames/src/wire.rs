//! Messages generated from `node/frames/proto/skep/chunk`.

#![expect(missing_docs, clippy::all, reason = "generated; the comments stand in the proto file")]

include!(concat!(env!("OUT_DIR"), "/skep.chunk.v1.rs"));
