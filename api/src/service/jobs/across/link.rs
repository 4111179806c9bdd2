//! Links what was built at its target, by one command: nobody sees half of it, and what it replaces goes by the same command.

use skep_placement::ids::EntryId;
use skep_raft::wire::meta::v1::{
    BatchStep, DeleteEntry, HoldsStill, MoveEntry, Precondition, Query, StatQuery, TreeBatch, answer, batch_step, query, tree_command,
};

use super::Builder;
use crate::error_code::{ErrorCode, Failure};
use crate::service::jobs::transfer_job::{step, step_as};
use crate::service::tree::entry_id;

impl Builder<'_> {
    pub(super) async fn link(&mut self) -> Result<(), Failure> {
        let root = self.built_root().await?;
        let moved = self.ends.putting(self.running, self.built_path(&[]), root);
        let what = match &self.replacing {
            None => tree_command::What::MoveEntry(moved),
            Some(condition) => tree_command::What::Batch(self.replacement(condition, moved)),
        };
        let linked = step_as(self.running, &self.ends.target, what, &self.running.deciding()).await;
        let Err(failure) = linked else { return Ok(()) };
        let context = self.running.context();
        let there = self.running.service().stat_if_there(&mut self.ends.target, Default::default(), &context).await?;
        if there.is_some_and(|there| entry_id(&there) == root) { Ok(()) } else { Err(failure) }
    }

    /// What is there goes, if it is still what was seen, and what was built takes its place.
    fn replacement(&self, condition: &Precondition, moved: MoveEntry) -> TreeBatch {
        let path = Some(self.ends.target.subject().entry());
        let mut steps = vec![batch_step::What::HoldsStill(HoldsStill {
            path: path.clone(),
            condition: Some(condition.clone()),
            ..HoldsStill::default()
        })];
        if !condition.must_not_exist {
            steps.push(batch_step::What::DeleteEntry(DeleteEntry { path, permanently: true, ..DeleteEntry::default() }));
        }
        steps.push(batch_step::What::MoveEntry(moved));
        TreeBatch { steps: steps.into_iter().map(|what| BatchStep { what: Some(what) }).collect() }
    }

    /// Takes away what was built in vain. What cannot be taken away now hangs nowhere.
    pub(super) async fn discard(&self) {
        let command = DeleteEntry { path: Some(self.built_path(&[])), permanently: true, ..DeleteEntry::default() };
        match step(self.running, &self.ends.target, tree_command::What::DeleteEntry(command)).await {
            Err(failure) if failure.code != ErrorCode::NotFound => {
                tracing::warn!(job = %self.running.id(), %failure, "what a job built in vain was not taken away");
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// The id of what was built. A shared file's is the state machine's choice.
    async fn built_root(&self) -> Result<EntryId, Failure> {
        let question = Query { what: Some(query::What::Stat(StatQuery { path: Some(self.built_path(&[])), ..StatQuery::default() })) };
        let group = self.ends.target.subject().group();
        let answer = self.running.service().metadata().query(group, question, self.running.context().deadline()).await?;
        match answer.what {
            Some(answer::What::Entry(entry)) => Ok(entry_id(&entry)),
            _ => Ok(Self::root_entry(self.running, self.item)),
        }
    }
}
