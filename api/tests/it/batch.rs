//! Many changes at once: all or none, in one entry of one datasource.

use serde_json::{Value, json};
use skep_raft::wire::meta::v1::{ChangesQuery, Query, answer, query};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

use crate::asking::COMMON;
use crate::harness::{Node, PASSWORD};

async fn batch(node: &Node, token: &str, operations: Vec<Value>) -> (u16, Value) {
    let answer = node.rest(token, ("POST", "/a/tree/batch"), &json!({"Operations": operations})).await;
    (answer.status.as_u16(), answer.json())
}

/// The log entries that made what lies in a folder.
async fn entries_that_made(node: &Node, folder: &str) -> BTreeSet<u64> {
    let mut made = BTreeSet::new();
    let mut asked = ChangesQuery { limit: 1_000, ..ChangesQuery::default() };
    loop {
        let question = Query { what: Some(query::What::Changes(asked.clone())) };
        let answered = node.metadata.query(COMMON, question, Instant::now() + Duration::from_secs(10)).await.expect("an answer");
        let Some(answer::What::Changes(page)) = answered.what else { panic!("another answer") };
        made.extend(page.changes.iter().filter(|told| told.path.len() == 2 && told.path[0] == folder).map(|told| told.index));
        (asked.after_index, asked.after_sub) = (page.last_index, page.last_sub);
        if !page.more {
            return made;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_nodes_are_made_by_one_entry() {
    let node = Node::start().await;
    let token = node.token().await;
    node.mkdir("common-files/many").await;
    let nodes: Vec<Value> = (0..100)
        .map(|number| match number % 2 {
            0 => json!({"Path": format!("common-files/many/{number}"), "Type": "COLLECTION"}),
            _ => json!({"Path": format!("common-files/many/{number}"), "Type": "LEAF", "MetaStore": {"Contents": "\"text\""}}),
        })
        .collect();
    let made = node.rest(&token, ("POST", "/a/tree/create"), &json!({"Nodes": nodes})).await;
    assert_eq!((made.status.as_u16(), made.json()["Children"].as_array().map(Vec::len)), (200, Some(100)), "{}", made.text());
    assert_eq!(entries_that_made(&node, "many").await.len(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_changes_are_one_and_one_more_is_refused() {
    let node = Node::start().await;
    let token = node.token().await;
    node.mkdir("common-files/b").await;
    let folder = |number: usize| json!({"Type": "CREATE_FOLDER", "Path": format!("common-files/b/{number:05}")});
    let (status, refused) = batch(&node, &token, (0..10_001).map(folder).collect()).await;
    assert_eq!((status, &refused["Meta"]["code"]), (413, &json!("too-large")), "{refused}");
    assert!(node.names(&token, "common-files/b").await.is_empty());
    let (status, done) = batch(&node, &token, (0..10_000).map(folder).collect()).await;
    assert_eq!((status, done["Nodes"].as_array().map(Vec::len)), (200, Some(10_000)));
    assert_eq!(node.names(&token, "common-files/b").await.len(), 10_000);
    assert_eq!(entries_that_made(&node, "b").await.len(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_files_go_back_in_one_batch() {
    let node = Node::start().await;
    let token = node.token().await;
    let file = |number: usize, text: &str| json!({"Type": "PUT_FILE", "Path": format!("common-files/r/{number}"), "Contents": text, "Recursive": true});
    let (status, first) = batch(&node, &token, (0..1_000).map(|number| file(number, "first")).collect()).await;
    assert_eq!(status, 200, "{first}");
    let versions: Vec<String> =
        first["Nodes"].as_array().expect("nodes").iter().map(|node| node["Etag"].as_str().expect("a version").to_owned()).collect();
    assert_eq!(batch(&node, &token, (0..1_000).map(|number| file(number, "second")).collect()).await.0, 200);
    let revert =
        |(number, version): (usize, &String)| json!({"Type": "REVERT", "Path": format!("common-files/r/{number}"), "VersionId": version});
    let (status, reverted) = batch(&node, &token, versions.iter().enumerate().map(revert).collect()).await;
    assert_eq!(status, 200, "{reverted}");
    for number in [0, 500, 999] {
        assert_eq!(node.read(&format!("common-files/r/{number}")).await, Ok("first".to_owned()));
    }
    let (status, missing) =
        batch(&node, &token, vec![json!({"Type": "REVERT", "Path": "common-files/none", "VersionId": versions[0]})]).await;
    assert_eq!(status, 404, "{missing}");
    let (status, folder) = batch(&node, &token, vec![json!({"Type": "REVERT", "Path": "common-files/r", "VersionId": versions[0]})]).await;
    assert_eq!((status, &folder["Meta"]["code"]), (400, &json!("is-a-folder")), "{folder}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_step_that_does_not_hold_changes_nothing() {
    let node = Node::start().await;
    let token = node.token().await;
    for name in ["a", "b", "c"] {
        node.write(&format!("common-files/{name}"), name).await;
    }
    let etag = node.stat(&token, "common-files/b").await["Etag"].as_str().expect("an ETag").to_owned();
    node.write("common-files/b", "since").await;
    let steps = |condition: &str| {
        vec![
            json!({"Type": "DELETE", "Path": "common-files/a"}),
            json!({"Type": "MOVE", "Path": "common-files/c", "Target": "common-files/d"}),
            json!({"Type": "PUT_FILE", "Path": "common-files/b", "Contents": "mine", "IfMatch": condition}),
        ]
    };
    let (status, refused) = batch(&node, &token, steps(&etag)).await;
    assert_eq!(status, 412, "{refused}");
    assert!(refused["Detail"].as_str().is_some_and(|why| why.contains("step 3")), "{refused}");
    assert_eq!(node.names(&token, "common-files").await, ["a", "b", "c"]);
    assert_eq!(node.read("common-files/b").await, Ok("since".to_owned()));

    let across = vec![json!({"Type": "DELETE", "Path": "common-files/a"}), json!({"Type": "CREATE_FOLDER", "Path": "personal-files/x"})];
    let (status, refused) = batch(&node, &token, across).await;
    assert_eq!((status, &refused["Meta"]["code"]), (400, &json!("across-datasources")), "{refused}");
    assert!(refused["Detail"].as_str().is_some_and(|why| why.contains("step 2") && why.contains("one datasource")), "{refused}");
    assert_eq!(node.read("common-files/a").await, Ok("a".to_owned()));

    let now = node.stat(&token, "common-files/b").await["Etag"].as_str().expect("an ETag").to_owned();
    let (status, done) = batch(&node, &token, steps(&now)).await;
    assert_eq!((status, done["Nodes"].as_array().map(Vec::len)), (200, Some(3)), "{done}");
    assert_eq!(node.names(&token, "common-files").await, ["b", "d", "recycle_bin"]);
    node.stop().await;
}

/// Rights are decided once for the paths of a workspace: never for those of another beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_workspace_of_a_batch_has_rights_of_its_own() {
    let node = Node::start().await;
    let token = node.token().await;
    let plans = |rights: &str| {
        let attributes = json!({"DEFAULT_RIGHTS": rights}).to_string();
        json!({"Label": "Plans", "RootNodes": {"r": {"Path": "pydiods1/plans"}}, "Attributes": attributes})
    };
    assert_eq!(node.rest(&token, ("PUT", "/a/workspace/plans"), &plans("r")).await.status, 200);
    assert_eq!(node.rest(&token, ("PUT", "/a/user/alice"), &json!({"Password": PASSWORD})).await.status, 200);
    let session = json!({"AuthInfo": {"type": "credentials", "login": "alice", "password": PASSWORD}});
    let session = node.rest("none", ("POST", "/a/frontend/session"), &session).await.json();
    let hers = session["JWT"].as_str().expect("a token");

    let paths = ["common-files/a", "plans/b", "common-files/c", "plans/d"];
    let operations = || paths.map(|path| json!({"Type": "PUT_FILE", "Path": path, "Contents": "x"})).to_vec();
    let nodes = json!({"Nodes": paths.map(|path| json!({"Path": path, "Type": "LEAF"}))});
    let (status, refused) = batch(&node, hers, operations()).await;
    assert_eq!(status, 403, "{refused}");
    let moved = vec![json!({"Type": "MOVE", "Path": "common-files/a", "Target": "plans/a"})];
    node.write("common-files/a", "old").await;
    let (status, refused) = batch(&node, hers, moved).await;
    assert_eq!(status, 403, "{refused}");
    let refused = node.rest(hers, ("POST", "/a/tree/create"), &nodes).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(node.names(&token, "common-files").await, ["a", "plans"]);

    assert_eq!(node.rest(&token, ("PUT", "/a/workspace/plans"), &plans("rw")).await.status, 200);
    let (status, done) = batch(&node, hers, operations()).await;
    assert_eq!(status, 200, "{done}");
    let shown = |node: &Value| (node["Path"].clone(), node["AppearsIn"][0]["WsSlug"].clone(), node["AppearsIn"][0]["Path"].clone());
    let nodes: Vec<_> = done["Nodes"].as_array().expect("nodes").iter().map(shown).collect();
    let expected = paths.map(|path| {
        let (slug, below) = path.split_once('/').expect("a workspace");
        (json!(path), json!(slug), json!(below))
    });
    assert_eq!(nodes, expected);
    node.stop().await;
}
