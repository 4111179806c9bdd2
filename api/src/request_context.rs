//! What belongs to one request in every layer: its id, where it came from, and how long it may wait for metadata.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use crate::limits;
use crate::ports::Random;

/// The header that carries a request's id in and out.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// One request.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Stands in the answer and in every log line.
    pub request_id: Arc<str>,
    /// Of the client.
    pub remote: IpAddr,
    waits_until: Instant,
}

impl RequestContext {
    /// A request that begins now.
    #[must_use]
    pub fn new(request_id: Arc<str>, remote: IpAddr) -> Self {
        Self { request_id, remote, waits_until: Instant::now() + limits::METADATA_WAIT }
    }

    /// When the request stops waiting for metadata. One for all its questions, so that they add up to less than five seconds.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.waits_until
    }

    /// The same request after its body has been read or a job step is done: a new wait.
    #[must_use]
    pub fn continued(&self) -> Self {
        Self { waits_until: Instant::now() + limits::METADATA_WAIT, ..self.clone() }
    }
}

/// The id of a request: the client's if it is short and plain, else a new one.
#[must_use]
pub fn request_id(sent: Option<&str>, random: &dyn Random) -> Arc<str> {
    match sent {
        Some(id) if is_plain(id) => id.into(),
        _ => {
            let mut bytes = [0; 16];
            random.fill(&mut bytes);
            uuid::Builder::from_random_bytes(bytes).into_uuid().to_string().into()
        }
    }
}

fn is_plain(id: &str) -> bool {
    !id.is_empty() && id.len() <= limits::REQUEST_ID_BYTES && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::request_id;
    use crate::ports::Random;

    struct Sevens;

    impl Random for Sevens {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(7);
        }
    }

    #[test]
    fn plain_ids_are_kept_and_others_are_replaced() {
        assert_eq!(&*request_id(Some("abc-1.2:3"), &Sevens), "abc-1.2:3");
        let drawn = "07070707-0707-4707-8707-070707070707";
        for bad in [None, Some(""), Some("a b"), Some("line\nbreak"), Some(&*"x".repeat(65))] {
            assert_eq!(&*request_id(bad, &Sevens), drawn);
        }
    }
}
