//! Users and their personal access tokens. The use cases decide; a lost administrator's password comes back this way.

use std::time::Duration;

use skep_api::auth::secret::Secret;
use skep_api::service::identity::{UserChange, UserRequest};
use skep_api::service::sessions::TokenRequest;
use skep_placement::ids::RecordId;
use tonic::Status;

use super::wire::{
    AccessToken, ChangeUserReply, ChangeUserRequest, CreateTokenReply, CreateTokenRequest, CreateUserReply, CreateUserRequest,
    DeleteTokenReply, DeleteTokenRequest, DeleteUserReply, DeleteUserRequest, ListTokensReply, ListTokensRequest, ListUsersReply,
    ListUsersRequest, SetPasswordReply, SetPasswordRequest, User,
};
use super::{AdminParts, Call, status};

impl AdminParts {
    pub(super) async fn list_users(&self, call: Call, request: ListUsersRequest) -> Result<ListUsersReply, Status> {
        let users = self.app.service().users(call.proof()?, &call.view, &request.after).map_err(status)?;
        let users = users.into_iter().map(|user| User {
            id: shown(&user.id),
            login: user.login,
            display_name: user.display_name,
            email: user.email,
            admin: user.admin,
            disabled: user.disabled,
            has_password: !user.password_phc.is_empty(),
            created_at: user.created_at,
            quota_bytes: user.quota_bytes,
            quota_entries: user.quota_entries,
        });
        Ok(ListUsersReply { users: users.collect() })
    }

    pub(super) async fn create_user(&self, call: Call, request: CreateUserRequest) -> Result<CreateUserReply, Status> {
        let wanted = UserRequest {
            login: request.login,
            password: (!request.password.is_empty()).then(|| Secret::new(request.password)),
            admin: request.admin,
            display_name: request.display_name,
            email: request.email,
            quota_bytes: 0,
            quota_entries: 0,
        };
        let app = &self.app;
        let made = app.service().create_user(call.proof()?, app.authenticator(), wanted, &call.context).await;
        Ok(CreateUserReply { id: made.map_err(status)?.to_string() })
    }

    pub(super) async fn change_user(&self, call: Call, request: ChangeUserRequest) -> Result<ChangeUserReply, Status> {
        let change = UserChange {
            admin: request.admin,
            disabled: request.disabled,
            display_name: request.display_name,
            email: request.email,
            quota_bytes: request.quota_bytes,
            quota_entries: request.quota_entries,
        };
        let service = self.app.service();
        let changed = service.change_user(call.proof()?, &call.view, (&request.login, change), &call.context).await;
        changed.map(|()| ChangeUserReply {}).map_err(status)
    }

    pub(super) async fn delete_user(&self, call: Call, request: DeleteUserRequest) -> Result<DeleteUserReply, Status> {
        let deleted = self.app.service().delete_user(call.proof()?, &call.view, &request.login, &call.context).await;
        deleted.map(|()| DeleteUserReply {}).map_err(status)
    }

    pub(super) async fn set_password(&self, call: Call, request: SetPasswordRequest) -> Result<SetPasswordReply, Status> {
        let app = &self.app;
        let wanted = (&call.view, request.login.as_str(), Secret::new(request.password));
        let set = app.service().reset_password(call.proof()?, app.authenticator(), wanted, &call.context).await;
        set.map(|()| SetPasswordReply {}).map_err(status)
    }

    pub(super) async fn list_tokens(&self, call: Call, request: ListTokensRequest) -> Result<ListTokensReply, Status> {
        let user = user_id(&call, &request.login)?;
        let tokens = self.app.service().tokens_for(call.proof()?, &call.view, user).map_err(status)?;
        let tokens = tokens.into_iter().map(|token| AccessToken {
            id: shown(&token.id),
            label: token.label,
            created_at: token.created_at,
            expires_at: token.expires_at,
            scopes: token.scopes,
        });
        Ok(ListTokensReply { tokens: tokens.collect() })
    }

    pub(super) async fn create_token(&self, call: Call, request: CreateTokenRequest) -> Result<CreateTokenReply, Status> {
        let user = user_id(&call, &request.login)?;
        let wanted = TokenRequest {
            label: request.label,
            lifetime: (request.lifetime_seconds > 0).then(|| Duration::from_secs(request.lifetime_seconds)),
            scopes: request.scopes,
            ..TokenRequest::default()
        };
        let made = self.app.service().create_token_for(call.proof()?, &call.view, (user, wanted), &call.context).await;
        let made = made.map_err(status)?;
        let expires_at = made.expires_at.map_or(0, |stamp| stamp.0);
        Ok(CreateTokenReply { id: made.id.to_string(), secret: made.secret.expose().to_owned(), expires_at })
    }

    pub(super) async fn delete_token(&self, call: Call, request: DeleteTokenRequest) -> Result<DeleteTokenReply, Status> {
        let token: RecordId =
            request.id.parse().map_err(|_no_id| Status::invalid_argument(format!("`{}` is no id of a token", request.id)))?;
        let deleted = self.app.service().delete_any_token(call.proof()?, token, &call.context).await;
        deleted.map(|()| DeleteTokenReply {}).map_err(status)
    }
}

fn user_id(call: &Call, login: &str) -> Result<RecordId, Status> {
    let user = call.view.user_by_login(login).map_err(|error| status(error.into()))?;
    let user = user.ok_or_else(|| Status::not_found(format!("there is no user {login}")))?;
    RecordId::try_from(user.id.as_ref()).map_err(|_no_id| Status::internal("a user's record has no id"))
}

/// An id as a UUID.
pub(super) fn shown(id: &[u8]) -> String {
    RecordId::try_from(id).map_or_else(|_no_id| String::new(), |id| id.to_string())
}
