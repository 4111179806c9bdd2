//! Names and units of this crate's metrics; labels are closed sets.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const REQUESTS: &str = "skep_api_requests_total";
const REQUEST_SECONDS: &str = "skep_api_request_seconds";
const BYTES_IN: &str = "skep_api_received_bytes_total";
const BYTES_OUT: &str = "skep_api_sent_bytes_total";
const CONNECTIONS: &str = "skep_api_connections";
const SIGN_INS: &str = "skep_api_sign_ins_total";
const JOBS_RUNNING: &str = "skep_api_jobs_running";
const JOBS_ENDED: &str = "skep_api_jobs_ended_total";
const REFUSALS: &str = "skep_api_refusals_total";

/// Gives every metric its help text; called once by the node.
pub fn describe() {
    describe_counter!(REQUESTS, "Requests answered, by face and class of status.");
    describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "Time until the head of the answer, by face.");
    describe_counter!(BYTES_IN, Unit::Bytes, "Bytes of file contents received.");
    describe_counter!(BYTES_OUT, Unit::Bytes, "Bytes of file contents sent.");
    describe_gauge!(CONNECTIONS, "Open client connections.");
    describe_counter!(SIGN_INS, "Checked credentials, by kind and result.");
    describe_gauge!(JOBS_RUNNING, "Jobs this node works on.");
    describe_counter!(JOBS_ENDED, "Jobs this node has ended, by result.");
    describe_counter!(REFUSALS, "Refusals decided before any command, by whether the audit has them.");
}

/// The faces a request can come in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// `/a`
    Rest,
    /// `/dav`
    Dav,
    /// The web page.
    Web,
    /// `/ws`
    Socket,
    /// Health, metrics, documents.
    Other,
}

impl Face {
    /// The face that serves a path.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        match path.split('/').nth(1) {
            Some("a") => Self::Rest,
            Some("dav") => Self::Dav,
            Some("" | "web") => Self::Web,
            Some("ws") => Self::Socket,
            _ => Self::Other,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Dav => "dav",
            Self::Web => "web",
            Self::Socket => "ws",
            Self::Other => "other",
        }
    }
}

/// Counts one answered request.
pub(crate) fn request(face: Face, status: u16, took: Duration) {
    let class = match status {
        0..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    };
    counter!(REQUESTS, "face" => face.label(), "status" => class).increment(1);
    histogram!(REQUEST_SECONDS, "face" => face.label()).record(took.as_secs_f64());
}

/// Counts content bytes that came.
pub(crate) fn received(bytes: u64) {
    counter!(BYTES_IN).increment(bytes);
}

/// Counts content bytes that went.
pub(crate) fn sent(bytes: u64) {
    counter!(BYTES_OUT).increment(bytes);
}

/// Counts an open connection until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection;

impl OpenConnection {
    pub(crate) fn new() -> Self {
        gauge!(CONNECTIONS).increment(1.0);
        Self
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        gauge!(CONNECTIONS).decrement(1.0);
    }
}

/// Counts checked credentials.
pub(crate) fn sign_in(kind: &'static str, accepted: bool) {
    counter!(SIGN_INS, "kind" => kind, "result" => if accepted { "accepted" } else { "refused" }).increment(1);
}

/// Counts a job that this node works on until it is dropped.
#[derive(Debug)]
pub(crate) struct RunningJob;

impl RunningJob {
    pub(crate) fn new() -> Self {
        gauge!(JOBS_RUNNING).increment(1.0);
        Self
    }
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        gauge!(JOBS_RUNNING).decrement(1.0);
    }
}

/// Counts a job that this node has ended.
pub(crate) fn job_ended(result: &'static str) {
    counter!(JOBS_ENDED, "result" => result).increment(1);
}

/// Counts refusals that the audit has got, or that were dropped on the way.
pub(crate) fn refusals(audited: bool, count: usize) {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    counter!(REFUSALS, "audit" => if audited { "written" } else { "dropped" }).increment(count);
}

#[cfg(test)]
mod tests {
    use super::Face;

    #[test]
    fn paths_name_their_face() {
        for (path, face) in [
            ("/a/tree/stats", Face::Rest),
            ("/dav/x", Face::Dav),
            ("/", Face::Web),
            ("/web/browse/x", Face::Web),
            ("/ws/event", Face::Socket),
            ("/metrics", Face::Other),
        ] {
            assert_eq!(Face::of_path(path), face, "{path}");
        }
    }
}
