//! `manifest/content/part`: the chunks of a content, 1,024 a part; every part but the last is full.

use skep_placement::ids::ContentId;

use super::state_key;
use crate::wire::meta::v1::ManifestPart;

state_key!(
    /// A part of a manifest.
    ManifestKey {
        /// The content.
        content: ContentId,
        /// The number of the part, from 0.
        part: u64,
    } in Data, Manifest holds ManifestPart
);
