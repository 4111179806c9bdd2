//! What the limit program's log holds of a file, as bytes.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Where a chunk's shards are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChunkRecord {
    pub(super) length: u32,
    pub(super) hash: [u8; 32],
    pub(super) data: u8,
    pub(super) parity: u8,
    /// Node and place of each shard.
    pub(super) shards: Vec<(u8, u64)>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FileRecord {
    Inline(Bytes),
    Chunks(Vec<ChunkRecord>),
}

/// One entry of the log: a name with its file, or text that is only kept.
pub(super) fn encode(name: &str, file: Option<&FileRecord>) -> Bytes {
    let mut out = BytesMut::with_capacity(64 + name.len());
    out.put_u32(0);
    out.put_u16(u16::try_from(name.len()).unwrap_or(u16::MAX));
    out.put_slice(name.as_bytes().get(..usize::from(u16::MAX).min(name.len())).unwrap_or_default());
    match file {
        None => out.put_u8(0),
        Some(FileRecord::Inline(bytes)) => {
            out.put_u8(1);
            out.put_slice(bytes);
        }
        Some(FileRecord::Chunks(chunks)) => {
            out.put_u8(2);
            for chunk in chunks {
                out.put_u32(chunk.length);
                out.put_slice(&chunk.hash);
                out.put_u8(chunk.data);
                out.put_u8(chunk.parity);
                for (node, place) in &chunk.shards {
                    out.put_u8(*node);
                    out.put_u64(*place);
                }
            }
        }
    }
    let length = u32::try_from(out.len() - 4).expect("records are short");
    out[..4].copy_from_slice(&length.to_be_bytes());
    out.freeze()
}

/// The next entry of a batch.
pub(super) fn decode(batch: &mut Bytes) -> io::Result<(String, Option<FileRecord>)> {
    let short = |_short| io::Error::from(io::ErrorKind::InvalidData);
    let length = usize::try_from(batch.try_get_u32().map_err(short)?).map_err(io::Error::other)?;
    if batch.len() < length {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut entry = batch.split_to(length);
    let name_length = usize::from(entry.try_get_u16().map_err(short)?);
    if entry.len() <= name_length {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let name = String::from_utf8_lossy(&entry.split_to(name_length)).into_owned();
    let file = match entry.get_u8() {
        1 => Some(FileRecord::Inline(entry)),
        2 => {
            let mut chunks = Vec::new();
            while entry.has_remaining() {
                chunks.push(decode_chunk(&mut entry).map_err(short)?);
            }
            Some(FileRecord::Chunks(chunks))
        }
        _only_kept => None,
    };
    Ok((name, file))
}

fn decode_chunk(entry: &mut Bytes) -> Result<ChunkRecord, bytes::TryGetError> {
    let length = entry.try_get_u32()?;
    let mut hash = [0; 32];
    entry.try_copy_to_slice(&mut hash)?;
    let (data, parity) = (entry.try_get_u8()?, entry.try_get_u8()?);
    let mut shards = Vec::with_capacity(usize::from(data) + usize::from(parity));
    for _ in 0..usize::from(data) + usize::from(parity) {
        shards.push((entry.try_get_u8()?, entry.try_get_u64()?));
    }
    Ok(ChunkRecord { length, hash, data, parity, shards })
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::{ChunkRecord, FileRecord, decode, encode};

    #[test]
    fn entries_round_trip_in_a_batch() {
        let chunk = ChunkRecord { length: 9, hash: [3; 32], data: 2, parity: 1, shards: vec![(0, 1), (1, 2), (2, 1 << 40)] };
        let files = [
            ("a/b", Some(FileRecord::Inline(Bytes::from_static(b"text")))),
            ("c", Some(FileRecord::Chunks(vec![chunk.clone(), chunk]))),
            ("only text", None),
        ];
        let mut batch = BytesMut::new();
        files.iter().for_each(|(name, file)| batch.extend_from_slice(&encode(name, file.as_ref())));
        let mut batch = batch.freeze();
        for (name, file) in files {
            assert_eq!(decode(&mut batch).unwrap(), (name.to_owned(), file));
        }
        assert!(batch.is_empty());
        assert!(decode(&mut Bytes::from_static(&[0, 0, 0, 9, 1])).is_err());
    }
}
