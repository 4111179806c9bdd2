//! A WebDAV and REST client as people have them: HTTP and a password.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, StatusCode};

/// What became of a request that changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered with success.
    Acknowledged,
    /// Answered with a refusal that promises no effect.
    Refused(StatusCode, String),
    /// No answer, or one that says unknown: it may have taken effect.
    Unknown(String),
}

/// A client of one node.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    login: String,
    password: String,
}

impl Client {
    /// A client that signs in by password.
    ///
    /// # Panics
    /// If no client can be made on this machine.
    pub fn new(base: &str, login: &str, password: &str) -> Self {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(120))
            .connect_timeout(Duration::from_secs(2))
            .build()
            .expect("a client without TLS needs nothing of the machine");
        Self { http, base: base.to_owned(), login: login.to_owned(), password: password.to_owned() }
    }

    /// The same node for somebody else.
    #[must_use]
    pub fn signed_in_as(&self, login: &str, password: &str) -> Self {
        Self { login: login.to_owned(), password: password.to_owned(), ..self.clone() }
    }

    /// Where it sends requests.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request with the password.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).basic_auth(&self.login, Some(&self.password))
    }

    /// A request by nobody.
    pub fn anonymous(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// Stores a file at a WebDAV path (`/common-files/…`).
    pub async fn put(&self, path: &str, bytes: Bytes) -> Outcome {
        outcome(self.request(Method::PUT, &format!("/dav{path}")).body(bytes).send().await).await
    }

    /// Makes a folder.
    pub async fn make_folder(&self, path: &str) -> Outcome {
        let method = Method::from_bytes(b"MKCOL").expect("a method");
        outcome(self.request(method, &format!("/dav{path}")).send().await).await
    }

    /// Deletes a file or folder.
    pub async fn delete(&self, path: &str) -> Outcome {
        outcome(self.request(Method::DELETE, &format!("/dav{path}")).send().await).await
    }

    /// Reads a file whole; `None` if it is not there.
    ///
    /// # Errors
    /// A sentence for anything that is neither the file nor a clear absence.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, String> {
        let answer = self.request(Method::GET, &format!("/dav{path}")).send().await.map_err(|error| format!("{error:?}"))?;
        match answer.status() {
            StatusCode::OK => answer.bytes().await.map(Some).map_err(|error| format!("{error:?}")),
            StatusCode::NOT_FOUND => Ok(None),
            other => Err(format!("{other}: {}", answer.text().await.unwrap_or_default())),
        }
    }

    /// A range of a file.
    ///
    /// # Errors
    /// A sentence for anything but 206.
    pub async fn get_range(&self, path: &str, first: u64, last: u64) -> Result<Bytes, String> {
        let request = self.request(Method::GET, &format!("/dav{path}")).header("Range", format!("bytes={first}-{last}"));
        let answer = request.send().await.map_err(|error| error.to_string())?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => answer.bytes().await.map_err(|error| error.to_string()),
            other => Err(format!("{other}: {}", answer.text().await.unwrap_or_default())),
        }
    }

    /// An access token for REST calls.
    ///
    /// # Errors
    /// A sentence if the sign-in is refused.
    pub async fn token(&self) -> Result<String, String> {
        let info = serde_json::json!({"AuthInfo": {"type": "credentials", "login": self.login, "password": self.password}});
        let answer = self.http.post(format!("{}/a/frontend/session", self.base)).json(&info).send().await;
        let answer: serde_json::Value = answer.map_err(|e| e.to_string())?.json().await.map_err(|e| e.to_string())?;
        answer["JWT"].as_str().map(str::to_owned).ok_or_else(|| format!("no JWT in {answer}"))
    }

    /// A REST call; the status and the body.
    ///
    /// # Errors
    /// A sentence if there is no answer or no JSON.
    pub async fn rest(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> Result<(StatusCode, serde_json::Value), String> {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        if text.is_empty() {
            return Ok((status, serde_json::Value::Null));
        }
        serde_json::from_str(&text).map(|json| (status, json)).map_err(|error| format!("{status}: {error}: {text}"))
    }

    /// A page without signing in.
    ///
    /// # Errors
    /// A sentence if there is no answer.
    pub async fn open(&self, path: &str) -> Result<(StatusCode, String), String> {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        Ok((status, answer.text().await.map_err(|error| error.to_string())?))
    }

    /// `/metrics`, in Prometheus' text format.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn metrics(&self) -> Result<String, String> {
        Ok(self.open("/metrics").await?.1)
    }

    /// The value of a counter in `/metrics`, all labels added up.
    ///
    /// # Errors
    /// A sentence if there is no answer.
    pub async fn counter(&self, name: &str) -> Result<u64, String> {
        self.counter_of(name, "").await
    }

    /// The value of a counter in `/metrics` where a label has a value (`name="value"`).
    ///
    /// # Errors
    /// A sentence if there is no answer.
    pub async fn counter_of(&self, name: &str, label: &str) -> Result<u64, String> {
        let text = self.metrics().await?;
        let values = text.lines().filter(|line| line.starts_with(name) && line[name.len()..].starts_with([' ', '{']));
        let values = values.filter(|line| line.contains(label));
        Ok(values.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
    }
}

async fn outcome(answer: Result<reqwest::Response, reqwest::Error>) -> Outcome {
    match answer {
        Err(error) => Outcome::Unknown(format!("{error:?}")),
        Ok(answer) if answer.status().is_success() => Outcome::Acknowledged,
        Ok(answer) => {
            let status = answer.status();
            let text = answer.text().await.unwrap_or_default();
            match status {
                StatusCode::GATEWAY_TIMEOUT | StatusCode::INTERNAL_SERVER_ERROR => Outcome::Unknown(format!("{status}: {text}")),
                _refused => Outcome::Refused(status, text),
            }
        }
    }
}
