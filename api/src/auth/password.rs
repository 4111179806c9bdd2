//! Passwords as argon2id. A check takes 19 MiB and tens of milliseconds, so few run at once, on threads made for waiting.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::auth::secret::Secret;
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::ports::Random;

/// What an unknown login is checked against, so that it takes as long as a known one.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2tlcC1ub2JvZHktc2FsdA$3Y4kmFAGyNw3bUDe2Uh0pWd0nq7pMNZyAAs8yqQ0yPU";

/// Hashes and checks passwords.
#[derive(Clone, Debug)]
pub struct Passwords {
    running: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { running: Arc::new(Semaphore::new(limits::PASSWORD_CHECKS)) }
    }
}

impl Passwords {
    /// True if the password is that of the hash; always takes the time of a check, also without a hash.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] if the stored hash is not in PHC form.
    ///
    /// # Cancel safety
    /// A check that was begun runs to its end and keeps its permit till then.
    pub async fn verify(&self, password: Secret, phc: Option<String>) -> Result<bool, Failure> {
        self.blocking(move || verify_password(&password, phc.as_deref())).await
    }

    /// The hash to store of a new password.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] for a password that is too short or too long.
    pub async fn hash(&self, password: Secret, random: &dyn Random) -> Result<String, Failure> {
        let mut salt = [0; 16];
        random.fill(&mut salt);
        self.blocking(move || hash_password(&password, salt)).await
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
        let permit = Arc::clone(&self.running).acquire_owned().await.expect("the semaphore is never closed");
        let joined = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        })
        .await;
        joined.map_err(|_panicked| internal("a password check failed; try again"))?
    }
}

/// The argon2id hash in PHC form, computed on this thread; for `skep init` and tests. Others use [`Passwords::hash`].
///
/// # Errors
/// [`ErrorCode::BadRequest`] for a password that is too short or too long.
pub fn hash_password(password: &Secret, salt: [u8; 16]) -> Result<String, Failure> {
    check_strength(password)?;
    let hash = Argon2::default()
        .hash_password_with_salt(password.expose().as_bytes(), &salt)
        .map_err(|_failed| internal("the password could not be hashed; there may be too little memory"))?;
    Ok(hash.to_string())
}

/// Checks a password; without a hash it takes as long and is never right.
fn verify_password(password: &Secret, phc: Option<&str>) -> Result<bool, Failure> {
    let malformed = |_bad_form| internal("a stored password hash is malformed; set a new password");
    let stored = PasswordHash::new(phc.unwrap_or(NOBODY)).map_err(malformed)?;
    let right = Argon2::default().verify_password(password.expose().as_bytes(), &stored).is_ok();
    Ok(right && phc.is_some())
}

fn check_strength(password: &Secret) -> Result<(), Failure> {
    let characters = password.expose().chars().count();
    if characters < limits::PASSWORD_CHARACTERS_MIN {
        let least = limits::PASSWORD_CHARACTERS_MIN;
        return Err(Failure::new(ErrorCode::BadRequest, format!("a password needs at least {least} characters")));
    }
    if password.expose().len() > limits::PASSWORD_BYTES {
        return Err(Failure::new(ErrorCode::BadRequest, format!("a password has at most {} bytes", limits::PASSWORD_BYTES)));
    }
    Ok(())
}

fn internal(sentence: &str) -> Failure {
    Failure::new(ErrorCode::Internal, sentence)
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::phc::PasswordHash;

    use super::{NOBODY, Passwords, hash_password};
    use crate::auth::secret::Secret;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_verified_by_its_hash_only() {
        let passwords = Passwords::default();
        let phc = hash_password(&secret("correct horse"), [3; 16]).expect("hashed");
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(passwords.verify(secret("correct horse"), Some(phc.clone())).await.expect("checked"));
        assert!(!passwords.verify(secret("wrong horse"), Some(phc)).await.expect("checked"));
        assert!(!passwords.verify(secret("anything"), None).await.expect("checked"));
        assert!(passwords.verify(secret("x"), Some("not phc".to_owned())).await.is_err());
    }

    #[test]
    fn the_stand_in_for_unknown_logins_has_the_usual_cost() {
        let nobody = PasswordHash::new(NOBODY).expect("PHC form");
        assert!(nobody.salt.is_some() && nobody.hash.is_some(), "a check would end early");
    }

    #[test]
    fn short_and_huge_passwords_are_refused() {
        assert!(hash_password(&secret("short"), [0; 16]).is_err());
        assert!(hash_password(&secret(&"x".repeat(2_000)), [0; 16]).is_err());
    }
}
