//! What is wrong is said: no quorum, short bodies, damage on a device.

use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use skep_chaos_tests::client::{Client, Outcome};
use skep_chaos_tests::cluster::{Cluster, ClusterOptions, PASSWORD};
use skep_chaos_tests::content::random_bytes;
use skep_chaos_tests::skipped::is_short_run;
use skep_chaos_tests::timed::{Timed, timed};
use skep_chaos_tests::wait::wait_for;

/// So many that the second node holds a data shard of some for certain: parity is not read, so its damage is not noticed by readers.
const DAMAGED_FILES: u64 = 16;

/// Every kind of request that needs a group, each with a name for people.
fn requests(client: &Client, token: &str) -> Vec<(&'static str, RequestBuilder)> {
    let dav =
        |method: &str, path: &str| client.request(Method::from_bytes(method.as_bytes()).unwrap(), &format!("/dav/common-files/{path}"));
    let rest = |method: Method, path: &str| client.anonymous(method, path).bearer_auth(token);
    let tree = |method: Method, path: &str, body: Value| rest(method, path).json(&body);
    let copy = json!({"nodes": ["common-files/one.txt"], "target": "personal-files", "targetParent": true}).to_string();
    vec![
        ("read", dav("GET", "one.txt")),
        ("read of chunks", dav("GET", "chunks.bin")),
        ("look", dav("HEAD", "one.txt")),
        ("write", dav("PUT", "two.txt").body("some text")),
        ("write of chunks", dav("PUT", "three.bin").body(random_bytes(3, 300_000))),
        ("overwrite", dav("PUT", "one.txt").body(random_bytes(4, 9_000))),
        ("folder", dav("MKCOL", "folder")),
        ("deletion", dav("DELETE", "one.txt")),
        ("move", dav("MOVE", "one.txt").header("Destination", format!("{}/dav/common-files/moved.txt", client.base()))),
        ("list", dav("PROPFIND", "").header("Depth", "1")),
        ("stat", rest(Method::GET, "/a/tree/stat/common-files/one.txt")),
        ("stats", tree(Method::POST, "/a/tree/stats", json!({"NodePaths": ["common-files/*"]}))),
        ("bulk", tree(Method::POST, "/a/meta/bulk/get", json!({"NodePaths": ["common-files", "common-files/*"]}))),
        ("create", tree(Method::POST, "/a/tree/create", json!({"Nodes": [{"Path": "common-files/made", "Type": "COLLECTION"}]}))),
        ("delete", tree(Method::POST, "/a/tree/delete", json!({"Nodes": [{"Path": "common-files/one.txt"}]}))),
        ("job", tree(Method::PUT, "/a/jobs/user/copy", json!({"JsonParameters": copy}))),
    ]
}

/// A sign-in of somebody whose password this node has not verified before.
fn sign_in(client: &Client) -> RequestBuilder {
    let info = json!({"AuthInfo": {"type": "credentials", "login": "admin", "password": PASSWORD}});
    client.anonymous(Method::POST, "/a/frontend/session").json(&info)
}

async fn all_at_once(requests: Vec<(&'static str, RequestBuilder)>) -> Vec<Timed> {
    futures_util::future::join_all(requests.into_iter().map(|(what, request)| timed(what, request))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_everything_is_refused_in_time() {
    let mut cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    let client = cluster.client(0);
    let token = client.token().await.unwrap();
    assert_eq!(client.put("/common-files/one.txt", random_bytes(1, 10)).await, Outcome::Acknowledged);
    assert_eq!(client.put("/common-files/chunks.bin", random_bytes(2, 500_000)).await, Outcome::Acknowledged);
    cluster.kill(1);
    cluster.kill(2);
    // Also one after the other: the first is the one that finds out.
    timed("the first read", client.request(Method::GET, "/dav/common-files/one.txt")).await.assert_unavailable();
    let mut asked = requests(&client, &token);
    asked.push(("sign-in", sign_in(&client)));
    for answer in all_at_once(asked).await {
        answer.assert_unavailable();
    }
    // Who looks for what is wrong is told.
    wait_for("a status that says what is wrong", Duration::from_secs(20), async || {
        let warnings = cluster.status(0)?["warnings"].to_string();
        let said = ["datasource pydiods1 has no quorum", "node 2 (n2) does not answer", "node 3 (n3) does not answer"];
        if said.iter().all(|word| warnings.contains(word)) { Ok(()) } else { Err(warnings) }
    })
    .await;
    assert!(cluster.skep(0, &["debug", "log"]).good().unwrap().contains("segment-"));
    cluster.start_again(1).await;
    wait_for("reads with a quorum", Duration::from_secs(20), async || client.get("/common-files/one.txt").await).await;
}

/// Two voters of a datasource die and the system group lives on: what is in the datasource is refused in time, everything else goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datasource_without_a_quorum_is_refused_and_the_rest_goes_on() {
    if is_short_run("a_datasource_without_a_quorum_is_refused_and_the_rest_goes_on") {
        return;
    }
    let mut cluster = Cluster::start(ClusterOptions::nodes(5)).await;
    let first = cluster.client(0);
    assert_eq!(first.put("/common-files/one.txt", random_bytes(1, 10)).await, Outcome::Acknowledged);
    assert_eq!(first.put("/common-files/chunks.bin", random_bytes(2, 500_000)).await, Outcome::Acknowledged);
    let voters = |cluster: &Cluster, name: &str| -> Vec<usize> {
        let status = cluster.status(0).unwrap();
        let row = status["groups"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone();
        row["voters"].as_array().unwrap().iter().map(|id| cluster.place_of(id.as_u64().unwrap()).unwrap()).collect()
    };
    assert_eq!(voters(&cluster, "system").len(), 5, "five voters keep a quorum without two");
    let of_data = voters(&cluster, "pydiods1");
    assert_eq!(of_data.len(), 3);
    for place in &of_data[..2] {
        cluster.kill(*place);
    }
    let alive: Vec<usize> = (0..5).filter(|place| !of_data[..2].contains(place)).collect();
    let token = wait_for("the system group to go on", Duration::from_secs(20), async || cluster.client(alive[0]).token().await).await;
    for place in &alive {
        let client = cluster.client(*place);
        for answer in all_at_once(requests(&client, &token).into_iter().filter(|(what, _)| *what != "job").collect()).await {
            answer.assert_unavailable();
        }
        let answer = timed("sign-in", sign_in(&client)).await;
        assert_eq!(answer.status, Some(StatusCode::OK), "the system group has its quorum: {answer:?}");
        answer.assert_in_time();
    }
    let status = cluster.status(alive[0]).unwrap();
    assert!(status["warnings"].to_string().contains("datasource pydiods1 has no quorum"), "{status}");
    cluster.start_again(of_data[0]).await;
    let client = cluster.client(alive[0]);
    wait_for("reads with a quorum", Duration::from_secs(20), async || client.get("/common-files/chunks.bin").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_ends_early_leaves_nothing() {
    let cluster = Cluster::start(ClusterOptions::nodes(1)).await;
    let client = cluster.client(0);
    let address = client.base().strip_prefix("http://").unwrap().to_owned();
    // `admin:PASSWORD`, as the header wants it.
    let credentials = STANDARD.encode(format!("admin:{PASSWORD}"));
    let head = format!(
        "PUT /dav/common-files/short.bin HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic {credentials}\r\nContent-Length: 300000\r\n\r\n"
    );
    let mut connection = std::net::TcpStream::connect(&address).unwrap();
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(&vec![7; 150_000]).unwrap();
    connection.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    let _closed = connection.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(client.get("/common-files/short.bin").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_shards_are_noticed_served_around_and_repaired() {
    let cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    let client = cluster.client(0);
    let files: Vec<(String, bytes::Bytes)> =
        (0..DAMAGED_FILES).map(|file| (format!("/common-files/precious-{file}.bin"), random_bytes(file, 1_000_000))).collect();
    for (path, bytes) in &files {
        assert_eq!(client.put(path, bytes.clone()).await, Outcome::Acknowledged, "{path}");
    }
    // Every shard of the second node gets a flipped bit, behind the node's back.
    let damaged = flip_bits(&cluster.file.nodes[1].data);
    assert!(damaged > 0, "no segment file was found to damage");
    for reader in cluster.clients() {
        for (path, bytes) in &files {
            assert_eq!(reader.get(path).await.unwrap().as_ref(), Some(bytes), "{path} through {}", reader.base());
        }
    }
    let found = async || {
        let mut found = 0;
        for client in cluster.clients() {
            found += client.counter("skep_damaged_shards_total").await?;
        }
        if found > 0 { Ok(()) } else { Err("no reader has noticed".to_owned()) }
    };
    wait_for("the damage to be noticed", Duration::from_secs(10), found).await;
    cluster.wait_repaired(0, Duration::from_secs(60)).await;
    for (path, bytes) in &files {
        assert_eq!(client.get(path).await.unwrap().as_ref(), Some(bytes), "{path} after the repair");
    }
}

/// Flips a bit in pages of all large segment files.
pub(crate) fn flip_bits(folders: &[std::path::PathBuf]) -> usize {
    let mut flipped = 0;
    let mut left: Vec<std::path::PathBuf> = folders.to_vec();
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
            } else if path.to_string_lossy().contains("segments/") {
                flipped += flip_file(&path);
            }
        }
    }
    flipped
}

fn flip_file(path: &std::path::Path) -> usize {
    let mut file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let mut flipped = 0;
    // The first 64 KiB hold headers; the payload of a large shard follows.
    let mut at = 200 << 10;
    while at < length {
        let mut byte = [0];
        file.seek(SeekFrom::Start(at)).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&[byte[0] ^ 4]).unwrap();
        flipped += 1;
        at += 300 << 10;
    }
    flipped
}
