//! Sessions and personal access tokens. The cluster keeps only the hash of each.

use std::time::Duration;

use skep_placement::ids::{GroupId, RecordId, Stamp};
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1::{DeleteToken, IdentityCommand, PutToken, TokenKind, TokenRecord, command, identity_command};

use super::identity::record_id;
use super::{Service, command_of, id_bytes};
use crate::auth::authenticator::{SignedIn, wants_extension};
use crate::auth::rights::{Account, Action, Administer, Authorized, ChangeAccount, Cluster, Subject};
use crate::auth::secret::Secret;
use crate::auth::token;
use crate::error_code::{ErrorCode, Failure};
use crate::request_context::RequestContext;

/// Most tokens of one user.
const TOKENS_PER_USER: usize = 1_000;

/// A token to make.
#[derive(Clone, Debug, Default)]
pub struct TokenRequest {
    /// For people.
    pub label: String,
    /// Lives so long; none: for ever.
    pub lifetime: Option<Duration>,
    /// Each use lets it live so long again.
    pub sliding: Option<Duration>,
    /// `node:<uuid>:r` or `:rw`; none: all rights of the user.
    pub scopes: Vec<String>,
}

/// A token just made. The secret is shown once.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its id, for taking it back.
    pub id: RecordId,
    /// What the client sends.
    pub secret: Secret,
    /// When it ends; none: never.
    pub expires_at: Option<Stamp>,
}

impl Service {
    /// Opens a session for somebody who just signed in by a password. Checking the password takes time, so the proof is decided anew.
    ///
    /// # Errors
    /// [`ErrorCode::Unavailable`], [`ErrorCode::Unknown`].
    pub async fn open_session(
        &self,
        proof: Authorized<ChangeAccount, Account>,
        lifetime: Duration,
        context: &RequestContext,
    ) -> Result<NewToken, Failure> {
        let proof = proof.renew(self.metadata(), self.now_micros(), context.deadline()).await?;
        let (secret, record) = self.draw_token(proof.subject().0, TokenKind::Session);
        let user_revision = proof.who().identity().revision;
        let record = TokenRecord { label: "session".to_owned(), user_revision, ..record };
        let id = record_id(&record.id);
        let put = PutToken { token: Some(record), lifetime_seconds: lifetime.as_secs() };
        let what = command::What::Identity(IdentityCommand { what: Some(identity_command::What::PutToken(put)) });
        // A secret is told once.
        let proposed = self.propose(&proof, GroupId::SYSTEM, what, &context.once()).await?;
        Ok(NewToken { id, secret, expires_at: Some(ends(proposed.stamp, lifetime)) })
    }

    /// Ends the session or takes back the token that a request came with.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] if it came without one; [`ErrorCode::Unknown`].
    pub async fn close_session(
        &self,
        proof: Authorized<ChangeAccount, Account>,
        view: &SystemView,
        context: &RequestContext,
    ) -> Result<(), Failure> {
        let hash =
            proof.who().token_hash().ok_or_else(|| Failure::new(ErrorCode::BadRequest, "this request was not made with a session"))?;
        let Some(record) = view.token_by_hash(&hash)? else { return Ok(()) };
        self.delete_record(&proof, record.id, proof.subject().0, context).await
    }

    /// Makes a personal access token for an account, one's own.
    ///
    /// # Errors
    /// [`ErrorCode::LimitReached`], [`ErrorCode::BadRequest`] for a malformed scope; [`ErrorCode::Unknown`].
    pub async fn create_token(
        &self,
        proof: Authorized<ChangeAccount, Account>,
        view: &SystemView,
        request: TokenRequest,
        context: &RequestContext,
    ) -> Result<NewToken, Failure> {
        let user = proof.subject().0;
        self.put_personal(&proof, view, (user, request), context).await
    }

    /// Makes a personal access token for anybody, by an administrator.
    ///
    /// # Errors
    /// As [`Service::create_token`].
    pub async fn create_token_for(
        &self,
        proof: Authorized<Administer, Cluster>,
        view: &SystemView,
        (user, request): (RecordId, TokenRequest),
        context: &RequestContext,
    ) -> Result<NewToken, Failure> {
        self.put_personal(&proof, view, (user, request), context).await
    }

    /// Lists the personal access tokens of an account, without their secrets, which nobody has.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for a damaged record.
    pub fn tokens(&self, proof: Authorized<ChangeAccount, Account>, view: &SystemView) -> Result<Vec<TokenRecord>, Failure> {
        personal_tokens(view, proof.subject().0)
    }

    /// Lists anybody's personal access tokens, for administrators.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for a damaged record.
    pub fn tokens_for(
        &self,
        _proof: Authorized<Administer, Cluster>,
        view: &SystemView,
        user: RecordId,
    ) -> Result<Vec<TokenRecord>, Failure> {
        personal_tokens(view, user)
    }

    /// Takes a token of one's own account back.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`]; [`ErrorCode::Unknown`].
    pub async fn delete_token(
        &self,
        proof: Authorized<ChangeAccount, Account>,
        token: RecordId,
        context: &RequestContext,
    ) -> Result<(), Failure> {
        self.delete_record(&proof, id_bytes(token.0), proof.subject().0, context).await
    }

    /// Takes anybody's token back, by an administrator.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`]; [`ErrorCode::Unknown`].
    pub async fn delete_any_token(
        &self,
        proof: Authorized<Administer, Cluster>,
        token: RecordId,
        context: &RequestContext,
    ) -> Result<(), Failure> {
        let what = identity_command::What::DeleteToken(DeleteToken { id: id_bytes(token.0), user: bytes::Bytes::new() });
        self.propose_identity(&proof, what, context).await
    }

    /// Lets a sliding token live longer, once it is past the middle of its window, so that using it costs a write only rarely.
    pub(crate) async fn extend_if_sliding(&self, who: &SignedIn, view: &SystemView, context: &RequestContext) -> Result<(), Failure> {
        let Some(hash) = who.token_hash() else { return Ok(()) };
        let now = Stamp(view.stamp()?.max(self.now_micros()));
        let Some(record) = view.token_by_hash(&hash)?.filter(|record| wants_extension(record, now)) else { return Ok(()) };
        let lifetime_seconds = record.auto_refresh_seconds;
        let put = PutToken { token: Some(record), lifetime_seconds };
        let what = command::What::Identity(IdentityCommand { what: Some(identity_command::What::PutToken(put)) });
        let command = command_of(who.actor(), view.index()?, what, &context.once());
        self.metadata().propose(GroupId::SYSTEM, command, context.deadline()).await?;
        Ok(())
    }

    async fn put_personal<A: Action, S: Subject>(
        &self,
        proof: &Authorized<A, S>,
        view: &SystemView,
        (user, request): (RecordId, TokenRequest),
        context: &RequestContext,
    ) -> Result<NewToken, Failure> {
        if view.tokens_of(user)?.len() >= TOKENS_PER_USER {
            return Err(Failure::new(
                ErrorCode::LimitReached,
                format!("a user has at most {TOKENS_PER_USER} tokens; take some back first"),
            ));
        }
        request.scopes.iter().try_for_each(|scope| check_scope(scope))?;
        let lifetime = request.sliding.or(request.lifetime);
        if lifetime.is_some_and(|lifetime| lifetime.as_secs() == 0) {
            return Err(Failure::new(ErrorCode::BadRequest, "the token would have expired already"));
        }
        let (secret, record) = self.draw_token(user, TokenKind::Personal);
        let record = TokenRecord {
            label: request.label,
            scopes: request.scopes,
            auto_refresh_seconds: request.sliding.map_or(0, |sliding| sliding.as_secs()),
            ..record
        };
        let id = record_id(&record.id);
        let put = PutToken { token: Some(record), lifetime_seconds: lifetime.map_or(0, |lifetime| lifetime.as_secs()) };
        let what = command::What::Identity(IdentityCommand { what: Some(identity_command::What::PutToken(put)) });
        let proposed = self.propose(proof, GroupId::SYSTEM, what, &context.once()).await?;
        Ok(NewToken { id, secret, expires_at: lifetime.map(|lifetime| ends(proposed.stamp, lifetime)) })
    }

    fn draw_token(&self, user: RecordId, kind: TokenKind) -> (Secret, TokenRecord) {
        let secret = token::draw(self.random());
        let record = TokenRecord {
            id: id_bytes(self.draw_id()),
            user: id_bytes(user.0),
            hash: bytes::Bytes::copy_from_slice(&token::hash(&secret)),
            kind: kind.into(),
            ..TokenRecord::default()
        };
        (secret, record)
    }

    async fn delete_record<A: Action, S: Subject>(
        &self,
        proof: &Authorized<A, S>,
        id: bytes::Bytes,
        owner: RecordId,
        context: &RequestContext,
    ) -> Result<(), Failure> {
        let what = identity_command::What::DeleteToken(DeleteToken { id, user: id_bytes(owner.0) });
        self.propose_identity(proof, what, context).await
    }
}

fn personal_tokens(view: &SystemView, user: RecordId) -> Result<Vec<TokenRecord>, Failure> {
    Ok(view.tokens_of(user)?.into_iter().filter(|token| token.kind() == TokenKind::Personal).collect())
}

fn ends(from: Stamp, lifetime: Duration) -> Stamp {
    Stamp(from.0.saturating_add(u64::try_from(lifetime.as_micros()).unwrap_or(u64::MAX)))
}

/// A scope names a node by its UUID and what may be done to it.
fn check_scope(scope: &str) -> Result<(), Failure> {
    let good = scope
        .strip_prefix("node:")
        .and_then(|rest| rest.rsplit_once(':'))
        .is_some_and(|(node, rights)| matches!(rights, "r" | "rw") && uuid::Uuid::try_parse(node).is_ok());
    if good {
        Ok(())
    } else {
        Err(Failure::new(ErrorCode::BadRequest, format!("Scopes: {scope} is not of the form node:<uuid>:r or node:<uuid>:rw")))
    }
}

#[cfg(test)]
mod tests {
    use super::check_scope;

    #[test]
    fn scopes_name_a_node_and_a_right() {
        assert!(check_scope("node:00000000-0000-0000-0000-000000000001:r").is_ok());
        assert!(check_scope("node:00000000-0000-0000-0000-000000000001:rw").is_ok());
        for bad in ["", "node:x:r", "node:00000000-0000-0000-0000-000000000001", "node:00000000-0000-0000-0000-000000000001:w", "all"] {
            assert!(check_scope(bad).is_err(), "{bad}");
        }
    }
}
