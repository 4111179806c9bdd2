//! Waits for a condition with a limit; there are no other sleeps in tests.

use std::time::{Duration, Instant};

/// Between two looks.
pub const INTERVAL: Duration = Duration::from_millis(100);

/// Looks until the condition gives a value.
///
/// # Panics
/// If it has not by the limit, with what was waited for and the last word of the condition.
pub async fn wait_for<T, F>(what: &str, limit: Duration, mut condition: F) -> T
where
    F: AsyncFnMut() -> Result<T, String>,
{
    let begun = Instant::now();
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(why) if begun.elapsed() > limit => panic!("waited {limit:?} for {what}: {why}"),
            Err(_not_yet) => tokio::time::sleep(INTERVAL).await,
        }
    }
}
