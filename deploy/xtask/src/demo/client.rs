//! The little of HTTP and WebDAV that loading and verifying need, against any node.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;
use std::io::Read;
use std::time::Duration;
use ureq::http::{Request, Response};
use ureq::{Agent, AsSendBody, Body, SendBody};

/// What stands for itself in a path segment (RFC 3986, unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A node answers any request within its own deadlines, which are shorter.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
const READY_LIMIT: Duration = Duration::from_secs(2);
/// The most of an error's text that is kept.
const REASON_BYTES_MAX: u64 = 2000;

/// Why a request did not do what it should.
#[derive(Debug)]
pub(crate) enum RequestFault {
    /// The node answered with an error.
    Refused { status: u16, retry_after: Option<Duration>, reason: String },
    /// No answer: whether it took effect is unknown.
    NoAnswer(String),
}

impl RequestFault {
    /// Whether the same request may succeed in a moment, here or at another node.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            RequestFault::Refused { status, .. } => matches!(status, 429 | 502 | 503 | 504),
            RequestFault::NoAnswer(_) => true,
        }
    }

    /// How long the node asks to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            RequestFault::Refused { retry_after, .. } => *retry_after,
            RequestFault::NoAnswer(_) => None,
        }
    }
}

impl fmt::Display for RequestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestFault::Refused { status, reason, .. } => write!(f, "status {status}: {}", reason.trim()),
            RequestFault::NoAnswer(cause) => write!(f, "no answer: {cause}"),
        }
    }
}

/// A signed-in user of the cluster's WebDAV face.
#[derive(Debug)]
pub(crate) struct DavClient {
    agent: Agent,
    authorization: String,
}

impl DavClient {
    /// Uses HTTP Basic with each request.
    pub(crate) fn new(login: &str, password: &str) -> Self {
        DavClient { agent: agent(SILENCE_LIMIT), authorization: format!("Basic {}", STANDARD.encode(format!("{login}:{password}"))) }
    }

    /// Makes a folder; one that is there already is fine.
    pub(crate) fn make_folder(&self, node: &str, path: &str) -> Result<(), RequestFault> {
        let request = self.request("MKCOL", node, path).body(());
        match self.answer(request) {
            Err(RequestFault::Refused { status: 405, .. }) => Ok(()),
            outcome => outcome.map(|_answer| ()),
        }
    }

    /// Writes a file of exactly `length` bytes.
    pub(crate) fn put(&self, node: &str, path: &str, content: &mut dyn Read, length: u64) -> Result<(), RequestFault> {
        let request = self.request("PUT", node, path).header("Content-Length", length.to_string());
        self.answer(request.body(SendBody::from_reader(content))).map(|_answer| ())
    }

    /// Opens a file for reading; the length is what the node promises.
    pub(crate) fn get(&self, node: &str, path: &str) -> Result<(Option<u64>, impl Read + use<>), RequestFault> {
        let answer = self.answer(self.request("GET", node, path).body(()))?;
        let body = answer.into_body();
        let length = body.content_length();
        Ok((length, body.into_with_config().limit(u64::MAX).reader()))
    }

    fn request(&self, method: &str, node: &str, path: &str) -> ureq::http::request::Builder {
        Request::builder().method(method).uri(format!("{node}{}", dav_path(path))).header("Authorization", &self.authorization)
    }

    fn answer(&self, request: Result<Request<impl AsSendBody>, ureq::http::Error>) -> Result<Response<Body>, RequestFault> {
        let request = request.map_err(|cause| RequestFault::NoAnswer(cause.to_string()))?;
        let mut answer = self.agent.run(request).map_err(|cause| RequestFault::NoAnswer(cause.to_string()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let retry_after =
            answer.headers().get("Retry-After").and_then(|value| value.to_str().ok()?.trim().parse().ok()).map(Duration::from_secs);
        let reason = answer.body_mut().with_config().limit(REASON_BYTES_MAX).lossy_utf8(true).read_to_string().unwrap_or_default();
        Err(RequestFault::Refused { status: status.as_u16(), retry_after, reason })
    }
}

/// Whether the node says that it is ready.
pub(crate) fn is_ready(node: &str) -> bool {
    agent(READY_LIMIT).get(format!("{node}/readyz")).call().is_ok_and(|answer| answer.status().is_success())
}

fn agent(silence: Duration) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .max_redirects(0)
        .proxy(None)
        .timeout_connect(Some(CONNECT_LIMIT))
        .timeout_per_read(Some(silence))
        .timeout_per_write(Some(silence))
        .timeout_recv_response(Some(silence))
        .build()
        .new_agent()
}

/// The URL path of a file of the demo's workspace.
pub(crate) fn dav_path(path: &str) -> String {
    let segments: Vec<String> = path.split('/').map(|segment| utf8_percent_encode(segment, SEGMENT).to_string()).collect();
    format!("/dav/common-files/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_encoded_by_segment() {
        assert_eq!(dav_path("demo/a b/ü#?.txt"), "/dav/common-files/demo/a%20b/%C3%BC%23%3F.txt");
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let refused = |status| RequestFault::Refused { status, retry_after: None, reason: String::new() };
        assert!(refused(503).is_passing() && refused(504).is_passing());
        assert!(!refused(403).is_passing() && !refused(507).is_passing() && !refused(409).is_passing());
        assert!(RequestFault::NoAnswer("reset".into()).is_passing());
    }
}
