//! What a request says of locks and states: tokens that it submits, the fence that it relies on, and WebDAV's lists of states. It goes with each change of
//! a tree and is decided where that is applied, never here.
//!
//! Source: RFC 4918, section 10.4.

use bytes::Bytes;
use http::HeaderMap;
use skep_raft::wire::meta::v1::{Command, StateList, TreeCommand, command, tree_command};

use crate::error_code::{ErrorCode, Failure};
use crate::limits;

/// The header by which a client that speaks no WebDAV submits tokens of its locks, separated by commas.
pub const LOCK_TOKEN_HEADER: &str = "x-skep-lock-token";
/// The header by which a client relies on the lock with this fencing number.
pub const FENCE_HEADER: &str = "x-skep-fence";
/// How a token begins where people and programs see it. Source: RFC 4918, appendix C.
const SCHEME: &str = "opaquelocktoken:";

/// What a request says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stated {
    /// Tokens of locks, 16 bytes each.
    pub tokens: Vec<Bytes>,
    /// Of which one must hold; none: nothing is asked.
    pub lists: Vec<StateList>,
    /// Of the lock that is relied on; 0: none.
    pub fence: u64,
}

impl Stated {
    /// Reads the two headers of our own.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] if one is malformed.
    pub fn of_headers(headers: &HeaderMap) -> Result<Self, Failure> {
        let bad = |why: String| Failure::new(ErrorCode::BadRequest, why);
        let mut stated = Self::default();
        for value in headers.get_all(LOCK_TOKEN_HEADER) {
            let text = value.to_str().unwrap_or_default();
            for token in text.split(',').map(str::trim) {
                let token = token_of(token).ok_or_else(|| bad(format!("X-Skep-Lock-Token: {token:?} is no token of a lock")))?;
                stated.submit(token)?;
            }
        }
        if let Some(value) = headers.get(FENCE_HEADER) {
            let fence = value.to_str().ok().and_then(|text| text.trim().parse().ok()).filter(|fence| *fence != 0);
            stated.fence = fence.ok_or_else(|| bad("X-Skep-Fence: this is no fencing number; it came with the lock".to_owned()))?;
        }
        Ok(stated)
    }

    /// Adds a token.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] for too many.
    pub fn submit(&mut self, token: [u8; 16]) -> Result<(), Failure> {
        let token = Bytes::copy_from_slice(&token);
        if !self.tokens.contains(&token) {
            self.tokens.push(token);
        }
        if self.tokens.len() > limits::LOCK_TOKENS {
            let why = format!("a request submits at most {} tokens of locks", limits::LOCK_TOKENS);
            return Err(Failure::new(ErrorCode::BadRequest, why));
        }
        Ok(())
    }

    /// Writes it into a change of a tree.
    pub(crate) fn put_into(&self, command: &mut Command) {
        let Some(command::What::Tree(TreeCommand { what: Some(what) })) = &command.what else { return };
        use tree_command::What;
        // What is done with locks themselves rests on no other lock.
        let is_of_locks = matches!(what, What::SetLock(_) | What::RefreshLock(_) | What::RemoveLock(_));
        if matches!(what, What::OpenHidden(_)) {
            return;
        }
        command.fence = if is_of_locks { 0 } else { self.fence };
        command.lock_tokens.clone_from(&self.tokens);
        command.state_lists.clone_from(&self.lists);
    }
}

/// A token as it is shown.
#[must_use]
pub fn shown(token: &[u8]) -> String {
    let id = <[u8; 16]>::try_from(token).unwrap_or_default();
    format!("{SCHEME}{}", uuid::Uuid::from_bytes(id))
}

/// The token in a text: `opaquelocktoken:` or `urn:uuid:` before a UUID.
#[must_use]
pub fn token_of(text: &str) -> Option<[u8; 16]> {
    let text = text.trim().trim_start_matches('<').trim_end_matches('>');
    let lower = text.to_ascii_lowercase();
    let id = lower.strip_prefix(SCHEME).or_else(|| lower.strip_prefix("urn:uuid:")).unwrap_or(&lower);
    uuid::Uuid::parse_str(id).ok().map(uuid::Uuid::into_bytes)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use skep_raft::wire::meta::v1::{Command, OpenHidden, RemoveLock, SetTimes, TreeCommand, command, tree_command};

    use super::{Stated, shown, token_of};

    const TOKEN: &str = "01234567-89ab-cdef-0123-456789abcdef";

    #[test]
    fn tokens_are_read_as_they_are_shown() {
        let token = token_of(TOKEN).expect("a token");
        assert_eq!(shown(&token), format!("opaquelocktoken:{TOKEN}"));
        for text in [shown(&token), format!("<{}>", shown(&token)), format!("urn:uuid:{TOKEN}"), format!("OpaqueLockToken:{TOKEN}")] {
            assert_eq!(token_of(&text), Some(token), "{text}");
        }
        for text in ["", "DAV:no-lock", "opaquelocktoken:1"] {
            assert_eq!(token_of(text), None, "{text}");
        }
    }

    fn of(name: &'static str, value: &str) -> Result<Stated, String> {
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))]);
        Stated::of_headers(&headers).map_err(|failure| failure.detail)
    }

    #[test]
    fn headers_of_our_own_are_read_or_refused_by_name() {
        assert_eq!(of("x-skep-fence", "7").expect("a fence").fence, 7);
        assert_eq!(of("x-skep-lock-token", &format!("{TOKEN}, urn:uuid:{TOKEN}")).expect("tokens").tokens.len(), 1);
        for (name, bad) in [("x-skep-fence", "0"), ("x-skep-fence", "-1"), ("x-skep-lock-token", "mine"), ("x-skep-lock-token", "")] {
            assert!(of(name, bad).expect_err("refused").to_ascii_lowercase().starts_with(name), "{name}: {bad}");
        }
    }

    #[test]
    fn changes_carry_it_and_what_the_cluster_prepares_does_not() {
        let stated = Stated { tokens: vec![vec![1; 16].into()], lists: Vec::new(), fence: 9 };
        let carried = |what| {
            let what = Some(command::What::Tree(TreeCommand { what: Some(what) }));
            let mut command = Command { what, ..Command::default() };
            stated.put_into(&mut command);
            (command.fence, command.lock_tokens.len())
        };
        assert_eq!(carried(tree_command::What::SetTimes(SetTimes::default())), (9, 1));
        assert_eq!(carried(tree_command::What::RemoveLock(RemoveLock::default())), (0, 1));
        assert_eq!(carried(tree_command::What::OpenHidden(OpenHidden::default())), (0, 0));
    }
}
