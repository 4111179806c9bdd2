//! Bringing files and folders back to an instant.

use skep_api::auth::rights::{Authorized, WriteTree};
use skep_api::service::instant;
use skep_api::service::place::Place;
use tonic::Status;

use super::wire::{RestoreReply, RestoreRequest};
use super::{AdminParts, Call, status};

impl AdminParts {
    pub(super) async fn restore(&self, call: Call, request: RestoreRequest) -> Result<RestoreReply, Status> {
        let at = instant::parse(&request.at).map_err(status)?;
        let path = request.path.parse().map_err(status)?;
        let proof: Authorized<WriteTree, Place> = Authorized::operator_at(&call.view, path, &request.login).map_err(status)?;
        let done = self.app.service().restore(proof, (at, request.only_say), &call.context).await.map_err(status)?;
        Ok(RestoreReply {
            made: done.made,
            reverted: done.reverted,
            moved: done.moved,
            removed: done.removed,
            looked_at: done.looked_at,
            at: instant::show(at),
        })
    }
}
