//! The workspaces that a socket's user may read, each followed by a task of its own, and the one queue of their events.

use std::collections::BTreeMap;

use skep_placement::ids::RecordId;
use skep_raft::wire::meta::v1::WorkspaceRecord;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::app::Caller;
use crate::auth::rights::{ReadAccount, ReadTree};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::rest::changes::{Ids, message};
use crate::service::feed::{Followed, Follower};
use crate::service::user_path::UserPath;

/// What the socket hears.
pub(super) enum Heard {
    /// An event as it is sent.
    Event(String),
    /// The user's right to be told anything has ended.
    Ended(Failure),
}

/// Everything that one user follows; dropped, it follows nothing.
pub(super) struct Following {
    caller: Caller,
    tasks: JoinSet<()>,
    followed: BTreeMap<RecordId, AbortHandle>,
    events: mpsc::Receiver<Heard>,
    to_events: mpsc::Sender<Heard>,
    looked_at: Instant,
}

impl Following {
    /// Begins with what changes from now on.
    pub(super) async fn begin(caller: Caller) -> Result<Self, Failure> {
        let (to_events, events) = mpsc::channel(limits::SOCKET_EVENTS);
        let (tasks, followed) = (JoinSet::new(), BTreeMap::new());
        let mut following = Self { caller, tasks, followed, events, to_events, looked_at: Instant::now() };
        following.follow_all().await?;
        Ok(following)
    }

    /// What comes next.
    ///
    /// # Cancel safety
    /// Dropped, nothing is lost.
    pub(super) async fn heard(&mut self) -> Heard {
        // The sender that is kept here keeps the queue open.
        self.events.recv().await.unwrap_or_else(|| Heard::Ended(Failure::new(ErrorCode::Internal, "the events have ended")))
    }

    /// Now and then looks which workspaces the user may read now.
    pub(super) async fn look_again(&mut self) -> Result<(), Failure> {
        while self.tasks.try_join_next().is_some() {}
        if self.looked_at.elapsed() < limits::STREAM_RIGHTS_CHECK {
            return Ok(());
        }
        match self.caller.refreshed(&self.caller.context().continued()).await {
            Ok(caller) => self.caller = caller,
            // Whoever follows a workspace has its own rights decided again; they end when that cannot be done.
            Err(failure) if failure.code == ErrorCode::Unavailable => return Ok(()),
            Err(failure) => return Err(failure),
        }
        self.looked_at = Instant::now();
        self.follow_all().await
    }

    async fn follow_all(&mut self) -> Result<(), Failure> {
        let seen = self.caller.service().workspaces_of(self.caller.own::<ReadAccount>()?, self.caller.view())?;
        self.followed.retain(|_, task| !task.is_finished());
        for workspace in seen.into_iter().take(limits::SOCKET_WORKSPACES) {
            let id = RecordId::try_from(workspace.record.id.as_ref()).unwrap_or_default();
            if !self.followed.contains_key(&id) {
                self.follow(id, &workspace.record).await?;
            }
        }
        Ok(())
    }

    async fn follow(&mut self, id: RecordId, workspace: &WorkspaceRecord) -> Result<(), Failure> {
        let path: UserPath = workspace.slug.parse()?;
        let begun = match self.caller.at::<ReadTree>(&path) {
            Ok(proof) => self.caller.service().follow(proof, None, self.caller.context()).await,
            Err(failure) => Err(failure),
        };
        match begun {
            Ok(follower) => {
                self.followed.insert(id, self.tasks.spawn(tell(follower, self.to_events.clone())));
                Ok(())
            }
            // What cannot be followed now is tried again at the next look; the others are followed meanwhile.
            Err(failure) => {
                tracing::debug!(workspace = %workspace.slug, %failure, "a workspace is not followed");
                Ok(())
            }
        }
    }
}

/// Tells of a workspace until its right ends or nobody listens.
async fn tell(mut follower: Follower, to: mpsc::Sender<Heard>) {
    loop {
        match follower.next(limits::FEED_CHANGES_DEFAULT, limits::FEED_SIGN_OF_LIFE).await {
            Ok(Followed::Changes { changes, .. }) => {
                for told in &changes {
                    let message = message(follower.place(), told, Ids::Each);
                    let text = serde_json::to_string(&message).expect("messages of strings have a JSON form");
                    if to.send(Heard::Event(text)).await.is_err() {
                        return;
                    }
                }
            }
            // Events have no positions; what was not told is seen by the client's next listing.
            Ok(Followed::Anew) => {}
            Err(failure) if matches!(failure.code, ErrorCode::Unavailable | ErrorCode::TooBusy) => {
                tokio::time::sleep(limits::FEED_LOOK).await;
            }
            Err(failure) if failure.code == ErrorCode::Unauthorized => {
                let _nobody_listens = to.send(Heard::Ended(failure)).await;
                return;
            }
            Err(failure) => {
                tracing::debug!(%failure, "a workspace is not followed any more");
                return;
            }
        }
    }
}
