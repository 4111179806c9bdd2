//! The proof that somebody may do something: made only here, from a decision over a linearizable view of the system group.
//!
//! [`Authorized`] has private fields and no `Clone`; it is bound to who asked, to what, and to the system index it was decided at. Use cases take it by
//! value, so each use is one decision. What cannot be decided is denied.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use skep_placement::ids::RecordId;
use skep_raft::handle::Metadata;
use skep_raft::state::rights::{self, Decision, Denial};
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1::{Actor, QuotaLimit};
use tokio::time::Instant;

use crate::auth::authenticator::SignedIn;
use crate::error_code::{ErrorCode, Failure, Heard};
use crate::limits;
use crate::service::place::Place;
use crate::service::user_path::UserPath;

/// A kind of action, as a type.
pub trait Action: Send + Sync + 'static {
    /// The same as a value.
    const ACTION: rights::Action;
}

/// Something that rights are decided about.
pub trait Subject: Send + Sync {
    /// What the decision is about.
    fn resource(&self) -> rights::Resource;
    /// Its name for people.
    fn shown(&self) -> String;
    /// It is looked at as it was, and so cannot be changed.
    fn is_past(&self) -> bool {
        false
    }
    /// How much may lie there after a change.
    fn quotas(&self) -> Vec<QuotaLimit> {
        Vec::new()
    }
}

/// Defines an action's type.
macro_rules! action {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Action for $name {
            const ACTION: rights::Action = rights::Action::$name;
        }
    };
}

action!(
    /// See names, sizes, times and versions.
    ReadTree
);
action!(
    /// Make, rename, move and delete entries.
    WriteTree
);
action!(
    /// Read the bytes of files.
    ReadContent
);
action!(
    /// Write the bytes of files.
    WriteContent
);
action!(
    /// Everything about the cluster: users, workspaces, status.
    Administer
);
action!(
    /// See an account.
    ReadAccount
);
action!(
    /// Change an account's tokens and password.
    ChangeAccount
);
action!(
    /// See a job.
    ReadJob
);
action!(
    /// Stop a job.
    ChangeJob
);
action!(
    /// See what is noted under a namespace.
    ReadNamespace
);
action!(
    /// Note something under a namespace.
    WriteNamespace
);

/// The cluster as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Cluster;

impl Subject for Cluster {
    fn resource(&self) -> rights::Resource {
        rights::Resource::Cluster
    }

    fn shown(&self) -> String {
        "the cluster".to_owned()
    }
}

/// A user's account.
#[derive(Clone, Copy, Debug)]
pub struct Account(pub RecordId);

impl Subject for Account {
    fn resource(&self) -> rights::Resource {
        rights::Resource::Account(self.0)
    }

    fn shown(&self) -> String {
        format!("the account {}", self.0)
    }
}

/// A job.
#[derive(Clone, Copy, Debug)]
pub struct Job(pub RecordId);

impl Subject for Job {
    fn resource(&self) -> rights::Resource {
        rights::Resource::Job(self.0)
    }

    fn shown(&self) -> String {
        format!("the job {}", self.0)
    }
}

/// The proof that `A` is allowed on a subject.
#[derive(Debug)]
#[must_use = "a proof that is not used proves nothing"]
pub struct Authorized<A, S> {
    who: Arc<SignedIn>,
    subject: S,
    index: u64,
    decided_at: Instant,
    action: PhantomData<fn() -> A>,
}

impl<A: Action, S: Subject> Authorized<A, S> {
    /// Decides over a linearizable view. The only way to a proof.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] for what the caller may not even see, [`ErrorCode::Forbidden`] for the rest.
    pub fn decide(view: &SystemView, who: Arc<SignedIn>, subject: S) -> Result<Self, Failure> {
        decide_value(view, &who, A::ACTION, &subject)?;
        let index = view.index()?;
        Ok(Self { who, subject, index, decided_at: Instant::now(), action: PhantomData })
    }

    /// Decides again over a fresh view: before a proposal that follows a long body, in long streams, and when what was read knows a newer decision.
    ///
    /// # Errors
    /// As [`Authorized::decide`], and [`ErrorCode::Unauthorized`] if the account or token is gone.
    pub async fn renew(self, metadata: &Metadata, now_micros: u64, deadline: Instant) -> Result<Self, Failure> {
        let view = metadata.system(deadline).await?;
        let who = Arc::new(self.who.still_valid(&view, now_micros)?);
        Self::decide(&view, who, self.subject)
    }

    /// [`Authorized::renew`] in place; after an error the proof stays as it was and must not be used.
    ///
    /// # Errors
    /// As [`Authorized::renew`].
    pub async fn renew_in_place(&mut self, metadata: &Metadata, now_micros: u64, deadline: Instant) -> Result<(), Failure> {
        let view = metadata.system(deadline).await?;
        let who = Arc::new(self.who.still_valid(&view, now_micros)?);
        decide_value(&view, &who, A::ACTION, &self.subject)?;
        self.who = who;
        self.index = view.index()?;
        self.decided_at = Instant::now();
        Ok(())
    }

    /// The system index that a command proposed now rests on, that of a new decision: a revoke acknowledged before stops the command, however short ago the
    /// proof was made.
    ///
    /// # Errors
    /// As [`Authorized::renew`].
    pub async fn index_for_proposal(&self, metadata: &Metadata, now_micros: u64, deadline: Instant) -> Result<u64, Failure> {
        if self.who.is_operator() {
            return Ok(self.index);
        }
        let view = metadata.system(deadline).await?;
        let who = self.who.still_valid(&view, now_micros)?;
        decide_value(&view, &who, A::ACTION, &self.subject)?;
        Ok(view.index()?)
    }

    /// What it is about.
    pub fn subject(&self) -> &S {
        &self.subject
    }

    /// The system index it was decided at.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// True if an open stream should have it decided again.
    pub fn is_old(&self) -> bool {
        self.decided_at.elapsed() >= limits::STREAM_RIGHTS_CHECK
    }

    /// Who was allowed.
    pub fn who(&self) -> &Arc<SignedIn> {
        &self.who
    }

    /// The limits that a change of the subject is held to, as they were when this was decided.
    pub fn quotas(&self) -> Vec<QuotaLimit> {
        self.subject.quotas()
    }

    /// The same for commands.
    pub fn actor(&self) -> Actor {
        self.who.actor()
    }
}

impl<A: Action> Authorized<A, Place> {
    /// The same proof for another path of the same workspace, whose rights are those of all that is in it; none for another workspace's.
    pub(crate) fn also_at(&self, path: &UserPath) -> Option<Self> {
        (path.slug() == self.subject.path().slug()).then(|| Self {
            who: Arc::clone(&self.who),
            subject: self.subject.with_path(path.clone()),
            index: self.index,
            decided_at: self.decided_at,
            action: PhantomData,
        })
    }
}

impl Authorized<Administer, Cluster> {
    /// The proof for a command that came over mutual TLS from a node of this cluster, where the operator's shell runs: whoever holds a node's key holds the
    /// cluster. Never for a client of the API.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] if the view cannot be read.
    pub fn operator(view: &SystemView) -> Result<Self, Failure> {
        let who = Arc::new(SignedIn::operator());
        Ok(Self { who, subject: Cluster, index: view.index()?, decided_at: Instant::now(), action: PhantomData })
    }
}

impl Authorized<WriteTree, Place> {
    /// The proof for a command of an operator's shell about a path, as [`Authorized::operator`]; with a login it is that user's own rights that count, and the
    /// user's own folders that are meant.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] for an unknown workspace or user, [`ErrorCode::Forbidden`] for what the user may not.
    pub fn operator_at(view: &SystemView, path: UserPath, login: &str) -> Result<Self, Failure> {
        if login.is_empty() {
            let who = Arc::new(SignedIn::operator());
            let subject = Place::find(view, &who, path)?;
            if subject.is_past() {
                return Err(Failure::new(ErrorCode::Forbidden, "the past is only to look at"));
            }
            return Ok(Self { who, subject, index: view.index()?, decided_at: Instant::now(), action: PhantomData });
        }
        let who = Arc::new(SignedIn::named(view, login)?);
        let subject = Place::find(view, &who, path)?;
        Self::decide(view, who, subject)
    }
}

fn decide_value(view: &SystemView, who: &SignedIn, action: rights::Action, subject: &impl Subject) -> Result<(), Failure> {
    if subject.is_past() && matches!(action, rights::Action::WriteTree | rights::Action::WriteContent) {
        let why = format!("{}: the past is only to look at; restore it, or copy from it", subject.shown());
        return Err(Failure::new(ErrorCode::Forbidden, why));
    }
    let resource = subject.resource();
    let Decision::Denied { reason } = rights::decide(view, who.identity(), action, &resource)? else { return Ok(()) };
    if matches!(reason, Denial::NoUser | Denial::Disabled | Denial::Revised) {
        return Err(Failure::new(ErrorCode::Unauthorized, format!("{reason}; sign in again")));
    }
    let hidden = match &resource {
        rights::Resource::Workspace(_) => !rights::decide(view, who.identity(), rights::Action::ReadTree, &resource)?.is_allowed(),
        rights::Resource::Job(_) => true,
        rights::Resource::Namespace(_) => !rights::decide(view, who.identity(), rights::Action::ReadNamespace, &resource)?.is_allowed(),
        _ => false,
    };
    if hidden {
        return Err(Failure::not_found(&subject.shown()).heard(Heard::Always));
    }
    Err(Failure::new(ErrorCode::Forbidden, format!("{}: {reason}", subject.shown())))
}

impl SignedIn {
    /// Who asks, as it is written into versions and audit.
    #[must_use]
    pub fn actor(&self) -> Actor {
        let user = if self.is_operator() { Bytes::new() } else { Bytes::copy_from_slice(&self.identity().user.0) };
        Actor { user, login: self.identity().login.clone() }
    }
}
