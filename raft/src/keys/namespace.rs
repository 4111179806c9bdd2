//! `namespace/name`: kinds of metadata that people keep at entries.

use super::{NameRest, state_key};
use crate::wire::meta::v1::NamespaceRecord;

state_key!(
    /// A kind of metadata.
    NamespaceKey {
        /// Its name.
        name: NameRest,
    } in Meta, Namespace holds NamespaceRecord
);
