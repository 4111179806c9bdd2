//! Jobs, begun and watched as clients do.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::side::Side;

/// A job that takes longer has failed.
const JOB_MAX: Duration = Duration::from_secs(120);
/// Between two looks at a job.
const PAUSE: Duration = Duration::from_millis(10);

/// Begins a job and waits until it is done; how long that took.
///
/// # Errors
/// If it is refused, fails or takes too long.
pub(crate) async fn run(side: &Side, name: &str, parameters: &Value) -> Result<Duration, Fault> {
    let begun = Instant::now();
    let started = side.send(Method::PUT, &format!("/a/jobs/user/{name}"), &json!({"JsonParameters": parameters.to_string()})).await?;
    let job = started["JobUuid"].clone();
    loop {
        let jobs = side.send(Method::POST, "/a/jobs/user", &json!({"JobIDs": [job], "LoadTasks": "Any"})).await?;
        let task = &jobs["Jobs"][0]["Tasks"][0];
        match task["Status"].as_str() {
            Some("Finished") => return Ok(begun.elapsed()),
            Some("Queued" | "Running") if begun.elapsed() < JOB_MAX => tokio::time::sleep(PAUSE).await,
            other => {
                let (state, said) = (other.unwrap_or("not listed"), task["StatusMessage"].as_str().unwrap_or_default());
                return Err(Fault::new(format!("the job {name} {parameters} is {state} after {:?}: {said}", begun.elapsed())));
            }
        }
    }
}
