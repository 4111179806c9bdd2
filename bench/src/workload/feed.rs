//! How soon another node knows: by the feed, which tells its followers, or by a look at the file.
//!
//! Each client writes through one node and learns of it through the next. The time begins with the answer of the PUT; an event that came before it took no time.
//! Source: WHATWG HTML, "Server-sent events".

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use http::header::ACCEPT;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::mpsc;

use super::as_f64;
use super::data::{fresh_seed, make_folders};
use super::meter::Meter;
use crate::content::Content;
use crate::fault::Fault;
use crate::http_client::{Connection, SendBody};
use crate::measure::{Latencies, Round};
use crate::protocol::skep::{changes, rest_path};
use crate::protocol::{Operation, PastFiles};
use crate::row::Work;
use crate::side::Side;

/// An event that takes longer counts as lost.
const EVENT_MAX: Duration = Duration::from_secs(10);
/// Bytes of a stream without the end of a line.
const LINE_BYTES_MAX: usize = 1 << 20;

/// A file that was told of, its bytes, and when.
type Told = (String, u64, Instant);

/// One round. Its length is that of all waits together, so that its rate is one over the mean wait.
pub(super) async fn round(side: &Side, (work, clients): (Work, usize), (folder, seconds): (String, f64)) -> Result<Round, Fault> {
    let (by_feed, length) = match work {
        Work::Feed(length) => (true, length),
        Work::SeenElsewhere(length) => (false, length),
        other => return Err(Fault::new(format!("{other} does not wait for another node"))),
    };
    make_folders(side, vec![folder.clone()]).await?;
    let mut followers = Vec::with_capacity(clients);
    for client in 0..clients {
        followers.push(if by_feed { Some(follow(side, client + 1).await?) } else { None });
    }
    let meter = Meter::start(side).await;
    let until = meter.end_after(seconds);
    let running = followers.into_iter().enumerate().map(|(client, follower)| {
        let writer = Writer { side: side.clone(), client, folder: folder.clone(), length };
        let task = tokio::spawn(writer.run(follower, until));
        async move { task.await.map_err(|error| Fault::new(error.to_string()))? }
    });
    let all = try_join_all(running).await?;
    let mut round = meter.stop(side).await;
    let mut waited = 0.0;
    for (latencies, client_waited) in all {
        round.latencies.merge(&latencies);
        waited += client_waited.as_secs_f64();
    }
    round.units = as_f64(round.latencies.count());
    round.logical_written_bytes = round.units * as_f64(length);
    round.seconds = waited.max(1e-6);
    Ok(round)
}

struct Writer {
    side: Side,
    client: usize,
    folder: String,
    length: u64,
}

impl Writer {
    async fn run(
        self,
        mut follower: Option<mpsc::UnboundedReceiver<Result<Told, Fault>>>,
        until: Instant,
    ) -> Result<(Latencies, Duration), Fault> {
        let (mut latencies, mut waited) = (Latencies::default(), Duration::ZERO);
        let mut here = self.side.connection(self.client);
        let mut elsewhere = self.side.connection(self.client + 1);
        here.open_now().await?;
        elsewhere.open_now().await?;
        let mut count = 0;
        while Instant::now() < until {
            let name = format!("{}/c{}-{count}", self.folder, self.client);
            count += 1;
            let content = Content { seed: fresh_seed(), length: self.length };
            self.side.speaker.perform(&mut here, &Operation::Put(name.clone(), content)).await?;
            let answered = Instant::now();
            let known = match &mut follower {
                Some(follower) => told(follower, &rest_path(&name), self.length).await?,
                None => {
                    // Without an instant it is the file as it is now.
                    let now = PastFiles { at: String::new(), length: self.length };
                    self.side.speaker.perform(&mut elsewhere, &Operation::StatAt(name, now)).await?;
                    Instant::now()
                }
            };
            let wait = known.saturating_duration_since(answered);
            latencies.record(wait);
            waited += wait;
        }
        Ok((latencies, waited))
    }
}

/// When a follower was told of a file, which must have so many bytes.
async fn told(follower: &mut mpsc::UnboundedReceiver<Result<Told, Fault>>, path: &str, length: u64) -> Result<Instant, Fault> {
    let found = async {
        while let Some(event) = follower.recv().await {
            let (told, size, at) = event?;
            if told == path {
                let wrong = || Fault::new(format!("the feed told of {path} with {size} bytes instead of {length}"));
                return if size == length { Ok(at) } else { Err(wrong()) };
            }
        }
        Err(Fault::new("the stream of the feed has ended"))
    };
    let lost = || Fault::new(format!("the feed did not tell of {path} within {EVENT_MAX:?}"));
    tokio::time::timeout(EVENT_MAX, found).await.map_err(|_elapsed| lost())?
}

/// Follows the feed through a node; returns when the stream has begun.
async fn follow(side: &Side, node: usize) -> Result<mpsc::UnboundedReceiver<Result<Told, Fault>>, Fault> {
    let request = Request::builder().method(Method::GET).uri(changes()).header(ACCEPT, "text/event-stream").body(SendBody::Empty);
    let mut request = request.map_err(|error| Fault::new(error.to_string()))?;
    side.speaker.add_authorization(request.headers_mut());
    let mut connection = side.connection(node);
    let (events, mut receiver) = mpsc::unbounded_channel();
    // Ends with its receiver or its stream.
    tokio::spawn(async move {
        if let Err(fault) = read(&mut connection, request, &events).await {
            let _nobody_waits = events.send(Err(fault));
        }
    });
    // The first thing that a stream says is where it stands.
    let began = tokio::time::timeout(EVENT_MAX, receiver.recv()).await;
    let began = began.map_err(|_elapsed| Fault::new(format!("the stream of the feed did not begin within {EVENT_MAX:?}")))?;
    began.ok_or_else(|| Fault::new("the stream of the feed ended at once"))??;
    Ok(receiver)
}

async fn read(
    connection: &mut Connection,
    request: Request<SendBody>,
    events: &mpsc::UnboundedSender<Result<Told, Fault>>,
) -> Result<(), Fault> {
    let mut response = connection.begin(request).await?;
    if !response.status().is_success() {
        return Err(Fault::new(format!("GET {} answered {}", changes(), response.status())));
    }
    let mut lines = Lines::default();
    while let Some(frame) = response.body_mut().frame().await {
        let frame = frame.map_err(|error| Fault::new(format!("the stream of the feed broke off: {error}")))?;
        let at = Instant::now();
        for data in lines.take(frame.data_ref().map_or(&[], |data| data.as_ref()))? {
            let (path, size) = change_of(&data)?;
            if events.send(Ok((path, size, at))).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The path and the size of what a change is about; both empty for other events.
fn change_of(data: &str) -> Result<(String, u64), Fault> {
    let event: Value = serde_json::from_str(data).map_err(|error| Fault::new(format!("the feed: {error}: {data}")))?;
    let target = &event["Target"];
    let size = target["Size"].as_str().and_then(|size| size.parse().ok()).unwrap_or(0);
    Ok((target["Path"].as_str().unwrap_or_default().to_owned(), size))
}

/// The `data` lines of a stream of events.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<String>, Fault> {
        self.rest.extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if let Some(data) = line.strip_prefix("data:") {
                found.push(data.trim().to_owned());
            }
        }
        if self.rest.len() > LINE_BYTES_MAX {
            return Err(Fault::new(format!("the feed sent a line longer than {LINE_BYTES_MAX} bytes")));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, change_of};

    #[test]
    fn events_are_cut_from_frames_as_they_come() {
        let mut lines = Lines::default();
        assert!(lines.take(b"event: change\nid: 1.2.3\nda").unwrap().is_empty());
        let found = lines.take(b"ta: {\"Target\":{\"Path\":\"w/f\",\"Size\":\"7\"}}\n\n:\n").unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(change_of(&found[0]).unwrap(), ("w/f".to_owned(), 7));
        assert_eq!(change_of("{\"Position\":\"1.2.3\"}").unwrap(), (String::new(), 0));
        assert!(change_of("{").is_err());
    }
}
