//! What belongs to one request in every layer: its id, where it came from, and how long it may wait for metadata.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use tokio::time::Instant;

use http::HeaderMap;
use skep_placement::chunk::FileHasher;
use skep_placement::ids::RecordId;
use skep_raft::wire::meta::v1::{Actor, Command, Idempotency};

use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::ports::Random;
use crate::stated::Stated;

/// The header by which a client may repeat a request without its being done twice.
/// Source: draft-ietf-httpapi-idempotency-key-header.
pub const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";

/// The header that carries a request's id in and out.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// One request.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Stands in the answer and in every log line.
    pub request_id: Arc<str>,
    /// Of the client.
    pub remote: IpAddr,
    /// The client may send the request again under this.
    pub repeatable: Option<Arc<Repeatable>>,
    /// What the client says of locks and states; goes with each change of a tree.
    pub stated: Arc<Stated>,
    asker: Arc<Asker>,
    waits_until: Instant,
}

/// Who asks, as far as the request has come; for the audit.
#[derive(Debug, Default)]
struct Asker {
    /// The login that came with the credentials, which may be anybody's; empty for a token.
    said: OnceLock<String>,
    /// Who signed in.
    is: OnceLock<Actor>,
}

/// A request that a client may send again: its key, and a hash of what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeatable {
    key: String,
    request: [u8; 32],
}

impl Repeatable {
    /// Reads the header of a request; `asked` tells requests apart.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] for a key that is empty, too long or not plain.
    pub fn of(headers: &HeaderMap, asked: &[&[u8]]) -> Result<Option<Self>, Failure> {
        let Some(value) = headers.get(IDEMPOTENCY_KEY_HEADER) else { return Ok(None) };
        let is_key =
            |key: &&str| !key.is_empty() && key.len() <= limits::IDEMPOTENCY_KEY_BYTES && key.bytes().all(|byte| byte.is_ascii_graphic());
        let key = value.to_str().ok().filter(is_key).ok_or_else(|| {
            let why = format!(
                "Idempotency-Key: send 1 to {} visible ASCII characters, a new UUID for each request",
                limits::IDEMPOTENCY_KEY_BYTES
            );
            Failure::new(ErrorCode::BadRequest, why)
        })?;
        Ok(Some(Self { key: key.to_owned(), request: hash(asked) }))
    }

    /// The same with more of what was asked for.
    #[must_use]
    pub fn with(&self, asked: &[u8]) -> Self {
        Self { key: self.key.clone(), request: hash(&[&self.request, asked]) }
    }

    /// What goes with a command of the request. Its step is what the command changes, which a repeated request names alike.
    pub(crate) fn of_command(&self, user: RecordId, command: &Command, content: &[u8]) -> Option<Idempotency> {
        let (action, subject) = skep_raft::state::described(command)?;
        Some(Idempotency {
            key: hash(&[&user.0, self.key.as_bytes()]).to_vec().into(),
            request: hash(&[&self.request, content]).to_vec().into(),
            step: hash(&[action.as_bytes(), subject.as_bytes()]).to_vec().into(),
        })
    }
}

/// A hash of parts that cannot be taken for other parts.
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = FileHasher::new();
    for part in parts {
        hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    hasher.hash()
}

impl RequestContext {
    /// A request that begins now.
    #[must_use]
    pub fn new(request_id: Arc<str>, remote: IpAddr) -> Self {
        Self {
            request_id,
            remote,
            repeatable: None,
            stated: Arc::default(),
            asker: Arc::default(),
            waits_until: Instant::now() + limits::METADATA_WAIT,
        }
    }

    /// Notes that credentials came, under this login.
    pub(crate) fn asked_as(&self, login: &str) {
        self.asker.said.get_or_init(|| login.to_owned());
    }

    /// Notes who signed in.
    pub(crate) fn asked_by(&self, actor: Actor) {
        self.asker.is.get_or_init(|| actor);
    }

    /// Who asks, or says so; none where no credentials came.
    pub(crate) fn asker(&self) -> Option<Actor> {
        let is = self.asker.is.get().cloned();
        is.or_else(|| self.asker.said.get().map(|login| Actor { login: login.clone(), ..Actor::default() }))
    }

    /// Whether somebody has signed in.
    pub(crate) fn is_signed_in(&self) -> bool {
        self.asker.is.get().is_some()
    }

    /// The same request, which the client may send again.
    #[must_use]
    pub fn repeatable(self, repeatable: Option<Repeatable>) -> Self {
        Self { repeatable: repeatable.map(Arc::new), ..self }
    }

    /// The same request with what the client says of locks and states.
    #[must_use]
    pub fn stating(self, stated: Stated) -> Self {
        Self { stated: Arc::new(stated), ..self }
    }

    /// The same request, for a change that the client did not ask for itself.
    #[must_use]
    pub fn aside(&self) -> Self {
        Self { stated: Arc::default(), ..self.clone() }
    }

    /// The same request, for a step that the lock with its fence need not cover.
    #[must_use]
    pub fn without_fence(&self) -> Self {
        let stated = Stated { fence: 0, ..Stated::clone(&self.stated) };
        self.clone().stating(stated)
    }

    /// The same request, where what it gives cannot be given again.
    #[must_use]
    pub fn once(&self) -> Self {
        Self { repeatable: None, ..self.clone() }
    }

    /// When the request stops waiting for metadata. One for all its questions, so that they add up to less than five seconds.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.waits_until
    }

    /// The same request after its body has been read or a job step is done: a new wait.
    #[must_use]
    pub fn continued(&self) -> Self {
        Self { waits_until: Instant::now() + limits::METADATA_WAIT, ..self.clone() }
    }
}

/// The id of a request: the client's if it is short and plain, else a new one.
#[must_use]
pub fn request_id(sent: Option<&str>, random: &dyn Random) -> Arc<str> {
    match sent {
        Some(id) if is_plain(id) => id.into(),
        _ => {
            let mut bytes = [0; 16];
            random.fill(&mut bytes);
            uuid::Builder::from_random_bytes(bytes).into_uuid().to_string().into()
        }
    }
}

fn is_plain(id: &str) -> bool {
    !id.is_empty() && id.len() <= limits::REQUEST_ID_BYTES && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use skep_placement::ids::RecordId;
    use skep_raft::wire::meta::v1::{Command, CreateFolder, EntryPath, TreeCommand, command, tree_command};

    use super::{IDEMPOTENCY_KEY_HEADER, Repeatable, request_id};
    use crate::ports::Random;

    fn sent(key: &str) -> HeaderMap {
        HeaderMap::from_iter([(IDEMPOTENCY_KEY_HEADER.parse().expect("a name"), HeaderValue::from_str(key).expect("a value"))])
    }

    #[test]
    fn a_repeated_request_has_the_same_steps_and_another_one_has_not() {
        let folder = |name: &str, entry: u8| {
            let path = EntryPath { base: vec![0; 16].into(), names: vec![name.to_owned()] };
            let create = CreateFolder { path: Some(path), entry: vec![entry; 16].into(), ..CreateFolder::default() };
            let what = command::What::Tree(TreeCommand { what: Some(tree_command::What::CreateFolder(create)) });
            Command { what: Some(what), ..Command::default() }
        };
        let of = |key: &str, asked: &[u8], user: u8, command: &Command| {
            let repeatable = Repeatable::of(&sent(key), &[asked]).expect("a key").expect("it was sent");
            repeatable.of_command(RecordId([user; 16]), command, b"").expect("it is audited")
        };
        let first = of("k", b"body", 1, &folder("a", 1));
        assert_eq!(first, of("k", b"body", 1, &folder("a", 2)), "ids are drawn anew each time");
        assert_ne!(first.step, of("k", b"body", 1, &folder("b", 1)).step);
        assert_ne!(first.request, of("k", b"other", 1, &folder("a", 1)).request);
        assert_ne!(first.key, of("k", b"body", 2, &folder("a", 1)).key, "a key is its user's own");
    }

    #[test]
    fn keys_that_cannot_be_are_refused() {
        assert_eq!(Repeatable::of(&HeaderMap::new(), &[]), Ok(None));
        for bad in ["", "a b", &"x".repeat(256)] {
            assert!(Repeatable::of(&sent(bad), &[]).is_err(), "{bad:?}");
        }
    }

    struct Sevens;

    impl Random for Sevens {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(7);
        }
    }

    #[test]
    fn plain_ids_are_kept_and_others_are_replaced() {
        assert_eq!(&*request_id(Some("abc-1.2:3"), &Sevens), "abc-1.2:3");
        let drawn = "07070707-0707-4707-8707-070707070707";
        for bad in [None, Some(""), Some("a b"), Some("line\nbreak"), Some(&*"x".repeat(65))] {
            assert_eq!(&*request_id(bad, &Sevens), drawn);
        }
    }
}
