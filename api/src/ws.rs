//! The event socket: `/ws/event` of Cells, which tells a client what changes in every workspace that it may read.
//!
//! A client says first who it is, by a token in a message; later it may do so again with a fresh one, or fall silent by `unsubscribe`. The socket has no
//! positions: whoever must not miss anything follows `/a/changes`. Source: RFC 6455.

use axum::Router;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{WebSocketUpgrade, close_code};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use crate::app::App;
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::rest::wire::{Context, RestFailure};

mod following;
mod socket;

use socket::Socket;

pub(crate) fn routes() -> Router<App> {
    // Some documents of Cells write the plural.
    Router::new().route("/ws/event", any(event)).route("/ws/events", any(event))
}

async fn event(
    State(app): State<App>,
    context: Context,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, RestFailure> {
    let upgrade = upgrade.map_err(|rejection| {
        Failure::new(ErrorCode::BadRequest, format!("this address speaks WebSocket by HTTP/1.1 only: {}", rejection.body_text()))
    })?;
    let permit = app.open_feed()?;
    let upgrade = upgrade.max_message_size(limits::SOCKET_MESSAGE_BYTES).max_frame_size(limits::SOCKET_MESSAGE_BYTES);
    Ok(upgrade
        .on_upgrade(move |socket| async move {
            Socket::new(app, context.0, socket).run().await;
            drop(permit);
        })
        .into_response())
}

/// Why a socket ends, as the protocol says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client has gone, or is not heard any more.
    Gone,
    /// The node stops.
    Stopping,
    /// What the client sent, or who it is, is refused.
    Refused,
}

impl End {
    fn code(self) -> u16 {
        match self {
            Self::Gone => close_code::NORMAL,
            Self::Stopping => close_code::AWAY,
            Self::Refused => close_code::POLICY,
        }
    }
}
