//! A cluster grows by hand, node by node and with files in it: they are readable throughout, and each step protects them better.
//! One of the nodes speaks HTTPS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::Version;
use skep_chaos_tests::by_hand::ByHand;
use skep_chaos_tests::client::{Client, Outcome};
use skep_chaos_tests::content::random_bytes;
use skep_chaos_tests::oracle::Oracle;
use skep_chaos_tests::wait::{INTERVAL, wait_for};

/// How long the cluster may take to follow a new node.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(120);

/// The node whose API speaks HTTPS.
const HTTPS: usize = 1;

/// Waits until the pools have a code, everything is stored in it, and nothing waits for repair.
async fn settled(hand: &ByHand, code: &str, voters: usize) {
    wait_for(&format!("everything in {code}"), FOLLOWED_WITHIN, async || {
        let status = hand.status(0)?;
        let rows = |name: &str| status[name].as_array().cloned().unwrap_or_default();
        let follows = rows("pools").iter().all(|pool| pool["code"] == code && pool["incomplete"] == 0);
        let grown = rows("groups").iter().all(|group| group["voters"].as_array().is_some_and(|found| found.len() == voters));
        let stored = rows("datasources").iter().all(|row| row["available"] == true);
        match (status["repair_queue"].as_u64(), status["below_profile"].as_u64()) {
            (Some(0), Some(0)) if follows && grown && stored => Ok(()),
            _still => Err(status.to_string()),
        }
    })
    .await;
    let status = hand.status(0).unwrap();
    assert_eq!(status["nodes"].as_array().unwrap().len(), voters, "{status}");
    let warnings = status["warnings"].to_string();
    assert_eq!(warnings.contains("one copy"), voters == 1, "what one copy does not protect from is said, and only then: {warnings}");
    assert_eq!(warnings.contains("two voters"), voters == 2, "what two voters do not give is said, and only then: {warnings}");
}

/// Reads everything over and over until told to end; what was refused or wrong.
async fn read_on(oracle: Oracle, client: Client, ending: Arc<AtomicBool>) -> Option<String> {
    while !ending.load(Ordering::Relaxed) {
        if let Some(wrong) = oracle.first_wrong(&client, Duration::ZERO).await {
            return Some(wrong.why);
        }
        tokio::time::sleep(INTERVAL).await;
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_grows_by_hand_with_its_files_in_it() {
    let mut hand = ByHand::new(3).await;
    let first = hand.configure(false);
    hand.init(first).good().unwrap();
    hand.start(first).await;
    settled(&hand, "1+0", 1).await;
    let mut oracle = Oracle::default();
    for (place, code, is_https) in [(HTTPS, "1+1", true), (2, "2+1", false)] {
        for _ in 0..10 {
            assert_eq!(oracle.put_next(&hand.client(first), "/common-files").await, Outcome::Acknowledged);
        }
        let ending = Arc::new(AtomicBool::new(false));
        let reader = tokio::spawn(read_on(oracle.clone(), hand.client(first), Arc::clone(&ending)));
        let token = hand.skep(first, &["join-token"]).good().unwrap().trim().to_owned();
        assert_eq!(hand.configure(is_https), place);
        hand.join(place, &token).good().unwrap();
        let again = hand.configure_elsewhere(place);
        let refused = hand.join_as(&again, &token);
        assert!(!refused.is_success && refused.err.contains("token"), "a token lets one node in: {refused:?}");
        hand.start(place).await;
        settled(&hand, code, place + 1).await;
        ending.store(true, Ordering::Relaxed);
        assert_eq!(reader.await.unwrap(), None, "every file could be read at any time while node {} joined", place + 1);
    }
    oracle.check(&hand.client(2)).await;
    https_speaks_both_versions(&hand, "/common-files/over-https.bin").await;
    // Now the first node may go, with everything that was written when it was alone.
    hand.kill(first);
    oracle.check(&hand.client(2)).await;
    assert_eq!(oracle.put_next(&hand.client(2), "/common-files").await, Outcome::Acknowledged, "and the others write on");
}

/// HTTP/2 by what client and server agree on, HTTP/1.1 for who speaks nothing else, and nothing without TLS.
async fn https_speaks_both_versions(hand: &ByHand, path: &str) {
    let bytes = random_bytes(9, 600_000);
    let newer = hand.https(HTTPS, Version::HTTP_2);
    let older = hand.https(HTTPS, Version::HTTP_11);
    let written = newer.send("PUT", &format!("/dav{path}"), bytes.clone()).await.unwrap();
    assert_eq!((written.status.as_u16(), written.version), (201, Version::HTTP_2), "{}", written.text());
    for client in [&newer, &older] {
        let read = client.get(&format!("/dav{path}")).await.unwrap();
        assert_eq!((read.status.as_u16(), read.version), (200, client.version()));
        assert_eq!(read.body, bytes);
        let listed = client.send("PROPFIND", "/dav/common-files/", Bytes::new()).await.unwrap();
        assert_eq!(listed.status.as_u16(), 207, "{}", listed.text());
        assert!(listed.text().contains("over-https.bin"), "{}", listed.text());
    }
    assert_eq!(hand.client(2).get(path).await.unwrap(), Some(bytes), "through a node that speaks HTTP");
    let plain = Client::new(&hand.base(HTTPS).replace("https://", "http://"), "admin", "x").open("/healthz").await;
    assert!(plain.is_err(), "a port of HTTPS answers nothing without TLS: {plain:?}");
}
