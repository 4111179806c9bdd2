//! Paths as users see them: a workspace's slug, then names. No leading slash; the root above all workspaces is empty.

use crate::error_code::{ErrorCode, Failure};
use crate::limits;

/// A checked path; every name is one that can exist.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserPath {
    names: Vec<String>,
}

impl std::str::FromStr for UserPath {
    type Err = Failure;

    /// Parses `slug/dir/file`; slashes at both ends are trimmed, empty names in between are refused.
    fn from_str(text: &str) -> Result<Self, Failure> {
        let trimmed = text.trim_matches('/');
        if trimmed.is_empty() {
            return Ok(Self::default());
        }
        let names: Vec<String> = trimmed.split('/').map(str::to_owned).collect();
        if names.len() > limits::PATH_DEPTH {
            return Err(Failure::new(ErrorCode::NameInvalid, format!("a path has at most {} names", limits::PATH_DEPTH)));
        }
        names.iter().try_for_each(|name| check_name(name)).map_err(|failure| failure.at(&shortened(trimmed)))?;
        Ok(Self { names })
    }
}

impl std::fmt::Display for UserPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.names.join("/"))
    }
}

impl UserPath {
    /// The slug of the workspace; none at the root above them.
    pub(crate) fn slug(&self) -> Option<&str> {
        self.names.first().map(String::as_str)
    }

    /// The names below the workspace.
    pub(crate) fn below(&self) -> &[String] {
        self.names.get(1..).unwrap_or_default()
    }

    /// The last name.
    pub(crate) fn last(&self) -> Option<&str> {
        self.names.last().map(String::as_str)
    }

    /// The path one name up; none at the root.
    pub(crate) fn parent(&self) -> Option<Self> {
        let (_, rest) = self.names.split_last()?;
        Some(Self { names: rest.to_vec() })
    }

    /// The path one name down.
    pub(crate) fn child(&self, name: &str) -> Result<Self, Failure> {
        check_name(name)?;
        let mut names = self.names.clone();
        names.push(name.to_owned());
        Ok(Self { names })
    }

    /// True if the path is `other` or lies below it.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.names.starts_with(&other.names)
    }

    /// All names from the slug down.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }
}

/// Checks one name: 1 to 255 bytes without slash and NUL, not `.` or `..`.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let why = match name {
        "" => "a name in the path is empty",
        "." | ".." => "the names . and .. are not allowed",
        name if name.len() > limits::NAME_BYTES => "a name has at most 255 bytes",
        name if name.contains('/') => "a name cannot contain a slash",
        name if name.contains('\0') => "a name cannot contain NUL",
        _ => return Ok(()),
    };
    Err(Failure::new(ErrorCode::NameInvalid, why))
}

fn shortened(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

    use super::UserPath;
    use crate::error_code::ErrorCode;

    fn parsed(text: &str) -> UserPath {
        text.parse().expect("a good path")
    }

    #[test]
    fn slashes_at_the_ends_are_trimmed() {
        for text in ["common-files/dir", "/common-files/dir/", "common-files/dir///"] {
            assert_eq!(parsed(text).to_string(), "common-files/dir");
        }
        assert_eq!(parsed("/").slug(), None);
        assert_eq!(parsed("").to_string(), "");
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        for text in ["a//b", "a/./b", "a/..", "..", "a/\0", &format!("a/{}", "x".repeat(256)), &"d/".repeat(300)] {
            let failure = text.parse::<UserPath>().expect_err(text);
            assert_eq!(failure.code, ErrorCode::NameInvalid);
        }
        assert!("a/.hidden/...".parse::<UserPath>().is_ok());
    }

    #[test]
    fn parents_children_and_inclusion() {
        let path = parsed("ws/a/b");
        assert_eq!((path.slug(), path.last()), (Some("ws"), Some("b")));
        assert_eq!(path.below(), ["a", "b"]);
        assert_eq!(path.parent(), Some(parsed("ws/a")));
        assert_eq!(path.child("c").expect("a name"), parsed("ws/a/b/c"));
        assert!(path.child("c/d").is_err());
        assert!(path.is_within(&parsed("ws/a")) && path.is_within(&path) && !parsed("ws/ab").is_within(&parsed("ws/a")));
        assert_eq!(parsed("").parent(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn what_is_printed_parses_to_the_same(names in proptest::collection::vec("[^/\0]{1,40}", 0..6)) {
            let text = names.join("/");
            if let Ok(path) = text.parse::<UserPath>() {
                prop_assert_eq!(path.to_string().parse::<UserPath>().expect("printed"), path);
            }
        }
    }
}
