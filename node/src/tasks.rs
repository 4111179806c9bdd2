//! The node's background tasks: named, told to stop by one token, joined at the end, never detached.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// All tasks of a running node.
#[derive(Debug)]
pub struct Tasks {
    stop: CancellationToken,
    running: Mutex<Vec<Task>>,
    failed: watch::Sender<Option<&'static str>>,
}

#[derive(Debug)]
struct Task {
    name: &'static str,
    handle: JoinHandle<()>,
}

/// Tells the node when its task ends by a panic, from the unwinding itself.
struct Alarm {
    name: &'static str,
    failed: watch::Sender<Option<&'static str>>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.failed.send_replace(Some(self.name));
        }
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self { stop: CancellationToken::new(), running: Mutex::default(), failed: watch::Sender::new(None) }
    }
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task; it is expected to end soon after [`Tasks::stopping`] is cancelled.
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let alarm = Alarm { name, failed: self.failed.clone() };
        let watched = async move {
            let _alarm = alarm;
            work.await;
        };
        let handle = tokio::spawn(watched.instrument(tracing::info_span!("task", name)));
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|task| !task.handle.is_finished());
        running.push(Task { name, handle });
    }

    /// Runs a step again and again until the tasks are told to stop, with a pause between.
    pub fn repeat<Step, Work>(&self, name: &'static str, pause: Duration, mut step: Step)
    where
        Step: FnMut() -> Work + Send + 'static,
        Work: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stopping();
        self.spawn(name, async move {
            while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
                step().await;
            }
        });
    }

    /// Cancelled when the tasks are to end.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Waits until a task has panicked and gives its name: a node with a dead task must not go on as if it were whole.
    ///
    /// # Cancel safety
    /// Nothing is lost; a later call gives the same name.
    pub async fn failed(&self) -> &'static str {
        let mut failed = self.failed.subscribe();
        let found = failed.wait_for(Option::is_some).await.map(|name| *name);
        match found {
            Ok(Some(name)) => name,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Tells all tasks to end and waits for them; gives the names of those that had to be aborted after `patience`.
    pub async fn join(&self, patience: Duration) -> Vec<&'static str> {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        let deadline = tokio::time::Instant::now() + patience;
        let mut aborted = Vec::new();
        for Task { name, mut handle } in tasks {
            if tokio::time::timeout_at(deadline, &mut handle).await.is_err() {
                handle.abort();
                // Waits for the abort itself; its cancellation error is what was asked for.
                let _cancelled = handle.await;
                aborted.push(name);
            }
        }
        aborted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_are_joined_and_the_stubborn_named() {
        let tasks = Tasks::new();
        let stop = tasks.stopping();
        tasks.spawn("good", async move { stop.cancelled().await });
        tasks.spawn("stubborn", std::future::pending());
        tasks.repeat("ticks", Duration::from_secs(3600), || async {});
        assert_eq!(tasks.join(Duration::from_millis(50)).await, ["stubborn"]);
    }

    #[tokio::test]
    async fn a_panic_is_noticed() {
        let tasks = Tasks::new();
        tasks.spawn("fragile", async { panic!("on purpose") });
        assert_eq!(tokio::time::timeout(Duration::from_secs(10), tasks.failed()).await, Ok("fragile"));
    }
}
