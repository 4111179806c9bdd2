//! Any node serves everything: what one stored, all others give back.

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::json;
use skep_chaos_tests::client::Outcome;
use skep_chaos_tests::cluster::{Cluster, ClusterOptions};
use skep_chaos_tests::content::random_bytes;

/// Around every edge between size classes, and over several chunks.
const LENGTHS: [usize; 12] =
    [0, 1, 4_095, 4_096, 4_097, 128 << 10, (128 << 10) + 1, 1 << 20, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, (9 << 20) + 12_345];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_stores_the_others_give_back() {
    let cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    let clients = cluster.clients();
    for (place, length) in LENGTHS.iter().enumerate() {
        let path = format!("/common-files/length-{length}.bin");
        let bytes = random_bytes(u64::try_from(place).unwrap(), *length);
        assert_eq!(clients[place % 3].put(&path, bytes.clone()).await, Outcome::Acknowledged, "{path}");
        for client in &clients {
            assert_eq!(client.get(&path).await.unwrap().as_ref(), Some(&bytes), "{path} through {}", client.base());
        }
    }
    ranges_read_only_their_blocks(&cluster).await;
    rest_sees_the_same(&cluster).await;
    large_uploads_are_registered(&cluster).await;
    deleted_things_are_in_the_bin(&cluster).await;
}

async fn ranges_read_only_their_blocks(cluster: &Cluster) {
    let length = LENGTHS[11];
    let whole = random_bytes(11, length);
    let path = format!("/common-files/length-{length}.bin");
    let client = cluster.client(0);
    for (first, last) in [(0, 0), (65_535, 65_536), ((4 << 20) - 3, (4 << 20) + 3), (length - 5, length - 1)] {
        let read = client.get_range(&path, u64::try_from(first).unwrap(), u64::try_from(last).unwrap()).await.unwrap();
        assert_eq!(read, whole.slice(first..=last), "bytes {first} to {last}");
    }
    // What is asked for again, because a machine with other work was slow, is counted apart.
    let asked = async || client.counter_of("skep_shard_blocks_read_total", "asked=\"first\"").await.unwrap();
    let before = asked().await;
    client.get_range(&path, 100, 299).await.unwrap();
    assert_eq!(asked().await - before, 1, "200 bytes lie in one block of 64 KiB; the chunk has 64");
    client.get_range(&path, 65_530, 65_545).await.unwrap();
    assert_eq!(asked().await - before, 3, "16 bytes over a border lie in two");
}

async fn rest_sees_the_same(cluster: &Cluster) {
    let client = cluster.client(1);
    let token = client.token().await.unwrap();
    let (status, answer) = client.rest(&token, Method::GET, "/a/tree/stat/common-files%2Flength-4097.bin", None).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["Node"]["Path"], "common-files/length-4097.bin");
    assert_eq!(answer["Node"]["Size"], "4097");
    let paths = json!({"NodePaths": ["common-files", "common-files/*"]});
    let (status, answer) = client.rest(&token, Method::POST, "/a/meta/bulk/get", Some(paths)).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["Nodes"][0]["Path"], "common-files");
    assert!(answer["Nodes"].as_array().unwrap().len() > LENGTHS.len(), "{answer}");
    assert!(answer["Pagination"].is_object(), "{answer}");
    let (status, answer) = client.rest(&token, Method::GET, "/a/tree/stat/common-files/absent.txt", None).await.unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(answer["Title"].is_string() || answer["Detail"].is_string(), "{answer}");
}

async fn large_uploads_are_registered(cluster: &Cluster) {
    // 70 MiB is above what one commit names; a repeated pattern also exercises chunks that are equal.
    let block = random_bytes(99, 1 << 20);
    let whole: Bytes = std::iter::repeat_n(block, 70).flatten().collect::<Vec<u8>>().into();
    assert_eq!(cluster.client(2).put("/common-files/large.bin", whole.clone()).await, Outcome::Acknowledged);
    assert_eq!(cluster.client(0).get("/common-files/large.bin").await.unwrap(), Some(whole));
}

async fn deleted_things_are_in_the_bin(cluster: &Cluster) {
    let client = cluster.client(0);
    assert_eq!(client.make_folder("/common-files/a folder").await, Outcome::Acknowledged);
    assert_eq!(client.put("/common-files/a folder/ä.txt", Bytes::from_static(b"text")).await, Outcome::Acknowledged);
    assert_eq!(client.delete("/common-files/a folder").await, Outcome::Acknowledged);
    let other = cluster.client(1);
    assert_eq!(other.get("/common-files/a folder/ä.txt").await.unwrap(), None);
    assert_eq!(other.get("/common-files/recycle_bin/a folder/ä.txt").await.unwrap(), Some(Bytes::from_static(b"text")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_with_one_disk_works_and_says_what_it_lacks() {
    let mut cluster = Cluster::start(ClusterOptions::nodes(1)).await;
    let bytes = random_bytes(1, 300_000);
    assert_eq!(cluster.client(0).put("/common-files/one.bin", bytes.clone()).await, Outcome::Acknowledged);
    let status = cluster.status(0).unwrap();
    assert_eq!(status["pools"][0]["code"], "1+0", "{status}");
    assert!(status["warnings"].to_string().contains("one copy"), "{status}");
    cluster.restart_all().await;
    assert_eq!(cluster.client(0).get("/common-files/one.bin").await.unwrap(), Some(bytes));
}
