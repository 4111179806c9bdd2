//! Request bodies: whole within a limit, or as a stream that ends when the client falls silent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::stream::Fuse;
use futures_util::{Stream, StreamExt, stream};
use tokio::time::timeout;

use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::ports::{BodyError, ByteStream};

/// The body's bytes as they come. A silence of [`limits::BODY_SILENCE`] or a broken connection ends it with an error.
pub(crate) fn streamed(body: Body) -> ByteStream {
    watched(body.into_data_stream(), limits::BODY_SILENCE)
}

/// The same over any stream of bytes and for any silence.
fn watched<S, E>(bytes: S, silence: Duration) -> ByteStream
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    let bytes = Box::pin(bytes);
    Box::pin(stream::unfold(Some(bytes), move |open| async move {
        let mut bytes = open?;
        match timeout(silence, bytes.next()).await {
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(bytes))),
            Ok(Some(Err(error))) => Some((Err(BodyError::Broken(error.to_string())), None)),
            Ok(None) => None,
            Err(_silent) => Some((Err(BodyError::TooSlow(silence)), None)),
        }
    }))
}

/// What is left of a body that was refused before its end. A client that is still sending would otherwise see its connection reset instead of the answer.
pub(crate) struct Leftover(Arc<Mutex<Fuse<ByteStream>>>);

impl Leftover {
    /// The body for reading, and the hand on what is left of it.
    pub(crate) fn split(body: ByteStream) -> (ByteStream, Self) {
        let shared = Arc::new(Mutex::new(body.fuse()));
        let read = Arc::clone(&shared);
        let reading = stream::poll_fn(move |context| read.lock().expect("no holder of this lock panics").poll_next_unpin(context));
        (Box::pin(reading), Self(shared))
    }

    /// Reads on for a moment and throws it away.
    pub(crate) async fn discard(self) {
        let mut left = limits::LEFTOVER_BYTES;
        let mut rest = stream::poll_fn(|context| self.0.lock().expect("no holder of this lock panics").poll_next_unpin(context));
        let reading = async {
            while let Some(Ok(piece)) = rest.next().await {
                left = left.saturating_sub(piece.len());
                if left == 0 {
                    return;
                }
            }
        };
        if timeout(limits::LEFTOVER_WAIT, reading).await.is_err() {
            tracing::debug!("a refused body was not read to its end");
        }
    }
}

/// The whole body, at most so many bytes.
pub(crate) async fn read_whole(body: Body, most: usize) -> Result<Bytes, Failure> {
    let mut pieces = streamed(body);
    let mut whole = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        if whole.len() + piece.len() > most {
            return Err(Failure::new(ErrorCode::TooLarge, format!("the body of this request has at most {most} bytes")));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use bytes::Bytes;
    use futures_util::{StreamExt, stream};

    use super::{Leftover, read_whole, watched};
    use crate::error_code::ErrorCode;
    use crate::ports::BodyError;

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        assert_eq!(read_whole(Body::from("12345"), 5).await.expect("fits"), "12345");
        assert_eq!(read_whole(Body::from("123456"), 5).await.expect_err("too long").code, ErrorCode::TooLarge);
    }

    #[tokio::test]
    async fn a_broken_body_ends_with_an_error_and_nothing_after_it() {
        let pieces = vec![Ok(Bytes::from_static(b"a")), Err("reset"), Ok(Bytes::from_static(b"b"))];
        let got: Vec<_> = watched(stream::iter(pieces), Duration::from_secs(60)).collect().await;
        assert_eq!(got, [Ok(Bytes::from_static(b"a")), Err(BodyError::Broken("reset".to_owned()))]);
    }

    #[tokio::test]
    async fn what_is_left_of_a_refused_body_is_read_away() {
        let pieces = (0..10).map(|_| Ok::<_, String>(Bytes::from_static(b"piece")));
        let (mut reading, leftover) = Leftover::split(watched(stream::iter(pieces), Duration::from_secs(60)));
        assert!(reading.next().await.is_some());
        drop(reading);
        let shared = std::sync::Arc::clone(&leftover.0);
        leftover.discard().await;
        let rest =
            std::mem::replace(&mut *shared.lock().expect("not poisoned"), (Box::pin(stream::empty()) as crate::ports::ByteStream).fuse());
        assert_eq!(rest.count().await, 0, "all was read");
    }

    #[tokio::test]
    async fn a_silent_client_is_cut() {
        let got: Vec<_> = watched(stream::pending::<Result<Bytes, String>>(), Duration::from_millis(1)).collect().await;
        assert!(matches!(got.as_slice(), [Err(BodyError::TooSlow(_))]), "{got:?}");
    }
}
