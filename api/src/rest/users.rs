//! `/a/user`: accounts; `/a/skep/grant`: rights on workspaces.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use http::HeaderMap;
use skep_raft::wire::meta::v1::{Permission, UserRecord};

use super::messages::{DoneResponse, GrantRequest, PutUserRequest, RestError, SearchUserRequest, UserMessage, UsersCollection};
use super::wire::{Context, RestRequest, RestResult, answer};
use crate::app::{App, Caller};
use crate::auth::rights::Account;
use crate::auth::secret::Secret;
use crate::error_code::{ErrorCode, Failure};
use crate::service::identity::{UserChange, UserRequest, by_login, record_id};

/// Attributes with the quota of each folder of the user's own.
const QUOTA_BYTES: &str = "skep:quota_bytes";
const QUOTA_ENTRIES: &str = "skep:quota_entries";

/// Looks at an account: one's own, or anybody's for administrators.
#[utoipa::path(
    get, path = "/a/user/{Login}", tag = "users", params(("Login" = String, Path, description = "its login")),
    responses((status = 200, body = UserMessage), (status = 404, body = RestError))
)]
pub(crate) async fn get(State(app): State<App>, context: Context, headers: HeaderMap, Path(login): Path<String>) -> RestResult {
    let caller = app.caller(&headers, &context).await?;
    let id = if login == caller.login() {
        caller.user()
    } else if caller.is_admin() {
        record_id(&by_login(caller.view(), &login)?.id)
    } else {
        return Err(Failure::not_found(&login).into());
    };
    let record = caller.service().account(caller.authorize(Account(id))?, caller.view())?;
    Ok(answer(user_message(&record)))
}

/// Lists users, for administrators.
#[utoipa::path(
    post, path = "/a/user", tag = "users", request_body = SearchUserRequest,
    responses((status = 200, body = UsersCollection), (status = 403, body = RestError))
)]
pub(crate) async fn list(State(_app): State<App>, request: RestRequest) -> RestResult {
    let message: SearchUserRequest = request.json()?;
    let caller = request.caller().await?;
    let mut users = Vec::new();
    let mut after = String::new();
    loop {
        let page = caller.service().users(caller.administer()?, caller.view(), &after)?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.login);
        let wanted =
            page.iter().filter(|user| message.queries.is_empty() || message.queries.iter().any(|query| matches(&query.login, &user.login)));
        users.extend(wanted.map(user_message));
    }
    let total = i32::try_from(users.len()).unwrap_or(i32::MAX);
    Ok(answer(UsersCollection { users, groups: Vec::new(), total }))
}

/// Makes or changes a user, for administrators; changes one's own password.
#[utoipa::path(
    put, path = "/a/user/{Login}", tag = "users", request_body = PutUserRequest,
    params(("Login" = String, Path, description = "its login")),
    responses((status = 200, body = UserMessage), (status = 403, body = RestError))
)]
pub(crate) async fn put(State(app): State<App>, Path(login): Path<String>, request: RestRequest) -> RestResult {
    let message: PutUserRequest = request.json()?;
    let caller = request.caller().await?;
    let exists = caller.view().user_by_login(&login).map_err(Failure::from)?.is_some();
    if login == caller.login() && !message.password.is_empty() {
        change_own_password(&caller, &message).await?;
    } else if exists {
        change(&caller, &login, &message).await?;
    } else {
        create(&caller, &login, &message).await?;
    }
    let view = app.service().metadata().system(caller.context().continued().deadline()).await.map_err(Failure::from)?;
    Ok(answer(user_message(&by_login(&view, &login)?)))
}

async fn change_own_password(caller: &Caller, message: &PutUserRequest) -> Result<(), Failure> {
    let (old, new) = (Secret::new(message.old_password.clone()), Secret::new(message.password.clone()));
    let authenticator = caller.app().authenticator();
    let secrets = (caller.asking(), old, new);
    caller.service().change_own_password(caller.own()?, authenticator, secrets, &caller.context().continued()).await
}

async fn change(caller: &Caller, login: &str, message: &PutUserRequest) -> Result<(), Failure> {
    let attributes = &message.attributes;
    let change = UserChange {
        admin: attributes.get("profile").map(|profile| profile == "admin"),
        disabled: attributes.get("locks").map(|locks| locks.contains("logout")),
        display_name: attributes.get("displayName").cloned(),
        email: attributes.get("email").cloned(),
        quota_bytes: quota(attributes, QUOTA_BYTES)?,
        quota_entries: quota(attributes, QUOTA_ENTRIES)?,
    };
    caller.service().change_user(caller.administer()?, caller.view(), (login, change), caller.context()).await?;
    if message.password.is_empty() {
        return Ok(());
    }
    let authenticator = caller.app().authenticator();
    let setting = (caller.view(), login, Secret::new(message.password.clone()));
    caller.service().reset_password(caller.administer()?, authenticator, setting, &caller.context().continued()).await
}

async fn create(caller: &Caller, login: &str, message: &PutUserRequest) -> Result<(), Failure> {
    let attribute = |name: &str| message.attributes.get(name).cloned().unwrap_or_default();
    let wanted = UserRequest {
        login: login.to_owned(),
        password: (!message.password.is_empty()).then(|| Secret::new(message.password.clone())),
        admin: attribute("profile") == "admin",
        display_name: attribute("displayName"),
        email: attribute("email"),
        quota_bytes: quota(&message.attributes, QUOTA_BYTES)?.unwrap_or(0),
        quota_entries: quota(&message.attributes, QUOTA_ENTRIES)?.unwrap_or(0),
    };
    let authenticator = caller.app().authenticator();
    caller.service().create_user(caller.administer()?, authenticator, wanted, caller.context()).await.map(|_id| ())
}

/// A quota among the attributes; empty: no limit.
fn quota(attributes: &BTreeMap<String, String>, name: &str) -> Result<Option<u64>, Failure> {
    match attributes.get(name).map(String::as_str) {
        None => Ok(None),
        Some("") => Ok(Some(0)),
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_no_number| Failure::new(ErrorCode::BadRequest, format!("Attributes.{name}: {text:?} is no whole number"))),
    }
}

/// Removes a user, for administrators.
#[utoipa::path(
    delete, path = "/a/user/{Login}", tag = "users", params(("Login" = String, Path, description = "its login")),
    responses((status = 200, body = DoneResponse), (status = 403, body = RestError))
)]
pub(crate) async fn delete(State(app): State<App>, context: Context, headers: HeaderMap, Path(login): Path<String>) -> RestResult {
    let caller = app.caller(&headers, &context).await?;
    caller.service().delete_user(caller.administer()?, caller.view(), &login, caller.context()).await?;
    Ok(answer(DoneResponse { success: true, message: format!("{login} is removed; the files stay") }))
}

/// Gives a user rights on a workspace, or takes them; for administrators.
#[utoipa::path(
    put, path = "/a/skep/grant", tag = "users", request_body = GrantRequest,
    responses((status = 200, body = DoneResponse), (status = 403, body = RestError))
)]
pub(crate) async fn grant(State(_app): State<App>, request: RestRequest) -> RestResult {
    let message: GrantRequest = request.json()?;
    let caller = request.caller().await?;
    let permission = match message.permission.as_str() {
        "" => None,
        "r" => Some(Permission::Read),
        "rw" => Some(Permission::ReadWrite),
        other => return Err(Failure::new(ErrorCode::BadRequest, format!("Permission: {other} is not r, rw or empty")).into()),
    };
    let wanted = (message.login.as_str(), message.workspace.as_str(), permission);
    caller.service().grant(caller.administer()?, caller.view(), wanted, caller.context()).await?;
    Ok(answer(DoneResponse { success: true, message: "the right is set".to_owned() }))
}

fn user_message(user: &UserRecord) -> UserMessage {
    let mut attributes: BTreeMap<String, String> = user.attributes.clone();
    attributes.insert("displayName".to_owned(), user.display_name.clone());
    attributes.insert("email".to_owned(), user.email.clone());
    attributes.insert("profile".to_owned(), if user.admin { "admin" } else { "standard" }.to_owned());
    if user.disabled {
        attributes.insert("locks".to_owned(), "[\"logout\"]".to_owned());
    }
    for (name, number) in [(QUOTA_BYTES, user.quota_bytes), (QUOTA_ENTRIES, user.quota_entries)] {
        if number != 0 {
            attributes.insert(name.to_owned(), number.to_string());
        }
    }
    UserMessage {
        uuid: record_id(&user.id).to_string(),
        login: user.login.clone(),
        group_path: "/".to_owned(),
        attributes,
        policies_context_editable: true,
    }
}

/// A login against a pattern with a star at its end.
fn matches(pattern: &str, login: &str) -> bool {
    pattern.is_empty() || pattern.strip_suffix('*').map_or(pattern == login, |start| login.starts_with(start))
}

#[cfg(test)]
mod tests {
    use skep_raft::wire::meta::v1::UserRecord;

    use super::{matches, user_message};

    #[test]
    fn a_password_is_never_shown() {
        let user = UserRecord { login: "alice".to_owned(), password_phc: "$argon2id$secret".to_owned(), ..UserRecord::default() };
        let json = serde_json::to_string(&user_message(&user)).expect("plain fields");
        assert!(!json.contains("argon2") && json.contains("alice"), "{json}");
    }

    #[test]
    fn a_star_stands_for_anything_at_the_end() {
        assert!(matches("*", "alice") && matches("al*", "alice") && matches("alice", "alice"));
        assert!(!matches("bob*", "alice") && !matches("ali", "alice"));
    }
}
