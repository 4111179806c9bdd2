//! `POST /a/frontend/session`: sign in by login and password, sign out.

use axum::extract::State;

use super::messages::{AuthToken, RestError, SessionRequest, SessionResponse};
use super::wire::{RestRequest, RestResult, answer, seconds};
use crate::app::App;
use crate::auth::secret::Secret;
use crate::error_code::{ErrorCode, Failure};
use crate::limits;

/// Opens or ends a session. The token in `JWT` is opaque; it is sent as `Authorization: Bearer`.
#[utoipa::path(
    post, path = "/a/frontend/session", tag = "session", request_body = SessionRequest,
    responses((status = 200, body = SessionResponse), (status = 401, body = RestError))
)]
pub(crate) async fn session(State(app): State<App>, request: RestRequest) -> RestResult {
    let message: SessionRequest = request.json()?;
    if message.logout {
        let caller = request.caller().await?;
        caller.service().close_session(caller.own()?, caller.view(), caller.context()).await?;
        return Ok(answer(SessionResponse::default()));
    }
    let info = |key: &str| message.auth_info.get(key).cloned().unwrap_or_default();
    let kind = info("type");
    if kind != "credentials" {
        let why = format!("AuthInfo.type: {kind} is not served here; use credentials");
        return Err(Failure::new(ErrorCode::Unsupported, why).into());
    }
    if !info("challenge").is_empty() {
        return Err(Failure::new(ErrorCode::Unsupported, "AuthInfo.challenge: this server has no login page of another client").into());
    }
    let (login, password) = (info("login"), Secret::new(info("password")));
    if login.is_empty() || login.len() > limits::NAME_BYTES || password.expose().len() > limits::PASSWORD_BYTES {
        return Err(Failure::new(ErrorCode::Unauthorized, "AuthInfo: a login and a password are needed").into());
    }
    let caller = app.caller_by_password(&login, &password, &request.context).await?;
    let token = caller.service().open_session(caller.own()?, limits::SESSION_LIFETIME, caller.context()).await?;
    let ends = seconds(token.expires_at.map_or(0, |stamp| stamp.0));
    let access_token = token.secret.expose().to_owned();
    Ok(answer(SessionResponse {
        jwt: access_token.clone(),
        expire_time: i32::try_from(ends).unwrap_or(i32::MAX),
        token: Some(AuthToken { access_token, expires_at: ends.to_string() }),
    }))
}
