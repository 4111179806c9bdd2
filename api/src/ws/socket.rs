//! One open event socket: what the client says, what it is told, and how it ends.
//!
//! Invariant: nothing is told before the client has said who it is, and nothing more than a minute after its right has ended.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::End;
use super::following::{Following, Heard};
use crate::app::App;
use crate::auth::credentials::Credentials;
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::request_context::RequestContext;
use crate::rest::wire::log;

/// What a client sends.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sent {
    #[serde(rename = "@type")]
    kind: String,
    jwt: String,
}

pub(super) struct Socket {
    app: App,
    context: RequestContext,
    socket: WebSocket,
    following: Option<Following>,
    /// When the client must have said who it is.
    subscribe_by: Instant,
    heard_at: Instant,
}

/// What happens next.
enum Next {
    Sent(Option<Result<Message, axum::Error>>),
    Told(Heard),
    Tick,
    Stopping,
}

impl Socket {
    pub(super) fn new(app: App, context: RequestContext, socket: WebSocket) -> Self {
        let now = Instant::now();
        Self { app, context, socket, following: None, subscribe_by: now + limits::SOCKET_SUBSCRIBE_WAIT, heard_at: now }
    }

    /// Serves the client until either end has enough.
    pub(super) async fn run(mut self) {
        let end = match self.serve().await {
            Ok(end) => end,
            Err(failure) => {
                log(&failure);
                self.app.refusals().note(&failure, &self.context, "GET /ws/event".to_owned());
                let error = serde_json::json!({"@type": "error", "error": failure.to_string()});
                self.send(Message::Text(error.to_string().into())).await;
                End::Refused
            }
        };
        let frame = CloseFrame { code: end.code(), reason: "".into() };
        self.send(Message::Close(Some(frame))).await;
    }

    async fn serve(&mut self) -> Result<End, Failure> {
        let draining = self.app.draining().clone();
        let mut tick = interval(limits::FEED_SIGN_OF_LIFE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = tokio::select! {
                sent = self.socket.recv() => Next::Sent(sent),
                told = heard(&mut self.following) => Next::Told(told),
                _time = tick.tick() => Next::Tick,
                () = draining.cancelled() => Next::Stopping,
            };
            let goes_on = match next {
                Next::Stopping => return Ok(End::Stopping),
                Next::Sent(None | Some(Ok(Message::Close(_)))) => return Ok(End::Gone),
                Next::Sent(Some(Err(error))) => {
                    return Err(Failure::new(ErrorCode::BadRequest, format!("a message of this socket is not understood: {error}")));
                }
                Next::Sent(Some(Ok(message))) => {
                    self.heard_at = Instant::now();
                    self.take(message).await?;
                    true
                }
                Next::Told(Heard::Event(text)) => self.send(Message::Text(text.into())).await,
                Next::Told(Heard::Ended(failure)) => return Err(failure),
                Next::Tick => self.sign_of_life().await?,
            };
            if !goes_on {
                return Ok(End::Gone);
            }
        }
    }

    async fn take(&mut self, message: Message) -> Result<(), Failure> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return Err(Failure::new(ErrorCode::BadRequest, "messages of this socket are JSON texts")),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return Ok(()),
        };
        let sent: Sent = serde_json::from_str(text.as_str())
            .map_err(|error| Failure::new(ErrorCode::BadRequest, format!("a message of this socket is a JSON object: {error}")))?;
        match sent.kind.as_str() {
            "subscribe" => {
                let credentials = Credentials::bearer(&sent.jwt)
                    .ok_or_else(|| Failure::new(ErrorCode::Unauthorized, "subscribe: send an access token as jwt"))?;
                let caller = self.app.caller_by(&credentials, &self.context.continued()).await?;
                self.following = Some(Following::begin(caller).await?);
                Ok(())
            }
            "unsubscribe" => {
                self.following = None;
                self.subscribe_by = Instant::now() + limits::SOCKET_SILENCE;
                Ok(())
            }
            other => {
                let why = format!("@type {other:?} is not known here; send subscribe with a jwt, or unsubscribe");
                Err(Failure::new(ErrorCode::BadRequest, why))
            }
        }
    }

    /// Pings, and looks whether the client is still there, has said who it is, and may still be told. Whether it goes on.
    async fn sign_of_life(&mut self) -> Result<bool, Failure> {
        if let Some(following) = &mut self.following {
            following.look_again().await?;
        } else if Instant::now() > self.subscribe_by {
            return Err(Failure::new(ErrorCode::BodyTooSlow, "subscribe: no token came in time"));
        }
        let is_heard = self.heard_at.elapsed() < limits::SOCKET_SILENCE;
        Ok(is_heard && self.send(Message::Ping(bytes::Bytes::new())).await)
    }

    /// Sends; a client that does not read is gone. Whether it was sent.
    async fn send(&mut self, message: Message) -> bool {
        const SEND_WAIT: Duration = limits::SOCKET_SEND_WAIT;
        matches!(timeout(SEND_WAIT, self.socket.send(message)).await, Ok(Ok(())))
    }
}

/// What the followers say next; nothing while nobody is followed.
async fn heard(following: &mut Option<Following>) -> Heard {
    match following {
        Some(following) => following.heard().await,
        None => std::future::pending().await,
    }
}
