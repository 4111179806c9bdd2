//! What administrators set: versioning policies, datasources, workspaces, quotas; and what comes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use skep_api::service::jobs::worker::Worker;
use skep_placement::ids::NodeId;
use tokio_util::sync::CancellationToken;

use crate::harness::{Node, PASSWORD};
use crate::jobs::run;

/// A policy that keeps one old version and nothing of what is deleted, from one second on.
fn strict() -> Value {
    json!({
        "Name": "Strict", "KeepPeriods": [{"IntervalStart": "0", "MaxNumber": 1}], "NodeDeletedStrategy": "KeepNone",
        "MaxSizePerFile": "-1", "KeepAllSeconds": "1",
    })
}

async fn set_workspace(node: &Node, token: &str, slug: &str, attributes: &Value) {
    let body = json!({"Attributes": attributes.to_string()});
    let set = node.rest(token, ("PUT", &format!("/a/workspace/{slug}")), &body).await;
    assert_eq!(set.status, 200, "{}", set.text());
}

async fn set_datasource(node: &Node, token: &str, body: &Value) {
    let set = node.rest(token, ("POST", "/a/config/datasource/pydiods1"), body).await;
    assert_eq!(set.status, 200, "{}", set.text());
}

async fn versions(node: &Node, token: &str, path: &str) -> usize {
    let answer = node.rest(token, ("POST", "/a/tree/stats"), &json!({"NodePaths": [path], "Versions": true})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["Nodes"].as_array().map(Vec::len).expect("nodes")
}

async fn put(node: &Node, path: &str, bytes: usize) -> u16 {
    node.dav("PUT", path, &[], vec![b'x'; bytes]).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_are_listed_made_changed_and_deleted() {
    let node = Node::start().await;
    let token = node.token().await;
    let listed = node.rest(&token, ("GET", "/a/config/versioning"), &Value::Null).await.json();
    let uuids: Vec<&str> = listed["Policies"].as_array().expect("policies").iter().filter_map(|policy| policy["Uuid"].as_str()).collect();
    assert_eq!(uuids, ["keep-all", "default-policy", "regular-pruning"]);
    assert_eq!(listed["Policies"][1]["KeepPeriods"][2], json!({"IntervalStart": "30d", "MaxNumber": 0}));

    let path = "/a/config/versioning/mine";
    let made = node.rest(&token, ("POST", path), &strict()).await;
    assert_eq!((made.status.as_u16(), &made.json()["Uuid"]), (200, &json!("mine")), "{}", made.text());
    let mut changed = strict();
    changed["Description"] = json!("changed");
    assert_eq!(node.rest(&token, ("POST", path), &changed).await.status, 200);
    let got = node.rest(&token, ("GET", path), &Value::Null).await.json();
    assert_eq!((&got["Description"], &got["MaxTotalSize"], &got["KeepAllSeconds"]), (&json!("changed"), &json!("-1"), &json!("1")));
    let all = node.rest(&token, ("GET", "/a/config/versioning"), &Value::Null).await.json();
    assert_eq!(all["Policies"].as_array().map(Vec::len), Some(4), "one more, not two");

    for (bad, field) in [
        (json!({"KeepPeriods": [{"IntervalStart": "soon", "MaxNumber": 1}]}), "KeepPeriods.IntervalStart"),
        (json!({"KeepPeriods": [{"IntervalStart": "1d", "MaxNumber": 1}, {"IntervalStart": "3h", "MaxNumber": 1}]}), "KeepPeriods"),
        (json!({"Uuid": "other"}), "Uuid"),
    ] {
        let refused = node.rest(&token, ("POST", path), &bad).await;
        assert_eq!(refused.status, 400, "{bad}");
        assert!(refused.json()["Detail"].as_str().is_some_and(|why| why.contains(field)), "{}", refused.text());
    }
    assert_eq!(node.rest(&token, ("POST", "/a/config/versioning/keep-all"), &strict()).await.status, 403);
    assert_eq!(node.rest(&token, ("GET", "/a/config/versioning/none"), &Value::Null).await.status, 404);

    set_datasource(&node, &token, &json!({"VersioningPolicyName": "mine"})).await;
    let in_use = node.rest(&token, ("DELETE", path), &Value::Null).await;
    assert!(in_use.status == 409 && in_use.text().contains("pydiods1"), "{}", in_use.text());
    set_datasource(&node, &token, &json!({"VersioningPolicyName": "default-policy"})).await;
    assert_eq!(node.rest(&token, ("DELETE", path), &Value::Null).await.status, 200);
    assert_eq!(node.rest(&token, ("DELETE", path), &Value::Null).await.status, 404);

    let alice = json!({"Password": PASSWORD, "Attributes": {"displayName": "Alice"}});
    assert_eq!(node.rest(&token, ("PUT", "/a/user/alice"), &alice).await.status, 200);
    let session = json!({"AuthInfo": {"type": "credentials", "login": "alice", "password": PASSWORD}});
    let session = node.rest("none", ("POST", "/a/frontend/session"), &session).await.json();
    let hers = session["JWT"].as_str().expect("a token");
    for (method, path) in [("GET", "/a/config/versioning"), ("POST", "/a/config/versioning/x"), ("GET", "/a/config/datasource")] {
        assert_eq!(node.rest(hers, (method, path), &Value::Null).await.status, 403, "{method} {path}");
    }
    assert_eq!(node.rest(hers, ("PUT", "/a/workspace/common-files"), &json!({})).await.status, 403);
    let seen = node.rest(hers, ("POST", "/a/workspace"), &json!({})).await.json();
    assert_eq!((&seen["Total"], &seen["Workspaces"][0]["Slug"]), (&json!(2), &json!("common-files")));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_policy_frees_what_a_preview_said() {
    let node = Node::start().await;
    let token = node.token().await;
    for round in 0..5_u8 {
        for file in 0..3_u8 {
            let body = vec![round * 16 + file; 10_000 + usize::from(round)];
            let answer = node.dav("PUT", &format!("/dav/common-files/f{file}"), &[], body).await;
            assert!(answer.status.is_success(), "{}", answer.text());
        }
    }
    assert_eq!(node.rest(&token, ("POST", "/a/config/versioning/mine"), &strict()).await.status, 200);
    let preview = async |body: &Value| {
        let answer = node.rest(&token, ("POST", "/a/config/versioning/mine/preview"), body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let expected = json!({"Files": "3", "Versions": "9", "Bytes": "90009", "BytesFreed": "90009"});
    let limit = tokio::time::Instant::now() + Duration::from_secs(20);
    // What was current within the last second is safe.
    loop {
        let said = preview(&json!({"Datasource": "pydiods1"})).await;
        if said == expected {
            break;
        }
        assert!(tokio::time::Instant::now() < limit, "{said}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut other = strict();
    other["KeepPeriods"] = json!([{"IntervalStart": "0", "MaxNumber": -1}]);
    let nothing = preview(&json!({"Datasource": "pydiods1", "Policy": other})).await;
    assert_eq!(nothing, json!({"Files": "3", "Versions": "0", "Bytes": "0", "BytesFreed": "0"}));
    other["MaxTotalSize"] = json!("25000");
    let two_of_five = preview(&json!({"Datasource": "pydiods1", "Policy": other})).await;
    assert_eq!(
        two_of_five,
        json!({"Files": "3", "Versions": "9", "Bytes": "90009", "BytesFreed": "90009"}),
        "two fit, the current one with them"
    );
    let bad = json!({"Datasource": "pydiods1", "Policy": {"KeepPeriods": [{"IntervalStart": "x"}]}});
    assert_eq!(node.rest(&token, ("POST", "/a/config/versioning/mine/preview"), &bad).await.status, 400);
    let unknown = json!({"Datasource": "nowhere"});
    assert_eq!(node.rest(&token, ("POST", "/a/config/versioning/mine/preview"), &unknown).await.status, 404);
    assert_eq!(versions(&node, &token, "common-files/f0").await, 5, "looking changes nothing");

    let before = node.totals().await;
    set_datasource(&node, &token, &json!({"VersioningPolicyName": "mine"})).await;
    let after = node.until(|totals| totals.versions == before.versions - 9).await;
    assert_eq!(before.chunk_bytes - after.chunk_bytes, 90_009, "what the preview said");
    assert_eq!(versions(&node, &token, "common-files/f2").await, 2);
    assert_eq!(node.dav("GET", "/dav/common-files/f0", &[], Body::empty()).await.body.len(), 10_004, "the current one stays");

    // From now on a new version alone may be too much.
    let mut total = strict();
    total["KeepPeriods"] = json!([{"IntervalStart": "0", "MaxNumber": -1}]);
    total["MaxTotalSize"] = json!("25000");
    assert_eq!(node.rest(&token, ("POST", "/a/config/versioning/mine"), &total).await.status, 200);
    let got = node.rest(&token, ("GET", "/a/config/versioning/mine"), &Value::Null).await.json();
    assert_eq!(got["MaxTotalSize"], "25000");
    assert_eq!(put(&node, "/dav/common-files/f1", 24_000).await, 204);
    node.until(|totals| totals.versions == after.versions - 1).await;
    assert_eq!(versions(&node, &token, "common-files/f1").await, 1, "two of ten thousand bytes had to go");

    set_datasource(&node, &token, &json!({"VersioningPolicyName": ""})).await;
    let none = node.rest(&token, ("GET", "/a/config/datasource/pydiods1"), &Value::Null).await.json();
    assert_eq!(none["VersioningPolicyName"], "");
    assert_eq!(versions(&node, &token, "common-files/f0").await, 2, "what was current within a day stays");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datasource_is_set_and_a_full_one_takes_no_more() {
    let node = Node::start().await;
    let token = node.token().await;
    let listed = node.rest(&token, ("GET", "/a/config/datasource"), &Value::Null).await.json();
    assert_eq!((&listed["Total"], &listed["DataSources"][0]["Name"]), (&json!(2), &json!("pydiods1")));
    assert_eq!(listed["DataSources"][0]["VersioningPolicyName"], "keep-all");
    assert_eq!(put(&node, "/dav/common-files/a", 50_000).await, 201);
    let configuration = json!({"skep:quota_bytes": "100000", "skep:recycle_seconds": "60", "skep:history_seconds": "3600"});
    set_datasource(&node, &token, &json!({"StorageConfiguration": configuration})).await;
    let got = node.rest(&token, ("GET", "/a/config/datasource/pydiods1"), &Value::Null).await.json();
    let configuration = &got["StorageConfiguration"];
    assert_eq!((&configuration["skep:quota_bytes"], &configuration["skep:recycle_bytes"]), (&json!("100000"), &json!("0")));
    let unknown = node.rest(&token, ("POST", "/a/config/datasource/none"), &json!({})).await;
    assert_eq!(unknown.status, 404);
    let bad = json!({"StorageConfiguration": {"skep:quota_bytes": "much"}});
    assert_eq!(node.rest(&token, ("POST", "/a/config/datasource/pydiods1"), &bad).await.status, 400);

    // The system group's word is enough to refuse early; the group itself refuses small bodies once its leader has brought the limit.
    let refused = node.dav("PUT", "/dav/common-files/b", &[("content-length", "60000")], vec![b'x'; 60_000]).await;
    assert!(refused.status == 507 && refused.text().contains("the datasource would hold 110000 stored bytes"), "{}", refused.text());
    assert_eq!(put(&node, "/dav/common-files/c", 40_000).await, 201);
    node.eventually("small bodies to be refused", async || {
        let number = node.totals().await.entries;
        put(&node, &format!("/dav/common-files/small{number}"), 4_000).await == 507
    })
    .await;
    let full = node.totals().await;
    assert_eq!(put(&node, "/dav/common-files/d", 4_000).await, 507);
    assert_eq!(node.totals().await, full, "a refusal changes nothing");
    let usage = node.dav("PROPFIND", "/dav/common-files", &[("depth", "0")], quota_properties()).await;
    assert!(usage.text().contains("<D:quota-available-bytes>"), "{}", usage.text());
    node.stop().await;
}

fn quota_properties() -> &'static str {
    "<propfind xmlns=\"DAV:\"><prop><quota-available-bytes/><quota-used-bytes/></prop></propfind>"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_workspace_refuses_in_each_protocol_and_before_the_body() {
    let node = Node::start().await;
    let token = node.token().await;
    assert_eq!(put(&node, "/dav/common-files/a", 6_000).await, 201);
    let unlimited = node.dav("PROPFIND", "/dav/common-files", &[("depth", "0")], quota_properties()).await;
    assert!(!unlimited.text().contains("<D:quota-available-bytes>"), "no quota, no figure: {}", unlimited.text());
    set_workspace(&node, &token, "common-files", &json!({"QUOTA": "10000"})).await;

    // By REST, in the commit.
    let contents = "y".repeat(4_500);
    let small = json!({"Nodes": [{"Path": "common-files/n.txt", "Type": "LEAF", "MetaStore": {"Contents": json!(contents).to_string()}}]});
    let refused = node.rest(&token, ("POST", "/a/tree/create"), &small).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["Meta"]["code"]), (422, &json!("quota-exceeded")), "{}", refused.text());
    assert!(refused.json()["Detail"].as_str().is_some_and(|why| why.contains("common-files")), "{}", refused.text());
    // By WebDAV, before a byte of the body is read.
    let read = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&read);
    let body = stream::iter((0..100).map(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 1_000_000]))
    }));
    let early = node.dav("PUT", "/dav/common-files/large", &[("content-length", "100000000")], Body::from_stream(body)).await;
    assert_eq!(early.status, 507, "{}", early.text());
    assert!(read.load(Ordering::Relaxed) < 20, "{} pieces were read", read.load(Ordering::Relaxed));
    assert_eq!(node.chunks.abandoned.load(Ordering::Relaxed), 0, "nothing was written");
    // A new version counts what it adds.
    assert_eq!(put(&node, "/dav/common-files/a", 10_001).await, 507);
    assert_eq!(put(&node, "/dav/common-files/a", 10_000).await, 204);
    assert_eq!(put(&node, "/dav/common-files/b", 1).await, 507);
    for path in ["n.txt", "large", "b"] {
        assert_eq!(node.dav("GET", &format!("/dav/common-files/{path}"), &[], Body::empty()).await.status, 404, "{path}");
    }
    assert_eq!(put(&node, "/dav/common-files/a", 7_000).await, 204, "what is full may shrink");

    let usage = node.dav("PROPFIND", "/dav/common-files", &[("depth", "1")], quota_properties()).await.text();
    let folder = usage.split("</D:response>").next().expect("the folder first");
    assert!(folder.contains("<D:quota-available-bytes>3000</D:quota-available-bytes>"), "{usage}");
    assert!(folder.contains("<D:quota-used-bytes>7000</D:quota-used-bytes>"), "{usage}");
    let root = node.rest(&token, ("GET", "/a/tree/stat/common-files"), &Value::Null).await.json();
    let meta = &root["Node"]["MetaStore"];
    assert_eq!((&meta["ws_quota"], &meta["ws_quota_usage"]), (&json!("10000"), &json!("7000")));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_a_quota_of_its_own_and_jobs_are_held_to_it() {
    let node = Node::start().await;
    let stop = CancellationToken::new();
    let worker = tokio::spawn(Worker::new(node.app.service().clone(), NodeId(1)).run(stop.clone()));
    let token = node.token().await;
    assert_eq!(node.dav("MKCOL", "/dav/common-files/dir", &[], Body::empty()).await.status, 201);
    for file in 0..3 {
        assert_eq!(put(&node, &format!("/dav/common-files/dir/f{file}"), 50_000).await, 201);
    }
    let quota = json!({"Attributes": {"skep:quota_bytes": "100000", "skep:quota_entries": "10"}});
    let set = node.rest(&token, ("PUT", "/a/user/admin"), &quota).await;
    assert_eq!(set.json()["Attributes"]["skep:quota_bytes"], "100000", "{}", set.text());
    let bad = json!({"Attributes": {"skep:quota_bytes": "much"}});
    assert_eq!(node.rest(&token, ("PUT", "/a/user/admin"), &bad).await.status, 400);

    assert_eq!(put(&node, "/dav/personal-files/mine", 100_001).await, 507);
    assert_eq!(put(&node, "/dav/common-files/more", 100_001).await, 201, "it counts in the user's own folders alone");
    let across = json!({"nodes": ["common-files/dir"], "target": "personal-files/dir", "targetParent": false});
    let refused = run(&node, &token, "copy", &across).await;
    assert_eq!(refused["Status"], "Error", "{refused}");
    assert!(refused["StatusMessage"].as_str().is_some_and(|why| why.contains("the user admin would hold 150000 bytes")), "{refused}");
    assert_eq!(node.dav("GET", "/dav/personal-files/dir/f0", &[], Body::empty()).await.status, 404, "nothing of it is there");
    let moved = run(&node, &token, "move", &across).await;
    assert_eq!(moved["Status"], "Error", "{moved}");
    assert_eq!(node.dav("GET", "/dav/common-files/dir/f0", &[], Body::empty()).await.status, 200, "the source stays");
    let one = json!({"nodes": ["common-files/dir/f0"], "target": "personal-files", "targetParent": true});
    assert_eq!(run(&node, &token, "move", &one).await["Status"], "Finished");
    let none = json!({"Attributes": {"skep:quota_bytes": ""}});
    assert_eq!(node.rest(&token, ("PUT", "/a/user/admin"), &none).await.status, 200);
    assert_eq!(run(&node, &token, "copy", &across).await["Status"], "Finished", "without the quota");
    stop.cancel();
    worker.await.expect("the worker ends");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_without_a_bin_deletes_for_good() {
    let node = Node::start().await;
    let token = node.token().await;
    let made = json!({"Label": "Plans", "RootNodes": {"r": {"Path": "pydiods1/plans"}}, "Attributes": "{\"DEFAULT_RIGHTS\":\"rw\"}"});
    let made = node.rest(&token, ("PUT", "/a/workspace/plans"), &made).await;
    assert_eq!((made.status.as_u16(), &made.json()["Label"]), (200, &json!("Plans")), "{}", made.text());
    assert_eq!(node.rest(&token, ("PUT", "/a/workspace/rootless"), &json!({"Label": "x"})).await.status, 400);
    for path in ["kept", "gone"] {
        assert_eq!(put(&node, &format!("/dav/plans/{path}"), 10).await, 201);
    }
    assert_eq!(node.dav("DELETE", "/dav/plans/kept", &[], Body::empty()).await.status, 204);
    assert_eq!(node.dav("GET", "/dav/plans/recycle_bin/kept", &[], Body::empty()).await.status, 200);

    set_workspace(&node, &token, "plans", &json!({"SKIP_RECYCLE": true, "META_LAYOUT": "grid"})).await;
    let shown = node.rest(&token, ("GET", "/a/tree/stat/plans"), &Value::Null).await.json();
    assert_eq!(shown["Node"]["MetaStore"]["ws_skip_recycle"], "true");
    assert_eq!(node.dav("DELETE", "/dav/plans/gone", &[], Body::empty()).await.status, 204);
    assert_eq!(node.dav("GET", "/dav/plans/recycle_bin/gone", &[], Body::empty()).await.status, 404);
    assert_eq!(node.dav("GET", "/dav/common-files/recycle_bin/gone", &[], Body::empty()).await.status, 404);
    for path in ["over", "under"] {
        assert_eq!(put(&node, &format!("/dav/plans/{path}"), 10).await, 201);
    }
    let over = node.dav("MOVE", "/dav/plans/over", &[("destination", "/dav/plans/under")], Body::empty()).await;
    assert_eq!(over.status, 204, "{}", over.text());
    let replaced = node.dav("GET", "/dav/plans/recycle_bin/under", &[], Body::empty()).await;
    assert_eq!(replaced.status, 404, "what is replaced goes for good, too");
    let listed = node.rest(&token, ("POST", "/a/workspace"), &json!({"CountOnly": true})).await.json();
    let plans =
        listed["Workspaces"].as_array().and_then(|all| all.iter().find(|workspace| workspace["Slug"] == "plans")).expect("it is listed");
    let attributes: Value = serde_json::from_str(plans["Attributes"].as_str().expect("a text")).expect("JSON");
    assert_eq!((&attributes["SKIP_RECYCLE"], &attributes["META_LAYOUT"]), (&json!(true), &json!("grid")));
    assert_eq!((&plans["Label"], &attributes["DEFAULT_RIGHTS"]), (&json!("Plans"), &json!("rw")), "what is not named stays");

    assert_eq!(node.rest(&token, ("DELETE", "/a/workspace/plans"), &Value::Null).await.status, 200);
    assert_eq!(node.dav("GET", "/dav/plans/recycle_bin/kept", &[], Body::empty()).await.status, 404);
    assert_eq!(node.dav("GET", "/dav/common-files/plans/recycle_bin/kept", &[], Body::empty()).await.status, 200, "its files stay");
    node.stop().await;
}
