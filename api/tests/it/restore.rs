//! A folder is brought back to an instant, all at once, whatever happened to it since.

use axum::body::Body;
use serde_json::{Value, json};

use crate::asking::{now, now_and};
use crate::harness::Node;
use crate::jobs::run;

async fn move_to(node: &Node, from: &str, to: &str) {
    let destination = format!("/dav/{to}");
    let moved = node.dav("MOVE", &format!("/dav/{from}"), &[("destination", &destination), ("overwrite", "F")], Body::empty()).await;
    assert_eq!(moved.status, 201, "{from} to {to}: {}", moved.text());
}

async fn restore(node: &Node, token: &str, path: &str, at: &str) -> Value {
    run(node, token, "restore-instant", &json!({"node": path, "at": at})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_moved_deleted_and_new_entries_go_back() {
    let node = Node::start().await;
    let worker = node.work();
    let token = node.token().await;
    node.mkdir("common-files/d").await;
    node.mkdir("common-files/d/sub").await;
    node.write("common-files/d/changed", "one").await;
    node.write("common-files/d/deleted", "there").await;
    node.write("common-files/d/moved", "m").await;
    node.write("common-files/d/sub/inside", "i").await;
    let moved_id = node.stat(&token, "common-files/d/moved").await["Uuid"].clone();
    let then = now();
    node.write("common-files/d/changed", "two").await;
    assert_eq!(node.dav("DELETE", "/dav/common-files/d/deleted", &[], Body::empty()).await.status, 204);
    move_to(&node, "common-files/d/moved", "common-files/d/sub/elsewhere").await;
    node.write("common-files/d/new", "new").await;
    let task = restore(&node, &token, "common-files/d", &then).await;
    assert_eq!(task["Status"], "Finished", "{task}");
    assert_eq!(node.names(&token, "common-files/d").await, ["changed", "deleted", "moved", "sub"]);
    assert_eq!(node.names(&token, "common-files/d/sub").await, ["inside"]);
    for (name, text) in [("changed", "one"), ("deleted", "there"), ("moved", "m"), ("sub/inside", "i")] {
        assert_eq!(node.read(&format!("common-files/d/{name}")).await, Ok(text.to_owned()), "{name}");
    }
    assert_eq!(node.stat(&token, "common-files/d/moved").await["Uuid"], moved_id, "what was moved is moved back");
    assert_eq!(restore(&node, &token, "common-files/d", &then).await["Status"], "Finished", "it is as it was: nothing to do");
    worker.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_changed_places_or_kinds_go_back() {
    let node = Node::start().await;
    let worker = node.work();
    let token = node.token().await;
    node.mkdir("common-files/s").await;
    node.mkdir("common-files/s/folder").await;
    node.mkdir("common-files/s/z").await;
    for name in ["a", "b", "folder/f", "file", "y", "z/in"] {
        node.write(&format!("common-files/s/{name}"), name).await;
    }
    let then = now();
    move_to(&node, "common-files/s/a", "common-files/s/t").await;
    move_to(&node, "common-files/s/b", "common-files/s/a").await;
    move_to(&node, "common-files/s/t", "common-files/s/b").await;
    for name in ["folder", "file", "y"] {
        assert_eq!(node.dav("DELETE", &format!("/dav/common-files/s/{name}"), &[], Body::empty()).await.status, 204);
    }
    node.write("common-files/s/folder", "a file now").await;
    node.mkdir("common-files/s/file").await;
    move_to(&node, "common-files/s/z", "common-files/s/y").await;
    let task = restore(&node, &token, "common-files/s", &then).await;
    assert_eq!(task["Status"], "Finished", "{task}");
    assert_eq!(node.names(&token, "common-files/s").await, ["a", "b", "file", "folder", "y", "z"]);
    for name in ["a", "b", "folder/f", "file", "y", "z/in"] {
        assert_eq!(node.read(&format!("common-files/s/{name}")).await, Ok(name.to_owned()), "{name}");
    }
    worker.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_restored_changes_nothing() {
    let node = Node::start().await;
    let worker = node.work();
    let token = node.token().await;
    node.mkdir("common-files/d").await;
    node.write("common-files/d/f", "one").await;
    let uuid = node.stat(&token, "common-files/d/f").await["Uuid"].as_str().expect("an id").to_owned();
    let version = node.stat(&token, "common-files/d/f").await["Etag"].as_str().expect("a version").to_owned();
    let then = now();
    node.write("common-files/d/f", "two").await;
    node.write("common-files/d/g", "new").await;
    let deleted = node.rest(&token, ("DELETE", &format!("/n/node/{uuid}/versions/{version}")), &Value::Null).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    let task = restore(&node, &token, "common-files/d", &then).await;
    assert_eq!(task["Status"], "Error", "{task}");
    assert!(task["StatusMessage"].as_str().is_some_and(|why| why.contains("Keep all") && why.contains("the file is f")), "{task}");
    assert_eq!(node.names(&token, "common-files/d").await, ["f", "g"], "nothing was restored");
    let begin = |at: String| json!({"JsonParameters": json!({"node": "common-files/d", "at": at}).to_string()});
    for bad in [now_and(3_600), "soon".to_owned()] {
        let refused = node.rest(&token, ("PUT", "/a/jobs/user/restore-instant"), &begin(bad.clone())).await;
        assert_eq!(refused.status, 400, "{bad}: {}", refused.text());
    }
    worker.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_one_command_can_change_is_built_anew_and_replaced_at_once() {
    let node = Node::start().await;
    let worker = node.work();
    let token = node.token().await;
    node.mkdir("common-files/d").await;
    node.mkdir("common-files/d/sub").await;
    node.write("common-files/d/kept", "one").await;
    node.write("common-files/d/sub/inside", "i").await;
    let noted = json!({"Metadatas": [{"Namespace": "usermeta-tags", "JsonMeta": "\"blue\""}]});
    assert_eq!(node.rest(&token, ("POST", "/a/meta/set/common-files/d/kept"), &noted).await.status, 200);
    let then = now();
    node.write("common-files/d/kept", "two").await;
    for half in 0..2 {
        let folder = |number: usize| json!({"Type": "CREATE_FOLDER", "Path": format!("common-files/d/new-{half}-{number}")});
        let steps = json!({"Operations": (0..5_001).map(folder).collect::<Vec<Value>>()});
        assert_eq!(node.rest(&token, ("POST", "/a/tree/batch"), &steps).await.status, 200);
    }
    let task = restore(&node, &token, "common-files/d", &then).await;
    assert_eq!(task["Status"], "Finished", "{task}");
    assert_eq!(node.names(&token, "common-files/d").await, ["kept", "sub"]);
    assert_eq!(node.read("common-files/d/kept").await, Ok("one".to_owned()));
    assert_eq!(node.read("common-files/d/sub/inside").await, Ok("i".to_owned()));
    assert_eq!(node.stat(&token, "common-files/d/kept").await["MetaStore"]["usermeta-tags"], "\"blue\"");
    let after = now();
    let listed = node.names(&token, &format!("common-files@{after}/d")).await;
    assert_eq!(listed, ["kept", "sub"], "all at once");
    worker.stop().await;
    node.stop().await;
}

/// Makes so many folders in one, by batches.
async fn fill(node: &Node, token: &str, folder: &str, count: usize) {
    for begin in (0..count).step_by(5_000) {
        let made = |number: usize| json!({"Type": "CREATE_FOLDER", "Path": format!("{folder}/new-{number}")});
        let steps = json!({"Operations": (begin..count.min(begin + 5_000)).map(made).collect::<Vec<Value>>()});
        let answer = node.rest(token, ("POST", "/a/tree/batch"), &steps).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_is_brought_back_in_parts_and_stays_itself() {
    let node = Node::start().await;
    let worker = node.work();
    let token = node.token().await;
    for folder in ["d", "small", "gone", "gone/sub", "theirs", "theirs/much"] {
        node.mkdir(&format!("common-files/{folder}")).await;
    }
    for name in ["d/kept", "small/changed", "gone/sub/inside", "theirs/much/f", "top"] {
        node.write(&format!("common-files/{name}"), "one").await;
    }
    let id = async |path: &str| node.stat(&token, path).await["Uuid"].clone();
    let (d, theirs, much) = (id("common-files/d").await, id("common-files/theirs").await, id("common-files/theirs/much").await);
    node.workspace_of("team", theirs.as_str().expect("an id")).await;
    let then = now();
    fill(&node, &token, "common-files/d", 2_000).await;
    fill(&node, &token, "common-files/theirs/much", 10_002).await;
    for name in ["d/kept", "small/changed", "top"] {
        node.write(&format!("common-files/{name}"), "two").await;
    }
    for name in ["gone", "theirs/much/f"] {
        assert_eq!(node.dav("DELETE", &format!("/dav/common-files/{name}"), &[], Body::empty()).await.status, 204);
    }
    node.mkdir("common-files/new").await;
    let binned = node.names(&token, "common-files/recycle_bin").await;
    let before = now();
    let task = restore(&node, &token, "common-files", &then).await;
    assert_eq!(task["Status"], "Finished", "{task}");
    assert!(task["StatusMessage"].as_str().is_some_and(|said| said.starts_with("2 folders built anew")), "{task}");
    assert_eq!(node.names(&token, "common-files").await, ["d", "gone", "recycle_bin", "small", "theirs", "top"]);
    assert_eq!(node.names(&token, "common-files/d").await, ["kept"]);
    assert_eq!(node.names(&token, "common-files/theirs/much").await, ["f"]);
    for name in ["d/kept", "small/changed", "gone/sub/inside", "theirs/much/f", "top"] {
        assert_eq!(node.read(&format!("common-files/{name}")).await, Ok("one".to_owned()), "{name}");
    }
    assert_eq!(id("common-files/d").await, d, "what differs little is undone in place");
    assert_eq!(id("common-files/theirs").await, theirs, "a workspace's root stays itself");
    assert_ne!(id("common-files/theirs/much").await, much, "what differs much is replaced");
    assert_eq!(node.read("team/much/f").await, Ok("one".to_owned()), "the other workspace is brought back with it");
    assert_eq!(node.names(&token, "common-files/recycle_bin").await, binned, "the bin is no part of it");
    assert_eq!(node.read(&format!("common-files@{before}/top")).await, Ok("two".to_owned()), "the state before stays within reach");
    let of_before = node.stat(&token, &format!("common-files@{before}/theirs/much/new-10001")).await;
    assert_eq!(of_before["Type"], "COLLECTION", "{of_before}");
    worker.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_names_than_one_command_takes_are_refused_and_nothing_is_restored() {
    let node = Node::start().await;
    let worker = node.work();
    let token = node.token().await;
    node.write("common-files/top", "one").await;
    let then = now();
    node.write("common-files/top", "two").await;
    fill(&node, &token, "common-files", 10_001).await;
    let task = restore(&node, &token, "common-files", &then).await;
    assert_eq!(task["Status"], "Error", "{task}");
    assert!(task["StatusMessage"].as_str().is_some_and(|why| why.contains("10002 names directly in it differ")), "{task}");
    assert_eq!(node.read("common-files/top").await, Ok("two".to_owned()));
    worker.stop().await;
    node.stop().await;
}
