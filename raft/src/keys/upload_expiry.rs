//! `upload-expiry/stamp/content`: open uploads by the end of their lease.

use skep_placement::ids::{ContentId, Stamp};

use super::state_key;

state_key!(
    /// The end of an upload's lease; nothing is stored there.
    UploadExpiryKey {
        /// The end.
        expires_at: Stamp,
        /// The upload.
        content: ContentId,
    } in Data, UploadExpiry holds ()
);
