//! Kinds of metadata that administrators define, and the tags that are known in them.
//!
//! Invariants: what every cluster has is part of the program and stays as it is; of it only the known tags are stored.

use std::collections::BTreeSet;

use super::cluster;
use crate::keys::{NameRest, NamespaceKey};
use crate::state::namespace::{built_in_of, name_fault};
use crate::state::rejection::{Stop, invalid, refuse, required, text};
use crate::state::transaction::Transaction;
use crate::state::{limits, read};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::{DeleteNamespace, Done, NamespaceRecord, PutNamespace, RejectionCode};

/// Makes or changes a namespace, or its known tags. The tags stay as they are unless the command is about them.
pub(super) fn put(transaction: &mut Transaction<'_>, command: &PutNamespace) -> Result<Done, Stop> {
    cluster::require(transaction)?;
    let given = required(command.namespace.as_ref(), "namespace")?;
    check_tags(given)?;
    if command.add_tags || command.remove_tags {
        return change_tags(transaction, given, command.remove_tags);
    }
    if built_in_of(&given.name).is_some() {
        return Err(of_the_program(&given.name));
    }
    check(given)?;
    let key = NamespaceKey { name: NameRest(given.name.clone()) };
    let was = transaction.get(&key)?;
    if was.is_none() {
        let rows = read::rows::<NamespaceKey>(transaction.state(), &[], Direction::Forward).collect::<Result<Vec<_>, StateError>>()?;
        let defined = rows.iter().filter(|(key, _)| built_in_of(&key.name.0).is_none()).count();
        if defined >= limits::NAMESPACES_MAX {
            let detail = format!("there are {defined} namespaces, the most there can be; delete one first");
            return Err(refuse(RejectionCode::LimitReached, detail));
        }
    }
    let created = was.is_none();
    let tags = was.map_or_else(|| given.tags.clone(), |was| was.tags);
    transaction.put(&key, &NamespaceRecord { tags, built_in: false, private_to_user: false, ..given.clone() });
    Ok(Done { created, ..Done::default() })
}

/// Deletes a namespace. What is noted at entries under its name stays there and is seen again if the namespace is.
pub(super) fn delete(transaction: &mut Transaction<'_>, command: &DeleteNamespace) -> Result<Done, Stop> {
    if built_in_of(&command.name).is_some() {
        return Err(of_the_program(&command.name));
    }
    text(&command.name, "name", limits::NAME_BYTES_MAX)?;
    let key = NamespaceKey { name: NameRest(command.name.clone()) };
    if transaction.get(&key)?.is_none() {
        return Err(not_found(&command.name));
    }
    transaction.delete(&key);
    Ok(Done::default())
}

/// Adds tags to those known, or takes them away; none named: takes all. The outcome counts those that were new or are gone.
fn change_tags(transaction: &mut Transaction<'_>, given: &NamespaceRecord, remove: bool) -> Result<Done, Stop> {
    text(&given.name, "name", limits::NAME_BYTES_MAX)?;
    let key = NamespaceKey { name: NameRest(given.name.clone()) };
    let stored = transaction.get(&key)?;
    let mut record = match (stored, built_in_of(&given.name)) {
        (Some(record), _) => record,
        (None, Some(_)) => NamespaceRecord { name: given.name.clone(), built_in: true, ..NamespaceRecord::default() },
        (None, None) => return Err(not_found(&given.name)),
    };
    let before = record.tags.len();
    if remove {
        let gone: BTreeSet<&String> = given.tags.iter().collect();
        record.tags.retain(|tag| !gone.is_empty() && !gone.contains(tag));
    } else {
        let known: BTreeSet<&String> = record.tags.iter().chain(&given.tags).collect();
        if known.len() > limits::TAGS_MAX {
            let detail = format!("{}: a namespace knows at most {} tags; delete some first", given.name, limits::TAGS_MAX);
            return Err(refuse(RejectionCode::LimitReached, detail));
        }
        record.tags = known.into_iter().cloned().collect();
    }
    let count = u64::try_from(before.abs_diff(record.tags.len())).unwrap_or(u64::MAX);
    transaction.put(&key, &record);
    Ok(Done { count, ..Done::default() })
}

fn check(given: &NamespaceRecord) -> Result<(), Stop> {
    if let Some(fault) = name_fault(&given.name) {
        return Err(refuse(RejectionCode::NameInvalid, fault));
    }
    text(&given.label, "label", limits::TEXT_BYTES_MAX)?;
    text(&given.json_definition, "definition", limits::NOTE_BYTES_MAX)?;
    if given.policies.len() > limits::NAMESPACE_POLICIES_MAX {
        return Err(invalid(format!("{}: a namespace has at most {} policies", given.name, limits::NAMESPACE_POLICIES_MAX)));
    }
    for policy in &given.policies {
        text(&policy.subject, "subject of a policy", limits::NAME_BYTES_MAX)?;
        text(&policy.action, "action of a policy", limits::NAME_BYTES_MAX)?;
    }
    Ok(())
}

fn check_tags(given: &NamespaceRecord) -> Result<(), Stop> {
    if given.tags.len() > limits::TAGS_MAX {
        let detail = format!("{}: a namespace knows at most {} tags", given.name, limits::TAGS_MAX);
        return Err(refuse(RejectionCode::LimitReached, detail));
    }
    for tag in &given.tags {
        text(tag, "tag", limits::TAG_BYTES_MAX)?;
        if tag.is_empty() {
            return Err(invalid("a tag is empty"));
        }
    }
    Ok(())
}

fn not_found(name: &str) -> Stop {
    refuse(RejectionCode::NotFound, format!("there is no namespace {name:?}"))
}

fn of_the_program(name: &str) -> Stop {
    refuse(RejectionCode::Forbidden, format!("the namespace {name:?} is part of every cluster and stays as it is: define one of your own"))
}
