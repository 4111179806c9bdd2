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
    for name in ["a", "b", "folder/f", "file"] {
        node.write(&format!("common-files/s/{name}"), name).await;
    }
    let then = now();
    move_to(&node, "common-files/s/a", "common-files/s/t").await;
    move_to(&node, "common-files/s/b", "common-files/s/a").await;
    move_to(&node, "common-files/s/t", "common-files/s/b").await;
    for name in ["folder", "file"] {
        assert_eq!(node.dav("DELETE", &format!("/dav/common-files/s/{name}"), &[], Body::empty()).await.status, 204);
    }
    node.write("common-files/s/folder", "a file now").await;
    node.mkdir("common-files/s/file").await;
    let task = restore(&node, &token, "common-files/s", &then).await;
    assert_eq!(task["Status"], "Finished", "{task}");
    assert_eq!(node.names(&token, "common-files/s").await, ["a", "b", "file", "folder"]);
    for name in ["a", "b", "folder/f", "file"] {
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
    let root = restore(&node, &token, "common-files", &then).await;
    assert_eq!(root["Status"], "Error", "a workspace itself is not replaced: {root}");
    assert!(root["StatusMessage"].as_str().is_some_and(|why| why.contains("10003 entries differ")), "{root}");
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
