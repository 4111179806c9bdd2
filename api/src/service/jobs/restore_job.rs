//! Brings a file or folder back to an instant, as a job: one command, so that whoever takes it again finds it done or does it.

use std::sync::Arc;

use super::record::RestoreParameters;
use super::running::Running;
use crate::auth::authenticator::SignedIn;
use crate::auth::rights::Authorized;
use crate::error_code::Failure;
use crate::service::place::Place;

/// Restores as the user who asked.
pub(super) async fn run(running: &Running) -> Result<(), Failure> {
    let parameters = RestoreParameters::from_json(&running.job.parameters_json)?;
    let view = running.service().metadata().system(running.context().deadline()).await?;
    let who = Arc::new(SignedIn::of_job(&view, &running.job)?);
    let place = Place::find(&view, &who, parameters.node.parse()?)?;
    let proof = Authorized::decide(&view, who, place)?;
    running.show(100, "comparing".to_owned());
    let restored = running.service().restore(proof, (parameters.at, false), &running.deciding()).await?;
    let said = format!(
        "{} made again, {} got an older version, {} moved back, {} removed; {} names compared",
        restored.made, restored.reverted, restored.moved, restored.removed, restored.looked_at
    );
    running.show(1_000, said);
    Ok(())
}
