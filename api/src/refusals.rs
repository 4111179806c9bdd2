//! Refusals that no state machine decided, on their way into the audit: of rights, of sign-ins, of conditions that were seen not to hold.
//!
//! They wait on this node and are written by one command a second. Invariant: nobody waits for them, and what finds no room or no quorum is counted, never
//! silently lost. What a group refused has its line already.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use skep_placement::ids::GroupId;
use skep_raft::errors::ProposeError;
use skep_raft::handle::Metadata;
use skep_raft::wire::meta::v1::{AuditRecord, Command, IdentityCommand, NoteRefusal, command, identity_command};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::error_code::{ErrorCode, Failure, Heard};
use crate::request_context::RequestContext;
use crate::{limits, metrics};

/// A failure beside the answer that it became.
#[derive(Clone, Debug)]
pub(crate) struct Refused(pub(crate) Failure);

/// The refusals that wait.
#[derive(Debug)]
pub struct Refusals {
    metadata: Metadata,
    waiting: Mutex<VecDeque<AuditRecord>>,
    /// Held while some are written: whoever finds nothing left knows that all are.
    writing: tokio::sync::Mutex<()>,
}

impl Refusals {
    pub(crate) fn new(metadata: Metadata) -> Self {
        Self { metadata, waiting: Mutex::default(), writing: tokio::sync::Mutex::default() }
    }

    /// Takes a failure of a request if the audit is to hear of it.
    pub(crate) fn note(&self, failure: &Failure, context: &RequestContext, subject: String) {
        if !is_for_audit(failure, context) {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= limits::REFUSALS_WAITING {
            metrics::refusals(false, 1);
            return;
        }
        waiting.push_back(record_of(failure, context, subject));
    }

    /// Writes what waits every second, and what is left when all requests are answered.
    pub(crate) async fn run(&self, answered: CancellationToken) {
        let mut tick = interval(limits::REFUSALS_WRITTEN);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _time = tick.tick() => {}
                () = answered.cancelled() => break,
            }
            self.write_some(Instant::now() + limits::METADATA_WAIT).await;
        }
        self.flush(Instant::now() + limits::REFUSALS_LAST_WAIT).await;
    }

    /// Writes all that waits, as far as it goes until the deadline; what is left then is counted as dropped.
    pub async fn flush(&self, deadline: Instant) {
        while self.write_some(deadline).await && Instant::now() < deadline {}
        let left = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if !left.is_empty() {
            tracing::warn!(count = left.len(), "refusals did not get into the audit before the node stopped");
            metrics::refusals(false, left.len());
        }
    }

    /// Writes as many as one command takes. Whether more may be written at once.
    async fn write_some(&self, deadline: Instant) -> bool {
        let _writing = self.writing.lock().await;
        let some: Vec<AuditRecord> = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let count = waiting.len().min(limits::REFUSALS_PER_COMMAND);
            waiting.drain(..count).collect()
        };
        if some.is_empty() {
            return false;
        }
        let what = identity_command::What::NoteRefusal(NoteRefusal { refusals: some.clone() });
        let what = Some(command::What::Identity(IdentityCommand { what: Some(what) }));
        match self.metadata.propose(GroupId::SYSTEM, Command { what, ..Command::default() }, deadline).await {
            Ok(_done) => metrics::refusals(true, some.len()),
            Err(ProposeError::Unavailable { .. } | ProposeError::TooBusy | ProposeError::NoSpace) => {
                self.put_back(some);
                return false;
            }
            Err(error) => {
                // Written or not: a second try could write them twice.
                tracing::warn!(count = some.len(), %error, "refusals may be missing in the audit");
                metrics::refusals(false, some.len());
            }
        }
        true
    }

    fn put_back(&self, some: Vec<AuditRecord>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for record in some.into_iter().rev() {
            waiting.push_front(record);
        }
        let beyond = waiting.len().saturating_sub(limits::REFUSALS_WAITING);
        if beyond > 0 {
            waiting.truncate(limits::REFUSALS_WAITING);
            metrics::refusals(false, beyond);
        }
    }
}

/// A challenge to who brought no credentials is no refusal: clients begin so.
fn is_for_audit(failure: &Failure, context: &RequestContext) -> bool {
    match failure.heard {
        Heard::Already => false,
        Heard::Always => true,
        Heard::ByCode => failure.code.is_refusal() && (failure.code != ErrorCode::Unauthorized || context.asker().is_some()),
    }
}

fn record_of(failure: &Failure, context: &RequestContext, subject: String) -> AuditRecord {
    let is_sign_in = matches!(failure.code, ErrorCode::Unauthorized | ErrorCode::TooManyAttempts) && !context.is_signed_in();
    AuditRecord {
        actor: Some(context.asker().unwrap_or_default()),
        from: context.remote.to_string(),
        request_id: context.request_id.to_string(),
        action: if is_sign_in { "sign-in" } else { "request" }.to_owned(),
        subject: shortened(subject),
        entry: Bytes::new(),
        outcome: failure.code.name().to_uppercase().replace('-', "_"),
        detail: shortened(failure.detail.clone()),
        ..AuditRecord::default()
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > limits::REFUSAL_TEXT_BYTES {
        let cut = (0..=limits::REFUSAL_TEXT_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use skep_raft::wire::meta::v1::{Actor, Rejection, RejectionCode};

    use super::{is_for_audit, record_of};
    use crate::error_code::{ErrorCode, Failure, Heard};
    use crate::request_context::RequestContext;

    fn context() -> RequestContext {
        RequestContext::new("id-1".into(), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)))
    }

    #[test]
    fn what_a_group_refused_has_its_line_already() {
        let rejection = Rejection { code: RejectionCode::PreconditionFailed.into(), ..Rejection::default() };
        assert!(!is_for_audit(&Failure::from(rejection).at("common-files/a"), &context()));
        assert!(is_for_audit(&Failure::new(ErrorCode::PreconditionFailed, "it has changed"), &context()));
        assert!(!is_for_audit(&Failure::not_found("common-files/a"), &context()), "nothing there is no refusal");
        assert!(is_for_audit(&Failure::not_found("hidden").heard(Heard::Always), &context()));
    }

    #[test]
    fn a_challenge_is_no_refusal_and_a_failed_sign_in_names_who_tried() {
        let failure = Failure::new(ErrorCode::Unauthorized, "the login or the password is wrong");
        let context = context();
        assert!(!is_for_audit(&failure, &context));
        context.asked_as("mallory");
        assert!(is_for_audit(&failure, &context));
        let record = record_of(&failure, &context, "GET /dav/x".to_owned());
        assert_eq!((record.action.as_str(), record.outcome.as_str(), record.from.as_str()), ("sign-in", "UNAUTHORIZED", "192.0.2.7"));
        assert_eq!(record.actor, Some(Actor { login: "mallory".to_owned(), ..Actor::default() }));
        let long = record_of(&failure, &context, "é".repeat(2_000));
        assert!(long.subject.len() <= crate::limits::REFUSAL_TEXT_BYTES);
    }
}
