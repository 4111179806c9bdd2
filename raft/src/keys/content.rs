//! `content/id`: a content, or an upload until its commit.

use skep_placement::ids::ContentId;

use super::state_key;
use crate::wire::meta::v1::ContentRecord;

state_key!(
    /// A content.
    ContentKey {
        /// The content; of an upload the same number.
        content: ContentId,
    } in Data, Content holds ContentRecord
);
