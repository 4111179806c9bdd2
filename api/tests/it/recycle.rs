//! The recycle bin takes what is deleted or replaced, and gives it back.

use axum::body::Body;
use serde_json::{Value, json};
use skep_placement::ids::GroupId;
use skep_raft::wire::meta::v1::{PutWorkspace, WorkspaceCommand, command, workspace_command};

use crate::harness::Node;

async fn restore(node: &Node, token: &str, path: &str) -> (u16, Value) {
    let answer = node.rest(token, ("POST", "/a/tree/restore"), &json!({"Nodes": [{"Path": path}]})).await;
    (answer.status.as_u16(), answer.json())
}

async fn delete(node: &Node, path: &str) {
    let deleted = node.dav("DELETE", &format!("/dav/{path}"), &[], Body::empty()).await;
    assert_eq!(deleted.status, 204, "{path}: {}", deleted.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_comes_back_with_the_folders_above_it() {
    let node = Node::start().await;
    let token = node.token().await;
    node.mkdir("common-files/a").await;
    node.mkdir("common-files/a/b").await;
    node.write("common-files/a/b/f.txt", "text").await;
    delete(&node, "common-files/a/b/f.txt").await;
    delete(&node, "common-files/a").await;
    let noted = node.stat(&token, "common-files/recycle_bin/f.txt").await;
    assert_eq!(noted["MetaStore"]["pydio:recycle_restore"], "\"common-files/a/b/f.txt\"");
    let (status, done) = restore(&node, &token, "common-files/recycle_bin/f.txt").await;
    assert_eq!(status, 200, "{done}");
    assert!(done["RestoreJobs"][0]["Uuid"].as_str().is_some_and(|id| id.starts_with("restore-")), "{done}");
    assert_eq!(node.read("common-files/a/b/f.txt").await, Ok("text".to_owned()), "its parents are made again");
    assert!(node.stat(&token, "common-files/a/b/f.txt").await["MetaStore"].get("pydio:recycle_restore").is_none());

    let (status, taken) = restore(&node, &token, "common-files/recycle_bin/a").await;
    assert_eq!((status, &taken["Meta"]["code"]), (409, &json!("already-exists")), "{taken}");
    assert_eq!(node.names(&token, "common-files/recycle_bin").await, ["a"]);
    assert_eq!(restore(&node, &token, "common-files/recycle_bin/a/b").await.0, 400, "a part of what was recycled");
    assert_eq!(restore(&node, &token, "common-files/a").await.0, 400, "it does not lie in a bin");
    assert_eq!(restore(&node, &token, "common-files/recycle_bin/none").await.0, 404);

    let empty = json!({"Nodes": [{"Path": "common-files/recycle_bin/a"}]});
    assert_eq!(node.rest(&token, ("POST", "/a/tree/delete"), &empty).await.status, 200);
    assert!(node.names(&token, "common-files/recycle_bin").await.is_empty(), "deleted there it is deleted for good");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_move_or_a_copy_replaces_comes_back() {
    let node = Node::start().await;
    let token = node.token().await;
    for (method, source) in [("MOVE", "moved.txt"), ("COPY", "copied.txt")] {
        node.write("common-files/target.txt", "old").await;
        node.write(&format!("common-files/{source}"), "new").await;
        let over = [("destination", "/dav/common-files/target.txt")];
        let done = node.dav(method, &format!("/dav/common-files/{source}"), &over, Body::empty()).await;
        assert_eq!(done.status, 204, "{method}: {}", done.text());
        assert_eq!(node.read("common-files/target.txt").await, Ok("new".to_owned()));
        assert_eq!(restore(&node, &token, "common-files/recycle_bin/target.txt").await.0, 409, "{method}: its name is taken");
        assert_eq!(
            node.dav("MOVE", "/dav/common-files/target.txt", &[("destination", &format!("/dav/common-files/by-{method}"))], Body::empty())
                .await
                .status,
            201
        );
        let (status, done) = restore(&node, &token, "common-files/recycle_bin/target.txt").await;
        assert_eq!(status, 200, "{method}: {done}");
        assert_eq!(node.read("common-files/target.txt").await, Ok("old".to_owned()), "{method}");
    }
    let batch =
        json!({"Operations": [{"Type": "MOVE", "Path": "common-files/by-MOVE", "Target": "common-files/target.txt", "Overwrite": true}]});
    assert_eq!(node.rest(&token, ("POST", "/a/tree/batch"), &batch).await.status, 200);
    let noted = node.stat(&token, "common-files/recycle_bin/target.txt").await;
    assert_eq!(noted["MetaStore"]["pydio:recycle_restore"], "\"common-files/target.txt\"");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_without_a_bin_keeps_nothing() {
    let node = Node::start().await;
    let token = node.token().await;
    node.write("common-files/first", "x").await;
    let workspace = node.metadata.system_stale().workspace_by_slug("common-files").expect("a view").expect("it is there");
    let put = PutWorkspace {
        workspace: Some(skep_raft::wire::meta::v1::WorkspaceRecord { skip_recycle: true, ..workspace }),
        must_be_new: false,
    };
    let what = command::What::Workspace(WorkspaceCommand { what: Some(workspace_command::What::PutWorkspace(put)) });
    node.cluster_does(GroupId::SYSTEM, what).await;
    delete(&node, "common-files/first").await;
    for method in ["MOVE", "COPY"] {
        node.write("common-files/old", "old").await;
        node.write("common-files/new", "new").await;
        let done = node.dav(method, "/dav/common-files/new", &[("destination", "/dav/common-files/old")], Body::empty()).await;
        assert_eq!(done.status, 204, "{}", done.text());
    }
    assert_eq!(node.names(&token, "common-files").await, ["new", "old"], "no bin was made");
    node.stop().await;
}
