//! A chunk cut into the shards of one writing, with their checksums.
//!
//! Data shards are slices of the plaintext, so that encoding copies only parity and a padded tail.

use bytes::Bytes;
use skep_placement::checksum::{ShardAddress, block_checksums};
use skep_placement::erasure::{data_shard, encode_parity, shard_length};
use skep_placement::ids::{ChunkId, DatasourceId, Epoch, InstanceId, PgId, Stamp, WriteId};
use skep_placement::profile::Code;

use crate::device_store::{ShardHeader, ShardRecord};

/// Above it hashing and encoding go to a blocking thread.
const INLINE_WORK_BYTES_MAX: usize = 64 << 10;

/// What all shards of a writing have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writing {
    pub(super) datasource: DatasourceId,
    pub(super) chunk: ChunkId,
    pub(super) write: WriteId,
    pub(super) code: Code,
    pub(super) began: Stamp,
    pub(super) pg: PgId,
}

/// The shards of one writing.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub(super) writing: Writing,
    plaintext_length: u32,
    shards: Vec<(Bytes, Vec<u32>)>,
}

impl Encoded {
    /// Encodes a chunk.
    pub(super) async fn new(writing: Writing, plaintext: Bytes) -> Self {
        heavy(plaintext.len(), move || Self::encode(writing, &plaintext)).await
    }

    fn encode(writing: Writing, plaintext: &Bytes) -> Self {
        let length = shard_length(writing.code, plaintext.len());
        let data = (0..writing.code.data()).map(|index| {
            let start = usize::from(index) * length;
            match start + length <= plaintext.len() {
                true => plaintext.slice(start..start + length),
                false => Bytes::from(data_shard(writing.code, plaintext, index).into_owned()),
            }
        });
        let parity = encode_parity(writing.code, plaintext).into_iter().map(Bytes::from);
        let shards = (0..).zip(data.chain(parity)).map(|(index, bytes)| {
            let checksums = block_checksums(ShardAddress { write: writing.write, index }, &bytes);
            (bytes, checksums)
        });
        let plaintext_length = u32::try_from(plaintext.len()).expect("a chunk has 4 MiB at most");
        Self { writing, plaintext_length, shards: shards.collect() }
    }

    /// One shard, ready to be sent.
    pub(super) fn record(&self, index: u8, epoch: Epoch) -> Option<ShardRecord> {
        let (payload, checksums) = self.shards.get(usize::from(index))?;
        let Writing { datasource, chunk, write, code, began, pg } = self.writing;
        let header = ShardHeader {
            datasource,
            instance: InstanceId { chunk, write },
            shard: index,
            code,
            began,
            pg,
            epoch,
            plaintext_length: self.plaintext_length,
            payload_length: u32::try_from(payload.len()).expect("a shard is no longer than a chunk"),
            key_version: None,
        };
        Some(ShardRecord { header, checksums: checksums.clone(), payload: payload.clone() })
    }
}

/// Runs work on `bytes` bytes where it does not hold up other requests.
pub(super) async fn heavy<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes <= INLINE_WORK_BYTES_MAX {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
