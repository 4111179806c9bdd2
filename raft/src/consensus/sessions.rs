//! The sessions of this process: one in each group, opened at first use, so that a command tried twice is done once.
//!
//! A number is outstanding from the moment it is drawn until its answer is known or its caller gives it up. A number that was given up counts as answered:
//! the group then refuses its late copy.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use skep_placement::ids::GroupId;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::limits;
use crate::errors::ProposeError;

/// All sessions of this process.
#[derive(Default)]
pub(crate) struct Sessions {
    groups: Mutex<BTreeMap<GroupId, Arc<Session>>>,
}

/// A session in one group.
struct Session {
    id: OnceCell<u64>,
    numbers: Mutex<Numbers>,
}

struct Numbers {
    next: u64,
    outstanding: BTreeSet<u64>,
    last_used: Instant,
}

impl Session {
    fn new() -> Self {
        let numbers = Numbers { next: 1, outstanding: BTreeSet::new(), last_used: Instant::now() };
        Self { id: OnceCell::new(), numbers: Mutex::new(numbers) }
    }

    /// Nobody waits for anything in it and the group may have closed it.
    fn is_stale(&self) -> bool {
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.outstanding.is_empty() && numbers.last_used.elapsed() >= limits::SESSION_IDLE_MAX
    }
}

/// A number drawn from a session. Dropping it gives it up.
pub(crate) struct Ticket {
    session: Arc<Session>,
    pub(crate) id: u64,
    pub(crate) number: u64,
    pub(crate) lowest_unanswered: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.session.numbers.lock().unwrap_or_else(PoisonError::into_inner).outstanding.remove(&self.number);
    }
}

impl Sessions {
    /// Draws a number in a group; `open` opens a session if there is none.
    pub(crate) async fn draw<F, Fut>(&self, group: GroupId, open: F) -> Result<Ticket, ProposeError>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<u64, ProposeError>>,
    {
        let session = {
            let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
            let session = groups.entry(group).or_insert_with(|| Arc::new(Session::new()));
            if session.is_stale() {
                *session = Arc::new(Session::new());
            }
            Arc::clone(session)
        };
        let id = *session.id.get_or_try_init(open).await?;
        let (number, lowest_unanswered) = {
            let mut numbers = session.numbers.lock().unwrap_or_else(PoisonError::into_inner);
            let number = numbers.next;
            let lowest = numbers.outstanding.first().copied().unwrap_or(number);
            let window = u64::try_from(limits::UNANSWERED_MAX).unwrap_or(u64::MAX);
            if number - lowest >= window {
                return Err(ProposeError::TooBusy);
            }
            numbers.next += 1;
            numbers.outstanding.insert(number);
            numbers.last_used = Instant::now();
            (number, lowest)
        };
        Ok(Ticket { session, id, number, lowest_unanswered })
    }

    /// The group has closed the session: the next command opens another.
    pub(crate) fn forget(&self, group: GroupId, id: u64) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if groups.get(&group).is_some_and(|session| session.id.get() == Some(&id)) {
            groups.remove(&group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId(3);

    async fn draw(sessions: &Sessions, id: u64) -> Ticket {
        sessions.draw(GROUP, || async move { Ok(id) }).await.expect("it can be opened")
    }

    #[tokio::test]
    async fn numbers_given_up_count_as_answered() {
        let sessions = Sessions::default();
        let (first, second) = (draw(&sessions, 7).await, draw(&sessions, 8).await);
        assert_eq!((first.id, first.number, first.lowest_unanswered), (7, 1, 1), "the first");
        assert_eq!((second.id, second.number, second.lowest_unanswered), (7, 2, 1), "the second, in the same session");
        drop(first);
        let third = draw(&sessions, 9).await;
        assert_eq!((third.number, third.lowest_unanswered), (3, 2), "the first is answered");
        drop((second, third));
        assert_eq!(draw(&sessions, 9).await.lowest_unanswered, 4, "all are answered");
    }

    #[tokio::test]
    async fn a_closed_session_is_replaced() {
        let sessions = Sessions::default();
        drop(draw(&sessions, 7).await);
        sessions.forget(GROUP, 6);
        assert_eq!(draw(&sessions, 8).await.id, 7, "another session was forgotten");
        sessions.forget(GROUP, 7);
        let ticket = draw(&sessions, 8).await;
        assert_eq!((ticket.id, ticket.number), (8, 1), "a new one");
    }

    #[tokio::test]
    async fn the_window_is_bounded() {
        let sessions = Sessions::default();
        let mut held = Vec::new();
        for _ in 0..limits::UNANSWERED_MAX {
            held.push(draw(&sessions, 7).await);
        }
        let refused = sessions.draw(GROUP, || async { Ok(1) }).await;
        assert_eq!(refused.err(), Some(ProposeError::TooBusy), "one too many");
    }
}
