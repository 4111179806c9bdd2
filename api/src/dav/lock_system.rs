//! Locks as `dav-server` sees them: one object a request, which hands all on to the use cases.
//!
//! Whether a lock or an If header stands in the way is never decided here: `check` lets everything pass, because the state machine decides where the change
//! is applied. The true failure is kept in what travels with the request.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use dav_server::davpath::DavPath;
use dav_server::ls::{DavLock, DavLockSystem, LsFuture};
use skep_raft::wire::meta::v1::{LockRecord, Precondition};
use xmltree::{Element, EmitterConfig, Namespace, XMLNode};

use super::filesystem::user_path;
use super::properties::Travelling;
use super::{context, href};
use crate::auth::rights::{ReadTree, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::service::locks::{LockRequest, Locked, SeenLock};
use crate::service::user_path::UserPath;
use crate::stated::{shown, token_of};

/// What a lock shows instead of a token that is not the caller's to know. Source: RFC 4918, section 10.4.8.
const NO_TOKEN: &str = "DAV:no-lock";

/// The locks for one request.
#[derive(Clone, Debug)]
pub(super) struct LockSystem {
    travelling: Travelling,
    /// What must hold when a lock is taken.
    condition: Option<Precondition>,
}

impl LockSystem {
    pub(super) fn new(travelling: Travelling, condition: Option<Precondition>) -> Self {
        Self { travelling, condition }
    }

    async fn take(&self, path: &DavPath, request: LockRequest) -> Result<DavLock, Failure> {
        // What could not be looked at is not locked either.
        if let Some(failure) = self.travelling.failure() {
            return Err(failure);
        }
        let path = user_path(path)?;
        let caller = &self.travelling.caller;
        let locked = caller.service().lock(caller.at::<WriteTree>(&path)?, request, &context(caller)).await?;
        let lock = shown_lock(&locked.lock, &path, Duration::from_secs(locked.lock.lifetime_seconds))?;
        self.travelling.took(locked);
        Ok(lock)
    }

    async fn give_back(&self, path: &DavPath, token: &str) -> Result<(), Failure> {
        if let Some(failure) = self.travelling.failure() {
            return Err(failure);
        }
        let caller = &self.travelling.caller;
        let proof = caller.at::<WriteTree>(&user_path(path)?)?;
        caller.service().unlock(proof, token_in(token)?, None, &context(caller)).await
    }

    async fn prolong(&self, path: &DavPath, token: &str, seconds: u64) -> Result<DavLock, Failure> {
        let path = user_path(path)?;
        let caller = &self.travelling.caller;
        let lock = caller.service().refresh_lock(caller.at::<WriteTree>(&path)?, (token_in(token)?, seconds), &context(caller)).await?;
        // It may have been taken further up.
        let seen = caller.service().locks_of(caller.at::<ReadTree>(&path)?, false, &context(caller)).await?;
        let root = seen.into_iter().find(|seen| seen.lock.token == lock.token).map_or(path, |seen| seen.path);
        let answered = shown_lock(&lock, &root, Duration::from_secs(lock.lifetime_seconds))?;
        self.travelling.took(Locked { lock, created: false });
        Ok(answered)
    }
}

impl DavLockSystem for LockSystem {
    fn lock(
        &'_ self,
        path: &DavPath,
        _principal: Option<&str>,
        owner: Option<&Element>,
        timeout: Option<Duration>,
        shared: bool,
        deep: bool,
    ) -> LsFuture<'_, Result<DavLock, DavLock>> {
        let path = path.clone();
        let owner_xml = owner.map(written).transpose();
        Box::pin(async move {
            let request = owner_xml.map(|owner_xml| LockRequest {
                seconds: timeout.map_or(0, |timeout| timeout.as_secs()),
                shared,
                deep,
                owner_xml: owner_xml.unwrap_or_default(),
                // A path that ends in a slash names a folder, and no folder comes of a lock.
                make_file: !path.as_bytes().ends_with(b"/"),
                condition: self.condition.clone(),
            });
            let taken = match request {
                Ok(request) => self.take(&path, request).await,
                Err(failure) => Err(failure),
            };
            taken.map_err(|failure| {
                self.travelling.fail(failure);
                nobodys(path)
            })
        })
    }

    fn unlock(&'_ self, path: &DavPath, token: &str) -> LsFuture<'_, Result<(), ()>> {
        let (path, token) = (path.clone(), token.to_owned());
        Box::pin(async move { self.give_back(&path, &token).await.map_err(|failure| self.travelling.fail(failure)) })
    }

    fn refresh(&'_ self, path: &DavPath, token: &str, timeout: Option<Duration>) -> LsFuture<'_, Result<DavLock, ()>> {
        let (path, token) = (path.clone(), token.to_owned());
        let seconds = timeout.map_or(0, |timeout| timeout.as_secs());
        Box::pin(async move { self.prolong(&path, &token, seconds).await.map_err(|failure| self.travelling.fail(failure)) })
    }

    fn check(
        &'_ self,
        _path: &DavPath,
        _principal: Option<&str>,
        _ignore_principal: bool,
        _deep: bool,
        _submitted_tokens: &[String],
    ) -> LsFuture<'_, Result<(), DavLock>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// From what was read before the listing began: it is asked for each member.
    fn discover(&'_ self, path: &DavPath) -> LsFuture<'_, Vec<DavLock>> {
        let now = self.travelling.caller.service().now_micros();
        let covering = user_path(path).map(|path| self.travelling.locks_covering(&path));
        let shown = covering.and_then(|locks| locks.iter().map(|seen| discovered(seen, now)).collect());
        let locks = shown.unwrap_or_else(|failure| {
            self.travelling.fail(failure);
            Vec::new()
        });
        Box::pin(std::future::ready(locks))
    }

    fn delete(&'_ self, _path: &DavPath) -> LsFuture<'_, Result<(), ()>> {
        // Locks go with what they were on, in the same command.
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The locks that cover a folder or its members, as they were when a listing began.
#[derive(Debug, Default)]
pub(super) struct SeenLocks {
    at: BTreeMap<UserPath, Vec<SeenLock>>,
    /// Those that cover the folder with all its members.
    over_all: Vec<SeenLock>,
}

impl SeenLocks {
    /// Those of what is listed at a path; others are left out.
    pub(super) fn of(path: &UserPath, seen: Vec<SeenLock>) -> Self {
        let mut locks = Self::default();
        for seen in seen {
            if seen.lock.deep && path.is_within(&seen.path) {
                locks.over_all.push(seen);
            } else if seen.path == *path || seen.path.parent().as_ref() == Some(path) {
                locks.at.entry(seen.path.clone()).or_default().push(seen);
            }
        }
        locks
    }

    /// Those that cover the path itself or one of its members.
    pub(super) fn covering(&self, path: &UserPath) -> Vec<SeenLock> {
        self.over_all.iter().chain(self.at.get(path).into_iter().flatten()).cloned().collect()
    }
}

fn discovered(seen: &SeenLock, now_micros: u64) -> Result<DavLock, Failure> {
    let left = seen.lock.expires_at.saturating_sub(now_micros).div_ceil(1_000_000);
    shown_lock(&seen.lock, &seen.path, Duration::from_secs(left))
}

fn shown_lock(lock: &LockRecord, root: &UserPath, timeout: Duration) -> Result<DavLock, Failure> {
    let root = DavPath::new(&href(root)).map_err(|_no_path| Failure::new(ErrorCode::Internal, format!("{root}: this makes no URL")))?;
    Ok(DavLock {
        token: if lock.token.is_empty() { NO_TOKEN.to_owned() } else { shown(&lock.token) },
        path: Box::new(root),
        principal: None,
        owner: Some(Box::new(owner_of(lock))),
        timeout_at: Some(UNIX_EPOCH + Duration::from_micros(lock.expires_at)),
        timeout: Some(timeout),
        shared: lock.shared,
        deep: lock.deep,
    })
}

/// What the client said of the owner; else the login.
fn owner_of(lock: &LockRecord) -> Element {
    let said = (!lock.owner_xml.is_empty()).then(|| Element::parse(lock.owner_xml.as_bytes()).ok()).flatten();
    said.unwrap_or_else(|| {
        let mut owner = Element::new("owner");
        owner.prefix = Some("D".to_owned());
        owner.children.push(XMLNode::Text(lock.owner.as_ref().map_or_else(String::new, |owner| owner.login.clone())));
        owner
    })
}

/// An element by itself: with the prefix declared that `dav-server` gives it.
fn written(owner: &Element) -> Result<String, Failure> {
    let mut owner = owner.clone();
    owner.namespaces.get_or_insert_with(Namespace::empty).force_put("D", "DAV:");
    let mut bytes = Vec::new();
    let config = EmitterConfig::new().write_document_declaration(false);
    let said = owner.write_with_config(&mut bytes, config).map_err(|error| error.to_string());
    let text = said.and_then(|()| String::from_utf8(bytes).map_err(|error| error.to_string()));
    text.map_err(|why| Failure::new(ErrorCode::BadRequest, format!("LOCK: the owner cannot be kept: {why}")))
}

fn token_in(text: &str) -> Result<[u8; 16], Failure> {
    token_of(text).ok_or_else(|| Failure::new(ErrorCode::LockLost, format!("{text:?} is no token of a lock of this server")))
}

/// The lock in the way, of which `dav-server` shows nothing.
fn nobodys(path: DavPath) -> DavLock {
    DavLock {
        token: NO_TOKEN.to_owned(),
        path: Box::new(path),
        principal: None,
        owner: None,
        timeout_at: None,
        timeout: None,
        shared: false,
        deep: false,
    }
}

#[cfg(test)]
mod tests {
    use skep_raft::wire::meta::v1::{Actor, LockRecord};
    use xmltree::Element;

    use super::{SeenLocks, owner_of, shown_lock, written};
    use crate::service::locks::SeenLock;
    use crate::service::user_path::UserPath;

    /// As `dav-server` hands it over: with the prefix D, whatever the client wrote.
    fn owner_in(document: &str) -> Element {
        let parsed = Element::parse(document.as_bytes()).expect("good XML");
        let mut owner = parsed.get_child("owner").expect("an owner").clone();
        owner.prefix = Some("D".to_owned());
        owner
    }

    /// Names, attributes and text; not which prefixes are declared where.
    fn meaning(element: &Element) -> String {
        let children = element.children.iter().map(|child| child.as_element().map_or_else(|| format!("{child:?}"), meaning));
        let (namespace, attributes) = (element.namespace.as_deref().unwrap_or_default(), &element.attributes);
        format!("{{{namespace}}}{} {attributes:?} {:?}", element.name, children.collect::<Vec<_>>())
    }

    #[test]
    fn an_owner_comes_back_as_it_was_sent() {
        for document in [
            "<lockinfo xmlns=\"DAV:\"><owner><href>mailto:ana@example.org</href></owner></lockinfo>",
            "<x:lockinfo xmlns:x=\"DAV:\"><x:owner xmlns:o=\"urn:o\"><o:name o:a=\"&lt;\">A &amp; B</o:name></x:owner></x:lockinfo>",
            "<D:lockinfo xmlns:D=\"DAV:\"><D:owner>ana</D:owner></D:lockinfo>",
        ] {
            let sent = owner_in(document);
            let lock = LockRecord { owner_xml: written(&sent).expect("it is written"), ..LockRecord::default() };
            assert_eq!(meaning(&owner_of(&lock)), meaning(&sent), "{document}");
        }
    }

    #[test]
    fn whoever_says_nothing_of_the_owner_is_shown_by_login() {
        let owner = Actor { login: "ana".to_owned(), ..Actor::default() };
        let lock = LockRecord { owner: Some(owner), token: vec![7; 16].into(), ..LockRecord::default() };
        assert_eq!(owner_of(&lock).get_text().as_deref(), Some("ana"));
        let root = "ws/ü.txt".parse().expect("a path");
        let shown = |lock: &LockRecord| shown_lock(lock, &root, std::time::Duration::from_secs(9)).expect("it is shown");
        assert_eq!(shown(&lock).token, "opaquelocktoken:07070707-0707-0707-0707-070707070707");
        assert_eq!(shown(&LockRecord { token: bytes::Bytes::new(), ..lock }).token, "DAV:no-lock");
    }

    #[test]
    fn a_deep_lock_covers_all_below_and_a_shallow_one_itself() {
        let path = |text: &str| -> UserPath { text.parse().expect("a path") };
        let seen = |text: &str, deep, fence| {
            let lock = LockRecord { deep, fence, ..LockRecord::default() };
            SeenLock { lock, path: path(text), own: false }
        };
        let all = [seen("ws", true, 1), seen("ws/a", true, 2), seen("ws/a", false, 3), seen("ws/a/m", false, 4), seen("ws/a/m/x", true, 5)];
        let listed = SeenLocks::of(&path("ws/a"), all.to_vec());
        let covering = |text| listed.covering(&path(text)).iter().map(|seen| seen.lock.fence).collect::<Vec<_>>();
        assert_eq!((covering("ws/a"), covering("ws/a/m"), covering("ws/a/n")), (vec![1, 2, 3], vec![1, 2, 4], vec![1, 2]));
    }
}
