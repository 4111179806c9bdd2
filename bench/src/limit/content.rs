//! Contents of the limit program: hashed, encoded, on as many nodes as Skep puts them on; read from the data shards, from parity if a node is dead.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::try_join_all;
use skep_placement::chunk::hash;
use skep_placement::erasure::{data_shard, decode, encode_parity, shard_length, shard_ranges};
use skep_placement::limits::WHOLE_COPY_LENGTH_BYTES_MAX;
use skep_placement::profile::Code;

use super::node::Node;
use super::peer::Kind;
use super::record::ChunkRecord;

/// Above it hashing and encoding go to a blocking thread, as in the store.
const OWN_THREAD_BYTES: usize = 64 << 10;

/// The code of a chunk: the profile of so many nodes, whole copies for short ones; k shrinks by what is dead.
fn code(length: usize, count: usize, alive: usize) -> io::Result<Code> {
    let (data, parity) = match count {
        1 => (1, 0),
        2 => (1, 1),
        3..=5 => (2, 1),
        _more => (4, 2),
    };
    let data = if length <= WHOLE_COPY_LENGTH_BYTES_MAX { 1 } else { alive.saturating_sub(parity).min(data).max(1) };
    let narrow = |number| u8::try_from(number).map_err(io::Error::other);
    Code::new(narrow(data)?, narrow(parity)?).map_err(io::Error::other)
}

fn code_of(chunk: &ChunkRecord) -> io::Result<Code> {
    Code::new(chunk.data, chunk.parity).map_err(io::Error::other)
}

async fn heavy<T: Send + 'static>(length: usize, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    if length <= OWN_THREAD_BYTES { Ok(work()) } else { tokio::task::spawn_blocking(work).await.map_err(io::Error::other) }
}

/// Stores a chunk; durable on all its nodes when it returns.
pub(super) async fn store(node: Arc<Node>, bytes: Bytes) -> io::Result<ChunkRecord> {
    let alive = node.alive();
    let code = code(bytes.len(), node.count(), alive.len())?;
    let length = bytes.len();
    let (hash, shards) = heavy(length, move || (hash(&bytes), shards(code, &bytes))).await?;
    if alive.len() < shards.len() {
        return Err(io::Error::other("too few nodes"));
    }
    let first = usize::from(hash[0]);
    let homes = (0..shards.len()).map(|shard| alive[(first + shard) % alive.len()]);
    let node = &node;
    let puts = homes.zip(shards).map(|(home, shard)| async move {
        let place = match node.peer(home) {
            None => node.device.append(shard).await?,
            Some(peer) => {
                let answer = peer.call(Kind::PutShard, &shard).await?;
                u64::from_be_bytes(answer.as_ref().try_into().map_err(io::Error::other)?)
            }
        };
        Ok::<_, io::Error>((u8::try_from(home).map_err(io::Error::other)?, place))
    });
    let shards = try_join_all(puts).await?;
    let length = u32::try_from(length).map_err(io::Error::other)?;
    Ok(ChunkRecord { length, hash, data: code.data(), parity: code.parity(), shards })
}

/// Data shards are parts of the chunk itself.
fn shards(code: Code, bytes: &Bytes) -> Vec<Bytes> {
    let length = shard_length(code, bytes.len());
    let data = (0..code.data()).map(|index| {
        let begin = usize::from(index) * length;
        match begin + length <= bytes.len() {
            true => bytes.slice(begin..begin + length),
            false => Bytes::from(data_shard(code, bytes, index).into_owned()),
        }
    });
    data.chain(encode_parity(code, bytes).into_iter().map(Bytes::from)).collect()
}

async fn shard(node: &Node, home: u8, place: u64, length: usize) -> io::Result<Bytes> {
    let Some(peer) = node.peer(usize::from(home)) else { return node.device.read(place, length).await };
    if !peer.is_alive() {
        return Err(io::ErrorKind::NotConnected.into());
    }
    let mut asked = BytesMut::with_capacity(16);
    asked.put_u64(place);
    asked.put_u64(u64::try_from(length).map_err(io::Error::other)?);
    peer.call(Kind::GetShard, &asked.freeze()).await
}

/// Reads a range of a chunk as pieces; a whole chunk is checked against its hash.
pub(super) async fn read(node: Arc<Node>, chunk: ChunkRecord, range: Range<usize>) -> io::Result<Vec<Bytes>> {
    let code = code_of(&chunk)?;
    let length = usize::try_from(chunk.length).map_err(io::Error::other)?;
    let ranges = shard_ranges(code, length, range.clone());
    let wanted = ranges.iter().map(|part| {
        let (home, place) = chunk.shards[usize::from(part.index)];
        let begin = u64::try_from(part.range.start).unwrap_or(u64::MAX);
        shard(&node, home, place.saturating_add(begin), part.range.len())
    });
    let pieces = match try_join_all(wanted).await {
        Ok(pieces) => pieces,
        Err(_a_node_is_dead) => return Ok(vec![from_parity(&node, &chunk, code).await?.slice(range)]),
    };
    if range.len() < length {
        return Ok(pieces);
    }
    let checked = heavy(length, move || {
        let mut hasher = skep_placement::chunk::FileHasher::new();
        pieces.iter().for_each(|piece| hasher.update(piece));
        (hasher.hash() == chunk.hash).then_some(pieces)
    });
    checked.await?.ok_or_else(|| io::Error::other("a chunk has other bytes than were written"))
}

/// The whole chunk from any k shards that are left.
async fn from_parity(node: &Node, chunk: &ChunkRecord, code: Code) -> io::Result<Bytes> {
    let length = usize::try_from(chunk.length).map_err(io::Error::other)?;
    let each = shard_length(code, length);
    let mut found = Vec::with_capacity(chunk.shards.len());
    let mut count = 0;
    for (home, place) in &chunk.shards {
        let bytes = if count < code.data() { shard(node, *home, *place, each).await.ok() } else { None };
        count += u8::from(bytes.is_some());
        found.push(bytes.map(|bytes| bytes.to_vec()));
    }
    let hash_expected = chunk.hash;
    let whole = heavy(length, move || decode(code, length, found).ok().filter(|bytes| hash(bytes) == hash_expected));
    whole.await?.map(Bytes::from).ok_or_else(|| io::Error::other("too few shards are left"))
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn codes_are_those_of_the_store() {
        let text = |length, count, alive| code(length, count, alive).unwrap().to_string();
        assert_eq!([text(1 << 20, 1, 1), text(1 << 20, 3, 3), text(1 << 20, 6, 6)], ["1+0", "2+1", "4+2"]);
        assert_eq!([text(1 << 20, 3, 2), text(1 << 20, 6, 5)], ["1+1", "3+2"]);
        assert_eq!([text(16 << 10, 3, 3), text(16 << 10, 6, 6)], ["1+1", "1+2"]);
    }
}
