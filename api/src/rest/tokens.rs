//! `/a/auth/token…`: personal access tokens.

use std::time::Duration;

use axum::extract::{Path, State};
use http::HeaderMap;
use skep_placement::ids::RecordId;
use skep_raft::wire::meta::v1::TokenRecord;

use super::messages::{DoneResponse, PersonalTokenRequest, PersonalTokenResponse, RestError, TokenMessage, TokensRequest, TokensResponse};
use super::wire::{Context, RestRequest, RestResult, answer, seconds};
use crate::app::App;
use crate::error_code::{ErrorCode, Failure};
use crate::service::identity::{by_login, record_id};
use crate::service::sessions::TokenRequest;

/// Makes a personal access token; the answer shows it this once.
#[utoipa::path(
    post, path = "/a/auth/token/personal", tag = "tokens", request_body = PersonalTokenRequest,
    responses((status = 200, body = PersonalTokenResponse), (status = 401, body = RestError))
)]
pub(crate) async fn create(State(_app): State<App>, request: RestRequest) -> RestResult {
    let message: PersonalTokenRequest = request.json()?;
    let caller = request.caller().await?;
    let now = caller.app().authenticator().now_micros(caller.view())? / 1_000_000;
    let wanted = TokenRequest {
        label: message.label,
        lifetime: lifetime(message.expires_at, now)?,
        sliding: positive(message.auto_refresh, "AutoRefresh")?,
        scopes: message.scopes,
    };
    let own = message.user_login.is_empty() || message.user_login == caller.login();
    let token = if own {
        caller.service().create_token(caller.own()?, caller.view(), wanted, caller.context()).await?
    } else {
        let proof = caller.administer()?;
        let user = record_id(&by_login(caller.view(), &message.user_login)?.id);
        caller.service().create_token_for(proof, caller.view(), (user, wanted), caller.context()).await?
    };
    Ok(answer(PersonalTokenResponse { access_token: token.secret.expose().to_owned(), token_uuid: token.id.to_string() }))
}

/// Lists personal access tokens, without their secrets, which nobody has.
#[utoipa::path(
    post, path = "/a/auth/tokens", tag = "tokens", request_body = TokensRequest,
    responses((status = 200, body = TokensResponse))
)]
pub(crate) async fn list(State(_app): State<App>, request: RestRequest) -> RestResult {
    let message: TokensRequest = request.json()?;
    let caller = request.caller().await?;
    let own = message.by_user.is_empty() || message.by_user == caller.login();
    let (login, records) = if own {
        (caller.login().to_owned(), caller.service().tokens(caller.own()?, caller.view())?)
    } else {
        let proof = caller.administer()?;
        let user = by_login(caller.view(), &message.by_user)?;
        (user.login, caller.service().tokens_for(proof, caller.view(), record_id(&user.id))?)
    };
    Ok(answer(TokensResponse { tokens: records.iter().map(|record| token_message(record, &login)).collect() }))
}

/// Takes a token back.
#[utoipa::path(
    delete, path = "/a/auth/tokens/{TokenId}", tag = "tokens", params(("TokenId" = String, Path, description = "its UUID")),
    responses((status = 200, body = DoneResponse), (status = 404, body = RestError))
)]
pub(crate) async fn delete(State(app): State<App>, context: Context, headers: HeaderMap, Path(id): Path<String>) -> RestResult {
    let caller = app.caller(&headers, &context).await?;
    let token: RecordId = id.parse().map_err(|_no_uuid| Failure::new(ErrorCode::BadRequest, format!("TokenId: {id} is no UUID")))?;
    if caller.is_admin() {
        caller.service().delete_any_token(caller.administer()?, token, caller.context()).await?;
    } else {
        caller.service().delete_token(caller.own()?, token, caller.context()).await?;
    }
    Ok(answer(DoneResponse { success: true, message: "the token is taken back".to_owned() }))
}

fn token_message(record: &TokenRecord, login: &str) -> TokenMessage {
    TokenMessage {
        uuid: record_id(&record.id).to_string(),
        kind: "PERSONAL",
        label: record.label.clone(),
        user_uuid: record_id(&record.user).to_string(),
        user_login: login.to_owned(),
        scopes: record.scopes.clone(),
        auto_refresh_window: i32::try_from(record.auto_refresh_seconds).unwrap_or(i32::MAX),
        expires_at: seconds(record.expires_at).to_string(),
        created_at: seconds(record.created_at).to_string(),
    }
}

fn positive(sent: i64, field: &str) -> Result<Option<Duration>, Failure> {
    let sent = u64::try_from(sent).map_err(|_negative| Failure::new(ErrorCode::BadRequest, format!("{field}: it cannot be negative")))?;
    Ok((sent > 0).then(|| Duration::from_secs(sent)))
}

/// How long a token lives that ends at a time in seconds; 0: for ever.
fn lifetime(expires_at: i64, now: u64) -> Result<Option<Duration>, Failure> {
    let Some(ends) = positive(expires_at, "ExpiresAt")? else { return Ok(None) };
    let left = ends.checked_sub(Duration::from_secs(now)).filter(|left| !left.is_zero());
    left.map(Some).ok_or_else(|| Failure::new(ErrorCode::BadRequest, "ExpiresAt: this time is past"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::lifetime;

    #[test]
    fn lifetimes_are_what_is_left() {
        assert_eq!(lifetime(0, 100), Ok(None));
        assert_eq!(lifetime(160, 100), Ok(Some(Duration::from_secs(60))));
        assert!(lifetime(100, 100).is_err());
        assert!(lifetime(-1, 100).expect_err("refused").detail.starts_with("ExpiresAt"));
    }
}
