//! Something that is measured: Skep, an older Skep, the limit program, a peer. A workload knows no more of it than this.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request};

use crate::content::Content;
use crate::fault::Fault;
use crate::http_client::{Address, Connection, SendBody, Take};
use crate::processes;
use crate::protocol::{Operation, Protocol, Speaker};
use crate::workload::as_f64;

/// A node that is up must carry out a request within this after another was killed.
pub const TAKE_OVER_MAX: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// What is measured.
#[derive(Clone, Debug)]
pub struct Side {
    /// `skep`, `limit`, or a name given on the command line.
    pub name: String,
    /// How it is spoken to.
    pub speaker: Arc<Speaker>,
    /// The nodes that are up.
    pub addresses: Vec<Arc<Address>>,
    /// Their processes; empty if not known.
    pub pids: Vec<u32>,
}

impl Side {
    /// A connection of the client with this number; clients are dealt out over the nodes.
    ///
    /// # Panics
    /// Never: a side has an address.
    pub fn connection(&self, client: usize) -> Connection {
        Connection::new(Arc::clone(&self.addresses[client % self.addresses.len()]))
    }

    /// Counters in `/metrics` of calls of fdatasync: of logs, and of contents.
    fn sync_counters(&self) -> Option<(&'static str, &'static str)> {
        match self.speaker.protocol() {
            Protocol::Skep => Some(("skep_log_syncs_total", "skep_device_fsyncs_total")),
            // It tells them together.
            Protocol::Limit => Some(("", "limit_syncs_total")),
            Protocol::WebDav { .. } | Protocol::S3(_) => None,
        }
    }

    /// Calls of fdatasync by all nodes since they started; `None` if they do not count them.
    pub async fn syncs(&self) -> Option<Syncs> {
        let (logs, contents) = self.sync_counters()?;
        let mut sum = Syncs::default();
        for node in 0..self.addresses.len() {
            let text = self.get(node, "/metrics").await.ok()?;
            let of_log = counter(&text, logs).unwrap_or(0.0);
            sum.each_log += of_log / as_f64(u64::try_from(self.addresses.len()).ok()?);
            sum.all += of_log + counter(&text, contents).unwrap_or(0.0);
        }
        Some(sum)
    }

    /// A text from one node.
    ///
    /// # Errors
    /// If it does not answer with success.
    pub async fn get(&self, node: usize, path: &str) -> Result<String, Fault> {
        let request = Request::builder().method(Method::GET).uri(path).body(SendBody::Empty);
        let mut request = request.map_err(|error| Fault::new(error.to_string()))?;
        self.speaker.add_authorization(request.headers_mut());
        let answer = self.connection(node).request(request, Take::Keep).await?;
        if !answer.status.is_success() {
            return Err(Fault::new(format!("GET {path} answered {}: {}", answer.status, answer.shown())));
        }
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// Sends JSON to the first node; gives its answer.
    ///
    /// # Errors
    /// If it does not answer with success and JSON.
    pub async fn send(&self, method: Method, path: &str, body: &serde_json::Value) -> Result<serde_json::Value, Fault> {
        let request = Request::builder().method(method).uri(path).header(http::header::CONTENT_TYPE, "application/json");
        let mut request = request.body(SendBody::Full(body.to_string().into())).map_err(|error| Fault::new(error.to_string()))?;
        self.speaker.add_authorization(request.headers_mut());
        let answer = self.connection(0).request(request, Take::Keep).await?;
        if !answer.status.is_success() {
            return Err(Fault::new(format!("{path} answered {}: {}", answer.status, answer.shown())));
        }
        serde_json::from_slice(&answer.body).map_err(|error| Fault::new(format!("{path}: {error}")))
    }

    /// Waits until a file is written and read through every node; returns how long that took.
    ///
    /// # Errors
    /// The last refusal, once the limit is over.
    pub async fn wait_serving(&self, seed: u64, limit: Duration) -> Result<Duration, Fault> {
        let begun = Instant::now();
        for node in 0..self.addresses.len() {
            let mut attempt = 0;
            while let Err(fault) = self.try_serve(node, seed, attempt).await {
                if begun.elapsed() > limit {
                    return Err(fault.at(format!("{} did not serve within {limit:?}", self.name)));
                }
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(begun.elapsed())
    }

    async fn try_serve(&self, node: usize, seed: u64, attempt: u32) -> Result<(), Fault> {
        let mut connection = self.connection(node);
        // One inline and one of shards.
        for length in [100, 200_000] {
            let content = Content { seed, length };
            let name = format!("probe-{seed}-{node}-{attempt}-{length}");
            self.speaker.perform(&mut connection, &Operation::Put(name.clone(), content)).await?;
            self.speaker.perform(&mut connection, &Operation::Get(name, content, None)).await?;
        }
        Ok(())
    }

    /// Memory of the largest node now.
    pub fn resident_bytes(&self) -> u64 {
        processes::resident_bytes(&self.pids)
    }
}

/// Calls of fdatasync.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Syncs {
    /// By all nodes.
    pub all: f64,
    /// Of the log, by a node in the middle of all; 0 where that is not told apart.
    pub each_log: f64,
}

/// The sum of a counter over its labels in Prometheus' text.
fn counter(text: &str, name: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            Some(labelled) => labelled.rsplit_once('}')?.1,
            None => rest,
        };
        value.strip_prefix(' ')?.trim().parse::<f64>().ok()
    });
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::counter;

    #[test]
    fn counters_are_summed_over_labels() {
        let text = "# TYPE a counter\na{device=\"1\"} 3\na{device=\"2\"} 4\na_b 100\nc 7\n";
        assert_eq!((counter(text, "a"), counter(text, "c"), counter(text, "d")), (Some(7.0), Some(7.0), None));
    }
}
