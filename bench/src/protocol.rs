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
    /// Lists a page of a folder as it was at an instant.
    ListAt(String, Page, String),
    /// Lists the versions of a file; so many must come.
    Versions(String, u64),
    /// A page of the change feed behind a position; so many must come.
    Changes(String, u64),
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
}

/// A request with what its answer must be.
#[derive(Debug)]
struct Call {
    request: Request<SendBody>,
    take: Take,
    /// Stands in the answer once for each entry, and how many there must be.
    entries: Option<(&'static str, u64)>,
}

impl Call {
    fn new(method: Method, path: &str) -> Result<Self, Fault> {
        let request = Request::builder().method(method).uri(path).body(SendBody::Empty);
        let request = request.map_err(|error| Fault::new(format!("{path} is no path of a request: {error}")))?;
        Ok(Self { request, take: Take::Keep, entries: None })
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

    fn listing(self, marker: &'static str, page: Page) -> Self {
        Self { entries: Some((marker, page.limit)), ..self }
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
        let call = self.call(operation)?.ok_or_else(|| Fault::new(format!("this protocol has no {operation:?}")))?;
        let Call { mut request, take, entries } = call;
        match &self.protocol {
            Protocol::S3(s3) => s3.sign(&mut request, &connection.address().host)?,
            Protocol::Skep | Protocol::Limit | Protocol::WebDav { .. } => self.add_authorization(request.headers_mut()),
        }
        let called = format!("{} {}", request.method(), request.uri());
        let answer = connection.request(request, take).await?;
        let at = |fault: Fault| fault.at(format!("{:?}", connection.address()));
        if !answer.status.is_success() {
            return Err(at(Fault::new(format!("{called} answered {}: {}", answer.status, answer.shown()))));
        }
        if let Some((marker, wanted)) = entries {
            let found = String::from_utf8_lossy(&answer.body).matches(marker).count();
            if u64::try_from(found) != Ok(wanted) {
                return Err(at(Fault::new(format!("{called} listed {found} entries instead of {wanted}"))));
            }
        }
        Ok(match operation {
            Operation::Put(_, content) => content.length,
            Operation::Get(..) => answer.length,
            _no_content => 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Operation, Page, Protocol, Speaker};
    use crate::content::Content;

    #[test]
    fn peers_say_what_they_cannot() {
        let dav = Speaker::new(Protocol::WebDav { root: "/dav".into() });
        let content = Content { seed: 1, length: 5 };
        assert!(dav.can(&Operation::Put("a".into(), content)) && dav.can(&Operation::Rename("a".into(), "b".into())));
        assert!(!dav.can(&Operation::CreateFiles(vec!["a".into(), "b".into()])));
        assert!(Speaker::new(Protocol::Skep).can(&Operation::List("a".into(), Page { offset: 0, limit: 10 })));
    }
}
