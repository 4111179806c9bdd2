//! A folder of 200,000 entries is listed in little memory, whole and in pages, by REST and WebDAV.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use reqwest::{Method, StatusCode};
use serde_json::json;
use skep_chaos_tests::client::Client;
use skep_chaos_tests::cluster::{Cluster, ClusterOptions};
use skep_chaos_tests::memory::Memory;
use skep_chaos_tests::skipped::skip;
use skep_chaos_tests::wait::wait_for;

const ENTRIES: usize = 200_000;
/// Created by one request.
const BATCH: usize = 500;
const EXTRA_BYTES_MAX: u64 = 32 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_folder_is_listed_in_little_memory() {
    if std::env::var_os("SKEP_LONG").is_none() {
        skip("a_large_folder_is_listed_in_little_memory", "it takes minutes: `cargo xtask test --long`");
        return;
    }
    // A small cache: what stays of the folder in it is not what a listing takes.
    let environment = vec![("SKEP_MEMORY_BLOCK_CACHE_MIB".to_owned(), "8".to_owned())];
    let cluster = Cluster::start(ClusterOptions { environment, ..ClusterOptions::nodes(1) }).await;
    let client = cluster.client(0);
    let token = client.token().await.unwrap();
    create_all(&client, &token).await;
    let memory = Memory::of(cluster.file.nodes[0].pid);
    memory.begin();
    assert_eq!(list_whole(&client, &token).await, ENTRIES);
    let whole = memory.extra();
    memory.begin();
    assert_eq!(list_pages(&client, &token).await, ENTRIES);
    let pages = memory.extra();
    memory.begin();
    assert_eq!(list_by_webdav(&client).await, ENTRIES);
    let webdav = memory.extra();
    for (what, extra) in [("whole", whole), ("in pages", pages), ("by WebDAV", webdav)] {
        assert!(extra < EXTRA_BYTES_MAX, "listing {what} took {extra} bytes");
    }
}

async fn create_all(client: &Client, token: &str) {
    let requests = (0..ENTRIES / BATCH).map(|batch| {
        let nodes: Vec<_> = (0..BATCH)
            .map(|place| json!({"Path": format!("common-files/many/entry-{:06}", batch * BATCH + place), "Type": "COLLECTION"}))
            .collect();
        let body = json!({"Nodes": nodes, "Recursive": true});
        async move {
            wait_for("a batch of folders", Duration::from_secs(60), async || {
                let (status, answer) = client.rest(token, Method::POST, "/a/tree/create", Some(body.clone())).await?;
                if status == StatusCode::OK { Ok(()) } else { Err(format!("{status}: {answer}")) }
            })
            .await;
        }
    });
    futures_util::stream::iter(requests).buffer_unordered(16).collect::<Vec<()>>().await;
}

async fn list_whole(client: &Client, token: &str) -> usize {
    let request = client.request(Method::POST, "/a/tree/stats").bearer_auth(token);
    count(request.json(&json!({"NodePaths": ["common-files/many/*"]})), b"\"Uuid\":").await
}

async fn list_pages(client: &Client, token: &str) -> usize {
    let mut found = 0;
    for page in 0..ENTRIES / 5_000 {
        let body = json!({"NodePaths": ["common-files/many/*"], "Offset": page * 5_000, "Limit": 5_000});
        let (status, answer) = client.rest(token, Method::POST, "/a/tree/stats", Some(body)).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{answer}");
        found += answer["Nodes"].as_array().unwrap().len();
    }
    found
}

async fn list_by_webdav(client: &Client) -> usize {
    let method = Method::from_bytes(b"PROPFIND").unwrap();
    count(client.request(method, "/dav/common-files/many/").header("Depth", "1"), b"href>/dav/common-files/many/entry-").await
}

/// How often a word is in an answer, which is not kept.
async fn count(request: reqwest::RequestBuilder, word: &[u8]) -> usize {
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    let mut body = answer.bytes_stream();
    let (mut found, mut rest) = (0, Vec::new());
    while let Some(bytes) = body.try_next().await.unwrap() {
        rest.extend_from_slice(&bytes);
        let mut at = 0;
        while let Some(next) = rest[at..].windows(word.len()).position(|window| window == word) {
            found += 1;
            at += next + word.len();
        }
        let keep = rest.len().saturating_sub(word.len() - 1).max(at);
        rest.drain(..keep);
    }
    found
}
