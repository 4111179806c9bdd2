//! Brings a file or folder back to an instant, as a job: one command where so much can be changed by one, so that whoever takes it again finds it done or does
//! it.
//!
//! Where more differs, the folder is built anew as it was, in a hidden place and in steps that are safe to take twice, and then takes the place of the one
//! there is by one command, if nobody has changed that meanwhile. Its contents are shared as ever; its entries are new ones, with the notes that those they
//! replace have now, and what other users have marked or locked is not. A workspace's root is never replaced: it is brought back in [`parts`].

use std::sync::Arc;

use skep_raft::wire::meta::v1::{Precondition, answer};

use super::across::Builder;
use super::ends::Ends;
use super::record::RestoreParameters;
use super::running::Running;
use parts::Parts;

use crate::auth::authenticator::SignedIn;
use crate::auth::rights::Authorized;
use crate::error_code::{ErrorCode, Failure};
use crate::service::place::Place;
use crate::service::tree::{StatRequest, absent_or_fault, entry_id};

mod parts;

/// Restores as the user who asked.
pub(super) async fn run(running: &Running) -> Result<(), Failure> {
    let parameters = RestoreParameters::from_json(&running.job.parameters_json)?;
    let view = running.service().metadata().system(running.context().deadline()).await?;
    let who = Arc::new(SignedIn::of_job(&view, &running.job)?);
    let place = Place::find(&view, &who, parameters.node.parse()?)?;
    let ends = Ends {
        source: Authorized::decide(&view, Arc::clone(&who), place.clone().at(parameters.at))?,
        leaving: None,
        target: Authorized::decide(&view, Arc::clone(&who), place.clone())?,
        overwrite: false,
        condition: None,
        target_condition: None,
    };
    if running.position().is_begun() {
        return more_than_one_change(running, ends).await;
    }
    running.show(100, "comparing".to_owned());
    let proof = Authorized::decide(&view, who, place)?;
    let restored = match running.service().restore(proof, (parameters.at, false), &running.deciding()).await {
        Err(failure) if failure.code == ErrorCode::TooLarge => return more_than_one_change(running, ends).await,
        other => other?,
    };
    let said = format!(
        "{} made again, {} got an older version, {} moved back, {} removed; {} names compared",
        restored.made, restored.reverted, restored.moved, restored.removed, restored.looked_at
    );
    running.show(1_000, said);
    Ok(())
}

/// Restores what one command cannot. What another owner has begun goes on as it was begun.
async fn more_than_one_change(running: &Running, mut ends: Ends) -> Result<(), Failure> {
    let position = running.position();
    if position.is_begun() && !position.stepwise {
        return rebuild(running, ends).await;
    }
    match Parts::of(running, &mut ends).await? {
        Some(parts) => parts.restore().await,
        None if !position.is_begun() => rebuild(running, ends).await,
        None => {
            let why = format!("{}: it is no workspace's root any more; nothing was restored, try again", ends.target.subject().path());
            Err(Failure::new(ErrorCode::Conflict, why))
        }
    }
}

/// Builds the folder as it was and has it take the place of the one there is.
async fn rebuild(running: &Running, mut ends: Ends) -> Result<(), Failure> {
    let shown = ends.target.subject().path().to_string();
    let there = running.service().stat_if_there(&mut ends.target, StatRequest::default(), &running.context()).await?;
    if there.as_ref().is_some_and(|there| entry_id(there) == Builder::root_entry(running, 0)) {
        running.show(1_000, "built anew as it was".to_owned());
        return Ok(());
    }
    let was = match running.service().look(&mut ends.source, StatRequest::default(), &running.context()).await? {
        Ok(was) => was,
        Err(absence) => return Err(absent_or_fault(ends.source.subject(), Some(answer::What::Absence(absence)))),
    };
    let mut position = running.position();
    if !position.is_begun() {
        position.source = Some(entry_id(&was).to_string());
        position.source_etag = there.map(|there| there.etag);
        running.reach(position.clone());
        running.save().await?;
    }
    let seen = match &position.source_etag {
        Some(etag) => Precondition { etags_any: vec![etag.clone()], ..Precondition::default() },
        None => Precondition { must_not_exist: true, ..Precondition::default() },
    };
    let built = Builder::new(running, &mut ends, &was).replacing(seen).build(&mut position).await;
    built.map_err(|failure| match failure.code {
        ErrorCode::PreconditionFailed => {
            Failure::new(ErrorCode::Conflict, format!("{shown}: it was changed while it was restored; nothing was restored, try again"))
        }
        _ => failure,
    })?;
    running.show(1_000, format!("more differed than one change may touch: built anew as it was, {} entries", position.built));
    Ok(())
}
