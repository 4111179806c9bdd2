//! Somebody who signed in, for one request: the view its rights are decided over, and the way from paths to proofs.

use std::sync::Arc;

use skep_placement::ids::RecordId;
use skep_raft::system_view::SystemView;

use super::App;
use crate::auth::authenticator::{Asking, SignedIn};
use crate::auth::rights::{Account, Action, Administer, Authorized, Cluster, Job, Subject};
use crate::error_code::Failure;
use crate::request_context::RequestContext;
use crate::service::metadata::{Namespace, VisibleNotes};
use crate::service::place::Place;
use crate::service::user_path::UserPath;
use crate::service::{Service, instant};
use crate::stated::Stated;

/// A caller.
#[derive(Clone, Debug)]
pub struct Caller {
    app: App,
    who: Arc<SignedIn>,
    view: SystemView,
    context: RequestContext,
}

impl Caller {
    pub(super) fn new(app: App, who: Arc<SignedIn>, view: SystemView, context: RequestContext) -> Self {
        Self { app, who, view, context }
    }

    /// The same caller over a view that holds all that was acknowledged before now.
    pub(crate) async fn refreshed(&self, context: &RequestContext) -> Result<Self, Failure> {
        let view = self.service().metadata().system(context.deadline()).await?;
        let who = self.who.still_valid(&view, self.app.authenticator().now_micros(&view)?)?;
        Ok(Self { app: self.app.clone(), who: Arc::new(who), view, context: context.clone() })
    }

    /// The same caller with a new wait for metadata: a request about many things waits for each.
    pub(crate) fn continued(&self) -> Self {
        Self { context: self.context.continued(), ..self.clone() }
    }

    /// The same caller with what the request says of locks and states.
    pub(crate) fn stating(self, stated: Stated) -> Self {
        Self { context: self.context.stating(stated), ..self }
    }

    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    pub(crate) fn service(&self) -> &Service {
        self.app.service()
    }

    pub(crate) fn view(&self) -> &SystemView {
        &self.view
    }

    pub(crate) fn context(&self) -> &RequestContext {
        &self.context
    }

    pub(crate) fn asking(&self) -> Asking<'_> {
        Asking { view: &self.view, remote: self.context.remote }
    }

    pub(crate) fn login(&self) -> &str {
        &self.who.identity().login
    }

    pub(crate) fn user(&self) -> RecordId {
        self.who.identity().user
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.who.identity().admin
    }

    /// The place of a path that names a workspace.
    pub(crate) fn place(&self, path: UserPath) -> Result<Place, Failure> {
        let place = Place::find(&self.view, &self.who, path)?;
        if place.instant() != 0 {
            let shown = place.path().to_string();
            instant::check_past(place.instant(), self.service().now_micros()).map_err(|failure| failure.at(&shown))?;
        }
        Ok(place)
    }

    /// The proof for what is noted under a namespace.
    pub(crate) fn namespace<A: Action>(&self, name: &str) -> Result<Authorized<A, Namespace>, Failure> {
        self.authorize(Namespace::find(&self.view, name)?)
    }

    /// Hides from entries what the caller may not see of their notes.
    pub(crate) fn visible_notes(&self) -> VisibleNotes {
        VisibleNotes::new(self.view.clone(), self.who.identity().clone())
    }

    /// Decides about anything, over the view of this request.
    pub(crate) fn authorize<A: Action, S: Subject>(&self, subject: S) -> Result<Authorized<A, S>, Failure> {
        Authorized::decide(&self.view, Arc::clone(&self.who), subject)
    }

    /// The proof for the place of a path.
    pub(crate) fn at<A: Action>(&self, path: &UserPath) -> Result<Authorized<A, Place>, Failure> {
        self.authorize(self.place(path.clone())?)
    }

    /// Proofs for the places of many paths.
    pub(crate) fn proofs<A: Action>(&self) -> Proofs<'_, A> {
        Proofs { caller: self, last: None }
    }

    /// The proof for the place of a path as it was at an instant that the client names; of now, where it names none.
    pub(crate) fn at_instant<A: Action>(&self, path: &UserPath, at: &str) -> Result<Authorized<A, Place>, Failure> {
        let place = self.place(path.clone())?;
        if at.is_empty() {
            return self.authorize(place);
        }
        let at = instant::parse(at).map_err(|failure| failure.at("at"))?;
        self.authorize(place.at(instant::check_past(at, self.service().now_micros())?))
    }

    /// The proof for one's own account.
    pub(crate) fn own<A: Action>(&self) -> Result<Authorized<A, Account>, Failure> {
        self.authorize(Account(self.user()))
    }

    /// The proof for administrators.
    pub(crate) fn administer(&self) -> Result<Authorized<Administer, Cluster>, Failure> {
        self.authorize(Cluster)
    }

    /// The proof for a job.
    pub(crate) fn job<A: Action>(&self, job: RecordId) -> Result<Authorized<A, Job>, Failure> {
        self.authorize(Job(job))
    }
}

/// Proofs for many places: what was decided of a workspace counts for those that follow in it.
pub(crate) struct Proofs<'a, A> {
    caller: &'a Caller,
    last: Option<Authorized<A, Place>>,
}

impl<A: Action> Proofs<'_, A> {
    /// The proof for the place of a path.
    pub(crate) fn at(&mut self, path: &UserPath) -> Result<Authorized<A, Place>, Failure> {
        if let Some(known) = self.last.as_ref().and_then(|last| last.also_at(path)) {
            return Ok(known);
        }
        let proof = self.caller.at::<A>(path)?;
        self.last = proof.also_at(path);
        Ok(proof)
    }
}
