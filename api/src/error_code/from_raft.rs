//! What the metadata and the chunk I/O answer, as failures for clients.

use skep_raft::errors::{ProposeError, QueryError};
use skep_raft::store::StateError;
use skep_raft::wire::meta::v1::{Rejection, RejectionCode};

use super::{ErrorCode, Failure, Heard};
use crate::ports::{BodyError, WriteError};

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Unavailable { why, retry_after } => {
                Self::new(ErrorCode::Unavailable, format!("the metadata cannot be read now: {why}; try again")).retry_after(retry_after)
            }
            QueryError::NoSuchGroup(group) => Self::new(ErrorCode::NotFound, format!("there is no datasource with the number {group}")),
        }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        tracing::error!(%error, "the metadata of this node cannot be read");
        Self::new(ErrorCode::Internal, "the metadata of this node cannot be read; its log says more")
    }
}

impl From<ProposeError> for Failure {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::Rejected(rejection) => rejection.into(),
            ProposeError::Unavailable { why, retry_after } => {
                Self::new(ErrorCode::Unavailable, format!("nothing was changed: {why}; try again")).retry_after(retry_after)
            }
            ProposeError::Unknown { why } => Self::new(
                ErrorCode::Unknown,
                format!("the outcome is unknown, the change may or may not have happened: {why}; look before trying again"),
            ),
            ProposeError::TooBusy => Self::new(ErrorCode::TooBusy, "nothing was changed: too many changes wait; try again"),
            ProposeError::TooLarge { bytes, limit } => {
                Self::new(ErrorCode::TooLarge, format!("a change of {bytes} bytes is over the limit of {limit} bytes"))
            }
            ProposeError::NoSpace => {
                Self::new(ErrorCode::NoSpace, "the metadata's disks are nearly full; delete something or add a disk, then try again")
            }
            ProposeError::NoSuchGroup(group) => Self::new(ErrorCode::NotFound, format!("there is no datasource with the number {group}")),
        }
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        let (code, sentence) = sentence_of(rejection.code());
        let detail = if rejection.detail.is_empty() { sentence.to_owned() } else { format!("{sentence} ({})", rejection.detail) };
        Self::new(code, detail).heard(Heard::Already)
    }
}

fn sentence_of(code: RejectionCode) -> (ErrorCode, &'static str) {
    use RejectionCode as R;
    match code {
        R::NotFound => (ErrorCode::NotFound, "there is nothing of this name"),
        R::ParentNotFound => (ErrorCode::ParentNotFound, "the folder to put it into does not exist; make it first"),
        R::NotAFolder => (ErrorCode::NotAFolder, "a name on the way is a file, not a folder"),
        R::IsAFolder => (ErrorCode::IsAFolder, "this is a folder, not a file"),
        R::AlreadyExists => (ErrorCode::AlreadyExists, "something of this name exists already"),
        R::NameInvalid => (ErrorCode::NameInvalid, "names have 1 to 255 bytes of UTF-8 without slash and NUL and are not . or .."),
        R::PreconditionFailed => (ErrorCode::PreconditionFailed, "it has changed since, or another condition of the request does not hold"),
        R::IntoItself => (ErrorCode::IntoItself, "a folder cannot go into itself or below itself"),
        R::NotEmpty => (ErrorCode::NotEmpty, "the folder is not empty"),
        R::TooManyEntries => (ErrorCode::TooLarge, "too many entries for one step; use a copy job"),
        R::LimitReached => (ErrorCode::LimitReached, "a limit of the cluster is reached"),
        R::QuotaExceeded => (ErrorCode::QuotaExceeded, "the quota is used up"),
        R::InstanceTooOld | R::InstanceGone | R::UploadNotFound | R::UploadExpired | R::UploadOutOfOrder => {
            (ErrorCode::Unavailable, "the upload took too long or was collected meanwhile; nothing was changed, send the file again")
        }
        R::SizeMismatch => (ErrorCode::Internal, "the stored size is not that of the content; nothing was changed"),
        R::Stale => (ErrorCode::Conflict, "it has changed in between; look and try again"),
        R::TokenUsed => (ErrorCode::Conflict, "the token was used already"),
        R::TokenExpired => (ErrorCode::Conflict, "the token has expired"),
        R::LeaseLost => (ErrorCode::Conflict, "another node works on this job now"),
        R::Root => (ErrorCode::Forbidden, "the root of a workspace or datasource cannot be changed so"),
        R::Forbidden => (ErrorCode::Forbidden, "this is not allowed"),
        R::Locked => (ErrorCode::Locked, "another holds a lock on it"),
        R::LockLost => (ErrorCode::LockLost, "the lock is over or somebody else's now; nothing was changed"),
        R::KeyReused => (ErrorCode::KeyReused, "nothing was changed"),
        R::VersionNotFound => (ErrorCode::VersionNotFound, "the file has no such version"),
        R::Pruned => (ErrorCode::Gone, "this version is not kept any more"),
        R::Invalid => (ErrorCode::BadRequest, "the change is malformed"),
        R::WrongGroup | R::Unspecified => (ErrorCode::Internal, "the change was sent to the wrong place; nothing was changed"),
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        let code = match error {
            BodyError::Broken(_) => ErrorCode::BodyIncomplete,
            BodyError::TooSlow(_) => ErrorCode::BodyTooSlow,
            BodyError::TooLong { .. } => ErrorCode::TooLarge,
            BodyError::Unreadable(_) => ErrorCode::Unavailable,
        };
        Self::new(code, format!("nothing was stored: {error}"))
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Body(error) => error.into(),
            WriteError::LengthMismatch { expected, got } => Self::new(
                ErrorCode::BodyIncomplete,
                format!("nothing was stored: {expected} bytes were announced and {got} came; send the file again"),
            ),
            WriteError::Unavailable { why, retry_after } => {
                Self::new(ErrorCode::Unavailable, format!("nothing was stored: {why}; try again")).retry_after(retry_after)
            }
            WriteError::NoSpace { why } => {
                Self::new(ErrorCode::NoSpace, format!("nothing was stored: {why}; delete something or add a disk"))
            }
            WriteError::TooBusy => Self::new(ErrorCode::TooBusy, "nothing was stored: too many writes wait for memory; try again"),
            WriteError::Metadata(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use skep_raft::errors::ProposeError;
    use skep_raft::wire::meta::v1::{Rejection, RejectionCode};

    use crate::error_code::{ErrorCode, Failure};
    use crate::ports::WriteError;

    #[test]
    fn an_unknown_outcome_says_so_in_that_word() {
        let failure = Failure::from(ProposeError::Unknown { why: "no answer in time".to_owned() });
        assert_eq!(failure.code, ErrorCode::Unknown);
        assert!(failure.detail.contains("unknown"), "{failure}");
        assert_eq!(failure.retry_after, None, "an unknown outcome is not to be tried again blindly");
    }

    #[test]
    fn every_rejection_has_a_sentence() {
        for number in 0..=31 {
            let rejection = Rejection { code: number, detail: "plan.pdf".to_owned(), ..Rejection::default() };
            assert!(RejectionCode::try_from(number).is_ok(), "no code {number}");
            let failure = Failure::from(rejection);
            assert!(failure.detail.contains("plan.pdf"), "{failure}");
        }
    }

    #[test]
    fn writes_without_domains_name_a_time_to_come_back() {
        let failure = Failure::from(WriteError::Unavailable { why: "node n2 is down".to_owned(), retry_after: Duration::from_secs(3) });
        assert_eq!((failure.code, failure.retry_after_seconds()), (ErrorCode::Unavailable, Some(3)));
        assert!(failure.detail.contains("n2"), "{failure}");
    }
}
