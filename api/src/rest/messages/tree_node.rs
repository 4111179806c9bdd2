//! A file, folder or workspace as REST shows it.
//!
//! Answers hold thousands of nodes that agree in most of their texts: those are shared, not copied.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// A text of one node, or one that many nodes share.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    Own(String),
    Shared(Arc<str>),
    Known(&'static str),
}

impl Text {
    /// The same text for many nodes.
    pub(crate) fn shared(text: &str) -> Self {
        Self::Shared(Arc::from(text))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Own(text) => text,
            Self::Shared(text) => text,
            Self::Known(text) => text,
        }
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::Known("")
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Own(text)
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::Known(text)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

/// JSON texts by key; a key stands once. There are few: they are looked for one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MetaStore(Vec<(Cow<'static, str>, Text)>);

impl MetaStore {
    /// Sets what stands under a key.
    pub(crate) fn insert(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Text>) {
        let (key, value) = (key.into(), value.into());
        match self.0.iter_mut().find(|(had, _)| *had == key) {
            Some((_, was)) => *was = value,
            None => self.0.push((key, value)),
        }
    }

    /// What stands under a key.
    #[cfg(test)]
    pub(crate) fn get(&self, key: &str) -> Option<&Text> {
        self.0.iter().find_map(|(had, value)| (had == key).then_some(value))
    }

    /// All that stands there.
    #[cfg(test)]
    pub(crate) fn values(&self) -> impl Iterator<Item = &Text> {
        self.0.iter().map(|(_, value)| value)
    }

    pub(crate) fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }
}

impl Serialize for MetaStore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// A file or folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = treeNode)]
pub(crate) struct TreeNode {
    /// Its id.
    #[schema(value_type = String)]
    pub uuid: Text,
    /// `slug/dir/file` as the caller sees it; the root is empty.
    pub path: String,
    /// LEAF or COLLECTION.
    #[serde(rename = "Type")]
    pub kind: &'static str,
    /// Bytes, of a folder with all below it.
    pub size: String,
    /// Seconds since the Unix epoch.
    #[serde(rename = "MTime")]
    pub mtime: String,
    /// Unix permission bits.
    pub mode: i32,
    /// Changes with the content.
    pub etag: String,
    /// JSON texts by key.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub meta_store: MetaStore,
    /// The workspaces in which the caller sees it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub appears_in: Vec<AppearsIn>,
}

/// A workspace that a node appears in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = treeWorkspaceRelativePath)]
pub(crate) struct AppearsIn {
    /// Its id.
    #[schema(value_type = String)]
    pub ws_uuid: Text,
    /// Its label.
    #[schema(value_type = String)]
    pub ws_label: Text,
    /// The path below it.
    pub path: String,
    /// Its slug.
    #[schema(value_type = String)]
    pub ws_slug: Text,
    /// ADMIN, ROOM or LINK.
    #[schema(value_type = String)]
    pub ws_scope: Text,
}

#[cfg(test)]
mod tests {
    use super::{MetaStore, Text};

    #[test]
    fn a_key_stands_once_and_keeps_the_last_value() {
        let mut meta = MetaStore::default();
        meta.insert("name", "\"noted\"");
        meta.insert("tags".to_owned(), "\"x\"".to_owned());
        meta.insert("name", Text::shared("\"true\""));
        assert_eq!(serde_json::to_string(&meta).expect("a form"), r#"{"name":"\"true\"","tags":"\"x\""}"#);
    }
}
