//! Tokens that stand for a user.
//!
//! Invariant: a token is found by its hash, its id, its user and, if it ends, its end; all four come and go together.

use bytes::Bytes;
use skep_placement::ids::{RecordId, Stamp};

use super::user;
use crate::keys::{TokenByIdKey, TokenByUserKey, TokenExpiryKey, TokenKey};
use crate::state::rejection::{Stop, id, invalid, refuse, required, text};
use crate::state::transaction::Transaction;
use crate::state::{limits, read};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::{self, DeleteToken, Done, ExpireTokens, PutToken, RejectionCode, TokenRecord};

/// Most scopes of a token.
const SCOPES_MAX: usize = 64;

/// Makes a token, or renews the one with the same id, user and hash.
pub(super) fn put(transaction: &mut Transaction<'_>, command: &PutToken) -> Result<Done, Stop> {
    let given = required(command.token.as_ref(), "token")?;
    let key = TokenKey { hash: id(&given.hash, "hash of the token")? };
    let token: RecordId = id(&given.id, "token id")?;
    let (_, user) = user::existing(transaction, &given.user)?;
    if v1::TokenKind::try_from(given.kind).unwrap_or_default() == v1::TokenKind::Unspecified {
        return Err(invalid("no kind of token"));
    }
    text(&given.label, "label", limits::TEXT_BYTES_MAX)?;
    if given.scopes.len() > SCOPES_MAX {
        return Err(invalid(format!("a token has at most {SCOPES_MAX} scopes")));
    }
    given.scopes.iter().try_for_each(|scope| text(scope, "scope", limits::NAME_BYTES_MAX))?;
    let stamp = transaction.stamp();
    let was = transaction.get(&key)?;
    let renewed = was.as_ref().is_some_and(|was| was.id == given.id && was.user == given.user);
    let id_taken = transaction.get(&TokenByIdKey { token })?.is_some();
    if !renewed && (was.is_some() || id_taken) {
        return Err(refuse(RejectionCode::AlreadyExists, "there is such a token already"));
    }
    if let Some(was) = &was {
        remove(transaction, was)?;
    }
    let record = TokenRecord {
        expires_at: if command.lifetime_seconds == 0 { 0 } else { transaction.stamp_in(command.lifetime_seconds) },
        created_at: was.map_or(stamp, |was| was.created_at),
        user_revision: user.revision,
        ..given.clone()
    };
    let hash = Bytes::copy_from_slice(&key.hash);
    transaction.put(&TokenByIdKey { token }, &hash);
    transaction.put(&TokenByUserKey { user: id(&given.user, "user id")?, token }, &hash);
    if record.expires_at != 0 {
        transaction.put(&TokenExpiryKey { expires_at: Stamp(record.expires_at), hash: key.hash }, &());
    }
    transaction.put(&key, &record);
    Ok(Done { created: !renewed, number: record.expires_at, ..Done::default() })
}

/// Deletes a token by its id.
pub(super) fn delete(transaction: &mut Transaction<'_>, command: &DeleteToken) -> Result<Done, Stop> {
    let not_found = || refuse(RejectionCode::NotFound, "there is no such token");
    let token: RecordId = id(&command.id, "token id")?;
    let hash = transaction.get(&TokenByIdKey { token })?.ok_or_else(not_found)?;
    let record = read::expect(transaction.state(), &TokenKey { hash: read::stored_id(&hash, "a token's hash")? })?;
    if !command.user.is_empty() && command.user != record.user {
        return Err(not_found());
    }
    remove(transaction, &record)?;
    Ok(Done::default())
}

/// Deletes tokens that have ended, the oldest first.
pub(super) fn expire(transaction: &mut Transaction<'_>, command: &ExpireTokens) -> Result<Done, Stop> {
    let stamp = transaction.stamp();
    let most = usize::try_from(command.limit).unwrap_or(usize::MAX).clamp(1, limits::PAGE_MAX);
    let ended = read::rows::<TokenExpiryKey>(transaction.state(), &[], Direction::Forward);
    let ended = ended.take_while(|row| row.as_ref().map_or(true, |(key, ())| key.expires_at.0 <= stamp)).take(most);
    let hashes = ended.map(|row| row.map(|(key, ())| key.hash)).collect::<Result<Vec<[u8; 32]>, StateError>>()?;
    let mut count = 0;
    for hash in hashes {
        let record = read::expect(transaction.state(), &TokenKey { hash })?;
        remove(transaction, &record)?;
        count += 1;
    }
    Ok(Done { count, ..Done::default() })
}

/// Deletes all tokens of a user.
pub(super) fn delete_of_user(transaction: &mut Transaction<'_>, user: RecordId) -> Result<(), Stop> {
    let tokens = read::rows::<TokenByUserKey>(transaction.state(), &[&user], Direction::Forward);
    let hashes = tokens.map(|row| row.map(|(_, hash)| hash)).collect::<Result<Vec<Bytes>, StateError>>()?;
    if u64::try_from(hashes.len()).unwrap_or(u64::MAX) > limits::ENTRIES_TOUCHED_MAX {
        return Err(refuse(RejectionCode::TooManyEntries, format!("{} tokens would have to go at once; delete some first", hashes.len())));
    }
    for hash in hashes {
        let record = read::expect(transaction.state(), &TokenKey { hash: read::stored_id(&hash, "a token's hash")? })?;
        remove(transaction, &record)?;
    }
    Ok(())
}

fn remove(transaction: &mut Transaction<'_>, record: &TokenRecord) -> Result<(), StateError> {
    let hash = read::stored_id(&record.hash, "a token's hash")?;
    let token = read::stored_id(&record.id, "a token id")?;
    transaction.delete(&TokenKey { hash });
    transaction.delete(&TokenByIdKey { token });
    transaction.delete(&TokenByUserKey { user: read::stored_id(&record.user, "a user id")?, token });
    if record.expires_at != 0 {
        transaction.delete(&TokenExpiryKey { expires_at: Stamp(record.expires_at), hash });
    }
    Ok(())
}
