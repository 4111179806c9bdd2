//! Users: who they are, how they sign in, whether they administer.
//!
//! Invariants: logins are unique; one enabled administrator always stays; the revision grows with the password, the administrator flag and
//! the state, so that what was made under an older one no longer counts.

use bytes::Bytes;
use skep_placement::ids::RecordId;

use super::{cluster, grant, token};
use crate::keys::{Counter, CounterKey, NameRest, UserByLoginKey, UserKey};
use crate::state::limits;
use crate::state::rejection::{Stop, id, invalid, refuse, required, text};
use crate::state::transaction::Transaction;
use crate::wire::meta::v1::{DeleteUser, Done, PutUser, RejectionCode, SetPassword, UserRecord};

/// Most attributes of a user.
const ATTRIBUTES_MAX: usize = 256;

/// Makes or changes a user.
pub(super) fn put(transaction: &mut Transaction<'_>, command: &PutUser) -> Result<Done, Stop> {
    cluster::require(transaction)?;
    let given = required(command.user.as_ref(), "user")?;
    let key = UserKey { user: id(&given.id, "user id")? };
    let Some(was) = transaction.get(&key)? else {
        add(transaction, given.clone())?;
        return Ok(Done { created: true, ..Done::default() });
    };
    if command.must_be_new {
        return Err(refuse(RejectionCode::AlreadyExists, format!("there is a user with the id {} already", key.user)));
    }
    let stronger = was.admin != given.admin || was.disabled != given.disabled;
    let user = UserRecord {
        password_phc: was.password_phc.clone(),
        revision: was.revision + u64::from(stronger),
        created_at: was.created_at,
        ..given.clone()
    };
    check(transaction, &user, key.user)?;
    if user.login != was.login {
        transaction.delete(&UserByLoginKey { login: NameRest(was.login.clone()) });
    }
    count_administrators(transaction, Some(&was), Some(&user))?;
    write(transaction, &user, key.user);
    Ok(Done::default())
}

/// Makes a user with the first revision.
pub(super) fn add(transaction: &mut Transaction<'_>, given: UserRecord) -> Result<(), Stop> {
    let user_id = id(&given.id, "user id")?;
    let user = UserRecord { revision: 1, created_at: transaction.stamp(), ..given };
    check(transaction, &user, user_id)?;
    count_administrators(transaction, None, Some(&user))?;
    write(transaction, &user, user_id);
    Ok(())
}

fn check(transaction: &Transaction<'_>, user: &UserRecord, user_id: RecordId) -> Result<(), Stop> {
    if user.login.is_empty() || user.login.chars().any(|character| character.is_control() || character == '/') {
        return Err(refuse(RejectionCode::NameInvalid, format!("{:?} cannot be a login", user.login)));
    }
    text(&user.login, "login", limits::NAME_BYTES_MAX)?;
    if matches!(user.login.as_str(), "." | "..") {
        return Err(refuse(RejectionCode::NameInvalid, "a login names a folder; this one cannot"));
    }
    text(&user.display_name, "display name", limits::TEXT_BYTES_MAX)?;
    text(&user.email, "e-mail address", limits::TEXT_BYTES_MAX)?;
    text(&user.password_phc, "password hash", limits::TEXT_BYTES_MAX)?;
    if user.attributes.len() > ATTRIBUTES_MAX {
        return Err(invalid(format!("a user has at most {ATTRIBUTES_MAX} attributes")));
    }
    for (name, value) in &user.attributes {
        text(name, "name of an attribute", limits::NAME_BYTES_MAX)?;
        text(value, "attribute", limits::TEXT_BYTES_MAX)?;
    }
    match transaction.get(&UserByLoginKey { login: NameRest(user.login.clone()) })? {
        Some(owner) if owner.as_ref() != user_id.0.as_slice() => {
            Err(refuse(RejectionCode::AlreadyExists, format!("there is a user {:?} already", user.login)))
        }
        Some(_) | None => Ok(()),
    }
}

fn write(transaction: &mut Transaction<'_>, user: &UserRecord, user_id: RecordId) {
    transaction.put(&UserByLoginKey { login: NameRest(user.login.clone()) }, &Bytes::copy_from_slice(&user_id.0));
    transaction.put(&UserKey { user: user_id }, user);
}

fn count_administrators(transaction: &mut Transaction<'_>, was: Option<&UserRecord>, is: Option<&UserRecord>) -> Result<(), Stop> {
    let counts = |user: Option<&UserRecord>| u64::from(user.is_some_and(|user| user.admin && !user.disabled));
    let (before, after) = (counts(was), counts(is));
    if before == after {
        return Ok(());
    }
    let key = CounterKey { which: Counter::Administrators };
    let administrators = (transaction.get(&key)?.unwrap_or(0) + after).saturating_sub(before);
    if administrators == 0 {
        return Err(refuse(RejectionCode::Forbidden, "nobody would be left to administer the cluster"));
    }
    transaction.put(&key, &administrators);
    Ok(())
}

/// Deletes a user with grants and tokens.
pub(super) fn delete(transaction: &mut Transaction<'_>, command: &DeleteUser) -> Result<Done, Stop> {
    let (key, user) = existing(transaction, &command.user)?;
    count_administrators(transaction, Some(&user), None)?;
    grant::delete_of_user(transaction, key.user)?;
    token::delete_of_user(transaction, key.user)?;
    transaction.delete(&UserByLoginKey { login: NameRest(user.login) });
    transaction.delete(&key);
    Ok(Done::default())
}

/// Sets a password.
pub(super) fn set_password(transaction: &mut Transaction<'_>, command: &SetPassword) -> Result<Done, Stop> {
    let (key, mut user) = existing(transaction, &command.user)?;
    text(&command.password_phc, "password hash", limits::TEXT_BYTES_MAX)?;
    user.password_phc.clone_from(&command.password_phc);
    user.revision += 1;
    transaction.put(&key, &user);
    Ok(Done { number: user.revision, ..Done::default() })
}

/// A user that is there.
pub(super) fn existing(transaction: &Transaction<'_>, user: &[u8]) -> Result<(UserKey, UserRecord), Stop> {
    let key = UserKey { user: id(user, "user id")? };
    let record = transaction.get(&key)?;
    let record = record.ok_or_else(|| refuse(RejectionCode::NotFound, format!("there is no user with the id {}", key.user)))?;
    Ok((key, record))
}
