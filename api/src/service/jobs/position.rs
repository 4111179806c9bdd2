//! Where a copy or a move stands, as its record keeps it: the next owner goes on from there.

use serde::{Deserialize, Serialize};

/// A place in a job's work. Fields are only ever added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Position {
    /// The item worked on, from 0.
    pub item: usize,
    /// The target's path of this item, once decided.
    pub target: Option<String>,
    /// Id of the item's source entry, once seen.
    pub source: Option<String>,
    /// ETag of the item's source when the work on it began.
    pub source_etag: Option<String>,
    /// The item is built entry by entry in a hidden folder; of a restoration: in parts, of which `item` counts those that are built.
    pub stepwise: bool,
    /// Names below the source of the last entry built.
    pub after: Vec<String>,
    /// The copy is complete and linked; only the source is left to remove.
    pub linked: bool,
    /// Entries built of this item.
    pub built: u64,
}

impl Position {
    /// Reads a stored position; an empty text is the beginning.
    pub(crate) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        if text.is_empty() { Ok(Self::default()) } else { serde_json::from_str(text) }
    }

    /// The stored form.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain fields have a JSON form")
    }

    /// The beginning of the next item.
    pub(crate) fn next_item(&self) -> Self {
        Self { item: self.item + 1, ..Self::default() }
    }

    /// True if an owner before has begun this item.
    pub(crate) fn is_begun(&self) -> bool {
        self.source.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn positions_survive_storing_and_unknown_fields() {
        let position = Position { item: 3, source: Some("x".to_owned()), after: vec!["a".to_owned()], ..Position::default() };
        assert_eq!(Position::parse(&position.to_json()).expect("read"), position);
        assert_eq!(Position::parse("").expect("read"), Position::default());
        assert_eq!(Position::parse(r#"{"item":2,"later":true}"#).expect("read").item, 2);
        assert!(Position::parse("[").is_err());
        assert!(position.is_begun() && !position.next_item().is_begun());
    }
}
