//! How REST requests are read and answers are written: the wire rules that clients rely on.
//!
//! 64-bit numbers travel as strings; an error is always a `restError` in JSON, also where nothing matched.

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

use crate::app::{App, Caller};
use crate::error_code::{ErrorCode, Failure};
use crate::refusals::Refused;
use crate::request_context::RequestContext;
use crate::rest::body::read_whole;
use crate::rest::messages::RestError;

/// A REST request with its body read.
#[derive(Debug)]
pub(crate) struct RestRequest {
    pub(crate) app: App,
    pub(crate) context: RequestContext,
    pub(crate) headers: HeaderMap,
    body: Bytes,
}

impl FromRequest<App> for RestRequest {
    type Rejection = RestFailure;

    async fn from_request(request: Request, app: &App) -> Result<Self, RestFailure> {
        let (parts, body) = request.into_parts();
        let context = parts.extensions.get::<RequestContext>().cloned();
        let context = context.ok_or_else(|| Failure::new(ErrorCode::Internal, "the request has no context"))?;
        let body = read_whole(body, app.options().json_body_bytes).await?;
        let repeatable = context.repeatable.as_ref().map(|repeatable| repeatable.with(&body));
        let context = context.repeatable(repeatable);
        Ok(Self { app: app.clone(), context, headers: parts.headers, body })
    }
}

impl RestRequest {
    /// Who asks.
    pub(crate) async fn caller(&self) -> Result<Caller, Failure> {
        self.app.caller(&self.headers, &self.context).await
    }

    /// The body as a message; an empty body is an empty message. Fields that are not known are passed over, as clients newer than we send them.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        match Json::<T>::from_bytes(body) {
            Ok(Json(message)) => Ok(message),
            Err(rejection) => Err(Failure::new(ErrorCode::BadRequest, rejection.body_text())),
        }
    }
}

/// A failure as REST says it.
#[derive(Debug)]
pub(crate) struct RestFailure(pub(crate) Failure);

impl From<Failure> for RestFailure {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl IntoResponse for RestFailure {
    fn into_response(self) -> Response {
        let failure = self.0;
        log(&failure);
        let status = failure.code.rest_status();
        let mut response = (status, Json(RestError::of(&failure))).into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = failure.retry_after_seconds() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if failure.code == ErrorCode::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"Skep\""));
        }
        response.extensions_mut().insert(Refused(failure));
        response
    }
}

/// Logs a failure once, where it is answered.
pub(crate) fn log(failure: &Failure) {
    if failure.is_fault() {
        tracing::warn!(code = failure.code.name(), detail = %failure.detail, "a request failed");
    } else {
        tracing::debug!(code = failure.code.name(), detail = %failure.detail, "a request was refused");
    }
}

/// A message as an answer that nobody caches.
pub(crate) fn answer<T: Serialize>(message: T) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(message)).into_response()
}

/// A REST handler's result.
pub(crate) type RestResult = Result<Response, RestFailure>;

/// The context of a request whose body is not read.
pub(crate) type Context = Extension<RequestContext>;

/// Reads a number that clients send as a JSON number or, by proto3's JSON, as a string.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Sent {
        Number(i64),
        Text(String),
        Null(()),
    }
    match Sent::deserialize(deserializer).map_err(|_other| D::Error::custom("expected a whole number, or one in a string"))? {
        Sent::Number(number) => Ok(number),
        Sent::Text(text) => text.parse().map_err(|_not_one| D::Error::custom(format!("{text:?} is not a whole number"))),
        Sent::Null(()) => Ok(0),
    }
}

/// Seconds of a stamp or a time in microseconds.
pub(crate) fn seconds(micros: u64) -> u64 {
    micros / 1_000_000
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::number;

    #[derive(Debug, Deserialize)]
    struct Message {
        #[serde(rename = "Limit", default, deserialize_with = "number")]
        limit: i64,
    }

    fn read(text: &str) -> Result<i64, String> {
        serde_json::from_str::<Message>(text).map(|message| message.limit).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_come_as_numbers_or_strings() {
        assert_eq!(read(r#"{"Limit":100}"#), Ok(100));
        assert_eq!(read(r#"{"Limit":"100"}"#), Ok(100));
        assert_eq!(read(r#"{"Limit":null}"#), Ok(0));
        assert_eq!(read("{}"), Ok(0));
        assert!(read(r#"{"Limit":"ten"}"#).expect_err("refused").contains("ten"));
        assert!(read(r#"{"Limit":[1]}"#).is_err());
    }
}
