//! Kinds of metadata that every cluster has, what a namespace may be called, and what its policies allow. Pure.
//!
//! Invariant: policies deny by default, and what one of them denies no other one allows.

use skep_placement::ids::RecordId;

use crate::wire::meta::v1::{NamespaceRecord, ResourcePolicy, UserRecord};

/// What people mark for themselves.
pub const BOOKMARK: &str = "bookmark";
/// Tags that everybody sees.
pub const TAGS: &str = "usermeta-tags";
/// Who has locked a file.
pub const CONTENT_LOCK: &str = "content_lock";
/// How the namespaces begin that administrators define.
pub const OWN_PREFIX: &str = "usermeta-";
/// How the names begin that only the server itself writes under.
const RESERVED_PREFIXES: [&str; 4] = ["pydio:", "skep:", "ws_", "repository_"];
/// What the server itself says of every entry.
const RESERVED_NAMES: [&str; 4] = ["name", "mime", "versionId", "versionDescription"];
/// The attribute of a user that says its profile; administrators need none.
const PROFILE: &str = "profile";
/// The profiles of users; each has what those before it have.
const PROFILES: [&str; 4] = ["anon", "shared", "standard", "admin"];
/// The profile of users that name none.
const STANDARD: &str = "standard";
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

/// Whether only the server itself writes under a name.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED_NAMES.contains(&name) || RESERVED_PREFIXES.iter().any(|reserved| name.starts_with(reserved))
}

/// What somebody wants of a resource with policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// See it.
    Read,
    /// Change it.
    Write,
}

/// Whether policies allow a user something. Subjects are `*`, `profile:<name>`, `user:<id or login>` and `role:<id>`, of which each user has the one with
/// its own id; whoever owns may do everything.
#[must_use]
pub fn allows(policies: &[ResourcePolicy], user: &UserRecord, may: May) -> bool {
    let meant = |policy: &&ResourcePolicy| covers(&policy.action, may) && is_subject(&policy.subject, user);
    let mut meant = policies.iter().filter(meant).peekable();
    meant.peek().is_some() && meant.all(|policy| policy.allow)
}

fn covers(action: &str, may: May) -> bool {
    match action {
        "ANY" | "OWNER" => true,
        "READ" => may == May::Read,
        "WRITE" => may == May::Write,
        _ => false,
    }
}

fn is_subject(subject: &str, user: &UserRecord) -> bool {
    let is_id = |text: &str| text.parse::<RecordId>().is_ok_and(|id| user.id.as_ref() == id.0.as_slice());
    match subject.split_once(':') {
        None => subject == "*",
        Some(("profile", profile)) => {
            let place = |name: &str| PROFILES.iter().position(|known| *known == name);
            let own = if user.admin { "admin" } else { user.attributes.get(PROFILE).map_or(STANDARD, String::as_str) };
            // A profile that is not known is only itself.
            profile == own || place(profile).is_some_and(|wanted| place(own).is_some_and(|own| wanted <= own))
        }
        Some(("user", named)) => named == user.login || is_id(named),
        Some(("role", named)) => is_id(named),
        Some(_) => false,
    }
}

/// Why a namespace that somebody defines cannot have a name; none: it can.
#[must_use]
pub fn name_fault(name: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b':');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
        return Some(format!("{name:?} cannot name a namespace: 1 to {NAME_BYTES_MAX} of a-z, 0-9, -, _ and :"));
    }
    if is_reserved(name) {
        return Some(format!("{name:?} is reserved: the server itself writes under it"));
    }
    let own = name.strip_prefix(OWN_PREFIX).is_some_and(|rest| !rest.is_empty());
    (!own).then(|| format!("{name:?}: the name of a namespace that is defined begins with {OWN_PREFIX}"))
}

#[cfg(test)]
mod tests {
    use super::{May, allows, built_in, name_fault};
    use crate::wire::meta::v1::{ResourcePolicy, UserRecord};

    fn policy(subject: &str, action: &str, allow: bool) -> ResourcePolicy {
        ResourcePolicy { subject: subject.to_owned(), action: action.to_owned(), allow }
    }

    fn user(login: &str, admin: bool, profile: &str) -> UserRecord {
        let mut user = UserRecord { id: vec![7; 16].into(), login: login.to_owned(), admin, ..UserRecord::default() };
        if !profile.is_empty() {
            user.attributes.insert("profile".to_owned(), profile.to_owned());
        }
        user
    }

    #[test]
    fn policies_deny_by_default_and_a_denial_wins() {
        let ana = user("ana", false, "");
        let may = |policies: &[ResourcePolicy]| (allows(policies, &ana, May::Read), allows(policies, &ana, May::Write));
        assert_eq!(may(&[]), (false, false));
        assert_eq!(may(&[policy("*", "READ", true)]), (true, false));
        assert_eq!(may(&[policy("*", "OWNER", true)]), (true, true));
        assert_eq!(may(&[policy("*", "ANY", true), policy("user:ana", "WRITE", false)]), (true, false));
        assert_eq!(may(&[policy("user:ana", "WRITE", false), policy("*", "ANY", true)]), (true, false));
        assert_eq!(may(&[policy("*", "EDIT_RULES", true), policy("nobody", "READ", true)]), (false, false));
    }

    #[test]
    fn subjects_are_profiles_users_and_their_own_roles() {
        let reads = |subject: &str, who: &UserRecord| allows(&[policy(subject, "READ", true)], who, May::Read);
        let (ana, admin, guest) = (user("ana", false, ""), user("root", true, ""), user("guest", false, "shared"));
        assert!(reads("profile:standard", &ana) && reads("profile:standard", &admin) && !reads("profile:standard", &guest));
        assert!(reads("profile:shared", &ana) && reads("profile:shared", &guest) && !reads("profile:admin", &ana));
        assert!(reads("user:ana", &ana) && !reads("user:ana", &guest));
        for by_id in ["user:07070707-0707-0707-0707-070707070707", "role:07070707-0707-0707-0707-070707070707"] {
            assert!(reads(by_id, &ana), "{by_id}");
        }
        assert!(!reads("role:08080808-0808-0808-0808-080808080808", &ana));
        assert!(!reads("profile:wizard", &admin) && reads("profile:wizard", &user("w", false, "wizard")));
    }

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
