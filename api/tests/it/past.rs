//! The past is seen from every face, and only seen.

use axum::body::Body;
use serde_json::{Value, json};
use skep_raft::wire::meta::v1::{PruneHistory, tree_command};

use crate::asking::{now, now_and};
use crate::harness::Node;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instant_is_seen_on_every_way() {
    let node = Node::start().await;
    let token = node.token().await;
    node.mkdir("common-files/d").await;
    node.write("common-files/d/a.txt", "one").await;
    node.write("common-files/d/gone.txt", "there").await;
    let then = now();
    node.write("common-files/d/a.txt", "second").await;
    node.write("common-files/d/new.txt", "new").await;
    assert_eq!(node.dav("DELETE", "/dav/common-files/d/gone.txt", &[], Body::empty()).await.status, 204);

    assert_eq!(node.read(&format!("common-files/d/a.txt?at={then}")).await, Ok("one".to_owned()));
    assert_eq!(node.read(&format!("common-files@{then}/d/a.txt")).await, Ok("one".to_owned()));
    assert_eq!(node.read(&format!("common-files@{then}/d/gone.txt")).await, Ok("there".to_owned()));
    assert_eq!(node.read(&format!("common-files@{then}/d/new.txt")).await, Err(404));
    assert_eq!(node.stat(&token, &format!("common-files/d/a.txt?at={then}")).await["Size"], "3");
    assert_eq!(node.stat(&token, &format!("common-files@{then}/d/a.txt")).await["Size"], "3");
    assert_eq!(node.names(&token, &format!("common-files@{then}/d")).await, ["a.txt", "gone.txt"]);
    let bulk = node.rest(&token, ("POST", "/a/tree/stats"), &json!({"NodePaths": ["common-files/d/*"], "At": then})).await.json();
    assert_eq!((bulk["Nodes"].as_array().map(Vec::len), &bulk["Pagination"]["Total"]), (Some(2), &json!(2)));
    // Page by page, also when it has changed again meanwhile: an instant stays as it was.
    for offset in [0, 1, 1, 0] {
        let asked = json!({"NodePaths": ["common-files/d/*"], "At": then, "Limit": 1, "Offset": offset});
        let page = node.rest(&token, ("POST", "/a/tree/stats"), &asked).await.json();
        let name = ["common-files/d/a.txt", "common-files/d/gone.txt"][offset];
        assert_eq!((&page["Nodes"][0]["Path"], &page["Pagination"]["Total"]), (&json!(name), &json!(2)), "{page}");
        node.write(&format!("common-files/d/0-{offset}.txt"), "earlier in order").await;
    }
    // And an instant after which nothing has changed, until it has.
    let (still, was) = (now(), node.names(&token, "common-files/d").await);
    for (turn, offset) in [0, 1, 2, 1, 2, 0].into_iter().enumerate() {
        if turn == 3 {
            node.write("common-files/d/0-again.txt", "before all").await;
        }
        let asked = json!({"NodePaths": ["common-files/d/*"], "At": still, "Limit": 1, "Offset": offset});
        let page = node.rest(&token, ("POST", "/a/tree/stats"), &asked).await.json();
        let path = json!(format!("common-files/d/{}", was[offset]));
        assert_eq!((&page["Nodes"][0]["Path"], &page["Pagination"]["Total"]), (&path, &json!(was.len())), "turn {turn}: {page}");
    }
    let listed = node.dav("PROPFIND", &format!("/dav/common-files@{then}/d"), &[("depth", "1")], Body::empty()).await;
    assert!(listed.text().contains("gone.txt") && !listed.text().contains("new.txt"), "{}", listed.text());
    let versions = json!({"NodePaths": [format!("common-files@{then}/d/a.txt")], "Versions": true});
    assert_eq!(node.rest(&token, ("POST", "/a/tree/stats"), &versions).await.status, 400, "versions are of now");
    node.stop().await;
}

/// Where pages begin is known from the first one on, whichever that is; not where it was before the folder has changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_a_large_folder_come_in_any_order() {
    let node = Node::start().await;
    let token = node.token().await;
    node.mkdir("common-files/large").await;
    let name = |number: usize| format!("common-files/large/{number:05}");
    let nodes: Vec<Value> = (0..3_500).map(|number| json!({"Path": name(number), "Type": "LEAF"})).collect();
    for nodes in nodes.chunks(1_000) {
        assert_eq!(node.rest(&token, ("POST", "/a/tree/create"), &json!({"Nodes": nodes})).await.status, 200);
    }
    let page = async |at: &str, offset: usize| {
        let asked = json!({"NodePaths": ["common-files/large/*"], "At": at, "Limit": 2, "Offset": offset});
        let page = node.rest(&token, ("POST", "/a/tree/stats"), &asked).await.json();
        let nodes = page["Nodes"].as_array().cloned().unwrap_or_default();
        let paths: Vec<String> = nodes.iter().filter_map(|node| node["Path"].as_str().map(str::to_owned)).collect();
        (paths, page["Pagination"]["Total"].clone())
    };
    let expected = |from: usize| (from..3_500).take(2).map(name).collect::<Vec<String>>();
    // Each turn one more comes before all others.
    for (more, from) in [2_900, 1_500, 3_499, 1, 2_999, 1_001].into_iter().enumerate() {
        for from in [from, from + 100, from - 1] {
            assert_eq!(page("", from + more).await, (expected(from), json!(3_500 + more)), "turn {more}, from {from}");
        }
        node.write(&format!("common-files/large/0-{more}"), "new").await;
    }
    let then = now();
    let change = |number| json!({"Type": "PUT_FILE", "Path": name(number), "Contents": "changed"});
    let delete = |number| json!({"Type": "DELETE", "Path": name(number), "RemovePermanently": true});
    let made = json!({"Type": "PUT_FILE", "Path": "common-files/large/0-again", "Contents": "new"});
    let operations: Vec<Value> = (0..500).map(change).chain((1_000..1_500).map(delete)).chain([made]).collect();
    assert_eq!(node.rest(&token, ("POST", "/a/tree/batch"), &json!({"Operations": operations})).await.status, 200);
    for from in [2_900, 1_000, 999, 0, 1_001, 3_499, 3_500, 2_100, 2_000] {
        assert_eq!(page(&then, from + 6).await, (expected(from), json!(3_506)), "from {from}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_is_not_changed_and_the_future_not_seen() {
    let node = Node::start().await;
    let token = node.token().await;
    node.write("common-files/a.txt", "one").await;
    let past = format!("common-files@{}", now());
    assert_eq!(node.dav("PUT", &format!("/dav/{past}/a.txt"), &[], "two").await.status, 403);
    assert_eq!(node.dav("MKCOL", &format!("/dav/{past}/d"), &[], Body::empty()).await.status, 403);
    assert_eq!(node.dav("DELETE", &format!("/dav/{past}/a.txt"), &[], Body::empty()).await.status, 403);
    let elsewhere = [("destination", "/dav/common-files/b.txt")];
    assert_eq!(node.dav("MOVE", &format!("/dav/{past}/a.txt"), &elsewhere, Body::empty()).await.status, 403);
    let made = json!({"Nodes": [{"Path": format!("{past}/x"), "Type": "COLLECTION"}]});
    assert_eq!(node.rest(&token, ("POST", "/a/tree/create"), &made).await.status, 403);
    let noted = json!({"Metadatas": [{"Namespace": "bookmark", "JsonMeta": "true"}]});
    assert_eq!(node.rest(&token, ("POST", &format!("/a/meta/set/{past}/a.txt")), &noted).await.status, 403);

    let future = now_and(3_600);
    let ways = [format!("common-files@{future}/a.txt"), format!("common-files/a.txt?at={future}")];
    for way in &ways {
        assert_eq!(node.read(way).await, Err(400), "{way}");
        let stat = node.rest(&token, ("GET", &format!("/a/tree/stat/{way}")), &Value::Null).await;
        assert_eq!(stat.status, 400, "{way}: {}", stat.text());
    }
    let copy = node.dav("COPY", &format!("/dav/common-files@{future}/a.txt"), &elsewhere, Body::empty()).await;
    assert_eq!(copy.status, 400, "{}", copy.text());
    assert_eq!(node.read("common-files/b.txt").await, Err(404));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_history_does_not_reach_is_gone() {
    let node = Node::start().await;
    let token = node.token().await;
    node.write("common-files/a.txt", "one").await;
    node.cluster_changes(tree_command::What::PruneHistory(PruneHistory { retention_seconds: 1, limit: 1_000 })).await;
    let before = now_and(-10);
    for way in [format!("common-files@{before}/a.txt"), format!("common-files/a.txt?at={before}")] {
        assert_eq!(node.read(&way).await, Err(410), "{way}");
        let stat = node.rest(&token, ("GET", &format!("/a/tree/stat/{way}")), &Value::Null).await;
        assert_eq!((stat.status.as_u16(), &stat.json()["Meta"]["code"]), (410, &json!("outside-retention")), "{}", stat.text());
        assert!(stat.json()["Detail"].as_str().is_some_and(|why| why.contains("reaches back to")), "{}", stat.text());
    }
    let copy = [("destination", "/dav/common-files/b.txt")];
    assert_eq!(node.dav("COPY", &format!("/dav/common-files@{before}/a.txt"), &copy, Body::empty()).await.status, 410);
    node.stop().await;
}
