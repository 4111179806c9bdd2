//! Copies and moves as jobs, within a datasource and across.

use axum::body::Body;
use serde_json::{Value, json};
use skep_api::service::jobs::worker::Worker;
use skep_placement::ids::NodeId;
use tokio_util::sync::CancellationToken;

use crate::harness::Node;

/// Begins a job and polls it as clients do.
pub(crate) async fn run(node: &Node, token: &str, name: &str, parameters: &Value) -> Value {
    let begin = json!({"JsonParameters": parameters.to_string()});
    let begun = node.rest(token, ("PUT", &format!("/a/jobs/user/{name}")), &begin).await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    let id = begun.json()["JobUuid"].as_str().expect("an id").to_owned();
    for _ in 0..600 {
        let jobs = node.rest(token, ("POST", "/a/jobs/user"), &json!({"JobIDs": [id], "LoadTasks": "Any"})).await.json();
        let task = jobs["Jobs"][0]["Tasks"][0].clone();
        match task["Status"].as_str().expect("a status") {
            "Queued" | "Running" => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            _ => return task,
        }
    }
    panic!("the job {id} does not end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_are_copied_and_moved_within_and_across_datasources() {
    let node = Node::start().await;
    let stop = CancellationToken::new();
    let worker = tokio::spawn(Worker::new(node.app.service().clone(), NodeId(1)).run(stop.clone()));
    let token = node.token().await;
    for path in ["dir", "dir/sub", "to"] {
        assert_eq!(node.dav("MKCOL", &format!("/dav/common-files/{path}"), &[], Body::empty()).await.status, 201);
    }
    assert_eq!(node.dav("PUT", "/dav/common-files/dir/a.txt", &[("x-oc-mtime", "1000")], "alpha").await.status, 201);
    assert_eq!(node.dav("PUT", "/dav/common-files/dir/sub/b.bin", &[], vec![7_u8; 100_000]).await.status, 201);

    let into = json!({"nodes": ["common-files/dir"], "target": "common-files/to", "targetParent": true});
    assert_eq!(run(&node, &token, "copy", &into).await["Status"], "Finished");
    assert_eq!(node.dav("GET", "/dav/common-files/to/dir/a.txt", &[], Body::empty()).await.text(), "alpha");
    let taken = run(&node, &token, "copy", &into).await;
    assert_eq!(taken["Status"], "Error", "{taken}");
    assert!(taken["StatusMessage"].as_str().is_some_and(|why| why.contains("exists already")), "{taken}");
    let beside = json!({"nodes": ["common-files/dir/a.txt"], "target": "common-files/dir", "targetParent": true});
    assert_eq!(run(&node, &token, "copy", &beside).await["Status"], "Finished");
    assert_eq!(node.dav("GET", "/dav/common-files/dir/a-1.txt", &[], Body::empty()).await.text(), "alpha");

    let across = json!({"nodes": ["common-files/dir"], "target": "personal-files/dir", "targetParent": false});
    let copied = run(&node, &token, "copy", &across).await;
    assert_eq!(copied["Status"], "Finished", "{copied}");
    let got = node.dav("GET", "/dav/personal-files/dir/sub/b.bin", &[], Body::empty()).await;
    assert_eq!((got.status.as_u16(), got.body.len()), (200, 100_000));
    let kept = node.dav("HEAD", "/dav/personal-files/dir/a.txt", &[], Body::empty()).await;
    assert_eq!(kept.header("last-modified"), "Thu, 01 Jan 1970 00:16:40 GMT");
    let moved = json!({"nodes": ["common-files/dir/sub"], "target": "personal-files", "targetParent": true});
    let moved = run(&node, &token, "move", &moved).await;
    assert_eq!(moved["Status"], "Finished", "{moved}");
    assert_eq!(node.dav("GET", "/dav/common-files/dir/sub/b.bin", &[], Body::empty()).await.status, 404);
    assert_eq!(node.dav("GET", "/dav/personal-files/sub/b.bin", &[], Body::empty()).await.body.len(), 100_000);

    let by_dav = node.dav("MOVE", "/dav/common-files/dir/a.txt", &[("destination", "/dav/personal-files/a.txt")], Body::empty()).await;
    assert_eq!(by_dav.status, 201, "{}", by_dav.text());
    assert_eq!(node.dav("GET", "/dav/personal-files/a.txt", &[], Body::empty()).await.text(), "alpha");
    assert_eq!(node.dav("GET", "/dav/common-files/dir/a.txt", &[], Body::empty()).await.status, 404);
    let missing = json!({"nodes": ["common-files/none"], "target": "common-files/to", "targetParent": true});
    assert_eq!(run(&node, &token, "move", &missing).await["Status"], "Error");
    stop.cancel();
    worker.await.expect("the worker ends");
    node.stop().await;
}
