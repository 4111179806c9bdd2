//! Versioning policies: which versions of files are kept. Administrators make, change and delete their own, and see beforehand what one would free.
//!
//! Invariant: clients name a policy by its Uuid, which never changes; what the cluster stores it under is its own affair. A preview changes nothing.

use std::collections::BTreeMap;

use skep_placement::ids::{DatasourceId, GroupId, RecordId};
use skep_raft::state::policy::Rules;
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1::{
    ClusterCommand, DeletePolicy, PartlyDropped, PruneAnswer, PruneQuery, PutPolicy, Query, VersioningPolicyRecord, answer,
    cluster_command, command, query,
};

use super::datasources::datasource_named;
use super::{Service, id_bytes};
use crate::auth::rights::{Administer, Authorized, Cluster};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::request_context::RequestContext;

/// What a policy would prune of a datasource now, were it in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrunePreview {
    /// Files looked at.
    pub files: u64,
    /// Versions that would go.
    pub versions: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes of contents that no version would name any more.
    pub bytes_freed: u64,
}

/// Adds up the pages of a preview: a content is freed when all versions that name it go, on whichever pages they are.
#[derive(Debug, Default)]
struct Tally {
    preview: PrunePreview,
    partly: BTreeMap<u64, u64>,
}

impl Tally {
    fn add(&mut self, page: &PruneAnswer) {
        self.preview.files += page.files;
        self.preview.versions += page.versions;
        self.preview.bytes += page.bytes;
        self.preview.bytes_freed += page.bytes_freed;
        for PartlyDropped { content, dropped, references, bytes } in &page.partly {
            let all = self.partly.entry(*content).or_default();
            *all += dropped;
            if all == references {
                self.preview.bytes_freed += bytes;
                self.partly.remove(content);
            }
        }
    }
}

impl Service {
    /// Lists the policies, those that every cluster has first.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for a damaged record.
    pub fn policies(&self, _proof: Authorized<Administer, Cluster>, view: &SystemView) -> Result<Vec<VersioningPolicyRecord>, Failure> {
        Ok(view.policies()?)
    }

    /// Makes a policy, or changes the one of its Uuid; the files of datasources that have it are looked at anew. True if it is new.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] with the field that cannot be, [`ErrorCode::Forbidden`] for one that every cluster has; [`ErrorCode::Unknown`].
    pub async fn put_policy(
        &self,
        proof: Authorized<Administer, Cluster>,
        view: &SystemView,
        policy: VersioningPolicyRecord,
        context: &RequestContext,
    ) -> Result<bool, Failure> {
        check_rules(&policy)?;
        let id = match policy_named(view, &policy.uuid) {
            Ok(existing) => existing.id,
            Err(failure) if failure.code == ErrorCode::NotFound => id_bytes(self.draw_id()),
            Err(failure) => return Err(failure),
        };
        let put = PutPolicy { policy: Some(VersioningPolicyRecord { id, built_in: false, ..policy }) };
        let what = cluster_command::What::PutPolicy(put);
        self.propose_cluster(&proof, what, context).await.map(|done| done.created)
    }

    /// Deletes a policy that no datasource has.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`]; [`ErrorCode::NotEmpty`] with the datasource that has it; [`ErrorCode::Forbidden`] for one that every cluster has.
    pub async fn delete_policy(
        &self,
        proof: Authorized<Administer, Cluster>,
        view: &SystemView,
        uuid: &str,
        context: &RequestContext,
    ) -> Result<(), Failure> {
        let delete = DeletePolicy { policy: policy_named(view, uuid)?.id };
        self.propose_cluster(&proof, cluster_command::What::DeletePolicy(delete), context).await.map(|_done| ())
    }

    /// Counts what a policy would prune of a datasource now, page by page.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] with the field that cannot be, [`ErrorCode::NotFound`] for an unknown datasource; [`ErrorCode::Unavailable`].
    pub async fn preview_policy(
        &self,
        _proof: Authorized<Administer, Cluster>,
        view: &SystemView,
        (policy, datasource): (VersioningPolicyRecord, &str),
        context: &RequestContext,
    ) -> Result<PrunePreview, Failure> {
        check_rules(&policy)?;
        let group = GroupId::from(DatasourceId(datasource_named(view, datasource)?.id));
        let at = self.now_micros();
        let mut question = PruneQuery { policy: Some(policy), limit: limits::PREVIEW_FILES, at, ..PruneQuery::default() };
        let mut tally = Tally::default();
        loop {
            let asked = Query { what: Some(query::What::Prune(question.clone())) };
            let answer = self.metadata().query(group, asked, context.continued().deadline()).await?;
            let Some(answer::What::Prune(page)) = answer.what else {
                return Err(Failure::new(ErrorCode::Internal, format!("{datasource}: the metadata answered another question")));
            };
            tally.add(&page);
            if page.cursor.is_empty() {
                return Ok(tally.preview);
            }
            question.after = page.cursor;
        }
    }

    /// Proposes a change of the cluster's own records.
    pub(crate) async fn propose_cluster(
        &self,
        proof: &Authorized<Administer, Cluster>,
        what: cluster_command::What,
        context: &RequestContext,
    ) -> Result<skep_raft::wire::meta::v1::Done, Failure> {
        let what = command::What::Cluster(ClusterCommand { what: Some(what) });
        self.propose(proof, GroupId::SYSTEM, what, context).await.map(|proposed| proposed.done)
    }
}

/// The policy of a Uuid.
pub(crate) fn policy_named(view: &SystemView, uuid: &str) -> Result<VersioningPolicyRecord, Failure> {
    let found = view.policies()?.into_iter().find(|policy| policy.uuid == uuid);
    found.ok_or_else(|| {
        let why = format!("there is no versioning policy {uuid:?}; GET /a/config/versioning lists them");
        Failure::new(ErrorCode::NotFound, why)
    })
}

/// The Uuid of the policy that a datasource names; empty where it names none.
pub(crate) fn uuid_of_policy(view: &SystemView, policy: &[u8]) -> Result<String, Failure> {
    match RecordId::try_from(policy) {
        Ok(id) => Ok(view.policy(id)?.map(|policy| policy.uuid).unwrap_or_default()),
        Err(_none) => Ok(String::new()),
    }
}

fn check_rules(policy: &VersioningPolicyRecord) -> Result<(), Failure> {
    Rules::of(policy).map(|_rules| ()).map_err(|fault| Failure::new(ErrorCode::BadRequest, fault.to_string()))
}

#[cfg(test)]
mod tests {
    use skep_raft::wire::meta::v1::{PartlyDropped, PruneAnswer};

    use super::Tally;

    #[test]
    fn a_content_is_freed_by_the_last_page_that_drops_it() {
        let partly = |content, dropped| PartlyDropped { content, dropped, references: 3, bytes: 10 };
        let page =
            |partly: Vec<PartlyDropped>| PruneAnswer { files: 1, versions: 2, bytes: 20, bytes_freed: 1, partly, ..PruneAnswer::default() };
        let mut tally = Tally::default();
        tally.add(&page(vec![partly(1, 2), partly(2, 1)]));
        assert_eq!(tally.preview.bytes_freed, 1);
        tally.add(&page(vec![partly(1, 1), partly(2, 1)]));
        assert_eq!((tally.preview.bytes_freed, tally.preview.versions, tally.preview.files), (12, 4, 2));
    }
}
