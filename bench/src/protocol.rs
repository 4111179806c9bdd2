//! The same operations in the words of each server: Skep, the limit program, WebDAV, S3.

mod limit;
mod s3;
pub(crate) mod skep;
mod webdav;

use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderValue, Method, Request};

pub use s3::S3;

use crate::content::{Check, Content};
use crate::fault::Fault;
use crate::http_client::{Connection, SendBody, Take};

/// One request as a workload asks for it. Names are relative to the target's root, of letters, digits, `.`, `-` and `/`.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Makes or replaces a file.
    Put(String, Content),
    /// Reads a file, or `(offset, length)` of it, and compares every byte.
    Get(String, Content, Option<(u64, u64)>),
    /// Makes empty files in one request.
    CreateFiles(Vec<String>),
    /// Makes folders in one request; those that are there are no failure.
    CreateFolders(Vec<String>),
    /// Looks at a file or folder.
    Stat(String),
    /// Lists a page of a folder.
    List(String, Page),
    /// Writes small files in one request, all or none: names and texts.
    Batch(Vec<(String, String)>),
    /// Deletes files for good in one request, all or none.
    BatchDelete(Vec<String>),
    /// Lists a page of a folder as it was at an instant, when all of its files had so many bytes.
    ListAt(String, Page, PastFiles),
    /// Looks at a file as it was at an instant.
    StatAt(String, PastFiles),
    /// Reads a file as it was at an instant, and compares every byte.
    GetAt(String, Content, String),
    /// Lists the versions of a file; so many must come.
    Versions(String, u64),
    /// A page of the change feed behind a position; so many must come.
    Changes(String, u64),
    /// Uses a version of a file with this id again; the file has so many bytes then.
    Revert {
        /// The file.
        file: String,
        /// The version.
        version: String,
        /// Of the version.
        length: u64,
    },
    /// Replaces a file whose ETag is the one that is held.
    PutIf(String, Content),
    /// Locks a file; its token is held.
    Lock(String),
    /// Replaces a file whose lock is held.
    PutLocked(String, Content),
    /// Gives the lock that is held back.
    Unlock(String),
    /// Notes a tag at a file; the answer must show it.
    SetTag(String, String),
    /// Finds files by the exact value of their tag; it must be this one, alone.
    FindTag(String, String),
    /// Deletes a file into the recycle bin.
    Recycle(String),
    /// Takes what has this name out of the recycle bin, to its old place.
    Unrecycle(String),
    /// Gives a file or folder another name.
    Rename(String, String),
    /// Deletes a file for good.
    Delete(String),
    /// Copies a file.
    Copy(String, String),
}

/// A page of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Entries to pass over.
    pub offset: u64,
    /// Entries wanted; so many must come.
    pub limit: u64,
    /// The entries are files with numbers as names, each so much more than the one before it, the first one less than this.
    pub step: u64,
}

impl Page {
    /// The first and the last name that must come.
    fn ends(self) -> (String, String) {
        let file = |place: u64| file_of((place + 1) * self.step - 1);
        (file(self.offset), file(self.offset + self.limit.max(1) - 1))
    }
}

/// The name of the file with a number in a folder of many.
pub(crate) fn file_of(number: u64) -> String {
    format!("f{number:07}")
}

/// An instant and how many bytes files had then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PastFiles {
    /// Unix time in seconds, with a fraction.
    pub at: String,
    /// Bytes of each.
    pub length: u64,
}

/// What must stand in an answer.
#[derive(Debug)]
struct Expected {
    /// Once for each entry.
    marker: String,
    entries: u64,
    /// Names of the first and the last entry as they are shown.
    ends: Option<(String, String)>,
}

impl Expected {
    fn check(&self, answer: &str) -> Result<(), String> {
        let found = answer.matches(&self.marker).count();
        if u64::try_from(found) != Ok(self.entries) {
            return Err(format!("listed {found} entries of {} instead of {}", self.marker, self.entries));
        }
        // From both sides: each name is found at once where it is right.
        let (first, last) = self.ends.as_ref().map_or(("", ""), |(first, last)| (first, last));
        match (answer.find(first), answer.rfind(last)) {
            (Some(first), Some(last)) if first <= last => Ok(()),
            _other => Err(format!("did not list {first} to {last}")),
        }
    }
}

/// A header by which a request sends what is held, and what stands around it there.
#[derive(Clone, Copy, Debug)]
struct Sends {
    header: &'static str,
    before: &'static str,
    after: &'static str,
}

/// A request with what its answer must be.
#[derive(Debug)]
struct Call {
    request: Request<SendBody>,
    take: Take,
    expected: Option<Expected>,
    sends: Option<Sends>,
    /// The header of the answer that is held from then on.
    gives: Option<&'static str>,
}

impl Call {
    fn new(method: Method, path: &str) -> Result<Self, Fault> {
        let request = Request::builder().method(method).uri(path).body(SendBody::Empty);
        let request = request.map_err(|error| Fault::new(format!("{path} is no path of a request: {error}")))?;
        Ok(Self { request, take: Take::Keep, expected: None, sends: None, gives: None })
    }

    fn sending(mut self, content: Content) -> Self {
        *self.request.body_mut() = SendBody::Content(content.body());
        self
    }

    fn json(mut self, body: &serde_json::Value) -> Self {
        *self.request.body_mut() = SendBody::Full(Bytes::from(body.to_string()));
        self.header(CONTENT_TYPE.as_str(), "application/json")
    }

    fn text(mut self, body: String) -> Self {
        *self.request.body_mut() = SendBody::Full(body.into());
        self
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.request.headers_mut().insert(name, value);
        }
        self
    }

    fn reading(self, content: Content, range: Option<(u64, u64)>) -> Self {
        let (offset, length) = range.unwrap_or((0, content.length));
        let call = Self { take: Take::Check(Check::range(content, offset, length)), ..self };
        match range {
            Some((first, length)) => call.header(RANGE.as_str(), &format!("bytes={first}-{}", first + length - 1)),
            None => call,
        }
    }

    /// The marker must stand so often in the answer.
    fn expecting(self, marker: impl Into<String>, entries: u64) -> Self {
        Self { expected: Some(Expected { marker: marker.into(), entries, ends: None }), ..self }
    }

    /// And these names, in this order.
    fn between(mut self, first: String, last: String) -> Self {
        if let Some(expected) = &mut self.expected {
            expected.ends = Some((first, last));
        }
        self
    }

    fn giving(self, header: &'static str) -> Self {
        Self { gives: Some(header), ..self }
    }

    fn sending_held(self, header: &'static str, before: &'static str, after: &'static str) -> Self {
        Self { sends: Some(Sends { header, before, after }), ..self }
    }
}

/// How a server is spoken to.
#[derive(Debug)]
pub enum Protocol {
    /// REST and WebDAV of Skep, with a bearer token.
    Skep,
    /// The limit program.
    Limit,
    /// WebDAV below a path.
    WebDav {
        /// Path of the folder to work in, without a slash at the end.
        root: String,
    },
    /// S3, path style.
    S3(S3),
}

/// Who is asking.
#[derive(Debug)]
pub struct Speaker {
    protocol: Protocol,
    /// The `Authorization` header.
    authorization: RwLock<Option<HeaderValue>>,
}

impl Speaker {
    /// Speaks a protocol, without a login yet.
    pub fn new(protocol: Protocol) -> Self {
        Self { protocol, authorization: RwLock::new(None) }
    }

    /// The protocol.
    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// Sends this `Authorization` from now on.
    pub fn authorize(&self, value: &str) {
        *self.authorization.write().unwrap_or_else(PoisonError::into_inner) = HeaderValue::from_str(value).ok();
    }

    /// Adds the `Authorization` header, if there is one.
    pub fn add_authorization(&self, headers: &mut HeaderMap) {
        let authorization = self.authorization.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value);
        }
    }

    /// Whether the protocol knows such an operation; a peer that does not is not measured in the row.
    pub fn can(&self, operation: &Operation) -> bool {
        self.call(operation).is_ok_and(|call| call.is_some())
    }

    fn call(&self, operation: &Operation) -> Result<Option<Call>, Fault> {
        match &self.protocol {
            Protocol::Skep => skep::call(operation).map(Some),
            Protocol::Limit => limit::call(operation).map(Some),
            Protocol::WebDav { root } => webdav::call(root, operation),
            Protocol::S3(s3) => s3.call(operation),
        }
    }

    /// Carries out an operation and checks its answer; returns the bytes of content that went through.
    ///
    /// # Errors
    /// Anything but success with the right bytes.
    pub async fn perform(&self, connection: &mut Connection, operation: &Operation) -> Result<u64, Fault> {
        self.perform_holding(connection, operation, &mut String::new()).await
    }

    /// The same, for an operation that sends what an earlier answer gave, or gives something: an ETag, a lock's token.
    ///
    /// # Errors
    /// As [`Speaker::perform`].
    pub async fn perform_holding(&self, connection: &mut Connection, operation: &Operation, held: &mut String) -> Result<u64, Fault> {
        let call = self.call(operation)?.ok_or_else(|| Fault::new(format!("this protocol has no {operation:?}")))?;
        let Call { mut request, take, expected, sends, gives } = call;
        let called = format!("{} {}", request.method(), request.uri());
        if let Some(Sends { header, before, after }) = sends {
            let value = Some(&*held).filter(|held| !held.is_empty()).and_then(|held| format!("{before}{held}{after}").parse().ok());
            let value: HeaderValue =
                value.ok_or_else(|| Fault::new(format!("{called}: no earlier answer gave what goes into {header}")))?;
            request.headers_mut().insert(header, value);
        }
        match &self.protocol {
            Protocol::S3(s3) => s3.sign(&mut request, &connection.address().host)?,
            Protocol::Skep | Protocol::Limit | Protocol::WebDav { .. } => self.add_authorization(request.headers_mut()),
        }
        let answer = connection.request(request, take).await?;
        let at = |fault: Fault| fault.at(format!("{:?}", connection.address()));
        if !answer.status.is_success() {
            return Err(at(Fault::new(format!("{called} answered {}: {}", answer.status, answer.shown()))));
        }
        if let Some(expected) = expected {
            let checked = expected.check(&String::from_utf8_lossy(&answer.body));
            checked.map_err(|why| at(Fault::new(format!("{called} {why}"))))?;
        }
        if let Some(header) = gives {
            held.clear();
            held.push_str(answer.headers.get(header).and_then(|value| value.to_str().ok()).unwrap_or_default());
        }
        Ok(match operation {
            Operation::Put(_, content) | Operation::PutIf(_, content) | Operation::PutLocked(_, content) => content.length,
            Operation::Get(..) | Operation::GetAt(..) => answer.length,
            _no_content => 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Expected, Operation, Page, Protocol, Speaker};
    use crate::content::Content;

    #[test]
    fn peers_say_what_they_cannot() {
        let dav = Speaker::new(Protocol::WebDav { root: "/dav".into() });
        let content = Content { seed: 1, length: 5 };
        assert!(dav.can(&Operation::Put("a".into(), content)) && dav.can(&Operation::Rename("a".into(), "b".into())));
        assert!(!dav.can(&Operation::CreateFiles(vec!["a".into(), "b".into()])));
        assert!(Speaker::new(Protocol::Skep).can(&Operation::List("a".into(), Page { offset: 0, limit: 10, step: 1 })));
    }

    #[test]
    fn a_listing_is_compared_by_its_number_and_its_ends() {
        let ends = |offset, limit, step| Page { offset, limit, step }.ends();
        assert_eq!(ends(10, 5, 1), ("f0000010".to_owned(), "f0000014".to_owned()));
        assert_eq!(ends(0, 2, 2), ("f0000001".to_owned(), "f0000003".to_owned()));
        let expected = Expected { marker: "Uuid".into(), entries: 2, ends: Some(("/a".into(), "/b".into())) };
        assert_eq!(expected.check("Uuid /a Uuid /b"), Ok(()));
        assert!(expected.check("Uuid /a Uuid /b Uuid").unwrap_err().contains("3 entries"));
        assert!(expected.check("Uuid /b Uuid /a").is_err() && expected.check("Uuid /a Uuid /c").is_err());
    }
}
