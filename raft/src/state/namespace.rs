//! Kinds of metadata that every cluster has, and what a namespace may be called. Pure.

use crate::wire::meta::v1::{NamespaceRecord, ResourcePolicy};

/// What people mark for themselves.
pub const BOOKMARK: &str = "bookmark";
/// Tags that everybody sees.
pub const TAGS: &str = "usermeta-tags";
/// Who has locked a file.
pub const CONTENT_LOCK: &str = "content_lock";
/// How the namespaces begin that administrators define.
pub const OWN_PREFIX: &str = "usermeta-";
/// Longest name of a namespace, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// The namespaces that are part of the program. Of what is stored under their names only the known tags count.
#[must_use]
pub fn built_in() -> Vec<NamespaceRecord> {
    let everybody = |action: &str| ResourcePolicy { subject: "*".to_owned(), action: action.to_owned(), allow: true };
    let namespace = |name: &str, label: &str, definition: &str| NamespaceRecord {
        name: name.to_owned(),
        label: label.to_owned(),
        json_definition: definition.to_owned(),
        policies: vec![everybody("READ"), everybody("WRITE")],
        built_in: true,
        ..NamespaceRecord::default()
    };
    vec![
        NamespaceRecord { private_to_user: true, ..namespace(BOOKMARK, "Bookmark", r#"{"type":"boolean","hide":true}"#) },
        NamespaceRecord { indexable: true, order: 1, ..namespace(TAGS, "Tags", r#"{"type":"tags"}"#) },
        NamespaceRecord { order: 2, ..namespace(CONTENT_LOCK, "Lock", r#"{"type":"string","hide":true}"#) },
    ]
}

/// The namespace of the program that has this name.
#[must_use]
pub fn built_in_of(name: &str) -> Option<NamespaceRecord> {
    built_in().into_iter().find(|namespace| namespace.name == name)
}

/// Why a namespace that somebody defines cannot have a name; none: it can.
#[must_use]
pub fn name_fault(name: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b':');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
        return Some(format!("{name:?} cannot name a namespace: 1 to {NAME_BYTES_MAX} of a-z, 0-9, -, _ and :"));
    }
    if ["pydio:", "skep:"].iter().any(|reserved| name.starts_with(reserved)) {
        return Some(format!("{name:?}: names that begin with pydio: and skep: are reserved"));
    }
    let own = name.strip_prefix(OWN_PREFIX).is_some_and(|rest| !rest.is_empty());
    (!own).then(|| format!("{name:?}: the name of a namespace that is defined begins with {OWN_PREFIX}"))
}

#[cfg(test)]
mod tests {
    use super::{built_in, name_fault};

    #[test]
    fn names_begin_with_their_prefix_and_are_short() {
        assert_eq!(name_fault("usermeta-colour"), None);
        assert_eq!(name_fault(&format!("usermeta-{}", "x".repeat(55))), None);
        for bad in
            ["", "usermeta-", "colour", "usermeta-Colour", "usermeta-a b", "pydio:x", "skep:x", &format!("usermeta-{}", "x".repeat(56))]
        {
            assert!(name_fault(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn only_bookmarks_are_private() {
        let private: Vec<String> =
            built_in().into_iter().filter(|namespace| namespace.private_to_user).map(|namespace| namespace.name).collect();
        assert_eq!(private, ["bookmark"]);
    }
}
