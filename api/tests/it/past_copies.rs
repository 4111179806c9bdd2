//! Copies from the past are of the past; bytes that were copied across datasources are those that were stored; notes go along.

use std::sync::atomic::Ordering;

use axum::body::Body;
use serde_json::json;
use skep_raft::wire::meta::v1::{DeletedStrategy, KeepPeriod, PruneVersions, QueuePruning, VersioningPolicyRecord, tree_command};
use tokio::time::{Duration, Instant, sleep};

use crate::asking::now;
use crate::harness::{Node, now_micros};
use crate::jobs::run;

/// A folder as it was, and an instant at which it was so.
async fn changed_since(node: &Node) -> String {
    node.mkdir("common-files/d").await;
    node.mkdir("common-files/d/sub").await;
    node.mkdir("common-files/d/empty").await;
    node.write("common-files/d/a.txt", "one").await;
    node.write("common-files/d/sub/b.txt", "deep").await;
    let then = now();
    node.write("common-files/d/a.txt", "changed since").await;
    node.write("common-files/d/new.txt", "new").await;
    assert_eq!(node.dav("DELETE", "/dav/common-files/d/sub", &[], Body::empty()).await.status, 204, "d/sub is there");
    then
}

/// What a copy of that folder holds.
async fn is_as_it_was(node: &Node, token: &str, folder: &str) {
    assert_eq!(node.names(token, folder).await, ["a.txt", "empty", "sub"], "{folder}");
    assert_eq!(node.read(&format!("{folder}/a.txt")).await, Ok("one".to_owned()), "{folder}");
    assert_eq!(node.read(&format!("{folder}/sub/b.txt")).await, Ok("deep".to_owned()), "{folder}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webdav_copies_files_and_folders_as_they_were() {
    let node = Node::start().await;
    let token = node.token().await;
    let then = changed_since(&node).await;
    let copy = async |from: &str, to: &str, more: &[(&str, &str)]| {
        let destination = format!("/dav/{to}");
        let mut headers = vec![("destination", destination.as_str())];
        headers.extend_from_slice(more);
        node.dav("COPY", &format!("/dav/common-files@{then}/{from}"), &headers, Body::empty()).await
    };
    assert_eq!(copy("d/a.txt", "common-files/then.txt", &[]).await.status, 201);
    assert_eq!(node.read("common-files/then.txt").await, Ok("one".to_owned()));
    let folder = copy("d", "common-files/then", &[]).await;
    assert_eq!(folder.status, 201, "{}", folder.text());
    is_as_it_was(&node, &token, "common-files/then").await;
    assert_eq!(node.read("common-files/d/a.txt").await, Ok("changed since".to_owned()), "the present stays");

    assert_eq!(copy("d/a.txt", "common-files/then.txt", &[("overwrite", "F")]).await.status, 412);
    assert_eq!(copy("d", "common-files/then.txt", &[]).await.status, 204, "what stood there gives way");
    is_as_it_was(&node, &token, "common-files/then.txt").await;
    assert_eq!(node.read("common-files/recycle_bin/then.txt").await, Ok("one".to_owned()));
    assert_eq!(copy("d", "common-files/flat", &[("depth", "0")]).await.status, 201);
    assert!(node.names(&token, "common-files/flat").await.is_empty());
    assert_eq!(copy("d/new.txt", "common-files/x", &[]).await.status, 404, "it was not there yet");
    assert_eq!(copy("d", "common-files/none/x", &[]).await.status, 409);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_copy_what_was_within_a_datasource_and_across() {
    let node = Node::start().await;
    let worker = node.work();
    let token = node.token().await;
    let then = changed_since(&node).await;
    for target in ["common-files/by-job", "personal-files/by-job"] {
        let parameters = json!({"nodes": [format!("common-files@{then}/d")], "target": target, "targetParent": false});
        let task = run(&node, &token, "copy", &parameters).await;
        assert_eq!(task["Status"], "Finished", "{task}");
        is_as_it_was(&node, &token, target).await;
    }
    let file = json!({"nodes": [format!("common-files@{then}/d/a.txt")], "target": "common-files/file.txt", "targetParent": false});
    assert_eq!(run(&node, &token, "copy", &file).await["Status"], "Finished");
    assert_eq!(node.read("common-files/file.txt").await, Ok("one".to_owned()));
    let across = [("destination", "/dav/personal-files/by-dav")];
    assert_eq!(node.dav("COPY", &format!("/dav/common-files@{then}/d"), &across, Body::empty()).await.status, 201);
    is_as_it_was(&node, &token, "personal-files/by-dav").await;
    worker.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pruned_content_is_not_copied_and_says_by_which_policy() {
    let node = Node::start().await;
    node.write("common-files/a.txt", "one").await;
    let then = now();
    node.write("common-files/a.txt", "two").await;
    // Once the second version is older than a second its predecessor is kept by nothing.
    let policy = VersioningPolicyRecord {
        name: "nothing".to_owned(),
        keep_all_seconds: 1,
        keep_periods: vec![KeepPeriod { interval_start: "0".to_owned(), max_number: 0 }],
        max_total_size: -1,
        max_size_per_file: -1,
        ignore_files_greater_than: -1,
        node_deleted: DeletedStrategy::KeepNone.into(),
        ..VersioningPolicyRecord::default()
    };
    let limit = Instant::now() + Duration::from_secs(30);
    while node.read(&format!("common-files@{then}/a.txt")).await != Err(410) {
        assert!(Instant::now() < limit, "the version is not pruned");
        let queue = QueuePruning { limit: 1_000, changed_at: now_micros(), ..QueuePruning::default() };
        node.cluster_changes(tree_command::What::QueuePruning(queue)).await;
        node.cluster_changes(tree_command::What::PruneVersions(PruneVersions { policy: Some(policy.clone()), limit: 1_000 })).await;
        sleep(Duration::from_millis(50)).await;
    }
    let gone = node.dav("GET", &format!("/dav/common-files@{then}/a.txt"), &[], Body::empty()).await;
    assert!(gone.text().contains("Keep all"), "the policy of the datasource is named: {}", gone.text());
    let copied =
        node.dav("COPY", &format!("/dav/common-files@{then}/a.txt"), &[("destination", "/dav/common-files/b.txt")], Body::empty()).await;
    assert_eq!(copied.status, 410, "{}", copied.text());
    assert_eq!(node.read("common-files/b.txt").await, Err(404));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_not_those_stored_are_not_linked() {
    let node = Node::start().await;
    let worker = node.work();
    let token = node.token().await;
    node.mkdir("common-files/d").await;
    let large = "x".repeat(100_000);
    node.write("common-files/d/large.bin", &large).await;
    node.chunks.lies.store(true, Ordering::Relaxed);
    let parameters = json!({"nodes": ["common-files/d"], "target": "personal-files/d", "targetParent": false});
    for kind in ["copy", "move"] {
        let task = run(&node, &token, kind, &parameters).await;
        assert_eq!(task["Status"], "Error", "{task}");
        assert!(
            task["StatusMessage"].as_str().is_some_and(|why| why.contains("d/large.bin") && why.contains("not those that were stored")),
            "{task}"
        );
    }
    assert!(node.chunks.abandoned.load(Ordering::Relaxed) >= 2, "what was written is taken back");
    assert_eq!(node.read("personal-files/d/large.bin").await, Err(404));
    node.chunks.lies.store(false, Ordering::Relaxed);
    assert_eq!(node.read("common-files/d/large.bin").await, Ok(large.clone()), "the source is left");
    assert_eq!(run(&node, &token, "move", &parameters).await["Status"], "Finished");
    assert_eq!(node.read("personal-files/d/large.bin").await, Ok(large));
    worker.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notes_go_along_to_another_datasource() {
    let node = Node::start().await;
    let worker = node.work();
    let token = node.token().await;
    node.mkdir("common-files/d").await;
    node.write("common-files/d/a.txt", "one").await;
    for path in ["common-files/d", "common-files/d/a.txt"] {
        let values = json!({"Metadatas": [
            {"Namespace": "usermeta-tags", "JsonMeta": "\"blue\""}, {"Namespace": "bookmark", "JsonMeta": "true"}, {"Namespace": "own", "JsonMeta": "7"},
        ]});
        let set = node.rest(&token, ("POST", &format!("/a/meta/set/{path}")), &values).await;
        assert_eq!(set.status, 200, "{}", set.text());
    }
    let parameters = json!({"nodes": ["common-files/d"], "target": "personal-files/d", "targetParent": false});
    assert_eq!(run(&node, &token, "move", &parameters).await["Status"], "Finished");
    for path in ["personal-files/d", "personal-files/d/a.txt"] {
        let meta = node.stat(&token, path).await["MetaStore"].clone();
        assert_eq!((&meta["usermeta-tags"], &meta["bookmark"], &meta["own"]), (&json!("\"blue\""), &json!("true"), &json!("7")), "{path}");
    }
    let found = node.rest(&token, ("POST", "/a/user-meta/search"), &json!({"Namespace": "usermeta-tags", "JsonValue": "\"blue\""})).await;
    assert_eq!(found.json()["Metadatas"].as_array().map(Vec::len), Some(2), "found where they are now: {}", found.text());
    worker.stop().await;
    node.stop().await;
}
