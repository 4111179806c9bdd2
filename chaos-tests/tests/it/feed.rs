//! The change feed by HTTP: a client whose node is killed goes on at another one; it misses nothing that was acknowledged and sees nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use skep_chaos_tests::client::{Client, Outcome};
use skep_chaos_tests::cluster::{Cluster, ClusterOptions};
use skep_chaos_tests::wait::wait_for;

/// How long anything may take, an election among it.
const LIMIT: Duration = Duration::from_secs(60);
/// Files between two events of the test.
const FILES: usize = 15;

/// What a follower has seen: how often each path came to be, and where it stands.
#[derive(Default)]
struct Seen {
    created: BTreeMap<String, u32>,
    last: (u64, u64, u64),
    moves: usize,
}

struct Follower {
    clients: Vec<Client>,
    /// The node that it asks.
    at: Arc<AtomicUsize>,
    seen: Arc<Mutex<Seen>>,
    end: Arc<AtomicBool>,
}

async fn ask(client: &Client, position: &str) -> Result<(StatusCode, Value), String> {
    let path = if position.is_empty() { String::new() } else { format!("&position={position}&wait=5&limit=7") };
    let request = client.request(Method::GET, &format!("/a/changes?workspace=common-files{path}"));
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map(|body| (status, body)).map_err(|error| format!("{status}: {error}: {text}"))
}

fn parts(position: &Value) -> (u64, u64, u64) {
    let mut parts = position.as_str().unwrap().split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
}

impl Follower {
    /// Follows until told to end; who does not answer is left for the next node.
    async fn run(self, mut position: String) {
        while !self.end.load(Ordering::Relaxed) {
            let at = self.at.load(Ordering::Relaxed);
            match ask(&self.clients[at], &position).await {
                Ok((StatusCode::OK, page)) => {
                    self.take(&page);
                    page["Position"].as_str().unwrap().clone_into(&mut position);
                }
                Ok((StatusCode::SERVICE_UNAVAILABLE, _)) => {}
                Ok((status, refused)) => panic!("{position} is refused: {status}: {refused}"),
                Err(_dead) => {
                    self.at.store((at + 1) % self.clients.len(), Ordering::Relaxed);
                    self.seen.lock().unwrap().moves += 1;
                }
            }
        }
    }

    fn take(&self, page: &Value) {
        let mut seen = self.seen.lock().unwrap();
        for change in page["Changes"].as_array().unwrap() {
            let position = parts(&change["Position"]);
            assert!(position > seen.last, "in order, and none twice: {change} behind {:?}", seen.last);
            seen.last = position;
            if change["Type"] == "CREATE" {
                *seen.created.entry(change["Target"]["Path"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
    }
}

/// Writes files under names of their own until told to end; gives those that were acknowledged, and those of which nothing is known.
async fn write(client: Client, round: usize, end: Arc<AtomicBool>) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut acknowledged, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    let mut number = 0;
    while !end.load(Ordering::Relaxed) {
        number += 1;
        let path = format!("common-files/feed/{round}-{number}");
        match client.put(&format!("/{path}"), Bytes::from_static(b"told")).await {
            Outcome::Acknowledged => acknowledged.insert(path),
            Outcome::Unknown(_) => unknown.insert(path),
            Outcome::Refused(..) => false,
        };
    }
    (acknowledged, unknown)
}

async fn wait_until_seen(seen: &Mutex<Seen>, count: usize) {
    wait_for("the follower to see more", LIMIT, async || {
        let now = seen.lock().unwrap().created.len();
        if now >= count { Ok(()) } else { Err(format!("{now} of {count}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_node_is_killed_goes_on_at_another() {
    let mut cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    assert_eq!(cluster.client(0).make_folder("/common-files/feed").await, Outcome::Acknowledged);
    let (status, begin) = ask(&cluster.client(0), "").await.unwrap();
    assert_eq!(status, StatusCode::OK, "{begin}");
    let follower = Follower { clients: cluster.clients(), at: Arc::default(), seen: Arc::default(), end: Arc::default() };
    let (at, seen, end) = (Arc::clone(&follower.at), Arc::clone(&follower.seen), Arc::clone(&follower.end));
    let following = tokio::spawn(follower.run(begin["Position"].as_str().unwrap().to_owned()));
    let (mut acknowledged, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..3 {
        let victim = at.load(Ordering::Relaxed);
        let stop = Arc::new(AtomicBool::new(false));
        let writing = tokio::spawn(write(cluster.client((victim + 2) % 3), round, Arc::clone(&stop)));
        let before = seen.lock().unwrap().created.len();
        wait_until_seen(&seen, before + FILES).await;
        cluster.kill(victim);
        let before = seen.lock().unwrap().created.len();
        wait_until_seen(&seen, before + FILES).await;
        assert_ne!(at.load(Ordering::Relaxed), victim, "it went on elsewhere");
        stop.store(true, Ordering::Relaxed);
        let (done, maybe) = writing.await.unwrap();
        acknowledged.extend(done);
        unknown.extend(maybe);
        cluster.start_again(victim).await;
    }
    wait_for("the follower to see everything", LIMIT, async || {
        let seen = seen.lock().unwrap();
        let missing: Vec<&String> = acknowledged.iter().filter(|path| !seen.created.contains_key(*path)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("missing: {missing:?}")) }
    })
    .await;
    end.store(true, Ordering::Relaxed);
    following.await.unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.moves >= 3, "it was never sent elsewhere: {}", seen.moves);
    for (path, times) in &seen.created {
        assert_eq!(*times, 1, "{path} came to be once");
        assert!(acknowledged.contains(path) || unknown.contains(path), "{path} was refused, and told");
    }
}
