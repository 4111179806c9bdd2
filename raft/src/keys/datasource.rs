//! `datasource/id` and its name.

use skep_placement::ids::DatasourceId;

use super::{NameRest, state_key};
use crate::wire::meta::v1::DatasourceRecord;

state_key!(
    /// A datasource.
    DatasourceKey {
        /// The datasource.
        datasource: DatasourceId,
    } in Meta, Datasource holds DatasourceRecord
);

state_key!(
    /// The datasource of a name.
    DatasourceByNameKey {
        /// The name.
        name: NameRest,
    } in Meta, DatasourceByName holds u64
);
