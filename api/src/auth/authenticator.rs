//! Turns credentials into a user of the cluster, over a linearizable view.
//!
//! The invariant: a disabled account, a deleted or expired token and a session older than the account's last change sign nobody in, from the moment the
//! change was acknowledged.

use std::net::IpAddr;
use std::sync::Arc;

use skep_placement::ids::{RecordId, Stamp};
use skep_raft::state::rights::Identity;
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1::{JobRecord, TokenKind, TokenRecord, UserRecord};
use tokio::time::Instant;

use crate::auth::attempts::Attempts;
use crate::auth::credentials::Credentials;
use crate::auth::password::Passwords;
use crate::auth::remembered::{Account, RememberedPasswords};
use crate::auth::secret::Secret;
use crate::auth::token;
use crate::error_code::{ErrorCode, Failure};
use crate::ports::{Clock, Random};
use crate::{limits, metrics};

/// By what somebody signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Means {
    Password,
    Token {
        hash: [u8; 32],
    },
    /// A job goes on for the user who asked for it.
    Job,
    /// A shell on a node.
    Operator,
}

/// Somebody who signed in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    identity: Identity,
    means: Means,
    /// Bytes and entries in each folder of the user's own; 0: no limit.
    quota: (u64, u64),
}

impl SignedIn {
    /// How many bytes and entries each folder of the user's own may hold; 0: no limit.
    #[must_use]
    pub fn quota(&self) -> (u64, u64) {
        self.quota
    }

    /// Who it is, for decisions.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The stored hash of the token used, if one was.
    #[must_use]
    pub fn token_hash(&self) -> Option<[u8; 32]> {
        match self.means {
            Means::Token { hash } => Some(hash),
            _ => None,
        }
    }

    /// True for a shell on a node.
    pub(crate) fn is_operator(&self) -> bool {
        self.means == Means::Operator
    }

    /// The user for whom a job runs.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`] if the account is gone or disabled.
    pub fn of_job(view: &SystemView, job: &JobRecord) -> Result<Self, Failure> {
        let id = RecordId::try_from(job.user.as_ref()).map_err(|_bad_id| gone())?;
        let user = view.user(id)?.ok_or_else(gone)?;
        Ok(Self { identity: identity_of(&user, Bound::ToUser, Vec::new())?, means: Means::Job, quota: quota_of(&user) })
    }

    /// The user that a shell on a node acts for.
    pub(crate) fn named(view: &SystemView, login: &str) -> Result<Self, Failure> {
        let unknown = || Failure::new(ErrorCode::NotFound, format!("there is no user named {login}"));
        let user = view.user_by_login(login)?.ok_or_else(unknown)?;
        Ok(Self { identity: identity_of(&user, Bound::ToUser, Vec::new())?, means: Means::Job, quota: quota_of(&user) })
    }

    /// A shell on a node.
    pub(crate) fn operator() -> Self {
        let identity = Identity { user: RecordId::default(), login: "operator".to_owned(), admin: true, revision: 0, scopes: Vec::new() };
        Self { identity, means: Means::Operator, quota: (0, 0) }
    }

    /// The same as it is now.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`] if the account or the token no longer signs in.
    pub(crate) fn still_valid(&self, view: &SystemView, now_micros: u64) -> Result<Self, Failure> {
        match &self.means {
            Means::Token { hash } => by_token_hash(view, *hash, now_micros),
            // The decision itself reads the account anew.
            Means::Password | Means::Job | Means::Operator => Ok(self.clone()),
        }
    }
}

/// A request as the authenticator needs it.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Linearizable, read for this request.
    pub view: &'a SystemView,
    /// Of the client.
    pub remote: IpAddr,
}

/// Checks credentials.
pub struct Authenticator {
    passwords: Passwords,
    remembered: RememberedPasswords,
    attempts: Attempts,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}

impl Authenticator {
    /// An authenticator that remembers nothing yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, random: &dyn Random) -> Self {
        Self {
            passwords: Passwords::default(),
            remembered: RememberedPasswords::new(random, limits::PASSWORD_REMEMBERED, limits::PASSWORDS_REMEMBERED),
            attempts: Attempts::default(),
            clock,
        }
    }

    /// The hasher, which limits how many run at once.
    #[must_use]
    pub fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// Who sends these credentials.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`] or [`ErrorCode::TooManyAttempts`].
    pub async fn sign_in(&self, credentials: &Credentials, asking: Asking<'_>) -> Result<SignedIn, Failure> {
        match credentials {
            Credentials::None => Err(Failure::new(ErrorCode::Unauthorized, "sign in first")),
            Credentials::Bearer(token) => self.by_token(token, None, asking),
            Credentials::Basic { login, password } => {
                if looks_like_token(password) {
                    self.by_token(password, Some(login), asking)
                } else {
                    self.by_password(login, password, asking).await
                }
            }
        }
    }

    /// Who has this login and password; the way of `POST /a/frontend/session` and the web page.
    ///
    /// # Errors
    /// As [`Authenticator::sign_in`].
    pub async fn by_password(&self, login: &str, password: &Secret, asking: Asking<'_>) -> Result<SignedIn, Failure> {
        let user = asking.view.user_by_login(login)?;
        let now = Instant::now();
        if let Some(user) = user.as_ref().filter(|user| !user.disabled) {
            let account = Account { login, revision: user.revision };
            if self.remembered.knows(account, password, now) {
                return Ok(SignedIn {
                    identity: identity_of(user, Bound::ToRevision, Vec::new())?,
                    means: Means::Password,
                    quota: quota_of(user),
                });
            }
        }
        self.attempts.admit(login, asking.remote, now)?;
        let phc = user.as_ref().map(|user| user.password_phc.clone()).filter(|phc| !phc.is_empty());
        let right = self.passwords.verify(password.clone(), phc).await?;
        metrics::sign_in("password", right);
        let Some(user) = user.filter(|user| right && !user.disabled) else {
            self.attempts.failed(login, asking.remote, now);
            return Err(Failure::new(ErrorCode::Unauthorized, "the login or the password is wrong, or the account is disabled"));
        };
        self.attempts.succeeded(login, asking.remote);
        self.remembered.remember(Account { login, revision: user.revision }, password, now);
        Ok(SignedIn { identity: identity_of(&user, Bound::ToRevision, Vec::new())?, means: Means::Password, quota: quota_of(&user) })
    }

    fn by_token(&self, token: &Secret, login: Option<&str>, asking: Asking<'_>) -> Result<SignedIn, Failure> {
        // No limit on failures here: nobody guesses 512 bits, and an expired token must not shut out its whole network.
        let found = by_token_hash(asking.view, token::hash(token), self.now_micros(asking.view)?);
        let found =
            found.and_then(
                |signed_in| {
                    if login.is_none_or(|login| login == signed_in.identity.login) { Ok(signed_in) } else { Err(bad_token()) }
                },
            );
        metrics::sign_in("token", found.is_ok());
        found
    }

    /// The clock that tokens end by: the node's, never behind what the cluster has seen.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] if the view cannot be read.
    pub fn now_micros(&self, view: &SystemView) -> Result<u64, Failure> {
        Ok(self.clock.now_micros().max(view.stamp()?))
    }
}

/// Finds a token that signs in now.
fn by_token_hash(view: &SystemView, hash: [u8; 32], now_micros: u64) -> Result<SignedIn, Failure> {
    let record = view.token_by_hash(&hash)?.ok_or_else(bad_token)?;
    if record.expires_at != 0 && record.expires_at <= now_micros {
        return Err(bad_token());
    }
    let id = RecordId::try_from(record.user.as_ref()).map_err(|_bad_id| bad_token())?;
    let user = view.user(id)?.ok_or_else(bad_token)?;
    let bound = if record.kind() == TokenKind::Session { Bound::ToRevision } else { Bound::ToUser };
    if bound == Bound::ToRevision && record.user_revision != user.revision {
        return Err(Failure::new(ErrorCode::Unauthorized, "the account has changed since this session began; sign in again"));
    }
    let quota = quota_of(&user);
    Ok(SignedIn { identity: identity_of(&user, bound, record.scopes)?, means: Means::Token { hash }, quota })
}

/// How long an identity holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// Until password, administrator flag or state change.
    ToRevision,
    /// As long as the account is there and not disabled.
    ToUser,
}

fn quota_of(user: &UserRecord) -> (u64, u64) {
    (user.quota_bytes, user.quota_entries)
}

fn identity_of(user: &UserRecord, bound: Bound, scopes: Vec<String>) -> Result<Identity, Failure> {
    if user.disabled {
        return Err(gone());
    }
    let id = RecordId::try_from(user.id.as_ref()).map_err(|_bad_id| gone())?;
    let revision = if bound == Bound::ToRevision { user.revision } else { 0 };
    Ok(Identity { user: id, login: user.login.clone(), admin: user.admin, revision, scopes })
}

/// Passwords with a token's form are never given out by people's hands: two parts of 43 characters.
fn looks_like_token(password: &Secret) -> bool {
    password.expose().split_once('.').is_some_and(|(first, second)| {
        [first, second]
            .iter()
            .all(|part| part.len() == 43 && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)))
    })
}

fn bad_token() -> Failure {
    Failure::new(ErrorCode::Unauthorized, "the access token is wrong, revoked or expired; sign in again")
}

fn gone() -> Failure {
    Failure::new(ErrorCode::Unauthorized, "the account does not exist any more or is disabled")
}

/// True if a sliding token is so far into its window that it should be extended.
pub(crate) fn wants_extension(record: &TokenRecord, now: Stamp) -> bool {
    let window = record.auto_refresh_seconds.saturating_mul(1_000_000);
    window > 0 && record.expires_at != 0 && record.expires_at.saturating_sub(now.0) < window / 2
}

#[cfg(test)]
mod tests {
    use skep_placement::ids::Stamp;
    use skep_raft::wire::meta::v1::TokenRecord;

    use super::{looks_like_token, wants_extension};
    use crate::auth::secret::Secret;
    use crate::auth::token;
    use crate::ports::Random;

    struct Nines;

    impl Random for Nines {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(9);
        }
    }

    #[test]
    fn only_tokens_look_like_tokens() {
        assert!(looks_like_token(&token::draw(&Nines)));
        for password in ["hunter2", "a.b", "correct horse. battery", ""] {
            assert!(!looks_like_token(&Secret::new(password.to_owned())), "{password}");
        }
    }

    #[test]
    fn sliding_tokens_are_extended_in_the_second_half_of_their_window() {
        let record = TokenRecord { auto_refresh_seconds: 100, expires_at: 100_000_000, ..TokenRecord::default() };
        assert!(!wants_extension(&record, Stamp(49_000_000)));
        assert!(wants_extension(&record, Stamp(51_000_000)));
        assert!(!wants_extension(&TokenRecord { auto_refresh_seconds: 0, ..record }, Stamp(99_000_000)));
    }
}
