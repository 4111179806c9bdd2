//! The versions of a file: going back to one, describing and deleting one; and entries by their ids.
//!
//! Reading them is [`Service::versions`] and [`Service::open_file`] with a version.

use skep_placement::ids::{EntryId, VersionId};
use skep_raft::wire::meta::v1::{
    DeleteVersion, DescribeVersion, Entry, LocateQuery, Precondition, Query, UseVersion, VersionRecord, answer, query, tree_command,
};

use super::tree::entry_of;
use super::{Service, id_bytes};
use crate::auth::rights::{Authorized, WriteContent};
use crate::error_code::{ErrorCode, Failure};
use crate::request_context::RequestContext;
use crate::service::place::Place;

/// A file after one of its versions was used, described or deleted.
#[derive(Clone, Debug)]
pub struct VersionChange {
    /// The file as it is now.
    pub entry: Entry,
    /// The version: the new one that uses the old one's content, the one described, or the one that is gone.
    pub version: VersionRecord,
}

impl Service {
    /// Makes a version's content the current one again, as a new version that shares it. Nothing is copied.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::IsAFolder`], [`ErrorCode::VersionNotFound`], [`ErrorCode::Gone`] for one that was pruned,
    /// [`ErrorCode::PreconditionFailed`], quota; [`ErrorCode::Unknown`].
    pub async fn revert(
        &self,
        proof: Authorized<WriteContent, Place>,
        version: VersionId,
        condition: Option<Precondition>,
        context: &RequestContext,
    ) -> Result<VersionChange, Failure> {
        let command = UseVersion {
            path: Some(proof.subject().entry()),
            version: id_bytes(self.draw_version().0),
            of_version: id_bytes(version.0),
            condition: Some(Precondition { must_exist: true, ..condition.unwrap_or_default() }),
            ..UseVersion::default()
        };
        self.change_version(proof, tree_command::What::UseVersion(command), context).await
    }

    /// Sets what people say of a version; an empty text takes it away.
    ///
    /// # Errors
    /// As [`Service::revert`].
    pub async fn describe_version(
        &self,
        proof: Authorized<WriteContent, Place>,
        (version, description): (VersionId, String),
        context: &RequestContext,
    ) -> Result<VersionChange, Failure> {
        let path = Some(proof.subject().entry());
        let command = DescribeVersion { path, version: id_bytes(version.0), description };
        self.change_version(proof, tree_command::What::DescribeVersion(command), context).await
    }

    /// Deletes a version that is not the current one.
    ///
    /// # Errors
    /// As [`Service::revert`]; [`ErrorCode::AlreadyExists`] for the current version.
    pub async fn delete_version(
        &self,
        proof: Authorized<WriteContent, Place>,
        version: VersionId,
        context: &RequestContext,
    ) -> Result<VersionChange, Failure> {
        let path = Some(proof.subject().entry());
        let command = DeleteVersion { path, version: id_bytes(version.0) };
        self.change_version(proof, tree_command::What::DeleteVersion(command), context).await
    }

    /// The names of an entry from its datasource's root, and its ancestors; none if it is not linked.
    pub(crate) async fn locate(
        &self,
        datasource: skep_placement::ids::DatasourceId,
        entry: EntryId,
        context: &RequestContext,
    ) -> Result<Option<(Vec<String>, Vec<EntryId>)>, Failure> {
        let question = Query { what: Some(query::What::Locate(LocateQuery { entry: id_bytes(entry.0) })) };
        match self.metadata().query(datasource.into(), question, context.deadline()).await?.what {
            Some(answer::What::Locate(found)) => {
                let ancestors = found.ancestors.iter().map(|id| EntryId::try_from(id.as_ref()).unwrap_or_default()).collect();
                Ok(Some((found.names, ancestors)))
            }
            _ => Ok(None),
        }
    }

    async fn change_version(
        &self,
        proof: Authorized<WriteContent, Place>,
        what: tree_command::What,
        context: &RequestContext,
    ) -> Result<VersionChange, Failure> {
        let proposed = self.propose_tree(&proof, what, context).await.map_err(|failure| match failure.code {
            ErrorCode::Gone => self.pruned(proof.subject()),
            _ => failure,
        })?;
        let version = proposed.done.version.clone().unwrap_or_default();
        Ok(VersionChange { entry: entry_of(proposed, proof.subject())?, version })
    }
}
