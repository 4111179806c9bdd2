//! Batches, restorations and moves across datasources are all or nothing whoever dies; conditional writes are decided in one order.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use skep_chaos_tests::client::{Client, Outcome};
use skep_chaos_tests::cluster::{Cluster, ClusterOptions};
use skep_chaos_tests::wait::wait_for;

/// Files that one batch changes.
const FILES: usize = 300;
/// How long a change may take while a leader is elected.
const CHANGE_LIMIT: Duration = Duration::from_secs(30);

/// The place of the node that leads the group of the common files.
pub(crate) fn leader(cluster: &Cluster, asked: usize) -> Option<usize> {
    cluster.leader(asked, "pydiods1")
}

async fn rest(client: &Client, method: Method, path: &str, body: Value) -> Result<(StatusCode, Value), String> {
    let request = client.request(method, path).json(&body);
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map(|body| (status, body)).map_err(|error| format!("{status}: {error}: {text}"))
}

/// Names and versions of a folder's members, now or at an instant.
async fn listed(client: &Client, folder: &str, at: &str) -> Result<BTreeMap<String, String>, String> {
    let (status, answer) = rest(client, Method::POST, "/a/tree/stats", json!({"NodePaths": [format!("{folder}/*")], "At": at})).await?;
    if status != StatusCode::OK {
        return Err(format!("{status}: {answer}"));
    }
    let hash = |node: &Value| node["MetaStore"]["skep:blake3"].as_str().unwrap_or("a folder").to_owned();
    let nodes = answer["Nodes"].as_array().cloned().unwrap_or_default();
    Ok(nodes.iter().map(|node| (node["Path"].as_str().unwrap_or_default().to_owned(), hash(node))).collect())
}

async fn listed_in_the_end(client: &Client, folder: &str, at: &str) -> BTreeMap<String, String> {
    wait_for("a listing", CHANGE_LIMIT, async || listed(client, folder, at).await).await
}

fn put(folder: &str, number: usize, text: &str) -> Value {
    json!({"Type": "PUT_FILE", "Path": format!("{folder}/f{number:04}"), "Contents": text})
}

fn seconds_now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{}.{:06}", now.as_secs(), now.subsec_micros())
}

/// Runs a change at one node while the leader dies; gives the node that was killed.
async fn with_dying_leader<T>(cluster: &mut Cluster, delay: Duration, change: impl Future<Output = T>) -> (usize, T) {
    let place = (0..3).find_map(|place| leader(cluster, place)).unwrap_or(0);
    let mut change = std::pin::pin!(change);
    let early = tokio::time::timeout(delay, &mut change).await;
    cluster.kill(place);
    let done = match early {
        Ok(done) => done,
        Err(_still_open) => change.await,
    };
    (place, done)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_done_whole_or_not_at_all_when_the_leader_dies() {
    let mut cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    let folder = "common-files/batch";
    assert_eq!(cluster.client(0).make_folder("/common-files/batch").await, Outcome::Acknowledged);
    let mut expected: Option<BTreeMap<String, String>> = None;
    for round in 0_u64..6 {
        let text = format!("round {round}");
        let operations: Vec<Value> = (0..FILES).map(|number| put(folder, number, &text)).collect();
        let before = listed_in_the_end(&cluster.client(0), folder, "").await;
        if let Some(expected) = &expected {
            assert_eq!(&before, expected, "what was acknowledged stays, round {round}");
        }
        let leads = leader(&cluster, 0).unwrap_or(0);
        let client = cluster.client((leads + 1) % 3);
        let body = json!({"Operations": operations});
        let change = async { rest(&client, Method::POST, "/a/tree/batch", body).await };
        let (dead, answer) = with_dying_leader(&mut cluster, Duration::from_millis(5 + 25 * round), change).await;
        let alive = cluster.client((dead + 1) % 3);
        let after = listed_in_the_end(&alive, folder, "").await;
        let hashes: std::collections::BTreeSet<&String> = after.values().collect();
        let changed = after != before;
        assert!(
            !changed || (after.len() == FILES && hashes.len() == 1),
            "round {round}: a part of a batch is there: {} files",
            after.len()
        );
        if answer.is_ok_and(|(status, _)| status == StatusCode::OK) {
            assert!(changed, "round {round}: an acknowledged batch is not there");
        }
        cluster.start_again(dead).await;
        expected = Some(listed_in_the_end(&cluster.client(dead), folder, "").await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restoration_goes_on_elsewhere_and_leaves_no_half() {
    let mut cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    let folder = "common-files/past";
    let client = cluster.client(0);
    assert_eq!(client.make_folder("/common-files/past").await, Outcome::Acknowledged);
    let batch = |text: &str| json!({"Operations": (0..FILES).map(|number| put(folder, number, text)).collect::<Vec<_>>()});
    assert_eq!(rest(&client, Method::POST, "/a/tree/batch", batch("then")).await.unwrap().0, StatusCode::OK);
    let large = Bytes::from(vec![7_u8; 3_000_000]);
    assert_eq!(client.put("/common-files/past/large.bin", large.clone()).await, Outcome::Acknowledged);
    let then = listed_in_the_end(&client, folder, "").await;
    // The clocks of three processes on one machine are one clock.
    let at = seconds_now();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(rest(&client, Method::POST, "/a/tree/batch", batch("later")).await.unwrap().0, StatusCode::OK);
    assert_eq!(client.delete("/common-files/past/large.bin").await, Outcome::Acknowledged);
    assert_eq!(client.put("/common-files/past/new.bin", Bytes::from_static(b"new")).await, Outcome::Acknowledged);
    let later = listed_in_the_end(&client, folder, "").await;
    assert_ne!(then, later);
    assert_eq!(listed_in_the_end(&cluster.client(1), folder, &at).await, then, "the past is there on another node");

    let parameters = json!({"node": folder, "at": at}).to_string();
    let start = async { rest(&client, Method::PUT, "/a/jobs/user/restore-instant", json!({"JsonParameters": parameters})).await };
    let (_, answer) = start.await.unwrap();
    let job = answer["JobUuid"].as_str().unwrap().to_owned();
    let (dead, ()) = with_dying_leader(&mut cluster, Duration::from_millis(10), std::future::ready(())).await;
    let alive = cluster.client((dead + 1) % 3);
    let seen = listed_in_the_end(&alive, folder, "").await;
    assert!(seen == then || seen == later, "half of a restoration is seen: {} files", seen.len());
    finished(&alive, &job).await;
    assert_eq!(listed_in_the_end(&alive, folder, "").await, then, "restored");
    assert_eq!(alive.get("/common-files/past/large.bin").await.unwrap(), Some(large));
}

/// A copy and a move across datasources are under way, each on some node, and that node dies: another one goes on where it stood.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_on_where_its_node_died() {
    let mut cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    let client = cluster.client(0);
    for folder in ["common-files/source", "common-files/copied", "common-files/moved"] {
        assert_eq!(client.make_folder(&format!("/{folder}")).await, Outcome::Acknowledged);
    }
    let folders = ["common-files/source", "common-files/moved", "common-files/moved"];
    for (part, folder) in folders.into_iter().enumerate() {
        let files = (part * FILES..(part + 1) * FILES).map(|number| put(folder, number, &format!("file {number}")));
        let body = json!({"Operations": files.collect::<Vec<_>>()});
        assert_eq!(rest(&client, Method::POST, "/a/tree/batch", body).await.unwrap().0, StatusCode::OK);
    }
    let large = Bytes::from(vec![7_u8; 3_000_000]);
    assert_eq!(client.put("/common-files/moved/large.bin", large.clone()).await, Outcome::Acknowledged);
    let to_copy = listed_in_the_end(&client, "common-files/source", "").await;
    let to_move = listed_in_the_end(&client, "common-files/moved", "").await;

    // One entry after the other, so that it is seen half done.
    let nodes: Vec<&String> = to_copy.keys().collect();
    let copy = begin_job(&client, "copy", json!({"nodes": nodes, "target": "common-files/copied", "targetParent": true})).await;
    let died = kill_the_owner(&mut cluster, &copy, 1..1_000).await;
    cluster.start_again(died).await;
    // To another datasource: the source goes only when the target is whole. The first job's lease runs out meanwhile.
    let parameters = json!({"nodes": ["common-files/moved"], "target": "personal-files", "targetParent": true});
    let moving = begin_job(&cluster.client(died), "move", parameters).await;
    let died = kill_the_owner(&mut cluster, &moving, 0..1_000).await;
    let alive = cluster.client((died + 1) % 3);
    wait_for("the unfinished move not to be seen", CHANGE_LIMIT, async || match listed(&alive, "personal-files/moved", "").await {
        Err(error) if error.starts_with("404") => Ok(()),
        Err(error) => Err(error),
        Ok(seen) => panic!("{} of {} entries of an unfinished move are seen", seen.len(), to_move.len()),
    })
    .await;
    finished(&alive, &copy).await;
    let copied = listed_in_the_end(&alive, "common-files/copied", "").await;
    assert_eq!(names(&copied), names(&to_copy), "each entry was copied once");
    finished(&alive, &moving).await;
    let moved = listed_in_the_end(&alive, "personal-files/moved", "").await;
    assert_eq!(names(&moved), names(&to_move), "all of it arrived");
    assert_eq!(alive.get("/personal-files/moved/large.bin").await.unwrap(), Some(large));
    wait_for("the source to be gone", CHANGE_LIMIT, async || match listed(&alive, "common-files/moved", "").await {
        Err(error) if error.starts_with("404") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

/// Names and contents, in order.
fn names(listing: &BTreeMap<String, String>) -> Vec<(String, String)> {
    listing.iter().map(|(path, hash)| (path.rsplit('/').next().unwrap_or_default().to_owned(), hash.clone())).collect()
}

async fn begin_job(client: &Client, name: &str, parameters: Value) -> String {
    let body = json!({"JsonParameters": parameters.to_string()});
    let (status, answer) = rest(client, Method::PUT, &format!("/a/jobs/user/{name}"), body).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["JobUuid"].as_str().unwrap().to_owned()
}

/// Kills the node that works on a job while so much of it is done, in thousandths; gives the place of the node.
async fn kill_the_owner(cluster: &mut Cluster, job: &str, done: std::ops::Range<u64>) -> usize {
    let owner = wait_for("a job to be under way", CHANGE_LIMIT, async || {
        let status = cluster.status(0)?;
        // Clients know it by its kind and its id.
        let is_it = |row: &&Value| row["id"].as_str().is_some_and(|id| job.ends_with(id));
        let row = status["jobs"].as_array().into_iter().flatten().find(is_it).cloned().unwrap_or_default();
        match (row["state"].as_str(), row["node"].as_u64(), row["progress_permille"].as_u64()) {
            (Some("running"), Some(node), Some(permille)) if done.contains(&permille) => Ok(cluster.place_of(node).unwrap()),
            _other => Err(format!("{row}")),
        }
    })
    .await;
    cluster.kill(owner);
    owner
}

/// Waits until a job has come to its end, which must be good.
async fn finished(client: &Client, job: &str) {
    wait_for("a job to be finished", Duration::from_secs(90), async || {
        let (_, answer) = rest(client, Method::POST, "/a/jobs/user", json!({"JobIDs": [job], "LoadTasks": "Any"})).await?;
        let task = answer["Jobs"][0]["Tasks"][0].clone();
        match task["Status"].as_str() {
            Some("Finished") => Ok(()),
            other => Err(format!("{other:?}: {}", task["StatusMessage"])),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_conditional_writes_are_decided_in_one_order() {
    let cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    let path = "/dav/common-files/raced.txt";
    assert_eq!(cluster.client(0).put("/common-files/raced.txt", Bytes::from_static(b"first")).await, Outcome::Acknowledged);
    let etag = |answer: &reqwest::Response| answer.headers().get("etag").and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
    let racer = async |client: Client, name: &'static str| {
        let mut won = Vec::new();
        let mut lost = 0;
        for number in 0..500 {
            let seen = etag(&client.request(Method::HEAD, path).send().await.unwrap());
            let request = client.request(Method::PUT, path).header("If-Match", &seen).body(format!("{name} {number}"));
            let answer = request.send().await.unwrap();
            match answer.status() {
                StatusCode::NO_CONTENT => won.push((seen, etag(&answer))),
                StatusCode::PRECONDITION_FAILED => lost += 1,
                other => panic!("{name} {number}: {other}: {}", answer.text().await.unwrap_or_default()),
            }
        }
        (won, lost)
    };
    let begin = etag(&cluster.client(2).request(Method::HEAD, path).send().await.unwrap());
    let ((first, lost_first), (second, lost_second)) = tokio::join!(racer(cluster.client(0), "a"), racer(cluster.client(1), "b"));
    let wins = first.len() + second.len();
    assert_eq!(wins + lost_first + lost_second, 1_000);
    // Each state was replaced by one write only, and all states form one chain from the first to the last.
    let steps: BTreeMap<String, String> = first.into_iter().chain(second).collect();
    assert_eq!(steps.len(), wins, "one state was replaced twice");
    let (mut at, mut length) = (begin, 0);
    while let Some(next) = steps.get(&at) {
        at.clone_from(next);
        length += 1;
    }
    assert_eq!(length, wins, "the writes do not form one order");
    assert_eq!(at, etag(&cluster.client(2).request(Method::HEAD, path).send().await.unwrap()), "the last state is the last write");
    assert!(lost_first + lost_second > 0 && wins > 500, "{wins} won, {} lost: they did not race", lost_first + lost_second);
}

/// More differs than one change may touch: the command begins a job, waits for it and says what it did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_restores_what_one_change_cannot() {
    let cluster = Cluster::start(ClusterOptions::nodes(1)).await;
    let client = cluster.client(0);
    let folder = "common-files/much";
    assert_eq!(client.make_folder("/common-files/much").await, Outcome::Acknowledged);
    assert_eq!(client.put("/common-files/much/kept.txt", Bytes::from_static(b"kept")).await, Outcome::Acknowledged);
    let at = seconds_now();
    tokio::time::sleep(Duration::from_millis(20)).await;
    for numbers in [0..5_001, 5_001..10_001] {
        let body = json!({"Operations": numbers.map(|number| put(folder, number, "new")).collect::<Vec<_>>()});
        assert_eq!(rest(&client, Method::POST, "/a/tree/batch", body).await.unwrap().0, StatusCode::OK);
    }
    let refused = cluster.skep(0, &["restore", folder, "--at", &at]);
    assert!(!refused.is_success && refused.err.contains("--as"), "an operator's shell has no jobs: {refused:?}");
    assert_eq!(client.get("/common-files/much/f10000").await, Ok(Some(Bytes::from_static(b"new"))), "nothing was restored");
    let said = cluster.skep(0, &["restore", folder, "--at", &at, "--as", "admin"]).good().unwrap();
    assert!(said.contains("is as it was at"), "{said}");
    let names: Vec<String> = listed_in_the_end(&client, folder, "").await.into_keys().collect();
    assert_eq!(names, ["common-files/much/kept.txt"]);
    let again = cluster.skep(0, &["restore", folder, "--at", &at, "--as", "admin", "--json"]).good().unwrap();
    assert!(again.contains("\"done\":true"), "{again}");
}
