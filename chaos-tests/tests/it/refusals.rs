//! What is wrong is said: no quorum, short bodies, damage on a device.

use std::io::{Read, Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use skep_chaos_tests::client::Outcome;
use skep_chaos_tests::cluster::{Cluster, ClusterOptions, PASSWORD};
use skep_chaos_tests::content::random_bytes;
use skep_chaos_tests::wait::wait_for;

/// So many that the second node holds a data shard of some for certain: parity is not read, so its damage is not noticed by readers.
const DAMAGED_FILES: u64 = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_everything_is_refused_in_time() {
    let mut cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    let client = cluster.client(0);
    assert_eq!(client.put("/common-files/one.txt", random_bytes(1, 10)).await, Outcome::Acknowledged);
    cluster.kill(1);
    cluster.kill(2);
    for (method, path) in [
        (Method::GET, "/dav/common-files/one.txt"),
        (Method::PUT, "/dav/common-files/two.txt"),
        (Method::from_bytes(b"PROPFIND").unwrap(), "/dav/common-files/"),
    ] {
        let begun = Instant::now();
        let answer = client.request(method.clone(), path).header("Depth", "1").body(Vec::new()).send().await.unwrap();
        let took = begun.elapsed();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{method} {path}");
        assert!(answer.headers().contains_key("retry-after"), "{method} {path}");
        // Two seconds for a machine with other work; the promise is five.
        assert!(took < Duration::from_secs(7), "{method} {path} took {took:?}");
    }
    cluster.start_again(1).await;
    wait_for("reads with a quorum", Duration::from_secs(20), async || client.get("/common-files/one.txt").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_ends_early_leaves_nothing() {
    let cluster = Cluster::start(ClusterOptions::nodes(1)).await;
    let client = cluster.client(0);
    let address = client.base().strip_prefix("http://").unwrap().to_owned();
    // `admin:PASSWORD`, as the header wants it.
    let credentials = base64(format!("admin:{PASSWORD}").as_bytes());
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

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let group = part.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for place in 0..4 {
            let index = usize::try_from(group >> (18 - 6 * place) & 63).unwrap();
            text.push(if place <= part.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    text
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
fn flip_bits(folders: &[std::path::PathBuf]) -> usize {
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
