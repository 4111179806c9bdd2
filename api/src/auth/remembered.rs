//! Remembers for a few minutes that a login's password was right, so that WebDAV does not hash it on every request.
//!
//! Only a keyed hash is kept, under a key that the process drew and never shows; it covers the user's revision, so that a new password, changed rights
//! or a disabled account end it at once.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use ring::hmac;
use tokio::time::Instant;

use crate::auth::secret::Secret;
use crate::ports::Random;

/// Whose password at which state of the account.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// The login.
    pub login: &'a str,
    /// The user's revision as read for this request.
    pub revision: u64,
}

/// A bounded memory of verified passwords.
pub struct RememberedPasswords {
    key: hmac::Key,
    lifetime: Duration,
    most: usize,
    until: Mutex<BTreeMap<[u8; 32], Instant>>,
}

impl std::fmt::Debug for RememberedPasswords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RememberedPasswords").field("most", &self.most).finish_non_exhaustive()
    }
}

impl RememberedPasswords {
    /// An empty memory under a key drawn now.
    #[must_use]
    pub fn new(random: &dyn Random, lifetime: Duration, most: usize) -> Self {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        random.fill(key.as_mut_slice());
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()), lifetime, most, until: Mutex::default() }
    }

    /// True if this very password was verified for this state of the account not long ago.
    pub fn knows(&self, account: Account<'_>, password: &Secret, now: Instant) -> bool {
        let tag = self.tag(account, password);
        let until = self.until();
        until.get(&tag).is_some_and(|end| now < *end)
    }

    /// Remembers a password that was verified now.
    pub fn remember(&self, account: Account<'_>, password: &Secret, now: Instant) {
        let tag = self.tag(account, password);
        let mut until = self.until();
        if until.len() >= self.most {
            until.retain(|_, end| now < *end);
        }
        if until.len() >= self.most {
            // Forgetting one costs its owner one more check, no more.
            until.pop_first();
        }
        until.insert(tag, now + self.lifetime);
    }

    fn until(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Instant>> {
        self.until.lock().expect("no holder of this lock panics")
    }

    fn tag(&self, account: Account<'_>, password: &Secret) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        let login_length = u64::try_from(account.login.len()).expect("a length fits 64 bits");
        context.update(&account.revision.to_be_bytes());
        context.update(&login_length.to_be_bytes());
        context.update(account.login.as_bytes());
        context.update(password.expose().as_bytes());
        context.sign().as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Account, RememberedPasswords};
    use crate::auth::secret::Secret;
    use crate::ports::Random;

    struct Zeros;

    impl Random for Zeros {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(0);
        }
    }

    fn memory(most: usize) -> RememberedPasswords {
        RememberedPasswords::new(&Zeros, Duration::from_secs(600), most)
    }

    #[test]
    fn a_password_is_known_for_one_login_revision_and_time() {
        let (memory, now) = (memory(10), Instant::now());
        let (right, wrong) = (Secret::new("right".to_owned()), Secret::new("wrong".to_owned()));
        let alice = Account { login: "alice", revision: 4 };
        memory.remember(alice, &right, now);
        assert!(memory.knows(alice, &right, now));
        assert!(!memory.knows(alice, &wrong, now));
        assert!(!memory.knows(Account { login: "bob", ..alice }, &right, now));
        assert!(!memory.knows(Account { revision: 5, ..alice }, &right, now));
        assert!(!memory.knows(alice, &right, now + Duration::from_secs(600)));
    }

    #[test]
    fn a_login_and_a_password_cannot_trade_letters() {
        let (memory, now) = (memory(10), Instant::now());
        memory.remember(Account { login: "ab", revision: 1 }, &Secret::new("c".to_owned()), now);
        assert!(!memory.knows(Account { login: "a", revision: 1 }, &Secret::new("bc".to_owned()), now));
    }

    #[test]
    fn the_memory_is_bounded() {
        let (memory, now) = (memory(3), Instant::now());
        for revision in 0..100 {
            memory.remember(Account { login: "alice", revision }, &Secret::new("right".to_owned()), now);
        }
        assert_eq!(memory.until.lock().expect("not poisoned").len(), 3);
    }
}
