//! The closed list of what can go wrong for a client, and its one mapping to the protocols' answers.
//!
//! A [`Failure`] says what went wrong, where, and what to do; each face writes it in its own form. Failures are logged once, where they are answered.

use std::time::Duration;

use http::StatusCode;

mod from_raft;

/// What went wrong, as clients may tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is malformed.
    BadRequest,
    /// A name or path that cannot be.
    NameInvalid,
    /// The checksum sent is not that of the bytes.
    ChecksumMismatch,
    /// The body was shorter or longer than announced, or broke off.
    BodyIncomplete,
    /// The client was silent for too long.
    BodyTooSlow,
    /// The body or the number of items is beyond a limit.
    TooLarge,
    /// No or wrong credentials.
    Unauthorized,
    /// Too many failed sign-ins.
    TooManyAttempts,
    /// Not allowed.
    Forbidden,
    /// Nothing there, or nothing the caller may see.
    NotFound,
    /// The folder to put it into is missing.
    ParentNotFound,
    /// A file where a folder must be.
    NotAFolder,
    /// A folder where a file must be.
    IsAFolder,
    /// Something there already.
    AlreadyExists,
    /// What was asked about has changed in between.
    Conflict,
    /// A folder would go below itself.
    IntoItself,
    /// The folder has members.
    NotEmpty,
    /// A condition of the request does not hold.
    PreconditionFailed,
    /// The range lies outside the file.
    RangeNotSatisfiable,
    /// The quota of the workspace, user or datasource is used up.
    QuotaExceeded,
    /// A limit of the cluster is reached.
    LimitReached,
    /// The version's content was pruned.
    Gone,
    /// Another holds a lock.
    Locked,
    /// The lock that the caller relied on is over.
    LockLost,
    /// An idempotency key came with another request.
    KeyReused,
    /// The file has no such version.
    VersionNotFound,
    /// History does not reach back to the instant.
    OutsideRetention,
    /// The method is not for this place.
    MethodNotAllowed,
    /// This server does not do that.
    Unsupported,
    /// The two ends lie in different datasources.
    AcrossDatasources,
    /// No device has room.
    NoSpace,
    /// No quorum, no leader, too few devices: nothing was changed.
    Unavailable,
    /// Too much is going on: nothing was changed.
    TooBusy,
    /// The change may or may not have happened.
    Unknown,
    /// A fault of the server.
    Internal,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [ErrorCode; 35] = [
        Self::BadRequest,
        Self::NameInvalid,
        Self::ChecksumMismatch,
        Self::BodyIncomplete,
        Self::BodyTooSlow,
        Self::TooLarge,
        Self::Unauthorized,
        Self::TooManyAttempts,
        Self::Forbidden,
        Self::NotFound,
        Self::ParentNotFound,
        Self::NotAFolder,
        Self::IsAFolder,
        Self::AlreadyExists,
        Self::Conflict,
        Self::IntoItself,
        Self::NotEmpty,
        Self::PreconditionFailed,
        Self::RangeNotSatisfiable,
        Self::QuotaExceeded,
        Self::LimitReached,
        Self::Gone,
        Self::Locked,
        Self::LockLost,
        Self::KeyReused,
        Self::VersionNotFound,
        Self::OutsideRetention,
        Self::MethodNotAllowed,
        Self::Unsupported,
        Self::AcrossDatasources,
        Self::NoSpace,
        Self::Unavailable,
        Self::TooBusy,
        Self::Unknown,
        Self::Internal,
    ];

    /// The name that clients see in `Meta.code`; never changed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::NameInvalid => "name-invalid",
            Self::ChecksumMismatch => "checksum-mismatch",
            Self::BodyIncomplete => "body-incomplete",
            Self::BodyTooSlow => "body-too-slow",
            Self::TooLarge => "too-large",
            Self::Unauthorized => "unauthorized",
            Self::TooManyAttempts => "too-many-attempts",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::ParentNotFound => "parent-not-found",
            Self::NotAFolder => "not-a-folder",
            Self::IsAFolder => "is-a-folder",
            Self::AlreadyExists => "already-exists",
            Self::Conflict => "conflict",
            Self::IntoItself => "into-itself",
            Self::NotEmpty => "not-empty",
            Self::PreconditionFailed => "precondition-failed",
            Self::RangeNotSatisfiable => "range-not-satisfiable",
            Self::QuotaExceeded => "quota-exceeded",
            Self::LimitReached => "limit-reached",
            Self::Gone => "gone",
            Self::Locked => "locked",
            Self::LockLost => "lock-lost",
            Self::KeyReused => "idempotency-key-reused",
            Self::VersionNotFound => "version-not-found",
            Self::OutsideRetention => "outside-retention",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Unsupported => "unsupported",
            Self::AcrossDatasources => "across-datasources",
            Self::NoSpace => "no-space",
            Self::Unavailable => "unavailable",
            Self::TooBusy => "too-busy",
            Self::Unknown => "unknown",
            Self::Internal => "internal",
        }
    }

    /// The code of a name; none of one that this version does not know.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == name)
    }

    /// A short title for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "Malformed request",
            Self::NameInvalid => "Invalid name",
            Self::ChecksumMismatch => "Checksum mismatch",
            Self::BodyIncomplete => "Incomplete body",
            Self::BodyTooSlow => "The client was too slow",
            Self::TooLarge => "Too large",
            Self::Unauthorized => "Not signed in",
            Self::TooManyAttempts => "Too many failed sign-ins",
            Self::Forbidden => "Not allowed",
            Self::NotFound => "Node not found",
            Self::ParentNotFound => "Parent folder not found",
            Self::NotAFolder => "Not a folder",
            Self::IsAFolder => "Is a folder",
            Self::AlreadyExists => "Already exists",
            Self::Conflict => "Changed in between",
            Self::IntoItself => "Into itself",
            Self::NotEmpty => "Folder not empty",
            Self::PreconditionFailed => "Precondition failed",
            Self::RangeNotSatisfiable => "Range not satisfiable",
            Self::QuotaExceeded => "Quota exceeded",
            Self::LimitReached => "Limit reached",
            Self::Gone => "No longer kept",
            Self::Locked => "Locked",
            Self::LockLost => "Lock lost",
            Self::KeyReused => "Idempotency-Key used before",
            Self::VersionNotFound => "Version not found",
            Self::OutsideRetention => "Outside the retention",
            Self::MethodNotAllowed => "Method not allowed",
            Self::Unsupported => "Not supported",
            Self::AcrossDatasources => "Across datasources",
            Self::NoSpace => "No space left",
            Self::Unavailable => "Not available now",
            Self::TooBusy => "Too busy",
            Self::Unknown => "Outcome unknown",
            Self::Internal => "Server fault",
        }
    }

    /// The status of a REST answer.
    #[must_use]
    pub fn rest_status(self) -> StatusCode {
        match self {
            Self::BadRequest
            | Self::NameInvalid
            | Self::ChecksumMismatch
            | Self::BodyIncomplete
            | Self::NotAFolder
            | Self::IsAFolder
            | Self::IntoItself
            | Self::Unsupported
            | Self::AcrossDatasources => StatusCode::BAD_REQUEST,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound | Self::ParentNotFound | Self::VersionNotFound => StatusCode::NOT_FOUND,
            Self::AlreadyExists | Self::Conflict | Self::NotEmpty => StatusCode::CONFLICT,
            Self::PreconditionFailed | Self::LockLost => StatusCode::PRECONDITION_FAILED,
            Self::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::QuotaExceeded | Self::LimitReached | Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Gone | Self::OutsideRetention => StatusCode::GONE,
            Self::Locked => StatusCode::LOCKED,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            Self::Unavailable | Self::TooBusy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unknown => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The status of a WebDAV answer. Source: RFC 4918, sections 9 and 11.
    #[must_use]
    pub fn dav_status(self) -> StatusCode {
        match self {
            Self::ParentNotFound | Self::NotAFolder | Self::Conflict | Self::NotEmpty => StatusCode::CONFLICT,
            Self::AlreadyExists => StatusCode::PRECONDITION_FAILED,
            Self::IsAFolder => StatusCode::METHOD_NOT_ALLOWED,
            Self::IntoItself => StatusCode::FORBIDDEN,
            Self::QuotaExceeded | Self::LimitReached => StatusCode::INSUFFICIENT_STORAGE,
            Self::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Self::AcrossDatasources => StatusCode::BAD_GATEWAY,
            other => other.rest_status(),
        }
    }

    /// True for what somebody wanted and was refused: by rights, by a condition, a lock or a limit. Not for what is malformed, missing or failed.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::Unauthorized
                | Self::TooManyAttempts
                | Self::Forbidden
                | Self::AlreadyExists
                | Self::IntoItself
                | Self::NotEmpty
                | Self::PreconditionFailed
                | Self::QuotaExceeded
                | Self::LimitReached
                | Self::Locked
                | Self::LockLost
                | Self::NoSpace
        )
    }

    /// When to try again, where the failure does not say itself.
    fn retry_after_default(self) -> Option<Duration> {
        match self {
            Self::Unavailable | Self::TooBusy => Some(Duration::from_secs(2)),
            _ => None,
        }
    }
}

/// What went wrong with one request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", code.title())]
pub struct Failure {
    /// What.
    pub code: ErrorCode,
    /// A sentence: where, why, and what to do.
    pub detail: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// What the audit has of it.
    pub(crate) heard: Heard,
}

/// What the audit has of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing; it gets a line if the code is that of a refusal.
    ByCode,
    /// Nothing; it gets a line whatever the code is.
    Always,
    /// The group that refused the command has written the line.
    Already,
}

impl Failure {
    /// A failure of that kind with a sentence for the client.
    #[must_use]
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), retry_after: code.retry_after_default(), heard: Heard::ByCode }
    }

    /// The same with a time to try again after.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same with the place it is about in front, if the sentence does not name it yet.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        if !place.is_empty() && !self.detail.contains(place) {
            self.detail = format!("{place}: {}", self.detail);
        }
        self
    }

    /// The same, of which the audit is to hear this.
    #[must_use]
    pub(crate) fn heard(self, heard: Heard) -> Self {
        Self { heard, ..self }
    }

    /// `Retry-After` in whole seconds, at least one.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).map(|seconds| seconds.max(1))
    }

    /// Nothing is there, or nothing that the caller may see.
    #[must_use]
    pub fn not_found(place: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("{place}: there is nothing of this name, or you have no right to see it"))
    }

    /// True if the server is at fault, so that it is worth a line in the log.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(self.code, ErrorCode::Internal | ErrorCode::Unknown | ErrorCode::Unavailable | ErrorCode::NoSpace)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ErrorCode, Failure};
    use std::time::Duration;

    #[test]
    fn every_code_is_an_error_in_every_protocol_and_has_a_name_of_its_own() {
        let names: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len(), "a name is used twice");
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::of_name(code.name()), Some(code));
            assert!(code.rest_status().as_u16() >= 400, "{code:?}");
            assert!(code.dav_status().as_u16() >= 400, "{code:?}");
            assert!(!code.title().is_empty(), "{code:?}");
        }
    }

    #[test]
    fn the_codes_that_clients_decide_on_are_fixed() {
        assert_eq!(ErrorCode::NotFound.rest_status(), 404);
        assert_eq!(ErrorCode::Unknown.rest_status(), 504);
        assert_eq!(ErrorCode::Unknown.dav_status(), 504);
        assert_eq!(ErrorCode::Unavailable.rest_status(), 503);
        assert_eq!(ErrorCode::QuotaExceeded.rest_status(), 422);
        assert_eq!(ErrorCode::QuotaExceeded.dav_status(), 507);
        assert_eq!(ErrorCode::ParentNotFound.dav_status(), 409);
        assert_eq!(ErrorCode::AlreadyExists.dav_status(), 412);
    }

    #[test]
    fn retry_after_is_rounded_up_to_whole_seconds() {
        let failure = Failure::new(ErrorCode::Unavailable, "no leader").retry_after(Duration::from_millis(1_200));
        assert_eq!(failure.retry_after_seconds(), Some(2));
        assert_eq!(failure.retry_after(Duration::ZERO).retry_after_seconds(), Some(1));
        assert_eq!(Failure::new(ErrorCode::NotFound, "x").retry_after_seconds(), None);
    }
}
