//! Users, their passwords, and their rights on workspaces.

use skep_placement::ids::{GroupId, RecordId};
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1::{
    DeleteUser, GrantRecord, IdentityCommand, Permission, PutGrant, PutUser, SetPassword, UserRecord, command, identity_command,
};

use super::user_path::check_name;
use super::{Service, id_bytes};
use crate::auth::authenticator::{Asking, Authenticator};
use crate::auth::rights::{Account, Action, Administer, Authorized, ChangeAccount, Cluster, ReadAccount, Subject};
use crate::auth::secret::Secret;
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::request_context::RequestContext;

/// A new user.
#[derive(Clone, Debug)]
pub struct UserRequest {
    /// Unique; also the name of the user's own folders.
    pub login: String,
    /// Its password; none: cannot sign in by one.
    pub password: Option<Secret>,
    /// An administrator.
    pub admin: bool,
    /// For people.
    pub display_name: String,
    /// For people.
    pub email: String,
    /// Logical bytes in each folder of the user's own; 0: no limit.
    pub quota_bytes: u64,
    /// Entries in each folder of the user's own; 0: no limit.
    pub quota_entries: u64,
}

/// Changes of a user that an administrator makes; none: stays.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// An administrator.
    pub admin: Option<bool>,
    /// Cannot sign in.
    pub disabled: Option<bool>,
    /// For people.
    pub display_name: Option<String>,
    /// For people.
    pub email: Option<String>,
    /// Logical bytes in each folder of the user's own; 0: no limit.
    pub quota_bytes: Option<u64>,
    /// Entries in each folder of the user's own; 0: no limit.
    pub quota_entries: Option<u64>,
}

impl Service {
    /// Looks at an account, one's own.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`].
    pub fn account(&self, proof: Authorized<ReadAccount, Account>, view: &SystemView) -> Result<UserRecord, Failure> {
        let id = proof.subject().0;
        view.user(id)?.ok_or_else(|| Failure::not_found(&id.to_string()))
    }

    /// Lists users in the order of logins, those after `after`.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for a damaged record.
    pub fn users(&self, _proof: Authorized<Administer, Cluster>, view: &SystemView, after: &str) -> Result<Vec<UserRecord>, Failure> {
        Ok(view.users(after, limits::USERS_LISTED)?)
    }

    /// Makes a user.
    ///
    /// # Errors
    /// [`ErrorCode::AlreadyExists`], [`ErrorCode::NameInvalid`], [`ErrorCode::BadRequest`] for a weak password; [`ErrorCode::Unknown`].
    pub async fn create_user(
        &self,
        proof: Authorized<Administer, Cluster>,
        authenticator: &Authenticator,
        request: UserRequest,
        context: &RequestContext,
    ) -> Result<RecordId, Failure> {
        check_login(&request.login)?;
        let password_phc = match request.password {
            Some(password) => authenticator.passwords().hash(password, self.random()).await?,
            None => String::new(),
        };
        let id = RecordId(self.draw_id());
        let user = UserRecord {
            id: id_bytes(id.0),
            login: request.login,
            password_phc,
            admin: request.admin,
            display_name: request.display_name,
            email: request.email,
            quota_bytes: request.quota_bytes,
            quota_entries: request.quota_entries,
            ..UserRecord::default()
        };
        let put = PutUser { user: Some(user), must_be_new: true };
        self.propose_identity(&proof, identity_command::What::PutUser(put), context).await?;
        Ok(id)
    }

    /// Changes a user.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`]; [`ErrorCode::Unknown`].
    pub async fn change_user(
        &self,
        proof: Authorized<Administer, Cluster>,
        view: &SystemView,
        (login, change): (&str, UserChange),
        context: &RequestContext,
    ) -> Result<(), Failure> {
        let mut user = by_login(view, login)?;
        user.admin = change.admin.unwrap_or(user.admin);
        user.disabled = change.disabled.unwrap_or(user.disabled);
        user.display_name = change.display_name.unwrap_or(user.display_name);
        user.email = change.email.unwrap_or(user.email);
        user.quota_bytes = change.quota_bytes.unwrap_or(user.quota_bytes);
        user.quota_entries = change.quota_entries.unwrap_or(user.quota_entries);
        let put = PutUser { user: Some(user), must_be_new: false };
        self.propose_identity(&proof, identity_command::What::PutUser(put), context).await
    }

    /// Removes a user with its grants and tokens; its files stay.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`]; [`ErrorCode::Unknown`].
    pub async fn delete_user(
        &self,
        proof: Authorized<Administer, Cluster>,
        view: &SystemView,
        login: &str,
        context: &RequestContext,
    ) -> Result<(), Failure> {
        let user = by_login(view, login)?;
        if user.id.as_ref() == proof.who().identity().user.0 {
            return Err(Failure::new(ErrorCode::Forbidden, "you cannot delete the account you are signed in with"));
        }
        let delete = DeleteUser { user: user.id };
        self.propose_identity(&proof, identity_command::What::DeleteUser(delete), context).await
    }

    /// Sets anybody's password; also the way back after a lost administrator's password.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::BadRequest`] for a weak password; [`ErrorCode::Unknown`].
    pub async fn reset_password(
        &self,
        proof: Authorized<Administer, Cluster>,
        authenticator: &Authenticator,
        (view, login, password): (&SystemView, &str, Secret),
        context: &RequestContext,
    ) -> Result<(), Failure> {
        let user = by_login(view, login)?;
        let password_phc = authenticator.passwords().hash(password, self.random()).await?;
        let set = SetPassword { user: user.id, password_phc };
        self.propose_identity(&proof, identity_command::What::SetPassword(set), context).await
    }

    /// Changes one's own password after checking the old one. Ends all sessions of the account.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`] for a wrong old password, [`ErrorCode::BadRequest`] for a weak new one; [`ErrorCode::Unknown`].
    pub async fn change_own_password(
        &self,
        proof: Authorized<ChangeAccount, Account>,
        authenticator: &Authenticator,
        (asking, old, new): (Asking<'_>, Secret, Secret),
        context: &RequestContext,
    ) -> Result<(), Failure> {
        let login = proof.who().identity().login.clone();
        authenticator.by_password(&login, &old, asking).await?;
        let password_phc = authenticator.passwords().hash(new, self.random()).await?;
        let set = SetPassword { user: id_bytes(proof.subject().0.0), password_phc };
        self.propose_identity(&proof, identity_command::What::SetPassword(set), context).await
    }

    /// Lists a user's grants.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`].
    pub fn grants(&self, _proof: Authorized<Administer, Cluster>, view: &SystemView, login: &str) -> Result<Vec<GrantRecord>, Failure> {
        let user = by_login(view, login)?;
        Ok(view.grants_of(record_id(&user.id))?)
    }

    /// Gives a user rights on a workspace, or takes them.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] for an unknown login or slug; [`ErrorCode::Unknown`].
    pub async fn grant(
        &self,
        proof: Authorized<Administer, Cluster>,
        view: &SystemView,
        (login, slug, permission): (&str, &str, Option<Permission>),
        context: &RequestContext,
    ) -> Result<(), Failure> {
        let user = by_login(view, login)?;
        let workspace =
            view.workspace_by_slug(slug)?.ok_or_else(|| Failure::new(ErrorCode::NotFound, format!("there is no workspace {slug}")))?;
        let put = PutGrant { user: user.id, workspace: workspace.id, permission: permission.unwrap_or(Permission::Unspecified).into() };
        self.propose_identity(&proof, identity_command::What::PutGrant(put), context).await
    }

    pub(crate) async fn propose_identity<A: Action, S: Subject>(
        &self,
        proof: &Authorized<A, S>,
        what: identity_command::What,
        context: &RequestContext,
    ) -> Result<(), Failure> {
        let what = command::What::Identity(IdentityCommand { what: Some(what) });
        self.propose(proof, GroupId::SYSTEM, what, context).await.map(|_done| ())
    }
}

pub(crate) fn by_login(view: &SystemView, login: &str) -> Result<UserRecord, Failure> {
    view.user_by_login(login)?.ok_or_else(|| Failure::new(ErrorCode::NotFound, format!("there is no user {login}")))
}

pub(crate) fn record_id(bytes: &[u8]) -> RecordId {
    RecordId::try_from(bytes).unwrap_or_default()
}

/// A login is a name of a path, and short enough for a header.
fn check_login(login: &str) -> Result<(), Failure> {
    check_name(login).map_err(|failure| failure.at("the login"))?;
    if login.contains(':') || login.chars().any(char::is_control) {
        return Err(Failure::new(ErrorCode::NameInvalid, "a login has no colon and no control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_login;

    #[test]
    fn logins_fit_paths_and_basic_credentials() {
        assert!(check_login("alice@example.org").is_ok());
        for bad in ["", "..", "a/b", "a:b", "a\nb"] {
            assert!(check_login(bad).is_err(), "{bad:?}");
        }
    }
}
