//! Any S3 server, path style, requests signed with version 4, bodies unsigned. Source: AWS, "Authenticating Requests (Signature Version 4)".

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, Request};
use ring::{digest, hmac};
use time::OffsetDateTime;
use time::macros::format_description;

use super::{Call, Operation};
use crate::fault::Fault;
use crate::http_client::SendBody;

const PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// A bucket and who may use it.
#[derive(Clone)]
pub struct S3 {
    /// Name of the bucket; it exists.
    pub bucket: String,
    /// Region, as the server expects it.
    pub region: String,
    /// Access key.
    pub access_key: String,
    /// Secret key.
    pub secret_key: String,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

impl S3 {
    /// `None` for what S3 has no request for: folders, renames, many files at once, pages by number.
    pub(super) fn call(&self, operation: &Operation) -> Result<Option<Call>, Fault> {
        let url = |name: &str| format!("/{}/{name}", self.bucket);
        let call = match operation {
            Operation::Put(name, content) => Call::new(Method::PUT, &url(name))?.sending(*content),
            Operation::Get(name, content, range) => Call::new(Method::GET, &url(name))?.reading(*content, *range),
            Operation::CreateFiles(names) => match names.as_slice() {
                [name] => Call::new(Method::PUT, &url(name))?,
                _many => return Ok(None),
            },
            Operation::Stat(name) => Call::new(Method::HEAD, &url(name))?,
            Operation::Delete(name) => Call::new(Method::DELETE, &url(name))?,
            Operation::Copy(from, to) => Call::new(Method::PUT, &url(to))?.header("x-amz-copy-source", &url(from)),
            Operation::CreateFolders(_)
            | Operation::List(..)
            | Operation::ListAt(..)
            | Operation::StatAt(..)
            | Operation::GetAt(..)
            | Operation::Revert { .. }
            | Operation::PutIf(..)
            | Operation::Lock(_)
            | Operation::PutLocked(..)
            | Operation::Unlock(_)
            | Operation::SetTag(..)
            | Operation::FindTag(..)
            | Operation::Recycle(_)
            | Operation::Unrecycle(_)
            | Operation::Batch(_)
            | Operation::BatchDelete(_)
            | Operation::Versions(..)
            | Operation::Changes(..)
            | Operation::Rename(..) => return Ok(None),
        };
        Ok(Some(call))
    }

    pub(super) fn sign(&self, request: &mut Request<SendBody>, host: &HeaderValue) -> Result<(), Fault> {
        self.sign_at(request, host, OffsetDateTime::now_utc())
    }

    fn sign_at(&self, request: &mut Request<SendBody>, host: &HeaderValue, now: OffsetDateTime) -> Result<(), Fault> {
        let bad = |error: &dyn std::fmt::Display| Fault::new(format!("the request cannot be signed: {error}"));
        let moment = now.format(format_description!("[year][month][day]T[hour][minute][second]Z")).map_err(|error| bad(&error))?;
        let day = moment.get(..8).unwrap_or_default().to_owned();
        let value = |text: &str| HeaderValue::from_str(text).map_err(|error| bad(&error));
        request.headers_mut().insert("x-amz-date", value(&moment)?);
        request.headers_mut().insert("x-amz-content-sha256", HeaderValue::from_static(PAYLOAD));
        let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let mut signed = vec![("host".to_owned(), host.to_str().unwrap_or_default().to_owned())];
        for name in ["x-amz-content-sha256", "x-amz-copy-source", "x-amz-date"] {
            if request.headers().contains_key(name) {
                signed.push((name.to_owned(), text(name)));
            }
        }
        let headers: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let names = signed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let canonical = format!("{}\n{}\n\n{headers}\n{names}\n{PAYLOAD}", request.method(), request.uri().path());
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let to_sign =
            format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{}", hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref()));
        let signature = hex(&chained(&self.secret_key, &[&day, &self.region, "s3", "aws4_request", &to_sign]));
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", self.access_key);
        request.headers_mut().insert(AUTHORIZATION, value(&authorization)?);
        Ok(())
    }
}

/// The keys of the signature, each made by the one before it; the last one of the text to sign is the signature.
fn chained(secret: &str, parts: &[&str]) -> Vec<u8> {
    let start = format!("AWS4{secret}").into_bytes();
    parts.iter().fold(start, |key, part| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{chained, hex};

    #[test]
    fn the_key_is_derived_as_published() {
        // "Deriving the signing key" in the AWS General Reference.
        let key = chained("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", &["20150830", "us-east-1", "iam", "aws4_request"]);
        assert_eq!(hex(&key), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }
}
