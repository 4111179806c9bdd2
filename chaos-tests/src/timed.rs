//! Requests whose answers must come in time.

use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, StatusCode};

/// What every request without a quorum, and every wait for a node that hangs, is promised.
pub const PROMISED: Duration = Duration::from_secs(5);
/// For a machine that has other work.
pub const SLACK: Duration = Duration::from_secs(1);

/// An answer and how long it took.
#[derive(Clone, Debug)]
pub struct Timed {
    /// What was asked, for people.
    pub what: String,
    /// Its status; none if there was no answer.
    pub status: Option<StatusCode>,
    /// It says when to try again.
    pub says_when_to_retry: bool,
    /// Its body, or why there is none.
    pub text: String,
    /// From the first byte sent to the last one received.
    pub took: Duration,
}

/// Sends a request and times it.
pub async fn timed(what: &str, request: RequestBuilder) -> Timed {
    let begun = Instant::now();
    let (status, says_when_to_retry, text) = match request.send().await {
        Err(error) => (None, false, format!("{error:?}")),
        Ok(answer) => {
            let (status, retry) = (answer.status(), answer.headers().contains_key("retry-after"));
            (Some(status), retry, answer.text().await.unwrap_or_else(|error| format!("{error:?}")))
        }
    };
    Timed { what: what.to_owned(), status, says_when_to_retry, text, took: begun.elapsed() }
}

impl Timed {
    /// Checks that it is the refusal for want of a quorum, with a time to try again, in time.
    ///
    /// # Panics
    /// If it is not.
    pub fn assert_unavailable(&self) {
        assert_eq!(self.status, Some(StatusCode::SERVICE_UNAVAILABLE), "{self:?}");
        assert!(self.says_when_to_retry, "no Retry-After: {self:?}");
        self.assert_in_time();
    }

    /// Checks that it came in time.
    ///
    /// # Panics
    /// If it did not.
    pub fn assert_in_time(&self) {
        assert!(self.took < PROMISED + SLACK, "it took too long: {self:?}");
    }
}
