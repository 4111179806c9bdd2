//! Length-prefixed frames: header length, payload length (both big-endian u32), header (protobuf), payload (raw).
//!
//! Invariant: lengths are checked against their limits before anything is allocated.

use std::io;

use bytes::{Bytes, BytesMut};
use prost::Message;
use skep_placement::limits::PAYLOAD_LENGTH_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::limits::HEADER_LENGTH_BYTES_MAX;

/// Writes one frame and flushes.
///
/// # Errors
/// What the connection says, or `InvalidInput` for a frame over its limits.
pub async fn write_frame<W, M>(writer: &mut W, header: &M, payload: &Bytes) -> io::Result<()>
where
    W: AsyncWrite + Unpin + Send,
    M: Message,
{
    let header = header.encode_to_vec();
    if header.len() > HEADER_LENGTH_BYTES_MAX || payload.len() > PAYLOAD_LENGTH_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a shard frame is longer than its limit"));
    }
    let too_long = |_over: std::num::TryFromIntError| io::Error::from(io::ErrorKind::InvalidInput);
    let header_length = u32::try_from(header.len()).map_err(too_long)?;
    let payload_length = u32::try_from(payload.len()).map_err(too_long)?;
    let mut head = Vec::with_capacity(8 + header.len());
    head.extend_from_slice(&header_length.to_be_bytes());
    head.extend_from_slice(&payload_length.to_be_bytes());
    head.extend_from_slice(&header);
    writer.write_all(&head).await?;
    writer.write_all(payload).await?;
    writer.flush().await
}

/// Reads one frame; `None` when the peer closed the connection between two frames.
///
/// # Errors
/// What the connection says; `InvalidData` for a frame over its limits or with a malformed header.
pub async fn read_frame<R, M>(reader: &mut R) -> io::Result<Option<(M, Bytes)>>
where
    R: AsyncRead + Unpin + Send,
    M: Message + Default,
{
    let mut lengths = [0; 8];
    if reader.read(&mut lengths[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut lengths[1..]).await?;
    let [a, b, c, d, e, f, g, h] = lengths;
    let too_long = |_over: std::num::TryFromIntError| io::Error::from(io::ErrorKind::InvalidData);
    let header_length = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(too_long)?;
    let payload_length = usize::try_from(u32::from_be_bytes([e, f, g, h])).map_err(too_long)?;
    if header_length > HEADER_LENGTH_BYTES_MAX || payload_length > PAYLOAD_LENGTH_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a shard frame is longer than its limit"));
    }
    let header = read_bytes(reader, header_length).await?;
    let header = M::decode(header).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Some((header, read_bytes(reader, payload_length).await?)))
}

async fn read_bytes<R: AsyncRead + Unpin + Send>(reader: &mut R, length: usize) -> io::Result<Bytes> {
    let mut bytes = BytesMut::with_capacity(length);
    let mut limited = reader.take(u64::try_from(length).expect("usize fits u64"));
    while bytes.len() < length {
        if limited.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    #[tokio::test]
    async fn frames_round_trip_and_an_oversized_one_is_refused() {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        let header = wire::Reply { status: wire::Status::Ok.into(), detail: "fine".into(), ..Default::default() };
        write_frame(&mut near, &header, &Bytes::from_static(b"payload")).await.unwrap();
        let (read, payload): (wire::Reply, Bytes) = read_frame(&mut far).await.unwrap().unwrap();
        assert_eq!((read, payload.as_ref()), (header, &b"payload"[..]));
        near.write_all(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0]).await.unwrap();
        let error = read_frame::<_, wire::Reply>(&mut far).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_closed_connection_is_an_end_and_half_a_frame_is_not() {
        let (near, mut far) = tokio::io::duplex(64);
        drop(near);
        assert!(read_frame::<_, wire::Reply>(&mut far).await.unwrap().is_none());
        let (mut near, mut far) = tokio::io::duplex(64);
        near.write_all(&[0, 0, 0, 4]).await.unwrap();
        drop(near);
        assert!(read_frame::<_, wire::Reply>(&mut far).await.is_err());
    }
}
